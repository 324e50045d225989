//! One node: a real `host` process that can be killed, stopped and started again.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::Deserialize;

use crate::chaos::{Disk, Namespace};
use crate::command::{host_command, reap};
use crate::wait::{PATIENCE, eventually};

/// The folder, beside those of the nodes, of what must not be restored.
pub(crate) const SABOTAGE: &str = "sabotage";

/// Lines of a node's log that a failed test shows.
const TAIL_LINES: usize = 60;

/// How long a test waits for a node to serve. A debug build needs most of [`PATIENCE`] to compile a
/// guest of tens of MiB, and other tests compile theirs meanwhile.
const READY_WITHIN: Duration = PATIENCE.saturating_mul(6);

/// A node of a cluster. Dropping it kills its process.
#[derive(Debug)]
pub struct Node {
    name: String,
    addr: Option<SocketAddr>,
    /// Where it speaks HTTP, if it was told to: fixed at the first start, too.
    http: Option<SocketAddr>,
    /// Everything but the address to listen on, which is fixed at the first start.
    args: Vec<String>,
    data: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
    /// Says whose states cannot be restored.
    sabotage: PathBuf,
    /// Holds what the process takes for the machine's boot, if that is not the true one.
    boot_id: Option<PathBuf>,
    child: Option<Child>,
    place: Option<Place>,
}

/// Where a node lives that can be cut off and whose disk can be full.
#[derive(Debug)]
struct Place {
    namespace: Arc<Namespace>,
    disk: Disk,
}

#[derive(Deserialize)]
struct Ready {
    ready: String,
    addr: SocketAddr,
    http: Option<SocketAddr>,
}

impl Node {
    /// Describes a node whose files are in `folder`; it does not start it.
    pub fn new(name: &str, folder: &Path, args: &[&str]) -> Self {
        let data = folder.join(name);
        let mut all = vec!["--name".to_owned(), name.to_owned()];
        all.extend(["--data-dir".to_owned(), data.display().to_string()]);
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        Self {
            name: name.to_owned(),
            addr: None,
            http: None,
            args: all,
            data,
            stdout: folder.join(format!("{name}.out")),
            stderr: folder.join(format!("{name}.log")),
            sabotage: folder.join(SABOTAGE),
            boot_id: None,
            child: None,
            place: None,
        }
    }

    /// Makes later starts take the machine for rebooted, as far as a program can see that: the file
    /// that holds the id of its boot has another one. Needs root.
    ///
    /// # Errors
    ///
    /// When the system does not allow that; then nothing was changed.
    ///
    /// # Panics
    ///
    /// When the id cannot be written.
    pub fn pretend_reboot(&mut self) -> Result<()> {
        let file = self.stdout.with_extension("boot");
        let boots = fs::read_to_string(&file).map_or(0, |text| text.len()) + 1;
        fs::write(&file, "r".repeat(boots)).expect("write a boot's id");
        let mut tried = in_another_boot(&file, OsStr::new("true"));
        let output = tried.output().context("run `unshare`")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.boot_id = Some(file);
        Ok(())
    }

    /// Fixes where it listens before its first start.
    #[must_use]
    pub fn at(mut self, addr: SocketAddr) -> Self {
        self.addr = Some(addr);
        self
    }

    /// Puts it, before its first start, into a namespace, where it listens on `addr` and has a disk
    /// of its own.
    pub(crate) fn placed(mut self, namespace: Arc<Namespace>, addr: SocketAddr) -> Result<Self> {
        let disk = Disk::mount(&self.data)?;
        self.addr = Some(addr);
        self.place = Some(Place { namespace, disk });
        Ok(self)
    }

    /// Lets it listen on another address from its next start on.
    pub fn move_to(&mut self, addr: SocketAddr) {
        self.addr = Some(addr);
    }

    /// Lets it join through this address, too, from its next start on.
    pub(crate) fn add_join(&mut self, addr: SocketAddr) {
        self.args.extend(["--join".to_owned(), addr.to_string()]);
    }

    /// Returns its disk, if it has one of its own.
    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.place.as_ref().map(|place| &place.disk)
    }

    /// Starts the process and returns at once; [`Node::await_ready`] waits for it to serve.
    ///
    /// # Panics
    ///
    /// When it runs already or cannot be started.
    #[track_caller]
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let listen = self.addr.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let stdout = File::create(&self.stdout).expect("create the node's output file");
        let log = OpenOptions::new().create(true).append(true).open(&self.stderr);
        let mut command = match &self.boot_id {
            None => host_command(),
            Some(file) => after_reboot(file),
        };
        command.env("HOST_UNDER_TEST_SABOTAGE", &self.sabotage);
        let mut args = self.args.clone();
        if let (Some(http), Some(at)) = (self.http, args.iter().position(|arg| arg == "--http")) {
            args[at + 1] = http.to_string();
        }
        command.args(&args).args(["--listen", &listen.to_string(), "--json"]);
        command.stdin(Stdio::null()).stdout(stdout).stderr(log.expect("open the node's log"));
        let child = match &self.place {
            None => command.spawn(),
            Some(place) => place.namespace.within(|| command.spawn()),
        };
        self.child = Some(child.expect("start the host"));
    }

    /// Waits until the node says that it serves. From then on its address stays the same.
    ///
    /// # Panics
    ///
    /// When it ends or says nothing.
    #[track_caller]
    pub fn await_ready(&mut self) {
        let ready = eventually(READY_WITHIN, || {
            let output = fs::read_to_string(&self.stdout).map_err(|error| error.to_string())?;
            let ready = output.lines().find_map(|line| serde_json::from_str::<Ready>(line).ok());
            match (ready, self.try_exit()) {
                (Some(ready), None) => Ok(Ok(ready)),
                // Waiting longer would not help.
                (_, Some(status)) => Ok(Err(status)),
                (None, None) => Err(format!("{} is not ready: {}", self.name, self.log_tail())),
            }
        });
        let ready = ready
            .unwrap_or_else(|status| panic!("{} ended: {status}\n{}", self.name, self.log_tail()));
        assert_eq!(ready.ready, self.name, "the node says another name");
        assert_eq!(*self.addr.get_or_insert(ready.addr), ready.addr, "the node moved");
        let http = self.http.or(ready.http);
        assert_eq!(http, ready.http, "the node speaks HTTP elsewhere");
        self.http = http;
    }

    /// Starts it again with the same command and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it runs, or does not come up.
    #[track_caller]
    pub fn restart(&mut self) {
        self.spawn();
        self.await_ready();
    }

    /// Forgets its process if that has ended, and returns how it did.
    pub(crate) fn collect(&mut self) -> Option<ExitStatus> {
        let status = self.try_exit()?;
        self.child = None;
        Some(status)
    }

    /// Kills it, as `kill -9` does, and collects it.
    ///
    /// # Panics
    ///
    /// When it had ended before.
    #[track_caller]
    pub fn kill(&mut self) {
        assert!(self.try_exit().is_none(), "{} had ended\n{}", self.name, self.log_tail());
        if let Some(mut child) = self.child.take() {
            reap(&mut child);
        }
    }

    /// Stops it in the middle of whatever it does, as `kill -STOP` does, and waits until it stands.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED);
        let stopped = stopped.expect("wait for the node to stop");
        assert!(
            stopped.is_some_and(|(_, status)| status.stopped()),
            "{} ended instead of stopping",
            self.name
        );
    }

    /// Lets a stopped one go on.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn cont(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end; [`Node::await_end`] waits for it.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn ask_to_end(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended and returns how.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        let status =
            eventually(PATIENCE, || self.try_exit().ok_or_else(|| format!("{} runs", self.name)));
        self.child = None;
        status
    }

    /// Asks it to end and waits until it has, in good order.
    ///
    /// # Panics
    ///
    /// When it does not run, does not end, or ends with another exit code than 0.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.ask_to_end();
        let status = self.await_end();
        assert!(status.success(), "{} ended with {status}\n{}", self.name, self.log_tail());
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its address.
    ///
    /// # Panics
    ///
    /// When it never served.
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        self.addr.unwrap_or_else(|| panic!("{} never served", self.name))
    }

    /// Returns where it speaks HTTP.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn http(&self) -> SocketAddr {
        self.http.unwrap_or_else(|| panic!("{} speaks no HTTP", self.name))
    }

    /// Whether its process runs or stands.
    pub fn is_alive(&mut self) -> bool {
        self.child.is_some() && self.try_exit().is_none()
    }

    /// Returns its process.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref();
        Pid::from_child(child.unwrap_or_else(|| panic!("{} does not run", self.name)))
    }

    /// Returns what its latest start has written to standard output.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Returns all it logged so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Returns the end of its log and where the rest is.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        format!("--- {} ({})\n{tail}", self.name, self.stderr.display())
    }

    fn try_exit(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("look at the node's process")
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("send a signal to the node");
    }
}

/// Returns a command in a mount namespace in which `file` holds the id of the boot.
fn in_another_boot(file: &Path, program: &OsStr) -> Command {
    let script = r#"mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(file).arg(program);
    command
}

/// Returns the host's command after a reboot that `file` makes it believe.
fn after_reboot(file: &Path) -> Command {
    let host = host_command();
    let mut command = in_another_boot(file, host.get_program());
    for (name, value) in host.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            reap(child);
        }
    }
}
