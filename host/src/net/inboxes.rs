//! Where requests from other processes go, and how they are answered.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::PeerIdentity;
use crate::protocol::{
    CallReply, CallRequest, DirectoryReply, DirectoryRequest, KeeperReply, KeeperRequest,
    MemberReply, MemberRequest, NodeName, NodeRecord, Passed, Relay, Reply, Request,
};

/// Serves calls in the task of the stream that they came on: a call waits nearly all the time, and
/// one more task that has to be woken, twice for each call, costs more than what it does.
pub trait Calls: fmt::Debug + Send + Sync {
    /// Returns an inbox for the calls of one stream, and what serves them: until the inbox is closed
    /// and all are answered.
    fn open(&self) -> (mpsc::Sender<CallInbound>, Serving);
}

/// A call and how to answer it.
pub type CallInbound = Inbound<CallRequest, CallReply>;

/// Serves what is in an inbox.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where requests go: one queue for each room; calls are served beside their stream.
#[derive(Debug, Clone)]
pub struct Inboxes {
    /// For `membership`.
    pub member: mpsc::Sender<Inbound<MemberRequest, MemberReply>>,
    /// For `directory`.
    pub directory: mpsc::Sender<Inbound<DirectoryRequest, DirectoryReply>>,
    /// For `keeper`.
    pub keeper: mpsc::Sender<Inbound<KeeperRequest, KeeperReply>>,
    /// For `gateway`.
    pub call: Arc<dyn Calls>,
    /// For the [`Relayer`](super::Relayer).
    pub relay: mpsc::Sender<Inbound<Relay, Reply>>,
    /// All nodes, to hold against their certificates what requests say of their senders.
    pub nodes: watch::Receiver<Arc<Vec<NodeRecord>>>,
}

/// A request from another process.
#[derive(Debug)]
pub struct Inbound<Q, R> {
    /// Who asks, as TLS has proved it: to this node, or to the one that has passed it on. Numbers
    /// of its sender in the request were held against it.
    pub from: PeerIdentity,
    /// The node that has passed it on, if one has.
    pub through: Option<NodeName>,
    /// What is asked.
    pub request: Q,
    /// How to answer.
    pub responder: Responder<R>,
}

/// Answers one request. Dropped without an answer, it says [`Reply::Busy`]: so drop it only when
/// nothing was done.
pub struct Responder<R> {
    /// Taken by the answer.
    place: Option<OwnedPermit<(u64, Reply)>>,
    id: u64,
    wrap: fn(R) -> Reply,
}

impl<R> Responder<R> {
    /// Sends the answer. Never waits; if the peer is gone, nobody hears it.
    pub fn send(mut self, reply: R) {
        let reply = (self.wrap)(reply);
        self.answer(reply);
    }

    fn answer(&mut self, reply: Reply) {
        if let Some(place) = self.place.take() {
            place.send((self.id, reply));
        }
    }
}

impl<R> Drop for Responder<R> {
    fn drop(&mut self) {
        self.answer(Reply::Busy);
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Inboxes {
    /// Hands a request to its room; waits while the room is behind. A room that is gone drops the
    /// responder, which answers `Busy`.
    ///
    /// # Errors
    ///
    /// When the peer says that another node asks. What it has passed on is not its own word, and is
    /// answered with `Busy`.
    pub(super) async fn deliver(
        &self,
        calls: Option<&mpsc::Sender<CallInbound>>,
        from: PeerIdentity,
        request: Request,
        id: u64,
        place: OwnedPermit<(u64, Reply)>,
    ) -> Result<(), OtherSender> {
        let (from, through, request) = match (request, from) {
            (Request::Passed(Passed { from, request }), PeerIdentity::Node(through)) => {
                (PeerIdentity::Node(from), Some(through), Request::from(request))
            }
            (request, from) => (from, None, request),
        };
        if !self.is_from(&from, &request) {
            let Some(through) = through else { return Err(OtherSender) };
            warn!(peer = %from, %through, "not doing what was passed on for one node as another's");
            place.send((id, Reply::Busy));
            return Ok(());
        }
        let place = Some(place);
        let gone = match request {
            Request::Member(request) => {
                let responder = Responder { place, id, wrap: Reply::Member };
                self.member.send(Inbound { from, through, request, responder }).await.is_err()
            }
            Request::Directory(request) => {
                let responder = Responder { place, id, wrap: Reply::Directory };
                self.directory.send(Inbound { from, through, request, responder }).await.is_err()
            }
            Request::Keeper(request) => {
                let responder = Responder { place, id, wrap: Reply::Keeper };
                self.keeper.send(Inbound { from, through, request, responder }).await.is_err()
            }
            Request::Call(request) => {
                let responder = Responder { place, id, wrap: Reply::Call };
                let inbound = Inbound { from, through, request, responder };
                match calls {
                    Some(calls) => calls.send(inbound).await.is_err(),
                    None => true,
                }
            }
            Request::Relay(request) => {
                let responder = Responder { place, id, wrap: std::convert::identity };
                self.relay.send(Inbound { from, through, request, responder }).await.is_err()
            }
            // Clients are not let pass on, and nothing is passed on twice.
            Request::Passed(_) => true,
        };
        if gone {
            debug!(id, "a request came for a room that is gone");
        }
        Ok(())
    }

    fn is_from(&self, from: &PeerIdentity, request: &Request) -> bool {
        // Clients ask nothing that names a node.
        let PeerIdentity::Node(name) = from else { return true };
        request.is_from(name, &self.nodes.borrow())
    }
}

/// A request names another node than the one that has sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherSender;

/// Whether this peer may ask this. Nodes may ask everything; clients, who have the cluster's secret,
/// may ask for calls, for listings, and what an operator wants done.
pub(super) fn is_allowed(peer: &PeerIdentity, request: &Request) -> bool {
    match (peer, request) {
        (PeerIdentity::Node(_), _) => true,
        (PeerIdentity::Client, Request::Call(request)) => match request {
            CallRequest::Call { .. }
            | CallRequest::Players { .. }
            | CallRequest::Nodes
            | CallRequest::Drain
            | CallRequest::Traffic
            | CallRequest::Quarantined { .. }
            | CallRequest::Describe(_)
            | CallRequest::News { .. }
            | CallRequest::Stats
            | CallRequest::Configure(_)
            | CallRequest::Deploy(_)
            | CallRequest::RollBack { .. }
            | CallRequest::Crash(_)
            | CallRequest::Look { .. }
            | CallRequest::Overview { .. }
            | CallRequest::PlayersOf { .. }
            | CallRequest::Deployments => true,
            CallRequest::Forward { .. } | CallRequest::Code(_) | CallRequest::Prepare(_) => false,
        },
        (
            PeerIdentity::Client,
            Request::Member(_)
            | Request::Directory(_)
            | Request::Keeper(_)
            | Request::Relay(_)
            | Request::Passed(_),
        ) => false,
    }
}
