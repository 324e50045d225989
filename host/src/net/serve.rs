//! The answering side: who may connect, what it may ask, and where its requests go.
//!
//! ```text
//!   accept ─► handshake ─► one crew a connection ─► one member a lane ─► inbox of a room
//!            (admission)         (streams)                  ▲                  │
//!                                                           └──── Responder ◄──┘
//! ```
//!
//! A stream holds a place for the reply before it takes the request, so a room answers without
//! waiting, and a room that is behind is felt by its peers: its inbox fills, the stream is not read
//! any more, and QUIC's window closes.
//!
//! Strangers get as far as a handshake. So many are under way at a time, each for so long; when there
//! are many, who dials must first show that it is where it says it is, and the oldest gives way. Of
//! connections that are open, each kind has a bound of its own: clients, however many, take no node's
//! place.

mod admission;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use quinn::VarInt;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::admission::{Guests, Handshakes, Opened};
use self::streams::{StreamError, Visit};
use super::connection::Farewell;
use super::endpoint::Issued;
use super::frame::FrameError;
use super::{Endpoint, Inboxes, PeerIdentity, pulse};
use crate::limits::{
    CLIENT_CONNECTIONS_MAX, CLIENT_IDLE_MAX, CLIENT_LONG_TIME_MAX, CLIENT_REQUESTS_MAX,
    CLIENT_WRITE_TIME_MAX, HANDSHAKE_TIME_MAX, HANDSHAKES_MAX, HANDSHAKES_TRUSTED_MAX,
    NODE_CONNECTIONS_MAX, NODE_STREAMS_MAX, NODE_WINDOW_BYTES, NODES_MAX,
};

/// Time that a member whose certificate is not accepted any more has to come with another one: a
/// rotation whose last two steps follow each other at once must not cost it what it has asked.
const LOCKED_OUT_AFTER: Duration = Duration::from_secs(5);
/// Time that stopping gives to requests that were taken, to be answered.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// What others may take of a node. Tests have less patience.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Handshakes at the same time.
    pub(super) handshakes: usize,
    /// Handshakes from which on a dialer must show where it is.
    pub(super) handshakes_trusted: usize,
    /// Time for a handshake.
    pub(super) handshake_time: Duration,
    /// Connections of clients.
    pub(super) clients: usize,
    /// Connections of all nodes.
    pub(super) nodes: usize,
    /// Connections of one node.
    pub(super) each_node: usize,
    /// Requests of a client's lane that may wait for their replies.
    pub(super) client_requests: usize,
    /// Time in which a client takes what it is sent.
    pub(super) client_write_time: Duration,
    /// Time in which a client asks something.
    pub(super) client_idle: Duration,
    /// Time in which a long request of a client arrives.
    pub(super) client_long_time: Duration,
    /// Time until a dropped secret's connections are closed.
    pub(super) locked_out_after: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshakes: HANDSHAKES_MAX,
            handshakes_trusted: HANDSHAKES_TRUSTED_MAX,
            handshake_time: HANDSHAKE_TIME_MAX,
            clients: CLIENT_CONNECTIONS_MAX,
            nodes: NODES_MAX * NODE_CONNECTIONS_MAX,
            each_node: NODE_CONNECTIONS_MAX,
            client_requests: CLIENT_REQUESTS_MAX,
            client_write_time: CLIENT_WRITE_TIME_MAX,
            client_idle: CLIENT_IDLE_MAX,
            client_long_time: CLIENT_LONG_TIME_MAX,
            locked_out_after: LOCKED_OUT_AFTER,
        }
    }
}

impl Endpoint {
    /// Takes connections and hands their requests to `inboxes` until `cancel`. Then no request is
    /// taken any more, and those taken have 1 s to be answered. Run it once.
    pub fn serve(
        &self,
        inboxes: Inboxes,
        cancel: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.serve_within(inboxes, cancel, Bounds::default())
    }

    /// As [`Endpoint::serve`], within other bounds.
    pub(super) fn serve_within(
        &self,
        inboxes: Inboxes,
        cancel: CancellationToken,
        bounds: Bounds,
    ) -> impl Future<Output = ()> + Send + 'static {
        let quic = self.quic().clone();
        let listener = self.take_listener();
        let identity = self.watch_identity();
        async move {
            // The pulse outlives the last answer: its end makes peers drop what they wait for.
            let answered = CancellationToken::new();
            let serving = async {
                let long_requests = Semaphore::new(1);
                accept(quic, Server { inboxes, identity, cancel, bounds, long_requests }).await;
                answered.cancel();
            };
            tokio::join!(serving, pulse::hold(listener, answered.clone()));
        }
    }
}

async fn accept(quic: quinn::Endpoint, server: Server) {
    let server = Arc::new(server);
    let guests = Arc::new(Guests::default());
    let mut handshakes = Handshakes::new(server.bounds.clone());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = server.cancel.cancelled() => break,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
            }
            Some(opened) = handshakes.next() => {
                connections.spawn(server.clone().connection(opened, guests.clone()));
            }
            incoming = quic.accept() => match incoming {
                None => break,
                Some(incoming) => handshakes.begin(incoming),
            },
        }
    }
    drop(handshakes);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if time::timeout(DRAIN_DEADLINE, drained).await.is_err() {
        debug!(left = connections.len(), "stopping although requests are not answered");
    }
}

/// A panic is our own bug and ends one connection, not the node.
fn log_panic<T>(ended: Result<T, tokio::task::JoinError>) -> Option<T> {
    ended.inspect_err(|error| error!(%error, "a task of the network failed")).ok()
}

struct Server {
    inboxes: Inboxes,
    /// Which certificates are accepted.
    identity: watch::Receiver<Issued>,
    cancel: CancellationToken,
    bounds: Bounds,
    /// The turn to read a long request of a client.
    long_requests: Semaphore,
}

impl Server {
    async fn connection(self: Arc<Self>, opened: Opened, guests: Arc<Guests>) {
        let Opened { quic, crew, addr } = opened;
        let Some(peer) = PeerIdentity::of(&quic) else {
            warn!(%addr, "dropping a connection whose certificate does not say what it is");
            return Farewell::WrongPeer.close(&quic);
        };
        // Held until the connection is closed.
        let Some(_place) = guests.admit(&peer, &self.bounds) else {
            warn!(%peer, %addr, "refusing a connection: there are too many of its kind");
            return Farewell::Full.close(&quic);
        };
        if let PeerIdentity::Node(_) = &peer {
            // What a client may have is what everybody may before the handshake has told.
            quic.set_max_concurrent_bi_streams(VarInt::from_u32(NODE_STREAMS_MAX));
            quic.set_receive_window(VarInt::from_u32(NODE_WINDOW_BYTES));
            quic.set_send_window(u64::from(NODE_WINDOW_BYTES));
        }
        let ended = tokio::select! {
            ended = Visit::serve(&self, &quic, &crew, &peer) => ended,
            () = self.locked_out(&quic) => {
                warn!(%peer, %addr, "closing a connection whose secret was dropped");
                return Farewell::LockedOut.close(&quic);
            }
        };
        let farewell = match ended {
            Ok(()) => Farewell::Done,
            Err(StreamError::Frame(FrameError::Lost(error))) => {
                return debug!(%peer, %addr, %error, "a connection ended");
            }
            Err(StreamError::Idle) => {
                info!(%peer, %addr, "closing a connection on which nothing was asked for long");
                Farewell::Done
            }
            Err(error @ StreamError::ReplyTooLong(_)) => {
                error!(%peer, %addr, %error, "dropping a connection that cannot be answered");
                Farewell::Broken
            }
            Err(error) => {
                warn!(%peer, %addr, %error, "dropping a peer that broke the protocol");
                Farewell::Violation
            }
        };
        farewell.close(&quic);
    }

    /// Returns when a peer's certificate has not been accepted for a while.
    async fn locked_out(&self, quic: &quinn::Connection) {
        let mut identity = self.identity.clone();
        loop {
            // The first look is at the end of the handshake, which may have begun before a change.
            if !identity.borrow_and_update().identity.accepts(quic) {
                time::sleep(self.bounds.locked_out_after).await;
                if !identity.borrow_and_update().identity.accepts(quic) {
                    return;
                }
            }
            if identity.changed().await.is_err() {
                // The endpoint is gone, and the connection with it.
                return std::future::pending().await;
            }
        }
    }
}
