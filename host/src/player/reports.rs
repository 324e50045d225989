//! Telling the directory which players failed on a deployment.
//!
//! When bad code is deployed for very many players, all of them fail within seconds, and a few of those
//! failures are enough to take it back. So few are told at a time: the others wait, and most find then
//! that nobody needs to hear of theirs any more.

use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::directory::{Directory, DirectoryError};
use crate::limits::STEP_RETRY;
use crate::protocol::{DeploymentChange, PlayerId};

/// Failures that a node tells at the same time.
const TOLD_AT_ONCE: usize = 4;

/// Tells the directory of failures, for one node.
#[derive(Debug)]
pub struct Reports {
    directory: Directory,
    turns: Semaphore,
}

impl Reports {
    /// Returns what tells this directory.
    pub fn new(directory: Directory) -> Self {
        Self { directory, turns: Semaphore::new(TOLD_AT_ONCE) }
    }

    /// Returns when the directory has heard that a player failed on a deployment, or need not hear it.
    pub async fn tell(&self, number: u64, player: PlayerId, reason: String) {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        if !self.directory.deployments().minds(number, &player) {
            return;
        }
        let change = DeploymentChange::Failed { number, player, reason };
        while matches!(self.directory.deploy(change.clone()).await, Err(DirectoryError::Late)) {
            sleep(STEP_RETRY).await;
        }
    }
}
