//! The command line as it is typed. `config` checks what it means.

mod author;
mod bench;
mod deploy;
mod failures;
mod file;
mod operating;
mod secret;
mod sources;
mod token;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{
    ArgMatches, Args as _, CommandFactory, FromArgMatches, Parser, Subcommand, value_parser,
};
use clap_complete::Shell;
use thiserror::Error;

pub(super) use self::author::{DevArgs, NewArgs};
pub(super) use self::bench::{BenchArgs, Payload, Through};
pub(super) use self::deploy::{CodeCommand, DeployArgs, DeployReachArgs};
pub(super) use self::failures::{BundleArgs, Failure, QuarantineCommand, ReplayArgs};
pub(super) use self::file::{FileArgs, FileError, Place as FilePlace};
pub(super) use self::operating::{CrashArgs, ExportArgs, ImportArgs, MoveArgs, TopArgs, WatchArgs};
#[cfg(test)]
pub(super) use self::secret::RotateStep;
pub(super) use self::secret::SecretCommand;
pub(super) use self::sources::{Origin, Source, Sources};
pub(super) use self::token::TokenCommand;
use super::render::Format;
use crate::limits::{GUEST_MEMORY_BYTES, IDLE_AFTER, INSTANCES_MAX};

/// Run a node, or ask one
///
/// Without a command, run a node. A player is WebAssembly whose plain memory is kept on another
/// node after each call, so it survives traps and dead machines.
#[derive(Debug, Parser)]
#[command(name = "host", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) file: FileArgs,
    #[command(flatten)]
    pub(super) node: NodeArgs,
    #[command(flatten)]
    pub(super) shared: SharedArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Where what is said of the node comes from.
    #[arg(skip)]
    pub(super) sources: Sources,
}

/// Options of a running node.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Node")]
pub(super) struct NodeArgs {
    /// Name the node; no two running nodes of a cluster share a name
    #[arg(long, env = "PLAYER_HOST_NAME")]
    pub(super) name: Option<String>,
    /// Serve nodes and clients on this address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4433")]
    #[arg(env = "PLAYER_HOST_LISTEN")]
    pub(super) listen: String,
    /// Join the cluster of the node at this address; repeat it to try several
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', env = "PLAYER_HOST_JOIN")]
    pub(super) join: Vec<String>,
    /// Begin a cluster when this many nodes of --join wait for one, this node included, which --join
    /// names, too: for nodes that are all started with the same command
    #[arg(long, value_name = "N", requires = "join", env = "PLAYER_HOST_BOOTSTRAP_EXPECT")]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    pub(super) bootstrap_expect: Option<u32>,
    /// Run this component instead of the built-in one, when this node begins a cluster; a cluster that
    /// runs gets other code from `host deploy`
    #[arg(long, value_name = "WASM", env = "PLAYER_HOST_GUEST")]
    pub(super) guest: Option<PathBuf>,
    /// Keep the node's data here instead of in the platform's state folder
    #[arg(long, value_name = "DIR", env = "PLAYER_HOST_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Keep each player on this many other nodes, 1 to 8; for the node that begins a cluster
    #[arg(long, value_name = "K", env = "PLAYER_HOST_KEEPERS")]
    pub(super) keepers: Option<String>,
    /// Answer when keepers have a call in `memory` or on `disk`; for the node that begins a cluster
    #[arg(long, value_name = "WHERE", env = "PLAYER_HOST_ACK")]
    pub(super) ack: Option<String>,
    /// Have a player rest after this time without a call: it gives up its instance, keeps its state,
    /// and its next call wakes it up
    #[arg(long, value_name = "TIME", default_value_t = format!("{}s", IDLE_AFTER.as_secs()))]
    #[arg(env = "PLAYER_HOST_IDLE_AFTER")]
    pub(super) idle_after: String,
    /// Run this many players at the same time; when others are called, those that were not called
    /// for longest rest
    #[arg(long, value_name = "N", default_value_t = u32::try_from(INSTANCES_MAX).unwrap_or(u32::MAX))]
    #[arg(value_parser = value_parser!(u32).range(1..), env = "PLAYER_HOST_INSTANCES_MAX")]
    pub(super) instances_max: u32,
    /// Let the memory of one player's instance grow to this size, for example 64MiB
    #[arg(long, value_name = "SIZE", default_value_t = format!("{}MiB", GUEST_MEMORY_BYTES >> 20))]
    #[arg(env = "PLAYER_HOST_GUEST_MEMORY")]
    pub(super) guest_memory: String,
    /// Refuse calls that take more memory once the node has this much, for example 6GiB [default:
    /// most of what the machine has]
    #[arg(long, value_name = "SIZE", env = "PLAYER_HOST_MEMORY")]
    pub(super) memory: Option<String>,
    /// Speak HTTP with JSON on this address, for load balancers and browsers; beyond loopback each
    /// request needs a token, made by `host token new`
    #[arg(long, value_name = "IP:PORT", env = "PLAYER_HOST_HTTP")]
    pub(super) http: Option<String>,
    /// Show this certificate, in PEM, to those who speak HTTP
    #[arg(long, value_name = "FILE", requires_all = ["http", "http_key"])]
    #[arg(env = "PLAYER_HOST_HTTP_CERT")]
    pub(super) http_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "http_cert", env = "PLAYER_HOST_HTTP_KEY")]
    pub(super) http_key: Option<PathBuf>,
    /// Take this many requests of one caller in a second: of one token, or of one address [default: as
    /// many as come]
    #[arg(long, value_name = "N", requires = "http", env = "PLAYER_HOST_HTTP_RATE")]
    pub(super) http_rate: Option<NonZeroU32>,
    /// Stop when standard input closes, so that the node never outlives its parent
    #[arg(long, hide = true)]
    pub(super) stop_with_stdin: bool,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct SharedArgs {
    /// Read the cluster's secret from this file, made by `host secret new`
    #[arg(long, value_name = "FILE", global = true, env = "PLAYER_HOST_SECRET_FILE")]
    pub(super) secret_file: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log what this filter lets through, for example `info` or `host=debug`
    #[arg(long, value_name = "FILTER", global = true, env = "RUST_LOG", hide_env_values = true)]
    pub(super) log: Option<String>,
}

/// Commands other than running a node.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add points to a player and print its new total
    Reward {
        /// Name the player
        player: String,
        /// Add this many points; what is not a whole number reaches the player as a text
        #[arg(allow_hyphen_values = true)]
        points: String,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Call any function that a player's code exports, and print what it returns
    ///
    /// Values are written in WAVE, as they are printed: 5, "a string", [1, 2], {name: "sword",
    /// level: 3}, some(1), ok. `host describe PLAYER` says which functions there are and what they
    /// take.
    Call {
        /// Name the player
        player: String,
        /// Name the function, with its interface if others have one of the same name
        function: String,
        /// Give it these arguments, each one word: a quoted one at a shell
        #[arg(allow_negative_numbers = true)]
        arguments: Vec<String>,
        #[command(flatten)]
        call: CallArgs,
    },
    /// Print the functions of a player's code, or of the code that new players run
    Describe {
        /// Name the player
        player: Option<String>,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Print a player's points
    Points {
        /// Name the player
        player: String,
        #[command(flatten)]
        call: CallArgs,
    },
    /// List the players that run on the asked node
    Players {
        /// List all players of the cluster
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// List the nodes of the cluster
    Nodes {
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Bring back a player whose only copy may miss acknowledged calls, and give those up
    ///
    /// For a player that is `unavailable`: the error names the nodes that hold copies, and their
    /// positions. Nothing is given up while a better copy can be reached.
    Recover {
        /// Name the player
        player: String,
        /// Take the copy of this node
        #[arg(long, value_name = "NODE")]
        from: String,
        /// Accept that the copy ends here; a copy at another position is not taken
        #[arg(long, value_name = "SEQ")]
        accept_seq: u64,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// End a player: its copies are dropped, and its next call begins a new one
    Forget {
        /// Name the player
        player: String,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// See to players whose state could not be restored
    ///
    /// After three restores in a row that failed nobody tries any more: the state is kept, and its
    /// copies are seen to, until somebody releases the player.
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Write what is needed to see a player's failure again to standard output
    ///
    /// What is written is all that the player knows: its memory before the failure, and the call.
    Bundle(BundleArgs),
    /// Do again what is in a bundle, on this machine and without a cluster
    ///
    /// Exit code 0 when it fails as it did, 1 when it does not.
    Replay(ReplayArgs),
    /// Deploy other code for the players, while they play
    ///
    /// Each player goes over to it between two calls, with its state if both components export
    /// `migrate`. When more players fail on it than `--max-failures`, it is taken back by itself.
    Deploy {
        #[command(flatten)]
        deploy: DeployArgs,
        #[command(flatten)]
        reach: DeployReachArgs,
    },
    /// Look at the code that players run, or take it back
    Code {
        #[command(subcommand)]
        command: CodeCommand,
    },
    /// Have a node hand over its players and copies to the others, and stop
    Drain {
        /// Drain this node
        #[arg(long, value_name = "HOST:PORT")]
        node: String,
        /// Give up waiting for its report after this time; the node goes on
        #[arg(long, value_name = "TIME", default_value = "60s")]
        deadline: String,
    },
    /// Change what holds for the whole cluster, or print it
    Set {
        /// Keep each player on this many nodes besides its owner, 1 to 8
        #[arg(long, value_name = "K")]
        keepers: Option<String>,
        /// Answer when keepers have a call in `memory` or on `disk`
        #[arg(long, value_name = "WHERE")]
        ack: Option<String>,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Look at a node's configuration file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look at this machine as a node with these flags would, and say what to do about what it finds
    ///
    /// It looks at the kernel, limits, buffers, the clock, the secret, the port, the nodes to join, the
    /// disk and the guest. Nothing is changed. Exit code 0 when there is no problem, 1 otherwise.
    Doctor {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        node: Box<NodeArgs>,
    },
    /// Make, change or show the secret that lets nodes and clients into a cluster
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Make a token for those who speak HTTP with a node
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make a key that lets a call be repeated safely
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Run a throw-away cluster on this machine, with a prompt
    Dev(DevArgs),
    /// Write a small player of your own into a new folder
    ///
    /// What is written can be built, run and changed at once, and says how.
    New(NewArgs),
    /// Print what makes a shell complete this program's commands and flags
    Completions {
        /// Print it for this shell
        shell: Shell,
    },
    /// Write the manual into a folder, one page for each command
    Man {
        /// Write it here; the folder is made if there is none
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Measure what calls cost, on a throw-away cluster of this machine or on a running one
    ///
    /// Without --node it starts a cluster and removes it at the end. In a running cluster it makes
    /// players of its own, which it forgets at the end; only their numbers stay in the directory, as
    /// those of all forgotten players. Nobody else's are touched, but they share the nodes with the
    /// load.
    Bench(BenchArgs),
    /// Have another node run a player
    ///
    /// The player is handed over after its last acknowledgement; calls wait for that, and none fails.
    Move(MoveArgs),
    /// Let a player crash, or a node, to see that nothing is lost
    ///
    /// `host crash player1` throws the player's instance away, which is restored as after a trap.
    /// `host crash --node app_node2` ends that node's process as if it was killed.
    Crash(CrashArgs),
    /// Write a player's state to standard output, for `host import`
    ///
    /// What is written is all that the player knows.
    Export(ExportArgs),
    /// Begin a player with the state of one that was exported, in this cluster or in another
    ///
    /// It runs under the code that the other one ran under, which this cluster must have.
    Import(ImportArgs),
    /// Print a line whenever a player's position, owner, keepers or state has changed, until Ctrl-C
    Watch(WatchArgs),
    /// See the cluster in this terminal: nodes, calls, players and what happens, until q
    ///
    /// Any node tells of all; when it is gone, another one does. `?` says what the keys do.
    Top(TopArgs),
}

/// Commands about a node's configuration file.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether a node can be started with a file, and what it would use and from where
    ///
    /// Flags of a node and the environment count as they would at its start. Nothing is made or
    /// changed. Exit code 2 when something is wrong.
    Check {
        /// Check this file
        #[arg(value_name = "FILE")]
        checked: PathBuf,
        #[command(flatten)]
        node: Box<NodeArgs>,
    },
}

/// Commands about keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Print a new key: a UUID of version 7, as any library makes it
    New,
}

/// Options of a call.
#[derive(Debug, clap::Args)]
pub(super) struct CallArgs {
    /// Call with this key, made by `host key new` or named by the answer to repeat: the call is
    /// applied at most once
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    #[command(flatten)]
    pub(super) reach: ReachArgs,
}

/// Options of every question.
#[derive(Debug, clap::Args)]
pub(super) struct ReachArgs {
    /// Ask this node instead of one on this machine; repeat it to try several in turn
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', env = "PLAYER_HOST_NODE")]
    pub(super) node: Vec<String>,
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) deadline: String,
}

/// Why there is nothing to be done.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// What clap prints: a mistake, or the help that was asked for.
    #[error(transparent)]
    Words(#[from] clap::Error),
    /// The configuration file is wrong; mistakes are told in this format.
    #[error("{error}")]
    File {
        /// What is wrong with it.
        #[source]
        error: FileError,
        /// How it is told.
        format: Format,
    },
}

impl Args {
    /// Reads a command line, the program's name first, and the configuration file that it names.
    ///
    /// # Errors
    ///
    /// `ReadError`.
    pub(super) fn read(
        words: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, ReadError> {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let Some(found) = file::Found::in_words(&words) else {
            let mut command = Self::command();
            let matches = command.try_get_matches_from_mut(&words)?;
            return Ok(Self::of(&matches, command)?);
        };
        let format = if found.wants_json() { Format::Json } else { Format::Text };
        let wrong = |error| ReadError::File { error, format };
        let file = file::ConfigFile::read(found.path()).map_err(wrong)?;
        let all = file.behind(&words, &|id| !found.says(id));
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(&all).map_err(|error| {
            match file.blamed(&words, &|id| !found.says(id), &error) {
                Some(error) => wrong(error),
                None => error.into(),
            }
        })?;
        let args = Self::of(&matches, command)?;
        Ok(Self { sources: Sources::new(file, &found, &matches), ..args })
    }

    fn of(matches: &ArgMatches, mut command: clap::Command) -> Result<Self, clap::Error> {
        if let Some((subcommand, _)) = matches.subcommand()
            && let Some(flag) = typed_node_flag(matches)
        {
            // Not clap's `args_conflicts_with_subcommands`: that also forbids `host --json nodes`.
            let message = if ["config", "doctor"].contains(&subcommand) {
                format!("`{flag}` is given behind the command: host {subcommand} … {flag} …")
            } else {
                format!("`{flag}` runs a node and does not go with `{subcommand}`")
            };
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
        Self::from_arg_matches(matches).map_err(|error| error.format(&mut command))
    }
}

/// Returns a flag of a node that was typed where a node's flags stand.
fn typed_node_flag(matches: &ArgMatches) -> Option<String> {
    let command = FileArgs::augment_args(NodeArgs::augment_args(clap::Command::new("node")));
    let mut flags = command.get_arguments();
    let typed = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let typed = flags.find(|flag| typed(flag.get_id()));
    typed.and_then(clap::Arg::get_long).map(|long| format!("--{long}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::read(line.split(' ')).map_err(|error| match error {
            ReadError::Words(error) => error,
            ReadError::File { error, .. } => panic!("{error}"),
        })
    }

    fn reward(line: &str) -> (String, String, CallArgs, bool) {
        let args = read(line).unwrap();
        match args.command {
            Some(Command::Reward { player, points, call }) => {
                (player, points, call, args.shared.json)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn negative_points_and_words_are_points() {
        for points in ["-5", "5", "a", "-x", "--", "-"] {
            let line = format!("host reward player1 {points}");
            if points == "--" {
                assert!(read(&line).is_err(), "`--` ends the options and is no word");
            } else {
                assert_eq!(reward(&line).1, points);
            }
        }
        assert_eq!(reward("host reward player1 -- --json").1, "--json");
    }

    #[test]
    fn options_stand_before_or_after_the_words() {
        for line in [
            "host --json reward p -5",
            "host reward --json p -5",
            "host reward p --json -5",
            "host reward p -5 --json",
        ] {
            let (player, points, _, json) = reward(line);
            assert_eq!((player.as_str(), points.as_str(), json), ("p", "-5", true), "{line}");
        }
    }

    #[test]
    fn arguments_of_a_call_are_words_and_options_stay_options() {
        let words = ["host", "call", "p", "f", "{a: 1}", "-3", "-1.5", "--json", "\"x y\""];
        let args = Args::read(words).unwrap();
        assert!(args.shared.json);
        match args.command {
            Some(Command::Call { player, function, arguments, .. }) => {
                assert_eq!((player.as_str(), function.as_str()), ("p", "f"));
                assert_eq!(arguments, ["{a: 1}", "-3", "-1.5", "\"x y\""]);
            }
            other => panic!("{other:?}"),
        }
        assert!(read("host call p f -- -inf").is_ok() && read("host call p").is_err());
    }

    #[test]
    fn several_nodes_are_kept_in_order() {
        let (_, _, call, _) = reward("host reward p 5 --node a:1 --node b:2,c:3");
        assert_eq!(call.reach.node, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn a_nodes_flags_do_not_go_with_a_command() {
        let error = read("host --name app_node1 nodes").unwrap_err();
        assert!(error.to_string().contains("`--name` runs a node and does not go with `nodes`"));
        assert_eq!(error.exit_code(), 2);
        assert!(read("host --json nodes").is_ok());
        let error = read("host --name app_node1 doctor").unwrap_err();
        assert!(error.to_string().contains("behind the command: host doctor … --name …"));
        assert!(read("host doctor --name app_node1").is_ok());
        assert!(read("host --keepers 2 nodes").is_err() && read("host --config f nodes").is_err());
    }
}
