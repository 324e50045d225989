//! What is to be deployed, checked.

use super::{UsageError, read_guest};
use crate::cli::args::{CodeCommand, DeployArgs, ReachArgs};
use crate::cli::question::Question;
use crate::cli::workshop::Workshop;
use crate::protocol::{Audience, Crossing, DeployRequest};

/// Checks what is to be deployed, and reads it, unless it is to be built first: then what is returned
/// lacks it, and says where.
///
/// # Errors
///
/// `UsageError`.
pub(in crate::cli) fn deploy(args: DeployArgs) -> Result<(Question, Option<Workshop>), UsageError> {
    let audience = Audience::parse(args.canary.as_deref(), args.players.as_deref())?;
    let crossing = Crossing::chosen(args.pin, args.reset);
    let (component, workshop) = if args.component.is_dir() {
        (Vec::new(), Some(Workshop::open(&args.component)?))
    } else {
        (read_guest(&args.component)?, None)
    };
    let name = args.component.file_name().unwrap_or(args.component.as_os_str());
    let request = DeployRequest {
        component,
        name: name.to_string_lossy().into_owned(),
        audience,
        crossing,
        failures_max: args.max_failures,
        traps_max: args.max_traps,
        nonce: rand::random(),
        check: args.check,
    };
    Ok((Question::Deploy { request: Box::new(request), waits: !args.no_wait }, workshop))
}

/// Returns what is asked about the code that players run.
pub(super) fn code(command: CodeCommand) -> (Question, ReachArgs) {
    match command {
        CodeCommand::List { reach } => (Question::Deployments, reach),
        CodeCommand::Rollback { deployment, no_wait, reach } => {
            (Question::RollBack { number: deployment, waits: !no_wait }, reach.into())
        }
    }
}
