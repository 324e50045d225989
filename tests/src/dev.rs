//! A whole cluster in one `host dev`, driven through its standard input as a script would.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{host_command, reap};
use crate::slots::Slot;
use crate::wait::{PATIENCE, eventually};

/// Lines that may wait for the test to read them.
const UNREAD_LINES_MAX: usize = 4096;

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its input ends.
    Input,
    /// `kill`.
    Terminate,
    /// Ctrl-C.
    Interrupt,
    /// `kill -9`.
    Kill,
}

/// A running `host dev`. Dropping it kills it.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
    temporary: PathBuf,
    folder: TempDir,
    _slot: Slot,
}

impl Dev {
    /// Starts a cluster of `nodes`. Commands may be given at once.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, &[])
    }

    /// Starts a cluster of `nodes` with more options. Commands may be given at once.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start_with(nodes: usize, flags: &[&str]) -> Self {
        let slot = Slot::take();
        let folder = TempDir::with_prefix("dev-").expect("create the session's folder");
        let (log, temporary) = (folder.path().join("log"), folder.path().join("tmp"));
        fs::create_dir(&temporary).expect("create the folder for temporary files");
        let mut command = host_command();
        command.args(["dev", "--nodes", &nodes.to_string()]).args(flags).env("TMPDIR", &temporary);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(&log).expect("create the session's log"));
        let mut child = command.spawn().expect("start the host");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("the output is a pipe"));
        let (sender, lines) = sync_channel(UNREAD_LINES_MAX);
        // Ends with the output, or when nobody listens any more.
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, stdin, lines, log, temporary, folder, _slot: slot }
    }

    /// Types a command.
    ///
    /// # Panics
    ///
    /// When the session has ended.
    #[track_caller]
    pub fn say(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("the session's input is open");
        writeln!(stdin, "{command}").expect("the session reads its input");
    }

    /// Reads answers up to the first line that is a number. Returns the lines before it and it.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[track_caller]
    pub fn hear_number(&mut self) -> (Vec<String>, i64) {
        self.hear_number_within(PATIENCE)
    }

    #[track_caller]
    fn hear_number_within(&mut self, patience: Duration) -> (Vec<String>, i64) {
        let mut before = Vec::new();
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => match line.trim().parse() {
                    Ok(number) => return (before, number),
                    Err(_) => before.push(line),
                },
                Err(error) => panic!("no number ({error}), only {before:#?}\n{}", self.log()),
            }
        }
    }

    /// Gives a command that answers with a number and returns it.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[track_caller]
    pub fn ask_number(&mut self, command: &str) -> i64 {
        self.say(command);
        self.hear_number().1
    }

    /// Gives a command that answers with a number, once what the session waits for is there, and returns
    /// it.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[track_caller]
    pub fn ask_number_within(&mut self, patience: Duration, command: &str) -> i64 {
        self.say(command);
        self.hear_number_within(patience).1
    }

    /// Waits until the session has logged these words.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    #[track_caller]
    pub fn await_log(&self, patience: Duration, words: &str) {
        eventually(patience, || {
            let log = self.log();
            if log.contains(words) { Ok(()) } else { Err(format!("no `{words}`\n{log}")) }
        });
    }

    /// Gives a command and returns all lines of its answer. `player` must exist: its points, asked
    /// right afterwards, mark the end.
    ///
    /// # Panics
    ///
    /// When there is no answer in time.
    #[track_caller]
    pub fn ask_lines(&mut self, command: &str, player: &str) -> Vec<String> {
        self.say(command);
        self.say(&format!("points {player}"));
        self.hear_number().0
    }

    /// Returns the session's processes: its nodes and whatever else it started.
    ///
    /// # Panics
    ///
    /// When the system has no `/proc`.
    pub fn processes(&self) -> Vec<Orphan> {
        Orphan::children_of(self.child.id())
    }

    /// Ends the session and returns how it ended.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self, how: End) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        let signal = |signal| kill_process(pid, signal).expect("send a signal to the session");
        match how {
            End::Input => drop(self.stdin.take()),
            End::Terminate => signal(Signal::TERM),
            End::Interrupt => signal(Signal::INT),
            End::Kill => signal(Signal::KILL),
        }
        self.await_end()
    }

    /// Waits until the session has ended by itself and returns how.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        eventually(PATIENCE, || {
            let status = self.child.try_wait().map_err(|error| error.to_string())?;
            status.ok_or_else(|| format!("`host dev` runs\n{}", self.log()))
        })
    }

    /// Returns what is left in the folder for temporary files.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn left_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.temporary).expect("read the folder for temporary files");
        entries.map(|entry| entry.expect("read an entry").path()).collect()
    }

    /// Returns what the nodes and the session logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("--- dev ({})\n{}", self.log.display(), self.log());
        }
        reap(&mut self.child);
    }
}

/// A process that its parent should not leave behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pid: u32,
    /// Start time, so that a reused number is not taken for it.
    started: String,
}

impl Orphan {
    /// Returns what a process has started and is still there, and what that has started.
    pub(crate) fn children_of(parent: u32) -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("the system has /proc");
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids = names.filter_map(|name| name.parse().ok());
        let children: Vec<_> = pids
            .filter_map(|pid| {
                let stat = Stat::read(pid)?;
                (stat.parent == parent).then_some(Self { pid, started: stat.started })
            })
            .collect();
        let below: Vec<_> =
            children.iter().flat_map(|child| Self::children_of(child.pid)).collect();
        children.into_iter().chain(below).collect()
    }

    /// Whether it still runs. One that has ended but was not collected does not.
    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != "Z")
    }
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    state: String,
    parent: u32,
    started: String,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before the last parenthesis may contain anything.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).map(|&field| field.to_owned());
        Some(Self { state: field(3)?, parent: field(4)?.parse().ok()?, started: field(22)? })
    }
}
