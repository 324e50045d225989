//! One process of a node: what it holds, how it starts and ends, and what happens to it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use host::directory::DirectoryState;
use host::keeper::Keeper;
use host::membership::Detector;
use host::player::{Attendance, Rested, Rollout, Shunned};
use host::protocol::{Announcement, KeeperRequest, NodeId, NodeName, NodeRecord, PlayerId, Writer};

use super::gateway::Routed;
use super::happening::{Happening, Job, MS, Pid, SECOND, Slot, What};
use super::server::Server;
use super::world::World;

/// What lives in a process and dies with it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) me: Writer,
    /// Whether it is in the directory under this start, and serves.
    pub(super) serving: bool,
    /// What arrives before it serves.
    pub(super) early: Vec<What>,
    /// The directory's log up to here.
    pub(super) applied: usize,
    pub(super) view: DirectoryState,
    pub(super) nodes: Vec<NodeRecord>,
    pub(super) detector: Detector,
    /// When it looked at what the detector says last.
    pub(super) looked: Instant,
    pub(super) keeper: Keeper,
    pub(super) inbox: Vec<(u64, KeeperRequest)>,
    /// Whether the keeper waits for its disk, and does nothing else.
    pub(super) committing: bool,
    pub(super) servers: BTreeMap<PlayerId, Server>,
    /// The nodes whose copies of them were seen to.
    pub(super) attended: Attendance,
    /// Where players have stopped that rest here.
    pub(super) resting: BTreeMap<PlayerId, Rested>,
    pub(super) shunned: Shunned,
    pub(super) rollout: Rollout,
    pub(super) routed: BTreeMap<u64, Routed>,
    pub(super) jobs: VecDeque<Job>,
    /// Changes that somebody still waits for.
    pub(super) awaited: Vec<Job>,
    pub(super) deciding: bool,
    pub(super) leaving: bool,
    /// Whether it dies as soon as it has handed a player over.
    pub(super) dies_after_handover: bool,
}

impl World {
    /// Draws a number for a new data folder on a machine.
    pub(super) fn new_node_id(&mut self, slot: Slot) -> NodeId {
        let id = NodeId(self.rng.next());
        self.net.addresses.insert(id, slot);
        id
    }

    fn announcement(&self, slot: Slot) -> Announcement {
        let disk = &self.machines[slot].disk;
        let last = u8::try_from(slot + 1).expect("a handful of machines");
        Announcement {
            id: disk.node,
            name: name_of(slot),
            addr: ([10, 0, 0, last], 4433).into(),
            incarnation: disk.incarnation,
        }
    }

    pub(super) fn boot(&mut self, slot: Slot) {
        if self.machines[slot].process.is_some() {
            return;
        }
        let pid = self.number();
        let stale = self.has(super::Bug::RestoreStale);
        let disk = &mut self.machines[slot].disk;
        let me = disk.open();
        let mut keeper = disk.load();
        if stale {
            keeper = disk.load_copies(|_| true);
            for (player, (generation, writer)) in disk.floors() {
                keeper.load_floor(player.clone(), *generation, *writer);
            }
        }
        self.tell(|| format!("boot {slot} as {} start {}", me.node, me.incarnation));
        let looked = self.instant(slot);
        self.machines[slot].process = Some(Process {
            pid,
            me,
            serving: false,
            early: Vec::new(),
            applied: 0,
            view: DirectoryState::default(),
            nodes: Vec::new(),
            detector: Detector::new(me.node),
            looked,
            keeper,
            inbox: Vec::new(),
            committing: false,
            servers: BTreeMap::new(),
            attended: Attendance::default(),
            resting: BTreeMap::new(),
            shunned: Shunned::default(),
            rollout: Rollout::default(),
            routed: BTreeMap::new(),
            jobs: VecDeque::new(),
            awaited: Vec::new(),
            deciding: false,
            leaving: false,
            dies_after_handover: false,
        });
        self.announce(slot);
        let wait = self.rng.between(0, 100 * MS);
        self.after_to(wait, slot, What::Heartbeat);
    }

    /// Asks to be taken in until it is.
    pub(super) fn announce(&mut self, slot: Slot) {
        let announcement = self.announcement(slot);
        match self.take_in(slot, announcement) {
            Some(index) => {
                let wait = self.delay();
                self.after_to(wait, slot, What::Learn { index });
            }
            None => self.after_to(100 * MS, slot, What::Announce),
        }
    }

    /// The directory arrived at a process that knows now whether it is a member.
    pub(super) fn serve_if_member(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let me = process.me;
        let member = process.nodes.iter().any(|node| {
            node.id == me.node && node.incarnation == me.incarnation && node.status.is_alive()
        });
        if process.serving || !member {
            return;
        }
        process.serving = true;
        let early = std::mem::take(&mut process.early);
        self.tell(|| format!("node {slot} serves"));
        self.raise_floors(slot);
        self.wake_after(10 * SECOND, slot, What::Sweep);
        for what in early {
            self.after_to(0, slot, what);
        }
    }

    /// Kills the process of a machine, if it has one.
    pub(super) fn kill(&mut self, slot: Slot) {
        let machine = &mut self.machines[slot];
        machine.stopped = false;
        machine.backlog.clear();
        let Some(process) = machine.process.take() else { return };
        let Process { pid, me, .. } = process;
        self.tell(|| format!("node {slot} ends"));
        self.break_all_of(slot, pid);
        self.clients_lose(slot, pid);
        for other in 0..self.machines.len() {
            if other != slot && self.net.both_ways(slot, other) && self.rng.percent(85) {
                let wait = self.rng.between(0, 5 * MS);
                self.after_to(wait, other, What::Gone(me));
            }
        }
    }

    pub(super) fn stop(&mut self, slot: Slot, lasts: u64) {
        let Some(pid) = self.pid(slot) else { return };
        if !std::mem::replace(&mut self.machines[slot].stopped, true) {
            self.tell(|| format!("node {slot} is stopped"));
            self.after(lasts, Happening::Continue { slot, pid });
        }
    }

    pub(super) fn go_on(&mut self, slot: Slot, pid: Pid) {
        if self.pid(slot) != Some(pid) || !self.machines[slot].stopped {
            return;
        }
        self.tell(|| format!("node {slot} goes on"));
        self.machines[slot].stopped = false;
        for what in std::mem::take(&mut self.machines[slot].backlog) {
            self.after_to(0, slot, what);
        }
    }

    /// Something happens to the running process of a machine.
    pub(super) fn process(&mut self, slot: Slot, what: What) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let public = matches!(what, What::Asked { .. } | What::Call { .. });
        if public && !process.serving {
            process.early.push(what);
            return;
        }
        match what {
            What::Asked { ask, request } => self.asked(slot, ask, request),
            What::Answered { waiter, reply } => self.answered(slot, waiter, reply),
            What::KeeperServes => self.keeper_serves(slot),
            What::KeeperCommitted { writes, replies } => {
                self.keeper_committed(slot, writes, replies);
            }
            What::Tick { player, server } => self.tick(slot, &player, server),
            What::Trusted => self.servers_look_around(slot),
            What::Restored { player, server } => self.restored(slot, &player, server),
            What::Heartbeat => self.heartbeat(slot),
            What::Gone(writer) => self.gone(slot, writer),
            What::Announce => self.announce(slot),
            What::Learn { index } => self.learn(slot, index),
            What::Decided { jobs, outcomes, index } => self.decided(slot, jobs, outcomes, index),
            What::Loaded { code } => self.loaded(slot, code),
            What::Report { player, server, change } => self.report(slot, player, server, change),
            What::Reported { player, server } => self.reported(slot, &player, server),
            What::Undecided { jobs } => self.undecided(slot, jobs),
            What::ChangeLate { job } => self.change_late(slot, job),
            What::Call { op, attempt, call, left } => {
                self.call_arrives(slot, op, attempt, call, left);
            }
            What::CallLate { call, attempt } => self.call_late(slot, call, attempt),
            What::CallAgain { call, attempt } => self.call_again(slot, call, attempt),
            What::Sweep => self.sweep(slot),
            What::Drain => self.drain(slot),
            What::Drained => self.wind_down(slot),
            What::Leave => self.leave_now(slot),
        }
    }
}

pub(super) fn name_of(slot: Slot) -> NodeName {
    format!("node{slot}").parse().expect("a valid name")
}
