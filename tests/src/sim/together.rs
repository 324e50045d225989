//! Several processes or machines that fail at the same moment: an owner and those that keep its
//! player, or all there are. Some of them may stay away for as long as anything fails.

use super::happening::{Happening, Slot};
use super::rng::Rng;
use super::world::World;

/// How often several fail at once in one world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together {
    /// Owners with keepers that may still fail together.
    groups: u64,
    /// Times at which all processes may still be killed at once.
    kills: u64,
    /// Times at which all machines may still lose their power at once.
    outages: u64,
}

/// How the processes of one moment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Rebooted,
}

impl Together {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self {
            groups: if rng.percent(55) { rng.between(1, 3) } else { 0 },
            kills: u64::from(rng.percent(15)),
            outages: if rng.percent(25) { rng.between(1, 2) } else { 0 },
        }
    }
}

impl World {
    /// Lets several fail at once, if it is time for that. Returns whether it was.
    pub(super) fn fail_together(&mut self) -> bool {
        if self.plan.together.outages > 0 && self.rng.percent(5) {
            self.plan.together.outages -= 1;
            self.coverage.outages += 1;
            (0..self.machines.len()).for_each(|slot| self.fail(slot, End::Rebooted, true));
            return true;
        }
        if self.plan.together.kills > 0 && self.rng.percent(5) {
            self.plan.together.kills -= 1;
            self.coverage.kills_of_all += 1;
            (0..self.machines.len()).for_each(|slot| self.fail(slot, End::Killed, true));
            return true;
        }
        if self.plan.together.groups > 0 && self.rng.percent(10) && self.fail_group() {
            self.plan.together.groups -= 1;
            return true;
        }
        false
    }

    /// The owner of a player and one of its keepers, or all of them, fail at the same moment.
    fn fail_group(&mut self) -> bool {
        let player = self.rng.index(self.players.len());
        let player = self.players[player].clone();
        let Some(record) = self.log.state.player(&player) else { return false };
        let owner = record.owner.node;
        let slot_of = |node| self.net.addresses.get(&node).copied();
        let mut keepers: Vec<Slot> =
            record.remote_keepers().filter_map(|keeper| slot_of(keeper.node)).collect();
        let Some(owner) = slot_of(owner) else { return false };
        let running = |slot: &Slot| self.machines[*slot].process.is_some();
        if keepers.is_empty() || !running(&owner) || !keepers.iter().all(running) {
            return false;
        }
        match keepers.len() {
            1 => self.coverage.groups_of_one_keeper += 1,
            2 => self.coverage.groups_of_two_keepers += 1,
            _ => self.coverage.groups_of_three_keepers += 1,
        }
        if self.rng.percent(50) {
            let one = self.rng.index(keepers.len());
            keepers = vec![keepers[one]];
        }
        let end = if self.rng.percent(50) { End::Killed } else { End::Rebooted };
        // Both return, or only one side before everything heals.
        let (owner_returns, keepers_return) = match self.rng.index(4) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        self.coverage.groups_that_return_in_part += u64::from(owner_returns != keepers_return);
        self.tell(|| format!("{player}: its owner and keepers fail together"));
        self.fail(owner, end, owner_returns);
        for keeper in keepers {
            self.fail(keeper, end, keepers_return);
        }
        true
    }

    fn fail(&mut self, slot: Slot, end: End, returns: bool) {
        match end {
            End::Killed => {
                self.coverage.crashes += 1;
                self.kill(slot);
            }
            End::Rebooted => self.lose_power(slot),
        }
        if returns {
            let wait = self.some_time(10, 4000);
            self.after(wait, Happening::Boot { slot });
        }
    }
}
