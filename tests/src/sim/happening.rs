//! What can happen.

use host::keeper::Write;
use host::net::AskError;
use host::protocol::{
    Answer, Call, CallError, ChangeOutcome, CodeHash, DeploymentChange, KeeperCopy, KeeperReply,
    KeeperRequest, PlayerChange, PlayerId, Writer,
};

use super::keeper::Asked;

/// Virtual time since the beginning, in microseconds.
pub(super) type Time = u64;
/// Which machine; its disk and its process come and go.
pub(super) type Slot = usize;
/// One process, never used again.
pub(super) type Pid = u64;

pub(super) const MS: Time = 1000;
pub(super) const SECOND: Time = 1000 * MS;

/// How a call ended.
pub(super) type Called = Result<Answer, CallError>;

/// A request between nodes.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Keeper(KeeperRequest),
    Forward { call: Call, left: Time },
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    Keeper(KeeperReply),
    Called(Called),
}

/// Who waits for a reply.
#[derive(Debug, Clone)]
pub(super) enum Waiter {
    Server { player: PlayerId, server: u64, copy: KeeperCopy, number: u64 },
    Gateway { call: u64, attempt: u64 },
}

/// One change that waits for the directory.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) player: PlayerId,
    pub(super) server: u64,
    pub(super) change: PlayerChange,
}

#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// Something happens to a process, if it still lives.
    Process { slot: Slot, pid: Pid, what: What },
    /// A request comes out of the network.
    Arrival { connection: u64, ask: u64, request: Request },
    /// A reply comes out of the network.
    Reply { ask: u64, reply: Reply },
    /// A connection ends.
    Break { connection: u64 },
    /// A connection ends if its link is still cut.
    Idle { connection: u64 },
    /// A batch of changes reaches the leader.
    Commit { slot: Slot, pid: Pid, jobs: Vec<Job> },
    /// A request comes out of the network a second time, for nobody.
    Repeat { from: Slot, to: (Slot, Pid), request: Request },
    /// Changes reach a leader a second time, for nobody.
    RepeatChanges { from: Slot, changes: Vec<PlayerChange> },
    /// The voters look for a leader.
    Leader,
    /// Somebody does something bad.
    Fault,
    /// One direction of a link is cut for a while.
    Cut { from: Slot, to: Slot, lasts: Time },
    /// A link works again.
    Uncut { from: Slot, to: Slot },
    /// A process is killed, if it still lives.
    Crash { slot: Slot, pid: Pid },
    /// A machine starts its process.
    Boot { slot: Slot },
    /// A stopped process goes on.
    Continue { slot: Slot, pid: Pid },
    /// The disk takes writes again.
    DiskWell { slot: Slot },
    /// The disk is as quick as ever.
    DiskQuick { slot: Slot },
    /// The time of day is right again.
    ClockRight { slot: Slot },
    /// All faults end.
    Heal,
    /// A client begins or tries again.
    Client { client: usize },
    /// An answer reaches a client.
    Answer { op: usize, attempt: u64, called: Called },
    /// A client does not wait any longer.
    Impatient { op: usize, attempt: u64 },
}

/// What happens to a process.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A request is taken from the network.
    Asked { ask: u64, request: Request },
    /// A request was answered, or will not be.
    Answered { waiter: Waiter, reply: Result<Reply, AskError> },
    /// The keeper takes what waits.
    KeeperServes,
    /// The disk has what the keeper waited for.
    KeeperCommitted { writes: Vec<Write>, replies: Vec<(u64, Asked, KeeperReply)> },
    /// A player's server wakes.
    Tick { player: PlayerId, server: u64 },
    /// A node that was shunned takes copies.
    Trusted,
    /// An instance was made.
    Restored { player: PlayerId, server: u64 },
    /// Heartbeats are sent and looked at.
    Heartbeat,
    /// Another process ended.
    Gone(Writer),
    /// It asks to be taken into the directory.
    Announce,
    /// The directory's log is known up to here.
    Learn { index: usize },
    /// Changes were decided.
    Decided { jobs: Vec<Job>, outcomes: Vec<ChangeOutcome>, index: usize },
    /// Code is ready to run.
    Loaded { code: CodeHash },
    /// The directory is told of a player that failed.
    Report { player: PlayerId, server: u64, change: DeploymentChange },
    /// The directory has heard of it.
    Reported { player: PlayerId, server: u64 },
    /// Changes were perhaps decided.
    Undecided { jobs: Vec<Job> },
    /// A server waits no longer for its change.
    ChangeLate { job: u64 },
    /// A client's call arrives.
    Call { op: usize, attempt: u64, call: Call, left: Time },
    /// A gateway's attempt takes too long.
    CallLate { call: u64, attempt: u64 },
    /// A gateway tries again.
    CallAgain { call: u64, attempt: u64 },
    /// The keeper collects what can never be named.
    Sweep,
    /// The process says that it is going to leave.
    Drain,
    /// The process has handed over what it could.
    Drained,
    /// The process was asked to stop and stops now.
    Leave,
}
