//! The command line of the code that players run.

use std::path::PathBuf;

use clap::Subcommand;

use super::ReachArgs;
use crate::limits::{FAILED_PLAYERS_MAX, FAILURES_BORNE, TRAPS_BORNE};

/// Options of `host deploy`, at a shell and at a prompt.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct DeployArgs {
    /// Deploy this component, or what the program `build` in this folder makes
    #[arg(value_name = "WASM|FOLDER")]
    pub(in crate::cli) component: PathBuf,
    /// Deploy it for a part of the players, for example 5%; deploy it again without this for all
    #[arg(long, value_name = "PART", conflicts_with = "players")]
    pub(in crate::cli) canary: Option<String>,
    /// Deploy it for players whose ids are like this, for example 'vip-*'
    #[arg(long, value_name = "PATTERN")]
    pub(in crate::cli) players: Option<String>,
    /// Only say what would become of the players
    #[arg(long)]
    pub(in crate::cli) check: bool,
    /// Leave players that exist on the code that they have; new ones begin with this
    #[arg(long, conflicts_with = "reset")]
    pub(in crate::cli) pin: bool,
    /// Have players begin anew with this code; what they were is given up
    #[arg(long)]
    pub(in crate::cli) reset: bool,
    /// Take it back when more players than this fail on it
    #[arg(long, value_name = "N", default_value_t = FAILURES_BORNE)]
    #[arg(value_parser = clap::value_parser!(u32).range(..FAILED_PLAYERS_MAX as i64))]
    pub(in crate::cli) max_failures: u32,
    /// Let a player fail when more than this of its first ten calls trap
    #[arg(long, value_name = "N", default_value_t = TRAPS_BORNE)]
    pub(in crate::cli) max_traps: u32,
    /// Do not wait until the players have come to it
    #[arg(long)]
    pub(in crate::cli) no_wait: bool,
}

/// Where a deployment is asked for, and for how long.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DeployReachArgs {
    /// Ask this node instead of one on this machine; repeat it to try several in turn
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', env = "PLAYER_HOST_NODE")]
    pub(in crate::cli) node: Vec<String>,
    /// Give up after this time: large components take long to compile
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(in crate::cli) deadline: String,
}

impl From<DeployReachArgs> for ReachArgs {
    fn from(DeployReachArgs { node, deadline }: DeployReachArgs) -> Self {
        Self { node, deadline }
    }
}

/// Commands about the code that players run.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CodeCommand {
    /// List what was deployed, newest first, and how many players run it
    List {
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Take the newest deployment back: its players return to the code before it
    ///
    /// A player that no call has changed since becomes exactly what it was. The others go back with
    /// their state, if both components export `migrate`, or stay where they are.
    Rollback {
        /// Take back this deployment and no newer one
        #[arg(long, value_name = "NUMBER")]
        deployment: Option<u64>,
        /// Do not wait until the players have gone back
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        reach: DeployReachArgs,
    },
}
