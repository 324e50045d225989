//! The streams of one connection: what is asked on them, and the answers.
//!
//! What a client may cost is bounded by what it can leave unread: a window of bytes, one lane of
//! requests that were taken, a few streams with one answer each. Who reads nothing for long is closed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use quinn::{RecvStream, SendStream, WriteError};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{self, Instant, MissedTickBehavior, interval_at};

use super::super::connection::{BULK_PRIORITY, priority};
use super::super::crew::{Crew, Work};
use super::super::frame::{FrameError, FrameReader, OPENING_BYTES_MAX, Opening, TooLong, put};
use super::super::inboxes::{OtherSender, is_allowed};
use super::super::lane::{BATCH_BYTES, BATCH_MESSAGES, CROWD, LANE_REQUESTS_MAX, gather, is_bulky};
use super::super::{CallInbound, PeerIdentity};
use super::{Server, log_panic};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::{CallRequest, Lane, Reply, Request};

/// Why a stream ended before its time.
#[derive(Debug, Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a client asked for what only nodes may ask")]
    NotAllowed,
    #[error("a node asked as if it were another one")]
    OtherSender,
    #[error("a request came on the wrong lane")]
    WrongLane,
    #[error("a lane was opened twice")]
    LaneTwice,
    #[error("the answer does not fit its stream")]
    ReplyTooLong(#[from] TooLong),
    #[error("it does not read what it is sent")]
    Unread,
    #[error("a long request does not arrive")]
    Slow,
    #[error("nothing was asked for long")]
    Idle,
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

/// One peer on one connection.
pub(super) struct Visit {
    server: Arc<Server>,
    peer: PeerIdentity,
    /// Lanes that were opened, a bit for each.
    lanes: AtomicU8,
    /// Requests that have arrived.
    asked: AtomicU64,
}

/// The streams of a visit.
struct Streams {
    visit: Arc<Visit>,
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
        let stream = self.visit.clone().stream(crew.clone(), send, receive);
        self.members.push(crew.run(stream));
    }

    /// Waits until one has ended, and returns its sending side if everything asked on it is answered.
    async fn next(&mut self) -> Option<Result<Option<SendStream>, StreamError>> {
        loop {
            tokio::select! {
                Some(served) = self.members.next() => match served {
                    Some(Ok(Served::Alone(send, frames))) => {
                        self.alone.spawn(self.visit.clone().alone(send, frames));
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

impl Visit {
    /// Serves a connection's streams. `Ok` when the node stops and all is answered.
    pub(super) async fn serve(
        server: &Arc<Server>,
        quic: &quinn::Connection,
        crew: &Crew,
        peer: &PeerIdentity,
    ) -> Result<(), StreamError> {
        let (server, peer) = (server.clone(), peer.clone());
        let (lanes, asked) = (AtomicU8::new(0), AtomicU64::new(0));
        let visit = Arc::new(Self { server, peer, lanes, asked });
        let (members, alone) = (FuturesUnordered::new(), JoinSet::new());
        let mut streams = Streams { visit: visit.clone(), members, alone };
        let mut idle = pin!(visit.idle());
        loop {
            tokio::select! {
                () = visit.server.cancel.cancelled() => break,
                () = &mut idle => return Err(StreamError::Idle),
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

    /// Returns when a client has asked nothing for so long that no answer can be due to it.
    async fn idle(&self) {
        if self.peer != PeerIdentity::Client {
            return std::future::pending().await;
        }
        let period = self.server.bounds.client_idle;
        let mut look = interval_at(Instant::now() + period, period);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            look.tick().await;
            let asked = Some(self.asked.load(Ordering::Relaxed));
            if asked == before.or(Some(0)) {
                return;
            }
            before = asked;
        }
    }

    /// Serves a stream, unless it carries one large message, which is for a task of its own.
    async fn stream(
        self: Arc<Self>,
        crew: Crew,
        send: SendStream,
        receive: RecvStream,
    ) -> Result<Served, StreamError> {
        let mut frames = FrameReader::new(receive);
        let opening = tokio::select! {
            () = self.server.cancel.cancelled() => return Ok(Served::Ended(None)),
            opening = frames.next(OPENING_BYTES_MAX) => opening?,
        };
        match opening {
            None => Ok(Served::Ended(None)),
            Some(Opening::Lane(lane)) => {
                let bit = 1 << lane as u8;
                if self.lanes.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
                    return Err(StreamError::LaneTwice);
                }
                self.lane(&crew, lane, send, frames).await.map(Served::Ended)
            }
            Some(Opening::Alone) => Ok(Served::Alone(send, frames)),
        }
    }

    async fn lane(
        self: &Arc<Self>,
        crew: &Crew,
        lane: Lane,
        send: SendStream,
        frames: FrameReader,
    ) -> Result<Option<SendStream>, StreamError> {
        // Fails only for a stream that is closed already, which the first write tells.
        send.set_priority(priority(lane)).ok();
        let requests = match self.peer {
            PeerIdentity::Node(_) => LANE_REQUESTS_MAX,
            PeerIdentity::Client => self.server.bounds.client_requests,
        };
        let (places, replies) = mpsc::channel(requests);
        // Members of their own: only who has something to do is polled.
        let writing = crew.run(self.clone().write_replies(send, replies));
        let (calls, serving) = match lane {
            Lane::Call => {
                let (calls, serving) = self.server.inboxes.call.open();
                (Some(calls), Some(crew.run(serving)))
            }
            Lane::Member | Lane::Directory | Lane::Keeper => (None, None),
        };
        // Reading ends first, at the end of the stream or of the node; writing ends when the last
        // request that was taken is answered. Both end at once when the other fails.
        let reading = self.take_requests(lane, frames, calls, places);
        let writing = async { writing.await.unwrap_or(Err(StreamError::Gone)) };
        let ended = tokio::try_join!(reading, writing);
        drop(serving);
        ended.map(|((), send)| Some(send))
    }

    async fn take_requests(
        &self,
        lane: Lane,
        mut frames: FrameReader,
        calls: Option<mpsc::Sender<CallInbound>>,
        places: mpsc::Sender<(u64, Reply)>,
    ) -> Result<(), StreamError> {
        let inboxes = &self.server.inboxes;
        let mut stopped = pin!(self.server.cancel.cancelled());
        loop {
            // The other end of the channel lives as long as this does.
            let Ok(place) = places.clone().reserve_owned().await else { return Ok(()) };
            let next = tokio::select! {
                () = &mut stopped => return Ok(()),
                next = frames.next::<(u64, Request)>(FRAME_BYTES_MAX) => next?,
            };
            let Some((id, request)) = next else { return Ok(()) };
            if request.lane() != lane || (is_bulky(&request) && self.peer == PeerIdentity::Client) {
                return Err(StreamError::WrongLane);
            }
            self.check(&request)?;
            let delivered = inboxes.deliver(calls.as_ref(), self.peer.clone(), request, id, place);
            delivered.await?;
        }
    }

    fn check(&self, request: &Request) -> Result<(), StreamError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if is_allowed(&self.peer, request) { Ok(()) } else { Err(StreamError::NotAllowed) }
    }

    async fn alone(
        self: Arc<Self>,
        mut send: SendStream,
        mut frames: FrameReader,
    ) -> Result<Option<SendStream>, StreamError> {
        let inboxes = &self.server.inboxes;
        // Fails only for a stream that is closed already, which the first write tells.
        send.set_priority(BULK_PRIORITY).ok();
        let request = tokio::select! {
            () = self.server.cancel.cancelled() => return Ok(None),
            request = self.read_alone(&mut frames) => request?,
        };
        self.check(&request)?;
        let (places, mut replies) = mpsc::channel(1);
        // A fresh channel has a place.
        let Ok(place) = places.reserve_owned().await else { return Ok(None) };
        let (calls, serving) = inboxes.call.open();
        inboxes.deliver(Some(&calls), self.peer.clone(), request, 0, place).await?;
        drop(calls);
        let ((), Some((_, reply))) = tokio::join!(biased; serving, replies.recv()) else {
            return Ok(None);
        };
        let mut buffer = Vec::new();
        put(&mut buffer, &reply, MESSAGE_BYTES_MAX)?;
        drop(reply);
        self.write(&mut send, &buffer).await?;
        Ok(Some(send))
    }

    /// Reads one request. Clients ask short questions, but for code that they deploy: of those a node
    /// reads one at a time, and not for long.
    async fn read_alone(&self, frames: &mut FrameReader) -> Result<Request, StreamError> {
        if self.peer != PeerIdentity::Client {
            return Ok(frames.next(MESSAGE_BYTES_MAX).await?.ok_or(FrameError::Cut)?);
        }
        let len = frames.announced().await?.ok_or(FrameError::Cut)?;
        if len <= FRAME_BYTES_MAX {
            return Ok(frames.next(FRAME_BYTES_MAX).await?.ok_or(FrameError::Cut)?);
        }
        // It is never closed.
        let Ok(_turn) = self.server.long_requests.acquire().await else {
            return Err(StreamError::Gone);
        };
        let patience = self.server.bounds.client_long_time;
        let request = time::timeout(patience, frames.next::<Request>(MESSAGE_BYTES_MAX)).await;
        let request = request.map_err(|_| StreamError::Slow)??.ok_or(FrameError::Cut)?;
        let is_code = matches!(request, Request::Call(CallRequest::Deploy(_)));
        if is_code { Ok(request) } else { Err(StreamError::NotAllowed) }
    }

    async fn write_replies(
        self: Arc<Self>,
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
                    self.write(&mut stream, &buffer).await?;
                    buffer.clear();
                }
            }
            self.write(&mut stream, &buffer).await?;
            buffer.clear();
        }
        Ok(stream)
    }

    /// Writes what there is room for in the peer's window and on the way to it, and waits for the
    /// rest: for a client not long, since it may never read.
    async fn write(&self, stream: &mut SendStream, bytes: &[u8]) -> Result<(), StreamError> {
        match self.peer {
            PeerIdentity::Node(_) => stream.write_all(bytes).await?,
            PeerIdentity::Client => {
                let patience = self.server.bounds.client_write_time;
                // One that reads on may take its time for a large reply.
                for piece in bytes.chunks(BATCH_BYTES) {
                    let written = time::timeout(patience, stream.write_all(piece)).await;
                    written.map_err(|_| StreamError::Unread)??;
                }
            }
        }
        Ok(())
    }
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
