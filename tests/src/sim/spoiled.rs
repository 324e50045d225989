//! Restores that fail: for a while a player's state cannot be restored anywhere, or a machine has no
//! memory for an instance.

use host::player::{Event, RestoreFailure};
use host::protocol::{CallError, PlayerId};

use super::happening::{MS, Slot};
use super::rng::Rng;
use super::world::World;

/// What may still fail in one world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoils {
    /// Players whose states cannot be restored for a while.
    states: u64,
    /// Restores that fail for want of memory, of a hundred.
    memory: u64,
}

impl Spoils {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let states = if rng.percent(50) { rng.between(1, 4) } else { 0 };
        let memory = if rng.percent(20) { rng.between(1, 10) } else { 0 };
        Self { states, memory }
    }
}

impl World {
    /// Lets a player's restores fail for a while, perhaps. Returns whether it does.
    pub(super) fn perhaps_spoil(&mut self) -> bool {
        if self.plan.spoils.states == 0 || !self.rng.percent(12) {
            return false;
        }
        self.plan.spoils.states -= 1;
        let player = self.rng.index(self.players.len());
        let player = self.players[player].clone();
        // Shorter than it takes to be tried too often, or longer than a failover.
        let until = self.now + self.rng.between(200, 9000) * MS;
        self.tell(|| format!("{player} cannot be restored"));
        self.spoiled.insert(player, until);
        true
    }

    /// Returns why a restore fails, if it does.
    pub(super) fn restore_fails(&mut self, slot: Slot, player: &PlayerId) -> Option<Event> {
        if self.healed.is_some() {
            return None;
        }
        let failure = if self.spoiled.get(player).is_some_and(|until| self.now < *until) {
            self.coverage.restores_failed += 1;
            RestoreFailure::State("spoiled".to_owned())
        } else if self.rng.percent(self.plan.spoils.memory) {
            self.coverage.restores_without_memory += 1;
            let reason = "no memory".to_owned();
            RestoreFailure::Here(CallError::Broken { player: player.clone(), reason })
        } else {
            return None;
        };
        self.tell(|| format!("server {slot}: {player} {failure:?}"));
        Some(Event::RestoreFailed(failure))
    }
}
