//! One call, as often as it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use crate::clock;
use crate::directory::Directory;
use crate::net::{AskError, Links};
use crate::player::{Codes, RosterRequest};
use crate::protocol::{
    Answer, Call, CallError, CallReply, CallRequest, NodeId, NodeName, NodeRecord, NodeStatus,
    PlayerId, Reply, Request, Writer, name_of,
};

/// Time after a caller's deadline in which an answer that is on its way may still come in.
const GRACE: Duration = Duration::from_millis(200);

/// How long a player whose copies cannot be reached is asked for again. A node that restarts is
/// back within this time; longer waiting helps nobody.
const PATIENCE: Duration = Duration::from_secs(3);

/// Pause between two attempts, unless the directory's nodes change before.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Longest pause between two attempts to reach copies that were not there.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Bound on asking the leader how far the directory is.
const BARRIER_PATIENCE: Duration = Duration::from_millis(500);

/// Where calls enter a node.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(super) me: Writer,
    pub(super) name: NodeName,
    pub(super) directory: Directory,
    pub(super) links: Links,
    pub(super) roster: mpsc::Sender<RosterRequest>,
    pub(super) codes: Arc<Codes>,
    pub(super) nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
}

/// Who should run a call.
enum Route {
    Here,
    There(NodeRecord),
}

/// How one attempt failed.
struct Failure {
    error: CallError,
    retry: Retry,
}

enum Retry {
    /// Trying again cannot help.
    No,
    /// The next attempt may find it better, until the deadline.
    Yes,
    /// As `Yes`, but only for [`PATIENCE`].
    ForAWhile,
}

impl Gateway {
    /// Returns the gateway of one node.
    pub fn new(
        me: Writer,
        name: NodeName,
        directory: Directory,
        links: Links,
        roster: mpsc::Sender<RosterRequest>,
        codes: Arc<Codes>,
    ) -> Self {
        let nodes = directory.watch_nodes();
        Self { me, name, directory, links, roster, codes, nodes }
    }

    /// Carries out a call wherever its player is, until `deadline`.
    ///
    /// # Errors
    ///
    /// [`CallError::outcome`] says whether the call may have been applied by any attempt.
    pub async fn call(&self, call: Call, deadline: Instant) -> Result<Answer, CallError> {
        let impatient = (clock::now() + PATIENCE).min(deadline);
        let mut may_be_applied = None;
        let mut pause = RETRY_PAUSE;
        loop {
            let mut nodes = self.nodes.clone();
            nodes.mark_unchanged();
            let failure = match self.attempt(&call, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if let CallError::Unknown { reason, .. } = &failure.error {
                may_be_applied = Some(reason.clone());
            }
            let now = clock::now();
            let again = match failure.retry {
                Retry::No => false,
                Retry::Yes => now < deadline,
                Retry::ForAWhile => now < impatient,
            };
            // Each look at copies that are not there costs a claim.
            pause = match failure.retry {
                Retry::ForAWhile => (pause * 2).min(RETRY_PAUSE_MAX),
                Retry::No | Retry::Yes => RETRY_PAUSE,
            };
            if !again {
                return Err(match (may_be_applied, failure.error) {
                    (Some(_), error @ CallError::Unknown { .. }) | (None, error) => error,
                    (Some(reason), error) => {
                        let reason = format!("{reason}; then {error}");
                        CallError::Unknown { reason, key: call.key }
                    }
                });
            }
            // Over at once when the directory learns something, a failover for instance.
            drop(timeout(pause, nodes.changed()).await);
            if matches!(failure.error, CallError::Moved { .. }) {
                // What this node knows may be old.
                drop(timeout(BARRIER_PATIENCE, self.directory.barrier()).await);
            }
        }
    }

    /// Carries out a call that another node sent because it believes that this one is the owner.
    ///
    /// # Errors
    ///
    /// `Moved` when this node is not the owner; else as the player says.
    pub async fn forwarded(&self, call: Call, deadline: Instant) -> Result<Answer, CallError> {
        let owner = self.directory.player(&call.player).map(|record| record.owner);
        if owner != Some(self.me) {
            return Err(CallError::Moved { player: call.player });
        }
        self.call_here(&call, deadline).await
    }

    async fn attempt(&self, call: &Call, deadline: Instant) -> Result<Answer, Failure> {
        match self.route(&call.player) {
            Route::Here => self.call_here(call, deadline).await.map_err(|error| {
                let retry = self.retry_here(&error);
                Failure { error, retry }
            }),
            Route::There(owner) => self.call_there(call, deadline, &owner).await,
        }
    }

    /// The owner if it is up; otherwise this node takes the player over.
    fn route(&self, player: &PlayerId) -> Route {
        let Some(record) = self.directory.player(player) else { return Route::Here };
        let is_owner = |node: &&NodeRecord| {
            node.id == record.owner.node && node.incarnation == record.owner.incarnation
        };
        let nodes = self.nodes.borrow();
        match nodes.iter().find(is_owner) {
            Some(node) if node.status == NodeStatus::Up && node.id != self.me.node => {
                Route::There(node.clone())
            }
            Some(_) | None => Route::Here,
        }
    }

    fn retry_here(&self, error: &CallError) -> Retry {
        match error {
            CallError::Moved { .. } | CallError::Unknown { .. } => Retry::Yes,
            CallError::Unavailable { .. } => Retry::ForAWhile,
            CallError::SingleNode { .. }
            | CallError::NoCode { .. }
            | CallError::Broken { .. }
            | CallError::Overloaded { .. }
            | CallError::KeyReused { .. }
            | CallError::Stopping { .. }
            | CallError::Late { .. } => Retry::No,
        }
    }

    pub(super) async fn call_here(
        &self,
        call: &Call,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let (reply, answer) = oneshot::channel();
        let request = RosterRequest::Call { call: call.clone(), deadline, reply };
        if self.roster.send(request).await.is_err() {
            return Err(CallError::Stopping { node: self.name.clone() });
        }
        let unknown =
            |reason: &str| CallError::Unknown { reason: reason.to_owned(), key: call.key };
        tokio::select! {
            answer = answer => {
                answer.unwrap_or_else(|_| Err(unknown("the player's server ended during the call")))
            }
            () = sleep_until((deadline + GRACE).into()) => {
                Err(unknown("no keeper acknowledged the call in time"))
            }
        }
    }

    async fn call_there(
        &self,
        call: &Call,
        deadline: Instant,
        owner: &NodeRecord,
    ) -> Result<Answer, Failure> {
        let left = deadline.saturating_duration_since(clock::now()).as_millis();
        // 0 would ask for the default.
        let deadline_ms = u64::try_from(left).unwrap_or(u64::MAX).max(1);
        let request = CallRequest::Forward { call: call.clone(), deadline_ms };
        let pending = self.links.send(owner.id, Request::Call(request));
        let unknown = |reason: String| Failure {
            error: CallError::Unknown { reason, key: call.key },
            retry: Retry::Yes,
        };
        let name = &owner.name;
        let reply = tokio::select! {
            reply = pending => reply,
            () = self.ended(owner) => {
                return Err(unknown(format!("{name} went down during the call")));
            }
            () = sleep_until((deadline + GRACE).into()) => {
                return Err(unknown(format!("{name} did not answer in time")));
            }
        };
        match reply {
            Ok(Reply::Call(CallReply::Called(Ok(answer)))) => Ok(answer),
            Ok(Reply::Call(CallReply::Called(Err(error)))) => {
                let retry = match &error {
                    // Alone or leaving as the owner may be, this node is here.
                    CallError::SingleNode { .. } => Retry::ForAWhile,
                    CallError::Stopping { .. } => Retry::Yes,
                    other => self.retry_here(other),
                };
                Err(Failure { error, retry })
            }
            Ok(_) | Err(AskError::Lost) => Err(unknown(format!("{name} was lost during the call"))),
            Err(error @ (AskError::Unreachable | AskError::Full | AskError::UnknownNode)) => {
                let reason = format!("{name}: {error}");
                Err(Failure { error: CallError::Late { reason }, retry: Retry::Yes })
            }
        }
    }

    /// Resolves when the directory does not call this start of the node up any more.
    async fn ended(&self, node: &NodeRecord) {
        let mut nodes = self.nodes.clone();
        let over = nodes.wait_for(|nodes| {
            !nodes.iter().any(|known| {
                known.id == node.id
                    && known.incarnation == node.incarnation
                    && known.status == NodeStatus::Up
            })
        });
        if over.await.is_err() {
            // The directory is closing with this node: its other tasks end the call.
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn name_of(&self, id: NodeId) -> NodeName {
        name_of(id, &self.nodes.borrow())
    }
}
