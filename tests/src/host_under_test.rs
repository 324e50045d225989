//! The host, built as part of this crate: the integration tests run this one.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    // Players of which a file in this folder says why their states cannot be restored.
    if let Some(folder) = env::var_os("HOST_UNDER_TEST_SABOTAGE") {
        host::player::sabotage_restores(move |player| {
            fs::read_to_string(Path::new(&folder).join(player.as_str())).ok()
        });
    }
    host::cli::run()
}
