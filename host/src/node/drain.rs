//! Handing over before leaving: no call fails and none waits for a death to be noticed.
//!
//! ```text
//!   "I am going to leave" ──► the directory calls this node draining
//!       ├─ its players: each server hands over by itself (`player`); those without one are opened
//!       ├─ its copies: their owners, who see the same directory, seed others (`player`)
//!       └─ new players and those of dead owners: the gateway passes them on
//!   nothing names it any more, or nothing can take the rest ──► it stops
//! ```

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::members::Leaving;
use crate::clock;
use crate::directory::Directory;
use crate::limits::{DRAIN_DEADLINE, LISTING_PAGE_PLAYERS, STEP_DEADLINE};
use crate::player::{Players, open_all};
use crate::protocol::{DrainReport, NodeName, NodeStatus, PlayerId, Writer};

/// Pause between two looks at what is left. It doubles up to the second one, for each look goes
/// through all players.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// Time between two lines that say what is left, and two attempts to open what does not run.
const REMIND_INTERVAL: Duration = Duration::from_secs(1);

/// What names this node.
#[derive(Debug, Clone, Default)]
struct Holdings {
    players: Vec<PlayerId>,
    copies: u64,
}

impl Holdings {
    fn is_empty(&self) -> bool {
        self.players.is_empty() && self.copies == 0
    }
}

/// What draining needs of a node.
pub(super) struct Drain<'a> {
    pub(super) me: Writer,
    pub(super) name: &'a NodeName,
    pub(super) directory: &'a Directory,
    pub(super) players: &'a Players,
    pub(super) leaving: &'a Leaving,
}

impl Drain<'_> {
    /// Hands over what the node has, as far as other nodes can take it and [`DRAIN_DEADLINE`]
    /// allows.
    pub(super) async fn run(&self) -> DrainReport {
        let before = self.holdings();
        let left = match self.declare().await {
            Ok(()) => self.wait().await,
            Err(reason) => Some(reason),
        };
        let after = self.holdings();
        let handed_over = |before: usize, after: usize| before.saturating_sub(after) as u64;
        DrainReport {
            node: self.name.clone(),
            players: handed_over(before.players.len(), after.players.len()),
            copies: before.copies.saturating_sub(after.copies),
            left: left.filter(|_| !after.is_empty()).map(|reason| {
                let Holdings { players, copies } = after;
                format!("{} players and {copies} copies stay: {reason}", players.len())
            }),
        }
    }

    /// Has the directory call this node draining.
    async fn declare(&self) -> Result<(), String> {
        if self.others() == 0 {
            return Err("no other node is up".to_owned());
        }
        let mut nodes = self.directory.watch_nodes();
        let draining = nodes.wait_for(|nodes| {
            nodes.iter().any(|node| {
                node.id == self.me.node
                    && node.incarnation == self.me.incarnation
                    && node.status == NodeStatus::Draining
            })
        });
        let declared = async {
            while !self.leaving.announce().await {
                sleep(LOOK.1).await;
            }
            draining.await.is_ok()
        };
        match timeout(STEP_DEADLINE, declared).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => {
                Err("the directory's voters have no majority that can be reached".to_owned())
            }
        }
    }

    /// Waits until nothing is left. Returns why it did not wait longer.
    async fn wait(&self) -> Option<String> {
        let began = clock::now();
        let (mut pause, mut reminded) = (LOOK.0, began);
        loop {
            let held = self.holdings();
            if held.is_empty() {
                return None;
            }
            if self.others() < 2 {
                return Some("only one other node is up, which cannot keep its own copies".into());
            }
            if self.is_up() {
                // It was called down by mistake and has come back.
                self.leaving.announce().await;
            }
            let now = clock::now();
            if now.duration_since(began) >= DRAIN_DEADLINE {
                return Some(format!("they were not taken within {DRAIN_DEADLINE:?}"));
            }
            if now.duration_since(reminded) >= REMIND_INTERVAL {
                reminded = now;
                let (players, copies) = (held.players.len(), held.copies);
                tracing::info!(players, copies, "still handing over");
                // Servers of players that are not called do not run everywhere.
                drop(timeout(REMIND_INTERVAL, open_all(self.players, held.players)).await);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    fn is_up(&self) -> bool {
        let me = self.directory.node(self.me.node);
        me.is_some_and(|node| node.status == NodeStatus::Up)
    }

    /// Other nodes that take something.
    fn others(&self) -> usize {
        let nodes = self.directory.nodes();
        let up = nodes.iter().filter(|node| node.status == NodeStatus::Up);
        up.filter(|node| node.id != self.me.node).count()
    }

    fn holdings(&self) -> Holdings {
        let mut held = Holdings::default();
        let mut after = None;
        loop {
            let page = self.directory.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
            let Some((last, _)) = page.last() else { return held };
            after = Some(last.clone());
            for (player, record) in page {
                let keeps = record.remote_keepers().any(|keeper| keeper.node == self.me.node);
                held.copies += u64::from(keeps);
                if record.owner == self.me {
                    held.players.push(player);
                }
            }
        }
    }
}
