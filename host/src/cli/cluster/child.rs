//! One node as a child process: its lines, its signals, its end.

use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::render;
use crate::cli::screen::Screen;

/// Longest wait for the last lines of a child that has ended. Its pipes close with it.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

/// A running child. Killed when dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    /// The child stops when this is closed.
    stdin: Option<ChildStdin>,
    frozen: bool,
    readers: JoinSet<()>,
}

impl Child {
    /// Starts the command. Its lines go to the screen behind `label`; the address in its ready line
    /// comes through the receiver, which fails if the child ends without one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn spawn(
        mut command: Command,
        label: &str,
        screen: &Screen,
    ) -> io::Result<(Self, oneshot::Receiver<SocketAddr>)> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C at the terminal is for the parent, which stops the child
            // in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = process.stdin.take();
        let (ready, addr) = oneshot::channel();
        let mut readers = JoinSet::new();
        if let Some(out) = process.stdout.take() {
            readers.spawn(forward(out, label.to_owned(), screen.clone(), Some(ready)));
        }
        if let Some(err) = process.stderr.take() {
            readers.spawn(forward(err, label.to_owned(), screen.clone(), None));
        }
        Ok((Self { process, stdin, frozen: false, readers }, addr))
    }

    /// Whether it is frozen.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Freezes the process.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn freeze(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        self.frozen = true;
        Ok(())
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn thaw(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)?;
        self.frozen = false;
        Ok(())
    }

    /// Kills the process, frozen or not, and reaps it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        self.process.kill().await?;
        self.drain().await;
        Ok(())
    }

    /// Asks the process to stop in good order: closes its standard input.
    pub(super) fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Waits until the process has ended, and reaps it.
    ///
    /// # Errors
    ///
    /// What the system says.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        self.drain().await;
        Ok(status)
    }

    /// Returns its number, unless it was reaped. Until then the number cannot belong to another
    /// process.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid().ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    async fn drain(&mut self) {
        let last_lines = async { while self.readers.join_next().await.is_some() {} };
        // A grandchild may hold the pipes open; then the rest is not worth the wait.
        timeout(LAST_LINES_MAX, last_lines).await.ok();
        self.readers.abort_all();
    }
}

async fn forward(
    pipe: impl AsyncRead + Unpin,
    label: String,
    screen: Screen,
    mut ready: Option<oneshot::Sender<SocketAddr>>,
) {
    let mut lines = BufReader::new(pipe).lines();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) => {
                // Who started the child tells the person in its own words, or has given up.
                match render::parse_ready(&line).and_then(|addr| Some((addr, ready.take()?))) {
                    Some((addr, ready)) => drop(ready.send(addr)),
                    None => screen.print(format!("{label} {line}")),
                }
            }
            Ok(None) => return,
            Err(error) => {
                screen.print(format!("{label} its lines cannot be read: {error}"));
                return;
            }
        }
    }
}
