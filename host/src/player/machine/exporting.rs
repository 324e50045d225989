//! Giving a player's state away, and beginning a player with such a state.
//!
//! What is given away leaves like any answer: when every keeper has all that was executed before. A
//! player begins with another one's state as any new one begins with its code's: it is seeded on its
//! keeper and then named (design rule 5), so there is no player before all of it is on two nodes. The
//! key of the call is in the state that is seeded; the same call, whoever owns the player by then, is
//! told that it was done.

use super::{Action, Machine, Phase, Retry, View, Waiting};
use crate::protocol::{Answer, Call, CallError, Export, Operation, PlayerState, sentence};

impl Machine {
    /// Answers with the state once its keepers have confirmed that it is the one.
    pub(super) fn answer_export(
        &mut self,
        waiting: Waiting,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(state) = &self.state else { return };
        let export = Export {
            player: self.player.clone(),
            node: view.name(self.me.node),
            code: state.code,
            seq: state.seq,
            snapshot: state.snapshot.clone(),
        };
        self.confirm(waiting, |_| Answer::Exported(Box::new(export)), view, out);
    }

    /// Takes the state of a player that does not exist yet from the file that a caller sent, if that
    /// is what the call is. Says why the file is of no use.
    pub(super) fn take_state_from(&mut self, call: &Call) -> Result<(), CallError> {
        let Operation::Import(file) = &call.operation else { return Ok(()) };
        if !matches!(self.phase, Phase::New) || self.exists() {
            return Ok(());
        }
        let export = Export::decode(&file.0)
            .map_err(|error| CallError::NotImported { reason: sentence(&error) })?;
        self.state = Some(export.begin(call.key, &call.operation));
        Ok(())
    }

    /// Answers one who wants the player to begin with a state: it has begun, with this one or another.
    pub(super) fn answer_import(
        &mut self,
        waiting: Waiting,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.answer_known(waiting, view, out) else { return };
        let (player, seq) = (self.player.clone(), self.seq());
        let error = CallError::PlayerExists { player, seq, node: view.name(self.me.node) };
        out.push(Action::Answer { ticket: waiting.ticket, result: Err(error) });
    }

    /// Whether the directory knows the player.
    pub(super) fn exists(&self) -> bool {
        self.record.as_ref().is_some_and(|record| !record.is_forgotten())
    }

    /// Whether a call is the one whose state the player begins with.
    fn begins_with(&self, call: &Call) -> bool {
        let remembers =
            |state: &PlayerState| state.window.calls().any(|(_, key, _)| key == call.key);
        matches!(call.operation, Operation::Import(_)) && self.state.as_ref().is_some_and(remembers)
    }

    /// Whether the directory has named the player, or was asked to and may still do so.
    fn may_be_named(&self) -> bool {
        let asked = match &self.phase {
            Phase::Naming(_) => true,
            Phase::Pausing { then, .. } => matches!(then, Retry::Name(_)),
            _ => false,
        };
        asked || self.unsure || self.exists()
    }

    /// Answers one whose call was never executed. One whose state the player may begin with cannot be
    /// told that nothing was done.
    pub(super) fn refuse(&self, waiting: &Waiting, error: CallError) -> Action {
        if self.begins_with(&waiting.call) && self.may_be_named() {
            let reason =
                format!("{} may have begun with what was imported; then {error}", self.player);
            let result = Err(CallError::Unknown { reason, key: waiting.call.key });
            return Action::Answer { ticket: waiting.ticket, result };
        }
        waiting.refused(error, self.may_be_recovered)
    }

    /// Whether the player must not begin any more with the state that this call has brought, for whoever
    /// sent it is told that nothing was done.
    pub(super) fn gives_up_beginning(&self, call: &Call) -> bool {
        self.begins_with(call) && !self.may_be_named()
    }
}
