//! What runs for the directory: the batcher, which owns the queue of changes, and the elector.

use openraft::error::Fatal;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::elector::Elector;
use super::{Directory, DirectoryError};
use crate::limits::CHANGES_PER_ENTRY_MAX;
use crate::protocol::{
    ChangeOutcome, DirectoryReply, DirectoryRequest, NodeId, PlayerChange, PlayerRecord,
};

/// A change that waits for its outcome. Whoever waits gives up by dropping the receiver.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) change: PlayerChange,
    /// Takes the outcome and the log index that shows it.
    pub(super) reply: oneshot::Sender<(ChangeOutcome, u64)>,
}

/// Runs the directory of this node.
#[derive(Debug)]
pub struct Driver {
    directory: Directory,
    batcher: Batcher,
    elector: Elector,
}

impl Driver {
    pub(super) fn new(
        directory: Directory,
        queue: mpsc::Receiver<Job>,
        reports: mpsc::Receiver<NodeId>,
    ) -> Self {
        let batcher = Batcher { directory: directory.clone(), queue, waiting: Vec::new() };
        let elector = Elector::new(directory.clone(), reports);
        Self { directory, batcher, elector }
    }

    /// Runs until [`Directory::shutdown`].
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Failed`] when Raft cannot go on, most likely for the disk: the node must
    /// stop.
    pub async fn run(self) -> Result<(), DirectoryError> {
        let Self { directory, batcher, elector } = self;
        tokio::select! {
            () = directory.0.stop.cancelled() => Ok(()),
            () = batcher.run() => Ok(()),
            () = elector.run() => Ok(()),
            error = directory.failed() => match error {
                DirectoryError::Stopping if directory.0.stop.is_cancelled() => Ok(()),
                DirectoryError::Stopping => Err(DirectoryError::Failed(Fatal::Stopped.into())),
                error => Err(error),
            },
        }
    }
}

/// Turns changes that wait at the same time into one entry of the log.
///
/// One entry is under way at a time: what arrives meanwhile makes up the next one, so the entries
/// grow with the load.
#[derive(Debug)]
struct Batcher {
    directory: Directory,
    queue: mpsc::Receiver<Job>,
    waiting: Vec<Job>,
}

impl Batcher {
    async fn run(mut self) {
        while self.fill().await {
            self.waiting.retain(|job| !job.reply.is_closed());
            if self.waiting.is_empty() {
                continue;
            }
            let changes = self.waiting.iter().map(|job| job.change.clone()).collect();
            let asked = self.directory.leader();
            let reply = self.directory.ask_leader(DirectoryRequest::Change(changes)).await;
            match reply {
                Some(DirectoryReply::Changed { outcomes, index })
                    if outcomes.len() == self.waiting.len() =>
                {
                    self.answer(outcomes, index);
                }
                reply => {
                    debug!(changes = self.waiting.len(), ?reply, "changes are tried again");
                    self.directory.pause(asked).await;
                }
            }
        }
    }

    /// Adds to what waits already, and waits for a first change if there is none. False when no
    /// more can come.
    async fn fill(&mut self) -> bool {
        if self.waiting.is_empty() {
            let taken = self.queue.recv_many(&mut self.waiting, CHANGES_PER_ENTRY_MAX).await;
            return taken > 0;
        }
        while self.waiting.len() < CHANGES_PER_ENTRY_MAX
            && let Ok(job) = self.queue.try_recv()
        {
            self.waiting.push(job);
        }
        true
    }

    fn answer(&mut self, outcomes: Vec<ChangeOutcome>, index: u64) {
        for (job, outcome) in self.waiting.drain(..).zip(outcomes) {
            let outcome = settle(&job.change, outcome);
            if job.reply.send((outcome, index)).is_err() {
                debug!(player = %job.change.player, "nobody waits for the change any more");
            }
        }
    }
}

/// Recognizes a change that an earlier attempt has done, whose reply was lost: what it conflicts
/// with is itself.
fn settle(change: &PlayerChange, outcome: ChangeOutcome) -> ChangeOutcome {
    let PlayerChange { player: _, expect, by: _, owner, keepers, code, failed } = change.clone();
    let asked = PlayerRecord { generation: expect.next(), owner, keepers, code, failed };
    match outcome {
        ChangeOutcome::Conflict(Some(record)) if record == asked => {
            ChangeOutcome::Changed(record.generation)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        CodeHash, CopyId, FailedRestores, Generation, Incarnation, KeeperCopy, Seq, Writer,
    };

    #[test]
    fn a_change_that_conflicts_with_itself_was_done() {
        let owner = Writer { node: NodeId(1), incarnation: Incarnation(1) };
        let keepers = vec![KeeperCopy { node: NodeId(2), copy: CopyId(20) }];
        let code = CodeHash([1; 32]);
        let change = PlayerChange {
            player: "player1".parse().unwrap(),
            expect: Generation(4),
            by: owner,
            owner,
            keepers: keepers.clone(),
            code,
            failed: None,
        };
        let record = PlayerRecord { generation: Generation(5), owner, keepers, code, failed: None };
        let same = ChangeOutcome::Conflict(Some(record.clone()));
        assert_eq!(settle(&change, same), ChangeOutcome::Changed(Generation(5)));
        let later = PlayerRecord { generation: Generation(6), ..record.clone() };
        let other = PlayerRecord { keepers: vec![], ..record.clone() };
        let failed = FailedRestores { times: 1, seq: Seq(3), reason: "no".to_owned() };
        let counted = PlayerRecord { failed: Some(Box::new(failed)), ..record };
        for record in [later, other, counted] {
            let conflict = ChangeOutcome::Conflict(Some(record));
            assert_eq!(settle(&change, conflict.clone()), conflict);
        }
        assert_eq!(settle(&change, ChangeOutcome::Conflict(None)), ChangeOutcome::Conflict(None));
    }
}
