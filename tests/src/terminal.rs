//! A command of the host on a terminal of its own, with somebody at its keys.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{host_binary, host_command, reap};
use crate::wait::{PATIENCE, eventually};

/// What runs on the terminal: its settings before and after the command, how that ended, and before
/// anything else the command's process number, which is the inner shell's.
const SCRIPT: &str = r#"stty rows 24 cols 100
echo "before $(stty -g)"
sh -c 'echo "pid $$"; exec "$@"' host "$@"
code=$?
echo
echo "code $code"
echo "after $(stty -g)"
"#;

/// A terminal on which a command runs. Dropping it kills the command.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
}

/// How a terminal was left.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// The command's exit code.
    pub code: i32,
    /// Whether the terminal's settings are those of before.
    pub restored: bool,
    /// All that was written to it.
    pub shown: String,
}

impl Terminal {
    /// Starts the host with these arguments on a terminal with 100 columns and 24 lines.
    ///
    /// # Panics
    ///
    /// When it cannot be started: `script` is a part of util-linux.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let host = host_binary();
        let host = host.to_str().expect("the path of the host is UTF-8");
        let words: Vec<_> = [host].iter().chain(args).map(|word| quoted(word)).collect();
        let line = format!("sh -c {} sh {}", quoted(SCRIPT), words.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        // As every command of the tests, whoever tests.
        for (name, value) in host_command().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("TERM", "xterm").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("start `script`, which gives a terminal");
        let keys = child.stdin.take().expect("its input is a pipe");
        let mut stdout = child.stdout.take().expect("its output is a pipe");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&shown);
        // Ends with the output.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut piece) {
                all.lock().unwrap_or_else(PoisonError::into_inner).extend(&piece[..length]);
            }
        });
        Self { child, keys, shown }
    }

    /// Presses keys.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until a word has been written. What a program draws leaves out what was there before, so it
    /// has no spaces.
    ///
    /// # Panics
    ///
    /// When it is not written in time.
    #[track_caller]
    pub fn await_word(&self, word: &str) {
        eventually(PATIENCE, || {
            let shown = self.shown();
            if shown.contains(word) { Ok(()) } else { Err(format!("no `{word}` in {shown:?}")) }
        });
    }

    /// Asks the command to end, as `kill` does.
    ///
    /// # Panics
    ///
    /// When the signal cannot be sent.
    #[track_caller]
    pub fn terminate(&self) {
        let shown = self.shown();
        let pid = field(&shown, "pid ").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        kill_process(pid.expect("the command has said its number"), Signal::TERM).expect("send it");
    }

    /// Waits for the command's end.
    ///
    /// # Panics
    ///
    /// When it does not end, or nothing is said of the terminal afterwards.
    #[track_caller]
    pub fn finish(mut self) -> Left {
        let status = eventually(PATIENCE, || {
            let status = self.child.try_wait().map_err(|error| error.to_string())?;
            status.ok_or_else(|| format!("it runs: {:?}", self.shown()))
        });
        assert!(status.success(), "{status}: {:?}", self.shown());
        // The last of it is on its way through a pipe.
        let (before, code, after) = eventually(PATIENCE, || {
            let shown = self.shown();
            let said = |name| field(&shown, name).map(str::to_owned);
            let all = (|| Some((said("before ")?, said("code ")?, said("after ")?)))();
            all.ok_or_else(|| format!("it has not ended well: {shown:?}"))
        });
        let code = code.parse().expect("an exit code is a number");
        Left { code, restored: before == after, shown: self.shown() }
    }

    fn shown(&self) -> String {
        let shown: MutexGuard<'_, Vec<u8>> =
            self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

/// Returns what is behind a name at the beginning of a whole line.
fn field<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    let lines = shown.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.filter_map(|line| line.strip_prefix(name)).next_back().map(str::trim)
}
