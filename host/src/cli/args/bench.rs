//! The command line of `host bench`.

use std::path::PathBuf;

use clap::{ValueEnum, value_parser};

use crate::limits::CALLS_IN_FLIGHT_MAX;

/// Most players: those that do not run take memory, too, in this process as in the nodes.
const PLAYERS_MAX: i64 = 2_000_000;
/// Longest measurement, in seconds.
const SECONDS_MAX: i64 = 3600;
/// Highest rate, in calls a second: more than one thread of a client sends.
const RATE_MAX: i64 = 1_000_000;

/// What each call asks of its player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Payload {
    /// Add one point: the changed bytes go to the keepers
    Reward,
    /// Ask for the points: nothing changes, and the keepers confirm it
    Points,
}

/// The node that each call is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Through {
    /// The node that owns the players
    Owner,
    /// All nodes in turn
    Any,
    /// A node that does not own the players, and forwards each call
    Wrong,
    /// The owner from within its own process: `--inside`
    #[value(skip)]
    Inside,
}

/// Options of a measurement.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BenchArgs {
    /// Make this many players and call each as often as any other
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = value_parser!(u32).range(1..=PLAYERS_MAX))]
    pub(in crate::cli) players: u32,
    /// Keep at most this many calls under way at the same time; 1 shows the latency of a call
    #[arg(long, value_name = "C", default_value_t = 256)]
    #[arg(value_parser = value_parser!(u32).range(1..=CALLS_IN_FLIGHT_MAX as i64))]
    pub(in crate::cli) callers: u32,
    /// Measure for this many seconds, after one second that does not count
    #[arg(long, value_name = "S", default_value_t = 5)]
    #[arg(value_parser = value_parser!(u32).range(1..=SECONDS_MAX))]
    pub(in crate::cli) seconds: u32,
    /// Send all calls to one of the players
    #[arg(long)]
    pub(in crate::cli) hot: bool,
    /// Choose what each call is
    #[arg(long, value_name = "CALL", default_value = "reward")]
    pub(in crate::cli) payload: Payload,
    /// Have this many calls due each second, all callers together, and count each from the moment
    /// at which it was due (open loop); without it a caller sends its next call when it has its
    /// answer (closed loop)
    #[arg(long, value_name = "R", value_parser = value_parser!(u32).range(1..=RATE_MAX))]
    pub(in crate::cli) rate: Option<u32>,
    /// Choose where calls are sent
    #[arg(long, value_name = "NODES", default_value = "owner")]
    pub(in crate::cli) through: Through,
    /// Run the node that owns the players in this process, and have the callers call it there,
    /// without a network in between
    #[arg(long)]
    pub(in crate::cli) inside: bool,
    /// Start this many nodes, 2 to 9; one more than keepers unless it is said
    #[arg(long, value_name = "N")]
    pub(in crate::cli) nodes: Option<usize>,
    /// Run this component as the players of the started cluster, instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) guest: Option<PathBuf>,
    /// Keep each player of the started cluster on this many other nodes, 1 to 8
    #[arg(long, value_name = "K")]
    pub(in crate::cli) keepers: Option<String>,
    /// Answer when the started cluster's keepers have a call in `memory` or on `disk`
    #[arg(long, value_name = "WHERE")]
    pub(in crate::cli) ack: Option<String>,
    /// Put the load on the running cluster of this node instead of starting one; repeat it to try
    /// several in turn
    // Not from the environment: who has a node in it does not mean to put a load on it.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(in crate::cli) node: Vec<String>,
}
