//! What goes wrong, how often, and how it ends.

use super::happening::{Happening, MS, SECOND, Slot, Time};
use super::operators::Operators;
use super::rng::Rng;
use super::spoiled::Spoils;
use super::together::Together;
use super::world::World;

/// Longer than a player keeps its instance without a call, also by a clock that runs slow.
const CALM: Time = 63 * SECOND;

/// How bad one world is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// When all faults stop.
    pub(super) lasts: Time,
    /// Longest time between two faults.
    pause: Time,
    /// Until when nothing new goes wrong.
    pub(super) quiet_until: Time,
    /// Weights of the kinds of faults.
    crash: usize,
    stop: usize,
    isolate: usize,
    cut: usize,
    breaks: usize,
    disk: usize,
    leave: usize,
    slow: usize,
    strand: usize,
    clock: usize,
    /// Machines that may still reboot, and disks that may still get lost.
    reboots: u64,
    losses: u64,
    /// What may still fail at the same moment.
    pub(super) together: Together,
    pub(super) operators: Operators,
    pub(super) spoils: Spoils,
    /// From when until when nobody calls and hardly anything goes wrong, in a few worlds.
    pub(super) calm: Option<(Time, Time)>,
    /// Rewards that change a lot, of a hundred.
    pub(super) large: u64,
    /// Outcomes of changes that get lost, of a hundred.
    pub(super) lost_outcomes: u64,
    /// Requests and changes that are done twice, of a hundred.
    pub(super) repeats: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut weight = |most: usize| rng.index(most + 1);
        let (crash, stop, isolate, cut) = (weight(4), weight(4), weight(4), weight(6));
        let (breaks, disk, leave, slow) = (weight(6), weight(2), weight(4), weight(3));
        let (strand, clock) = (weight(8), weight(2));
        let lasts = rng.between(4, 12) * SECOND;
        let calm = rng.percent(5).then(|| {
            let from = rng.between(1, lasts / SECOND - 1) * SECOND;
            (from, from + CALM)
        });
        Self {
            lasts: lasts + calm.map_or(0, |_| CALM),
            calm,
            large: if rng.percent(10) { rng.between(3, 15) } else { 0 },
            pause: rng.between(100, 1200) * MS,
            quiet_until: 0,
            crash,
            stop,
            isolate,
            cut,
            breaks,
            disk,
            leave,
            slow,
            strand,
            clock,
            reboots: if rng.percent(45) { rng.between(1, 3) } else { 0 },
            losses: u64::from(rng.percent(15)),
            together: Together::draw(rng),
            operators: Operators::draw(rng),
            spoils: Spoils::draw(rng),
            lost_outcomes: rng.between(0, 15),
            repeats: if rng.percent(50) { rng.between(1, 12) } else { 0 },
        }
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.healed.is_some() {
            return;
        }
        let wait = self.rng.between(5 * MS, self.plan.pause);
        self.after(wait, Happening::Fault);
        let calm = self.is_calm() && !self.rng.percent(3);
        if calm || self.now < self.plan.quiet_until {
            return;
        }
        let slot = self.some_machine();
        if self.rng.percent(4) && self.log.leader.is_some_and(|leader| self.can_commit(leader)) {
            self.coverage.settings += 1;
            return self.choose_settings();
        }
        if self.plan.reboots > 0 && self.rng.percent(8) {
            self.plan.reboots -= 1;
            return self.reboot(slot);
        }
        if self.fail_together() || self.perhaps_spoil() || self.perhaps_deploy() {
            return;
        }
        if self.plan.losses > 0 && self.can_spare(slot) && self.rng.percent(5) {
            self.plan.losses -= 1;
            return self.lose_disk(slot);
        }
        let Plan { crash, stop, isolate, cut, breaks, disk, leave, slow, strand, clock, .. } =
            self.plan;
        let kinds = [crash, stop, isolate, cut, breaks, disk, leave, slow, strand, clock];
        let sum: usize = kinds.iter().sum();
        if sum == 0 {
            return;
        }
        let mut drawn = self.rng.index(sum);
        let kind = kinds.iter().position(|weight| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        match kind {
            Some(0) => self.crash(slot),
            Some(1) => {
                self.coverage.pauses += 1;
                let lasts = self.some_time(20, 3000);
                self.stop(slot, lasts);
            }
            Some(2) => self.isolate(slot),
            Some(3) => self.cut_some(slot),
            Some(4) => self.break_some(slot),
            Some(5) => {
                self.machines[slot].disk.troubled = true;
                let lasts = self.some_time(50, 1500);
                self.after(lasts, Happening::DiskWell { slot });
            }
            Some(6) => self.leave_some(slot),
            Some(7) => self.slow_down(slot),
            Some(9) => self.step_clock(slot),
            _ => self.strand(),
        }
    }

    /// Whether nobody calls now.
    pub(super) fn is_calm(&self) -> bool {
        self.plan.calm.is_some_and(|(from, until)| (from..until).contains(&self.now))
    }

    /// A disk takes its time for a while.
    fn slow_down(&mut self, slot: Slot) {
        self.coverage.slow_disks += 1;
        let slow = self.some_time(1, 2000);
        self.machines[slot].disk.slow = slow;
        self.tell(|| format!("the disk of {slot} takes up to {} ms", slow / MS));
        let lasts = self.some_time(100, 4000);
        self.after(lasts, Happening::DiskQuick { slot });
    }

    /// Any machine, but rather one that matters.
    fn some_machine(&mut self) -> Slot {
        let player = self.rng.index(self.players.len());
        let record = self.log.state.player(&self.players[player]);
        let wanted = match (self.rng.index(3), record) {
            (0, Some(record)) => Some(record.owner.node),
            (1, Some(record)) => record.remote_keepers().next().map(|keeper| keeper.node),
            _ => None,
        };
        let wanted = wanted.and_then(|node| self.net.addresses.get(&node).copied());
        wanted.unwrap_or_else(|| self.rng.index(self.machines.len()))
    }

    pub(super) fn some_time(&mut self, from: u64, to: u64) -> Time {
        // Short ones are as interesting as long ones.
        let to = if self.rng.percent(50) { from + (to - from) / 10 } else { to };
        self.rng.between(from, to) * MS
    }

    pub(super) fn crash(&mut self, slot: Slot) {
        self.coverage.crashes += 1;
        self.kill(slot);
        let wait = self.some_time(10, 4000);
        self.after(wait, Happening::Boot { slot });
    }

    fn reboot(&mut self, slot: Slot) {
        self.lose_power(slot);
        let wait = self.some_time(100, 4000);
        self.after(wait, Happening::Boot { slot });
    }

    /// The machine is off, and what it had not synced may be gone.
    pub(super) fn lose_power(&mut self, slot: Slot) {
        self.coverage.reboots += 1;
        self.kill(slot);
        let machine = &mut self.machines[slot];
        machine.clock.begin_anew(&mut self.rng);
        // What was synced before it was acknowledged must all be there, and be trusted.
        let doubtful = machine.disk.is_buffered();
        let ids = machine.disk.ids();
        let lost = machine.disk.reboot(&mut self.rng);
        self.coverage.batches_lost += lost as u64;
        self.tell(|| format!("machine {slot} reboots and loses {lost} batches"));
        if doubtful {
            self.watch.damaged.extend(ids);
        } else {
            self.coverage.reboots_without_doubt += 1;
        }
        if self.rng.percent(10)
            && let Some(copy) = self.machines[slot].disk.damage(&mut self.rng)
        {
            self.coverage.copies_damaged += 1;
            self.tell(|| format!("copy {copy} on machine {slot} is damaged"));
            self.watch.damaged.insert(copy);
        }
    }

    fn lose_disk(&mut self, slot: Slot) {
        self.coverage.disks_lost += 1;
        self.kill(slot);
        let node = self.new_node_id(slot);
        let old = std::mem::replace(&mut self.machines[slot].disk, super::disk::Disk::new(node));
        self.tell(|| format!("machine {slot} loses its disk and becomes {node}"));
        self.watch.damaged.extend(old.ids());
        let wait = self.some_time(100, 4000);
        self.after(wait, Happening::Boot { slot });
    }

    fn isolate(&mut self, slot: Slot) {
        let lasts = self.some_time(50, 4000);
        let way = self.rng.index(4);
        for other in 0..self.machines.len() {
            if way != 1 {
                self.cut(slot, other, lasts);
            }
            if way != 2 {
                self.cut(other, slot, lasts);
            }
        }
    }

    fn cut_some(&mut self, slot: Slot) {
        let other = self.rng.index(self.machines.len());
        let lasts = self.some_time(50, 4000);
        self.cut(slot, other, lasts);
        if self.rng.percent(50) {
            self.cut(other, slot, lasts);
        }
    }

    fn break_some(&mut self, slot: Slot) {
        let other = self.rng.index(self.machines.len());
        self.coverage.breaks += 1;
        self.break_link(slot, other);
        if self.rng.percent(50) {
            self.break_link(other, slot);
        }
    }

    pub(super) fn heal(&mut self) {
        self.tell(|| "all faults stop".to_owned());
        self.healed = Some(self.now);
        self.uncut_all();
        for slot in 0..self.machines.len() {
            self.clock_right(slot);
            let disk = &mut self.machines[slot].disk;
            (disk.troubled, disk.slow) = (false, 0);
            if let Some(pid) = self.pid(slot) {
                self.go_on(slot, pid);
            }
            self.boot(slot);
        }
        self.send_probes();
    }
}
