//! The world: machines, the queue of what happens next, and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use host::protocol::{KeyBounds, PlayerId};

use super::client::{Client, Op};
use super::clock::Clock;
use super::codes::Deploys;
use super::coverage::Coverage;
use super::directory::Log;
use super::disk::Disk;
use super::faults::Plan;
use super::happening::{Happening, MS, Pid, SECOND, Slot, Time, What};
use super::invariants::Watch;
use super::net::Net;
use super::node::Process;
use super::rng::Rng;
use super::wishes::Wishes;
use super::{Bug, Settings, Violation};

/// How long a player may take to answer after all faults stopped.
const LIVENESS_BOUND: Time = 25 * SECOND;

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    pub(super) process: Option<Process>,
    /// Stopped: what happens to the process waits here.
    pub(super) stopped: bool,
    pub(super) backlog: Vec<What>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) rng: Rng,
    pub(super) now: Time,
    pub(super) began: Instant,
    queue: BTreeMap<(Time, u64), Happening>,
    numbers: u64,
    pub(super) machines: Vec<Machine>,
    pub(super) players: Vec<PlayerId>,
    /// How many keys each player remembers.
    pub(super) bounds: KeyBounds,
    /// How far clocks of people and of machines are off at most, in either direction.
    pub(super) skew_max: Time,
    pub(super) net: Net,
    pub(super) log: Log,
    pub(super) plan: Plan,
    pub(super) clients: Vec<Client>,
    pub(super) ops: Vec<Op>,
    pub(super) watch: Watch,
    pub(super) coverage: Coverage,
    /// What people deploy.
    pub(super) deploys: Deploys,
    /// What people want besides.
    pub(super) wishes: Wishes,
    /// Players whose states cannot be restored until then.
    pub(super) spoiled: BTreeMap<PlayerId, Time>,
    pub(super) healed: Option<Time>,
    trace: Vec<String>,
    violation: Option<(&'static str, String)>,
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let mut rng = Rng::new(settings.seed);
        let machines = 3 + rng.index(5);
        let players = 1 + rng.index(3);
        // Few runs have as many calls as the product remembers.
        let few = rng.percent(40);
        let bounds = if few { few_keys(&mut rng) } else { KeyBounds::default() };
        let skew_max = if rng.percent(50) { 30 * SECOND } else { SECOND / 2 };
        let plan = Plan::draw(&mut rng);
        let deploys = Deploys::draw(&mut rng);
        let mut world = Self {
            settings,
            rng,
            now: 0,
            began: host::clock::now(),
            queue: BTreeMap::new(),
            numbers: 0,
            machines: Vec::new(),
            players: (1..=players)
                .map(|n| format!("player{n}").parse().expect("a valid id"))
                .collect(),
            bounds,
            skew_max,
            net: Net::default(),
            log: Log::default(),
            plan,
            clients: Vec::new(),
            ops: Vec::new(),
            watch: Watch::default(),
            coverage: Coverage { runs: 1, ..Coverage::default() },
            deploys,
            wishes: Wishes::draw(settings.seed),
            spoiled: BTreeMap::new(),
            healed: None,
            trace: Vec::new(),
            violation: None,
        };
        for slot in 0..machines {
            let disk = Disk::new(world.new_node_id(slot));
            let clock = Clock::draw(&mut world.rng, skew_max);
            world.machines.push(Machine {
                disk,
                clock,
                process: None,
                stopped: false,
                backlog: Vec::new(),
            });
        }
        world.begin();
        world
    }

    fn begin(&mut self) {
        let (machines, players) = (self.machines.len(), self.players.len());
        self.tell(|| format!("{machines} machines, {players} players"));
        self.log.leader = Some(0);
        self.found_voters();
        self.choose_settings();
        self.found_code();
        for slot in 0..self.machines.len() {
            self.boot(slot);
        }
        self.after(100 * MS, Happening::Leader);
        for client in 0..3 + self.rng.index(3) {
            let home = client % self.machines.len();
            let caller = Client::new(home, self.skew_max, &mut self.rng);
            self.clients.push(caller);
            let wait = self.rng.between(1, 200) * MS;
            self.after(wait, Happening::Client { client });
        }
        let calm = self.rng.between(0, 1500) * MS;
        self.after(calm, Happening::Fault);
        self.after(self.plan.lasts, Happening::Heal);
    }

    pub(super) fn run(&mut self) {
        while self.violation.is_none()
            && let Some(((time, _), happening)) = self.queue.pop_first()
        {
            self.now = time;
            self.coverage.steps += 1;
            self.happen(happening);
            if let Some(healed) = self.healed {
                let over = self.probes_are_done() && self.ops.iter().all(Op::is_over);
                let over = over && self.have_arrived();
                if over || self.now > healed + LIVENESS_BOUND {
                    self.check_liveness();
                    self.check_end();
                    return;
                }
            }
        }
    }

    pub(super) fn finish(self) -> Result<Coverage, Box<Violation>> {
        let Self { settings, violation, trace, coverage, .. } = self;
        match violation {
            None => Ok(coverage),
            Some((invariant, detail)) => {
                let Settings { seed, bug, .. } = settings;
                Err(Box::new(Violation { seed, bug, invariant, detail, log: trace }))
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Process { slot, pid, what } => self.happen_to(slot, pid, what),
            Happening::Arrival { connection, ask, request } => {
                self.arrive(connection, ask, request);
            }
            Happening::Reply { ask, reply } => self.reply_arrives(ask, reply),
            Happening::Break { connection } => self.break_connection(connection),
            Happening::Idle { connection } => self.idle_out(connection),
            Happening::Commit { slot, pid, jobs } => self.commit_batch(slot, pid, jobs),
            Happening::Repeat { from, to, request } => self.repeat(from, to, request),
            Happening::RepeatChanges { from, changes } => self.repeat_changes(from, changes),
            Happening::Leader => self.look_for_leader(),
            Happening::Fault => self.fault(),
            Happening::Cut { from, to, lasts } => self.cut_later(from, to, lasts),
            Happening::Uncut { from, to } => self.uncut(from, to),
            Happening::Crash { slot, pid } => self.crash_process(slot, pid),
            Happening::Boot { slot } => self.boot(slot),
            Happening::Continue { slot, pid } => self.go_on(slot, pid),
            Happening::DiskWell { slot } => self.machines[slot].disk.troubled = false,
            Happening::DiskQuick { slot } => self.machines[slot].disk.slow = 0,
            Happening::ClockRight { slot } => self.clock_right(slot),
            Happening::Heal => self.heal(),
            Happening::Client { client } => self.client_turn(client),
            Happening::Answer { op, attempt, called } => self.client_answered(op, attempt, called),
            Happening::Impatient { op, attempt } => self.client_impatient(op, attempt),
        }
    }

    pub(super) fn happen_to(&mut self, slot: Slot, pid: Pid, what: What) {
        let machine = &mut self.machines[slot];
        if machine.process.as_ref().is_none_or(|process| process.pid != pid) {
            return;
        }
        if machine.stopped {
            machine.backlog.push(what);
        } else {
            self.process(slot, what);
        }
    }

    /// Returns a number that was not used before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn after(&mut self, wait: Time, happening: Happening) {
        let number = self.number();
        self.queue.insert((self.now + wait, number), happening);
    }

    /// Something happens to the process that runs on a machine now, after a time of the world.
    pub(super) fn after_to(&mut self, wait: Time, slot: Slot, what: What) {
        if let Some(process) = &self.machines[slot].process {
            let pid = process.pid;
            self.after(wait, Happening::Process { slot, pid, what });
        }
    }

    /// Writes a line of the story, if somebody wants to read it.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.settings.trace {
            let (s, us) = (self.now / SECOND, self.now % SECOND);
            self.trace.push(format!("{s:3}.{us:06} {}", line()));
        }
    }

    /// A promise was broken; the first one counts.
    pub(super) fn broken(&mut self, invariant: &'static str, detail: String) {
        self.tell(|| format!("BROKEN {invariant}: {detail}"));
        self.violation.get_or_insert((invariant, detail));
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.settings.bug == Some(bug)
    }

    /// Machines with a process that runs.
    pub(super) fn running(&self) -> BTreeSet<Slot> {
        (0..self.machines.len()).filter(|slot| self.is_running(*slot)).collect()
    }

    pub(super) fn is_running(&self, slot: Slot) -> bool {
        self.machines[slot].process.is_some() && !self.machines[slot].stopped
    }
}

fn few_keys(rng: &mut Rng) -> KeyBounds {
    let calls = 1 + rng.index(6);
    KeyBounds { calls, millis: rng.between(0, 3000), calls_max: calls + rng.index(10) }
}
