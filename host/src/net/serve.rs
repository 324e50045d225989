//! The answering side: who may connect, what it may ask, and where its requests go.
//!
//! ```text
//!   accept ─► one crew a connection ─► one member a lane ─► inbox of a room
//!                                              ▲                  │
//!                                              └──── Responder ◄──┘
//! ```
//!
//! A stream holds a place for the reply before it takes the request, so a room answers without
//! waiting, and a room that is behind is felt by its peers: its inbox fills, the stream is not read
//! any more, and QUIC's window closes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use quinn::{ConnectionError, RecvStream, SendStream, WriteError};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::{BULK_PRIORITY, Farewell, priority};
use super::crew::{Crew, Work};
use super::endpoint::Issued;
use super::frame::{FrameError, FrameReader, OPENING_BYTES_MAX, Opening, TooLong, put};
use super::inboxes::{OtherSender, is_allowed};
use super::lane::{BATCH_BYTES, BATCH_MESSAGES, CROWD, LANE_REQUESTS_MAX, gather};
use super::{CallInbound, Endpoint, Inboxes, PeerIdentity, pulse};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::{Lane, Reply, Request};

/// Connections that are served at once: every other node twice, and people.
const CONNECTIONS_MAX: usize = 256;
/// Time for a handshake, so that silent dialers do not take all places.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);
/// Time that a member whose certificate is not accepted any more has to come with another one: a
/// rotation whose last two steps follow each other at once must not cost it what it has asked.
const LOCKED_OUT_AFTER: Duration = Duration::from_secs(5);
/// Time that stopping gives to requests that were taken, to be answered.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// Why a stream ended before its time.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a client asked for what only nodes may ask")]
    NotAllowed,
    #[error("a node asked as if it were another one")]
    OtherSender,
    #[error("a request came on the wrong lane")]
    WrongLane,
    #[error("the answer does not fit its stream")]
    ReplyTooLong(#[from] TooLong),
    #[error("the stream was lost")]
    Write(#[from] WriteError),
    #[error("the connection is gone")]
    Gone,
}

impl From<OtherSender> for StreamError {
    fn from(OtherSender: OtherSender) -> Self {
        Self::OtherSender
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
        let quic = self.quic().clone();
        let listener = self.take_listener();
        let identity = self.watch_identity();
        async move {
            // The pulse outlives the last answer: its end makes peers drop what they wait for.
            let answered = CancellationToken::new();
            let serving = async {
                accept(quic, Server { inboxes, identity, cancel }).await;
                answered.cancel();
            };
            tokio::join!(serving, pulse::hold(listener, answered.clone()));
        }
    }
}

async fn accept(quic: quinn::Endpoint, server: Server) {
    let server = Arc::new(server);
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

/// The streams of one connection.
struct Streams {
    server: Arc<Server>,
    peer: PeerIdentity,
    /// Those with many small messages, and those that have not said what they are for.
    members: FuturesUnordered<Work<Result<Served, StreamError>>>,
    /// Those with one large message, which takes long to read: the others do not wait for it.
    alone: JoinSet<Result<Option<SendStream>, StreamError>>,
}

/// What became of a stream in its connection's crew.
enum Served {
    /// It has ended. If everything asked on it is answered, this is its sending side.
    Ended(Option<SendStream>),
    /// It carries one large message.
    Alone(SendStream, FrameReader),
}

impl Streams {
    fn add(&mut self, crew: &Crew, send: SendStream, receive: RecvStream) {
        let stream = self.server.clone().stream(crew.clone(), self.peer.clone(), send, receive);
        self.members.push(crew.run(stream));
    }

    /// Waits until one has ended, and returns its sending side if everything asked on it is answered.
    async fn next(&mut self) -> Option<Result<Option<SendStream>, StreamError>> {
        loop {
            tokio::select! {
                Some(served) = self.members.next() => match served {
                    Some(Ok(Served::Alone(send, frames))) => {
                        let server = self.server.clone();
                        self.alone.spawn(server.alone(self.peer.clone(), send, frames));
                    }
                    Some(Ok(Served::Ended(stream))) => return Some(Ok(stream)),
                    Some(Err(error)) => return Some(tolerate_loss(Err(error))),
                    // Its connection is gone, as the next stream tells.
                    None => return Some(Ok(None)),
                },
                Some(ended) = self.alone.join_next() => {
                    return Some(log_panic(ended).map_or(Ok(None), tolerate_loss));
                }
                else => return None,
            }
        }
    }
}

struct Server {
    inboxes: Inboxes,
    /// Which certificates are accepted.
    identity: watch::Receiver<Issued>,
    cancel: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, incoming: quinn::Incoming) {
        let addr = incoming.remote_address();
        let handshake = async {
            let (accepted, crew) = Crew::open(|| incoming.accept())?;
            Ok((accepted.await?, crew))
        };
        let (quic, crew) = match time::timeout(HANDSHAKE_DEADLINE, handshake).await {
            Ok(Ok(opened)) => opened,
            Ok(Err::<_, ConnectionError>(error)) => {
                return info!(%addr, %error, "a connection was not opened");
            }
            Err(_) => return info!(%addr, "a connection was not opened in time"),
        };
        let Some(peer) = PeerIdentity::of(&quic) else {
            warn!(%addr, "dropping a connection whose certificate does not say what it is");
            return Farewell::WrongPeer.close(&quic);
        };
        let ended = tokio::select! {
            ended = self.streams(&quic, &crew, &peer) => ended,
            () = locked_out(&quic, self.identity.clone()) => {
                warn!(%peer, %addr, "closing a connection whose secret was dropped");
                return Farewell::LockedOut.close(&quic);
            }
        };
        let farewell = match ended {
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
        crew: &Crew,
        peer: &PeerIdentity,
    ) -> Result<(), StreamError> {
        let (server, peer) = (self.clone(), peer.clone());
        let mut streams =
            Streams { server, peer, members: FuturesUnordered::new(), alone: JoinSet::new() };
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                Some(ended) = streams.next() => drop(ended?),
                stream = quic.accept_bi() => {
                    let (send, receive) = stream.map_err(|e| FrameError::Lost(e.into()))?;
                    streams.add(crew, send, receive);
                }
            }
        }
        let mut answered = Vec::new();
        while let Some(ended) = streams.next().await {
            answered.extend(ended?);
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

    /// Serves a stream, unless it carries one large message, which is for a task of its own.
    async fn stream(
        self: Arc<Self>,
        crew: Crew,
        peer: PeerIdentity,
        send: SendStream,
        receive: RecvStream,
    ) -> Result<Served, StreamError> {
        let mut frames = FrameReader::new(receive);
        let opening = tokio::select! {
            () = self.cancel.cancelled() => return Ok(Served::Ended(None)),
            opening = frames.next(OPENING_BYTES_MAX) => opening?,
        };
        match opening {
            None => Ok(Served::Ended(None)),
            Some(Opening::Lane(lane)) => {
                self.lane(&crew, lane, &peer, send, frames).await.map(Served::Ended)
            }
            Some(Opening::Alone) => Ok(Served::Alone(send, frames)),
        }
    }

    async fn lane(
        &self,
        crew: &Crew,
        lane: Lane,
        peer: &PeerIdentity,
        send: SendStream,
        frames: FrameReader,
    ) -> Result<Option<SendStream>, StreamError> {
        // Fails only for a stream that is closed already, which the first write tells.
        send.set_priority(priority(lane)).ok();
        let (places, replies) = mpsc::channel(LANE_REQUESTS_MAX);
        // Members of their own: only who has something to do is polled.
        let writing = crew.run(write_replies(send, replies));
        let (calls, serving) = match lane {
            Lane::Call => {
                let (calls, serving) = self.inboxes.call.open();
                (Some(calls), Some(crew.run(serving)))
            }
            Lane::Member | Lane::Directory | Lane::Keeper => (None, None),
        };
        // Reading ends first, at the end of the stream or of the node; writing ends when the last
        // request that was taken is answered. Both end at once when the other fails.
        let reading = self.take_requests(lane, peer, frames, calls, places);
        let writing = async { writing.await.unwrap_or(Err(StreamError::Gone)) };
        let ended = tokio::try_join!(reading, writing);
        drop(serving);
        ended.map(|((), send)| Some(send))
    }

    async fn take_requests(
        &self,
        lane: Lane,
        peer: &PeerIdentity,
        mut frames: FrameReader,
        calls: Option<mpsc::Sender<CallInbound>>,
        places: mpsc::Sender<(u64, Reply)>,
    ) -> Result<(), StreamError> {
        let mut stopped = pin!(self.cancel.cancelled());
        loop {
            // The other end of the channel lives as long as this does.
            let Ok(place) = places.clone().reserve_owned().await else { return Ok(()) };
            let next = tokio::select! {
                () = &mut stopped => return Ok(()),
                next = frames.next::<(u64, Request)>(FRAME_BYTES_MAX) => next?,
            };
            let Some((id, request)) = next else { return Ok(()) };
            if request.lane() != lane {
                return Err(StreamError::WrongLane);
            }
            if !is_allowed(peer, &request) {
                return Err(StreamError::NotAllowed);
            }
            let delivered = self.inboxes.deliver(calls.as_ref(), peer.clone(), request, id, place);
            delivered.await?;
        }
    }

    async fn alone(
        self: Arc<Self>,
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
        let (calls, serving) = self.inboxes.call.open();
        self.inboxes.deliver(Some(&calls), peer, request, 0, place).await?;
        drop(calls);
        let ((), Some((_, reply))) = tokio::join!(biased; serving, replies.recv()) else {
            return Ok(None);
        };
        let mut buffer = Vec::new();
        put(&mut buffer, &reply, MESSAGE_BYTES_MAX)?;
        drop(reply);
        send.write_all(&buffer).await?;
        Ok(Some(send))
    }
}

/// Returns when a peer's certificate has not been accepted for a while.
async fn locked_out(quic: &quinn::Connection, mut identity: watch::Receiver<Issued>) {
    loop {
        // The first look is at the end of the handshake, which may have begun before a change.
        if !identity.borrow_and_update().identity.accepts(quic) {
            time::sleep(LOCKED_OUT_AFTER).await;
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

async fn write_replies(
    mut stream: SendStream,
    mut replies: mpsc::Receiver<(u64, Reply)>,
) -> Result<SendStream, StreamError> {
    let mut batch = Vec::with_capacity(BATCH_MESSAGES);
    let mut buffer = Vec::new();
    while replies.recv_many(&mut batch, BATCH_MESSAGES).await > 0 {
        let owed = replies.max_capacity() - replies.capacity();
        if owed >= CROWD {
            gather(&mut replies, &mut batch).await;
        }
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
        Err(
            StreamError::Frame(FrameError::Lost(_)) | StreamError::Write(_) | StreamError::Gone,
        ) => Ok(None),
        other => other,
    }
}
