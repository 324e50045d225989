//! People who decide where the rules stop: they take a copy that may miss acknowledged calls, or end
//! a player.

use host::protocol::{NodeName, Operation, PlayerChange, PlayerId, Recovery, Seq};

use super::node::name_of;
use super::rng::Rng;
use super::server::keeper_slot;
use super::world::World;

/// What people do in one world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operators {
    /// Whether anybody takes doubtful copies.
    recover: bool,
    /// Players that may still be ended.
    ends: u64,
}

impl Operators {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let recover = rng.percent(85);
        let ends = if rng.percent(30) { rng.between(1, 3) } else { 0 };
        Self { recover, ends }
    }
}

impl World {
    /// What an operator asks of a player instead of what callers ask. `unavailable` says that the
    /// call before was told so.
    pub(super) fn operation_of_operator(
        &mut self,
        player: usize,
        unavailable: bool,
    ) -> Option<Operation> {
        if unavailable && self.plan.operators.recover && self.rng.percent(85) {
            return self.recovery(player).map(Operation::Recover);
        }
        if self.healed.is_none() && self.plan.operators.ends > 0 && self.rng.percent(2) {
            self.plan.operators.ends -= 1;
            return Some(Operation::Forget);
        }
        self.wish()
    }

    /// What an operator asks of a player in quarantine.
    pub(super) fn release_of_operator(&mut self) -> Option<Operation> {
        let releases = self.healed.is_some() || self.rng.percent(60);
        releases.then_some(Operation::Release)
    }

    /// A doubtful copy that the directory names, sometimes with the position that it has.
    fn recovery(&mut self, player: usize) -> Option<Recovery> {
        let record = self.log.state.player(&self.players[player])?;
        let doubtful = record.keepers.iter().filter_map(|keeper| {
            let slot = keeper_slot(self, keeper.node)?;
            let (copy, trusted) = self.machines[slot].disk.copy(keeper.copy)?;
            (!trusted).then(|| (name_of(slot), copy.state.seq))
        });
        let doubtful: Vec<(NodeName, Seq)> = doubtful.collect();
        if doubtful.is_empty() {
            return None;
        }
        let (from, seq) = doubtful[self.rng.index(doubtful.len())].clone();
        // Some name the position that they would like it to have.
        let hoped = Seq(seq.0 + self.rng.between(1, 3));
        let accept = if self.rng.percent(75) { hoped } else { seq };
        Some(Recovery { from, accept })
    }

    /// The directory makes a change: players that exist and have no keepers after it are ended.
    pub(super) fn ended_by(&self, changes: &[PlayerChange]) -> Vec<PlayerId> {
        let exists = |player: &PlayerId| {
            self.log.state.player(player).is_some_and(|record| !record.is_forgotten())
        };
        let ends = changes.iter().filter(|change| change.keepers.is_empty());
        ends.map(|change| change.player.clone()).filter(exists).collect()
    }
}
