//! No acknowledged reward is lost: each is in the state that the directory names at the end.

use host::protocol::{CallKey, Operation, PlayerId, PlayerState};

use super::super::client::{Ended, op_of};
use super::super::server::keeper_slot;
use super::super::world::World;
use super::applied;

impl World {
    /// Returns the trusted state of some copy that the directory names.
    pub(in super::super) fn named_state(&self, player: &PlayerId) -> Option<PlayerState> {
        let record = self.log.state.player(player)?;
        let states = record.keepers.iter().filter_map(|keeper| {
            let slot = keeper_slot(self, keeper.node)?;
            let (copy, trusted) = self.machines[slot].disk.copy(keeper.copy)?;
            trusted.then(|| copy.state.clone())
        });
        states.max_by_key(|state| state.seq)
    }

    /// Whether what a caller was told last of a call was given up since.
    fn was_given_up(&self, player: &PlayerId, key: CallKey) -> bool {
        let told = self.watch.acknowledged.get(&(player.clone(), key));
        told.is_some_and(|(seq, _, by)| self.is_given_up(player, *seq, *by))
    }

    pub(in super::super) fn check_final_states(&mut self) {
        for index in 0..self.players.len() {
            let player = self.players[index].clone();
            let Some(state) = self.named_state(&player) else { continue };
            self.check_history(&player, &state, "at the end");
            let told: Vec<(CallKey, Ended)> = self
                .ops
                .iter()
                .filter(|op| op.player == index && matches!(op.operation, Operation::Reward(_)))
                // Code that traps now and then may do for an earlier attempt what it does not do for
                // the latest one.
                .filter(|op| {
                    let certain = !op.may_be_applied && self.plan.repeats == 0;
                    certain || op.ended != Ended::Trapped
                })
                .map(|op| (op.key, op.ended.clone()))
                .collect();
            for (key, ended) in told {
                let kept = applied(&state, op_of(key)) > 0;
                match ended {
                    Ended::Returned(_) if !kept && !self.was_given_up(&player, key) => {
                        let detail = format!("{player} has lost {key}, which was answered");
                        self.broken("no acknowledged reward is lost", detail);
                    }
                    Ended::NotApplied | Ended::Trapped if kept => {
                        let detail = format!("{player} has {key}, which ended as {ended:?}");
                        self.broken("what is said not to be applied is not applied", detail);
                    }
                    _ => {}
                }
            }
        }
    }
}
