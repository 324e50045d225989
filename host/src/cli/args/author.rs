//! The command line of who writes a guest.

use std::path::PathBuf;

use crate::cli::new::Language;

/// Options of `host dev`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DevArgs {
    /// Start this many nodes
    #[arg(long, default_value_t = 3)]
    pub(in crate::cli) nodes: usize,
    /// Run this component as the players' code instead of the built-in one, or what the program
    /// `build` in this folder makes
    #[arg(long, value_name = "WASM|FOLDER", env = "PLAYER_HOST_GUEST")]
    pub(in crate::cli) guest: Option<PathBuf>,
    /// Let the first node speak HTTP on this address, the next one on the next port, and so on
    #[arg(long, value_name = "IP:PORT")]
    pub(in crate::cli) http: Option<String>,
    /// Build and deploy the guest again whenever a file in its folder is saved
    #[arg(long)]
    pub(in crate::cli) watch: bool,
}

/// Options of `host new`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NewArgs {
    /// Write it here; the last part is its name, for example my-player
    pub(in crate::cli) folder: PathBuf,
    /// Write it in this language
    #[arg(long, value_name = "LANGUAGE", value_enum, default_value_t = Language::Rust)]
    pub(in crate::cli) lang: Language,
}
