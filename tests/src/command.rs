//! One run of the host's command line, from its start to its exit code.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::wait::{PATIENCE, pause};

/// Longest time a command may run: longer than any deadline a test gives it, so that a command
/// that does not keep its own deadline is told from one that does.
const RUN_TIME_MAX: Duration = PATIENCE.saturating_mul(2);

/// Returns the host to test: `host-under-test` beside the current executable, or beside the folder
/// of test executables that it is in.
///
/// # Panics
///
/// When it was not built.
pub fn host_binary() -> PathBuf {
    let here = std::env::current_exe().expect("the current executable has a path");
    let folders = here.ancestors().skip(1).take(2);
    let name = format!("host-under-test{}", std::env::consts::EXE_SUFFIX);
    let mut candidates = folders.map(|folder| folder.join(&name));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no {name} near {}: `cargo build -p tests --bins` builds it",
            here.display()
        )
    })
}

/// Runs the host with these arguments to its end.
///
/// # Panics
///
/// When it cannot be started or does not end.
#[track_caller]
pub fn host(args: &[&str]) -> Ran {
    spawn_host(args).finish()
}

/// Starts the host with these arguments and returns at once.
///
/// # Panics
///
/// When it cannot be started.
#[track_caller]
pub fn spawn_host(args: &[&str]) -> Running {
    spawn(host_command(), args)
}

/// Starts a command of the host with these arguments, and returns at once.
#[track_caller]
pub(crate) fn spawn(command: Command, args: &[&str]) -> Running {
    spawn_with(command, args, tempfile::tempfile().expect("create a file for the command's output"))
}

#[track_caller]
fn spawn_with(mut command: Command, args: &[&str], stdout: File) -> Running {
    // Files instead of pipes: nobody has to read them while the command runs.
    let stderr = tempfile::tempfile().expect("create a file for the command's messages");
    let clone = |file: &File| Stdio::from(file.try_clone().expect("share an open file"));
    command.args(args).stdin(Stdio::null()).stdout(clone(&stdout)).stderr(clone(&stderr));
    let start = Instant::now();
    let child = command.spawn().expect("start the host");
    Running { words: args.join(" "), child, stdout, stderr, start }
}

/// Starts the host with these arguments, and returns at once. What it answers goes to this file.
#[track_caller]
pub(crate) fn spawn_host_writing(args: &[&str], file: &Path) -> Running {
    let stdout = File::create(file).expect("create a file for the command's output");
    let mut running = spawn_with(host_command(), args, stdout);
    running.stdout = tempfile::tempfile().expect("create an empty file");
    running
}

/// The host's command without arguments, in an environment that does not depend on who tests.
pub(crate) fn host_command() -> Command {
    let mut command = Command::new(host_binary());
    let ours = |name: &OsString| name.to_string_lossy().starts_with("PLAYER_HOST_");
    std::env::vars_os().map(|(name, _)| name).filter(ours).for_each(|name| {
        command.env_remove(name);
    });
    // Colours would get between a test and the words it looks for.
    command.env("NO_COLOR", "1").env_remove("RUST_LOG").env_remove("CLICOLOR_FORCE");
    command
}

/// A command that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    words: String,
    child: Child,
    stdout: File,
    stderr: File,
    start: Instant,
}

impl Running {
    /// Returns its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Presses Ctrl-C.
    ///
    /// # Panics
    ///
    /// When the signal cannot be sent.
    #[track_caller]
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("send a signal");
    }

    /// Returns the lines that it has answered until now.
    ///
    /// # Panics
    ///
    /// When they cannot be read.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let len = self.stdout.metadata().expect("look at a file of our own").len();
        let mut bytes = vec![0; usize::try_from(len).expect("a few lines")];
        // Not where the command writes: it has this place in the file, too.
        self.stdout.read_exact_at(&mut bytes, 0).expect("read what the command wrote");
        let text = String::from_utf8(bytes).expect("the host writes UTF-8");
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn finish(mut self) -> Ran {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for the command") {
                break status;
            }
            if self.start.elapsed() > RUN_TIME_MAX {
                let stderr = read(&mut self.stderr);
                panic!("`host {}` does not end after {RUN_TIME_MAX:?}\n{stderr}", self.words);
            }
            pause();
        };
        Ran {
            elapsed: self.start.elapsed(),
            words: std::mem::take(&mut self.words),
            status,
            stdout: read(&mut self.stdout),
            stderr: read(&mut self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

/// Kills a child, even a stopped one, and collects it.
pub(crate) fn reap(child: &mut Child) {
    // Both fail only if it has ended and was collected already.
    drop(child.kill());
    drop(child.wait());
}

fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let result: io::Result<_> = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    result.expect("read what the command wrote");
    String::from_utf8(bytes).expect("the host writes UTF-8")
}

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its arguments.
    pub words: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it answered.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
    /// From its start to its end.
    pub elapsed: Duration,
}

impl Ran {
    /// Returns its exit code, or nothing if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns what it answered with exit code 0.
    ///
    /// # Errors
    ///
    /// With everything it wrote, when it did not end well or answered something else.
    pub fn done<T: DeserializeOwned>(&self) -> Result<T, String> {
        self.ended(0)
    }

    /// Returns what it answered with this exit code.
    ///
    /// # Errors
    ///
    /// With everything it wrote, when it ended otherwise or answered something else.
    pub fn ended<T: DeserializeOwned>(&self, code: i32) -> Result<T, String> {
        if self.code() != Some(code) {
            return Err(format!("expected exit code {code}: {}", self.all()));
        }
        serde_json::from_str(self.stdout.trim())
            .map_err(|error| format!("unexpected answer ({error}): {}", self.all()))
    }

    /// Returns everything that is known of it, for a message.
    pub fn all(&self) -> String {
        let Self { words, status, stdout, stderr, .. } = self;
        format!("`host {words}`: {status}\nstdout: {}\nstderr: {}", stdout.trim(), stderr.trim())
    }
}
