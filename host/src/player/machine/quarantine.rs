//! A player whose state cannot be restored: counted, tried again a few times, and then left alone.
//!
//! ```text
//!   Restore fails ─► what was executed is acknowledged ─► counted in the directory ─► a pause ─► Restore
//!                                                            │ too often
//!                                                            ▼
//!                        Active without an instance: calls are refused, copies are mended
//!                                                            │ an operator releases it
//!                                                            ▼
//!                                                   counted anew, restored at the next call
//! ```
//!
//! Where the count is: in the player's record in the directory, for it must outlive the owner and have
//! one writer. A keeper could hold it, but a copy that is taken in place of another, or seeded anew,
//! would take the count back; the record is fenced by the same compare-and-set that names the owner.
//! It costs calls nothing: a change is made when a restore fails, and when one succeeds after that.
//!
//! What counts: only what is wrong with the state itself ([`RestoreFailure::State`]). Code that is
//! missing and memory that the machine does not have say nothing about it. Calls that trap do not
//! count either, however often.
//!
//! In quarantine the player is owned, kept, mended, moved and put to rest like any other: what holds
//! for copies does not ask for an instance. Its position stands in the record, so whatever was
//! executed is acknowledged by every keeper before the failure is counted.

use std::time::Instant;

use super::{Action, Life, Machine, Phase, RestoreFailure, Retry, Story, View, Waiting};
use crate::limits::RESTORE_RETRY;
use crate::protocol::{
    Answer, Bundle, Call, CallError, Ending, Exhibit, FailedRestores, Operation, Quarantine,
};

/// What the directory does not know yet.
#[derive(Debug)]
pub(super) enum Tally {
    /// One more restore has failed, for this reason.
    Failed(String),
    /// The row of failures ends: one has succeeded, or an operator has said so.
    Ended,
}

impl Machine {
    /// No instance could be made. A state that nothing was wrong with may be tried by the next call.
    pub(super) fn handle_restore_failed(
        &mut self,
        failure: RestoreFailure,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let reason = match failure {
            RestoreFailure::Here(error) => return self.fail_all(&error, out),
            RestoreFailure::State(reason) => reason,
        };
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        out.push(Action::Tell(Story::NotRestored { reason: reason.clone() }));
        self.life = Life::None;
        if let Some((waiting, message)) = self.crashed.take() {
            let reason = format!("it trapped ({message}), and then its state failed: {reason}");
            let broken = CallError::Broken { player: self.player.clone(), reason };
            out.push(waiting.refused(broken, self.may_be_recovered));
        }
        self.tally = Some(Tally::Failed(FailedRestores::cut(&reason).to_owned()));
        if matches!(self.phase, Phase::Reviving) {
            self.phase = Phase::Active;
        }
        // Elsewhere copies are being replaced, and the end of that sees to this, too.
        if matches!(self.phase, Phase::Active) {
            self.settle(view, out);
        }
    }

    /// An instance was made. Returns whether the directory must be told that a row of failures ends.
    pub(super) fn begins_anew(&mut self) -> bool {
        let failed = self.record.as_ref().is_some_and(|record| record.failed.is_some());
        if failed {
            self.tally = Some(Tally::Ended);
        }
        failed
    }

    /// Whether a failure is to be counted now.
    pub(super) fn is_to_be_counted(&self) -> bool {
        self.tally.is_some() && self.unanswered.is_empty()
    }

    /// Returns what a change of the directory says of failed restores, and whether it says something
    /// new.
    pub(super) fn failed_restores(&self) -> (Option<Box<FailedRestores>>, bool) {
        let before = self.record.as_ref().and_then(|record| record.failed.clone());
        let seq = self.seq();
        match &self.tally {
            Some(Tally::Ended) => (None, true),
            Some(Tally::Failed(reason)) if self.is_to_be_counted() => {
                let times = before.map_or(0, |failed| failed.times).saturating_add(1);
                let reason = reason.clone();
                (Some(Box::new(FailedRestores { times, seq, reason })), true)
            }
            Some(Tally::Failed(_)) | None => {
                (before.map(|failed| Box::new(FailedRestores { seq, ..*failed })), false)
            }
        }
    }

    /// The directory has counted, or begun to count anew; this was the count before.
    pub(super) fn counted(
        &mut self,
        before: Option<Box<FailedRestores>>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        self.tally = None;
        let failed = self.record.as_ref().and_then(|record| record.failed.as_deref());
        match failed {
            Some(FailedRestores { times, reason, .. }) if self.is_quarantined() => {
                out.push(Action::Tell(Story::Quarantined { times: *times }));
                let reason = format!("its state could not be restored: {reason}");
                self.restore_at = None;
                self.fail_on_probation(reason, view, out);
            }
            Some(FailedRestores { times, .. }) => {
                let pause = RESTORE_RETRY * 4_u32.saturating_pow(times.saturating_sub(1));
                self.restore_at = Some(view.now + pause);
            }
            None => {
                self.restore_at = None;
                if let (Some(waiting), Some(failed)) = (self.deciding.take(), before) {
                    let answer =
                        Answer::Released { failed: *failed, node: view.name(self.me.node) };
                    out.push(Action::Answer { ticket: waiting.ticket, result: Ok(answer) });
                    out.push(Action::Tell(Story::Released));
                    out.push(Action::Tell(Story::Serving { seq: self.seq() }));
                }
            }
        }
    }

    /// The player has become something else: what was counted of its restores says nothing of that.
    pub(super) fn leave_failures_behind(&mut self) {
        let failed = self.record.as_ref().is_some_and(|record| record.failed.is_some());
        self.tally = failed.then_some(Tally::Ended);
        self.restore_at = None;
    }

    /// Whether nobody tries to restore the player any more.
    pub(super) fn is_quarantined(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.quarantine().is_some())
    }

    /// Sees to a player that gets no instance now, with its copies complete: it is counted, pauses, or
    /// is in quarantine. Returns whether it is one.
    pub(super) fn is_held_back(&mut self, view: View<'_>, out: &mut Vec<Action>) -> bool {
        if matches!(self.tally, Some(Tally::Ended)) || self.is_to_be_counted() {
            self.name_with(Vec::new(), view, out);
            return true;
        }
        if self.tally.is_some() || self.is_quarantined() {
            if self.tally.is_none() && self.life == Life::None {
                self.life = Life::Unasked;
                out.push(Action::Tell(Story::LeftInQuarantine));
            }
            self.phase = Phase::Active;
            self.check_keepers(view, out);
            return true;
        }
        let waits = self.life == Life::None && !self.queue.is_empty();
        match self.restore_at.filter(|at| waits && *at > view.now) {
            Some(until) => {
                self.pause_until(until);
                true
            }
            None => false,
        }
    }

    fn pause_until(&mut self, until: Instant) {
        "its state could not be restored, which is tried again".clone_into(&mut self.trouble);
        self.phase = Phase::Pausing { until, then: Retry::Settle };
    }

    /// Refuses those who call a player in quarantine, and does what operators ask of it.
    pub(super) fn refuse_in_quarantine(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        while let Some(waiting) = self.queue.pop_front() {
            match &waiting.call.operation {
                Operation::Forget | Operation::Release | Operation::Move(_)
                    if !self.unanswered.is_empty() =>
                {
                    return self.queue.push_front(waiting);
                }
                Operation::Move(_) => {
                    self.begin_move(waiting, view, out);
                    if self.moving.is_some() {
                        return;
                    }
                }
                Operation::Forget => return self.forget(waiting, out),
                Operation::Release => {
                    self.deciding = Some(waiting);
                    self.tally = Some(Tally::Ended);
                    self.name_with(Vec::new(), view, out);
                    "the directory has not confirmed that the player is released"
                        .clone_into(&mut self.trouble);
                    return;
                }
                Operation::Bundle(Exhibit::Quarantine) => self.answer_bundle(waiting, view, out),
                // What was applied before is known without an instance.
                Operation::Reward(_) | Operation::Points | Operation::Call(_) => {
                    if let Some(waiting) = self.answer_known(waiting, view, out) {
                        let error = self.quarantined(&waiting, view);
                        out.push(waiting.refused(error, self.may_be_recovered));
                    }
                }
                Operation::Import(_) => self.answer_import(waiting, view, out),
                Operation::Bundle(Exhibit::LastTrap)
                | Operation::Recover(_)
                | Operation::Crash
                | Operation::Export => {
                    let error = self.quarantined(&waiting, view);
                    out.push(waiting.refused(error, self.may_be_recovered));
                }
            }
        }
    }

    fn quarantined(&self, waiting: &Waiting, view: View<'_>) -> CallError {
        let record = self.record.as_ref();
        let quarantine = record.and_then(|record| Quarantine::of(&self.player, record, view.nodes));
        match quarantine {
            Some(quarantine) => CallError::Quarantined(Box::new(quarantine)),
            None => CallError::NotQuarantined { player: waiting.call.player.clone() },
        }
    }

    /// Answers with the state that could not be restored, once its keepers have confirmed that it is
    /// still the one.
    fn answer_bundle(&mut self, waiting: Waiting, view: View<'_>, out: &mut Vec<Action>) {
        let failed = self.record.as_ref().and_then(|record| record.failed.clone());
        let (Some(state), Some(failed)) = (&self.state, failed) else {
            return out.push(self.not_quarantined(&waiting));
        };
        let FailedRestores { times, reason, .. } = *failed;
        let bundle = Bundle {
            player: self.player.clone(),
            node: view.name(self.me.node),
            code: state.code,
            seq: state.seq,
            snapshot: state.snapshot.clone(),
            ending: Ending::Restore { times, reason },
        };
        self.confirm(waiting, |_| Answer::Bundled(Box::new(bundle)), view, out);
    }

    /// Whether a call asks something of a player in quarantine that is in none: nothing is opened for
    /// that, or even created.
    pub(super) fn is_unfounded(&self, call: &Call) -> bool {
        let asks = matches!(call.operation, Operation::Release | Operation::Bundle(_));
        asks && matches!(self.phase, Phase::New) && !self.is_quarantined()
    }

    /// Says that a player is in no quarantine.
    pub(super) fn not_quarantined(&self, waiting: &Waiting) -> Action {
        let error = CallError::NotQuarantined { player: self.player.clone() };
        waiting.refused(error, self.may_be_recovered)
    }

    /// Ends a server that has opened nothing. A player that rested rests on.
    pub(super) fn end_unopened(&mut self, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::New) && self.queue.is_empty() {
            self.phase = Phase::Closed;
            out.push(self.rested.take().map_or(Action::Close, Action::Rest));
        }
    }
}
