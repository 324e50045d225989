//! The gateway's task: one future for each request that is being served.
//!
//! They are futures of this one task, not tasks of their own: a call waits for its player nearly all
//! the time, and one more task that has to be woken costs more than what it does.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::clock;
use crate::limits::{CALL_DEADLINE, CALLS_IN_FLIGHT_MAX, INBOX_REQUESTS_MAX};
use crate::net::{Inbound, Responder};
use crate::protocol::{CallError, CallKey, CallReply, CallRequest};

/// Longest deadline that a caller may ask for.
const DEADLINE_MAX: Duration = Duration::from_secs(300);

/// Time that a stop gives to the requests that are being served.
const DRAIN_TIME: Duration = Duration::from_secs(1);

type CallInbound = Inbound<CallRequest, CallReply>;

/// Serves the requests of clients and of other nodes' gateways.
#[derive(Debug)]
pub struct Service {
    gateway: Gateway,
    inbox: mpsc::Receiver<CallInbound>,
}

/// Returns an inbox that can be handed out before there is a gateway.
pub fn inbox() -> (mpsc::Sender<CallInbound>, mpsc::Receiver<CallInbound>) {
    mpsc::channel(INBOX_REQUESTS_MAX)
}

impl Service {
    /// Returns the service of `gateway` for what arrives in `inbox`.
    pub fn new(gateway: Gateway, inbox: mpsc::Receiver<CallInbound>) -> Self {
        Self { gateway, inbox }
    }

    /// Serves until cancelled. Requests that are being served then have a moment to end; the
    /// callers of the rest learn that the outcome is unknown.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut serving = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(()) = serving.next() => {}
                inbound = self.inbox.recv() => {
                    let Some(Inbound { request, responder, .. }) = inbound else { break };
                    if serving.len() >= CALLS_IN_FLIGHT_MAX {
                        let node = self.gateway.name.clone();
                        responder.send(CallReply::Called(Err(CallError::Overloaded { node })));
                        continue;
                    }
                    let gateway = self.gateway.clone();
                    let due = Due::new(&request, responder);
                    serving.push(async move {
                        // A panic is our own bug and costs one caller its answer, not the node.
                        let served = AssertUnwindSafe(gateway.serve(request)).catch_unwind().await;
                        if let Ok(reply) = served {
                            due.send(reply);
                        }
                    });
                }
            }
        }
        let rest = async { while serving.next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIME, rest).await.is_err() {
            tracing::info!(calls = serving.len(), "stopped in the middle of calls");
        }
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
    async fn serve(&self, request: CallRequest) -> CallReply {
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
        }
    }

    /// Asks the node to drain; one that is on its way already says only that.
    async fn drain(&self) -> CallReply {
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
