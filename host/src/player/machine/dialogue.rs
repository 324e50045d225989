//! What a player's server is told and what it says: events in, actions out.

use std::time::Instant;

use super::migrating::StepFailure;
use super::waking::Rested;
use crate::net::AskError;
use crate::protocol::{
    Answer, Call, CallError, CallKey, ChangeOutcome, CodeHash, KeeperCopy, KeeperReply,
    KeeperRequest, NodeName, PlayerChange, PlayerRecord, PlayerState, Seq, Step, Value, Writer,
};
use crate::snapshot::{Delta, Snapshot};

/// Names one caller that waits for an answer.
pub type Ticket = u64;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A caller asks.
    Call {
        /// Where the answer goes.
        ticket: Ticket,
        /// What is asked.
        call: Call,
        /// When the caller gives up.
        deadline: Instant,
        /// Whether it keeps the player from resting: a look at all players does not.
        counts: bool,
    },
    /// The player should be served although nobody calls it: its owner is gone, and a copy with it.
    Open,
    /// The guest returned.
    Returned {
        /// What it returned.
        value: Value,
        /// What it changed.
        delta: Delta,
    },
    /// The call does not fit the code; the guest was not entered.
    Refused {
        /// What the caller is told.
        error: CallError,
    },
    /// The guest trapped; its instance is gone.
    Trapped {
        /// Why.
        message: String,
        /// Whether that is what this machine lacks now: nothing is wrong with the code or the call.
        lacked: bool,
    },
    /// An instance holds `state` now.
    Restored {
        /// How long that took, in microseconds.
        micros: u64,
    },
    /// No instance could be made from `state`.
    RestoreFailed(RestoreFailure),
    /// An instance of other code holds the player now.
    Migrated {
        /// Its memory there.
        snapshot: Snapshot,
    },
    /// The player did not come to other code. An instance of the old code holds `state`, as before.
    NotMigrated(StepFailure),
    /// The directory has heard of a failure that it was told of.
    Reported,
    /// The directory decided a change, or did not say in time.
    Changed(Option<ChangeOutcome>),
    /// A keeper replied, or did not.
    Kept {
        /// The copy that was spoken of.
        copy: KeeperCopy,
        /// The number that the request carried.
        number: u64,
        /// The reply.
        reply: Result<KeeperReply, AskError>,
    },
    /// The directory's nodes changed, or how many keepers the cluster wants, or a node that was
    /// shunned takes copies.
    Nodes,
    /// The directory names another owner.
    Superseded,
    /// [`Machine::next_wake`](super::Machine::next_wake) has come.
    Tick,
    /// Other players need the memory: rest, if nothing is under way.
    Rest,
    /// The node stops: no new calls.
    Stop,
}

/// Why no instance could be made.
#[derive(Debug)]
pub enum RestoreFailure {
    /// It says nothing about the state: this machine has no memory, or not the code. Whoever waits is
    /// told this.
    Here(CallError),
    /// The state itself cannot be restored; in words.
    State(String),
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Run this call on the instance, over `state`; then `Returned` or `Trapped`, before any other
    /// event.
    Execute(Call),
    /// Make a new instance from `state`; then `Restored` or `RestoreFailed`.
    Restore,
    /// Make an instance of other code that holds the player, in the [`Way`](super::Way) that its
    /// state allows; then `Migrated` or `NotMigrated`, before any other event.
    Migrate(Step),
    /// Tell the directory that the player failed on a deployment, until it has heard; then `Reported`.
    Report {
        /// The deployment.
        deployment: u64,
        /// Why, in words.
        reason: String,
    },
    /// Drop the instance, for nobody calls, or for a drill. Another one is asked for when it is needed.
    GiveUp,
    /// The server ends, for nobody calls and nothing is under way. The next call opens the player as
    /// one that rested here.
    Rest(Rested),
    /// Ask the directory for a change; then `Changed`.
    Change(PlayerChange),
    /// Ask a keeper; then `Kept` with the same copy and number.
    Ask {
        /// The copy that is spoken of.
        copy: KeeperCopy,
        /// The number to give back.
        number: u64,
        /// The request.
        request: KeeperRequest,
    },
    /// Answer a caller.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// The answer.
        result: Result<Answer, CallError>,
    },
    /// Let all players of this node shun this one, which takes no copies.
    Shun(Writer),
    /// Let all players of this node choose this one again; then `Nodes` to each of them.
    Trust(Writer),
    /// Tell the log.
    Tell(Story),
    /// The server ends; every caller has been answered.
    Close,
}

/// What a person wants to read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Story {
    /// Takes the player over from another owner.
    Claiming {
        /// The owner before.
        from: NodeName,
    },
    /// Owns the player, older owners cannot write any more.
    Claimed,
    /// Has the state.
    Fetched {
        /// The keeper it came from.
        from: NodeName,
        /// Its position.
        seq: Seq,
    },
    /// A keeper is not one any more.
    KeeperLost {
        /// The keeper.
        keeper: NodeName,
        /// Why.
        reason: String,
    },
    /// Takes a copy that may miss acknowledged calls, because an operator said so.
    Accepted {
        /// The keeper that it comes from.
        from: NodeName,
        /// Its position.
        seq: Seq,
    },
    /// The player is no more.
    Forgotten,
    /// Sends full copies.
    Seeding {
        /// To these nodes.
        to: Vec<NodeName>,
    },
    /// Sends a full copy to a node that took none, while calls are served.
    Trying {
        /// The node.
        node: NodeName,
    },
    /// The node that was tried took none again.
    TookNone {
        /// The node.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// The directory names these keepers.
    Named {
        /// The keepers.
        keepers: Vec<NodeName>,
    },
    /// No other node can keep a copy.
    Alone,
    /// Calls are served.
    Serving {
        /// Position.
        seq: Seq,
    },
    /// The guest trapped and was restored.
    Restarted {
        /// Why it trapped.
        message: String,
        /// Position it was restored to.
        seq: Seq,
        /// How long that took, in microseconds.
        micros: u64,
    },
    /// Runs other code.
    Migrated {
        /// The code before.
        from: CodeHash,
        /// The code now.
        to: CodeHash,
        /// Its position.
        seq: Seq,
    },
    /// Did not come to other code, and goes on with the one that it has.
    NotMigrated {
        /// The other code.
        to: CodeHash,
        /// The deployment that wanted it.
        deployment: u64,
        /// Why.
        reason: String,
    },
    /// No instance could be made from its state.
    NotRestored {
        /// Why.
        reason: String,
    },
    /// It is not tried any more.
    Quarantined {
        /// How often it was tried in a row.
        times: u32,
    },
    /// It was not tried, for it is in quarantine.
    LeftInQuarantine,
    /// It may be tried again.
    Released,
    /// Somebody wants the player on another node; the key of that is on its way to the keepers.
    Moving {
        /// The node.
        to: NodeName,
        /// The key.
        key: CallKey,
    },
    /// Another node owns the player now, for this one is going to leave, or somebody wants that.
    HandedOver {
        /// The new owner.
        to: NodeName,
    },
    /// A newer owner exists.
    Moved,
    /// No copy can be used.
    Unavailable {
        /// What is wrong with each.
        holders: Vec<String>,
    },
}

/// Where a player's state comes from.
#[derive(Debug)]
pub enum Origin {
    /// The directory does not know the player: it begins in this state.
    New(PlayerState),
    /// The directory knows it: its keepers have the state.
    Known(PlayerRecord),
    /// It rested on this node, and the directory knew this when it was opened again.
    Rested(PlayerRecord, Rested),
    /// The directory has forgotten it: it begins in this state, above its old generation.
    Again(PlayerRecord, PlayerState),
}
