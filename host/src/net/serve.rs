//! The answering side: who may connect, what it may ask, and where its requests go.
//!
//! ```text
//!   accept ─► one task a connection ─► one task a stream ─► inbox of a room
//!                                              ▲                  │
//!                                              └──── Responder ◄──┘
//! ```
//!
//! A stream holds a place for the reply before it takes the request, so a room answers without
//! waiting, and a room that is behind is felt by its peers: its inbox fills, the stream is not read
//! any more, and QUIC's window closes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream, WriteError};
use thiserror::Error;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::{BULK_PRIORITY, Farewell, priority};
use super::frame::{FrameError, FrameReader, OPENING_BYTES_MAX, Opening, TooLong, put};
use super::lane::{BATCH_BYTES, BATCH_MESSAGES, LANE_REQUESTS_MAX};
use super::{Endpoint, PeerIdentity, pulse};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::{
    CallReply, CallRequest, DirectoryReply, DirectoryRequest, KeeperReply, KeeperRequest, Lane,
    MemberReply, MemberRequest, Relay, Reply, Request,
};

/// Connections that are served at once: every other node twice, and people.
const CONNECTIONS_MAX: usize = 256;
/// Time for a handshake, so that silent dialers do not take all places.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);
/// Time that stopping gives to requests that were taken, to be answered.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// Where requests go: one queue for each room.
#[derive(Debug, Clone)]
pub struct Inboxes {
    /// For `membership`.
    pub member: mpsc::Sender<Inbound<MemberRequest, MemberReply>>,
    /// For `directory`.
    pub directory: mpsc::Sender<Inbound<DirectoryRequest, DirectoryReply>>,
    /// For `keeper`.
    pub keeper: mpsc::Sender<Inbound<KeeperRequest, KeeperReply>>,
    /// For `player`.
    pub call: mpsc::Sender<Inbound<CallRequest, CallReply>>,
    /// For the [`Relayer`](super::Relayer).
    pub relay: mpsc::Sender<Inbound<Relay, Reply>>,
}

/// A request from another process.
#[derive(Debug)]
pub struct Inbound<Q, R> {
    /// Who asks, as TLS has proved it; for what was passed on, the node that did so.
    pub from: PeerIdentity,
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
    async fn deliver(
        &self,
        from: PeerIdentity,
        request: Request,
        id: u64,
        place: OwnedPermit<(u64, Reply)>,
    ) {
        let place = Some(place);
        let gone = match request {
            Request::Member(request) => {
                let responder = Responder { place, id, wrap: Reply::Member };
                self.member.send(Inbound { from, request, responder }).await.is_err()
            }
            Request::Directory(request) => {
                let responder = Responder { place, id, wrap: Reply::Directory };
                self.directory.send(Inbound { from, request, responder }).await.is_err()
            }
            Request::Keeper(request) => {
                let responder = Responder { place, id, wrap: Reply::Keeper };
                self.keeper.send(Inbound { from, request, responder }).await.is_err()
            }
            Request::Call(request) => {
                let responder = Responder { place, id, wrap: Reply::Call };
                self.call.send(Inbound { from, request, responder }).await.is_err()
            }
            Request::Relay(request) => {
                let responder = Responder { place, id, wrap: std::convert::identity };
                self.relay.send(Inbound { from, request, responder }).await.is_err()
            }
        };
        if gone {
            debug!(id, "a request came for a room that is gone");
        }
    }
}

/// Whether this peer may ask this. Nodes may ask everything; clients, who have the cluster's secret,
/// may ask for calls, for listings, and what an operator wants done.
fn is_allowed(peer: &PeerIdentity, request: &Request) -> bool {
    match (peer, request) {
        (PeerIdentity::Node(_), _) => true,
        (PeerIdentity::Client, Request::Call(request)) => match request {
            CallRequest::Call { .. }
            | CallRequest::Players { .. }
            | CallRequest::Nodes
            | CallRequest::Drain
            | CallRequest::Traffic
            | CallRequest::Configure(_) => true,
            CallRequest::Forward { .. } | CallRequest::Code(_) => false,
        },
        (
            PeerIdentity::Client,
            Request::Member(_) | Request::Directory(_) | Request::Keeper(_) | Request::Relay(_),
        ) => false,
    }
}

/// Why a stream ended before its time.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a client asked for what only nodes may ask")]
    NotAllowed,
    #[error("a request came on the wrong lane")]
    WrongLane,
    #[error("the answer does not fit its stream")]
    ReplyTooLong(#[from] TooLong),
    #[error("the stream was lost")]
    Write(#[from] WriteError),
}

impl Endpoint {
    /// Takes connections and hands their requests to `inboxes` until `cancel`. Then no request is
    /// taken any more, and those taken have 1 s to be answered. Run it once.
    pub fn serve(
        &self,
        inboxes: Inboxes,
        cancel: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let quic = self.quic().clone();
        let listener = self.take_listener();
        async move {
            // The pulse outlives the last answer: its end makes peers drop what they wait for.
            let answered = CancellationToken::new();
            let serving = async {
                accept(quic, inboxes, cancel).await;
                answered.cancel();
            };
            tokio::join!(serving, pulse::hold(listener, answered.clone()));
        }
    }
}

async fn accept(quic: quinn::Endpoint, inboxes: Inboxes, cancel: CancellationToken) {
    let server = Arc::new(Server { inboxes, cancel });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = server.cancel.cancelled() => break,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
            }
            incoming = quic.accept() => match incoming {
                None => break,
                Some(incoming) if connections.len() >= CONNECTIONS_MAX => {
                    warn!(addr = %incoming.remote_address(), "refusing a connection: too many");
                    incoming.refuse();
                }
                Some(incoming) => {
                    connections.spawn(server.clone().connection(incoming));
                }
            },
        }
    }
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
    cancel: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, incoming: quinn::Incoming) {
        let addr = incoming.remote_address();
        let handshake = async { incoming.accept()?.await };
        let quic = match time::timeout(HANDSHAKE_DEADLINE, handshake).await {
            Ok(Ok(quic)) => quic,
            Ok(Err(error)) => return info!(%addr, %error, "a connection was not opened"),
            Err(_) => return info!(%addr, "a connection was not opened in time"),
        };
        let Some(peer) = PeerIdentity::of(&quic) else {
            warn!(%addr, "dropping a connection whose certificate does not say what it is");
            return Farewell::WrongPeer.close(&quic);
        };
        let mut streams = JoinSet::new();
        let farewell = match self.streams(&quic, &peer, &mut streams).await {
            Ok(()) => Farewell::Done,
            Err(StreamError::Frame(FrameError::Lost(error))) => {
                return debug!(%peer, %addr, %error, "a connection ended");
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

    /// Serves a connection's streams. `Ok` when the node stops and all is answered.
    async fn streams(
        self: &Arc<Self>,
        quic: &quinn::Connection,
        peer: &PeerIdentity,
        streams: &mut JoinSet<Result<Option<SendStream>, StreamError>>,
    ) -> Result<(), StreamError> {
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                Some(ended) = streams.join_next() => {
                    log_panic(ended).map_or(Ok(None), tolerate_loss)?;
                }
                stream = quic.accept_bi() => {
                    let (send, receive) = stream.map_err(|e| FrameError::Lost(e.into()))?;
                    streams.spawn(self.clone().stream(peer.clone(), send, receive));
                }
            }
        }
        let mut answered = Vec::new();
        while let Some(ended) = streams.join_next().await {
            answered.extend(log_panic(ended).map_or(Ok(None), tolerate_loss)?);
        }
        // Streams end together: an ended lane must not look like a lost connection to a peer that
        // waits on another one.
        for stream in &mut answered {
            // Fails only for a stream that the peer does not want any more, as the next wait does.
            stream.finish().ok();
        }
        for stream in answered {
            stream.stopped().await.ok();
        }
        Ok(())
    }

    /// Serves a stream. Returns its sending side if everything asked on it is answered.
    async fn stream(
        self: Arc<Self>,
        peer: PeerIdentity,
        send: SendStream,
        receive: RecvStream,
    ) -> Result<Option<SendStream>, StreamError> {
        let mut frames = FrameReader::new(receive);
        let opening = tokio::select! {
            () = self.cancel.cancelled() => return Ok(None),
            opening = frames.next(OPENING_BYTES_MAX) => opening?,
        };
        match opening {
            None => Ok(None),
            Some(Opening::Lane(lane)) => self.lane(lane, &peer, send, frames).await,
            Some(Opening::Alone) => self.alone(peer, send, frames).await,
        }
    }

    async fn lane(
        &self,
        lane: Lane,
        peer: &PeerIdentity,
        send: SendStream,
        frames: FrameReader,
    ) -> Result<Option<SendStream>, StreamError> {
        // Fails only for a stream that is closed already, which the first write tells.
        send.set_priority(priority(lane)).ok();
        let (places, replies) = mpsc::channel(LANE_REQUESTS_MAX);
        // Reading ends first, at the end of the stream or of the node; writing ends when the last
        // request that was taken is answered.
        let reading = self.take_requests(lane, peer, frames, places);
        tokio::try_join!(reading, write_replies(send, replies)).map(|((), send)| Some(send))
    }

    async fn take_requests(
        &self,
        lane: Lane,
        peer: &PeerIdentity,
        mut frames: FrameReader,
        places: mpsc::Sender<(u64, Reply)>,
    ) -> Result<(), StreamError> {
        loop {
            // The other end of the channel lives as long as this does.
            let Ok(place) = places.clone().reserve_owned().await else { return Ok(()) };
            let next = tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                next = frames.next::<(u64, Request)>(FRAME_BYTES_MAX) => next?,
            };
            let Some((id, request)) = next else { return Ok(()) };
            if request.lane() != lane {
                return Err(StreamError::WrongLane);
            }
            if !is_allowed(peer, &request) {
                return Err(StreamError::NotAllowed);
            }
            self.inboxes.deliver(peer.clone(), request, id, place).await;
        }
    }

    async fn alone(
        &self,
        peer: PeerIdentity,
        mut send: SendStream,
        mut frames: FrameReader,
    ) -> Result<Option<SendStream>, StreamError> {
        // Fails only for a stream that is closed already, which the first write tells.
        send.set_priority(BULK_PRIORITY).ok();
        let max = match peer {
            PeerIdentity::Node(_) => MESSAGE_BYTES_MAX,
            // Clients ask short questions.
            PeerIdentity::Client => FRAME_BYTES_MAX,
        };
        let request = tokio::select! {
            () = self.cancel.cancelled() => return Ok(None),
            request = frames.next::<Request>(max) => request?.ok_or(FrameError::Cut)?,
        };
        if !is_allowed(&peer, &request) {
            return Err(StreamError::NotAllowed);
        }
        let (places, mut replies) = mpsc::channel(1);
        // A fresh channel has a place.
        let Ok(place) = places.reserve_owned().await else { return Ok(None) };
        self.inboxes.deliver(peer, request, 0, place).await;
        let Some((_, reply)) = replies.recv().await else { return Ok(None) };
        let mut buffer = Vec::new();
        put(&mut buffer, &reply, MESSAGE_BYTES_MAX)?;
        drop(reply);
        send.write_all(&buffer).await?;
        Ok(Some(send))
    }
}

async fn write_replies(
    mut stream: SendStream,
    mut replies: mpsc::Receiver<(u64, Reply)>,
) -> Result<SendStream, StreamError> {
    let mut batch = Vec::with_capacity(BATCH_MESSAGES);
    let mut buffer = Vec::new();
    while replies.recv_many(&mut batch, BATCH_MESSAGES).await > 0 {
        for reply in batch.drain(..) {
            put(&mut buffer, &reply, FRAME_BYTES_MAX)?;
            if buffer.len() >= BATCH_BYTES {
                stream.write_all(&buffer).await?;
                buffer.clear();
            }
        }
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(stream)
}

/// A stream that was lost is its peer's business; one that was misused ends the connection.
fn tolerate_loss(
    ended: Result<Option<SendStream>, StreamError>,
) -> Result<Option<SendStream>, StreamError> {
    match ended {
        Err(StreamError::Frame(FrameError::Lost(_)) | StreamError::Write(_)) => Ok(None),
        other => other,
    }
}
