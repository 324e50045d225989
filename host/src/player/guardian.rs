//! Sees to players that nobody calls, so that they have their copies again.
//!
//! A player that is called heals itself: its next call claims it, and its server replaces what is
//! missing. One that nobody calls would stay with a single copy after its owner died, and lose that
//! with the next machine. So every node looks for such players when nodes have gone, and opens
//! those that fall to it. All nodes see the same directory and choose alike; should two choose
//! differently, the directory lets one of them win.
//!
//! A player that rests has no server either: the guardian wakes it when it lacks a copy that some node
//! could have, when a node has come back that keeps one, for that may have lost it or not be trusted
//! any more, or when this node is going to leave.
//!
//! What this does not do: anything about players whose server runs. That one looks after itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::roster::Players;
use crate::clock;
use crate::directory::Directory;
use crate::limits::{ADOPT_AFTER, LISTING_PAGE_PLAYERS};
use crate::membership::{keepers_for, successor_for};
use crate::protocol::{
    Incarnation, NodeId, NodeRecord, NodeStatus, PlayerId, PlayerRecord, Settings, Writer,
};

/// Players that are opened at the same time: few enough that calls to other players hardly notice.
const OPENED_AT_ONCE: usize = 64;
/// The same, when there is no end of them: to have two copies of each soon counts for more then.
const MANY_OPENED_AT_ONCE: usize = 256;
/// Players that one look opens before it hurries.
const MANY: usize = 4000;

/// Time for one player, most of it for others that wait for the same entry of the directory.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Time after which players that could not be helped are looked at again, unless nodes change.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Shortest time between two looks while a node hands over what it has: it waits until its players
/// are open elsewhere, and only the directory's records say that one was given to this node.
const LOOK_WHILE_DRAINING: Duration = Duration::from_millis(100);

/// Looks while a node drains take one part in so many of the time: each of them goes through all
/// players, and a node that has a million of them has other things to do.
const LOOKING_PART: u32 = 20;

/// Opens players that need it, for one node.
#[derive(Debug)]
pub struct Guardian {
    me: Writer,
    directory: Directory,
    players: Players,
    nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
    settings: watch::Receiver<Settings>,
    /// How much of the directory was applied.
    entries: watch::Receiver<u64>,
    /// The nodes whose copies were seen to.
    attended: Attendance,
}

impl Guardian {
    /// Returns the guardian of the node with these players.
    pub fn new(me: Writer, directory: Directory, players: Players) -> Self {
        let (nodes, entries) = (directory.watch_nodes(), directory.watch_entries());
        let settings = directory.watch_settings();
        let attended = Attendance::default();
        Self { me, directory, players, nodes, settings, entries, attended }
    }

    /// Watches until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let watch = async {
            let mut took = Duration::ZERO;
            loop {
                let draining = self.is_a_node_draining();
                let pause = if draining { pause_while_draining(took) } else { ADOPT_AFTER };
                let until = clock::now() + pause;
                // This node's own are nobody else's to care for. Whoever calls one of the others
                // meanwhile claims it first.
                if !draining {
                    self.look(Some(until)).await.tell();
                }
                sleep_until(until.into()).await;
                let seen = self.look(None).await;
                seen.tell();
                took = seen.took;
                // It may have begun meanwhile.
                let draining = self.is_a_node_draining();
                let patience = match (draining, seen.left > 0) {
                    // What could not be opened may be by now.
                    (true, true) => continue,
                    (true, false) | (false, true) => LOOK_AGAIN,
                    (false, false) => Duration::MAX,
                };
                let changed = async {
                    // While a node drains, any change may be a player that was given to this one.
                    tokio::select! {
                        changed = self.entries.changed(), if draining => changed,
                        changed = self.nodes.changed() => changed,
                        changed = self.settings.changed() => changed,
                    }
                };
                if matches!(timeout(patience, changed).await, Ok(Err(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = watch => {}
        }
    }

    fn is_a_node_draining(&self) -> bool {
        self.nodes.borrow().iter().any(|node| node.status == NodeStatus::Draining)
    }

    /// Returns the players whose servers run here.
    fn running(&self) -> BTreeSet<PlayerId> {
        let mut running = BTreeSet::new();
        loop {
            let page = self.players.running(running.last(), LISTING_PAGE_PLAYERS);
            if page.is_empty() {
                return running;
            }
            running.extend(page);
        }
    }

    /// Opens the players that fall to this node: those that it owns, for some time, or all.
    async fn look(&mut self, own_until: Option<Instant>) -> Seen {
        let began = clock::now();
        self.entries.mark_unchanged();
        let nodes = self.nodes.borrow_and_update().clone();
        let keepers = usize::from(self.settings.borrow_and_update().keepers);
        let (me, returned) = (self.me, self.attended.returned(&nodes));
        let running = self.running();
        let mut seen = Seen::default();
        let mut opening = Duration::ZERO;
        let mut after = None;
        loop {
            if own_until.is_some_and(|until| clock::now() >= until) {
                return seen;
            }
            let page = self.directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let others = page.iter().filter(|(_, record)| record.owner != self.me);
            self.players.given_away(others.map(|(player, _)| player));
            // They may have changed since the page before.
            let now = self.nodes.borrow().clone();
            let around = Around { me, nodes: &now, keepers, returned: &returned };
            let due = page.into_iter().filter(|(id, record)| {
                let mine = record.owner == me;
                (mine || own_until.is_none())
                    && !running.contains(id)
                    && around.falls_to_me(id, record)
            });
            let due: Vec<PlayerId> = due.map(|(player, _)| player).collect();
            if due.is_empty() {
                // Many pages may have nothing to do, and calls want the thread.
                tokio::task::yield_now().await;
                continue;
            }
            let (count, opened) = (due.len(), clock::now());
            let hurries = seen.helped + seen.left >= MANY;
            let at_once = if hurries { MANY_OPENED_AT_ONCE } else { OPENED_AT_ONCE };
            let left = open_each(&self.players, due, at_once).await;
            opening += clock::now().duration_since(opened);
            seen.helped += count - left;
            seen.left += left;
        }
        seen.took = clock::now().duration_since(began).saturating_sub(opening);
        // Only this node's own players depend on it, and those were all looked at.
        if seen.left == 0 {
            self.attended.note(&nodes);
        }
        seen
    }
}

/// What became of the players that fell to this node.
#[derive(Debug, Default)]
struct Seen {
    helped: usize,
    left: usize,
    /// Time that the look itself took, without the opening.
    took: Duration,
}

impl Seen {
    fn tell(&self) {
        if self.helped > 0 {
            tracing::info!(players = self.helped, "saw to players that nobody calls");
        }
    }
}

/// Returns how long to wait after a look that took so long.
fn pause_while_draining(took: Duration) -> Duration {
    took.saturating_mul(LOOKING_PART - 1).max(LOOK_WHILE_DRAINING)
}

/// Has players of this node served, and waits until they are or cannot be. Returns how many are not.
pub async fn open_all(players: &Players, due: Vec<PlayerId>) -> usize {
    open_each(players, due, MANY_OPENED_AT_ONCE).await
}

async fn open_each(players: &Players, due: Vec<PlayerId>, at_once: usize) -> usize {
    let opening = stream::iter(due).map(|player| async {
        matches!(timeout(OPEN_DEADLINE, players.open(player)).await, Ok(true))
    });
    let failed = opening.buffer_unordered(at_once).filter(|opened| ready(!opened));
    failed.count().await
}

/// The starts of nodes whose copies were seen to.
#[derive(Debug, Clone, Default)]
pub struct Attendance(BTreeMap<NodeId, Incarnation>);

impl Attendance {
    /// Returns the nodes that are alive and were not when [`Self::note`] was told, or not as this start.
    pub fn returned(&self, nodes: &[NodeRecord]) -> BTreeSet<NodeId> {
        let alive = nodes.iter().filter(|node| node.status.is_alive());
        let returned = alive.filter(|node| self.0.get(&node.id) != Some(&node.incarnation));
        returned.map(|node| node.id).collect()
    }

    /// Notes which nodes are alive.
    pub fn note(&mut self, nodes: &[NodeRecord]) {
        let alive = nodes.iter().filter(|node| node.status.is_alive());
        self.0 = alive.map(|node| (node.id, node.incarnation)).collect();
    }
}

/// What decides whether a player without a server should have one.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// This start of this node.
    pub me: Writer,
    /// The directory's nodes.
    pub nodes: &'a [NodeRecord],
    /// How many keepers the cluster wants for a player.
    pub keepers: usize,
    /// Nodes whose copies were not seen to since they came.
    pub returned: &'a BTreeSet<NodeId>,
}

impl Around<'_> {
    /// Whether a player that does not run should be opened on this node.
    pub fn falls_to_me(&self, player: &PlayerId, record: &PlayerRecord) -> bool {
        if record.is_forgotten() {
            return false;
        }
        let owner = self
            .node(record.owner.node)
            .filter(|node| node.incarnation == record.owner.incarnation && node.status.is_alive());
        if owner.is_none() {
            let keepers: Vec<NodeId> = record.keepers.iter().map(|keeper| keeper.node).collect();
            return successor_for(player, None, &keepers, self.nodes) == Some(self.me);
        }
        record.owner == self.me && self.can_be_helped(player, record)
    }

    /// Whether a player of this node that rests lacks something that it could have, or may do so, or
    /// keeps what it should not.
    fn can_be_helped(&self, player: &PlayerId, record: &PlayerRecord) -> bool {
        let me = self.me.node;
        let is = |node: NodeId, status| self.node(node).is_some_and(|node| node.status == status);
        let alive = |node: &NodeId| self.node(*node).is_some_and(|node| node.status.is_alive());
        let remote = record.remote_keepers().map(|keeper| keeper.node);
        let holders: Vec<NodeId> = remote.filter(alive).collect();
        if is(me, NodeStatus::Draining) {
            return successor_for(player, Some(me), &holders, self.nodes).is_some();
        }
        let staying = holders.iter().filter(|node| is(**node, NodeStatus::Up)).count();
        let missing = self.keepers.saturating_sub(staying);
        let lacks = !keepers_for(player, me, &holders, &[], self.nodes, missing).is_empty();
        // After a handover its owner holds none before it has opened it.
        let has_own = record.keepers.iter().any(|keeper| keeper.node == me);
        let lacks_own = !has_own && (lacks || !holders.is_empty());
        let in_doubt = holders.iter().any(|node| self.returned.contains(node));
        lacks || lacks_own || in_doubt || staying > self.keepers.max(1)
    }

    fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CodeHash, CopyId, Generation, KeeperCopy};

    fn node(id: u64, incarnation: u64, status: NodeStatus) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("node{id}").parse().unwrap(),
            addr: ([10, 0, 0, 1], 4433).into(),
            incarnation: Incarnation(incarnation),
            status,
        }
    }

    fn writer(id: u64) -> Writer {
        Writer { node: NodeId(id), incarnation: Incarnation(1) }
    }

    fn around(me: Writer, nodes: &[NodeRecord]) -> Around<'_> {
        const NONE: &BTreeSet<NodeId> = &BTreeSet::new();
        Around { me, nodes, keepers: 1, returned: NONE }
    }

    /// A player of node 1, which has no copy of its own.
    fn record() -> PlayerRecord {
        let keepers = vec![KeeperCopy { node: NodeId(2), copy: CopyId(7) }];
        let (generation, code) = (Generation(3), CodeHash([0; 32]));
        PlayerRecord { generation, owner: writer(1), keepers, code }
    }

    /// Returns the nodes that a player of node 1 falls to, whose keeper is node 2.
    fn falls_to_one(nodes: &[NodeRecord]) -> Vec<u64> {
        let record = record();
        let player = "player1".parse().unwrap();
        let start = |node: &NodeRecord| Writer { node: node.id, incarnation: node.incarnation };
        let falls =
            nodes.iter().filter(|node| around(start(node), nodes).falls_to_me(&player, &record));
        falls.map(|node| node.id.0).collect()
    }

    #[test]
    fn a_player_falls_to_its_owner_or_to_one_other_node_when_that_is_gone() {
        let [up, down] = [NodeStatus::Up, NodeStatus::Down];
        let nodes = |first| vec![first, node(2, 1, up), node(3, 1, up), node(4, 1, up)];
        assert_eq!(falls_to_one(&nodes(node(1, 1, up))), [1]);
        let heir = falls_to_one(&nodes(node(1, 1, down)));
        assert!(heir == [3] || heir == [4], "not its keeper: {heir:?}");
        // A new start of the owner's node is another owner, and as good as any.
        assert_eq!(falls_to_one(&[node(1, 2, up), node(2, 1, up)]), [1]);
        // With one other node there would be no place for a copy.
        assert!(falls_to_one(&[node(1, 1, down), node(2, 1, up)]).is_empty());
        let forgotten = PlayerRecord { keepers: Vec::new(), ..record() };
        let player = "player1".parse().unwrap();
        assert!(!around(writer(1), &nodes(node(1, 1, up))).falls_to_me(&player, &forgotten));
    }

    /// Returns whether a player of node 1 that rests is opened, which these other nodes keep.
    fn is_woken(keepers: usize, own: bool, holders: &[u64], nodes: &[NodeRecord]) -> bool {
        let copies = holders.iter().chain(own.then_some(&1));
        let copies = copies.map(|id| KeeperCopy { node: NodeId(*id), copy: CopyId(*id) });
        let record = PlayerRecord { keepers: copies.collect(), ..record() };
        let around = Around { keepers, ..around(writer(1), nodes) };
        around.falls_to_me(&"player1".parse().unwrap(), &record)
    }

    #[test]
    fn a_player_that_rests_is_woken_only_when_that_helps_it() {
        let [up, down, draining] = [NodeStatus::Up, NodeStatus::Down, NodeStatus::Draining];
        let nodes = |second, third| [node(1, 1, up), node(2, 1, second), node(3, 1, third)];
        assert!(!is_woken(1, true, &[2], &nodes(up, up)), "it has what it should have");
        assert!(is_woken(1, true, &[2], &nodes(down, up)), "its keeper is down");
        assert!(!is_woken(1, true, &[2], &nodes(down, down)), "no other node could keep it");
        assert!(is_woken(1, true, &[2], &nodes(draining, up)), "its keeper leaves");
        assert!(!is_woken(1, true, &[2], &nodes(draining, down)), "and nobody takes its place");
        assert!(is_woken(1, false, &[2], &nodes(up, up)), "it was given to this node");
        assert!(is_woken(2, true, &[2], &nodes(up, up)), "more keepers are wanted");
        assert!(is_woken(1, true, &[2, 3], &nodes(up, up)), "fewer keepers are wanted");
        assert!(!is_woken(2, true, &[2], &nodes(up, down)), "there are no more");
        let leaving = [node(1, 1, draining), node(2, 1, up), node(3, 1, up)];
        assert!(is_woken(1, true, &[2], &leaving), "this node leaves");
        assert!(!is_woken(1, true, &[2], &leaving[..2]), "and nobody could take it");
    }

    #[test]
    fn a_player_that_rests_is_woken_when_its_keeper_has_come_back() {
        let [up, down] = [NodeStatus::Up, NodeStatus::Down];
        let before = [node(1, 1, up), node(2, 1, up), node(3, 1, down)];
        let after = [node(1, 1, up), node(2, 2, up), node(3, 1, up)];
        let mut attended = Attendance::default();
        attended.note(&before);
        assert!(attended.returned(&before).is_empty());
        let returned = attended.returned(&after);
        assert_eq!(returned, BTreeSet::from([NodeId(2), NodeId(3)]));
        let copies = [1, 2].map(|id| KeeperCopy { node: NodeId(id), copy: CopyId(id) });
        let record = PlayerRecord { keepers: copies.to_vec(), ..record() };
        let player = "player1".parse().unwrap();
        let around = around(writer(1), &after);
        assert!(Around { returned: &returned, ..around }.falls_to_me(&player, &record));
        assert!(!around.falls_to_me(&player, &record), "once it was seen to");
        attended.note(&after);
        assert!(attended.returned(&after).is_empty());
    }

    #[test]
    fn looks_take_a_small_part_of_the_time_however_many_players_there_are() {
        assert_eq!(pause_while_draining(Duration::ZERO), LOOK_WHILE_DRAINING);
        for took in [1, 30, 1000].map(Duration::from_millis) {
            let pause = pause_while_draining(took);
            assert!(took * LOOKING_PART <= took + pause, "{took:?}: {pause:?}");
        }
    }
}
