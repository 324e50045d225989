//! The command line of those who operate a cluster.

use std::path::PathBuf;

use super::{CallArgs, ReachArgs};

/// Options of `host export`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArgs {
    /// Name the player
    pub(in crate::cli) player: String,
    #[command(flatten)]
    pub(in crate::cli) reach: ReachArgs,
}

/// Options of `host watch`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WatchArgs {
    /// Name the player
    pub(in crate::cli) player: String,
    #[command(flatten)]
    pub(in crate::cli) reach: ReachArgs,
}

/// Options of `host top`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TopArgs {
    /// Print one picture as text and end; with --json its numbers. It has what happened since each
    /// node's start
    #[arg(long)]
    pub(in crate::cli) once: bool,
    #[command(flatten)]
    pub(in crate::cli) reach: ReachArgs,
}

/// Options of `host import`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportArgs {
    /// Name the player that begins
    pub(in crate::cli) player: String,
    /// Read this file instead of standard input
    pub(in crate::cli) file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Options of `host crash`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CrashArgs {
    /// Name the player whose instance is thrown away
    pub(in crate::cli) player: Option<String>,
    /// End the process of the node of this name; with an address, ask the node there, as everywhere
    #[arg(long, value_name = "NODE|HOST:PORT", value_delimiter = ',')]
    pub(in crate::cli) node: Vec<String>,
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(in crate::cli) deadline: String,
}

/// Options of `host move`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct MoveArgs {
    /// Name the player
    pub(in crate::cli) player: String,
    /// Have this node own it
    #[arg(long, value_name = "NODE")]
    pub(in crate::cli) to: String,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}
