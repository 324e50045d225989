//! A drill: a node's process ends at once, as if somebody had killed it, so that people see what the
//! others do then. Nothing is handed over, and nobody is told.

use std::process::abort;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::time::timeout;

use super::Gateway;
use crate::clock;
use crate::limits::STEP_DEADLINE;
use crate::net::AskError;
use crate::protocol::{
    CallError, CallKey, CallReply, CallRequest, NodeCrash, NodeName, NodeRecord, Reply, Request,
    names_in_words,
};

/// Time for the directory to call a node down that has ended. Its sockets are closed at once, so a
/// cluster with a majority needs a fraction of it.
const DOWN_PATIENCE: Duration = Duration::from_secs(3);

impl Gateway {
    /// Lets a node's process end. Does not return if it is this one.
    ///
    /// # Errors
    ///
    /// `NoNode` and `Late`: nothing was done. `Unknown`: it may have ended.
    pub(super) async fn crash(&self, name: &NodeName) -> Result<NodeCrash, CallError> {
        // A name is not enough that was another node's a moment ago.
        self.catch_up().await;
        let node = self.find(name)?;
        if node.id == self.me.node {
            end_this_process(name);
        }
        let (players, copies) = self.holdings(&node).await;
        let request = Request::Call(CallRequest::Crash(name.clone()));
        match timeout(STEP_DEADLINE, self.links.send(node.id, request)).await {
            Ok(Err(AskError::Lost)) => {}
            Ok(Ok(Reply::Call(CallReply::Crashed(Err(error))))) => return Err(error),
            Ok(Err(error @ (AskError::Unreachable | AskError::Full | AskError::UnknownNode))) => {
                return Err(CallError::Late { reason: format!("{name}: {error}") });
            }
            Ok(Ok(_)) => {
                return Err(unknown(format!("{name} goes on although it was asked to end")));
            }
            Err(_) => return Err(unknown(format!("{name} was asked to end and says nothing"))),
        }
        let down = timeout(DOWN_PATIENCE, self.ended(&node)).await.is_ok();
        Ok(NodeCrash { node: name.clone(), players, copies, down })
    }

    /// Has a node hand over what it has and stop, this one or another.
    ///
    /// # Errors
    ///
    /// `NoNode` and `Late`: nothing was done. `Unknown`: it may be on its way.
    pub async fn drain_node(&self, name: &NodeName) -> Result<CallReply, CallError> {
        self.catch_up().await;
        let node = self.find(name)?;
        if node.id == self.me.node {
            return Ok(self.drain().await);
        }
        match self.links.send(node.id, Request::Call(CallRequest::Drain)).await {
            Ok(Reply::Call(reply)) => Ok(reply),
            Ok(_) | Err(AskError::Lost) => {
                Err(unknown(format!("{name} was lost while it handed over what it has")))
            }
            Err(error) => Err(CallError::Late { reason: format!("{name}: {error}") }),
        }
    }

    /// Returns the node of exactly this name, if it runs.
    fn find(&self, name: &NodeName) -> Result<NodeRecord, CallError> {
        let nodes = self.nodes.borrow();
        let reason = match nodes.iter().find(|node| node.name == *name) {
            Some(node) if node.status.is_alive() => return Ok(node.clone()),
            Some(_) => format!("{name} is down already"),
            None => format!("there is no node {name}; there are {}", names_in_words(&nodes)),
        };
        Err(CallError::NoNode { reason })
    }

    /// Returns how many players a node owns, and how many copies it keeps for others.
    async fn holdings(&self, node: &NodeRecord) -> (u64, u64) {
        let (mut players, mut copies) = (0, 0);
        self.directory
            .each_player(|_, record| {
                players += u64::from(record.owner.node == node.id);
                copies += u64::from(record.remote_keepers().any(|keeper| keeper.node == node.id));
            })
            .await;
        (players, copies)
    }
}

/// Nobody knows what became of what was asked of a node.
fn unknown(reason: String) -> CallError {
    CallError::Unknown { reason, key: CallKey::random(clock::unix_millis()) }
}

/// Ends the process as a signal from outside would: nothing is flushed, closed or said.
fn end_this_process(name: &NodeName) -> ! {
    tracing::warn!("crash drill: the process of {name} ends at once, as if it was killed");
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        tracing::error!(%error, "the process cannot kill itself, and aborts");
    }
    abort()
}
