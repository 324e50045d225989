//! What is asked by those who operate a cluster.

use super::{AskSettings, Place, UsageError, call_question};
use crate::cli::args::MoveArgs;
use crate::cli::question::Question;

/// Checks `host move`.
pub(super) fn move_player(args: MoveArgs, place: &Place) -> Result<AskSettings, UsageError> {
    let MoveArgs { player, to, call } = args;
    call_question(Question::move_to(player.parse()?, to.parse()?), call, place)
}
