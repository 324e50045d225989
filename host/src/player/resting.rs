//! What is left of players that rest: where each has stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::machine::Rested;
use crate::protocol::PlayerId;

/// The players that rest on this node. Cheap to clone.
///
/// Some of them may have another owner meanwhile. Whoever opens a player compares with the
/// directory, so such an entry is only memory, until [`Resting::forget`].
#[derive(Debug, Clone, Default)]
pub(super) struct Resting(Arc<Mutex<BTreeMap<PlayerId, Rested>>>);

impl Resting {
    /// Notes that a player rests.
    pub(super) fn put(&self, player: PlayerId, rested: Rested) {
        self.table().insert(player, rested);
    }

    /// Returns where a player has stopped, for the one that it wakes up for.
    pub(super) fn take(&self, player: &PlayerId) -> Option<Rested> {
        self.table().remove(player)
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.table().len()
    }

    /// Drops players that other nodes own now.
    pub(super) fn forget<'a>(&self, players: impl Iterator<Item = &'a PlayerId>) {
        let mut table = self.table();
        players.for_each(|player| {
            table.remove(player);
        });
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<PlayerId, Rested>> {
        // The table is whole between any two operations, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
