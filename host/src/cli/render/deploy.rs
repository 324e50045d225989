//! What was deployed, what came of it, and what there is.

use std::path::Path;

use serde::Serialize;

use super::json::{line, problem};
use super::table::{Align, Table};
use super::{Exit, Format, Rendered, harmless, names};
use crate::cli::client::Progress;
use crate::http::{DeployedJson, DeploymentsJson};
use crate::protocol::{
    CodeClass, CodeHash, Crossing, DeployRefusal, DeployReport, DeploymentListing,
    DeploymentStatus, Fate,
};

/// Renders what was deployed, or what would be, and how far the players are.
pub(in crate::cli) fn deployed(
    format: Format,
    name: &str,
    report: &DeployReport,
    progress: Option<&Progress>,
) -> Rendered {
    let withdrawn = progress.and_then(Progress::withdrawn);
    let stranded = report.classes.iter().any(|it| matches!(it.fate, Fate::Stranded { .. }));
    let exit = if withdrawn.is_some() || stranded { Exit::NotApplied } else { Exit::Done };
    let text = match format {
        Format::Json => deployed_json(name, report, progress),
        Format::Text => deployed_text(name, report, progress),
    };
    Rendered { text, exit }
}

fn deployed_text(name: &str, report: &DeployReport, progress: Option<&Progress>) -> String {
    let DeployReport { number, code, classes, silent } = report;
    let name = harmless(name);
    let mut lines = match number {
        Some(number) => vec![format!("deployed {name}, code {code}, as deployment {number}")],
        None if classes.iter().any(|it| matches!(it.fate, Fate::Stranded { .. })) => vec![format!(
            "{name}, code {code}, can be deployed only with --pin or --reset; nothing was changed"
        )],
        None => vec![format!("{name}, code {code}, can be deployed; nothing was changed")],
    };
    for CodeClass { code, name, fate, players } in classes {
        let name = name.as_ref().map(|name| format!(" ({})", harmless(name))).unwrap_or_default();
        let (players, fate) = (counted(*players), harmless(&fate.to_string()));
        lines.push(format!("  {players} on {code}{name}: {fate}"));
    }
    if !silent.is_empty() {
        lines.push(format!("  not heard of it yet: {}; they catch up", names(silent)));
    }
    match (number, progress) {
        (Some(_), Some(progress)) => lines.push(progress_text(progress)),
        (Some(_), None) => lines.push("`host code list` says how far the players are".to_owned()),
        (None, _) => {}
    }
    lines.join("\n")
}

fn progress_text(progress: &Progress) -> String {
    let Progress { listing, due } = progress;
    let DeploymentListing { players, failed, failures, .. } = listing;
    let mut text = match progress.withdrawn() {
        Some(reason) => format!("taken back: {}", harmless(reason)),
        None if *players == 1 => "1 player runs it".to_owned(),
        None => format!("{players} players run it"),
    };
    if *due > 0 {
        text.push_str(&format!(", {due} are still on their way; `host code list` says how far"));
    }
    if *failed > 0 && progress.withdrawn().is_none() {
        text.push_str(&format!(", {failed} failed on it and run what they ran:"));
        for (player, reason) in failures {
            text.push_str(&format!("\n  {player}: {}", harmless(reason)));
        }
    }
    text
}

/// Returns what became of code that was deployed because its source was saved, in a line or two.
pub(in crate::cli) fn deployed_by_watch(
    name: &str,
    report: &DeployReport,
    progress: Option<&Progress>,
) -> String {
    let number = report.number.unwrap_or_default();
    let progress =
        progress.map_or("`host code list` says how far the players are".to_owned(), progress_text);
    format!("deployed {} as deployment {number}: {progress}", harmless(name))
}

/// Returns why code was not deployed that was built because its source was saved, and what can be done.
/// `options` reach the cluster.
pub(in crate::cli) fn not_deployed_by_watch(
    refusal: &DeployRefusal,
    folder: &Path,
    options: &str,
) -> String {
    let text = not_deployed(Format::Text, refusal).text;
    match refusal {
        DeployRefusal::Stranded(_) => {
            let folder = harmless(&folder.display().to_string());
            format!("{text}\n  at a shell: host deploy {folder} --pin {options}")
        }
        _ => text,
    }
}

fn deployed_json<'a>(
    name: &'a str,
    report: &'a DeployReport,
    progress: Option<&'a Progress>,
) -> String {
    #[derive(Serialize)]
    struct Deployed<'a> {
        #[serde(flatten)]
        report: DeployedJson,
        name: &'a str,
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        progress: Option<ProgressJson<'a>>,
    }
    let progress = progress.map(ProgressJson::of);
    line(&Deployed { report: report.into(), name, progress })
}

#[derive(Serialize)]
struct ProgressJson<'a> {
    arrived: u64,
    due: u64,
    failed: u64,
    withdrawn: Option<&'a str>,
}

impl<'a> ProgressJson<'a> {
    fn of(progress: &'a Progress) -> Self {
        let DeploymentListing { players, failed, .. } = &progress.listing;
        let (arrived, failed, withdrawn) = (*players, *failed, progress.withdrawn());
        Self { arrived, due: progress.due, failed, withdrawn }
    }
}

/// Renders why nothing was deployed or taken back.
pub(in crate::cli) fn not_deployed(format: Format, refusal: &DeployRefusal) -> Rendered {
    let message = refusal.to_string();
    let text = match format {
        Format::Text => format!("{}; nothing was changed", harmless(&message)),
        Format::Json => problem(refusal.code(), &message),
    };
    Rendered { text, exit: Exit::NotApplied }
}

/// Renders what was taken back, and how far the players are.
pub(in crate::cli) fn rolled_back(
    format: Format,
    number: u64,
    progress: Option<&Progress>,
) -> Rendered {
    let text = match format {
        Format::Json => {
            #[derive(Serialize)]
            struct RolledBack {
                rolled_back: u64,
                #[serde(skip_serializing_if = "Option::is_none")]
                due: Option<u64>,
                #[serde(skip_serializing_if = "Option::is_none")]
                left: Option<u64>,
            }
            let due = progress.map(|progress| progress.due);
            let left = progress.map(|progress| progress.listing.players);
            line(&RolledBack { rolled_back: number, due, left })
        }
        Format::Text => {
            let mut text = format!("deployment {number} is taken back");
            match progress {
                Some(Progress { due: 0, listing }) if listing.players == 0 => {
                    text.push_str("; all players are on the code before it");
                }
                Some(Progress { due: 0, listing }) => text.push_str(&format!(
                    "; {} still run its code, as another deployment has it or they could not go back",
                    counted(listing.players)
                )),
                Some(Progress { due, .. }) => text
                    .push_str(&format!("; {due} players are still on their way: `host code list`")),
                None => text.push_str("; `host code list` says how far the players are"),
            }
            text
        }
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders the deployments.
pub(in crate::cli) fn deployments(format: Format, list: &[DeploymentListing]) -> Rendered {
    let text = match format {
        Format::Json => line(&DeploymentsJson::from(list)),
        Format::Text => deployments_table(list),
    };
    Rendered { text, exit: Exit::Done }
}

fn deployments_table(list: &[DeploymentListing]) -> String {
    let mut table = Table::new(&[
        ("number", Align::Right),
        ("code", Align::Left),
        ("name", Align::Left),
        ("for", Align::Left),
        ("players", Align::Right),
        ("to come", Align::Right),
        ("failed", Align::Right),
        ("status", Align::Left),
    ]);
    for listing in list {
        table.row([
            listing.number.to_string(),
            digits(listing.code),
            harmless(&listing.name),
            harmless(&listing.audience.to_string()),
            listing.players.to_string(),
            listing.due.to_string(),
            listing.failed.to_string(),
            status_text(listing),
        ]);
    }
    let failures = list.iter().flat_map(|listing| {
        let line = |(player, reason): &(_, String)| {
            format!("\n{player} failed on deployment {}: {}", listing.number, harmless(reason))
        };
        listing.failures.iter().map(line)
    });
    format!("{table}{}", failures.collect::<String>())
}

fn status_text(listing: &DeploymentListing) -> String {
    let crossing = match listing.crossing {
        _ if listing.number == 1 => "",
        Crossing::Migrate => "",
        Crossing::Pin => ", pins",
        Crossing::Reset => ", resets",
    };
    match &listing.status {
        DeploymentStatus::OnProbation => format!("on probation{crossing}"),
        DeploymentStatus::Settled => format!("settled{crossing}"),
        DeploymentStatus::Withdrawn { reason } => {
            format!("taken back: {}", harmless(reason).replace('\n', " "))
        }
    }
}

fn counted(players: u64) -> String {
    if players == 1 { "1 player".to_owned() } else { format!("{players} players") }
}

fn digits(code: CodeHash) -> String {
    code.to_string()
}
