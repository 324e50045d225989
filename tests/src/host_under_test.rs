//! The host, built as part of this crate: the integration tests run this one.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::cli::run()
}
