//! Owners whose calls are on their way when somebody else takes their players: those that reach
//! nobody but a keeper, and those that leave.

use host::protocol::PlayerId;

use super::happening::{Happening, MS, Pid, Slot, Time};
use super::world::World;

impl World {
    /// The owner of a player reaches its keepers and its callers, but neither the leader nor anybody
    /// else who could tell it that it has been replaced, not even around the cut links.
    pub(super) fn strand(&mut self) {
        let Some(leader) = self.log.leader else { return };
        let (first, players) = (self.rng.index(self.players.len()), self.players.len());
        let found = (first..first + players).find_map(|player| {
            let player = player % players;
            let (owner, keepers) = self.owner_and_keepers(&self.players[player])?;
            let fits = owner != leader && !keepers.contains(&leader) && self.is_running(owner);
            fits.then_some((player, owner, keepers))
        });
        let Some((player, owner, keepers)) = found else { return };
        self.coverage.strandings += 1;
        let lasts = self.rng.between(1000, 4000) * MS;
        for other in (0..self.machines.len()).filter(|other| !keepers.contains(other)) {
            self.cut(owner, other, lasts);
            self.cut(other, owner, lasts);
        }
        for keeper in &keepers {
            self.cut(leader, *keeper, lasts);
        }
        self.net.stranded.insert(owner, (player, keepers));
        self.let_it_play_out(lasts.min(1500 * MS));
    }

    /// Nothing else goes wrong for a while, perhaps: most of what takes several steps would be ended
    /// by the next fault.
    fn let_it_play_out(&mut self, time: Time) {
        if self.rng.percent(70) {
            self.plan.quiet_until = self.now + time;
        }
    }

    /// The leader calls a machine down. If it is only stranded, what it sends to its keepers from
    /// now on stays on its way for less than it would wait, perhaps until a new owner has read there.
    pub(super) fn perhaps_hold_appends(&mut self, owner: Slot) {
        let Some((player, keepers)) = self.net.stranded.remove(&owner) else { return };
        self.send_visitors(owner, player, 40 * MS);
        if self.rng.percent(30) {
            return;
        }
        let wait = self.rng.between(0, 15) * MS;
        let lasts = self.rng.between(100, 700) * MS;
        for to in keepers {
            self.after(wait, Happening::Cut { from: owner, to, lasts });
        }
    }

    /// What an owner sends to a keeper stays on its way until a new owner has read there.
    pub(super) fn cut_later(&mut self, from: Slot, to: Slot, lasts: Time) {
        if self.healed.is_none() && self.net.one_way(from, to) {
            self.cut(from, to, lasts);
            self.net.late.insert((from, to));
        }
    }

    /// Somebody has read a copy on this keeper: what the owner before has sent comes right behind.
    pub(super) fn let_late_appends_in(&mut self, keeper: Slot) {
        let late = self.net.late.iter().copied().filter(|(_, to)| *to == keeper);
        for (from, to) in late.collect::<Vec<_>>() {
            self.net.late.remove(&(from, to));
            self.coverage.late_appends += 1;
            let wait = self.rng.between(0, 12 * MS);
            self.after(wait, Happening::Uncut { from, to });
        }
    }

    /// The machines of a player's owner and of its keepers; `None` if it has no keeper elsewhere.
    fn owner_and_keepers(&self, player: &PlayerId) -> Option<(Slot, Vec<Slot>)> {
        let record = self.log.state.player(player)?;
        let slot_of = |node| self.net.addresses.get(&node).copied();
        let keepers: Vec<Slot> =
            record.remote_keepers().filter_map(|keeper| slot_of(keeper.node)).collect();
        (!keepers.is_empty()).then_some((slot_of(record.owner.node)?, keepers))
    }

    /// Owners on this machine get calls, and what they send to keepers stays on its way for a moment.
    fn delay_appends(&mut self, slot: Slot, time: Time) {
        let lasts = time + self.some_time(50, 900);
        for player in 0..self.players.len() {
            if let Some((owner, keepers)) = self.owner_and_keepers(&self.players[player])
                && owner == slot
            {
                self.send_visitors(slot, player, time);
                keepers.into_iter().for_each(|keeper| self.cut(owner, keeper, lasts));
            }
        }
    }

    /// A node leaves, mostly one that has something to hand over.
    pub(super) fn leave_some(&mut self, slot: Slot) {
        let player = self.rng.index(self.players.len());
        let owner = self.owner_slot(&self.players[player]);
        let owner = owner.filter(|_| self.rng.percent(70));
        self.leave(owner.unwrap_or(slot));
    }

    /// A node has decided to leave: its calls may pile up before anybody knows, and it may not live
    /// until its successors have read what it has. Returns when it says that it leaves.
    pub(super) fn before_draining(&mut self, slot: Slot) -> Time {
        if self.healed.is_some() {
            return 0;
        }
        let dies = self.rng.percent(70);
        if let Some(process) = &mut self.machines[slot].process {
            process.dies_after_handover = dies;
        }
        if self.rng.percent(20) {
            return 0;
        }
        let wait = self.rng.between(1, 250) * MS;
        self.delay_appends(slot, wait);
        self.let_it_play_out(500 * MS);
        wait
    }

    /// A node that has handed a player over dies before it has handed over everything, if it was to.
    pub(super) fn die_after_handover(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let pid = process.pid;
        if self.healed.is_none() && std::mem::take(&mut process.dies_after_handover) {
            let wait = self.rng.between(0, 3 * MS);
            self.after(wait, Happening::Crash { slot, pid });
        }
    }

    pub(super) fn crash_process(&mut self, slot: Slot, pid: Pid) {
        if self.pid(slot) == Some(pid) && self.healed.is_none() {
            self.coverage.deaths_after_handover += 1;
            self.crash(slot);
        }
    }
}
