//! Where each value of a node comes from.

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::file::{ConfigFile, Found, flags, innermost};
use super::{Args, FilePlace};

/// Where one value comes from; each is beaten by those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    /// It was typed.
    Flag,
    /// A variable of the environment.
    Environment,
    /// This line of the configuration file.
    File {
        /// The line, from 1.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

/// One flag of a node, and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Origin {
    /// Its name, without the dashes.
    pub(in crate::cli) key: String,
    /// What it has, as it would be typed; empty if nothing.
    pub(in crate::cli) values: Vec<String>,
    /// Whether it may be repeated.
    pub(in crate::cli) is_list: bool,
    /// Where that comes from.
    pub(in crate::cli) source: Source,
}

/// Where all values of a node come from.
#[derive(Debug, Default)]
pub(in crate::cli) struct Sources {
    file: Option<ConfigFile>,
    /// Ids of what was typed or stands in the environment.
    said: Vec<String>,
    origins: Vec<Origin>,
}

impl Sources {
    /// `all` has also what the file says, where neither a flag nor the environment says anything.
    pub(super) fn new(file: ConfigFile, found: &Found, all: &ArgMatches) -> Self {
        let all = innermost(all);
        let (mut said, mut origins) = (Vec::new(), Vec::new());
        for flag in flags() {
            let id = flag.get_id().as_str();
            let source = match found.source(id) {
                Some(ValueSource::CommandLine) => Source::Flag,
                Some(ValueSource::EnvVariable) => Source::Environment,
                _ => file.line(id).map_or(Source::Default, |line| Source::File { line }),
            };
            if matches!(source, Source::Flag | Source::Environment) {
                said.push(id.to_owned());
            }
            let values = all.get_raw(id).into_iter().flatten();
            let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
            let is_list = matches!(flag.get_action(), clap::ArgAction::Append);
            let key = flag.get_long().unwrap_or(id).to_owned();
            origins.push(Origin { key, values, is_list, source });
        }
        Self { file: Some(file), said, origins }
    }

    /// Returns all flags of a node, in the order of its help.
    pub(in crate::cli) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Returns the configuration file's path, if there is one.
    pub(in crate::cli) fn path(&self) -> Option<&std::path::Path> {
        self.file.as_ref().map(ConfigFile::path)
    }

    /// Returns the first line of the file that counts and of which alone `is_to_blame` holds.
    pub(in crate::cli) fn line_to_blame(
        &self,
        is_to_blame: impl Fn(Args) -> bool,
    ) -> Option<FilePlace> {
        let counts = |id: &str| !self.said.iter().any(|said| said == id);
        let mut lines = self.file.as_ref()?.each_alone(counts);
        lines.find_map(|(place, args)| is_to_blame(args).then_some(place))
    }
}
