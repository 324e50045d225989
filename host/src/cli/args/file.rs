//! The configuration file of a node: its flags, written down under their own names.
//!
//! There is no list of keys: a key is what clap knows as a flag of a running node. What stands in the
//! file is put behind the words that were typed, as if it had been typed, too: all but what a flag or
//! the environment says already. So each rule of a flag holds for its key, also which others it needs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ArgMatches, Args as _, Command, CommandFactory as _, FromArgMatches as _,
    ValueHint,
};
use thiserror::Error;
use toml::de::{DeTable, DeValue};

use super::{Args, NodeArgs, SharedArgs};
use crate::protocol::harmless;

/// Longest file, in bytes: far more than all flags of a node with their longest values.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where the configuration file is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Node")]
pub(in crate::cli) struct FileArgs {
    /// Read flags of the node from this TOML file, where each stands under its own name; flags and
    /// the environment beat it
    #[arg(long, value_name = "FILE", env = "PLAYER_HOST_CONFIG")]
    pub(in crate::cli) config: Option<PathBuf>,
}

/// A line of a file, as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Place {
    path: PathBuf,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

/// Why a file configures nothing.
#[derive(Debug, Error)]
pub(in crate::cli) enum FileError {
    /// It cannot be read.
    #[error("cannot read the configuration {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no configuration of anything.
    #[error("the configuration {} has more than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    /// It is not TOML.
    #[error("{reason} ({place})")]
    NotToml {
        /// What is wrong with it.
        reason: String,
        /// Where.
        place: Place,
    },
    /// A node has no such flag.
    #[error("a node has no flag --{key}; did you mean `{nearest}`? ({place})")]
    Unknown {
        /// What stands there.
        key: String,
        /// The key that is most like it.
        nearest: String,
        /// Where.
        place: Place,
    },
    /// The value is of another kind than what the flag takes.
    #[error("`{key}` is {given}; expected {expected}, as for --{key} ({place})")]
    Kind {
        /// The key.
        key: String,
        /// What stands there.
        given: &'static str,
        /// What the flag takes.
        expected: &'static str,
        /// Where.
        place: Place,
    },
    /// What several lines say does not go together.
    #[error("{reason} ({})", .path.display())]
    Together {
        /// What is said of flags like that.
        reason: String,
        /// The file.
        path: PathBuf,
    },
    /// The flag does not take that value.
    #[error("{reason} ({place})")]
    Value {
        /// What is said of the flag with that value.
        reason: String,
        /// Where.
        place: Place,
    },
}

/// What was said before any file was read.
#[derive(Debug)]
pub(in crate::cli) struct Found {
    path: PathBuf,
    matches: ArgMatches,
}

impl Found {
    /// Looks for a configuration file in a command line, the program's name first, and in the
    /// environment: only a node has one, and what looks at one.
    pub(super) fn in_words(words: &[OsString]) -> Option<Self> {
        // What a flag needs may be in the file, and mistakes are told by who reads all of it.
        let matches = Args::command().ignore_errors(true).try_get_matches_from(words).ok()?;
        let path = match matches.subcommand() {
            None => matches.get_one("config"),
            Some(("doctor", doctor)) => doctor.get_one("config"),
            Some(("config", config)) => config.subcommand_matches("check")?.get_one("checked"),
            Some(_) => None,
        };
        Some(Self { path: PathBuf::clone(path?), matches })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn wants_json(&self) -> bool {
        innermost(&self.matches).get_one("json").is_some_and(|json| *json)
    }

    /// Returns who says something of the flag with this id.
    pub(super) fn source(&self, id: &str) -> Option<ValueSource> {
        let source = innermost(&self.matches).value_source(id);
        source.filter(|source| *source != ValueSource::DefaultValue)
    }

    pub(super) fn says(&self, id: &str) -> bool {
        self.source(id).is_some()
    }
}

/// Returns the matches of the command that is performed.
pub(super) fn innermost(mut matches: &ArgMatches) -> &ArgMatches {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    matches
}

/// A file that was read. Each of its values is one that its flag takes.
#[derive(Debug)]
pub(in crate::cli) struct ConfigFile {
    path: PathBuf,
    /// By the id that clap has for the flag.
    entries: BTreeMap<String, Entry>,
}

/// One flag in a file.
#[derive(Debug)]
struct Entry {
    long: String,
    line: usize,
    values: Vec<OsString>,
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// `FileError` says which line is wrong, and how.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(FileError::TooLong(path.to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let reason = "the configuration is not a text in UTF-8".to_owned();
            FileError::NotToml { reason, place: place(path, line_of(before, before.len())) }
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let line = |at: usize| line_of(text.as_bytes(), at);
        let table = DeTable::parse(text).map_err(|error| FileError::NotToml {
            reason: format!("the configuration is not TOML: {}", harmless(error.message())),
            place: place(path, line(error.span().map_or(0, |span| span.start))),
        })?;
        let flags = flags();
        let mut keys: Vec<_> = table.get_ref().iter().collect();
        // The first mistake is the one that a person finds first.
        keys.sort_by_key(|(key, _)| key.span().start);
        let mut entries = BTreeMap::new();
        for (key, value) in keys {
            let (line, name) = (line(key.span().start), key.get_ref().as_ref());
            let known = flags.iter().find(|flag| flag.get_long() == Some(name));
            let flag = known.ok_or_else(|| FileError::Unknown {
                key: harmless(name),
                nearest: nearest(name, &flags),
                place: place(path, line),
            })?;
            let values = values(flag, value.get_ref()).map_err(|(given, expected)| {
                let key = name.to_owned();
                FileError::Kind { key, given, expected, place: place(path, line) }
            })?;
            let is_path = flag.get_value_hint() == ValueHint::AnyPath;
            let folder = path.parent().filter(|_| is_path);
            let values = values.into_iter().map(|value| match folder {
                Some(folder) => folder.join(value).into_os_string(),
                None => value.into(),
            });
            let entry = Entry { long: name.to_owned(), line, values: values.collect() };
            entry.check().map_err(|error| FileError::Value {
                reason: in_one_line(&error),
                place: place(path, line),
            })?;
            entries.insert(flag.get_id().to_string(), entry);
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// Returns the file's path.
    pub(in crate::cli) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the line on which a flag stands, by the id that clap has for it.
    pub(in crate::cli) fn line(&self, id: &str) -> Option<usize> {
        self.entries.get(id).map(|entry| entry.line)
    }

    /// Returns the words that were typed, and behind them those of the flags that count.
    pub(super) fn behind(
        &self,
        typed: &[OsString],
        counts: &dyn Fn(&str) -> bool,
    ) -> Vec<OsString> {
        let entries = self.entries.iter().filter(|(id, _)| counts(id)).map(|(_, entry)| entry);
        // What is behind two dashes is no flag.
        let flags_end = typed.iter().position(|word| word == "--").unwrap_or(typed.len());
        let (flags, rest) = typed.split_at(flags_end);
        let added = entries.flat_map(Entry::words);
        flags.iter().cloned().chain(added).chain(rest.iter().cloned()).collect()
    }

    /// Says of a mistake in all words together which line of the file it stems from, if it is the
    /// file's: the first one without which it is another or none.
    pub(super) fn blamed(
        &self,
        typed: &[OsString],
        counts: &dyn Fn(&str) -> bool,
        error: &clap::Error,
    ) -> Option<FileError> {
        let is_same = |counts: &dyn Fn(&str) -> bool| {
            let parsed = Args::command().try_get_matches_from(self.behind(typed, counts));
            parsed.is_err_and(|other| other.kind() == error.kind())
        };
        if !error.use_stderr() || is_same(&|_| false) {
            return None;
        }
        let reason = in_one_line(error);
        let mut entries: Vec<_> = self.entries.iter().filter(|(id, _)| counts(id)).collect();
        entries.sort_by_key(|(_, entry)| entry.line);
        let to_blame = entries
            .into_iter()
            .find(|(without, _)| !is_same(&|id| counts(id) && id != without.as_str()));
        Some(match to_blame {
            Some((_, entry)) => FileError::Value { reason, place: place(&self.path, entry.line) },
            None => FileError::Together { reason, path: self.path.clone() },
        })
    }

    /// Returns, in the order of the file, what each of these flags alone makes of a command line.
    pub(in crate::cli) fn each_alone(
        &self,
        counts: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (Place, Args)> {
        let mut entries: Vec<_> =
            self.entries.iter().filter(|(id, _)| counts(id)).map(|(_, entry)| entry).collect();
        entries.sort_by_key(|entry| entry.line);
        entries.into_iter().filter_map(|entry| {
            // Those that it needs are missing, which is no matter here.
            let matches = entry.read_alone(alone().ignore_errors(true)).ok()?;
            Some((place(&self.path, entry.line), Args::from_arg_matches(&matches).ok()?))
        })
    }
}

/// Returns the program's command line, without what the environment says.
fn alone() -> Command {
    Args::command().mut_args(|arg| arg.env(Resettable::Reset))
}

impl Entry {
    /// Returns what would be typed.
    fn words(&self) -> impl Iterator<Item = OsString> {
        // One that takes no value stands there, or it does not.
        let is_switch = self.is_switch();
        let values = self.values.iter().filter(move |value| !is_switch || *value == "true");
        values.map(move |value| {
            let mut word = OsString::from(format!("--{}", self.long));
            if !is_switch {
                word.push("=");
                word.push(value);
            }
            word
        })
    }

    /// Reads the flag as if it had been typed, and nothing else.
    fn read_alone(&self, command: Command) -> Result<ArgMatches, clap::Error> {
        let program = OsString::from(command.get_name());
        command.try_get_matches_from(std::iter::once(program).chain(self.words()))
    }

    /// Finds out whether the flag takes the value.
    fn check(&self) -> Result<(), clap::Error> {
        match self.read_alone(alone()) {
            // It may go with what others say.
            Err(error)
                if [ErrorKind::MissingRequiredArgument, ErrorKind::ArgumentConflict]
                    .contains(&error.kind()) =>
            {
                Ok(())
            }
            read => read.map(drop),
        }
    }

    fn is_switch(&self) -> bool {
        flags().iter().any(|flag| flag.get_long() == Some(&self.long) && is_switch(flag))
    }
}

/// Returns the flags of a running node that people are told of: those that are keys.
pub(in crate::cli) fn flags() -> Vec<Arg> {
    let command = SharedArgs::augment_args(NodeArgs::augment_args(Command::new("node")));
    let told = command.get_arguments().filter(|arg| !arg.is_hide_set());
    told.filter(|arg| arg.get_long().is_some()).cloned().collect()
}

fn is_switch(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::SetTrue)
}

/// Returns a value as it would be typed, or what it is and what it should be.
fn values(flag: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, (&'static str, &'static str)> {
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    let expected = match (is_switch(flag), is_list) {
        (true, _) => "true or false",
        (false, true) => "a text or a list of texts",
        (false, false) => "a text or a whole number",
    };
    let one = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Ok(text.to_string()),
        // Signs and decimal digits stay as they are; what else TOML allows is no number to a flag.
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err((kind(value), expected)),
    };
    match value {
        DeValue::Boolean(value) if is_switch(flag) => Ok(vec![value.to_string()]),
        _ if is_switch(flag) => Err((kind(value), expected)),
        DeValue::Array(list) if is_list => list.iter().map(|value| one(value.get_ref())).collect(),
        _ => Ok(vec![one(value)?]),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn nearest(key: &str, flags: &[Arg]) -> String {
    // A key in another spelling is most like itself.
    let key = key.replace('_', "-").to_lowercase();
    let longs = flags.iter().filter_map(Arg::get_long);
    let likeness = |long: &str| strsim::jaro_winkler(&key, long);
    let best = longs.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.unwrap_or_default().to_owned()
}

/// Returns what clap says of a mistake, without how the program is to be used.
fn in_one_line(error: &clap::Error) -> String {
    let words = error.to_string();
    let said = words.lines().map(str::trim).take_while(|line| !line.is_empty());
    said.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

fn line_of(text: &[u8], at: usize) -> usize {
    text.iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn place(path: &Path, line: usize) -> Place {
    Place { path: path.to_owned(), line }
}

#[cfg(test)]
mod tests;
