//! One call, as often as it takes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use super::meter::Meter;
use crate::chronicle::Chronicle;
use crate::clock;
use crate::directory::Directory;
use crate::limits::KEY_AHEAD_MAX;
use crate::membership::successor_for;
use crate::net::{AskError, Links};
use crate::player::{Codes, Players};
use crate::protocol::{
    Answer, Call, CallError, CallKey, CallReply, CallRequest, DrainReport, Exhibit, NodeId,
    NodeName, NodeRecord, NodeStatus, Operation, PlayerId, PlayerRecord, Reply, Request, Writer,
    name_of, others_alive,
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
    pub(super) players: Players,
    pub(super) codes: Arc<Codes>,
    pub(super) chronicle: Chronicle,
    pub(super) meter: Meter,
    pub(super) nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
    /// Takes the wish that this node drain.
    pub(super) drains: mpsc::Sender<oneshot::Sender<DrainReport>>,
    /// The turn to deploy something, and the wish of whoever has it.
    pub(super) deploying: Arc<(Mutex<()>, AtomicU64)>,
}

/// Who should run a call.
enum Route {
    Here,
    /// The owner.
    There(NodeRecord),
    /// This node is going to leave: another one takes over the player, which nobody owns.
    Through(NodeRecord),
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
    /// Returns the gateway of one node, and what says that somebody wants the node to drain. Who
    /// takes such a wish answers it with what was handed over.
    pub fn new(
        me: Writer,
        name: NodeName,
        directory: Directory,
        links: Links,
        players: Players,
        codes: Arc<Codes>,
        chronicle: Chronicle,
    ) -> (Self, mpsc::Receiver<oneshot::Sender<DrainReport>>) {
        let nodes = directory.watch_nodes();
        let (drains, asked) = mpsc::channel(1);
        let deploying = Arc::default();
        let gateway = Self {
            me,
            name,
            directory,
            links,
            players,
            codes,
            chronicle,
            meter: Meter::new(),
            nodes,
            drains,
            deploying,
        };
        (gateway, asked)
    }

    /// Carries out a call wherever its player is, until `deadline`.
    ///
    /// # Errors
    ///
    /// [`CallError::outcome`] says whether the call may have been applied by any attempt.
    pub async fn call(&self, call: Call, deadline: Instant) -> Result<Answer, CallError> {
        let began = clock::now();
        let ended = self.carry_out(call, deadline).await;
        self.meter.note(&ended, clock::now().saturating_duration_since(began));
        ended
    }

    async fn carry_out(&self, call: Call, deadline: Instant) -> Result<Answer, CallError> {
        self.check_key(call.key)?;
        let forgets = call.operation == Operation::Forget;
        // A player that this node has not heard of yet must not be taken for one that is not, nor one
        // for well that is in quarantine.
        let asks_directory = matches!(
            call.operation,
            Operation::Forget
                | Operation::Release
                | Operation::Bundle(Exhibit::Quarantine)
                | Operation::Move(_)
                | Operation::Crash
                | Operation::Export
                | Operation::Import(_)
        );
        if asks_directory && !self.catch_up().await {
            let reason = "the directory's leader does not answer".to_owned();
            return Err(CallError::Late { reason });
        }
        let impatient = (clock::now() + PATIENCE).min(deadline);
        let mut may_be_applied: Option<String> = None;
        let moving = matches!(call.operation, Operation::Move(_));
        let mut pause = RETRY_PAUSE;
        let mut moves = 0;
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
            // A person who decides wants to read what came of it, not to wait for something better.
            let decided = matches!(call.operation, Operation::Recover(_));
            let unknown = matches!(failure.error, CallError::Unknown { .. });
            let again = match failure.retry {
                Retry::No => false,
                // The next one of this name may be another player.
                Retry::Yes if forgets && unknown => false,
                Retry::ForAWhile if decided => false,
                Retry::Yes => now < deadline,
                Retry::ForAWhile => now < impatient,
            };
            // Each look at copies that are not there costs a claim.
            pause = match failure.retry {
                Retry::ForAWhile => (pause * 2).min(RETRY_PAUSE_MAX),
                Retry::No | Retry::Yes => RETRY_PAUSE,
            };
            if !again {
                // It was sent on: whether for its own sake, only the player's owner can say.
                let sent_on = moves > 0 || matches!(failure.error, CallError::Moved { .. });
                if moving && sent_on && !failure.error.settles_a_move() {
                    may_be_applied.get_or_insert_with(|| "the player was handed over".to_owned());
                }
                return Err(match (may_be_applied, failure.error) {
                    // Its owner has looked at the key: it has begun with something else.
                    (Some(_), error @ CallError::PlayerExists { .. }) => error,
                    (Some(_), error @ CallError::Unknown { .. }) | (None, error) => error,
                    (Some(reason), error) => {
                        let reason = format!("{reason}; then {error}");
                        CallError::Unknown { reason, key: call.key }
                    }
                });
            }
            let moved = matches!(failure.error, CallError::Moved { .. });
            moves += u32::from(moved);
            // One who was handed over is there already. Else the pause is over at once when the
            // directory learns something, a failover for instance.
            if !moved || moves > 1 {
                drop(timeout(pause, nodes.changed()).await);
            }
            if moved {
                // What this node knows may be old.
                self.catch_up().await;
            }
        }
    }

    /// Carries out a call that another node sent because it believes that this one is the owner.
    ///
    /// # Errors
    ///
    /// `Moved` when this node is not the owner; else as the player says.
    pub async fn forwarded(&self, call: Call, deadline: Instant) -> Result<Answer, CallError> {
        if self.owned(&call.player).is_none() {
            // It may have been handed over to this node a moment ago.
            self.catch_up().await;
        }
        if self.owned(&call.player).is_none() {
            return Err(CallError::Moved { player: call.player });
        }
        self.call_here(&call, deadline).await
    }

    /// Returns what the directory says of a player that this node owns.
    fn owned(&self, player: &PlayerId) -> Option<PlayerRecord> {
        self.directory.player(player).filter(|record| record.owner == self.me)
    }

    /// Learns what the directory has acknowledged until now, if its leader answers.
    pub(super) async fn catch_up(&self) -> bool {
        matches!(timeout(BARRIER_PATIENCE, self.directory.barrier()).await, Ok(Ok(())))
    }

    /// Refuses a key of the future: it would make the keys of others look old.
    fn check_key(&self, key: CallKey) -> Result<(), CallError> {
        let ahead = Duration::from_millis(key.millis().saturating_sub(clock::unix_millis()));
        if ahead <= KEY_AHEAD_MAX {
            return Ok(());
        }
        let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        Err(CallError::KeyAhead { key, node: self.name.clone(), ahead_ms })
    }

    async fn attempt(&self, call: &Call, deadline: Instant) -> Result<Answer, Failure> {
        let record = self.directory.player(&call.player);
        match self.route(&call.player, record.as_ref().map(|record| record.owner)) {
            Route::Here => self.call_here(call, deadline).await.map_err(|error| {
                let retry = self.retry_here(&error);
                Failure { error, retry }
            }),
            Route::There(owner) => {
                let forward = |call, deadline_ms| CallRequest::Forward { call, deadline_ms };
                self.call_there(call, deadline, &owner, forward).await
            }
            Route::Through(node) => {
                let pass_on = |call, deadline_ms| CallRequest::Call { call, deadline_ms };
                self.call_there(call, deadline, &node, pass_on).await
            }
        }
    }

    /// The owner if it is alive; otherwise this node takes the player over, unless it will leave.
    fn route(&self, player: &PlayerId, owner: Option<Writer>) -> Route {
        let nodes = self.nodes.borrow();
        let of = |writer: Writer| {
            let start = |node: &&NodeRecord| {
                node.id == writer.node && node.incarnation == writer.incarnation
            };
            nodes.iter().find(start)
        };
        match owner.and_then(of).filter(|node| node.status.is_alive()) {
            Some(node) if node.id == self.me.node => Route::Here,
            Some(node) => Route::There(node.clone()),
            None => {
                let leaving = of(self.me).is_some_and(|me| me.status == NodeStatus::Draining);
                let other = leaving.then(|| successor_for(player, Some(self.me.node), &[], &nodes));
                other.flatten().and_then(of).map_or(Route::Here, |n| Route::Through(n.clone()))
            }
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
            | CallError::Available { .. }
            | CallError::KeyExpired { .. }
            | CallError::KeyAhead { .. }
            | CallError::Quarantined(_)
            | CallError::NotQuarantined { .. }
            | CallError::NoBundle { .. }
            | CallError::NoFunction { .. }
            | CallError::BadArguments { .. }
            | CallError::AnswerGone { .. }
            | CallError::NoPlayer { .. }
            | CallError::NotMoved { .. }
            | CallError::NotThere { .. }
            | CallError::NoNode { .. }
            | CallError::PlayerExists { .. }
            | CallError::NotImported { .. }
            | CallError::Stopping { .. }
            | CallError::Late { .. } => Retry::No,
        }
    }

    /// Hands a call to its player.
    async fn call_here(&self, call: &Call, deadline: Instant) -> Result<Answer, CallError> {
        if call.operation == Operation::Bundle(Exhibit::LastTrap) {
            // Nothing has to be opened for it.
            let (player, node) = (call.player.clone(), self.name.clone());
            let bundle = self.players.last_trap(&player);
            let bundle = bundle.ok_or(CallError::NoBundle { player, node })?;
            return Ok(Answer::Bundled(Box::new(bundle)));
        }
        if let Operation::Import(file) = &call.operation {
            self.check_import(&call.player, file).await?;
        }
        let (reply, answer) = oneshot::channel();
        self.players.call(call.clone(), deadline, reply).await;
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
        request: impl FnOnce(Call, u64) -> CallRequest,
    ) -> Result<Answer, Failure> {
        let left = deadline.saturating_duration_since(clock::now()).as_millis();
        // 0 would ask for the default.
        let deadline_ms = u64::try_from(left).unwrap_or(u64::MAX).max(1);
        let request = request(call.clone(), deadline_ms);
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
    pub(super) async fn ended(&self, node: &NodeRecord) {
        let mut nodes = self.nodes.clone();
        let over = nodes.wait_for(|nodes| {
            !nodes.iter().any(|known| {
                known.id == node.id
                    && known.incarnation == node.incarnation
                    && known.status.is_alive()
            })
        });
        if over.await.is_err() {
            // The directory is closing with this node: its other tasks end the call.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the other nodes that are alive.
    pub(super) fn others(&self) -> Vec<NodeId> {
        others_alive(self.me.node, &self.nodes.borrow())
    }

    pub(super) fn is_alive(&self, id: NodeId) -> bool {
        self.nodes.borrow().iter().any(|node| node.id == id && node.status.is_alive())
    }

    pub(super) fn name_of(&self, id: NodeId) -> NodeName {
        name_of(id, &self.nodes.borrow())
    }
}
