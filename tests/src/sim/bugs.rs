//! Known ways to build it wrong. The machines stay as they are: what lies is the driver around them.

use std::str::FromStr;

/// A mistake in the drivers, for showing that the invariants notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The caller is answered when the call was executed.
    AnswerBeforeAcknowledgement,
    /// The keeper does not know of newer owners.
    NoGenerationCheck,
    /// A copy that may miss acknowledged calls is handed over like any other.
    RestoreStale,
    /// The keys of the calls before are not handed over.
    LoseKeys,
    /// A new owner acts under the generation of the one before, and the keeper takes both for one.
    KeepGeneration,
    /// A silent owner is replaced at once, and the keeper does not fence it.
    EvictOnSuspicion,
    /// A key that may have been forgotten is taken for a new one.
    ForgetHorizon,
    /// A client takes another key although the one before may have been applied.
    RenewUsedKey,
    /// A keeper that should sync first acknowledges what the disk does not have.
    AnswerBeforeSync,
    /// An owner that is going to leave answers what is still on its way to the keepers, and hands
    /// over.
    HandOverUnacknowledged,
    /// A keeper takes a person's word for any position of a doubtful copy.
    RecoverAnyPosition,
    /// A player that was ended begins again as what it was.
    ReturnEnded,
    /// An owner says nothing of failed restores when it has its keepers named.
    ForgetFailures,
    /// Memory is given to other code as it is.
    KeepMemory,
    /// A player that goes back becomes what it was, whatever has been acknowledged since.
    GoBackTooFar,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::AnswerBeforeAcknowledgement,
        Self::NoGenerationCheck,
        Self::RestoreStale,
        Self::LoseKeys,
        Self::KeepGeneration,
        Self::EvictOnSuspicion,
        Self::ForgetHorizon,
        Self::RenewUsedKey,
        Self::AnswerBeforeSync,
        Self::HandOverUnacknowledged,
        Self::RecoverAnyPosition,
        Self::ReturnEnded,
        Self::ForgetFailures,
        Self::KeepMemory,
        Self::GoBackTooFar,
    ];
}

impl FromStr for Bug {
    type Err = String;

    /// Reads a bug as `{:?}` writes it.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|bug| format!("{bug:?}") == text);
        known.ok_or_else(|| format!("no such bug: {text}; there are {:?}", Self::ALL))
    }
}
