//! A build as a child process: its last words, and its end with all that it started.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio::time::timeout;

/// Bytes that are kept of what a build says: the end of it, which says what failed.
const WORDS_BYTES_MAX: usize = 16 * 1024;
/// Longest wait for the last words of a build that has ended. Its pipe closes with it, unless it left
/// something behind.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// Runs the build and watches standard input meanwhile. That closes when nobody wants the build any
/// more, also when this process is killed; then it ends with everything that it has started, for all of
/// them are in one process group.
const GUARD: &str = r#"
exec 3<&0
"$1" < /dev/null 3<&- &
build=$!
{ read -r line <&3; kill -KILL 0; } > /dev/null 2>&1 &
guard=$!
wait "$build"
status=$?
kill -KILL "$guard"
exit "$status"
"#;

/// A running build. It is killed, with all that it has started, when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    /// The build ends when this is closed.
    _stdin: Option<ChildStdin>,
    words: Receiver,
}

impl Child {
    /// Starts a program in a folder.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn spawn(program: &Path, folder: &Path) -> io::Result<Self> {
        // One pipe for both, so that the lines come in their order.
        let (words, writer) = io::pipe()?;
        let words = Receiver::from_owned_fd(words.into())?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARD, "build"]).arg(program).current_dir(folder);
        for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
            command.env_remove(name);
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = process.stdin.take();
        Ok(Self { process, _stdin: stdin, words })
    }

    /// Waits until it has ended. Returns how, and its last words.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) async fn ended(mut self) -> io::Result<(ExitStatus, String)> {
        let mut words = Vec::new();
        let mut open = true;
        let status = loop {
            tokio::select! {
                status = self.process.wait() => break status?,
                more = read(&mut self.words, &mut words), if open => open = more?,
            }
        };
        // Something that it left behind may hold the pipe open; then the rest is not worth the wait.
        let rest = async { while read(&mut self.words, &mut words).await.unwrap_or(false) {} };
        timeout(LAST_WORDS_MAX, rest).await.ok();
        let start = words.len().saturating_sub(WORDS_BYTES_MAX);
        Ok((status, String::from_utf8_lossy(&words[start..]).into_owned()))
    }
}

/// Reads some of what is said, and forgets what was said long before. Returns whether more may come.
async fn read(pipe: &mut Receiver, words: &mut Vec<u8>) -> io::Result<bool> {
    let read = pipe.read_buf(words).await?;
    if words.len() > 2 * WORDS_BYTES_MAX {
        words.drain(..words.len() - WORDS_BYTES_MAX);
    }
    Ok(read > 0)
}

/// Whether a variable speaks of the build that this program runs in, as with `cargo run`, and is not for
/// another one. Where packages come from is.
fn is_of_outer_build(name: &OsStr) -> bool {
    const KEPT: [&str; 5] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    const OUTER: [&str; 5] = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    let name = name.to_string_lossy();
    let begins = |prefix: &&str| name.starts_with(prefix);
    env::var_os("CARGO_MANIFEST_DIR").is_some()
        && !KEPT.iter().any(begins)
        && OUTER.iter().any(begins)
}
