//! Requests that are done twice: the second time later, for nobody.
//!
//! A connection repeats nothing, and a relay passes on once. But a gateway and the directory's driver
//! ask again when they lose a reply, and the first request may be the one that comes last. Nobody
//! asks a keeper twice; its rules hold all the same, whatever a relay may do one day.

use host::protocol::{ChangeOutcome, Operation, PlayerChange};

use super::happening::{Happening, Pid, Request, Slot, What};
use super::world::World;

impl World {
    /// A request that was just sent arrives a second time, perhaps.
    pub(super) fn perhaps_repeat(
        &mut self,
        from: Slot,
        to: (Slot, Pid),
        ask: u64,
        request: &Request,
    ) {
        if !may_come_twice(request) || !self.repeats() {
            return;
        }
        // A call that was done twice may have been done, whatever the second time says: only one
        // who knows that asks again.
        if matches!(request, Request::Forward { .. }) {
            self.lose_reply(from, ask);
        }
        let wait = self.some_time(0, 4000);
        let request = request.clone();
        self.after(wait, Happening::Repeat { from, to, request });
    }

    /// The second time of a request. A process that was started since does not get it, for a
    /// connection leads to one start of a node.
    pub(super) fn repeat(&mut self, from: Slot, (slot, pid): (Slot, Pid), request: Request) {
        if self.pid(slot) != Some(pid) || !self.reach(from, slot) {
            return;
        }
        match &request {
            Request::Keeper(_) => self.coverage.repeats_to_keepers += 1,
            Request::Forward { .. } => self.coverage.repeats_to_owners += 1,
        }
        // No one waits under this number.
        let ask = self.number();
        self.happen_to(slot, pid, What::Asked { ask, request });
    }

    /// Changes that a leader was asked for come to one a second time, perhaps. Those that it did not
    /// make are worth more: an earlier attempt that comes last may still be made.
    pub(super) fn perhaps_repeat_changes(
        &mut self,
        slot: Slot,
        changes: &[PlayerChange],
        outcomes: &[ChangeOutcome],
    ) {
        let made = |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Changed(_));
        let refused = !outcomes.iter().all(made);
        let refused = refused && self.plan.repeats > 0 && self.rng.percent(30);
        if refused && self.healed.is_none() || self.repeats() {
            let wait = self.some_time(0, 4000);
            let changes = changes.to_vec();
            self.after(wait, Happening::RepeatChanges { from: slot, changes });
        }
    }

    pub(super) fn repeat_changes(&mut self, from: Slot, changes: Vec<PlayerChange>) {
        if self.can_commit(from) {
            self.coverage.repeats_to_leaders += 1;
            self.change_again(changes);
        }
    }

    fn repeats(&mut self) -> bool {
        self.healed.is_none() && self.plan.repeats > 0 && self.rng.percent(self.plan.repeats)
    }
}

/// Not so what operators ask: nobody remembers its key, so nobody who lost the reply asks again.
fn may_come_twice(request: &Request) -> bool {
    match request {
        Request::Keeper(_) => true,
        Request::Forward { call, .. } => {
            !matches!(call.operation, Operation::Forget | Operation::Release)
        }
    }
}
