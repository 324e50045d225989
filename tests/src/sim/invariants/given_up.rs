//! What people give up may be missing, and nothing else: after a recovery the acknowledged calls
//! above the position that was accepted, after its end everything that a player was.
//!
//! A change of owners fences those before it, so what is given up are calls that were acknowledged
//! under an older generation. They may be there all the same, if a better copy is found before the
//! doubtful one has replaced it; but nothing of a player that was ended returns.

use host::protocol::{CallKey, Generation, PlayerId, PlayerState, Seq};

use super::super::client::op_of;
use super::super::guest::{memory_of, times_applied};
use super::super::world::World;

/// What somebody gave up on, once.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct GivenUp {
    /// Calls after this position,
    pub(super) above: Seq,
    /// that were acknowledged under generations below this one.
    pub(super) below: Generation,
    /// Whether the player was ended.
    pub(super) ended: bool,
}

impl GivenUp {
    pub(super) fn covers(&self, seq: Seq, generation: Generation) -> bool {
        seq > self.above && generation < self.below
    }
}

impl World {
    /// A keeper begins to trust a copy at this position, because a person said so.
    pub(in super::super) fn watch_recovery(
        &mut self,
        player: &PlayerId,
        above: Seq,
        below: Generation,
    ) {
        self.coverage.recoveries += 1;
        // The time in which it must answer begins anew.
        self.healed = self.healed.map(|_| self.now);
        let lost = self.watch.acknowledged.iter().filter(|((of, _), (seq, _, generation))| {
            of == player && *seq > above && *generation < below
        });
        self.coverage.calls_given_up += lost.count() as u64;
        self.tell(|| format!("{player} is recovered at {above} under g{below}"));
        self.give_up(player, GivenUp { above, below, ended: false });
    }

    /// The directory has ended a player.
    pub(in super::super) fn watch_end(&mut self, player: &PlayerId) {
        let Some(record) = self.log.state.player(player).filter(|record| record.is_forgotten())
        else {
            return;
        };
        let below = record.generation;
        self.coverage.ends += 1;
        self.give_up(player, GivenUp { above: Seq(0), below, ended: true });
    }

    /// [`Bug::ReturnEnded`](super::super::Bug::ReturnEnded): what a player was at last.
    pub(in super::super) fn state_before(&self, player: &PlayerId) -> Option<&PlayerState> {
        self.watch.restored.get(player).map(|(_, state)| state)
    }

    fn give_up(&mut self, player: &PlayerId, given_up: GivenUp) {
        let all = self.watch.given_up.entry(player.clone()).or_default();
        all.push(given_up);
        all.sort_by_key(|given_up| given_up.below);
    }

    pub(super) fn given_up(&self, player: &PlayerId) -> &[GivenUp] {
        self.watch.given_up.get(player).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_given_up(&self, player: &PlayerId, seq: Seq, by: Generation) -> bool {
        self.given_up(player).iter().any(|given_up| given_up.covers(seq, by))
    }

    /// A server executes a call.
    pub(in super::super) fn watch_execution(
        &mut self,
        player: &PlayerId,
        key: CallKey,
        generation: Generation,
    ) {
        let call = (player.clone(), op_of(key));
        let newest = self.watch.executed.entry(call).or_insert(generation);
        *newest = (*newest).max(generation);
    }

    /// Whether a call can be in a player's history after it was given up so often.
    pub(super) fn can_be_in(&self, player: &PlayerId, op: usize, given_up: &[GivenUp]) -> bool {
        let executed = self.watch.executed.get(&(player.clone(), op)).copied();
        let ends = given_up.iter().filter(|given_up| given_up.ended);
        let newest = ends.map(|end| end.below).max().unwrap_or(Generation(0));
        executed.is_some_and(|executed| executed >= newest)
    }

    /// What an owner begins with was executed since the player was ended last.
    pub(super) fn check_nothing_returns(
        &mut self,
        player: &PlayerId,
        generation: Generation,
        state: &PlayerState,
    ) {
        let given_up = self.given_up(player).iter();
        let before: Vec<GivenUp> = given_up.filter(|g| g.below <= generation).copied().collect();
        let memory = memory_of(state);
        let mut applied =
            times_applied(&memory).iter().enumerate().filter(|(_, times)| **times > 0);
        if let Some((op, _)) = applied.find(|(op, _)| !self.can_be_in(player, *op, &before)) {
            let key = self.ops.get(op).map(|op| op.key);
            let detail = format!("{player} g{generation} has {key:?} of a player that was ended");
            self.broken("nothing of a player that was ended returns", detail);
        }
    }
}
