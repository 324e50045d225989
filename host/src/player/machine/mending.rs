//! What an operator decides where the rules stop: to take a copy that may miss acknowledged calls,
//! or to end the player.
//!
//! Both wait in the queue like calls, and neither does more than it must. A doubtful copy is asked
//! for only when no trusted one came, and only at the position that the operator named. A player is
//! forgotten by its owner, after its last acknowledgement; only when no copy can be had is it
//! forgotten unread.

use super::naming::Naming;
use super::opening::Fetching;
use super::{Action, Machine, Phase, Story, View, Waiting};
use crate::net::AskError;
use crate::protocol::{
    Answer, Call, CallError, KeeperCopy, KeeperReply, Operation, PlayerChange, Recovery, Refusal,
    Seq,
};

impl Machine {
    /// Returns the doubtful copy that a caller accepts, unless it was asked for already.
    pub(super) fn acceptable(&self, view: View<'_>) -> Option<(KeeperCopy, Seq)> {
        let recovery = self.queue.iter().find_map(|waiting| match &waiting.call.operation {
            Operation::Recover(recovery) => Some(recovery),
            Operation::Reward(_)
            | Operation::Points
            | Operation::Call(_)
            | Operation::Forget
            | Operation::Release
            | Operation::Bundle(_)
            | Operation::Move(_)
            | Operation::Crash
            | Operation::Export
            | Operation::Import(_) => None,
        });
        let Recovery { from, accept } = recovery.filter(|_| self.accepted.is_none())?;
        let node = view.nodes.iter().find(|node| node.name == *from)?;
        let record = self.record.as_ref()?;
        let copy = record.keepers.iter().find(|copy| copy.node == node.id)?;
        Some((*copy, *accept))
    }

    /// Asks for a copy that may miss acknowledged calls.
    pub(super) fn fetch_accepted(
        &mut self,
        copy: KeeperCopy,
        seq: Seq,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        self.accepted = Some(copy);
        // The keeper trusts the copy before it answers, and the answer may be lost.
        self.may_be_recovered = true;
        out.push(Action::Tell(Story::Accepted { from: view.name(copy.node), seq }));
        self.phase = Phase::Fetching(Fetching::one(copy, view.now));
        out.push(self.fetch_of(copy, Some(seq)));
    }

    /// Says to one who wants a recovery that there is nothing to recover.
    pub(super) fn answer_available(&self, waiting: Waiting, view: View<'_>, out: &mut Vec<Action>) {
        let (player, seq) = (self.player.clone(), self.seq());
        let result = Err(CallError::Available { player, seq, node: view.name(self.me.node) });
        out.push(Action::Answer { ticket: waiting.ticket, result });
    }

    /// Whether a call wants a player to be forgotten that does not exist.
    pub(super) fn is_pointless(&self, call: &Call) -> bool {
        call.operation == Operation::Forget && matches!(self.phase, Phase::New) && !self.exists()
    }

    /// Takes the first caller out of the queue who wants the player to be forgotten.
    pub(super) fn take_forgetter(&mut self) -> Option<Waiting> {
        let forgets = |waiting: &Waiting| waiting.call.operation == Operation::Forget;
        let at = self.queue.iter().position(forgets)?;
        self.queue.remove(at)
    }

    /// Ends the player.
    pub(super) fn forget(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        let Some(record) = self.record.clone() else { return };
        self.deciding = Some(waiting);
        let change = PlayerChange {
            player: self.player.clone(),
            expect: record.generation,
            by: self.me,
            owner: self.me,
            keepers: Vec::new(),
            code: record.code,
            failed: None,
        };
        self.name(Naming { change, seeded: Vec::new(), counts: false }, out);
        "the directory has not confirmed that the player is forgotten"
            .clone_into(&mut self.trouble);
    }

    /// The player is no more: those who wait begin a new one.
    pub(super) fn answer_forgotten(
        &mut self,
        seq: Option<Seq>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        if let Some(waiting) = self.deciding.take() {
            let result = Ok(Answer::Forgotten { seq, node: view.name(self.me.node) });
            out.push(Action::Answer { ticket: waiting.ticket, result });
        }
        out.push(Action::Tell(Story::Forgotten));
        self.phase = Phase::New;
        self.close_moved(out);
    }
}

impl Waiting {
    /// Answers one whose call was never executed. One who wants a recovery cannot be told that
    /// nothing was done if the copy may count as good from now on.
    pub(super) fn refused(&self, error: CallError, may_be_recovered: bool) -> Action {
        let Call { player, key, operation } = &self.call;
        let error = match operation {
            Operation::Recover(Recovery { from, accept }) if may_be_recovered => {
                let reason = format!(
                    "{from} may trust its copy of {player} at seq {accept} from now on; then {error}"
                );
                CallError::Unknown { reason, key: *key }
            }
            Operation::Reward(_)
            | Operation::Points
            | Operation::Call(_)
            | Operation::Forget
            | Operation::Release
            | Operation::Bundle(_)
            | Operation::Move(_)
            | Operation::Crash
            | Operation::Export
            | Operation::Import(_)
            | Operation::Recover(_) => error,
        };
        Action::Answer { ticket: self.ticket, result: Err(error) }
    }
}

/// Whether a keeper that was asked for a doubtful copy has certainly not begun to trust it.
pub(super) fn is_untouched(reply: &Result<KeeperReply, AskError>) -> bool {
    match reply {
        Ok(KeeperReply::Refused(refusal)) => match refusal {
            Refusal::Fenced { .. }
            | Refusal::Gap { .. }
            | Refusal::Stale { .. }
            | Refusal::Full { .. } => true,
            // It was written, perhaps.
            Refusal::Disk { .. } => false,
        },
        Ok(KeeperReply::Acknowledged { .. } | KeeperReply::Fetched(_)) => false,
        Err(AskError::Unreachable | AskError::UnknownNode | AskError::Full) => true,
        Err(AskError::Lost) => false,
    }
}
