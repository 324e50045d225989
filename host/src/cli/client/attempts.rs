//! Whom to ask next, and what is known when nobody answered. Pure: `now` is an argument.
//!
//! ```text
//!            ┌──── failed: the same question may go elsewhere ────┐
//!            ▼                                                    │
//!   Try target 1 … target n ── after the last one: Pause ─────────┘
//!            │
//!            └──── the deadline passed, or no node can change the answer: GiveUp ──► verdict
//! ```
//!
//! A call may be answered by any node, so a try names all that are left in the round: whoever asks
//! takes the first that is reached, and those before it count as failed.
//!
//! Invariants: once an attempt may have reached a node without an answer, no later failure makes
//! the outcome known; only an answer does. A key is replaced only if it was made here and no attempt
//! with it may have been applied.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::limits::STEP_RETRY;
use crate::protocol::{CallError, CallKey, Outcome};

/// Longest wait for one node while there are others to ask. Long enough for a failover.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);

/// Shortest wait for a node that is asked again, as a part of the whole time and at most. With less,
/// an answer could hardly come any more, and a call that is known not to be applied would end as one
/// that may be.
const ATTEMPT_MIN_PART: u32 = 6;
const ATTEMPT_MIN_MAX: Duration = Duration::from_millis(500);

/// How often a key that was made here is replaced because it looks too old. Once is enough, unless
/// the player forgets faster and faster.
const RENEWALS_MAX: u32 = 3;

/// How much younger than what the player has forgotten a key is that replaces one. The player must
/// not forget it on its way; much more would make the keys of others look old.
const RENEWAL_LEAD: Duration = Duration::from_secs(1);

/// A call's key, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Somebody's: it may have been used before.
    Given(CallKey),
    /// Made for this call.
    Made(CallKey),
}

/// When to stop asking nodes that cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Patience {
    /// After each was tried once: nobody said that they exist.
    OneRound,
    /// At the deadline: somebody named them, so they will come back.
    UntilDeadline,
}

/// A moment for a person at a prompt.
const BRIEFLY: Duration = Duration::from_millis(500);

/// Who is asked, for how long.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Reach {
    /// Nodes as `host:port`, in the order in which they are asked; at least one.
    pub(in crate::cli) targets: Vec<String>,
    /// When to stop asking nodes that cannot be reached.
    pub(in crate::cli) patience: Patience,
    /// Time from the first attempt to the last.
    pub(in crate::cli) deadline: Duration,
}

impl Reach {
    /// Asks each of these nodes once, and only for a moment: nobody waits for what is only a help.
    pub(in crate::cli) fn briefly(targets: Vec<String>) -> Self {
        Self { targets, patience: Patience::OneRound, deadline: BRIEFLY }
    }
}

/// Why one attempt gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Problem {
    /// The node was not reached; nothing was sent.
    NotReached(String),
    /// The time for the attempt ran out before the node was reached; nothing was sent.
    CutShort,
    /// The node was reached and did not let us in, which will not change; nothing was done.
    Rejected(String),
    /// The request left and no answer came.
    Unanswered(String),
    /// The node has too much to do; nothing was done.
    Busy,
    /// The node answered something that was not asked.
    Alien,
    /// The node says why there is no answer.
    Call(CallError),
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the first of these that is reached, at most for this long.
    Try {
        /// Indices in [`Reach::targets`], of those to be preferred first; at least one.
        targets: Range<usize>,
        /// Time for the attempt.
        within: Duration,
    },
    /// Wait before the next round.
    Pause(Duration),
    /// Stop.
    GiveUp,
}

/// Why there is no answer, for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Failed {
    /// One word for programs.
    pub(in crate::cli) code: &'static str,
    /// One sentence for people.
    pub(in crate::cli) message: String,
    /// What is known about the effect.
    pub(in crate::cli) outcome: Outcome,
}

/// What a question may have done without an answer.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Nothing.
    None,
    /// The call of this key.
    Call(Key),
    /// A change that does no harm when it is made twice.
    Setting,
}

/// The attempts of one question so far.
#[derive(Debug)]
pub(super) struct Attempts {
    targets: usize,
    patience: Patience,
    until: Instant,
    attempt_min: Duration,
    effect: Effect,
    renewals: u32,
    next: usize,
    /// Whether the latest attempt ended a round, and the pause was not yet taken.
    pause_due: bool,
    /// Whether any node of this round may answer differently in the next one.
    hope: bool,
    maybe_applied: bool,
    /// Whether what was perhaps done must not be asked for again.
    once: bool,
    /// Whether one node may have all the time.
    patient: bool,
    /// Whether it does not matter which node answers.
    any: bool,
    over: bool,
    /// What a person should do about an unknown outcome, if it is not to use the key again.
    advice: Option<&'static str>,
    /// The latest problem that says most, and whose it is.
    telling: Option<(String, Problem)>,
}

impl Attempts {
    /// Starts to call a player.
    pub(super) fn of_call(reach: &Reach, now: Instant, key: Key) -> Self {
        Self::new(reach, now, Effect::Call(key))
    }

    /// Starts to ask something that changes nothing.
    pub(super) fn of_reading(reach: &Reach, now: Instant) -> Self {
        Self::new(reach, now, Effect::None)
    }

    /// Starts to ask for a change that does no harm when it is made twice.
    pub(super) fn of_setting(reach: &Reach, now: Instant) -> Self {
        Self::new(reach, now, Effect::Setting)
    }

    fn new(reach: &Reach, now: Instant, effect: Effect) -> Self {
        Self {
            targets: reach.targets.len(),
            patience: reach.patience,
            until: now + reach.deadline,
            attempt_min: (reach.deadline / ATTEMPT_MIN_PART).min(ATTEMPT_MIN_MAX),
            effect,
            renewals: 0,
            next: 0,
            pause_due: false,
            hope: false,
            maybe_applied: false,
            once: false,
            patient: false,
            any: false,
            over: reach.targets.is_empty(),
            advice: None,
            telling: None,
        }
    }

    /// Returns the key that the next attempt bears, if this is a call.
    pub(super) fn key(&self) -> Option<CallKey> {
        match self.effect {
            Effect::Call(Key::Given(key) | Key::Made(key)) => Some(key),
            Effect::Setting | Effect::None => None,
        }
    }

    /// Asks no other node once the first may have done it.
    pub(super) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Gives the node that is asked all the time that is left: its answer takes long.
    pub(super) fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Takes an answer from whichever node is reached first.
    pub(super) fn of_any(mut self) -> Self {
        self.any = true;
        self
    }

    /// Tells the person to do this about an unknown outcome, and not to use the key again.
    pub(super) fn advising(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Returns what to do now. A try is followed by [`Attempts::failed`] or by an answer.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let left = self.until.saturating_duration_since(now);
        let enough =
            if self.telling.is_some() { left >= self.attempt_min } else { !left.is_zero() };
        if self.over || !enough {
            return Step::GiveUp;
        }
        if std::mem::take(&mut self.pause_due) {
            return Step::Pause(STEP_RETRY.min(left));
        }
        let hurries = self.targets > 1 && !self.patient;
        let within = if hurries { left.min(ATTEMPT_MAX) } else { left };
        // The rest of the round may take the place of one that is slow to be reached, unless it
        // matters which node answers.
        let end = match self.effect {
            Effect::Call(_) | Effect::Setting => self.targets,
            Effect::None if self.any => self.targets,
            Effect::None => self.next + 1,
        };
        Step::Try { targets: self.next..end, within }
    }

    /// Notes that a target gave no answer. Those of one try are noted in order, up to the one that was
    /// asked.
    pub(super) fn failed(&mut self, target: &str, problem: Problem) {
        match &problem {
            Problem::NotReached(_) | Problem::CutShort => {
                self.hope |= self.patience == Patience::UntilDeadline;
            }
            Problem::Rejected(_) => {}
            Problem::Alien => self.maybe_applied = true,
            Problem::Busy => self.hope = true,
            Problem::Unanswered(_) => {
                self.hope = true;
                self.maybe_applied = true;
            }
            // The clock that made the key is behind. Nothing was applied with this key by anybody,
            // so another one cannot double it; the same node knows how large it has to be.
            Problem::Call(CallError::KeyExpired { horizon, .. }) if self.is_unused() => {
                let renewed = self.renew(*horizon);
                self.telling = Some((target.to_owned(), problem));
                self.over |= !renewed;
                return;
            }
            // Another node's clock may be right, but no clock will be by trying again.
            Problem::Call(CallError::KeyAhead { .. }) => {}
            Problem::Call(error) => {
                self.hope = true;
                self.over |= !another_node_may_answer(error);
                self.maybe_applied |= error.outcome() == Outcome::Unknown;
            }
        }
        self.over |= self.once && self.maybe_applied;
        if self.telling.as_ref().is_none_or(|(_, known)| tells_as_much(&problem, known)) {
            self.telling = Some((target.to_owned(), problem));
        }
        self.next += 1;
        if self.next == self.targets {
            self.next = 0;
            self.pause_due = true;
            self.over |= !std::mem::take(&mut self.hope);
        }
    }

    /// Whether nothing can have been applied with the key.
    fn is_unused(&self) -> bool {
        matches!(self.effect, Effect::Call(Key::Made(_))) && !self.maybe_applied
    }

    /// Takes a key that the player takes for a new one. Returns whether that may still help.
    fn renew(&mut self, horizon: CallKey) -> bool {
        let Effect::Call(Key::Made(key)) = self.effect else { return false };
        if self.renewals >= RENEWALS_MAX {
            return false;
        }
        self.renewals += 1;
        let lead = u64::try_from(RENEWAL_LEAD.as_millis()).unwrap_or(u64::MAX);
        let later = key.moved_to(horizon.millis().saturating_add(lead));
        self.effect = Effect::Call(Key::Made(later));
        true
    }

    /// Returns what to tell the person who asked.
    pub(super) fn verdict(&mut self) -> Failed {
        let unused = self.is_unused();
        let (code, message) = match self.telling.take() {
            Some((_, Problem::Call(error @ CallError::KeyExpired { .. }))) if unused => {
                let why = "the key made for this call was too old for the player each time; compare \
                           the clock of this machine with those of the nodes";
                return Failed {
                    code: error.code(),
                    message: format!("key_expired: {why}"),
                    outcome: Outcome::NotApplied,
                };
            }
            Some((_, Problem::Call(CallError::Unknown { reason, .. })))
                if self.advice.is_some() =>
            {
                ("unknown", reason)
            }
            // The node's own words say all of it, the key included.
            Some((
                _,
                Problem::Call(
                    error @ (CallError::Unknown { .. }
                    | CallError::KeyExpired { .. }
                    | CallError::AnswerGone { .. }
                    | CallError::NotThere { .. }),
                ),
            )) => {
                let outcome = error.outcome();
                return Failed { code: error.code(), message: error.to_string(), outcome };
            }
            Some((target, problem)) => account(&target, problem, self.patience),
            None => ("late", "no node was asked within the deadline".to_owned()),
        };
        let again = match self.effect {
            Effect::Call(_) if self.maybe_applied => self.advice.map_or_else(
                || {
                    let key = self.key().map(|key| key.to_string()).unwrap_or_default();
                    format!("retry with the same key {key}")
                },
                str::to_owned,
            ),
            Effect::Setting if self.maybe_applied => {
                self.advice.unwrap_or("set it again").to_owned()
            }
            Effect::Call(_) | Effect::Setting | Effect::None => {
                return Failed { code, message, outcome: Outcome::NotApplied };
            }
        };
        let message = format!("unknown outcome: {message}; {again}");
        Failed { code: "unknown", message, outcome: Outcome::Unknown }
    }
}

/// Whether a new problem is worth more to a person than the known one: what a node says is worth
/// more than that it was not reached, and a reason more than an attempt cut short.
fn tells_as_much(new: &Problem, known: &Problem) -> bool {
    let weight = |problem: &Problem| match problem {
        Problem::CutShort => 0,
        Problem::NotReached(_) => 1,
        Problem::Rejected(_)
        | Problem::Unanswered(_)
        | Problem::Busy
        | Problem::Alien
        | Problem::Call(_) => 2,
    };
    weight(new) >= weight(known)
}

fn account(target: &str, problem: Problem, patience: Patience) -> (&'static str, String) {
    match problem {
        Problem::NotReached(_) if patience == Patience::OneRound => (
            "unreachable",
            "no node found on this machine; start one with `host --name app_node1` or name one with \
             --node (one with a --data-dir of its own is not found by itself)"
                .to_owned(),
        ),
        // The reason names the node.
        Problem::NotReached(reason) => ("unreachable", reason),
        Problem::CutShort => ("unreachable", format!("no connection to {target} in time")),
        Problem::Rejected(reason) => ("rejected", reason),
        Problem::Unanswered(reason) => {
            ("unreachable", format!("{target} was asked and did not answer: {reason}"))
        }
        Problem::Busy => ("overloaded", format!("{target} has too many requests waiting")),
        Problem::Alien => {
            ("alien", format!("{target} answered another question; is it of another version?"))
        }
        Problem::Call(error) => (error.code(), error.to_string()),
    }
}

/// Whether the same call can get an answer elsewhere or later.
fn another_node_may_answer(error: &CallError) -> bool {
    match error {
        CallError::Moved { .. }
        | CallError::Overloaded { .. }
        | CallError::Stopping { .. }
        | CallError::Late { .. }
        | CallError::KeyAhead { .. }
        | CallError::Unknown { .. } => true,
        CallError::SingleNode { .. }
        | CallError::Unavailable { .. }
        | CallError::NoCode { .. }
        | CallError::Broken { .. }
        | CallError::KeyReused { .. }
        | CallError::Quarantined(_)
        | CallError::NotQuarantined { .. }
        | CallError::NoBundle { .. }
        | CallError::NoFunction { .. }
        | CallError::BadArguments { .. }
        | CallError::AnswerGone { .. }
        | CallError::NoPlayer { .. }
        | CallError::NotMoved { .. }
        | CallError::NotThere { .. }
        | CallError::NoNode { .. }
        | CallError::PlayerExists { .. }
        | CallError::NotImported { .. }
        | CallError::Available { .. }
        | CallError::KeyExpired { .. } => false,
    }
}
