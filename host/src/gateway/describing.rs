//! What functions a code has. Who has the code tells: for a player that is its owner.

use std::sync::Arc;

use super::Gateway;
use crate::guest::Code;
use crate::player::CodeError;
use crate::protocol::{
    CallError, CallReply, CallRequest, CodeHash, Description, NodeRecord, PlayerId, Reply, Request,
    Subject, sentence,
};

impl Gateway {
    /// Describes the functions of a code.
    ///
    /// # Errors
    ///
    /// `NoPlayer`, or why the code cannot be had here.
    pub(super) async fn describe(&self, subject: Subject) -> Result<Description, CallError> {
        match subject {
            Subject::New => {
                let current = self.directory.deployments().current();
                let reason = "no code is deployed yet".to_owned();
                self.describe_code(current.ok_or(CallError::Late { reason })?).await
            }
            Subject::Code(hash) => self.describe_code(hash).await,
            Subject::Player(player) => self.describe_player(player).await,
        }
    }

    async fn describe_player(&self, player: PlayerId) -> Result<Description, CallError> {
        // One that began through another node a moment ago must not be called none.
        self.catch_up().await;
        let record = self.directory.player(&player).filter(|record| !record.is_forgotten());
        let record = record.ok_or(CallError::NoPlayer { player })?;
        let owner = record.owner.node;
        let is_owner = |node: &NodeRecord| node.id == owner && node.status.is_alive();
        if owner != self.me.node && self.nodes.borrow().iter().any(is_owner) {
            // To have the code compiled here, too, is more work than to ask.
            let request = CallRequest::Describe(Subject::Code(record.code));
            if let Ok(Reply::Call(CallReply::Described(described))) =
                self.links.send(owner, Request::Call(request)).await
            {
                return described.map(|description| *description);
            }
        }
        self.describe_code(record.code).await
    }

    async fn describe_code(&self, hash: CodeHash) -> Result<Description, CallError> {
        let found = self.codes.find(hash, &self.others()).await;
        describe(found.map_err(|error| not_had(hash, &error))?).await
    }
}

/// A large code takes milliseconds to look through, and other calls wait for this task.
async fn describe(code: Arc<Code>) -> Result<Description, CallError> {
    let hash = code.hash();
    let described = tokio::task::spawn_blocking(move || code.describe()).await;
    described.map_err(|_| CallError::Late { reason: format!("the code {hash} was not described") })
}

fn not_had(hash: CodeHash, error: &CodeError) -> CallError {
    CallError::Late { reason: format!("the code {hash} cannot be had here: {}", sentence(error)) }
}
