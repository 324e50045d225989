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

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info};

use super::Directory;
use crate::protocol::NodeId;

/// Time between two voters that stand in the first round; each further round doubles it. A vote and
/// its sync take a few milliseconds on an idle machine, and far more on a busy one.
const TURN: Duration = Duration::from_millis(8);
/// How often a voter may stand before it leaves the rest to Raft's own timeouts. A second time
/// helps when the last one that stood lacked an entry that another has, or stood before the others
/// had heard that the leader is gone.
const ROUNDS: u32 = 6;
/// Time after which a new leader counts as lasting: the turns of all voters that may stand.
const LASTING: Duration = Duration::from_millis(50);

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
        let mut yielded_to = None;
        // What `better` was when this voter stood last.
        let mut stood = None;
        for round in 0..ROUNDS {
            if self.is_replaced(gone, wait).await {
                return;
            }
            // The next round begins when this one is over, and its turns are twice as long.
            wait = turns(voters.len() + 1 + rank) * 2_u32.pow(round);
            // Another voter that stands and has this node's vote is given its time, once.
            let rival = self.voted_for().await.filter(|node| *node != me && *node != gone);
            let yields = rival.is_some() && rival != std::mem::replace(&mut yielded_to, rival);
            // A voter that has given up its lease cannot win against one with a longer log: it would
            // only take votes away.
            let hopeless = stood.is_some_and(|before| before != self.better());
            if yields || hopeless {
                continue;
            }
            stood = Some(self.better());
            let name = self.directory.node(gone).map(|node| node.name.to_string());
            info!(peer = name, "the directory's leader is gone, standing for election");
            if let Err(error) = self.directory.0.raft.trigger().elect().await {
                debug!(%error, "cannot stand for election");
                return;
            }
        }
    }

    fn better(&self) -> u64 {
        self.directory.0.better.load(Ordering::Relaxed)
    }

    /// Returns whom this node has given its vote. The metrics would say it a moment too late: a
    /// voter that stands after it has voted takes down the very leader that it helped to elect.
    async fn voted_for(&self) -> Option<NodeId> {
        let vote = self.directory.0.raft.with_raft_state(|state| *state.vote_ref()).await.ok()?;
        vote.leader_id.voted_for().map(NodeId)
    }

    /// Waits for another leader than the one that is gone; false when none comes in time, or when
    /// it does not last.
    async fn is_replaced(&self, gone: NodeId, wait: Duration) -> bool {
        let mut metrics = self.directory.0.metrics.clone();
        let other = |leader: Option<u64>| leader.is_some_and(|leader| NodeId(leader) != gone);
        let replaced = metrics.wait_for(|now| other(now.current_leader));
        if !matches!(timeout(wait, replaced).await, Ok(Ok(_))) {
            return false;
        }
        // A voter that stood at the same moment may have taken it down again.
        let fallen = metrics.wait_for(|now| !other(now.current_leader));
        timeout(LASTING, fallen).await.is_err()
    }
}
