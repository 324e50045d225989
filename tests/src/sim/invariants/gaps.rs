//! A copy's positions have no gap, and its store equals its memory.

use host::protocol::StateMismatch;

use super::super::Bug;
use super::super::happening::Slot;
use super::super::keeper::Asked;
use super::super::world::World;

impl World {
    pub(in super::super) fn watch_gap(&mut self, slot: Slot, mismatch: &StateMismatch) {
        self.broken("positions have no gap", format!("on {slot}: {mismatch}"));
    }

    /// A keeper acknowledged a call: its store has it, and nothing else.
    pub(in super::super) fn watch_copy(&mut self, slot: Slot, asked: &Asked) {
        let machine = &self.machines[slot];
        let Some(process) = &machine.process else { return };
        let Some(copy) = process.keeper.copy(&asked.player, asked.copy) else {
            // Dropped by a later request of the same batch.
            return;
        };
        let stored = machine.disk.copy(asked.copy);
        // Trust that was made up is in no store.
        let made_up = self.has(Bug::RestoreStale);
        let same = stored.is_some_and(|(stored, trusted)| {
            stored.state == *copy.state.state() && (made_up || trusted == copy.trusted)
        });
        if !same {
            let detail = format!("{} {} on {slot}", asked.player, asked.copy);
            self.broken("the store has what was acknowledged", detail);
        }
    }
}
