//! Going over to other code, between two calls.
//!
//! ```text
//!   Active, a step is due ─► what was executed is acknowledged ─► Migrate ─┬─► the new state, one seq later,
//!                                                                          │   has no copy yet: Seeding ─► Naming
//!                                                                          └─► it fails: the old code goes on,
//!                                                                              and the directory is told
//! ```
//!
//! Memory means nothing to other code, so no delta leads from one to the other: the step is one full
//! copy for each keeper, and one change of the directory, which names the new copies and the new code
//! at once. Until it does, the copies that it names are those of the old code, and whoever takes the
//! player over goes on from there; afterwards they are those of the new code. No call is executed
//! between, so nobody ever sees half of it.
//!
//! What the player was goes with it until a call changes it (`PlayerState::before`): so long it goes
//! back to exactly that. Afterwards it goes back as it came, with all that was acknowledged.
//!
//! Which code a player should run stands in the directory (`Deployments`), so nobody coordinates.
//! Players that are called go at their next call, the others when the guardian urges them.

use std::time::Duration;

use super::{Action, Life, Machine, Phase, Story, View};
use crate::limits::{FAILURE_REASON_BYTES_MAX, FIRST_CALLS};
use crate::protocol::{Before, PlayerState, Step, at_most};
use crate::snapshot::Snapshot;

/// Pause after a step for which this machine had no memory or no time.
const STEP_AGAIN: Duration = Duration::from_secs(1);

/// Why a step was not made. The player is what it was.
#[derive(Debug)]
pub enum StepFailure {
    /// It says nothing about the code: it is tried again.
    Here(String),
    /// The player cannot come to this code; in words.
    Code(String),
}

/// What is known here of a player's steps.
#[derive(Debug, Default)]
pub(super) struct Migrating {
    /// The step that is being made.
    under_way: Option<Step>,
    /// The deployment to which the player could not come.
    failed: Option<u64>,
    /// Before then no step is tried again.
    pause: Option<std::time::Instant>,
    /// Whether it goes although nobody calls.
    urged: bool,
    /// Whether it had rested, and does again.
    was_at_rest: bool,
    /// Whether there was an instance of the old code.
    had_instance: bool,
    /// The first calls on code that has not proved itself.
    pub(super) first_calls: Option<FirstCalls>,
    /// Failures that the directory has not heard of yet.
    reports: u32,
}

impl Migrating {
    /// Whether the directory has still to hear of a failure.
    pub(super) fn is_reporting(&self) -> bool {
        self.reports > 0
    }
}

/// How the first calls of a player on new code ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstCalls {
    deployment: u64,
    calls: u32,
    traps: u32,
}

impl Machine {
    /// Goes over to other code although nobody calls, if that is due.
    pub(super) fn urge(&mut self) {
        self.migrating.urged = true;
    }

    /// Makes the step to other code if one is due. Returns whether calls have to wait for it.
    pub(super) fn migrate_when_due(&mut self, view: View<'_>, out: &mut Vec<Action>) -> bool {
        if self.queue.is_empty() && !self.migrating.urged {
            return false;
        }
        let Some(step) = self.step_due(view) else {
            self.migrating.urged = false;
            return false;
        };
        if !self.unanswered.is_empty() || self.executing.is_some() || self.crashed.is_some() {
            return true;
        }
        let goes_back = self.goes_back(step);
        match self.life {
            // It needs one that saves. One who only goes back needs none.
            Life::None | Life::Unasked if !goes_back => {
                if self.restore_at.is_none_or(|at| at <= view.now) {
                    self.migrating.was_at_rest = self.queue.is_empty();
                    self.life = Life::Coming;
                    out.push(Action::Restore);
                }
            }
            Life::Coming => {}
            Life::None | Life::Unasked => {
                self.migrating.was_at_rest = self.queue.is_empty();
                self.begin_step(step, out);
            }
            Life::Live => self.begin_step(step, out),
        }
        true
    }

    /// Makes the step out of quarantine if there is one: a player whose state cannot be restored can
    /// still become what it was before it came to this code. Returns whether it does.
    pub(super) fn leaves_quarantine(&mut self, view: View<'_>, out: &mut Vec<Action>) -> bool {
        if self.migrating.under_way.is_some() {
            return true;
        }
        let step = self.step_due(view).filter(|step| self.goes_back(*step));
        let quiet = self.unanswered.is_empty() && self.life != Life::Coming;
        let Some(step) = step.filter(|_| quiet) else { return false };
        self.migrating.was_at_rest = self.queue.is_empty();
        self.begin_step(step, out);
        true
    }

    fn goes_back(&self, step: Step) -> bool {
        self.state.as_ref().is_some_and(|state| matches!(Way::of(state, step), Way::Back(_)))
    }

    fn step_due(&self, view: View<'_>) -> Option<Step> {
        let step = view.rollout.step_for(&self.player, self.state.as_ref()?.code)?;
        let failed = self.migrating.failed == Some(step.deployment);
        let pauses = self.migrating.pause.is_some_and(|until| view.now < until);
        // Nobody waits for a majority that may not come, while those that are named are good.
        (!failed && !pauses && view.has_leader).then_some(step)
    }

    fn begin_step(&mut self, step: Step, out: &mut Vec<Action>) {
        self.migrating.under_way = Some(step);
        self.migrating.had_instance = self.life == Life::Live;
        self.life = Life::Coming;
        out.push(Action::Migrate(step));
    }

    /// An instance of the new code holds the player's state, which is this.
    pub(super) fn handle_migrated(
        &mut self,
        snapshot: Snapshot,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let step = self.migrating.under_way.take();
        let Some((step, state)) = step.zip(self.state.as_ref()) else { return };
        if !matches!(self.phase, Phase::Active) {
            return;
        }
        let (from, to) = (state.code, step.code);
        let state = state.with_code(to, snapshot);
        out.push(Action::Tell(Story::Migrated { from, to, seq: state.seq }));
        self.state = Some(state);
        self.life = Life::Live;
        self.used = Some(view.now);
        self.migrating.first_calls = None;
        self.leave_failures_behind();
        if std::mem::take(&mut self.migrating.was_at_rest) && self.queue.is_empty() {
            self.life = Life::Unasked;
            out.push(Action::GiveUp);
        }
        // None of them has the new state. The directory names them until there are others.
        self.keepers.clear();
        self.settle(view, out);
    }

    /// The step was not made; the instance of the old code is as it was.
    pub(super) fn handle_not_migrated(
        &mut self,
        failure: StepFailure,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(step) = self.migrating.under_way.take() else { return };
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.life = if self.migrating.had_instance { Life::Live } else { Life::Unasked };
        let reason = match failure {
            StepFailure::Here(reason) => {
                self.migrating.pause = Some(view.now + STEP_AGAIN);
                reason
            }
            StepFailure::Code(reason) => {
                self.migrating.failed = Some(step.deployment);
                let deployment = step.deployment;
                self.report(deployment, reason.clone(), out);
                reason
            }
        };
        self.migrating.urged = false;
        let was_at_rest = std::mem::take(&mut self.migrating.was_at_rest);
        if was_at_rest && self.queue.is_empty() && self.life == Life::Live {
            self.life = Life::Unasked;
            out.push(Action::GiveUp);
        }
        let (to, deployment) = (step.code, step.deployment);
        out.push(Action::Tell(Story::NotMigrated { to, deployment, reason }));
    }

    /// Counts a call on code that has not proved itself; too many traps are told to the directory.
    pub(super) fn count_first_call(
        &mut self,
        trap: Option<&str>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(state) = &self.state else { return };
        let Some(probation) = view.rollout.deployments.probation_of(&self.player, state.code)
        else {
            self.migrating.first_calls = None;
            return;
        };
        let deployment = probation.deployment;
        let first = self.migrating.first_calls.take().filter(|it| it.deployment == deployment);
        let mut first = first.unwrap_or(FirstCalls { deployment, calls: 0, traps: 0 });
        if first.calls < FIRST_CALLS {
            first.calls += 1;
            first.traps += u32::from(trap.is_some());
            let FirstCalls { calls, traps, .. } = first;
            if let Some(message) = trap.filter(|_| traps > probation.traps_max) {
                first.calls = FIRST_CALLS;
                let reason = format!("trapped in {traps} of its first {calls} calls: {message}");
                self.report(deployment, reason, out);
            }
        }
        self.migrating.first_calls = Some(first);
    }
}

impl Machine {
    /// The player fails on the deployment that its code is of, if that has not proved itself.
    pub(super) fn fail_on_probation(
        &mut self,
        reason: String,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let code = self.state.as_ref().map(|state| state.code);
        let deployments = &view.rollout.deployments;
        let probation = code.and_then(|code| deployments.probation_of(&self.player, code));
        if let Some(probation) = probation {
            self.report(probation.deployment, reason, out);
        }
    }

    /// Has the directory hear of a failure. The player does not rest before it has.
    fn report(&mut self, deployment: u64, reason: String, out: &mut Vec<Action>) {
        let reason = at_most(&reason, FAILURE_REASON_BYTES_MAX).to_owned();
        self.migrating.reports += 1;
        out.push(Action::Report { deployment, reason });
    }

    pub(super) fn handle_reported(&mut self) {
        self.migrating.reports = self.migrating.reports.saturating_sub(1);
    }
}

/// How a player's state becomes that of other code.
#[derive(Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// It is what it was there before.
    Back(&'a Before),
    /// It begins anew.
    Anew,
    /// The old code saves and the new code loads.
    SaveAndLoad,
}

impl<'a> Way<'a> {
    /// Returns how a player in this state makes a step.
    pub fn of(state: &'a PlayerState, step: Step) -> Self {
        match &state.before {
            Some(before) if before.code == step.code && !step.resets => Self::Back(before),
            // Nobody has been told of anything that could be lost.
            _ if step.resets || state.seq.0 == 0 => Self::Anew,
            _ => Self::SaveAndLoad,
        }
    }
}
