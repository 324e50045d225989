//! What people want of players that are well: to have them on another node, or to see them crash.
//!
//! In most worlds they want nothing. They choose by numbers of their own, so those worlds are what they
//! would be without them.

use host::protocol::Operation;

use super::node::name_of;
use super::rng::Rng;
use super::world::World;

/// Makes the numbers of wishes others than those of the world.
const APART: u64 = 0x6d6f_7665_6d65_6e74;

/// What people want in one world.
#[derive(Debug)]
pub(super) struct Wishes {
    rng: Rng,
    /// How many of a hundred calls are moves.
    moves: u64,
    /// How many of a hundred calls are drills.
    drills: u64,
}

impl Wishes {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ APART);
        let moves = if rng.percent(30) { rng.between(2, 12) } else { 0 };
        let drills = if moves > 0 && rng.percent(50) { rng.between(1, 6) } else { 0 };
        Self { rng, moves, drills }
    }
}

impl World {
    /// What somebody wants of a player instead of what callers ask.
    pub(super) fn wish(&mut self) -> Option<Operation> {
        let wishes = &mut self.wishes;
        if self.healed.is_some() || wishes.moves + wishes.drills == 0 {
            return None;
        }
        let slot = wishes.rng.index(self.machines.len());
        if wishes.rng.percent(wishes.drills) {
            return Some(Operation::Crash);
        }
        wishes.rng.percent(wishes.moves).then(|| Operation::Move(name_of(slot)))
    }
}
