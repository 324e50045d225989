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
//! When other code is deployed, it urges its node's players to go over to it, a few at a time, those
//! that run and those that rest.
//!
//! What this does not do: anything else about players whose server runs. That one looks after itself.

mod around;

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use around::{Around, Attendance};

use super::rollout::Rollout;
use super::roster::Players;
use crate::clock;
use crate::directory::Directory;
use crate::limits::{ADOPT_AFTER, LISTING_PAGE_PLAYERS};
use crate::protocol::{NodeRecord, NodeStatus, PlayerId, Settings, Writer};

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

/// How often in a row a look at all players is put off because nodes have just changed again.
const POSTPONED_MAX: u32 = 5;

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
    rollout: watch::Receiver<Arc<Rollout>>,
    /// How much of the directory was applied.
    entries: watch::Receiver<u64>,
    /// The nodes whose copies were seen to.
    attended: Attendance,
}

impl Guardian {
    /// Returns the guardian of the node with these players.
    pub fn new(
        me: Writer,
        directory: Directory,
        players: Players,
        rollout: watch::Receiver<Arc<Rollout>>,
    ) -> Self {
        let (nodes, entries) = (directory.watch_nodes(), directory.watch_entries());
        let settings = directory.watch_settings();
        let attended = Attendance::default();
        Self { me, directory, players, nodes, settings, rollout, entries, attended }
    }

    /// Watches until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let watch = async {
            let (mut took, mut postponed) = (Duration::ZERO, 0);
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
                // Callers may claim the players of a node that has gone meanwhile for as long, too.
                let changed = !draining && self.nodes.has_changed().unwrap_or(false);
                if changed && postponed < POSTPONED_MAX {
                    postponed += 1;
                    continue;
                }
                postponed = 0;
                let seen = self.look(None).await;
                seen.tell();
                took = seen.took;
                // It may have begun meanwhile.
                let draining = self.is_a_node_draining();
                let patience = match (draining, seen.left > 0 || seen.urged > 0) {
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
                        changed = self.rollout.changed() => changed,
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
        let rollout = self.rollout.borrow_and_update().clone();
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
            let around =
                Around { me, nodes: &now, keepers, returned: &returned, rollout: &rollout };
            let mut urged = 0;
            let due = page.into_iter().filter(|(id, record)| {
                let goes_over = around.goes_over(id, record);
                urged += usize::from(goes_over);
                let mine = record.owner == me;
                let lacks = !running.contains(id) && around.falls_to_me(id, record);
                goes_over || ((mine || own_until.is_none()) && lacks)
            });
            let due: Vec<PlayerId> = due.map(|(player, _)| player).collect();
            seen.urged += urged;
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
            // What players lack whose nodes have gone comes before other code for millions.
            if seen.urged > 0 && self.nodes.has_changed().unwrap_or(false) {
                seen.left += 1;
                return seen;
            }
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
    /// Those that were to go over to other code: some may not have come there.
    urged: usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_take_a_small_part_of_the_time_however_many_players_there_are() {
        assert_eq!(pause_while_draining(Duration::ZERO), LOOK_WHILE_DRAINING);
        for took in [1, 30, 1000].map(Duration::from_millis) {
            let pause = pause_while_draining(took);
            assert!(took * LOOKING_PART <= took + pause, "{took:?}: {pause:?}");
        }
    }
}
