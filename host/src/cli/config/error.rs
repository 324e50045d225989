//! What can be wrong with a command line, one sentence each.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;
use tracing_subscriber::filter::ParseError;

use super::{DEADLINE_MAX, IDLE_MAX};
use crate::cli::args::FilePlace;
use crate::cli::new::InvalidName;
use crate::cli::workshop::BuildError;
use crate::limits::{
    COMPONENT_BYTES_MAX, GUEST_MEMORY_BYTES_MAX, GUEST_MEMORY_BYTES_MIN, NODES_MAX,
};
use crate::net::SecretError;
use crate::protocol::{InvalidAudience, InvalidId, InvalidSetting};

/// Why a command line means nothing. Nothing was asked of any node.
#[derive(Debug, Error)]
pub(in crate::cli) enum UsageError {
    /// What is wrong stands in the configuration file.
    #[error("{sentence} ({place})")]
    Line {
        /// What is said of the flag.
        sentence: String,
        /// Where it stands.
        place: FilePlace,
    },
    /// A node without a name.
    #[error("a node needs a name, for example `host --name app_node1` (`host --help` says more)")]
    NoName,
    /// A player id, a node name or a key that is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// Nobody knows which players are meant.
    #[error(transparent)]
    Audience(#[from] InvalidAudience),
    /// `--listen` is not an address.
    #[error("`{given}` is not an address to listen on; expected one like 127.0.0.1:4433")]
    Listen {
        /// What was typed.
        given: String,
    },
    /// `--bootstrap-expect` does not fit the list.
    #[error(
        "--bootstrap-expect {given} does not fit the nodes that --join names, which are {listed}: it \
         is {fewest} to {listed}; with fewer than a majority two clusters could begin"
    )]
    BootstrapExpect {
        /// What was typed.
        given: usize,
        /// How many nodes `--join` names.
        listed: usize,
        /// How many it must be at least.
        fewest: usize,
    },
    /// `--http` is not an address.
    #[error("`{given}` is not an address to speak HTTP on; expected one like 127.0.0.1:8080")]
    Http {
        /// What was typed.
        given: String,
    },
    /// The nodes of a throw-away cluster cannot speak HTTP there.
    #[error(
        "`{given}` is not where {nodes} nodes of this machine can speak HTTP; expected an address like \
         127.0.0.1:8080, with a free port for each from there on"
    )]
    DevHttp {
        /// What was typed.
        given: String,
        /// How many nodes.
        nodes: usize,
    },
    /// `--listen` is an address that nobody can dial.
    #[error("other nodes cannot reach {given}; listen on one of this machine's own addresses")]
    Unspecified {
        /// What was typed.
        given: SocketAddr,
    },
    /// The secret of this machine does not protect a node that others reach.
    #[error(
        "listening on {listen} needs a secret: run `host secret new FILE`, copy it to each machine \
         and start each node with --secret-file FILE"
    )]
    SecretNeeded {
        /// What was typed.
        listen: SocketAddr,
    },
    /// `--join` or `--node` is not an address.
    #[error("`{given}` is not a node's address; expected host:port, for example 127.0.0.1:4433")]
    Address {
        /// What was typed.
        given: String,
    },
    /// `--idle-after` is not a time that a player can be without calls.
    #[error(
        "`{given}` is no time for --idle-after; expected one like 60s or 10m, up to {} minutes",
        IDLE_MAX.as_secs() / 60
    )]
    IdleTime {
        /// What was typed.
        given: String,
    },
    /// A setting of the cluster that is none.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The guest cannot be read.
    #[error("cannot read the guest {}", .path.display())]
    GuestFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guest is a folder.
    #[error(
        "{} is a folder: name the .wasm file in it; only `host dev` and `host deploy` build a folder's \
         guest",
        .path.display()
    )]
    GuestFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The guest's folder cannot be used.
    #[error(transparent)]
    Workshop(Box<BuildError>),
    /// A guest's name is not good.
    #[error(transparent)]
    GuestName(#[from] InvalidName),
    /// `--watch` without a folder.
    #[error(
        "--watch needs --guest FOLDER, whose files are watched; `host new my-player` writes one"
    )]
    NothingToWatch,
    /// A screen has no JSON.
    #[error("--json goes with `host top --once`: a screen has no JSON")]
    TopJson,
    /// The guest is too large.
    #[error("the guest {} has {len} bytes, more than {COMPONENT_BYTES_MAX}", .path.display())]
    GuestSize {
        /// The file.
        path: PathBuf,
        /// Its length, in bytes.
        len: u64,
    },
    /// The guest is something else.
    #[error("the guest {} is not WebAssembly in binary form", .path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// `--deadline` is not a time.
    #[error(
        "`{given}` is not a deadline; expected one like 10s or 500ms, at most {} s",
        DEADLINE_MAX.as_secs()
    )]
    Deadline {
        /// What was typed.
        given: String,
    },
    /// `--guest-memory` or `--memory` is not a size.
    #[error(
        "`{given}` is no size for {flag}; expected one like 64MiB or 2GiB, for --guest-memory from \
         {} to {} MiB",
        GUEST_MEMORY_BYTES_MIN >> 20,
        GUEST_MEMORY_BYTES_MAX >> 20
    )]
    Size {
        /// The option.
        flag: &'static str,
        /// What was typed.
        given: String,
    },
    /// `--log` is not a filter.
    #[error("`{given}` is not a log filter; expected one like info or host=debug")]
    Log {
        /// What was typed.
        given: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// `--nodes` is out of range.
    #[error("`host dev` runs 1 to {NODES_MAX} nodes, not {given}")]
    NodeCount {
        /// What was typed.
        given: usize,
    },
    /// `host bench --nodes` is out of range.
    #[error("`host bench` starts 2 to {NODES_MAX} nodes, not {given}")]
    BenchNodeCount {
        /// What was typed.
        given: usize,
    },
    /// More keepers than there are nodes besides the owner's.
    #[error("{nodes} nodes cannot keep a player on {keepers} others; start more with --nodes")]
    KeeperCount {
        /// How many nodes.
        nodes: usize,
        /// How many keepers.
        keepers: usize,
    },
    /// An option of a started cluster beside `--node`.
    #[error("`{flag}` is for a cluster that `host bench` starts; with --node one runs already")]
    RunningCluster {
        /// The option.
        flag: &'static str,
    },
    /// `--inside` beside a choice of other nodes.
    #[error("with --inside all calls are made in the owner's process; leave out --through")]
    InsideOwner,
    /// `--inside` beside `--node`.
    #[error(
        "--inside runs the owner's node in this process; with --node a cluster runs already, and no \
         node of it is here"
    )]
    InsideRunning,
    /// There is no place for files.
    #[error("HOME names no folder for state; use --data-dir and --secret-file")]
    NoStateFolder,
    /// A folder cannot be made.
    #[error("cannot make the folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody, or several, are to crash.
    #[error(
        "say who is to crash: `host crash player1`, or one node: `host crash --node app_node2`"
    )]
    Crash,
}

impl From<BuildError> for UsageError {
    fn from(error: BuildError) -> Self {
        Self::Workshop(Box::new(error))
    }
}
