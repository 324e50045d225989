//! A `host bench` with a cluster of its own.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::command::{Ran, Running, host_command, spawn};
use crate::dev::Orphan;
use crate::slots::Slot;

/// A running `host bench`. Dropping it kills it.
#[derive(Debug)]
pub struct Bench {
    running: Running,
    temporary: TempDir,
    _slot: Slot,
}

impl Bench {
    /// Starts it with these arguments; it answers in JSON.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let slot = Slot::take();
        let temporary = TempDir::with_prefix("bench-").expect("create a folder");
        let mut command = host_command();
        command.env("TMPDIR", temporary.path());
        let running = spawn(command, &[&["bench", "--json"], args].concat());
        Self { running, temporary, _slot: slot }
    }

    /// Returns the processes that it has started and that are still there.
    ///
    /// # Panics
    ///
    /// When the system has no `/proc`.
    pub fn processes(&self) -> Vec<Orphan> {
        Orphan::children_of(self.running.pid())
    }

    /// Presses Ctrl-C.
    ///
    /// # Panics
    ///
    /// When it does not run any more.
    #[track_caller]
    pub fn interrupt(&self) {
        self.running.interrupt();
    }

    /// Waits for its end. Returns how it ended, and what it has left in the folder for temporary
    /// files.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn finish(self) -> (Ran, Vec<PathBuf>) {
        let ran = self.running.finish();
        let entries = self.temporary.path().read_dir().expect("read the folder");
        (ran, entries.map(|entry| entry.expect("read an entry").path()).collect())
    }
}
