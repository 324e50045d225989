//! Heartbeats, what the real failure detector makes of them, and what the leader does about it.

use std::time::Duration;

use host::membership::Turn;
use host::protocol::{Announcement, NodeRecord, NodeStatus, Writer};

use super::Bug;
use super::happening::{Happening, MS, Slot, What};
use super::world::World;

/// As in `host::node`.
const PAUSE_NOTICED: Duration = Duration::from_millis(200);

impl World {
    /// A node pings all others. A ping is heard where its direction works; the reply, too. One that
    /// finds no way does so through a third node.
    pub(super) fn heartbeat(&mut self, slot: Slot) {
        self.wake_after(100 * MS, slot, What::Heartbeat);
        // The guardian looks again at those that have not come to other code.
        if self.rng.percent(5) {
            self.urge(slot);
        }
        let now = self.instant(slot);
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.me) else {
            return;
        };
        let silent = self.machines[slot].process.as_ref().is_some_and(|p| p.leaving);
        for other in self.running() {
            let around = self.relay_between(slot, other).is_some();
            let there = self.net.one_way(slot, other);
            if other == slot || silent || self.rng.percent(2) || !(there || around) {
                continue;
            }
            let direct = self.net.both_ways(slot, other);
            let there = self.instant(other);
            let Some(peer) = &mut self.machines[other].process else { continue };
            peer.detector.handle_heard(me, there);
            let (peer, answers) = (peer.me, !peer.leaving);
            let Some(process) = &mut self.machines[slot].process else { continue };
            if answers && direct {
                process.detector.handle_answered(peer, now);
            } else if answers && around {
                process.detector.handle_heard(peer, now);
            }
        }
        // Raft's own heartbeats carry what a node has missed.
        if self.rng.percent(30) {
            let index = self.log.entries.len();
            self.learn(slot, index);
        }
        if self.rng.percent(2) {
            self.adopt(slot);
        }
        if self.rng.percent(10) {
            self.make_room(slot);
        }
        self.look(slot);
    }

    pub(super) fn gone(&mut self, slot: Slot, writer: Writer) {
        let Some(process) = &mut self.machines[slot].process else { return };
        process.detector.handle_gone(writer);
        self.look(slot);
    }

    fn look(&mut self, slot: Slot) {
        let now = self.instant(slot);
        let Some(process) = &mut self.machines[slot].process else { return };
        if now.saturating_duration_since(process.looked) >= PAUSE_NOTICED {
            process.detector.handle_own_pause(now);
        }
        process.looked = now;
        let turns = process.detector.poll(now);
        for turn in &turns {
            if let Turn::CutOff(writer) = turn
                && let Some(other) = self.net.addresses.get(&writer.node).copied()
            {
                self.bypass(slot, other);
            }
        }
        if self.has(Bug::EvictOnSuspicion) {
            let suspect = turns.iter().find_map(|turn| match turn {
                Turn::Suspect(writer) | Turn::Silent(writer) => Some(*writer),
                Turn::Alive(_) | Turn::CutOff(_) => None,
            });
            if let Some(suspect) = suspect
                && self.can_commit(slot)
            {
                self.call_down(suspect);
            }
        }
        if self.log.leader == Some(slot) && self.can_commit(slot) {
            self.do_duty(slot);
        }
    }

    /// One thing at a time, as the leader's task does.
    fn do_duty(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        // What was done must be seen before it is judged what to do next.
        if process.applied < self.log.entries.len() || process.leaving {
            return;
        }
        if let Some(dead) = process.detector.silent().first().copied() {
            return self.call_down(dead);
        }
        let mut returned = process.detector.returned();
        // A node that a former leader called down may lead now: no other would take it back.
        returned.push(process.me);
        let back = process.nodes.iter().find(|node| {
            node.status == NodeStatus::Down && returned.iter().any(|r| r.node == node.id)
        });
        if let Some(NodeRecord { id, name, addr, incarnation, .. }) = back.cloned() {
            self.take_in(slot, Announcement { id, name, addr, incarnation });
            return;
        }
        self.improve_voters(slot);
    }

    /// A node is asked to stop. Most hand over what they have first, as long as they can wait.
    pub(super) fn leave(&mut self, slot: Slot) {
        if self.machines[slot].process.is_none() {
            return;
        }
        if self.rng.percent(30) || !self.can_commit(slot) {
            return self.wind_down(slot);
        }
        self.tell(|| format!("node {slot} is going to leave"));
        let wait = self.before_draining(slot);
        self.after_to(wait, slot, What::Drain);
    }

    /// It says that it is going to leave, and hands over what it has.
    pub(super) fn drain(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        let me = process.me;
        if !self.can_commit(slot) {
            return self.wind_down(slot);
        }
        self.coverage.drains += 1;
        self.tell(|| format!("node {slot} hands over"));
        self.call_draining(me);
        let wait = self.rng.between(1, 3000) * MS;
        self.after_to(wait, slot, What::Drained);
    }

    /// Its players finish, it says that it leaves, and it is gone.
    pub(super) fn wind_down(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        process.leaving = true;
        self.coverage.leaves += 1;
        self.tell(|| format!("node {slot} is asked to stop"));
        self.stop_servers(slot);
        let wait = self.rng.between(1, 500) * MS;
        self.after_to(wait, slot, What::Leave);
    }

    pub(super) fn leave_now(&mut self, slot: Slot) {
        let Some(process) = &self.machines[slot].process else { return };
        let me = process.me;
        if self.can_commit(slot) {
            self.call_down(me);
        }
        self.machines[slot].disk.sync();
        self.kill(slot);
        let wait = self.rng.between(10, 2000) * MS;
        self.after(wait, Happening::Boot { slot });
    }
}
