//! What is asked by those who operate a cluster.

use std::ffi::OsString;

use super::{AskSettings, Place, ReachArgs, UsageError, call_question, question, reach_of};
use crate::cli::args::{CrashArgs, ExportArgs, ImportArgs, MoveArgs, TopArgs, WatchArgs};
use crate::cli::question::Question;
use crate::cli::render::Format;
use crate::cli::top::TopSettings;

/// Where commands look for nodes that are not named: as clap has it for the others.
const NODES_VARIABLE: &str = "PLAYER_HOST_NODE";

/// Checks `host move`.
pub(super) fn move_player(args: MoveArgs, place: &Place) -> Result<AskSettings, UsageError> {
    let MoveArgs { player, to, call } = args;
    call_question(Question::move_to(player.parse()?, to.parse()?), call, place)
}

/// Checks `host export`.
pub(super) fn export(args: ExportArgs, place: &Place) -> Result<AskSettings, UsageError> {
    let player = args.player.parse()?;
    question(Question::Export { player, to: None }, None, args.reach, place)
}

/// Checks `host watch`.
pub(super) fn watch(args: WatchArgs, place: &Place) -> Result<AskSettings, UsageError> {
    question(Question::Watch(args.player.parse()?), None, args.reach, place)
}

/// Checks `host top`.
pub(super) fn top(args: TopArgs, format: Format, place: &Place) -> Result<TopSettings, UsageError> {
    let TopArgs { once, reach } = args;
    if format == Format::Json && !once {
        return Err(UsageError::TopJson);
    }
    Ok(TopSettings { reach: reach_of(reach, place)?, secret: place.secret()?, once })
}

/// Checks `host import`. The file is read when it is asked for.
pub(super) fn import(args: ImportArgs, place: &Place) -> Result<AskSettings, UsageError> {
    let ImportArgs { player, file, call } = args;
    call_question(Question::Import { player: player.parse()?, from: file }, call, place)
}

/// Checks `host crash`. `--node` is a node that ends or one that is asked: no name has a colon, and each
/// address has one.
pub(super) fn crash(
    args: CrashArgs,
    place: &Place,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<AskSettings, UsageError> {
    let CrashArgs { player, node, deadline } = args;
    let (mut asked, named): (Vec<_>, Vec<_>) = node.into_iter().partition(|it| it.contains(':'));
    if asked.is_empty()
        && let Some(nodes) = variable(NODES_VARIABLE).and_then(|nodes| nodes.into_string().ok())
    {
        asked.extend(nodes.split(',').filter(|node| !node.is_empty()).map(str::to_owned));
    }
    let crash = match (player, named.as_slice()) {
        (Some(player), []) => Question::crash(player.parse()?),
        (None, [node]) => Question::CrashNode(node.parse()?),
        (Some(_), _) | (None, _) => return Err(UsageError::Crash),
    };
    question(crash, None, ReachArgs { node: asked, deadline }, place)
}
