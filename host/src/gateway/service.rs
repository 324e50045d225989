//! The way in: serves the requests of one stream in that stream's own task, one future for each.
//!
//! They are futures, not tasks of their own: a call waits for its player nearly all the time, and one
//! more task that has to be woken costs more than what it does.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::clock;
use crate::limits::{CALL_DEADLINE, CALLS_IN_FLIGHT_MAX, INBOX_REQUESTS_MAX};
use crate::net::{CallInbound, Calls, Inbound, Responder, Serving};
use crate::protocol::{CallError, CallKey, CallReply, CallRequest};

/// Longest deadline that a caller may ask for.
const DEADLINE_MAX: Duration = Duration::from_secs(300);

/// Time that a stop gives to the requests that are being served.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Takes in the requests of clients and of other nodes' gateways. It can be handed out before there
/// is a gateway behind it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door(Arc<Hall>);

#[derive(Debug)]
struct Hall {
    gateway: OnceLock<Gateway>,
    /// Room for calls, of all streams together.
    room: Arc<Semaphore>,
    cancel: CancellationToken,
}

impl Door {
    /// Returns a door with nothing behind it: who comes too early is told that the node is busy.
    ///
    /// After `cancel` nobody is let in, requests that are being served have a moment to end, and the
    /// callers of the rest learn that the outcome is unknown.
    pub fn new(cancel: CancellationToken) -> Self {
        let (gateway, room) = (OnceLock::new(), Arc::new(Semaphore::new(CALLS_IN_FLIGHT_MAX)));
        Self(Arc::new(Hall { gateway, room, cancel }))
    }

    /// Lets requests in to `gateway`. Only the first one counts.
    pub fn open_to(&self, gateway: Gateway) {
        self.0.gateway.set(gateway).ok();
    }
}

impl Calls for Door {
    fn open(&self) -> (mpsc::Sender<CallInbound>, Serving) {
        let (calls, inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        (calls, Box::pin(self.0.clone().serve(inbox)))
    }
}

impl Hall {
    async fn serve(self: Arc<Self>, mut inbox: mpsc::Receiver<CallInbound>) {
        let mut serving = FuturesUnordered::new();
        let mut is_open = true;
        let mut stopped = pin!(self.cancel.cancelled());
        while is_open || !serving.is_empty() {
            tokio::select! {
                biased;
                // First, so that nobody is let in any more.
                () = &mut stopped => break,
                Some(()) = serving.next() => {}
                inbound = inbox.recv(), if is_open => match inbound {
                    Some(inbound) => serving.extend(self.let_in(inbound)),
                    None => is_open = false,
                },
            }
        }
        drop(inbox);
        let rest = async { while serving.next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIME, rest).await.is_err() {
            tracing::info!(calls = serving.len(), "stopped in the middle of calls");
        }
    }

    /// Returns what serves a request, unless it is refused.
    fn let_in(self: &Arc<Self>, inbound: CallInbound) -> Option<impl Future<Output = ()> + use<>> {
        let Inbound { request, responder, .. } = inbound;
        // Dropped, the responder says that the node is busy.
        let gateway = self.gateway.get()?.clone();
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            let node = gateway.name.clone();
            responder.send(CallReply::Called(Err(CallError::Overloaded { node })));
            return None;
        };
        let due = Due::new(&request, responder);
        Some(async move {
            // A panic is our own bug and costs one caller its answer, not the node.
            let served = AssertUnwindSafe(gateway.serve(request)).catch_unwind().await;
            if let Ok(reply) = served {
                due.send(reply);
            }
            drop(room);
        })
    }
}

/// An answer that is due. If the task that should give it ends before, the call may have been
/// applied, and the caller is told so.
struct Due {
    key: Option<CallKey>,
    responder: Option<Responder<CallReply>>,
}

impl Due {
    fn new(request: &CallRequest, responder: Responder<CallReply>) -> Self {
        let key = match request {
            CallRequest::Call { call, .. } | CallRequest::Forward { call, .. } => Some(call.key),
            CallRequest::Players { .. }
            | CallRequest::Nodes
            | CallRequest::Code(_)
            | CallRequest::Drain
            | CallRequest::Traffic
            | CallRequest::Quarantined { .. }
            | CallRequest::Deploy(_)
            | CallRequest::RollBack { .. }
            | CallRequest::Deployments
            | CallRequest::Prepare(_)
            | CallRequest::Describe(_)
            | CallRequest::News { .. }
            | CallRequest::Stats
            | CallRequest::Crash(_)
            | CallRequest::Look { .. }
            | CallRequest::Overview { .. }
            | CallRequest::PlayersOf { .. }
            | CallRequest::Configure(_) => None,
        };
        Self { key, responder: Some(responder) }
    }

    fn send(mut self, reply: CallReply) {
        if let Some(responder) = self.responder.take() {
            responder.send(reply);
        }
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        if let (Some(responder), Some(key)) = (self.responder.take(), self.key) {
            let reason = "the node ended the call before it was answered".to_owned();
            responder.send(CallReply::Called(Err(CallError::Unknown { reason, key })));
        }
    }
}

impl Gateway {
    /// Answers a request, whoever asks: what each may ask was judged before.
    pub async fn serve(&self, request: CallRequest) -> CallReply {
        match request {
            CallRequest::Call { call, deadline_ms } => {
                CallReply::Called(self.call(call, deadline(deadline_ms)).await)
            }
            CallRequest::Forward { call, deadline_ms } => {
                CallReply::Called(self.forwarded(call, deadline(deadline_ms)).await)
            }
            CallRequest::Players { all: false, after } => self.players_here(after).await,
            CallRequest::Players { all: true, after } => self.players_everywhere(after).await,
            CallRequest::Nodes => self.list_nodes(),
            CallRequest::Code(hash) => {
                // A file may have to be read, and other calls wait for this task.
                let codes = self.codes.clone();
                let read = tokio::task::spawn_blocking(move || codes.bytes(hash)).await;
                CallReply::Code(read.unwrap_or_default())
            }
            CallRequest::Configure(change) => CallReply::Settings(self.configure(change).await),
            CallRequest::Drain => self.drain().await,
            CallRequest::Traffic => CallReply::Traffic(self.links.traffic()),
            CallRequest::Quarantined { after } => self.list_quarantined(after).await,
            CallRequest::Deploy(request) => {
                CallReply::Deployed(Box::pin(self.deploy(*request)).await)
            }
            CallRequest::RollBack { number, reason } => {
                CallReply::RolledBack(Box::pin(self.roll_back(number, reason)).await)
            }
            CallRequest::Deployments => CallReply::Deployments(self.list_deployments().await),
            CallRequest::Prepare(hash) => CallReply::Prepared(self.prepare(hash).await),
            CallRequest::News { after, wait_ms } => self.news_here(after, wait_ms).await,
            CallRequest::Stats => CallReply::Stats(Box::new(self.stats())),
            CallRequest::Describe(subject) => {
                CallReply::Described(self.describe(subject).await.map(Box::new))
            }
            CallRequest::Look { player, everywhere } => self.look(player, everywhere).await,
            CallRequest::Overview { after } => {
                CallReply::Overview(Box::new(Box::pin(self.overview(after)).await))
            }
            CallRequest::PlayersOf { node, after, limit } => {
                CallReply::PlayersOf(Box::pin(self.players_of(node, after, limit)).await)
            }
            CallRequest::Crash(node) => CallReply::Crashed(self.crash(&node).await),
        }
    }

    /// Asks the node to drain; one that is on its way already says only that.
    pub(super) async fn drain(&self) -> CallReply {
        let (reply, report) = oneshot::channel();
        let asked = self.drains.try_send(reply);
        match report.await {
            Ok(report) if asked.is_ok() => CallReply::Drained(report),
            Ok(_) | Err(_) => {
                CallReply::Called(Err(CallError::Stopping { node: self.name.clone() }))
            }
        }
    }
}

/// A caller's deadline on this node's clock; 0 asks for the default.
fn deadline(millis: u64) -> std::time::Instant {
    let asked = Duration::from_millis(millis);
    clock::now() + if millis == 0 { CALL_DEADLINE } else { asked.min(DEADLINE_MAX) }
}
