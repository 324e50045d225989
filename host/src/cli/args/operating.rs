//! The command line of those who operate a cluster.

use super::CallArgs;

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
