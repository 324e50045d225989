//! The command line of what looks at failures.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::ReachArgs;

/// Commands about players in quarantine.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QuarantineCommand {
    /// List the players of the cluster that are in quarantine, and why
    List {
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Let a player be restored again at its next call
    Release {
        /// Name the player
        player: String,
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Write the state that could not be restored to standard output, for `host replay`
    Export {
        /// Name the player
        player: String,
        #[command(flatten)]
        reach: ReachArgs,
    },
}

/// Options of `host bundle`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BundleArgs {
    /// Name the player
    pub(in crate::cli) player: String,
    /// Choose the failure
    pub(in crate::cli) failure: Failure,
    #[command(flatten)]
    pub(in crate::cli) reach: ReachArgs,
}

/// What can be in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Failure {
    /// The latest call that trapped on the node that runs the player
    LastTrap,
}

/// Options of `host replay`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReplayArgs {
    /// Read this bundle
    pub(in crate::cli) bundle: PathBuf,
    /// Run this component instead of the built-in one
    #[arg(long, value_name = "WASM")]
    pub(in crate::cli) guest: Option<PathBuf>,
}
