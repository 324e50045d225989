//! A node's configuration file: which line is wrong, and what a node would use.

use std::path::{Path, PathBuf};

use super::{NodePlan, Place, UsageError, log_filter, read_named_guest};
use crate::cli::args::{Args, NodeArgs, Origin, Sources};
use crate::cli::render::{self, Format, Rendered, sentence};
use crate::net::Secret;

/// What a node would use that is started with a configuration file.
#[derive(Debug)]
pub(in crate::cli) struct Checked {
    path: PathBuf,
    origins: Vec<Origin>,
}

impl Checked {
    /// Looks at all that a node would look at, and makes nothing.
    pub(super) fn new(
        node: NodeArgs,
        sources: &Sources,
        place: &Place,
    ) -> Result<Self, UsageError> {
        let plan = look(node, place)?;
        if plan.name.is_none() {
            return Err(UsageError::NoName);
        }
        let mut origins = sources.origins().to_vec();
        // What depends on other flags, or on this machine.
        let secret_file = place.secret_file().ok();
        let memory = format!("{}MiB", plan.allowance.process_bytes >> 20);
        let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        for (key, value) in [
            ("data-dir", path(plan.data_dir)),
            ("secret-file", path(secret_file)),
            ("memory", Some(memory)),
            ("guest", Some("built-in".to_owned())),
        ] {
            let origin = origins.iter_mut().find(|origin| origin.key == key);
            if let Some(origin) = origin.filter(|origin| origin.values.is_empty()) {
                origin.values.extend(value);
            }
        }
        let path = sources.path().unwrap_or(Path::new("")).to_owned();
        Ok(Self { path, origins })
    }

    /// Returns what a person or a program is told.
    pub(in crate::cli) fn rendered(&self, format: Format) -> Rendered {
        render::config_checked(format, &self.path, &self.origins)
    }
}

fn look(node: NodeArgs, place: &Place) -> Result<NodePlan, UsageError> {
    let mut plan = NodePlan::new(node, place)?;
    read_named_guest(plan.guest.take())?;
    if let Some(file) = &place.secret_file {
        drop(Secret::load(file)?);
    }
    Ok(plan)
}

/// Names the line of the configuration file that an error stems from, if one does: the first that
/// leads to the same error when it alone is said of a node.
pub(super) fn blamed(error: UsageError, sources: &Sources, state: Option<&Path>) -> UsageError {
    let sentence = sentence(&error);
    let leads_there = |args: Args| {
        let alone = || {
            log_filter(args.shared.log)?;
            let state = state.map(Path::to_owned);
            look(args.node, &Place { state, secret_file: args.shared.secret_file }).map(drop)
        };
        alone().is_err_and(|error| render::sentence(&error) == sentence)
    };
    match sources.line_to_blame(leads_there) {
        Some(place) => UsageError::Line { sentence, place },
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;
    use crate::cli::args::{ReadError, Source};
    use crate::cli::config::{Config, Task};

    /// A folder with a configuration file.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("host.toml"), text).unwrap();
            Self(folder)
        }

        fn file(&self) -> OsString {
            self.0.path().join("host.toml").into()
        }

        fn run(&self, words: &[&str]) -> Result<Task, String> {
            let words = words.iter().map(|word| match *word {
                "FILE" => self.file(),
                word => word.into(),
            });
            let args = Args::read(words).map_err(|error| match error {
                ReadError::File { error, .. } => sentence(&error),
                ReadError::Words(error) => panic!("{error}"),
            })?;
            let state = |name: &str| (name == "HOME").then(|| self.0.path().into());
            Config::check(args, state).map(|config| config.task).map_err(|error| sentence(&error))
        }

        fn checked(&self, words: &[&str]) -> Checked {
            let words = [&["host", "config", "check", "FILE"], words].concat();
            match self.run(&words) {
                Ok(Task::Checked(checked)) => checked,
                other => panic!("{other:?}"),
            }
        }
    }

    fn origin<'a>(checked: &'a Checked, key: &str) -> (&'a [String], Source) {
        let found = checked.origins.iter().find(|origin| origin.key == key).unwrap();
        (&found.values, found.source)
    }

    #[test]
    fn a_node_takes_what_its_file_says_and_flags_beat_it() {
        let bench = Bench::new("name = 'app_node1'\nlisten = '127.0.0.1:5000'\nidle-after = '10m'");
        let words = ["host", "--config", "FILE", "--listen", "127.0.0.1:6000"];
        let Task::Node(node) = bench.run(&words).unwrap() else { panic!("not a node") };
        assert_eq!(node.config.name.as_str(), "app_node1");
        assert_eq!(node.config.listen.port(), 6000);
        assert_eq!(node.config.idle_after.as_secs(), 600);
    }

    #[test]
    fn a_wrong_value_gets_the_sentence_of_its_flag_and_its_line() {
        for (text, sentence) in [
            ("name = 'n'\nlisten = 'here'", "`here` is not an address to listen on; expected one"),
            ("name = 'a/b'\njoin = 'b:1'", "a node name has letters, digits, `_` and `-` only"),
            ("json = false\nlisten = '10.1.2.3:4433'", "listening on 10.1.2.3:4433 needs a secret"),
            ("name = 'n'\njoin = ['b:1', 'b']", "`b` is not a node's address; expected host:port"),
            ("name = 'n'\nguest = 'missing.wasm'", "cannot read the guest "),
            ("name = 'n'\nsecret-file = 'none'", "there is no secret at "),
            ("name = 'n'\nlog = '=,='", "`=,=` is not a log filter"),
            ("name = 'n'\nidle-after = 'soon'", "`soon` is no time for --idle-after"),
            ("name = 'n'\nmemory = '1KiB'", "`1KiB` is no size for --memory"),
            ("name = 'n'\nhttp = 'here'", "`here` is not an address to speak HTTP on"),
            ("name = 'n'\nkeepers = 9", "a player has 1 to 8 keepers, not 9"),
        ] {
            let bench = Bench::new(text);
            let line = if text.starts_with("name = 'a/b'") { 1 } else { 2 };
            let place = format!("({}, line {line})", bench.file().display());
            for words in [&["host", "--config", "FILE"][..], &["host", "config", "check", "FILE"]] {
                let said = bench.run(words).unwrap_err();
                assert!(said.starts_with(sentence) && said.ends_with(&place), "{text}: {said}");
            }
        }
    }

    #[test]
    fn flags_that_need_others_find_them_in_the_file_and_the_other_way_round() {
        let text = "name = 'n'\nhttp = '127.0.0.1:8080'\nhttp-cert = 'c.pem'\nhttp-key = 'k.pem'";
        let Task::Node(node) = Bench::new(text).run(&["host", "--config", "FILE"]).unwrap() else {
            panic!("not a node")
        };
        assert!(node.config.http.unwrap().tls.is_some());
        let bench = Bench::new("name = 'n'\nhttp = '127.0.0.1:8080'");
        assert!(bench.run(&["host", "--config", "FILE", "--http-rate", "5"]).is_ok());
        let bench = Bench::new("name = 'n'\nhttp-rate = 5");
        assert!(bench.run(&["host", "--http", "127.0.0.1:1", "--config", "FILE"]).is_ok());
        assert_eq!(origin(&bench.checked(&["--http", "127.0.0.1:1"]), "http-rate").0, ["5"]);
    }

    #[test]
    fn a_line_that_lacks_another_is_told() {
        let said = |text: &str| Bench::new(text).run(&["host", "--config", "FILE"]).unwrap_err();
        let lacking = said("name = 'n'\nhttp = '127.0.0.1:1'\nhttp-cert = 'c.pem'");
        assert!(lacking.contains("not provided: --http-key <FILE> ("), "{lacking}");
        assert!(lacking.ends_with(", line 3)"), "{lacking}");
        // Neither of the two alone is what is wrong.
        let lacking = said("name = 'n'\nhttp-cert = 'c.pem'\nhttp-key = 'k.pem'");
        assert!(lacking.contains("not provided: --http <IP:PORT> ("), "{lacking}");
        assert!(lacking.ends_with("/host.toml)"), "{lacking}");
        let wrong = said("name = 'n'\nhttp = '127.0.0.1:1'\nhttp-rate = 0");
        assert!(wrong.starts_with("invalid value '0' for '--http-rate <N>'"), "{wrong}");
        assert!(wrong.ends_with(", line 3)"), "{wrong}");
    }

    #[test]
    fn what_the_file_is_not_to_blame_for_is_said_without_a_line() {
        let bench = Bench::new("name = 'n'\nlisten = 'here'\n");
        let words = ["host", "--config", "FILE", "--listen", "there"];
        let said = bench.run(&words).unwrap_err();
        assert!(said.starts_with("`there` is not an address") && !said.contains("line"), "{said}");
        let said = Bench::new("listen = '127.0.0.1:1'").run(&words[..3]).unwrap_err();
        assert!(said.starts_with("a node needs a name") && !said.contains("line"), "{said}");
    }

    #[test]
    fn a_check_says_where_each_value_comes_from_and_makes_nothing() {
        let bench = Bench::new("name = 'n'\nlisten = '127.0.0.1:5000'\njoin = ['a:1', 'b:2']\n");
        let checked = bench.checked(&["--keepers", "2", "--listen", "127.0.0.1:1"]);
        assert_eq!(origin(&checked, "listen"), (&["127.0.0.1:1".to_owned()][..], Source::Flag));
        let joins = ["a:1".to_owned(), "b:2".to_owned()];
        assert_eq!(origin(&checked, "join"), (&joins[..], Source::File { line: 3 }));
        assert_eq!(origin(&checked, "keepers").1, Source::Flag);
        let (data_dir, source) = origin(&checked, "data-dir");
        assert!(data_dir[0].ends_with("player-host/n") && source == Source::Default);
        assert_eq!(fs::read_dir(bench.0.path()).unwrap().count(), 1, "nothing but the file");
        let text = checked.rendered(Format::Text).text;
        let join = text.lines().find(|line| line.starts_with("join ")).unwrap();
        assert!(join.contains(" a:1, b:2 ") && join.ends_with(" file, line 3"), "{text}");
        let json = checked.rendered(Format::Json).text;
        assert!(
            json.contains(r#"{"flag":"join","value":["a:1","b:2"],"from":"file","line":3}"#),
            "{json}"
        );
        assert!(json.contains(r#"{"flag":"ack","value":null,"from":"default"}"#), "{json}");
    }
}
