//! Raft as one log: a change is appended while some leader reaches a majority, whoever asked may or
//! may not hear of it, and each node learns of it later.

use std::collections::BTreeSet;

use host::directory::{Command, DirectoryState, Outcome};
use host::player::Event;
use host::protocol::{
    Ack, Announcement, ChangeOutcome, NodeId, PlayerChange, PlayerRecord, SettingsChange, Writer,
};

use super::happening::{Happening, Job, MS, Pid, SECOND, Slot, Time, What};
use super::world::World;

/// What all agree on.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Command>,
    /// The state after all of them.
    pub(super) state: DirectoryState,
    pub(super) leader: Option<Slot>,
    /// Whose majority it takes.
    pub(super) voters: BTreeSet<NodeId>,
}

impl World {
    /// Whether a process reaches a leader that reaches a majority.
    pub(super) fn can_commit(&self, slot: Slot) -> bool {
        let Some(leader) = self.log.leader else { return false };
        self.has_majority(leader) && self.reach(slot, leader)
    }

    fn hears(&self, slot: Slot, other: Slot) -> bool {
        self.net.one_way(other, slot) || self.relay_between(slot, other).is_some()
    }

    pub(super) fn look_for_leader(&mut self) {
        self.after(100 * MS, Happening::Leader);
        if self.log.leader.is_some_and(|leader| self.has_majority(leader)) {
            return;
        }
        self.log.leader = None;
        let fit: Vec<Slot> =
            self.running_voters().into_iter().filter(|slot| self.has_majority(*slot)).collect();
        // An election takes a few rounds.
        if !fit.is_empty() && self.rng.percent(40) {
            let leader = fit[self.rng.index(fit.len())];
            self.coverage.elections += 1;
            self.tell(|| format!("node {leader} leads"));
            self.log.leader = Some(leader);
        }
    }

    /// Appends to the log. Returns how it ended and the length of the log that shows it.
    pub(super) fn append(&mut self, command: Command) -> (Outcome, usize) {
        let ended = match &command {
            Command::Players(changes) => self.ended_by(changes),
            _ => Vec::new(),
        };
        let before = match &command {
            Command::Players(changes) => self.records_of(changes),
            _ => Vec::new(),
        };
        let outcome = self.log.state.apply(&command);
        self.watch_counts(&before);
        ended.iter().for_each(|player| self.watch_end(player));
        self.tell(|| match &command {
            Command::Players(changes) => {
                let change = |change: &PlayerChange| {
                    let PlayerChange { player, expect, owner, keepers, failed, .. } = change;
                    let copies: Vec<_> =
                        keepers.iter().map(|keeper| keeper.copy.to_string()).collect();
                    let copies = copies.join(" ");
                    let failed = failed.as_ref().map_or(0, |failed| failed.times);
                    let (node, start) = (owner.node, owner.incarnation);
                    format!("{player} g{expect}+1 {node}/{start} [{copies}] failed {failed}")
                };
                let changes: Vec<_> = changes.iter().map(change).collect();
                let short = match &outcome {
                    Outcome::Players(outcomes) => {
                        let done =
                            |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Changed(_));
                        outcomes.iter().map(done).collect()
                    }
                    Outcome::Nothing
                    | Outcome::NodeUp(_)
                    | Outcome::NodeDraining(_)
                    | Outcome::NodeDown(_)
                    | Outcome::PlacesFree(_)
                    | Outcome::Configured(_)
                    | Outcome::Deployed(_) => vec![],
                };
                format!("directory: {} {short:?}", changes.join(", "))
            }
            other => format!("directory: {other:?} {outcome:?}"),
        });
        self.log.entries.push(command);
        let index = self.log.entries.len();
        for slot in 0..self.machines.len() {
            let late = self.rng.percent(8) && self.healed.is_none();
            let wait = if late { 1500 * MS } else { 20 * MS };
            let wait = self.rng.between(MS, wait);
            self.after_to(wait, slot, What::Learn { index });
        }
        (outcome, index)
    }

    /// Takes a start of a node in. Returns the log's length that shows it.
    pub(super) fn take_in(&mut self, slot: Slot, announcement: Announcement) -> Option<usize> {
        // The first entries make the cluster.
        let founding = self.now == 0;
        if !founding && !self.can_commit(slot) {
            return None;
        }
        match self.append(Command::NodeUp(announcement)) {
            (Outcome::NodeUp(Ok(())), index) => Some(index),
            _ => None,
        }
    }

    /// A person chooses what holds for the whole cluster.
    pub(super) fn choose_settings(&mut self) {
        let keepers = match self.rng.index(8) {
            0..=1 => 3,
            2..=3 => 2,
            _ => 1,
        };
        let ack = if self.rng.percent(50) { Ack::Disk } else { Ack::Memory };
        let change = SettingsChange { keepers: Some(keepers), ack: Some(ack) };
        self.append(Command::Configure(change));
    }

    /// The leader calls a start of a node down.
    pub(super) fn call_down(&mut self, writer: Writer) {
        self.coverage.downs += 1;
        if let Some(slot) = self.net.addresses.get(&writer.node).copied() {
            self.perhaps_hold_appends(slot);
        }
        self.append(Command::NodeDown(writer));
    }

    /// The leader says that a start of a node is going to leave.
    pub(super) fn call_draining(&mut self, writer: Writer) {
        self.append(Command::NodeDraining(writer));
    }

    /// Applies the log to a node's view.
    pub(super) fn learn(&mut self, slot: Slot, index: usize) {
        let hears = self.log.leader.is_none_or(|leader| self.hears(slot, leader));
        if !hears {
            return self.after_to(100 * MS, slot, What::Learn { index });
        }
        let Some(process) = &mut self.machines[slot].process else { return };
        let settings = process.view.settings();
        let new = process.applied..index.max(process.applied);
        for command in &self.log.entries[new] {
            process.view.apply(command);
        }
        process.applied = process.applied.max(index);
        if process.view.settings().ack == Ack::Disk && settings.ack == Ack::Memory {
            self.machines[slot].disk.sync();
        }
        let Some(process) = &mut self.machines[slot].process else { return };
        let nodes: Vec<_> = process.view.nodes().cloned().collect();
        let same = nodes == process.nodes && settings == process.view.settings();
        let deployed = self.learn_deployments(slot);
        if same && !deployed {
            return;
        }
        let Some(process) = &mut self.machines[slot].process else { return };
        process.nodes = nodes;
        let now = self.instant(slot);
        if let Some(process) = &mut self.machines[slot].process {
            process.detector.handle_nodes(&process.nodes, now);
        }
        self.serve_if_member(slot);
        self.servers_look_around(slot);
        self.gateway_nodes_changed(slot);
    }

    /// Makes a node's view as new as the leader's, if the leader answers.
    pub(super) fn barrier(&mut self, slot: Slot) {
        if self.can_commit(slot) {
            let index = self.log.entries.len();
            self.learn(slot, index);
        }
    }

    /// A server asks for a change.
    pub(super) fn change(&mut self, slot: Slot, job: Job) {
        let id = job.id;
        let Some(process) = &mut self.machines[slot].process else { return };
        process.awaited.push(job.clone());
        process.jobs.push_back(job);
        self.wake_after(2 * SECOND, slot, What::ChangeLate { job: id });
        self.send_batch(slot);
    }

    fn send_batch(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        if process.deciding {
            return;
        }
        let awaited: Vec<u64> = process.awaited.iter().map(|job| job.id).collect();
        let jobs: Vec<Job> =
            process.jobs.drain(..).filter(|job| awaited.contains(&job.id)).collect();
        if jobs.is_empty() {
            return;
        }
        process.deciding = true;
        let pid = process.pid;
        let slow = self.healed.is_none() && self.rng.percent(6);
        let wait = if slow { 3 * SECOND } else { 8 * MS };
        let wait = self.rng.between(MS, wait) + self.log_write_time();
        self.after(wait, Happening::Commit { slot, pid, jobs });
    }

    /// Time until a majority has synced an entry, beyond the usual one: that of the slowest voter
    /// that is needed.
    fn log_write_time(&mut self) -> Time {
        let mut times: Vec<Time> = Vec::new();
        for slot in self.running_voters() {
            times.push(self.write_time(slot));
        }
        times.sort_unstable();
        times.get(self.log.voters.len() / 2).copied().unwrap_or(0)
    }

    /// The batch is at the leader; whoever sent it may be dead by now.
    pub(super) fn commit_batch(&mut self, slot: Slot, pid: Pid, jobs: Vec<Job>) {
        let alive = self.pid(slot) == Some(pid);
        let arrives = alive || self.rng.percent(50);
        let back = self.rng.between(MS, 10 * MS);
        let changes: Vec<PlayerChange> = jobs.iter().map(|job| job.change.clone()).collect();
        if !arrives || !self.can_commit(slot) {
            self.perhaps_repeat_changes(slot, &changes, &[]);
            let wait = self.rng.between(50 * MS, 500 * MS);
            let what = What::Undecided { jobs };
            return self.after(wait, Happening::Process { slot, pid, what });
        }
        let (outcome, index) = self.append(Command::Players(changes.clone()));
        let Outcome::Players(outcomes) = outcome else { return };
        self.perhaps_repeat_changes(slot, &changes, &outcomes);
        let lost = self.healed.is_none() && self.rng.percent(self.plan.lost_outcomes);
        let what =
            if lost { What::Undecided { jobs } } else { What::Decided { jobs, outcomes, index } };
        let wait = if lost { self.rng.between(50 * MS, 3 * SECOND) } else { back };
        self.after(wait, Happening::Process { slot, pid, what });
    }

    /// The same changes once more, for nobody.
    pub(super) fn change_again(&mut self, changes: Vec<PlayerChange>) {
        self.append(Command::Players(changes));
    }

    pub(super) fn undecided(&mut self, slot: Slot, jobs: Vec<Job>) {
        let Some(process) = &mut self.machines[slot].process else { return };
        process.deciding = false;
        for job in jobs.into_iter().rev() {
            process.jobs.push_front(job);
        }
        self.send_batch(slot);
    }

    pub(super) fn decided(
        &mut self,
        slot: Slot,
        jobs: Vec<Job>,
        outcomes: Vec<ChangeOutcome>,
        index: usize,
    ) {
        let hears = self.log.leader.is_none_or(|leader| self.hears(slot, leader));
        if !hears {
            let wait = 100 * MS;
            return self.after_to(wait, slot, What::Decided { jobs, outcomes, index });
        }
        // Whoever asked for a change sees it before it hears of it.
        self.learn(slot, index);
        if let Some(process) = &mut self.machines[slot].process {
            process.deciding = false;
        }
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let outcome = settle(&job.change, outcome);
            self.change_ends(slot, job.id, Some(outcome));
        }
        self.send_batch(slot);
    }

    pub(super) fn change_late(&mut self, slot: Slot, job: u64) {
        self.change_ends(slot, job, None);
    }

    fn change_ends(&mut self, slot: Slot, id: u64, outcome: Option<ChangeOutcome>) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let Some(at) = process.awaited.iter().position(|job| job.id == id) else { return };
        let Job { player, server, .. } = process.awaited.swap_remove(at);
        if outcome.is_none() {
            self.coverage.changes_lost += 1;
        }
        self.server_event(slot, &player, server, Event::Changed(outcome));
    }
}

/// A change that conflicts with itself was done by an earlier attempt, as the directory's driver
/// has it.
fn settle(change: &PlayerChange, outcome: ChangeOutcome) -> ChangeOutcome {
    let PlayerChange { player: _, expect, by: _, owner, keepers, code, failed } = change.clone();
    let asked = PlayerRecord { generation: expect.next(), owner, keepers, code, failed };
    match outcome {
        ChangeOutcome::Conflict(Some(record)) if record == asked => {
            ChangeOutcome::Changed(record.generation)
        }
        outcome => outcome,
    }
}
