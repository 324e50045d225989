//! A call to a player and how it ends.

use std::error::Error;

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

use super::{
    Bundle, CallKey, Export, ExportFile, FailedRestores, FunctionCall, Handover, NodeName,
    PlayerId, Quarantine, Seq, Value,
};
use crate::limits::{
    KEY_WINDOW_ANSWERS_BYTES_MAX, KEY_WINDOW_CALLS_MAX, KEY_WINDOW_TIME, LAST_TRAPS_MAX,
};

/// An argument of a call, as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Term {
    /// A whole number.
    Integer(i64),
    /// Anything else, as it was written.
    Text(String),
}

impl Term {
    /// Reads a word from a command line: a whole number if it is one, a text otherwise.
    pub fn from_word(word: &str) -> Self {
        word.parse().map_or_else(|_| Self::Text(word.to_owned()), Self::Integer)
    }
}

/// What a caller asks of a player.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Adds points; answers the new total.
    Reward(Term),
    /// Answers the total.
    Points,
    /// Takes a copy that may miss acknowledged calls, if no better one can be reached; answers the
    /// total in it.
    Recover(Recovery),
    /// Ends the player: its copies are dropped, and the next call begins a new one.
    Forget,
    /// Ends the player's quarantine: the next call tries to restore it again.
    Release,
    /// Answers what is needed to look at a failure elsewhere, and changes nothing.
    Bundle(Exhibit),
    /// Calls any function that the code exports; answers what it returned.
    Call(FunctionCall),
    /// Has the owner hand the player over to this node.
    Move(NodeName),
    /// Throws the player's instance away, as a trap does; answers what it was restored to.
    Crash,
    /// Answers the player's state, and changes nothing.
    Export,
    /// Begins the player with the state that is in this file.
    Import(ExportFile),
}

/// A failure that somebody wants to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exhibit {
    /// The player's latest trap on the node that runs it.
    LastTrap,
    /// The state that could not be restored.
    Quarantine,
}

/// What an operator gives up on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recovery {
    /// The node whose copy is taken.
    pub from: NodeName,
    /// The position that the copy must have. Calls that were acknowledged after it are lost.
    pub accept: Seq,
}

/// One call. The same key is the same call, however often and through whatever node it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The player that is called.
    pub player: PlayerId,
    /// The caller's key.
    pub key: CallKey,
    /// What is asked.
    pub operation: Operation,
}

/// The guest's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The guest returned; its state is on every keeper.
    Returned {
        /// What it returned.
        value: Value,
        /// The player's position after the call.
        seq: Seq,
        /// The node that ran it.
        node: NodeName,
    },
    /// The guest trapped; nothing was applied and the player was restored.
    Trapped(Crash),
    /// The player is no more.
    Forgotten {
        /// The position it had; `None` when there was none, or none that could be read.
        seq: Option<Seq>,
        /// The node that has ended it.
        node: NodeName,
    },
    /// The player is not in quarantine any more.
    Released {
        /// What had become of its restores.
        failed: FailedRestores,
        /// Its owner.
        node: NodeName,
    },
    /// What is needed to look at a failure elsewhere.
    Bundled(Box<Bundle>),
    /// The player is on the node that was asked for.
    HandedOver(Box<Handover>),
    /// The player's state.
    Exported(Box<Export>),
    /// The player has begun with the state in a file.
    Imported {
        /// Its position then.
        seq: Seq,
        /// The node that runs it.
        node: NodeName,
        /// The other nodes that keep its copies.
        keepers: Vec<NodeName>,
    },
}

/// How a guest trapped and what it was restored to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// The guest's own words, or the engine's if it left none.
    pub message: String,
    /// The position the player was restored to.
    pub restored_seq: Seq,
    /// Time from the trap to a player that can be called again, in microseconds.
    pub restore_micros: u64,
    /// The node that ran it and restored it.
    pub node: NodeName,
    /// The keepers, which were not touched.
    pub keepers: Vec<NodeName>,
}

/// What is known of a call that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was and nothing will be applied.
    NotApplied,
    /// It may have been applied; the same key never applies it twice.
    Unknown,
}

/// Why a call got no answer. [`CallError::outcome`] says what is known about its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ThisError)]
pub enum CallError {
    /// There is no second node that could keep a copy.
    #[error("single_node: {node} is alone, so no other node could keep a copy")]
    SingleNode {
        /// The node that was asked.
        node: NodeName,
    },
    /// No trustworthy copy of the player can be reached.
    #[error("unavailable: no copy of {player} can be reached; its copies are on {}", list(.holders))]
    Unavailable {
        /// The player.
        player: PlayerId,
        /// Nodes that hold its copies, with what is wrong with each.
        holders: Vec<String>,
    },
    /// The player was created by code that no reachable node has.
    #[error("no reachable node has the code {code} that created {player}")]
    NoCode {
        /// The player.
        player: PlayerId,
        /// Its code.
        code: String,
    },
    /// The player could not be brought to life from a good copy.
    #[error("cannot restore {player}: {reason}")]
    Broken {
        /// The player.
        player: PlayerId,
        /// What failed.
        reason: String,
    },
    /// Another node owns the player now. Nodes follow the move themselves; callers see it only
    /// when the deadline cut that short.
    #[error("moved: another node owns {player} now")]
    Moved {
        /// The player.
        player: PlayerId,
    },
    /// Too many calls wait already.
    #[error("overloaded: {node} has too many calls waiting")]
    Overloaded {
        /// The node that refused.
        node: NodeName,
    },
    /// The same key came with another operation.
    #[error("key_reused: the key {key} was used for another call of this player")]
    KeyReused {
        /// The key.
        key: CallKey,
    },
    /// The player needs no recovery.
    #[error("available: {player} is at seq {seq} on {node}, nothing has to be given up")]
    Available {
        /// The player.
        player: PlayerId,
        /// Its position.
        seq: Seq,
        /// Its owner.
        node: NodeName,
    },
    /// The node is stopping.
    #[error("stopping: {node} is shutting down")]
    Stopping {
        /// The node.
        node: NodeName,
    },
    /// The call was never sent to a player within its deadline.
    #[error("timed out before the player was called: {reason}")]
    Late {
        /// What took so long.
        reason: String,
    },
    /// The call was sent, and no acknowledgement came within its deadline.
    #[error("unknown outcome: {reason}; retry with the same key {key}")]
    Unknown {
        /// What was lost.
        reason: String,
        /// The key to retry with.
        key: CallKey,
    },
    /// The key is older than those that the player remembers: nobody can say whether the call was
    /// applied before. No node knows more.
    #[error(
        "key_expired: the call may have been applied; {player} remembers the keys of the last {} \
         minutes, at most {KEY_WINDOW_CALLS_MAX} of them, and {key} is older: look at the player \
         before you call it with a new key",
        KEY_WINDOW_TIME.as_secs() / 60
    )]
    KeyExpired {
        /// The player.
        player: PlayerId,
        /// The key.
        key: CallKey,
        /// The largest key that the player has forgotten; larger ones can be new.
        horizon: CallKey,
    },
    /// The key was made in the future, as the clock of the node that was asked has it.
    #[error(
        "key_ahead: the key {key} was made {} s in the future by the clock of {node}; compare the \
         clock of {node} with that of the machine that made the key",
        .ahead_ms / 1000
    )]
    KeyAhead {
        /// The key.
        key: CallKey,
        /// The node that refused.
        node: NodeName,
        /// How far it is ahead, in milliseconds.
        ahead_ms: u64,
    },
    /// The player's state could not be restored again and again.
    #[error(
        "quarantined: {0}; look at it with `host quarantine export {player} > FILE` and `host replay \
         FILE`, then let it be tried again with `host quarantine release {player}`",
        player = .0.player
    )]
    Quarantined(Box<Quarantine>),
    /// The player is in no quarantine.
    #[error("not_quarantined: {player} is not in quarantine; `host quarantine list` says who is")]
    NotQuarantined {
        /// The player.
        player: PlayerId,
    },
    /// There is no trap of the player to look at.
    #[error(
        "no_bundle: {node} remembers no trap of {player}; a trap is remembered by the node on which \
         it happened, in memory, for the {LAST_TRAPS_MAX} players that trapped last, so it is gone \
         when the player has moved or the node has ended: make it trap again"
    )]
    NoBundle {
        /// The player.
        player: PlayerId,
        /// The node that runs it.
        node: NodeName,
    },
    /// The code has no function of this name that can be called from outside.
    #[error("no_function: {reason}")]
    NoFunction {
        /// Which function, why not, and which ones there are.
        reason: String,
    },
    /// The arguments do not fit the function.
    #[error("bad_arguments: {reason}")]
    BadArguments {
        /// Which argument, why not, and what the function takes.
        reason: String,
    },
    /// The call was executed before, and what it returned is not kept any more.
    #[error(
        "answer_gone: the call was executed before, at seq {seq}, and its answer is not kept any \
         more: {player} keeps those of its last calls, {} KiB of text together",
        KEY_WINDOW_ANSWERS_BYTES_MAX / 1024
    )]
    AnswerGone {
        /// The player.
        player: PlayerId,
        /// Its position after the call.
        seq: Seq,
    },
    /// There is no such player.
    #[error(
        "no_player: there is no {player}; its first call begins it, and `host describe` without a \
         player says what code it would run"
    )]
    NoPlayer {
        /// The player.
        player: PlayerId,
    },
    /// The player cannot go to the node that was asked for.
    #[error("not_moved: {reason}; {player} stays on {owner}")]
    NotMoved {
        /// The player.
        player: PlayerId,
        /// The node that owns it.
        owner: NodeName,
        /// Why.
        reason: String,
    },
    /// A move with this key was begun before, and the player is elsewhere now. It is not begun again.
    #[error(
        "not_there: a move of {player} to {to} was begun with this key at seq {seq}, and {player} is \
         on {owner} now; the same key never moves it again: if it should be on {to}, move it with \
         another key"
    )]
    NotThere {
        /// The player.
        player: PlayerId,
        /// Where it was to go.
        to: NodeName,
        /// The node that owns it.
        owner: NodeName,
        /// Its position when that began.
        seq: Seq,
    },
    /// No node of this name runs.
    #[error("no_node: {reason}")]
    NoNode {
        /// Which one, and which ones there are.
        reason: String,
    },
    /// A player that exists begins with no other state.
    #[error(
        "player_exists: {player} runs on {node} at seq {seq} already; import to another player, or end \
         this one first with `host forget {player}`"
    )]
    PlayerExists {
        /// The player.
        player: PlayerId,
        /// Its position.
        seq: Seq,
        /// Its owner.
        node: NodeName,
    },
    /// No player can begin with what is in the file.
    #[error("not_imported: {reason}")]
    NotImported {
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// Returns one word for programs, which never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SingleNode { .. } => "single_node",
            Self::Unavailable { .. } => "unavailable",
            Self::NoCode { .. } => "no_code",
            Self::Broken { .. } => "broken",
            Self::Moved { .. } => "moved",
            Self::Overloaded { .. } => "overloaded",
            Self::KeyReused { .. } => "key_reused",
            Self::Available { .. } => "available",
            Self::KeyExpired { .. } => "key_expired",
            Self::KeyAhead { .. } => "key_ahead",
            Self::Stopping { .. } => "stopping",
            Self::Late { .. } => "late",
            Self::Unknown { .. } => "unknown",
            Self::Quarantined(_) => "quarantined",
            Self::NotQuarantined { .. } => "not_quarantined",
            Self::NoBundle { .. } => "no_bundle",
            Self::NoFunction { .. } => "no_function",
            Self::BadArguments { .. } => "bad_arguments",
            Self::AnswerGone { .. } => "answer_gone",
            Self::NoPlayer { .. } => "no_player",
            Self::NotMoved { .. } => "not_moved",
            Self::NotThere { .. } => "not_there",
            Self::NoNode { .. } => "no_node",
            Self::PlayerExists { .. } => "player_exists",
            Self::NotImported { .. } => "not_imported",
        }
    }

    /// Whether a player's owner has looked at the key of a move before it said this: then it is known
    /// what became of the move.
    pub fn settles_a_move(&self) -> bool {
        matches!(
            self,
            Self::NotMoved { .. }
                | Self::NotThere { .. }
                | Self::NoPlayer { .. }
                | Self::KeyReused { .. }
                | Self::KeyExpired { .. }
                | Self::AnswerGone { .. }
        )
    }

    /// Returns what is known about the call's effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown { .. }
            | Self::KeyExpired { .. }
            | Self::AnswerGone { .. }
            | Self::NotThere { .. } => Outcome::Unknown,
            Self::SingleNode { .. }
            | Self::Unavailable { .. }
            | Self::NoCode { .. }
            | Self::Broken { .. }
            | Self::Moved { .. }
            | Self::Overloaded { .. }
            | Self::KeyReused { .. }
            | Self::Available { .. }
            | Self::Stopping { .. }
            | Self::Late { .. }
            | Self::Quarantined(_)
            | Self::NotQuarantined { .. }
            | Self::NoBundle { .. }
            | Self::NoFunction { .. }
            | Self::BadArguments { .. }
            | Self::NoPlayer { .. }
            | Self::NotMoved { .. }
            | Self::NoNode { .. }
            | Self::PlayerExists { .. }
            | Self::NotImported { .. }
            | Self::KeyAhead { .. } => Outcome::NotApplied,
        }
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "no node".to_owned() } else { words.join(", ") }
}

/// Returns an error and its causes as one sentence.
pub fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors repeat their cause in their own words.
        if !sentence.contains(&words) {
            sentence.push_str(": ");
            sentence.push_str(&words);
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_number_only_if_all_of_it_is() {
        assert_eq!(Term::from_word("5"), Term::Integer(5));
        assert_eq!(Term::from_word("-7"), Term::Integer(-7));
        assert_eq!(Term::from_word("a"), Term::Text("a".into()));
        assert_eq!(Term::from_word("5x"), Term::Text("5x".into()));
        let too_large = "9223372036854775808";
        assert_eq!(Term::from_word(too_large), Term::Text(too_large.into()));
    }
}
