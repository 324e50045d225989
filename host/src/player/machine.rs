//! The rules of a player's server, without IO: what happened in, what to do out.
//!
//! ```text
//!   new ──────────────────────────────► Seeding ──► Naming ──► Reviving ──► Active ─┐
//!   another owner's ─► Claiming ─► Fetching ─┼──────(keepers complete)──►┘   ▲      │ a keeper
//!   at rest ───────────────────────► Waking ─┘                               │      │ is lost
//!                        no other node: Alone ◄── Seeding ◄──────────────────┼──────┘
//!                                         └── a node joins ──► Seeding ─► Naming
//!   from everywhere: a newer owner ─► Closed        Active ── this node leaves ─► Naming ─► Closed
//!                                                   Active ── nobody calls ─► Closed, at rest
//!                                                   Active ── somebody moves it ─► Naming ─► Closed
//! ```
//!
//! Design rules: claim before reading (4), seed before naming (5), answer after every keeper (2).
//! Calls execute only in `Active`; elsewhere they wait. Answers leave in order, each when every
//! keeper has confirmed the generation at or after it. Any trouble with a keeper has one cure: a
//! full copy on another one, or on the same one anew. A node that took none is tried again beside
//! the calls, as long as another one keeps a copy. A player whose state cannot be restored goes
//! through the same phases without an instance (`quarantine`), and one that goes over to other code
//! goes from `Active` through Seeding and Naming with copies that are all new (`migrating`).
//!
//! Invariants: `state` is what the instance holds whenever it is live; nothing executes while copies are
//! being replaced; an answer that reports an effect is never sent before its record is on every
//! keeper that the directory names.

mod copies;
mod dialogue;
mod drill;
mod ending;
mod exporting;
mod handover;
mod mending;
mod migrating;
mod naming;
mod opening;
mod quarantine;
mod serving;
mod trial;
mod waking;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use dialogue::{Action, Event, Origin, RestoreFailure, Story, Ticket};
pub use migrating::{FirstCalls, StepFailure, Way};
pub use waking::Rested;

use crate::limits::{APPEND_DEADLINE, MAILBOX_CALLS_MAX, STEP_RETRY};
use crate::net::AskError;
use crate::player::rollout::Rollout;
use crate::player::shunned::Shunned;
use crate::protocol::{
    Answer, Call, CallError, ChangeOutcome, Generation, KeeperCopy, KeeperReply, NodeId, NodeName,
    NodeRecord, NodeStatus, PlayerId, PlayerRecord, PlayerState, Refusal, Writer, name_of,
};

const NO_MAJORITY: &str = "the directory's voters have no majority that can be reached";

/// How often the pause between two attempts of a recovery step is doubled.
const RETRY_DOUBLINGS_MAX: u32 = 5;

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    call: Call,
    deadline: Instant,
    /// Whether it keeps the player from resting.
    counts: bool,
}

#[derive(Debug)]
struct Unanswered {
    ticket: Ticket,
    call: Call,
    /// `None` for one that is answered where the player is handed over to.
    answer: Option<Answer>,
    /// Leaves when every keeper has acknowledged this message.
    number: u64,
    sent: Instant,
}

/// A keeper that the directory names, and the last message it has acknowledged.
#[derive(Debug, Clone, Copy)]
struct Acking {
    copy: KeeperCopy,
    acknowledged: u64,
}

/// What a pause is for.
#[derive(Debug, Clone)]
enum Retry {
    Claim,
    Settle,
    Name(naming::Naming),
}

#[derive(Debug)]
enum Phase {
    New,
    Pausing { until: Instant, then: Retry },
    Claiming,
    Fetching(opening::Fetching),
    Waking(waking::Waking),
    Seeding(copies::Seeding),
    Naming(naming::Naming),
    Reviving,
    Alone,
    Active,
    Closed,
}

/// The instance that should hold `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// There was none yet, or it is not needed any more.
    None,
    /// It was asked for.
    Coming,
    /// It is there.
    Live,
    /// Nobody has called yet; the next call asks for one.
    Unasked,
}

/// The server of one player, as a state machine.
#[derive(Debug)]
pub struct Machine {
    player: PlayerId,
    me: Writer,
    /// What the directory said last.
    record: Option<PlayerRecord>,
    /// What was executed so far; `None` until it was fetched.
    state: Option<PlayerState>,
    phase: Phase,
    keepers: Vec<Acking>,
    queue: VecDeque<Waiting>,
    executing: Option<Waiting>,
    unanswered: VecDeque<Unanswered>,
    /// The call whose trap is being cured, and its message.
    crashed: Option<(Waiting, String)>,
    /// Number of the last message to keepers.
    sent: u64,
    life: Life,
    /// When the instance was made or called last.
    used: Option<Instant>,
    /// How long after that it is given up.
    idle_after: Duration,
    /// Where the player stopped before this server, if it rested.
    rested: Option<Rested>,
    stopping: bool,
    /// Recovery steps that failed in a row.
    retries: u32,
    /// A change was asked for that was not made as far as is known: it may still be, as long as the
    /// generation is the one that it expects.
    unsure: bool,
    /// A delta too large to share a stream is on its way: nothing may overtake it.
    large_in_flight: bool,
    /// Nodes that took no copy of this player, each the last choice for a new one until then.
    avoid: Vec<(NodeId, Instant)>,
    /// Which of the nodes that took no copy is tried next, while the player has fewer than wanted.
    next_trial: Option<(Instant, NodeId)>,
    trial: Option<trial::Trial>,
    /// What the ids of new copies are mixed from, the same for one player and start of a node.
    copy_seed: u64,
    /// The copy that is taken although it may miss acknowledged calls.
    accepted: Option<KeeperCopy>,
    /// Whether its keeper may count it as good from now on: nobody who waits for a recovery is told
    /// any more that nothing was done.
    may_be_recovered: bool,
    /// The caller for whom the directory decides: the player is being forgotten, or released.
    deciding: Option<Waiting>,
    /// Where the player goes, if somebody wants that.
    moving: Option<handover::Moving>,
    /// What the directory does not know yet of the latest restore.
    tally: Option<quarantine::Tally>,
    /// Before then no restore is tried again.
    restore_at: Option<Instant>,
    /// Its way to other code.
    migrating: migrating::Migrating,
    /// What kept the oldest caller waiting, in words.
    trouble: String,
}

/// What the machine may look at besides its own state.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The time.
    pub now: Instant,
    /// The directory's nodes.
    pub nodes: &'a [NodeRecord],
    /// How many keepers the cluster wants for a player.
    pub keepers_wanted: usize,
    /// What this node's players have found out about nodes that take no copies.
    pub shunned: &'a Shunned,
    /// Which code players should run, as far as it is here.
    pub rollout: &'a Rollout,
    /// Whether the directory has a leader, as far as is known: without one it names nothing.
    pub has_leader: bool,
}

impl View<'_> {
    fn name(&self, id: NodeId) -> NodeName {
        name_of(id, self.nodes)
    }

    fn writer(&self, id: NodeId) -> Option<Writer> {
        let node = self.nodes.iter().find(|node| node.id == id)?;
        Some(Writer { node: node.id, incarnation: node.incarnation })
    }

    fn status(&self, id: NodeId) -> Option<NodeStatus> {
        self.nodes.iter().find(|node| node.id == id).map(|node| node.status)
    }

    /// Whether a node serves, for a while at least.
    fn is_alive(&self, id: NodeId) -> bool {
        self.status(id).is_some_and(NodeStatus::is_alive)
    }

    /// Whether a node may get something new.
    fn is_up(&self, id: NodeId) -> bool {
        self.status(id) == Some(NodeStatus::Up)
    }

    /// Whether a node serves and is going to leave.
    fn is_draining(&self, id: NodeId) -> bool {
        self.status(id) == Some(NodeStatus::Draining)
    }
}

impl Machine {
    /// Returns the server of one player on node `me`. `copy_seed` is a number that differs for
    /// different players and different `me`, and is the same each time: a server that is opened
    /// again seeds the same copies. It rests when nobody has called for `idle_after`.
    pub fn new(
        player: PlayerId,
        me: Writer,
        origin: Origin,
        copy_seed: u64,
        idle_after: Duration,
    ) -> Self {
        let (record, state, rested) = match origin {
            Origin::New(state) => (None, Some(state), None),
            Origin::Known(record) => (Some(record), None, None),
            Origin::Rested(record, rested) => (Some(record), None, Some(rested)),
            Origin::Again(record, state) => (Some(record), Some(state), None),
        };
        Self {
            player,
            me,
            record,
            state,
            copy_seed,
            phase: Phase::New,
            keepers: Vec::new(),
            queue: VecDeque::new(),
            executing: None,
            unanswered: VecDeque::new(),
            crashed: None,
            sent: 0,
            life: Life::None,
            used: None,
            idle_after,
            rested,
            stopping: false,
            retries: 0,
            unsure: false,
            large_in_flight: false,
            avoid: Vec::new(),
            accepted: None,
            may_be_recovered: false,
            deciding: None,
            moving: None,
            tally: None,
            restore_at: None,
            next_trial: None,
            trial: None,
            migrating: migrating::Migrating::default(),
            trouble: "the player is being opened".to_owned(),
        }
    }

    /// Returns what was executed so far, once it is known.
    pub fn state(&self) -> Option<&PlayerState> {
        self.state.as_ref()
    }

    /// Returns the generation that this server holds or last heard of.
    pub fn generation(&self) -> Generation {
        self.record.as_ref().map_or(Generation(0), |record| record.generation)
    }

    /// Whether calls are served now.
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active)
    }

    /// Whether more calls may be handed over now; others wait outside.
    pub fn has_room(&self) -> bool {
        self.queue.len() < MAILBOX_CALLS_MAX
    }

    /// Returns when [`Event::Tick`] is due, if ever.
    pub fn next_wake(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Pausing { until, .. } => Some(*until),
            Phase::Fetching(fetching) => Some(fetching.until),
            Phase::Waking(waking) => Some(waking.until),
            Phase::Seeding(seeding) => Some(seeding.until),
            Phase::Active => {
                let calls = match self.unanswered.front() {
                    Some(first) => Some(first.sent + APPEND_DEADLINE),
                    None if self.life == Life::Live => self.used.map(|at| at + self.idle_after),
                    None => None,
                };
                let pause = self.restore_at.filter(|_| self.life == Life::Unasked);
                calls.into_iter().chain(self.trial_due()).chain(pause).min()
            }
            Phase::New
            | Phase::Claiming
            | Phase::Naming(_)
            | Phase::Reviving
            | Phase::Alone
            | Phase::Closed => None,
        };
        // An active player takes its callers in turn and looks at their deadlines then.
        let patient = if self.is_active() { 0 } else { usize::MAX };
        let caller = self.queue.iter().take(patient).map(|waiting| waiting.deadline).min();
        phase.into_iter().chain(caller).min()
    }

    /// Takes in what happened and appends what to do now.
    pub fn handle(&mut self, event: Event, view: View<'_>, out: &mut Vec<Action>) {
        match event {
            Event::Call { ticket, call, deadline, counts } => {
                let (pointless, unfounded) = (self.is_pointless(&call), self.is_unfounded(&call));
                let waiting = Waiting { ticket, call, deadline, counts };
                let is_live = self.is_active() && self.life == Life::Live;
                if !counts && !is_live {
                    // To look is no reason to make an instance.
                    let late = CallError::Late { reason: "the player rests".to_owned() };
                    return out.push(waiting.refused(late, false));
                }
                if pointless {
                    self.deciding = Some(waiting);
                    return self.answer_forgotten(None, view, out);
                }
                if unfounded {
                    out.push(self.not_quarantined(&waiting));
                    return self.end_unopened(out);
                }
                if self.is_of_nobody(&waiting.call) {
                    out.push(self.no_player(&waiting));
                    return self.end_unopened(out);
                }
                if let Err(error) = self.take_state_from(&waiting.call) {
                    out.push(waiting.refused(error, self.may_be_recovered));
                    return self.end_unopened(out);
                }
                self.queue.push_back(waiting);
                if matches!(self.phase, Phase::New) && !self.stopping {
                    self.open(view, out);
                }
            }
            Event::Open => self.handle_open(view, out),
            Event::Returned { value, delta } => self.handle_returned(value, delta, view, out),
            Event::Trapped { message, lacked } => self.handle_trapped(message, lacked, view, out),
            Event::Reported => self.handle_reported(),
            Event::Migrated { snapshot } => self.handle_migrated(snapshot, view, out),
            Event::NotMigrated(failure) => self.handle_not_migrated(failure, view, out),
            Event::Refused { error } => self.handle_refused(error, out),
            Event::Restored { micros } => self.handle_restored(micros, view, out),
            Event::RestoreFailed(failure) => self.handle_restore_failed(failure, view, out),
            Event::Changed(outcome) => self.handle_changed(outcome, view, out),
            Event::Kept { copy, number, reply } => self.handle_kept(copy, number, reply, view, out),
            Event::Nodes => self.handle_nodes(view, out),
            Event::Superseded => self.close_moved(out),
            Event::Tick => self.handle_tick(view, out),
            Event::Rest => self.rest(view, out),
            Event::Stop => self.stopping = true,
        }
        self.maintain(view, out);
    }

    /// Whatever happened, leaves a state from which the next event starts clean.
    fn maintain(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        self.release(out);
        if matches!(self.phase, Phase::Alone) {
            self.refuse_while_alone(view, out);
        }
        if self.stopping {
            self.wind_down(view, out);
        }
        self.close_if_pointless(out);
        if self.is_leaving(view) {
            self.hand_over(view, out);
        }
        if !self.is_leaving(view) {
            self.pump(view, out);
        }
        // It was opened only to see to its copies, or nobody can take one.
        if self.life == Life::Unasked || matches!(self.phase, Phase::Alone) {
            self.rest(view, out);
        }
    }

    fn handle_changed(
        &mut self,
        outcome: Option<ChangeOutcome>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Claiming => self.handle_claimed(outcome, view, out),
            Phase::Naming(naming) => self.handle_named(naming, outcome, view, out),
            // The server was closed while the directory decided.
            other @ (Phase::New
            | Phase::Pausing { .. }
            | Phase::Fetching(_)
            | Phase::Waking(_)
            | Phase::Seeding(_)
            | Phase::Reviving
            | Phase::Alone
            | Phase::Active
            | Phase::Closed) => self.phase = other,
        }
    }

    fn handle_kept(
        &mut self,
        copy: KeeperCopy,
        number: u64,
        reply: Result<KeeperReply, AskError>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        if self.is_tried(copy) {
            return self.handle_trial_reply(copy, reply, view, out);
        }
        // One of this generation is the answer to something older of this server's own.
        if let Ok(KeeperReply::Refused(Refusal::Fenced { generation })) = &reply
            && *generation > self.generation()
        {
            return self.close_moved(out);
        }
        if matches!(self.phase, Phase::Fetching(_)) {
            self.handle_fetch_reply(copy, reply, view, out);
        } else if matches!(self.phase, Phase::Waking(_)) {
            self.handle_waking_reply(copy, reply, view, out);
        } else if self.is_being_seeded(copy.copy) {
            self.handle_seed_reply(copy, reply, view, out);
        } else {
            self.handle_acknowledgement(copy, number, reply, view, out);
        }
    }

    fn handle_nodes(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Active => self.check_keepers(view, out),
            Phase::Alone => self.settle(view, out),
            // What was missing may be there now.
            Phase::Pausing { .. } => self.retry(view, out),
            Phase::Fetching(_) => self.check_sources(view, out),
            Phase::Seeding(_) => self.check_targets(view, out),
            // Each of these ends by itself and looks at the nodes then.
            Phase::New
            | Phase::Claiming
            | Phase::Waking(_)
            | Phase::Naming(_)
            | Phase::Reviving
            | Phase::Closed => {}
        }
    }

    fn handle_tick(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        self.expire(view.now, out);
        self.restore_at = self.restore_at.filter(|at| *at > view.now);
        match &self.phase {
            Phase::Pausing { until, .. } if *until <= view.now => self.retry(view, out),
            Phase::Fetching(fetching) if fetching.until <= view.now => {
                self.finish_fetching(view, out);
            }
            Phase::Waking(waking) if waking.until <= view.now => {
                self.wake_anew("silent".to_owned(), view, out);
            }
            Phase::Seeding(seeding) if seeding.until <= view.now => {
                self.end_seeding(|_| true, view, out);
            }
            Phase::Active => {
                self.replace_silent_keepers(view, out);
                self.try_again_when_short(view, out);
                self.rest_when_idle(view, out);
            }
            Phase::Pausing { .. }
            | Phase::Fetching(_)
            | Phase::Waking(_)
            | Phase::Seeding(_)
            | Phase::New
            | Phase::Claiming
            | Phase::Naming(_)
            | Phase::Reviving
            | Phase::Alone
            | Phase::Closed => {}
        }
    }

    fn retry(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let Phase::Pausing { then, .. } = &self.phase else { return };
        match then.clone() {
            Retry::Claim => self.open(view, out),
            Retry::Settle => self.settle(view, out),
            Retry::Name(naming) => self.name(naming, out),
        }
    }

    fn pause(&mut self, then: Retry, trouble: &str, now: Instant) {
        trouble.clone_into(&mut self.trouble);
        self.retries = (self.retries + 1).min(RETRY_DOUBLINGS_MAX);
        let until = now + STEP_RETRY * 2_u32.pow(self.retries - 1);
        self.phase = Phase::Pausing { until, then };
    }
}

#[cfg(test)]
mod tests;
