//! Rest: a player that nobody calls gives up its server, and goes on later where it was.
//!
//! It rests only when nothing is under way and every keeper that the directory names has all that
//! it has executed, the copy on its own node among them. What is left in memory is where it was. To
//! wake, it reads that copy under the generation that it has: nothing changes in the directory, and
//! no other node is asked. Were another owner named meanwhile, a keeper would refuse the first word
//! that this one says, as it would if the player had never rested. If nobody calls it, but something
//! may have become of its other copies, it asks those, mends what is to be mended, and rests again.
//!
//! Anything unexpected ends in what any other opening does: a claim, which fences, and all copies.

use std::time::Instant;

use super::migrating::FirstCalls;
use super::opening::{is_reachable, problem};
use super::{Acking, Action, Life, Machine, Phase, Retry, Story, View};
use crate::limits::STEP_DEADLINE;
use crate::net::AskError;
use crate::protocol::{Generation, KeeperCopy, KeeperReply, PlayerRecord, Seq};

/// Where a player that rests has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rested {
    /// The generation under which this start of this node owns it.
    pub generation: Generation,
    /// The position that each of its keepers has acknowledged.
    pub seq: Seq,
    /// How its first calls on code that has not proved itself ended, if it runs such code.
    pub first_calls: Option<FirstCalls>,
}

/// A player that was at rest, whose own copy is being read.
#[derive(Debug)]
pub(super) struct Waking {
    copy: KeeperCopy,
    rested: Rested,
    pub(super) until: Instant,
}

impl Machine {
    /// Rests if nobody has called for a while.
    pub(super) fn rest_when_idle(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let due = self.used.is_some_and(|at| view.now >= at + self.idle_after);
        if due && self.life == Life::Live && matches!(self.phase, Phase::Active) {
            // What does not let it rest now may be over when it is looked at again.
            self.used = Some(view.now);
            self.rest(view, out);
        }
    }

    /// Rests now if it may. If only its copies keep it from that, it gives up the instance.
    pub(super) fn rest(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        if !self.is_quiet(view) {
            return;
        }
        if self.is_whole(view) {
            let (generation, seq) = (self.generation(), self.seq());
            let rested = Rested { generation, seq, first_calls: self.migrating.first_calls };
            (self.phase, self.life) = (Phase::Closed, Life::None);
            out.push(Action::Rest(rested));
        } else if matches!(self.phase, Phase::Active) && self.life == Life::Live {
            self.life = Life::Unasked;
            out.push(Action::GiveUp);
        }
    }

    /// Whether nobody waits for anything.
    fn is_quiet(&self, view: View<'_>) -> bool {
        let calls = !self.queue.is_empty()
            || !self.unanswered.is_empty()
            || self.executing.is_some()
            || self.crashed.is_some()
            || self.tally.is_some()
            || self.restore_at.is_some()
            || self.deciding.is_some()
            || self.migrating.is_reporting();
        !calls && self.life != Life::Coming && !self.stopping && !self.is_leaving(view)
    }

    /// Whether its own copy and every other one have all of it, as far as there is anything to do
    /// about that. A change that may still be made would find nobody who fences it.
    fn is_whole(&self, view: View<'_>) -> bool {
        let me = self.me.node;
        let acknowledged = self.keepers.iter().all(|keeper| keeper.acknowledged >= self.sent);
        let settled = !self.unsure && self.trial.is_none();
        let mut copies = self.keepers.iter().map(|keeper| keeper.copy);
        let copies = match self.phase {
            // Whoever lacks a copy that no node has taken yet goes on trying.
            Phase::Active => {
                self.is_named()
                    && self.next_trial.is_none()
                    && copies.all(|copy| is_reachable(&copy, me, view))
            }
            // There is nobody to try. When there is, it is woken up.
            Phase::Alone => self.record.as_ref().is_some_and(|record| record.owner == self.me),
            _ => false,
        };
        self.has_own_copy() && acknowledged && settled && copies
    }

    /// Reads the own copy of a player that rested, if the directory still says what it said then.
    /// Returns whether it does.
    pub(super) fn wake(&mut self, view: View<'_>, out: &mut Vec<Action>) -> bool {
        let Some((rested, record)) = self.rested.take().zip(self.record.as_ref()) else {
            return false;
        };
        let Some(copy) = own_copy(record)
            .filter(|_| record.owner == self.me && record.generation == rested.generation)
        else {
            return false;
        };
        self.migrating.first_calls = rested.first_calls;
        let until = view.now + STEP_DEADLINE;
        "its own node has not sent its copy".clone_into(&mut self.trouble);
        self.phase = Phase::Waking(Waking { copy, rested, until });
        out.push(self.fetch_of(copy, None));
        true
    }

    pub(super) fn handle_waking_reply(
        &mut self,
        copy: KeeperCopy,
        reply: Result<KeeperReply, AskError>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Phase::Waking(waking) = &self.phase else { return };
        if waking.copy != copy {
            return;
        }
        let rested = waking.rested;
        match reply {
            Ok(KeeperReply::Fetched(state)) if state.seq == rested.seq => {
                let keepers = self.record.iter().flat_map(|record| &record.keepers);
                // What went down while it rested is replaced as if it had not.
                let reached = keepers.filter(|copy| is_reachable(copy, self.me.node, view));
                let acking = |copy: &KeeperCopy| Acking { copy: *copy, acknowledged: self.sent };
                self.keepers = reached.map(acking).collect();
                self.state = Some(*state);
                if self.queue.is_empty() {
                    self.ask_others(out);
                }
                self.settle(view, out);
            }
            Ok(KeeperReply::Fetched(state)) => {
                let reason = format!("its copy is at seq {}, not {}", state.seq, rested.seq);
                self.wake_anew(reason, view, out);
            }
            // Many wake up at once. It says nothing about the copy.
            Err(AskError::Full) => {
                self.rested = Some(rested);
                self.pause(Retry::Claim, "its own node's keeper has too much to do", view.now);
            }
            other => self.wake_anew(problem(other), view, out),
        }
    }

    /// Nobody calls, so no call will find out what became of the other copies while it rested. It
    /// does not rest again before each of them has said that it has all of it.
    fn ask_others(&mut self, out: &mut Vec<Action>) {
        self.sent += 1;
        let (me, number) = (self.me.node, self.sent);
        for keeper in &mut self.keepers {
            if keeper.copy.node == me {
                keeper.acknowledged = number;
            }
        }
        for copy in self.copies().into_iter().filter(|copy| copy.node != me) {
            out.push(Action::Ask { copy, number, request: self.confirmation(copy) });
        }
    }

    /// The own copy does not say what it should: all copies are asked, after a claim.
    pub(super) fn wake_anew(&mut self, reason: String, view: View<'_>, out: &mut Vec<Action>) {
        let keeper = view.name(self.me.node);
        out.push(Action::Tell(Story::KeeperLost { keeper, reason }));
        self.open(view, out);
    }
}

/// Returns the copy on the owner's own node.
fn own_copy(record: &PlayerRecord) -> Option<KeeperCopy> {
    record.keepers.iter().find(|keeper| keeper.node == record.owner.node).copied()
}
