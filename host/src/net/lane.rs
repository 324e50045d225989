//! The asking side of one lane: a queue in front of a stream, and the replies that are awaited.
//!
//! A request answers for itself: whatever happens to it, its [`Pending`] learns of it, because the
//! sender of the answer lives beside the request until its bytes are about to be written and in the
//! table of awaited replies after that. Dropping the first says "nothing was sent", dropping the
//! second says "may have been done"; no path can forget to say it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use quinn::{SendStream, WriteError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, yield_now};
use tracing::warn;

use super::PeerIdentity;
use super::connection::{BULK_PRIORITY, Farewell, priority};
use super::frame::{FrameError, FrameReader, Opening, put};
use super::relay::Through;
use crate::limits::{CALLS_IN_FLIGHT_MAX, FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::{
    CallRequest, DirectoryRequest, KeeperRequest, Lane, MemberRequest, Operation, Relay, Relayed,
    Reply, Request,
};

/// Requests of one lane that may wait for their replies, and replies that its other end may owe.
/// Each call that a node serves waits for at most one append; as many again for the rest.
pub(super) const LANE_REQUESTS_MAX: usize = 2 * CALLS_IN_FLIGHT_MAX;
/// Largest state that is seeded on the shared stream, in bytes that differ from the initial image and
/// bytes of keys: calls behind it do not notice.
const SMALL_SEED_BYTES_MAX: usize = 16 * 1024;
/// Messages that are encoded before the writer looks at its queue again.
pub(super) const BATCH_MESSAGES: usize = 256;
/// Encoded bytes after which a batch is written.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// Messages on their way from which on a writer lets others write theirs before it sends: who is one
/// of many does not wait for long, and one alone must not wait at all.
pub(super) const CROWD: usize = 16;

/// Adds what is written while other tasks have their turn: to send costs about the same for one
/// message and for a datagram full of them.
pub(super) async fn gather<T>(queue: &mut mpsc::Receiver<T>, batch: &mut Vec<T>) {
    yield_now().await;
    while batch.len() < BATCH_MESSAGES
        && let Ok(message) = queue.try_recv()
    {
        batch.push(message);
    }
}

/// Why a request has no reply. Each variant says what is known of its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AskError {
    /// The node cannot be reached now. Nothing was sent, so nothing was done.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The connection was lost after the request was sent: it may have been done.
    #[error("the connection was lost before the reply came")]
    Lost,
    /// Too many requests to that node wait already, or it has too many connections. Nothing was done.
    #[error("the node has too many requests or connections")]
    Full,
    /// No node of that number is known. Nothing was sent, so nothing was done.
    #[error("the node is not known")]
    UnknownNode,
}

type Answer = Result<Reply, AskError>;

/// A reply to come. The request is on its way already; dropping this does not call it back.
#[derive(Debug)]
#[must_use = "the reply is lost unless it is awaited"]
pub struct Pending(oneshot::Receiver<Answer>);

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(AskError::Lost)))
    }
}

/// A request that is not sent yet. Dropped, its `Pending` says `Unreachable`.
#[derive(Debug)]
pub(super) struct Job {
    request: Request,
    ticket: Ticket,
}

impl Job {
    pub(super) fn new(request: Request) -> (Self, Pending) {
        let (answer, pending) = oneshot::channel();
        let ticket = Ticket { answer: Some(answer), room: None, through: None };
        (Self { request, ticket }, Pending(pending))
    }

    pub(super) fn lane(&self) -> Lane {
        self.request.lane()
    }

    pub(super) fn fail(mut self, error: AskError) {
        self.ticket.fail(error);
    }

    /// Makes it a request to pass it on. Gives it back if it must not be passed on.
    #[expect(clippy::result_large_err, reason = "the job is handed back to be sent directly")]
    pub(super) fn relayed(self, through: Through) -> Result<Self, Self> {
        let Self { request, mut ticket } = self;
        match Relayed::new(request) {
            Ok(request) => {
                let request = Request::Relay(Relay { to: through.target, request });
                ticket.through = Some(through);
                Ok(Self { request, ticket })
            }
            Err(request) => Err(Self { request, ticket }),
        }
    }

    /// From here on the request may arrive.
    fn sent(mut self) -> Option<Sent> {
        let answer = self.ticket.answer.take()?;
        let (through, room) = (self.ticket.through.take(), self.ticket.room.take());
        Some(Sent { answer, through, _room: room })
    }
}

/// What answers for a request that is not sent yet.
#[derive(Debug)]
struct Ticket {
    answer: Option<oneshot::Sender<Answer>>,
    room: Option<OwnedSemaphorePermit>,
    /// The way around, if it does not go directly.
    through: Option<Through>,
}

impl Ticket {
    fn fail(&mut self, error: AskError) {
        if let Some(answer) = self.answer.take() {
            // Nobody waits any more; then nobody needs to know.
            answer.send(Err(error)).ok();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fail(AskError::Unreachable);
    }
}

/// A request that may have arrived. Dropped without a reply, its `Pending` says `Lost`.
#[derive(Debug)]
struct Sent {
    answer: oneshot::Sender<Answer>,
    through: Option<Through>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Sent {
    /// Says that nothing was done, for there was no room.
    fn refuse(self) {
        // Nobody waits any more; then nobody needs to know.
        self.answer.send(Err(AskError::Full)).ok();
    }

    fn reply(self, reply: Reply) {
        let answer = match self.through {
            Some(through) => through.answer(reply),
            None => Ok(reply),
        };
        // Nobody waits any more; then nobody needs to know.
        self.answer.send(answer).ok();
    }
}

/// Where requests of one lane are put.
#[derive(Debug)]
pub(super) struct LaneQueue {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

impl LaneQueue {
    /// Returns the queue and the future that serves it until the connection ends.
    pub(super) fn open(
        connection: quinn::Connection,
        lane: Lane,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (jobs, queue) = mpsc::channel(LANE_REQUESTS_MAX);
        let room = Arc::new(Semaphore::new(LANE_REQUESTS_MAX));
        (Self { jobs, room }, run(connection, lane, queue))
    }

    /// Returns once each request that was pushed has its answer. While others push, never.
    pub(super) async fn answered(&self) {
        let all = u32::try_from(LANE_REQUESTS_MAX).unwrap_or(u32::MAX);
        // The semaphore is never closed; each request has its permit until it is answered.
        drop(self.room.acquire_many(all).await);
    }

    /// Puts a request at the end of the queue. Gives it back if the connection is gone.
    #[expect(clippy::result_large_err, reason = "the job is handed back to be sent elsewhere")]
    pub(super) fn push(&self, mut job: Job) -> Result<(), Job> {
        if self.jobs.is_closed() {
            return Err(job);
        }
        match self.room.clone().try_acquire_owned() {
            Ok(permit) => job.ticket.room = Some(permit),
            Err(_) => {
                job.fail(AskError::Full);
                return Ok(());
            }
        }
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(mut job)) => {
                job.ticket.room = None;
                Err(job)
            }
            Err(mpsc::error::TrySendError::Full(job)) => {
                job.fail(AskError::Full);
                Ok(())
            }
        }
    }
}

/// Whether a request or its reply can be so long that it would hold up a lane.
pub(super) fn is_bulky(request: &Request) -> bool {
    match request {
        Request::Member(request) => match request {
            MemberRequest::Join(_) => true,
            MemberRequest::Ping { .. }
            | MemberRequest::Leave { .. }
            | MemberRequest::Drain { .. }
            | MemberRequest::Muster(_) => false,
        },
        Request::Directory(request) => is_bulky_for_directory(request),
        Request::Keeper(request) => is_bulky_for_keeper(request),
        Request::Call(request) => is_bulky_call(request),
        Request::Relay(relay) => is_bulky_on_its_way(&relay.request),
        Request::Passed(passed) => is_bulky_on_its_way(&passed.request),
    }
}

fn is_bulky_on_its_way(request: &Relayed) -> bool {
    match request {
        Relayed::Join(_) => true,
        Relayed::Ping { .. } | Relayed::Leave { .. } | Relayed::Drain { .. } => false,
        Relayed::Directory(request) => is_bulky_for_directory(request),
        Relayed::Keeper(request) => is_bulky_for_keeper(request),
        Relayed::Call(request) => is_bulky_call(request),
    }
}

fn is_bulky_for_directory(request: &DirectoryRequest) -> bool {
    match request {
        DirectoryRequest::InstallSnapshot(_) => true,
        DirectoryRequest::AppendEntries(_)
        | DirectoryRequest::Vote(_)
        | DirectoryRequest::Change(_)
        | DirectoryRequest::ReadIndex
        | DirectoryRequest::Configure(_)
        | DirectoryRequest::Deploy(_) => false,
    }
}

fn is_bulky_for_keeper(request: &KeeperRequest) -> bool {
    match request {
        // Most players are small: a stream of its own costs more than such a seed.
        KeeperRequest::Seed(seed) => seed.state.bytes() > SMALL_SEED_BYTES_MAX,
        KeeperRequest::Fetch(_) => true,
        KeeperRequest::Append(_) | KeeperRequest::Confirm(_) | KeeperRequest::Release(_) => false,
    }
}

fn is_bulky_call(request: &CallRequest) -> bool {
    match request {
        CallRequest::Players { .. }
        | CallRequest::Nodes
        | CallRequest::Code(_)
        | CallRequest::Quarantined { .. }
        | CallRequest::Deploy(_)
        | CallRequest::Deployments
        | CallRequest::Describe(_)
        | CallRequest::Overview { .. }
        | CallRequest::PlayersOf { .. } => true,
        // Its answer is a player's whole memory.
        CallRequest::Call { call, .. } | CallRequest::Forward { call, .. } => {
            matches!(
                call.operation,
                Operation::Bundle(_) | Operation::Export | Operation::Import(_)
            )
        }
        CallRequest::Drain
        | CallRequest::Traffic
        | CallRequest::News { .. }
        | CallRequest::Stats
        | CallRequest::Configure(_)
        | CallRequest::RollBack { .. }
        | CallRequest::Prepare(_)
        | CallRequest::Crash(_)
        | CallRequest::Look { .. } => false,
    }
}

/// Why an asking stream ended.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a reply to request {0}, which was not asked")]
    NotAsked(u64),
    #[error("the stream was lost")]
    Write(#[from] WriteError),
    #[error("the connection was lost")]
    Connection(#[from] quinn::ConnectionError),
}

impl StreamError {
    /// Whether the peer broke the protocol, rather than the connection.
    fn is_violation(&self) -> bool {
        match self {
            Self::Frame(FrameError::Lost(_)) | Self::Write(_) | Self::Connection(_) => false,
            Self::Frame(
                FrameError::TooLong(_) | FrameError::Malformed { .. } | FrameError::Cut,
            )
            | Self::NotAsked(_) => true,
        }
    }
}

async fn run(connection: quinn::Connection, lane: Lane, queue: mpsc::Receiver<Job>) {
    let awaited = Awaited::default();
    let ended = tokio::select! {
        ended = ask(&connection, lane, queue, &awaited) => ended,
        error = connection.closed() => Err(StreamError::Connection(error)),
    };
    if let Err(error) = ended {
        blame(&connection, &error);
    }
    if Farewell::Full.was_heard(&connection) {
        awaited.refuse();
    }
    // A lane is not opened twice: a connection without one of its lanes is of no use.
    Farewell::Broken.close(&connection);
}

fn blame(connection: &quinn::Connection, error: &StreamError) {
    // Other streams of the peer may be broken, too. It is dropped once, and one line says so.
    if error.is_violation() && connection.close_reason().is_none() {
        let (addr, peer) = (connection.remote_address(), PeerIdentity::of(connection));
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        warn!(peer, %addr, %error, "dropping a peer that broke the protocol");
        Farewell::Violation.close(connection);
    }
}

/// Replies that are awaited, by the number of their request.
#[derive(Debug, Default)]
struct Awaited(Mutex<HashMap<u64, Sent>>);

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Sent>> {
        // The table is whole between any two operations, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    /// Says of all that nothing was done: the node took nothing on this connection.
    fn refuse(&self) {
        for (_, sent) in self.lock().drain() {
            sent.refuse();
        }
    }
}

async fn ask(
    connection: &quinn::Connection,
    lane: Lane,
    mut queue: mpsc::Receiver<Job>,
    awaited: &Awaited,
) -> Result<(), StreamError> {
    let mut jobs = Vec::with_capacity(BATCH_MESSAGES);
    // The stream is opened by the first request: clients use one lane of four.
    if queue.recv_many(&mut jobs, BATCH_MESSAGES).await == 0 {
        return Ok(());
    }
    let (stream, replies) = connection.open_bi().await?;
    // Fails only for a stream that is closed already, which the first write tells.
    stream.set_priority(priority(lane)).ok();
    let writer = Writer { connection, lane, stream, awaited, next: 0, alone: JoinSet::new() };
    tokio::select! {
        ended = writer.run(queue, jobs) => ended,
        ended = read(replies, awaited) => ended,
    }
}

async fn read(stream: quinn::RecvStream, awaited: &Awaited) -> Result<(), StreamError> {
    let mut frames = FrameReader::new(stream);
    while let Some((id, reply)) = frames.next::<(u64, Reply)>(FRAME_BYTES_MAX).await? {
        let sent = awaited.lock().remove(&id);
        sent.ok_or(StreamError::NotAsked(id))?.reply(reply);
    }
    // The node stops. It ends the connection when its other lanes have been answered too.
    std::future::pending().await
}

struct Writer<'a> {
    connection: &'a quinn::Connection,
    lane: Lane,
    stream: SendStream,
    awaited: &'a Awaited,
    /// Number of the next request.
    next: u64,
    /// Requests on streams of their own.
    alone: JoinSet<()>,
}

impl Writer<'_> {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Job>,
        mut jobs: Vec<Job>,
    ) -> Result<(), StreamError> {
        let mut buffer = Vec::new();
        put(&mut buffer, &Opening::Lane(self.lane), FRAME_BYTES_MAX)
            .expect("an opening is a few bytes");
        loop {
            for job in jobs.drain(..) {
                self.encode(job, &mut buffer);
                if buffer.len() >= BATCH_BYTES {
                    self.stream.write_all(&buffer).await?;
                    buffer.clear();
                }
            }
            self.stream.write_all(&buffer).await?;
            buffer.clear();
            while self.alone.try_join_next().is_some() {}
            if queue.recv_many(&mut jobs, BATCH_MESSAGES).await == 0 {
                return Ok(());
            }
            if self.awaited.lock().len() >= CROWD {
                gather(&mut queue, &mut jobs).await;
            }
        }
    }

    fn encode(&mut self, job: Job, buffer: &mut Vec<u8>) {
        let bulky = is_bulky(&job.request);
        if bulky || put(buffer, &(self.next, &job.request), FRAME_BYTES_MAX).is_err() {
            self.alone.spawn(ask_alone(self.connection.clone(), job));
        } else if let Some(sent) = job.sent() {
            self.awaited.lock().insert(self.next, sent);
            self.next += 1;
        }
    }
}

/// Asks on a stream of its own. The job says itself what became of it.
async fn ask_alone(connection: quinn::Connection, job: Job) {
    if let Err(error) = try_ask_alone(&connection, job).await {
        blame(&connection, &error);
    }
}

async fn try_ask_alone(connection: &quinn::Connection, job: Job) -> Result<(), StreamError> {
    let (mut stream, replies) = connection.open_bi().await?;
    // Fails only for a stream that is closed already, which the first write tells.
    stream.set_priority(BULK_PRIORITY).ok();
    let mut buffer = Vec::new();
    put(&mut buffer, &Opening::Alone, FRAME_BYTES_MAX).expect("an opening is a few bytes");
    if let Err(error) = put(&mut buffer, &job.request, MESSAGE_BYTES_MAX) {
        // The largest snapshot that a guest may leave fits, so this is a bug of the room that asks.
        tracing::error!(%error, "a request was not sent");
        // The stream was not used: the peer must not take it for half a message.
        stream.reset(Farewell::Broken.code()).ok();
        return Ok(());
    }
    let Some(sent) = job.sent() else { return Ok(()) };
    let mut owed = Owed { connection, sent: Some(sent) };
    stream.write_all(&buffer).await?;
    drop(buffer);
    // Fails only for a stream that the peer stopped; it may have answered all the same.
    stream.finish().ok();
    if let Some(reply) = FrameReader::new(replies).next(MESSAGE_BYTES_MAX).await?
        && let Some(sent) = owed.sent.take()
    {
        sent.reply(reply);
    }
    Ok(())
}

/// A request on a stream of its own. Given up, it tells a node that took nothing from one that may have.
struct Owed<'a> {
    connection: &'a quinn::Connection,
    sent: Option<Sent>,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take()
            && Farewell::Full.was_heard(self.connection)
        {
            sent.refuse();
        }
    }
}
