//! A player's step to other code, carried out.

use super::codes::Codes;
use super::machine::{StepFailure, Way};
use crate::guest::{Instance, MigrateError};
use crate::protocol::{PlayerState, Step, sentence};
use crate::snapshot::Snapshot;

/// Makes an instance of the step's code that holds what `state` does, and returns its memory, too.
pub(super) fn cross(
    codes: &Codes,
    state: &PlayerState,
    step: Step,
) -> Result<(Instance, Snapshot), StepFailure> {
    let missing = |code| StepFailure::Here(format!("the code {code} is not here any more"));
    let new = codes.loaded(step.code).ok_or_else(|| missing(step.code))?;
    let snapshot = match Way::of(state, step) {
        Way::Back(before) => before.snapshot.clone(),
        Way::Anew => new.initial(),
        Way::SaveAndLoad => {
            let old = codes.loaded(state.code).ok_or_else(|| missing(state.code))?;
            return old
                .save(&state.snapshot)
                .and_then(|saved| new.take_over(&saved))
                .map_err(failure);
        }
    };
    match new.instantiate(&snapshot) {
        Ok(instance) => Ok((instance, snapshot)),
        Err(error) if error.is_of_snapshot() => Err(StepFailure::Code(sentence(&error))),
        Err(error) => Err(StepFailure::Here(sentence(&error))),
    }
}

fn failure(error: MigrateError) -> StepFailure {
    let words = sentence(&error);
    if error.is_of_machine() { StepFailure::Here(words) } else { StepFailure::Code(words) }
}
