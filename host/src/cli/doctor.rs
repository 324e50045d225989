//! `host doctor`: what this machine is to a node, and what to do about it.
//!
//! Each part tries what a node would do, as far as that changes nothing and leaves nothing behind: it
//! asks for the socket's buffers, listens for a moment, writes to a file without a name, compiles the
//! guest. What it finds goes through a pure function, which says whether it matters and what helps.

mod code;
mod disk;
mod kernel;
mod network;
mod room;
mod secret;

use std::path::{Path, PathBuf};

use super::config::NodePlan;
use super::render::{self, Format, Rendered};

/// What is looked at.
#[derive(Debug)]
pub(super) struct DoctorSettings {
    /// The node that would be started.
    pub(super) plan: NodePlan,
    /// The configuration file, if it has one.
    pub(super) config: Option<PathBuf>,
    /// Its secret's file, or nothing where there is no place for one.
    pub(super) secret_file: Option<PathBuf>,
    /// Whether that file was named: otherwise a node makes one.
    pub(super) is_secret_named: bool,
    /// Where files are if nobody says otherwise.
    pub(super) state: Option<PathBuf>,
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// A node runs, and something will be slower or worse than it need be.
    Warning,
    /// A node does not start, or does not do what its flags say.
    Problem,
}

impl Level {
    /// Returns its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, one or two words.
    pub(super) about: &'static str,
    /// How much it matters.
    pub(super) level: Level,
    /// What was found.
    pub(super) text: String,
    /// What to do about it; nothing if it is as it should be.
    pub(super) advice: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self { about, level: Level::Ok, text: text.into(), advice: None }
    }

    fn note(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, level: Level::Note, text: text.into(), advice: Some(advice.into()) }
    }

    fn warning(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, level: Level::Warning, text: text.into(), advice: Some(advice.into()) }
    }

    fn problem(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, level: Level::Problem, text: text.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything, and says what was found.
pub(super) async fn run(settings: DoctorSettings, format: Format) -> Rendered {
    render::diagnosed(format, &look(settings).await)
}

async fn look(mut settings: DoctorSettings) -> Vec<Finding> {
    let guest = settings.plan.guest.take();
    let mut findings = described(&settings);
    let DoctorSettings { plan, secret_file, is_secret_named, state, .. } = settings;
    findings.extend(kernel::look());
    let (found, footprint) = code::look(guest.as_deref(), &plan.allowance);
    findings.push(found);
    findings.extend(room::look(&plan, footprint));
    let (found, secret) = secret::look(secret_file.as_deref(), is_secret_named, plan.name.as_ref());
    findings.extend(found);
    let folder = plan.data_dir.as_deref().or(state.as_deref());
    findings.extend(disk::look(folder, plan.settings.ack));
    findings.extend(network::look(&plan, secret.as_ref()).await);
    findings
}

/// Says of which node the rest speaks.
fn described(settings: &DoctorSettings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(path) = &settings.config {
        let path = path.display();
        findings.push(Finding::ok("configuration", format!("{path} is taken into account")));
    }
    findings.push(match &settings.plan.name {
        Some(name) => Finding::ok("name", name.as_str()),
        None => Finding::note(
            "name",
            "the node has no name yet, so its data folder is not known",
            "look again with --name, or with the node's --config",
        ),
    });
    findings
}

/// Returns a path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns a size as people say it.
fn in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests;
