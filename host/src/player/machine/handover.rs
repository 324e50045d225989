//! Handing over: a node that is going to leave gives its players away while it still serves, and a
//! person may want one player on another node.
//!
//! The owner stops executing, waits until everything that it has executed is acknowledged, and has
//! the directory name another owner with the same copies, its own one among them. The new owner
//! claims the player at the next call and reads it from the copies, as after a failover; but nobody
//! had to notice a death, and every caller who waits is sent on at once. The old owner's node stays
//! until the new one has a copy of its own, so that there are two at any time.
//!
//! ```text
//!   Move ─► its key is on every keeper, one seq later ─► a copy besides the one on the new owner's node?
//!                                                           │ yes                  │ no: Seeding ─► Naming
//!                                                           ▼                      │
//!                                          Naming the new owner ◄──────────────────┘
//!                                                           │ whoever asked is sent on, as all who wait
//!                                                           ▼
//!                                          the new owner knows the key, and answers
//! ```
//!
//! The key of a move is kept like that of a call (design rule 7), so one that comes again, through
//! whatever node, moves nothing again and nothing back: the player's owner only says where it is.

use super::naming::Naming;
use super::{Action, Life, Machine, NO_MAJORITY, Phase, Story, Ticket, Unanswered, View, Waiting};
use crate::membership::{keepers_for, successor_for};
use crate::protocol::{
    Answer, Call, CallError, Effect, Handover, NodeId, NodeName, NodeStatus, Operation,
    PlayerChange, Record, Seq, Value, Writer, names_in_words,
};
use crate::snapshot::Delta;

/// A player that somebody wants on another node. Nothing is executed until it is there, or stays.
#[derive(Debug)]
pub(super) struct Moving {
    to: Writer,
    /// Who wants it, once every keeper has the key.
    caller: Option<(Ticket, Call)>,
}

impl Machine {
    /// Whether the player should go to another node, and there is one.
    pub(super) fn is_leaving(&self, view: View<'_>) -> bool {
        self.moving.is_some() || self.is_drained(view)
    }

    fn is_drained(&self, view: View<'_>) -> bool {
        view.is_draining(self.me.node) && self.successor(view).is_some()
    }

    /// Gives the player away once nothing is under way.
    pub(super) fn hand_over(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let executed = self.executing.is_none() && self.crashed.is_none();
        let quiet = executed && self.unanswered.is_empty() && self.life != Life::Coming;
        if !matches!(self.phase, Phase::Active) || !quiet {
            return;
        }
        if let Some(to) = self.moving.as_ref().map(|moving| moving.to) {
            self.prepare_move(to, view, out);
            if !matches!(self.phase, Phase::Active) {
                return;
            }
        }
        let wanted = self.moving.as_ref().map(|moving| moving.to);
        let owner = wanted.or_else(|| self.successor(view).filter(|_| self.is_drained(view)));
        let (Some(record), Some(owner)) = (self.record.clone(), owner) else { return };
        let change = PlayerChange {
            player: self.player.clone(),
            expect: record.generation,
            by: self.me,
            owner,
            keepers: record.keepers,
            code: record.code,
            failed: record.failed,
        };
        self.name(Naming { change, seeded: Vec::new(), counts: false }, out);
        "the player is being handed over".clone_into(&mut self.trouble);
    }

    fn successor(&self, view: View<'_>) -> Option<Writer> {
        let keepers: Vec<NodeId> = self.keepers.iter().map(|keeper| keeper.copy.node).collect();
        successor_for(&self.player, Some(self.me.node), &keepers, view.nodes)
    }

    /// Sees to what the player needs before it can go: a copy on a node that is not its new owner's.
    /// Gives the move up if it cannot be made any more.
    fn prepare_move(&mut self, to: Writer, view: View<'_>, out: &mut Vec<Action>) {
        if let Err(reason) = fit(to, view) {
            return self.give_up_move(&reason, view, out);
        }
        // Nobody waits for a majority that may not come.
        if !view.has_leader {
            return self.give_up_move(NO_MAJORITY, view, out);
        }
        if self.keepers.iter().any(|keeper| keeper.copy.node != to.node) {
            return;
        }
        let taken = [to.node];
        let count = view.nodes.len();
        let others = keepers_for(&self.player, self.me.node, &taken, &[], view.nodes, count);
        let takes = |node: &NodeId| self.retry_at(*node, view).is_none();
        match others.into_iter().find(takes) {
            Some(other) => self.seed(&[other], view, out),
            None => {
                let to = view.name(to.node);
                let reason = format!("{to} has its only copy, and no other node takes one");
                self.give_up_move(&reason, view, out);
            }
        }
    }

    fn give_up_move(&mut self, reason: &str, view: View<'_>, out: &mut Vec<Action>) {
        if let Some((ticket, _)) = self.take_mover() {
            let result = Err(self.not_moved(reason.to_owned(), view));
            out.push(Action::Answer { ticket, result });
        }
        // One more keeper may have been found for it than the player should have.
        self.check_keepers(view, out);
    }

    /// Does what somebody wants who waits for the player to be on another node. What was executed
    /// before is acknowledged.
    pub(super) fn begin_move(&mut self, waiting: Waiting, view: View<'_>, out: &mut Vec<Action>) {
        let Some(waiting) = self.answer_known(waiting, view, out) else { return };
        let Operation::Move(to) = &waiting.call.operation else { return };
        let from = view.name(self.me.node);
        match destination(to, view) {
            Err(reason) => {
                let error = self.not_moved(reason, view);
                out.push(waiting.refused(error, self.may_be_recovered));
            }
            Ok(to) if to == self.me => {
                let here = self.arrived(from, self.seq(), view);
                self.confirm(waiting, |_| here, view, out);
            }
            Ok(_) if !view.has_leader => {
                let error = self.not_moved(NO_MAJORITY.to_owned(), view);
                out.push(waiting.refused(error, self.may_be_recovered));
            }
            Ok(to) => self.record_move(waiting, to, from, view, out),
        }
    }

    /// Has every keeper remember the key before anything is done with it.
    fn record_move(
        &mut self,
        waiting: Waiting,
        to: Writer,
        from: NodeName,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(state) = &mut self.state else { return };
        let Call { key, operation, .. } = &waiting.call;
        let effect = Effect::new(*key, operation, Value::Wave(from.to_string()));
        let record = Record { seq: state.seq.next(), effect, delta: Delta::default() };
        state.apply(&record).expect("a record that changes nothing follows any state");
        let story = Story::Moving { to: view.name(to.node), key: *key };
        out.push(Action::Tell(story));
        self.moving = Some(Moving { to, caller: None });
        self.expect(waiting, None, view);
        self.append(&record, out);
    }

    /// Every keeper has the key of a move.
    pub(super) fn handle_move_recorded(&mut self, recorded: Unanswered, out: &mut Vec<Action>) {
        let Unanswered { ticket, call, .. } = recorded;
        match &mut self.moving {
            Some(moving) => moving.caller = Some((ticket, call)),
            None => out.push(unknown(ticket, &call)),
        }
    }

    /// The server ends, or the move with it. Returns who waits for that.
    pub(super) fn take_mover(&mut self) -> Option<(Ticket, Call)> {
        self.moving.take().and_then(|moving| moving.caller)
    }

    /// This node stops: whether the directory makes the change is for others to say.
    pub(super) fn stop_moving(&mut self, out: &mut Vec<Action>) {
        out.extend(self.take_mover().map(|(ticket, call)| unknown(ticket, &call)));
    }

    /// Says what is known of a move whose key the player remembers.
    pub(super) fn known_move(
        &self,
        to: &NodeName,
        seq: Seq,
        value: &Value,
        view: View<'_>,
    ) -> Result<Answer, CallError> {
        let owner = view.name(self.me.node);
        if owner == *to {
            let from = value.to_string().parse().unwrap_or_else(|_| owner.clone());
            return Ok(self.arrived(from, seq, view));
        }
        Err(CallError::NotThere { player: self.player.clone(), to: to.clone(), owner, seq })
    }

    fn arrived(&self, from: NodeName, seq: Seq, view: View<'_>) -> Answer {
        let (to, generation) = (view.name(self.me.node), self.generation());
        let keepers = self.remote_names(&self.copies(), view);
        Answer::HandedOver(Box::new(Handover { from, to, seq, generation, keepers }))
    }

    fn not_moved(&self, reason: String, view: View<'_>) -> CallError {
        let (player, owner) = (self.player.clone(), view.name(self.me.node));
        CallError::NotMoved { player, owner, reason }
    }

    /// Whether a call asks something of a player that exists, and there is none: nothing is created
    /// for that.
    pub(super) fn is_of_nobody(&self, call: &Call) -> bool {
        let asks =
            matches!(call.operation, Operation::Move(_) | Operation::Crash | Operation::Export);
        asks && matches!(self.phase, Phase::New) && !self.exists()
    }

    /// Says that there is no such player.
    pub(super) fn no_player(&self, waiting: &Waiting) -> Action {
        let error = CallError::NoPlayer { player: self.player.clone() };
        waiting.refused(error, self.may_be_recovered)
    }
}

/// Returns the node of this name, or why no player can go there.
fn destination(to: &NodeName, view: View<'_>) -> Result<Writer, String> {
    let Some(node) = view.nodes.iter().find(|node| node.name == *to) else {
        return Err(format!("there is no node {to}; there are {}", names_in_words(view.nodes)));
    };
    let writer = Writer { node: node.id, incarnation: node.incarnation };
    fit(writer, view).map(|()| writer)
}

/// Says why no player can go to a node, if none can.
fn fit(to: Writer, view: View<'_>) -> Result<(), String> {
    let name = view.name(to.node);
    match view.status(to.node).filter(|_| view.writer(to.node) == Some(to)) {
        Some(NodeStatus::Up) => Ok(()),
        Some(NodeStatus::Draining) => Err(format!("{name} is going to leave")),
        Some(NodeStatus::Down) | None => Err(format!("{name} is down")),
    }
}

fn unknown(ticket: Ticket, call: &Call) -> Action {
    let reason = "the node stopped before the directory said whether the player was handed over";
    let result = Err(CallError::Unknown { reason: reason.to_owned(), key: call.key });
    Action::Answer { ticket, result }
}
