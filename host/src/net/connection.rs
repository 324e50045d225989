//! One open connection to a node, seen from the side that asks.

use std::sync::Arc;

use quinn::{ConnectionError, VarInt};

use super::crew::{Crew, Work};
use super::lane::{Job, LaneQueue, Pending};
use super::{Identity, PeerIdentity};
use crate::protocol::{Lane, Request, Traffic};

/// Priority of large messages: they take what the lanes leave.
pub(super) const BULK_PRIORITY: i32 = -1;

/// Returns how urgent a lane's bytes are when there are more than the network takes: a heartbeat
/// or a vote that waits behind appends looks like a dead node.
pub(super) fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::Member | Lane::Directory => 1,
        Lane::Keeper | Lane::Call => 0,
    }
}

/// Why a connection is closed: a code on the wire, and words for the peer's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The process stops, or does not need the connection any more.
    Done = 0,
    /// The peer broke the protocol or asked what it may not ask.
    Violation = 1,
    /// The peer's certificate does not say what it is, or says something else than expected.
    WrongPeer = 2,
    /// Something failed on this side.
    Broken = 3,
    /// The peer's certificate is not accepted any more: its secret was dropped.
    LockedOut = 4,
    /// There are too many connections of its kind. Nothing was taken on this one.
    Full = 5,
}

impl Farewell {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    /// Closes a connection. One that is closed already keeps its reason.
    pub(super) fn close(self, connection: &quinn::Connection) {
        if connection.close_reason().is_some() {
            return;
        }
        let words: &[u8] = match self {
            Self::Done => b"done",
            Self::Violation => b"protocol violation",
            Self::WrongPeer => b"wrong peer",
            Self::Broken => b"broken",
            Self::Full => b"too many connections",
            Self::LockedOut => b"the secret was dropped",
        };
        connection.close(self.code(), words);
    }

    /// Whether it is what the peer has closed a connection with.
    pub(super) fn was_heard(self, connection: &quinn::Connection) -> bool {
        let code = self.code();
        let reason = connection.close_reason();
        matches!(reason, Some(ConnectionError::ApplicationClosed(close)) if close.error_code == code)
    }
}

/// An open connection to a node. Cheap to clone; closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    quic: quinn::Connection,
    peer: PeerIdentity,
    /// Number of the identity that this side has shown.
    identity: u64,
    member: LaneQueue,
    directory: LaneQueue,
    keeper: LaneQueue,
    call: LaneQueue,
    /// They end with the connection.
    _lanes: Vec<Work<()>>,
}

impl Connection {
    pub(super) fn new(
        quic: quinn::Connection,
        crew: &Crew,
        peer: PeerIdentity,
        identity: u64,
    ) -> Self {
        let mut lanes = Vec::new();
        let mut open = |lane| {
            let (queue, run) = LaneQueue::open(quic.clone(), lane);
            lanes.push(crew.run(run));
            queue
        };
        let member = open(Lane::Member);
        let directory = open(Lane::Directory);
        let keeper = open(Lane::Keeper);
        let call = open(Lane::Call);
        let _lanes = lanes;
        Self(Arc::new(Inner { quic, peer, identity, member, directory, keeper, call, _lanes }))
    }

    /// Returns what the other side has proved to be.
    pub fn peer(&self) -> &PeerIdentity {
        &self.0.peer
    }

    /// Sends a request. It is on its way when this returns: requests of one lane arrive in the
    /// order of these calls, except large ones, which travel alone.
    pub fn ask(&self, request: Request) -> Pending {
        let (job, pending) = Job::new(request);
        // Given back because the connection is gone: dropped, it says `Unreachable`.
        self.push(job).err();
        pending
    }

    /// Returns what it has moved so far.
    pub fn traffic(&self) -> Traffic {
        let stats = self.0.quic.stats();
        Traffic { sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes }
    }

    /// Whether nothing is known to have ended it.
    pub(super) fn is_open(&self) -> bool {
        self.0.quic.close_reason().is_none()
    }

    /// Returns the number of the identity that this side has shown.
    pub(super) fn identity(&self) -> u64 {
        self.0.identity
    }

    /// Whether it could be opened today, for all that the other side has shown.
    pub(super) fn is_accepted(&self, identity: &Identity) -> bool {
        identity.accepts(&self.0.quic)
    }

    /// Returns once each request that was pushed has its answer.
    pub(super) async fn answered(&self) {
        for lane in [&self.0.member, &self.0.directory, &self.0.keeper, &self.0.call] {
            lane.answered().await;
        }
    }

    /// Closes the connection at once. Requests without a reply end in `Lost`.
    pub fn close(&self) {
        Farewell::Done.close(&self.0.quic);
    }

    /// As [`Connection::ask`]. Gives the job back if the connection is gone.
    #[expect(clippy::result_large_err, reason = "the job is handed back to be sent elsewhere")]
    pub(super) fn push(&self, job: Job) -> Result<(), Job> {
        match job.lane() {
            Lane::Member => self.0.member.push(job),
            Lane::Directory => self.0.directory.push(job),
            Lane::Keeper => self.0.keeper.push(job),
            Lane::Call => self.0.call.push(job),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        Farewell::Done.close(&self.quic);
    }
}
