//! How a server ends: by and by with its node, or at once for a newer owner or an error. Every caller
//! is told what is known of the call.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Action, Life, Machine, Phase, Story, View, Waiting};
use crate::protocol::{CallError, Operation};

impl Machine {
    /// Nothing new is executed; the server ends once the callers it has executed for are answered.
    pub(super) fn wind_down(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let node = view.name(self.me.node);
        for waiting in std::mem::take(&mut self.queue) {
            let stopping = CallError::Stopping { node: node.clone() };
            out.push(self.refuse(&waiting, stopping));
        }
        self.stop_moving(out);
        let idle = self.unanswered.is_empty() && self.crashed.is_none();
        if idle && !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            out.push(Action::Close);
        }
    }

    /// Answers callers whose time is over before their call was executed.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.queue.iter().any(|waiting| waiting.deadline <= now) {
            return;
        }
        let queue = std::mem::take(&mut self.queue).into_iter();
        let (late, rest) = queue.partition::<VecDeque<_>, _>(|waiting| waiting.deadline <= now);
        self.queue = rest;
        let given_up = late.iter().any(|waiting| self.gives_up_beginning(&waiting.call));
        for waiting in late {
            let late = CallError::Late { reason: self.trouble.clone() };
            out.push(self.refuse(&waiting, late));
        }
        if given_up {
            // Those who wait with it begin another one.
            let moved = CallError::Moved { player: self.player.clone() };
            self.fail_all(&moved, out);
        }
    }

    pub(super) fn close_if_pointless(&mut self, out: &mut Vec<Action>) {
        let waits = !self.queue.is_empty() || self.deciding.is_some();
        let idle = !waits && self.unanswered.is_empty();
        // Nobody waits and nothing is owned: there is no reason to go on trying.
        let exists = self.record.as_ref().filter(|record| !record.is_forgotten());
        let owned = exists.is_some_and(|record| record.owner == self.me);
        if idle && !owned && matches!(self.phase, Phase::Pausing { .. }) {
            self.phase = Phase::Closed;
            out.push(Action::Close);
        }
    }

    /// A newer owner exists: whatever it has of our calls is for it to say.
    pub(super) fn close_moved(&mut self, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        out.push(Action::Tell(Story::Moved));
        let moved = CallError::Moved { player: self.player.clone() };
        self.fail_all(&moved, out);
    }

    /// Ends the server. Calls that were never executed get `error`; those that were are unknown.
    pub(super) fn fail_all(&mut self, error: &CallError, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let queue = std::mem::take(&mut self.queue);
        out.extend(queue.iter().map(|waiting| self.refuse(waiting, error.clone())));
        self.phase = Phase::Closed;
        self.life = Life::None;
        let crashed = self.crashed.take().map(|(waiting, _)| waiting);
        if let Some(Waiting { ticket, call, .. }) = self.deciding.take() {
            let reason = match call.operation {
                Operation::Release => "the directory did not say whether the player was released",
                _ => "the directory did not say whether the player was forgotten",
            };
            let result = Err(CallError::Unknown { reason: reason.to_owned(), key: call.key });
            out.push(Action::Answer { ticket, result });
        }
        let held = crashed.into_iter().chain(self.executing.take());
        for waiting in held {
            out.push(waiting.refused(error.clone(), self.may_be_recovered));
        }
        if let Some((ticket, _)) = self.take_mover() {
            out.push(Action::Answer { ticket, result: Err(error.clone()) });
        }
        for executed in self.unanswered.drain(..) {
            let key = executed.call.key;
            let reason = format!("the call was executed, but not acknowledged ({error})");
            let result = Err(CallError::Unknown { reason, key });
            out.push(Action::Answer { ticket: executed.ticket, result });
        }
        out.push(Action::Close);
    }
}
