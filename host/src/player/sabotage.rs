//! Restores that fail on purpose.
//!
//! A state that cannot be restored does not come about by itself, and tests on real processes need
//! one. The program that runs for users never calls this: the one under test does, at its start.

use std::fmt;
use std::sync::OnceLock;

use crate::protocol::PlayerId;

type Fails = Box<dyn Fn(&PlayerId) -> Option<String> + Send + Sync>;

struct Sabotage(Fails);

impl fmt::Debug for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sabotage")
    }
}

static SABOTAGE: OnceLock<Sabotage> = OnceLock::new();

/// Lets a restore of a player fail, whenever this says why, as if its state could not be restored.
/// Only the first one counts, for the whole process.
pub fn sabotage_restores(fails: impl Fn(&PlayerId) -> Option<String> + Send + Sync + 'static) {
    drop(SABOTAGE.set(Sabotage(Box::new(fails))));
}

/// Returns why a restore of a player fails on purpose.
pub(super) fn of(player: &PlayerId) -> Option<String> {
    SABOTAGE.get().and_then(|Sabotage(fails)| fails(player))
}
