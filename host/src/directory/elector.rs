//! A new leader as soon as the old one is known to be gone.
//!
//! Left alone, Raft waits: a voter that heard the leader within the longest election timeout
//! refuses every vote (the leader's lease), and stands itself only after that and its own timeout.
//! That protects a living leader from a node that merely lost touch with it. But a voter that
//! stands gives up its own lease, and prefers a vote of a higher number over its own. So when the
//! voters that remain are told that the leader is gone, they stand one after the other in order of
//! their numbers: each refusal leaves one more voter that will grant the vote of the next, until
//! one has a majority. Reads do not rest on the lease (`Directory::barrier` asks a majority), so
//! nothing is lost with it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info};

use super::Directory;
use crate::protocol::NodeId;

/// Time between two voters that stand: enough for a vote and its sync.
const TURN: Duration = Duration::from_millis(30);
/// How often a voter may stand before it leaves the rest to Raft's own timeouts. A second time
/// helps when the last one that stood lacked an entry that another has.
const ROUNDS: usize = 4;

#[derive(Debug)]
pub(super) struct Elector {
    directory: Directory,
    reports: mpsc::Receiver<NodeId>,
}

impl Elector {
    pub(super) fn new(directory: Directory, reports: mpsc::Receiver<NodeId>) -> Self {
        Self { directory, reports }
    }

    pub(super) async fn run(mut self) {
        while let Some(gone) = self.reports.recv().await {
            if self.directory.leader() == Some(gone) {
                self.replace(gone).await;
            }
        }
    }

    async fn replace(&self, gone: NodeId) {
        let me = self.directory.0.me;
        let mut voters = self.directory.voters();
        voters.retain(|voter| *voter != gone);
        voters.sort_unstable();
        let Some(rank) = voters.iter().position(|voter| *voter == me) else { return };
        let turns = |count: usize| TURN * u32::try_from(count).unwrap_or(u32::MAX);
        let mut wait = turns(rank);
        for _ in 0..ROUNDS {
            if self.is_replaced(gone, wait).await {
                return;
            }
            wait = turns(voters.len() + 1);
            if self.has_voted_for_another() {
                continue;
            }
            let name = self.directory.node(gone).map(|node| node.name.to_string());
            info!(peer = name, "the directory's leader is gone, standing for election");
            if let Err(error) = self.directory.0.raft.trigger().elect().await {
                debug!(%error, "cannot stand for election");
                return;
            }
        }
    }

    /// Whether another voter stands and has this node's vote: it is given its time.
    fn has_voted_for_another(&self) -> bool {
        let vote = self.directory.0.metrics.borrow().vote;
        !vote.committed && vote.leader_id.voted_for() != Some(self.directory.0.me.0)
    }

    /// Waits for another leader than the one that is gone; false when none comes in time.
    async fn is_replaced(&self, gone: NodeId, wait: Duration) -> bool {
        let mut metrics = self.directory.0.metrics.clone();
        let replaced =
            metrics.wait_for(|now| now.current_leader.is_some_and(|leader| NodeId(leader) != gone));
        matches!(timeout(wait, replaced).await, Ok(Ok(_)))
    }
}
