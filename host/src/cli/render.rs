//! Answers as a person or a program reads them. Pure: what is printed, not where.

mod author;
mod bench;
mod config;
mod deploy;
mod doctor;
mod failures;
mod functions;
mod json;
mod operating;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub(super) use self::author::{built, guest_written};
pub(super) use self::bench::measured;
pub(super) use self::config::config_checked;
pub(super) use self::deploy::{
    deployed, deployed_by_watch, deployments, not_deployed, not_deployed_by_watch, rolled_back,
};
pub(super) use self::doctor::diagnosed;
pub(super) use self::failures::{Replayed, bundled, quarantined, replayed};
pub(super) use self::functions::described;
pub(super) use self::json::line;
pub(super) use self::operating::{crashed, exported, seen};
use self::table::{Align, Table};
use super::client::{Failed, Nodes, Players};
pub(super) use crate::protocol::sentence;
use crate::protocol::{
    self, Answer, CallKey, Crash, DrainReport, NodeName, Operation, Outcome, PlayerId,
    PlayerListing, Recovery, SettingsReport,
};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A person.
    Text,
    /// A program: one JSON object a line.
    Json,
}

/// How a command ended, as the process says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It is done.
    Done = 0,
    /// Nothing was applied.
    NotApplied = 1,
    /// The command means nothing; nobody was asked.
    Usage = 2,
    /// It may have been applied; the same key never applies it twice.
    Unknown = 3,
}

impl Exit {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotApplied => Self::NotApplied,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// What is printed at the end of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The lines, without the last line's end.
    pub(super) text: String,
    /// How it ended.
    pub(super) exit: Exit,
}

/// Renders how a call ended.
pub(super) fn call(
    format: Format,
    player: &PlayerId,
    operation: &Operation,
    key: CallKey,
    end: &Result<Answer, Failed>,
) -> Rendered {
    let exit = match end {
        Ok(
            Answer::Returned { .. }
            | Answer::Forgotten { .. }
            | Answer::Released { .. }
            | Answer::Bundled(_)
            | Answer::HandedOver(_)
            | Answer::Exported(_)
            | Answer::Imported { .. },
        ) => Exit::Done,
        // A drill is done when it has crashed.
        Ok(Answer::Trapped(_)) if *operation == Operation::Crash => Exit::Done,
        Ok(Answer::Trapped(_)) => Exit::NotApplied,
        Err(failed) => Exit::of(failed.outcome),
    };
    let text = match (format, end) {
        (Format::Json, Ok(Answer::Returned { value, seq, node })) => {
            json::returned(value, *seq, node, key)
        }
        (Format::Json, Ok(Answer::Trapped(crash))) if *operation == Operation::Crash => {
            operating::drilled_json(crash, key)
        }
        (Format::Json, Ok(Answer::Trapped(crash))) => json::trapped(crash, key),
        (Format::Json, Ok(Answer::Forgotten { seq, node })) => json::forgotten(*seq, node),
        (Format::Json, Ok(Answer::Released { failed, node })) => json::released(failed, node),
        (Format::Text, Ok(Answer::Released { failed, .. })) => format!(
            "{player} is released from quarantine after {} failed restores; its next call tries to \
             restore it at seq {}",
            failed.times, failed.seq
        ),
        (Format::Json, Ok(Answer::HandedOver(handover))) => {
            operating::handed_over_json(handover, key)
        }
        (Format::Text, Ok(Answer::HandedOver(handover))) => {
            operating::handed_over(player, handover)
        }
        (Format::Json, Ok(Answer::Imported { seq, node, keepers })) => {
            operating::imported_json(operation, *seq, node, keepers, key)
        }
        (Format::Text, Ok(Answer::Imported { seq, node, keepers })) => {
            operating::imported(player, operation, *seq, node, keepers)
        }
        (_, Ok(Answer::Exported(export))) => {
            return exported(format, export, export.encode().len());
        }
        // Asked for as a file, it is never rendered as the answer of a call.
        (_, Ok(Answer::Bundled(bundle))) => return bundled(format, bundle, bundle.encode().len()),
        (Format::Json, Err(failed)) => json::failed(failed, Some(key)),
        (Format::Text, Ok(Answer::Returned { value, seq, node })) => match operation {
            Operation::Recover(Recovery { from, .. }) => format!(
                "{player} has {value} points at seq {seq} again, from {from}, and runs on {node}; \
                 calls that were acknowledged after seq {seq} are given up"
            ),
            Operation::Reward(_)
            | Operation::Points
            | Operation::Forget
            | Operation::Release
            | Operation::Call(_)
            | Operation::Move(_)
            | Operation::Crash
            | Operation::Export
            | Operation::Import(_)
            | Operation::Bundle(_) => harmless(&value.to_string()),
        },
        (Format::Text, Ok(Answer::Forgotten { seq: Some(seq), .. })) => {
            format!("{player} is forgotten; it was at seq {seq}")
        }
        (Format::Text, Ok(Answer::Forgotten { seq: None, .. })) => {
            format!("{player} is forgotten; no copy of it could be read, or there was none")
        }
        (Format::Text, Ok(Answer::Trapped(crash))) => trapped(player, crash),
        (Format::Text, Err(failed)) => match failed.outcome {
            Outcome::NotApplied => format!("{}; nothing was applied", harmless(&failed.message)),
            Outcome::Unknown => harmless(&failed.message),
        },
    };
    Rendered { text, exit }
}

/// Renders a question about players or nodes that nobody answered.
pub(super) fn unanswered(format: Format, failed: &Failed) -> Rendered {
    let text = match format {
        Format::Text => harmless(&failed.message),
        Format::Json => json::failed(failed, None),
    };
    Rendered { text, exit: Exit::of(failed.outcome) }
}

/// Renders a mistake in what was typed.
pub(super) fn usage(format: Format, message: &str) -> Rendered {
    let text = match format {
        Format::Text => message.to_owned(),
        Format::Json => json::problem("usage", message),
    };
    Rendered { text, exit: Exit::Usage }
}

/// Renders why a command that asks nobody was not done.
pub(super) fn not_done(format: Format, message: &str) -> Rendered {
    let text = match format {
        Format::Text => message.to_owned(),
        Format::Json => json::problem("failed", message),
    };
    Rendered { text, exit: Exit::NotApplied }
}

/// Renders the list of a prompt's commands.
pub(super) fn help(format: Format, text: &str) -> Rendered {
    let text = match format {
        Format::Text => text.to_owned(),
        Format::Json => json::help(text),
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders what became of a node: `state` is one word, `text` says it to a person.
pub(super) fn node_state(format: Format, node: &NodeName, state: &str, text: &str) -> Rendered {
    let text = match format {
        Format::Text => text.to_owned(),
        Format::Json => json::node_state(node, state),
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders what a node has handed over.
pub(super) fn drained(format: Format, report: &DrainReport) -> Rendered {
    let DrainReport { node, players, copies, left } = report;
    let text = match format {
        Format::Json => json::drained(report),
        Format::Text => {
            let left = left.as_ref().map(|left| format!("; {left}")).unwrap_or_default();
            format!("{node} has handed over {players} players and {copies} copies and stops{left}")
        }
    };
    let exit = if left.is_none() { Exit::Done } else { Exit::NotApplied };
    Rendered { text, exit }
}

/// Renders a new key.
pub(super) fn key_made(format: Format, key: CallKey) -> Rendered {
    let text = match format {
        Format::Text => key.to_string(),
        Format::Json => json::key_made(key),
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders the line that says that a node serves.
pub(super) fn ready(
    format: Format,
    node: &NodeName,
    addr: SocketAddr,
    http: Option<SocketAddr>,
) -> String {
    match (format, http) {
        (Format::Text, None) => format!("{node} ready on {addr}"),
        (Format::Text, Some(http)) => format!("{node} ready on {addr}, HTTP on {http}"),
        (Format::Json, _) => json::ready(node, addr, http),
    }
}

/// Reads back what [`ready`] prints for a person.
pub(super) fn parse_ready(line: &str) -> Option<SocketAddr> {
    let addrs = line.rsplit_once(" ready on ")?.1.trim_end();
    addrs.split_once(',').map_or(addrs, |(addr, _)| addr).parse().ok()
}

/// Renders a list of players.
pub(super) fn players(format: Format, list: &Players) -> Rendered {
    let text = match format {
        Format::Json => json::players(list),
        Format::Text => players_table(list),
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders the list of nodes.
pub(super) fn nodes(format: Format, list: &Nodes) -> Rendered {
    let text = match format {
        Format::Json => json::nodes(list),
        Format::Text => nodes_table(list),
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders what holds for the whole cluster.
pub(super) fn settings(format: Format, report: &SettingsReport) -> Rendered {
    let text = match format {
        Format::Json => json::settings(report),
        Format::Text => settings_text(report),
    };
    Rendered { text, exit: Exit::Done }
}

fn settings_text(report: &SettingsReport) -> String {
    let SettingsReport { settings, silent, .. } = report;
    let mut text = format!("keepers {}\nack {}", settings.keepers, settings.ack);
    if !silent.is_empty() {
        text += &format!(
            "\nno word yet from {}: such a node follows by itself, and until then it acknowledges \
             as before",
            names(silent)
        );
    }
    text
}

fn trapped(player: &PlayerId, crash: &Crash) -> String {
    let Crash { message, restored_seq, restore_micros, keepers, .. } = crash;
    let kept = match keepers.as_slice() {
        [] => String::new(),
        [keeper] => format!("; keeper {keeper} unchanged"),
        keepers => format!("; keepers {} unchanged", names(keepers)),
    };
    format!(
        "CRASH!! {player} trapped: {}\n        restored at seq {restored_seq} from memory in \
         {restore_micros} µs{kept}",
        harmless(message)
    )
}

/// Returns words from a guest or a peer without what could move the cursor or fake another line.
fn harmless(words: &str) -> String {
    let lines: Vec<_> = words.trim_end().split('\n').map(protocol::harmless).collect();
    lines.join("\n        ")
}

fn players_table(list: &Players) -> String {
    let mut table = Table::new(&[
        ("player", Align::Left),
        ("points", Align::Right),
        ("seq", Align::Right),
        ("owner", Align::Left),
        ("keepers", Align::Left),
        ("generation", Align::Right),
        ("state", Align::Left),
    ]);
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for listing in &list.players {
        table.row([
            listing.player.to_string(),
            known(listing.points.map(|points| points.to_string())),
            known(listing.seq.map(|seq| seq.to_string())),
            listing.owner.to_string(),
            names(&listing.keepers),
            listing.generation.to_string(),
            state(listing).to_owned(),
        ]);
    }
    let mut text =
        if list.players.is_empty() { "no players".to_owned() } else { table.to_string() };
    if !list.silent.is_empty() {
        let silent = names(&list.silent);
        text.push_str(&format!(
            "\nno answer from {silent}: points and positions there are missing"
        ));
    }
    text
}

/// Returns what a player does, in words.
pub(super) fn state(listing: &PlayerListing) -> &'static str {
    match (listing.quarantined, listing.running) {
        (true, _) => "quarantined",
        (false, true) => "running",
        (false, false) => "at rest",
    }
}

fn nodes_table(list: &Nodes) -> String {
    let mut table = Table::new(&[
        ("node", Align::Left),
        ("address", Align::Left),
        ("status", Align::Left),
        ("directory", Align::Left),
        ("incarnation", Align::Right),
    ]);
    for node in &list.nodes {
        let mark = if node.name == list.asked { " *" } else { "" };
        let role = if list.leader == Some(node.id) {
            "leader"
        } else if list.voters.contains(&node.id) {
            "voter"
        } else {
            "learner"
        };
        table.row([
            format!("{}{mark}", node.name),
            node.addr.to_string(),
            node.status.word().to_owned(),
            role.to_owned(),
            node.incarnation.to_string(),
        ]);
    }
    format!("{table}\n* the node that was asked")
}

/// Returns names with commas between them.
pub(super) fn names(names: &[NodeName]) -> String {
    if names.is_empty() {
        return "-".to_owned();
    }
    names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}
