//! One question, asked and rendered: the same for a one-shot command and for a prompt.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use super::args::DeployArgs;
use super::client::{Ask, Client, Reach};
use super::config::to_deploy;
use super::observe::observe;
use super::question::Question;
use super::render::{self, Format, Rendered};
use crate::limits::BUNDLE_BYTES_MAX;
use crate::protocol::{
    Answer, CallKey, DeployRequest, Description, Export, ExportError, ExportFile, Operation,
    Subject,
};

/// An answer, and the names in it that a prompt can complete from now on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// What is printed.
    pub(super) rendered: Rendered,
    /// Players and nodes that were named.
    pub(super) names: Vec<String>,
    /// Functions that were named.
    pub(super) functions: Vec<String>,
    /// What is written to standard output in place of the answer, which says what it is.
    pub(super) file: Option<Vec<u8>>,
}

impl From<Rendered> for Told {
    fn from(rendered: Rendered) -> Self {
        Self { rendered, names: Vec::new(), functions: Vec::new(), file: None }
    }
}

/// Asks and renders the answer or why there is none. A call without a key gets a new one.
pub(super) async fn ask<A: Ask>(
    client: &mut Client<A>,
    reach: &Reach,
    question: Question,
    key: Option<CallKey>,
    format: Format,
) -> Told {
    match question {
        Question::Call { player, operation } => {
            let (key, end) = client.call(reach, &player, &operation, key).await;
            let rendered = render::call(format, &player, &operation, key, &end);
            let mut names = vec![player.to_string()];
            if let Ok(Answer::HandedOver(handover)) = &end {
                let nodes = handover.keepers.iter().chain([&handover.from, &handover.to]);
                names.extend(nodes.map(ToString::to_string));
            }
            Told { names, ..rendered.into() }
        }
        Question::Players { all } => match client.players(reach, all).await {
            Ok(list) => {
                let names = list.players.iter().map(|listing| listing.player.to_string()).collect();
                Told { names, ..render::players(format, &list).into() }
            }
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Describe(subject) => match client.describe(reach, &subject).await {
            Ok(description) => {
                let functions = names_of(&description);
                Told { functions, ..render::described(format, &description).into() }
            }
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Nodes => match client.nodes(reach).await {
            Ok(list) => {
                let names = list.nodes.iter().map(|node| node.name.to_string()).collect();
                Told { names, ..render::nodes(format, &list).into() }
            }
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Quarantined => match client.quarantined(reach).await {
            Ok(list) => {
                let names = list.iter().map(|listing| listing.player.to_string()).collect();
                Told { names, ..render::quarantined(format, &list).into() }
            }
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Bundle { player, exhibit } => {
            match client.bundle(reach, &player, exhibit).await {
                Ok(bundle) => {
                    let file = bundle.encode();
                    let rendered = render::bundled(format, &bundle, file.len());
                    let names = vec![player.to_string()];
                    Told { names, file: Some(file), ..rendered.into() }
                }
                Err(failed) => render::unanswered(format, &failed).into(),
            }
        }
        Question::Drain => match client.drain(reach).await {
            Ok(report) => render::drained(format, &report).into(),
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Deploy { request, waits } => deploy(client, reach, &request, waits, format).await,
        Question::RollBack { number, waits } => {
            roll_back(client, reach, number, waits, format).await
        }
        Question::Deployments => match client.deployments(reach).await {
            Ok(list) => render::deployments(format, &list).into(),
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::CrashNode(node) => match Box::pin(client.crash(reach, &node)).await {
            Ok(crashed) => {
                Told { names: vec![node.to_string()], ..render::crashed(format, &crashed).into() }
            }
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Watch(player) => Box::pin(observe(client, reach, &player, format)).await.into(),
        Question::Export { player, to } => match client.export(reach, &player).await {
            Ok(export) => exported(format, &export, to.as_deref()),
            Err(failed) => render::unanswered(format, &failed).into(),
        },
        Question::Import { player, from } => match read_export(from.as_deref()) {
            Ok(file) => {
                let operation = Operation::Import(file);
                let (key, end) = Box::pin(client.call(reach, &player, &operation, key)).await;
                let rendered = render::call(format, &player, &operation, key, &end);
                Told { names: vec![player.to_string()], ..rendered.into() }
            }
            Err(error) => render::usage(format, &render::sentence(&error)).into(),
        },
        Question::Set(change) => match client.set(reach, change).await {
            Ok(report) => render::settings(format, &report).into(),
            Err(failed) => render::unanswered(format, &failed).into(),
        },
    }
}

/// Why there is nothing that could be imported. Nobody was asked.
#[derive(Debug, Error)]
enum ReadError {
    #[error(
        "name a file behind the player, or send one to standard input: `host import PLAYER < FILE`"
    )]
    Terminal,
    #[error("cannot read {what}")]
    Read { what: String, source: io::Error },
    #[error("cannot use {what}")]
    Export { what: String, source: ExportError },
}

/// Reads a file that `host export` wrote.
fn read_export(from: Option<&Path>) -> Result<ExportFile, ReadError> {
    let what = from.map_or("standard input".to_owned(), |path| path.display().to_string());
    let read = |source: Box<dyn Read>| {
        let mut bytes = Vec::new();
        // Whatever it is and however it grows meanwhile: what is longer is refused for its length.
        source.take(BUNDLE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = match from {
        Some(path) => File::open(path).and_then(|file| read(Box::new(file))),
        None if io::stdin().is_terminal() => return Err(ReadError::Terminal),
        None => read(Box::new(io::stdin().lock())),
    };
    let bytes = bytes.map_err(|source| ReadError::Read { what: what.clone(), source })?;
    match Export::decode(&bytes) {
        Ok(_) => Ok(ExportFile(bytes)),
        Err(source) => Err(ReadError::Export { what, source }),
    }
}

/// Gives out a player's state, or writes it to a new file.
fn exported(format: Format, export: &Export, to: Option<&Path>) -> Told {
    let file = export.encode();
    let rendered = render::exported(format, export, file.len());
    let names = vec![export.player.to_string()];
    let Some(path) = to else {
        return Told { names, file: Some(file), ..rendered.into() };
    };
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    match written.and_then(|mut to| to.write_all(&file).and_then(|()| to.sync_all())) {
        Ok(()) => Told { names, ..rendered.into() },
        Err(error) => {
            let message = format!("cannot write {}: {error}", path.display());
            render::not_done(format, &message).into()
        }
    }
}

/// Longest wait for a deployment: large components take long to compile. As with `host deploy`.
pub(super) const DEPLOY_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// Deploys what was typed at a prompt; a folder is built first.
pub(super) async fn deploy_typed<A: Ask>(
    client: &mut Client<A>,
    reach: Reach,
    args: DeployArgs,
    format: Format,
) -> Told {
    let (mut question, workshop) = match to_deploy(args) {
        Ok(wanted) => wanted,
        Err(error) => return render::usage(format, &render::sentence(&error)).into(),
    };
    if let Some(workshop) = workshop {
        match workshop.build().await {
            Ok(built) => question.fill_in(built.name(), built.code),
            Err(error) => return render::not_done(format, &render::sentence(&error)).into(),
        }
    }
    let reach = Reach { deadline: DEPLOY_DEADLINE, ..reach };
    Box::pin(ask(client, &reach, question, None, format)).await
}

async fn deploy<A: Ask>(
    client: &mut Client<A>,
    reach: &Reach,
    request: &DeployRequest,
    waits: bool,
    format: Format,
) -> Told {
    let report = match Box::pin(client.deploy(reach, request)).await {
        Ok(Ok(report)) => report,
        Ok(Err(refusal)) => return render::not_deployed(format, &refusal).into(),
        Err(failed) => return render::unanswered(format, &failed).into(),
    };
    let progress = match report.number.filter(|_| waits) {
        // That it is deployed is certain; how far it is can be looked up.
        Some(number) => Box::pin(client.watch(reach, number)).await.unwrap_or_default(),
        None => None,
    };
    render::deployed(format, &request.name, &report, progress.as_ref()).into()
}

async fn roll_back<A: Ask>(
    client: &mut Client<A>,
    reach: &Reach,
    number: Option<u64>,
    waits: bool,
    format: Format,
) -> Told {
    let number = match Box::pin(client.roll_back(reach, number)).await {
        Ok(Ok(number)) => number,
        Ok(Err(refusal)) => return render::not_deployed(format, &refusal).into(),
        Err(failed) => return render::unanswered(format, &failed).into(),
    };
    let progress = match waits {
        true => Box::pin(client.watch(reach, number)).await.unwrap_or_default(),
        false => None,
    };
    render::rolled_back(format, number, progress.as_ref()).into()
}

/// Returns the functions that new players have, for a prompt to complete; none if nobody says it.
pub(super) async fn known_functions<A: Ask>(client: &mut Client<A>, reach: &Reach) -> Vec<String> {
    client.describe(reach, &Subject::New).await.map_or_else(|_| Vec::new(), |all| names_of(&all))
}

/// The functions that can be called, with their bare names, too: a person types those.
fn names_of(description: &Description) -> Vec<String> {
    let callable = description.functions.iter().filter(|function| function.refused.is_none());
    let names = callable.map(|function| function.name.as_str());
    let with_bare = names.flat_map(|name| match name.rsplit_once('#') {
        Some((_, bare)) => vec![name.to_owned(), bare.to_owned()],
        None => vec![name.to_owned()],
    });
    with_bare.collect()
}
