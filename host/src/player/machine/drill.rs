//! A drill: the player's instance is thrown away although nothing is wrong with it.
//!
//! From there on it is as after a trap: another instance is made from what was executed, and whoever
//! asked is told so once every keeper has confirmed that this is still the owner. Nothing is applied,
//! and nothing is counted: it is no fault of the code or of a call, and what is remembered of the last
//! real trap stays. A restore that fails is a failed restore, in a drill as in earnest.

use super::{Action, Life, Machine, Waiting};

/// The reason that is told, in the place of a guest's last words.
const REASON: &str = "crash drill";

impl Machine {
    /// Throws the instance away.
    pub(super) fn begin_drill(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        self.life = Life::Coming;
        self.crashed = Some((waiting, REASON.to_owned()));
        out.push(Action::GiveUp);
        out.push(Action::Restore);
    }
}
