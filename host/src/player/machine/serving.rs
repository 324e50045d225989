//! Serving calls: execute one after the other, send what changed, answer in order.

use super::{Action, Life, Machine, Phase, Story, Unanswered, View, Waiting};
use crate::limits::{FRAME_BYTES_MAX, PIPELINE_CALLS_MAX};
use crate::net::AskError;
use crate::protocol::{
    Answer, Append, Call, CallError, Confirm, Crash, Effect, KeeperCopy, KeeperReply,
    KeeperRequest, KeyLookup, Operation, Record, Seq, Value,
};
use crate::snapshot::Delta;

/// A delta above this gets a stream of its own, which later, smaller ones could overtake.
const LARGE_DELTA_BYTES: usize = FRAME_BYTES_MAX / 2;

impl Machine {
    /// Executes the next call if one waits and may run.
    pub(super) fn pump(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Active) && self.is_quarantined() {
            if self.leaves_quarantine(view, out) {
                return;
            }
            return self.refuse_in_quarantine(view, out);
        }
        // It waited for what was executed before.
        if matches!(self.phase, Phase::Active) && self.is_to_be_counted() {
            return self.settle(view, out);
        }
        if matches!(self.phase, Phase::Active) && self.migrate_when_due(view, out) {
            return;
        }
        if matches!(self.phase, Phase::Active)
            && self.life == Life::Unasked
            && !self.queue.is_empty()
            && self.restore_at.is_none_or(|at| at <= view.now)
        {
            self.life = Life::Coming;
            out.push(Action::Restore);
        }
        let live = self.life == Life::Live;
        let may_execute = |machine: &Self| {
            let free = machine.executing.is_none() && machine.moving.is_none();
            matches!(machine.phase, Phase::Active) && live && free
        };
        while may_execute(self) {
            self.large_in_flight &= !self.unanswered.is_empty();
            if self.large_in_flight || self.unanswered.len() >= PIPELINE_CALLS_MAX {
                return;
            }
            let Some(waiting) = self.queue.pop_front() else { return };
            if waiting.deadline <= view.now {
                let reason = "the player had too many calls before this one".to_owned();
                out.push(self.refuse(&waiting, CallError::Late { reason }));
                continue;
            }
            match &waiting.call.operation {
                Operation::Forget if self.unanswered.is_empty() => {
                    return self.forget(waiting, out);
                }
                Operation::Move(_) if self.unanswered.is_empty() => {
                    self.begin_move(waiting, view, out);
                    continue;
                }
                Operation::Forget | Operation::Move(_) => return self.queue.push_front(waiting),
                Operation::Export => {
                    self.answer_export(waiting, view, out);
                    continue;
                }
                Operation::Import(_) => {
                    self.answer_import(waiting, view, out);
                    continue;
                }
                Operation::Crash => return self.begin_drill(waiting, out),
                // One caller is told what was recovered; the next one has nothing to give up.
                Operation::Recover(_) if self.accepted.take().is_none() => {
                    self.answer_available(waiting, view, out);
                    continue;
                }
                Operation::Release | Operation::Bundle(_) => {
                    out.push(self.not_quarantined(&waiting));
                    continue;
                }
                Operation::Reward(_)
                | Operation::Points
                | Operation::Call(_)
                | Operation::Recover(_) => {}
            }
            let Some(waiting) = self.answer_known(waiting, view, out) else { continue };
            if waiting.counts {
                self.used = Some(view.now);
            }
            out.push(Action::Execute(waiting.call.clone()));
            self.executing = Some(waiting);
        }
    }

    /// Answers a call whose key the player remembers, or has forgotten. Returns one with a new key.
    pub(super) fn answer_known(
        &mut self,
        waiting: Waiting,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) -> Option<Waiting> {
        let Call { key, operation, .. } = &waiting.call;
        let error = match self.state.as_ref()?.window.lookup(*key, operation) {
            KeyLookup::New => return Some(waiting),
            // The record may still be on its way to the keepers: its answer waits like a read.
            KeyLookup::Applied { seq, value } => {
                let node = view.name(self.me.node);
                let answer = match operation {
                    Operation::Move(to) => self.known_move(to, seq, &value, view),
                    Operation::Import(_) => {
                        let keepers = self.remote_names(&self.copies(), view);
                        Ok(Answer::Imported { seq, node, keepers })
                    }
                    _ => Ok(Answer::Returned { value, seq, node }),
                };
                match answer {
                    Ok(answer) => self.confirm(waiting, |_| answer, view, out),
                    Err(error) => out.push(waiting.refused(error, self.may_be_recovered)),
                }
                return None;
            }
            KeyLookup::AnswerGone { seq } => {
                CallError::AnswerGone { player: self.player.clone(), seq }
            }
            KeyLookup::Reused => CallError::KeyReused { key: *key },
            KeyLookup::Expired { horizon } => {
                CallError::KeyExpired { player: self.player.clone(), key: *key, horizon }
            }
        };
        out.push(Action::Answer { ticket: waiting.ticket, result: Err(error) });
        None
    }

    pub(super) fn handle_returned(
        &mut self,
        value: Value,
        delta: Delta,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.executing.take() else { return };
        if waiting.counts {
            self.count_first_call(None, view, out);
        }
        let Some(state) = &mut self.state else { return };
        let reads = matches!(waiting.call.operation, Operation::Points | Operation::Recover(_));
        if delta.is_empty() && reads {
            let seq = state.seq;
            return self.confirm(waiting, |node| Answer::Returned { value, seq, node }, view, out);
        }
        let effect = Effect::new(waiting.call.key, &waiting.call.operation, value.clone());
        let record = Record { seq: state.seq.next(), effect, delta };
        state.apply(&record).expect("a delta that was taken from this state fits it");
        let bytes = record.delta.changed_bytes() + record.effect.value.text_bytes();
        let large = bytes > LARGE_DELTA_BYTES;
        let answer = Answer::Returned { value, seq: record.seq, node: view.name(self.me.node) };
        if large && !self.unanswered.is_empty() {
            // It could overtake what is on its way. A full copy cannot.
            self.expect(waiting, Some(answer), view);
            for copy in self.copies() {
                self.lose(copy, "a large change needs a full copy".to_owned(), view, out);
            }
            return self.settle(view, out);
        }
        self.large_in_flight = large;
        self.expect(waiting, Some(answer), view);
        self.append(&record, out);
    }

    /// Nothing was executed, so there is nothing that a keeper would have to confirm.
    pub(super) fn handle_refused(&mut self, error: CallError, out: &mut Vec<Action>) {
        let Some(waiting) = self.executing.take() else { return };
        out.push(Action::Answer { ticket: waiting.ticket, result: Err(error) });
    }

    /// The instance is gone; another is made from the state before the call.
    pub(super) fn handle_trapped(
        &mut self,
        message: String,
        lacked: bool,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.executing.take() else { return };
        if waiting.counts && !lacked {
            self.count_first_call(Some(&message), view, out);
        }
        self.life = Life::Coming;
        self.crashed = Some((waiting, message));
        out.push(Action::Restore);
    }

    pub(super) fn answer_crash(
        &mut self,
        waiting: Waiting,
        message: String,
        restore_micros: u64,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let restored_seq = self.seq();
        out.push(Action::Tell(Story::Restarted {
            message: message.clone(),
            seq: restored_seq,
            micros: restore_micros,
        }));
        let keepers = self.remote_names(&self.copies(), view);
        let crash =
            |node| Answer::Trapped(Crash { message, restored_seq, restore_micros, node, keepers });
        self.confirm(waiting, crash, view, out);
    }

    /// Answers once every keeper has confirmed that this is still the owner (design rule 2).
    pub(super) fn confirm(
        &mut self,
        waiting: Waiting,
        answer: impl FnOnce(crate::protocol::NodeName) -> Answer,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let answer = answer(view.name(self.me.node));
        self.expect(waiting, Some(answer), view);
        self.tell_keepers(out, Self::confirmation);
    }

    /// The question whether a keeper has all that was executed, and knows no newer owner.
    pub(super) fn confirmation(&self, copy: KeeperCopy) -> KeeperRequest {
        KeeperRequest::Confirm(Confirm {
            player: self.player.clone(),
            copy: copy.copy,
            generation: self.generation(),
            writer: self.me,
            seq: self.seq(),
        })
    }

    /// Sends a record to each keeper.
    pub(super) fn append(&self, record: &Record, out: &mut Vec<Action>) {
        self.tell_keepers(out, |machine, copy| {
            KeeperRequest::Append(Append {
                player: machine.player.clone(),
                copy: copy.copy,
                generation: machine.generation(),
                writer: machine.me,
                record: record.clone(),
            })
        });
    }

    /// Waits until every keeper has acknowledged what they are told next, to answer then.
    pub(super) fn expect(&mut self, waiting: Waiting, answer: Option<Answer>, view: View<'_>) {
        self.sent += 1;
        let Waiting { ticket, call, .. } = waiting;
        let (number, sent) = (self.sent, view.now);
        self.unanswered.push_back(Unanswered { ticket, call, answer, number, sent });
    }

    pub(super) fn tell_keepers(
        &self,
        out: &mut Vec<Action>,
        request: impl Fn(&Self, KeeperCopy) -> KeeperRequest,
    ) {
        // The own copy first: what is asked last leaves first, and it has the longer way.
        let copies = || self.keepers.iter().map(|keeper| keeper.copy);
        let own = copies().filter(|copy| copy.node == self.me.node);
        let remote = copies().filter(|copy| copy.node != self.me.node);
        for copy in own.chain(remote) {
            let request = request(self, copy);
            out.push(Action::Ask { copy, number: self.sent, request });
        }
    }

    pub(super) fn handle_acknowledgement(
        &mut self,
        copy: KeeperCopy,
        number: u64,
        reply: Result<KeeperReply, AskError>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        if number == 0 {
            return; // The late end of a seed that was given up, or of a release: no call waits for it.
        }
        let Some(keeper) = self.keepers.iter_mut().find(|keeper| keeper.copy == copy) else {
            return; // A copy that was replaced or released.
        };
        match reply {
            Ok(KeeperReply::Acknowledged { .. }) => {
                keeper.acknowledged = keeper.acknowledged.max(number);
            }
            other => {
                if other.is_err() {
                    self.shun(copy.node, view, out);
                }
                let reason = super::opening::problem(other);
                self.lose(copy, reason, view, out);
                // While copies are being replaced already, the end of that sees to this one too.
                if matches!(self.phase, Phase::Active) {
                    self.settle(view, out);
                }
            }
        }
    }

    /// Answers, in order, what every keeper has acknowledged.
    pub(super) fn release(&mut self, out: &mut Vec<Action>) {
        // A keeper that was lost is named until it is replaced: nothing is acknowledged until then.
        if self.unanswered.is_empty() || !self.is_named() {
            return;
        }
        let acknowledged = self.keepers.iter().map(|keeper| keeper.acknowledged).min().unwrap_or(0);
        while let Some(first) = self.unanswered.front()
            && first.number <= acknowledged
            && let Some(first) = self.unanswered.pop_front()
        {
            match first.answer {
                Some(answer) => {
                    out.push(Action::Answer { ticket: first.ticket, result: Ok(answer) });
                }
                None => self.handle_move_recorded(first, out),
            }
        }
    }

    pub(super) fn copies(&self) -> Vec<KeeperCopy> {
        self.keepers.iter().map(|keeper| keeper.copy).collect()
    }

    pub(super) fn seq(&self) -> Seq {
        self.state.as_ref().map_or(Seq(0), |state| state.seq)
    }
}
