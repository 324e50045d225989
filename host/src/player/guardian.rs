//! Sees to players that nobody calls, so that they have their copies again.
//!
//! A player that is called heals itself: its next call claims it, and its server replaces what is
//! missing. One that nobody calls would stay with a single copy after its owner died, and lose that
//! with the next machine. So every node looks for such players when nodes have gone, and opens
//! those that fall to it. All nodes see the same directory and choose alike; should two choose
//! differently, the directory lets one of them win.
//!
//! What this does not do: anything about players whose server runs. That one looks after itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::roster::Players;
use crate::directory::Directory;
use crate::limits::{ADOPT_AFTER, LISTING_PAGE_PLAYERS};
use crate::membership::successor_for;
use crate::protocol::{NodeId, NodeRecord, NodeStatus, PlayerId, PlayerRecord, Writer};

/// Players that are opened at the same time. Enough to fill the directory's entries; few enough that
/// calls to other players hardly notice.
const OPENED_AT_ONCE: usize = 64;

/// Time for one player, most of it for others that wait for the same entry of the directory.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Time after which players that could not be helped are looked at again, unless nodes change.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Time between two looks while a node hands over what it has: it waits until its players are
/// open elsewhere, and nothing else says that one was given to this node.
const LOOK_WHILE_DRAINING: Duration = Duration::from_millis(100);

/// Opens players that need it, for one node.
#[derive(Debug)]
pub struct Guardian {
    me: Writer,
    directory: Directory,
    players: Players,
    nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
}

impl Guardian {
    /// Returns the guardian of the node with these players.
    pub fn new(me: Writer, directory: Directory, players: Players) -> Self {
        let nodes = directory.watch_nodes();
        Self { me, directory, players, nodes }
    }

    /// Watches until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let watch = async {
            loop {
                // Whoever calls a player meanwhile claims it first.
                let draining = self.is_a_node_draining();
                let pause = if draining { LOOK_WHILE_DRAINING } else { ADOPT_AFTER };
                tokio::time::sleep(pause).await;
                let Seen { helped, left } = self.look().await;
                if helped > 0 {
                    tracing::info!(players = helped, "gave players their copies again");
                }
                if draining {
                    continue;
                }
                let patience = if left > 0 { LOOK_AGAIN } else { Duration::MAX };
                if matches!(timeout(patience, self.nodes.changed()).await, Ok(Err(_))) {
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

    /// Opens the players that fall to this node.
    async fn look(&mut self) -> Seen {
        let nodes = self.nodes.borrow_and_update().clone();
        let running = self.running();
        let mut seen = Seen::default();
        let mut after = None;
        loop {
            let page = self.directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
            let Some((last, _)) = page.last() else { return seen };
            after = Some(last.clone());
            let due = page.into_iter().filter(|(id, record)| {
                !running.contains(id) && falls_to(self.me, id, record, &nodes)
            });
            let due: Vec<PlayerId> = due.map(|(player, _)| player).collect();
            if due.is_empty() {
                continue;
            }
            open_all(&self.players, due.clone()).await;
            let running = self.running();
            let left = due.iter().filter(|player| !running.contains(player)).count();
            seen.helped += due.len() - left;
            seen.left += left;
        }
    }
}

/// What became of the players that fell to this node.
#[derive(Debug, Default)]
struct Seen {
    helped: usize,
    left: usize,
}

/// Has players of this node served, and waits until they are or cannot be.
pub async fn open_all(players: &Players, due: Vec<PlayerId>) {
    let opening = stream::iter(due).for_each_concurrent(OPENED_AT_ONCE, |player| async {
        // One that cannot be served in time is looked at again later.
        drop(timeout(OPEN_DEADLINE, players.open(player)).await);
    });
    opening.await;
}

/// Whether a player should run on this node.
fn falls_to(me: Writer, player: &PlayerId, record: &PlayerRecord, nodes: &[NodeRecord]) -> bool {
    let status = |node: NodeId| nodes.iter().find(|known| known.id == node);
    let owner = status(record.owner.node)
        .filter(|node| node.incarnation == record.owner.incarnation && node.status.is_alive());
    if owner.is_none() {
        let keepers: Vec<NodeId> = record.keepers.iter().map(|keeper| keeper.node).collect();
        return successor_for(player, None, &keepers, nodes) == Some(me);
    }
    // Its owner holds no copy before it has opened it: after a handover for instance.
    record.owner == me
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CodeHash, CopyId, Generation, Incarnation, KeeperCopy};

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

    /// Returns the nodes that a player of node 1 falls to, whose keeper is node 2.
    fn falls_to_one(nodes: &[NodeRecord]) -> Vec<u64> {
        let keepers = vec![KeeperCopy { node: NodeId(2), copy: CopyId(7) }];
        let (generation, code) = (Generation(3), CodeHash([0; 32]));
        let record = PlayerRecord { generation, owner: writer(1), keepers, code };
        let player = "player1".parse().unwrap();
        let start = |node: &NodeRecord| Writer { node: node.id, incarnation: node.incarnation };
        let falls = nodes.iter().filter(|node| falls_to(start(node), &player, &record, nodes));
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
    }
}
