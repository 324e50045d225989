//! The `host` program: everything it does is in [`host::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    host::cli::run()
}
