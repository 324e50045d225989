//! A throw-away cluster on this machine: who runs, who is frozen, what starts them again.
//!
//! Each node is a process of its own, started like any other node, so that killing it is what it
//! says; only a measurement may ask for the first one in its own process. Secret and data are thrown
//! away at the end.
//!
//! Invariant: no child outlives this process. Each is reaped by us, or, if we are killed, stops
//! because its standard input closes; a frozen one gets SIGHUP and SIGCONT from the kernel, as its
//! process group is orphaned then.

mod child;

use std::env;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use rustix::process::{Pid, getpid};
use thiserror::Error;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::child::Child;
use super::client::{Client, Dialer, Patience, Reach};
use super::folders;
use super::screen::Screen;
use crate::gateway::Gateway;
use crate::guest::Allowance;
use crate::limits::{CALL_DEADLINE, IDLE_AFTER, INSTANCES_MAX};
use crate::membership::voters_among;
use crate::net::{Secret, SecretError};
use crate::node::{Node, NodeConfig, StartError};
use crate::protocol::{NodeName, NodeStatus, SettingsChange};

/// Where a node listens at its first start: on this machine, at a port that is free.
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Longest wait for a node's ready line. A debug build on a busy machine needs seconds.
const READY_MAX: Duration = Duration::from_secs(30);
/// Longest wait for nodes that stop in good order.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at who is up and votes.
const SETTLE_POLL: Duration = Duration::from_millis(30);
/// One colour a node, as numbers of ANSI escape sequences.
const COLOURS: [u8; 9] = [36, 33, 35, 32, 34, 31, 96, 93, 95];

/// Why something was not done to a node.
#[derive(Debug, Error)]
pub(super) enum ClusterError {
    /// There is no such node.
    #[error("there is no node {0}")]
    NoSuchNode(NodeName),
    /// The node runs.
    #[error("{0} runs already")]
    Runs(NodeName),
    /// The node does not run.
    #[error("{0} does not run; `start {0}` starts it")]
    Down(NodeName),
    /// No node runs.
    #[error("no node runs; `start app_node1` starts one")]
    AllDown,
    /// The node ended or hung before it served.
    #[error("{0} did not get ready; its last lines say why")]
    NotReady(NodeName),
    /// The node that shall run in this process does not start.
    #[error(transparent)]
    Here(#[from] StartError),
    /// The throw-away folder cannot be made.
    #[error("cannot make a throw-away folder")]
    Folder(#[source] io::Error),
    /// The guest cannot be read any more.
    #[error("cannot read the guest")]
    Guest(#[source] io::Error),
    /// The throw-away secret cannot be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The system refused.
    #[error("cannot {action} {node}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// The node.
        node: NodeName,
        /// What the system said.
        source: io::Error,
    },
}

/// A throw-away cluster to be.
#[derive(Debug)]
pub(super) struct ClusterSettings {
    /// How many nodes.
    pub(super) nodes: usize,
    /// Where the first of them runs.
    pub(super) first: FirstNode,
    /// The players' code, unless it is the built-in one.
    pub(super) guest: Option<PathBuf>,
    /// What holds for the cluster, unless it is what always does.
    pub(super) settings: SettingsChange,
    /// Where the first node speaks HTTP, if they do; the next one on the next port.
    pub(super) http: Option<SocketAddr>,
    /// What the nodes log.
    pub(super) log: Option<String>,
}

/// Where the first node of a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstNode {
    /// In a process of its own.
    Child,
    /// In this process.
    Here,
}

/// Some nodes and the folder they share.
#[derive(Debug)]
pub(super) struct Cluster {
    members: Vec<Member>,
    first: FirstNode,
    /// The first node, while it runs in this process.
    here: Option<Node>,
    program: PathBuf,
    guest: Option<PathBuf>,
    settings: SettingsChange,
    http: Option<SocketAddr>,
    log: Option<String>,
    secret: Secret,
    screen: Screen,
    // Dropped last: the children, killed before it, write into it.
    folder: Folder,
}

#[derive(Debug)]
struct Member {
    name: NodeName,
    /// The name in front of its lines.
    label: String,
    /// Where it listens: chosen by its first start, kept by all others.
    addr: Option<SocketAddr>,
    child: Option<Child>,
}

impl Cluster {
    /// Prepares a cluster; nothing runs yet.
    ///
    /// # Errors
    ///
    /// `Folder` or `Secret`.
    pub(super) fn new(
        settings: ClusterSettings,
        screen: Screen,
        colours: bool,
    ) -> Result<Self, ClusterError> {
        let ClusterSettings { nodes, first, guest, settings, http, log } = settings;
        let program = env::current_exe().map_err(ClusterError::Folder)?;
        let folder = Folder::create().map_err(ClusterError::Folder)?;
        let secret = Secret::create(&folder.0.join("secret"))?;
        let members = (1..=nodes).zip(COLOURS.iter().cycle()).map(|(number, colour)| {
            let name: NodeName = format!("app_node{number}").parse().expect("letters and a digit");
            let label = if colours {
                format!("\x1b[{colour}m{name} |\x1b[0m")
            } else {
                format!("{name} |")
            };
            Member { name, label, addr: None, child: None }
        });
        let members = members.collect();
        let here = None;
        Ok(Self {
            members,
            first,
            here,
            program,
            guest,
            settings,
            http,
            log,
            secret,
            screen,
            folder,
        })
    }

    /// Starts all nodes: the first one, then those that join it.
    ///
    /// # Errors
    ///
    /// `System`, `NotReady` or `Here`; nodes that started still run.
    pub(super) async fn start_all(&mut self) -> Result<(), ClusterError> {
        match self.first {
            FirstNode::Child => {
                let first = self.spawn(0)?;
                self.await_ready(0, first).await?;
            }
            FirstNode::Here => self.start_here().await?,
        }
        let mut others = Vec::new();
        for index in 1..self.members.len() {
            others.push((index, self.spawn(index)?));
        }
        for (index, ready) in others {
            self.await_ready(index, ready).await?;
        }
        Ok(())
    }

    /// Waits until all nodes know each other as up and as many vote as ever will. Before that, the
    /// death of the first one would leave the others without a directory, a new player might not
    /// get all its keepers, and a script is fast. Returns whether it came to that in time.
    pub(super) async fn settle(&self, client: &mut Client<Dialer>) -> bool {
        let Ok(addrs) = self.serving() else { return false };
        let voters = voters_among(addrs.len());
        let settled = async {
            // Seen by all, and twice: what all have heard of may still have to be agreed on.
            let mut seen = 0;
            while seen < 2 {
                let mut all = true;
                for addr in &addrs {
                    let (targets, deadline) = (vec![addr.to_string()], CALL_DEADLINE);
                    let reach = Reach { targets, patience: Patience::UntilDeadline, deadline };
                    all &= client.nodes(&reach).await.is_ok_and(|list| {
                        let up = list.nodes.iter().filter(|node| node.status == NodeStatus::Up);
                        up.count() >= addrs.len() && list.voters.len() >= voters
                    });
                }
                seen = if all { seen + 1 } else { 0 };
                tokio::time::sleep(SETTLE_POLL).await;
            }
        };
        timeout(CALL_DEADLINE, settled).await.is_ok()
    }

    /// Starts a node again, with the command of its first start. Returns its address once it
    /// serves.
    ///
    /// # Errors
    ///
    /// `NoSuchNode`, `Runs`, `System`, or `NotReady`: then it does not run.
    pub(super) async fn start(&mut self, node: &NodeName) -> Result<SocketAddr, ClusterError> {
        let index = self.index(node)?;
        if self.members[index].child.is_some() {
            return Err(ClusterError::Runs(node.clone()));
        }
        let ready = self.spawn(index)?;
        let started = self.await_ready(index, ready).await;
        if started.is_err()
            && let Some(mut child) = self.members[index].child.take()
        {
            child.kill().await.map_err(|source| failed("kill", node, source))?;
        }
        started
    }

    /// Kills a node and reaps it.
    ///
    /// # Errors
    ///
    /// `NoSuchNode`, `Down` or `System`.
    pub(super) async fn kill(&mut self, node: &NodeName) -> Result<(), ClusterError> {
        self.child(node)?.kill().await.map_err(|source| failed("kill", node, source))?;
        let index = self.index(node)?;
        self.members[index].child = None;
        Ok(())
    }

    /// Freezes a node.
    ///
    /// # Errors
    ///
    /// `NoSuchNode`, `Down` or `System`.
    pub(super) fn freeze(&mut self, node: &NodeName) -> Result<(), ClusterError> {
        self.child(node)?.freeze().map_err(|source| failed("stop", node, source))
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    ///
    /// `NoSuchNode`, `Down` or `System`.
    pub(super) fn thaw(&mut self, node: &NodeName) -> Result<(), ClusterError> {
        self.child(node)?.thaw().map_err(|source| failed("continue", node, source))
    }

    /// Waits until a node ends that nobody killed, and says so on the screen.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(super) async fn ended(&mut self) {
        let running = self.members.iter_mut().enumerate().filter_map(|(index, member)| {
            let child = member.child.as_mut()?;
            Some(Box::pin(async move { (index, child.ended().await) }))
        });
        let running: Vec<_> = running.collect();
        if running.is_empty() {
            return std::future::pending().await;
        }
        let ((index, status), _, _) = select_all(running).await;
        let member = &mut self.members[index];
        member.child = None;
        self.screen.print(format!("{} {}", member.label, last_words(status)));
    }

    /// Stops all nodes in good order, those that take too long by force.
    pub(super) async fn stop_all(&mut self) {
        let children = self.members.iter_mut().filter_map(|member| member.child.as_mut());
        let stops = children.map(|child| async {
            if child.is_frozen() {
                return;
            }
            child.ask_to_stop();
            // What is left is killed next.
            timeout(STOP_MAX, child.ended()).await.ok();
        });
        join_all(stops).await;
        self.kill_all().await;
    }

    /// Kills and reaps whatever still runs. A node of this process ends as if it were killed, too.
    pub(super) async fn kill_all(&mut self) {
        let running = self.members.iter_mut().filter_map(|member| {
            let mut child = member.child.take()?;
            let name = &member.name;
            Some(async move {
                match child.kill().await {
                    Ok(()) => {}
                    // It has ended and was reaped already.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    Err(error) => tracing::error!(node = %name, %error, "cannot kill the node"),
                }
            })
        });
        // All at once: the last one would only tell of the deaths of the others.
        let mut here = self.here.take();
        here.iter_mut().for_each(Node::abort);
        join_all(running).await;
    }

    /// Returns the address of a node that runs, frozen or not.
    ///
    /// # Errors
    ///
    /// `NoSuchNode` or `Down`.
    pub(super) fn addr(&mut self, node: &NodeName) -> Result<SocketAddr, ClusterError> {
        self.child(node)?;
        let index = self.index(node)?;
        self.members[index].addr.ok_or_else(|| ClusterError::Down(node.clone()))
    }

    /// Returns the process of a node that runs, frozen or not.
    ///
    /// # Errors
    ///
    /// `NoSuchNode` or `Down`.
    pub(super) fn process(&mut self, node: &NodeName) -> Result<Pid, ClusterError> {
        if self.here.as_ref().is_some_and(|here| here.name() == node) {
            return Ok(getpid());
        }
        self.child(node)?.pid().ok_or_else(|| ClusterError::Down(node.clone()))
    }

    /// Returns the addresses of the nodes that run and are not frozen.
    ///
    /// # Errors
    ///
    /// `AllDown`.
    pub(super) fn serving(&self) -> Result<Vec<SocketAddr>, ClusterError> {
        let here = self.here.as_ref().map(Node::addr);
        let serves = |member: &&Member| member.child.as_ref().is_some_and(|c| !c.is_frozen());
        let children = self.members.iter().filter(serves).filter_map(|member| member.addr);
        let addrs: Vec<_> = here.into_iter().chain(children).collect();
        if addrs.is_empty() { Err(ClusterError::AllDown) } else { Ok(addrs) }
    }

    /// Returns the nodes' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.members.iter().map(|member| &member.name)
    }

    /// Returns the nodes that were ever ready, with their addresses.
    pub(super) fn places(&self) -> impl Iterator<Item = (&NodeName, SocketAddr)> {
        self.members.iter().filter_map(|member| Some((&member.name, member.addr?)))
    }

    /// Returns the door of the node that runs in this process, if one does.
    pub(super) fn gateway(&self) -> Option<&Gateway> {
        self.here.as_ref().map(Node::gateway)
    }

    /// Returns the secret of the cluster.
    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the throw-away folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    fn spawn(&mut self, index: usize) -> Result<oneshot::Receiver<SocketAddr>, ClusterError> {
        let command = self.command(index);
        let member = &mut self.members[index];
        let (child, ready) = Child::spawn(command, &member.label, &self.screen)
            .map_err(|source| failed("start", &member.name, source))?;
        member.child = Some(child);
        Ok(ready)
    }

    /// Starts the first node in this process: what `command` says to the others, said to this one.
    async fn start_here(&mut self) -> Result<(), ClusterError> {
        let read = |path: &PathBuf| fs::read(path).map(|code| (path.clone(), code));
        let guest = self.guest.as_ref().map(read).transpose().map_err(ClusterError::Guest)?;
        let config = NodeConfig {
            http: None,
            name: self.members[0].name.clone(),
            listen: FREE,
            joins: Vec::new(),
            bootstrap_expect: None,
            data_dir: self.folder.0.join(self.members[0].name.as_str()),
            guest,
            settings: self.settings,
            idle_after: IDLE_AFTER,
            instances_max: INSTANCES_MAX,
            allowance: Allowance::default(),
            // What the others read.
            secret: Secret::load(&self.folder.0.join("secret"))?,
            secret_file: self.folder.0.join("secret"),
        };
        let node = Box::pin(Node::start(config)).await?;
        self.members[0].addr = Some(node.addr());
        self.here = Some(node);
        Ok(())
    }

    async fn await_ready(
        &mut self,
        index: usize,
        ready: oneshot::Receiver<SocketAddr>,
    ) -> Result<SocketAddr, ClusterError> {
        let member = &mut self.members[index];
        match timeout(READY_MAX, ready).await {
            Ok(Ok(addr)) => {
                member.addr = Some(addr);
                Ok(addr)
            }
            // It has ended, or it takes too long.
            Ok(Err(_)) | Err(_) => Err(ClusterError::NotReady(member.name.clone())),
        }
    }

    fn command(&self, index: usize) -> Command {
        let member = &self.members[index];
        let mut command = Command::new(&self.program);
        // What is set for the person's own nodes is not meant for these.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PLAYER_HOST_") {
                command.env_remove(name);
            }
        }
        command.arg("--name").arg(member.name.as_str());
        command.arg("--listen").arg(member.addr.unwrap_or(FREE).to_string());
        // The first node starts the cluster, at its first start as at all others.
        if index > 0
            && let Some(first) = self.members[0].addr
        {
            command.arg("--join").arg(first.to_string());
        }
        let SettingsChange { keepers, ack } = self.settings;
        if index == 0 {
            keepers.into_iter().for_each(|keepers| {
                command.arg("--keepers").arg(keepers.to_string());
            });
            ack.into_iter().for_each(|ack| {
                command.arg("--ack").arg(ack.word());
            });
        }
        command.arg("--data-dir").arg(self.folder.0.join(member.name.as_str()));
        command.arg("--secret-file").arg(self.folder.0.join("secret"));
        if let Some(guest) = &self.guest {
            command.arg("--guest").arg(guest);
        }
        if let Some(http) = self.http_of(index) {
            command.arg("--http").arg(http.to_string());
        }
        if let Some(log) = &self.log {
            command.arg("--log").arg(log);
        }
        command.arg("--stop-with-stdin");
        command
    }

    /// Where a node speaks HTTP. Port 0 is any free one.
    pub(super) fn http_of(&self, index: usize) -> Option<SocketAddr> {
        let first = self.http?;
        let further = if first.port() == 0 { 0 } else { u16::try_from(index).unwrap_or(u16::MAX) };
        Some(SocketAddr::new(first.ip(), first.port().saturating_add(further)))
    }

    fn index(&self, node: &NodeName) -> Result<usize, ClusterError> {
        let found = self.members.iter().position(|member| member.name == *node);
        found.ok_or_else(|| ClusterError::NoSuchNode(node.clone()))
    }

    fn child(&mut self, node: &NodeName) -> Result<&mut Child, ClusterError> {
        let index = self.index(node)?;
        self.members[index].child.as_mut().ok_or_else(|| ClusterError::Down(node.clone()))
    }
}

fn failed(action: &'static str, node: &NodeName, source: io::Error) -> ClusterError {
    ClusterError::System { action, node: node.clone(), source }
}

fn last_words(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended by itself: {status}"),
        Err(error) => format!("ended, and the system does not say how: {error}"),
    }
}

/// A folder that is removed with all that is in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// Makes a folder of a name that did not exist, which only this user can enter.
    fn create() -> io::Result<Self> {
        let parent = env::temp_dir();
        let path = parent.join(format!("player-host-{:016x}", rand::random::<u64>()));
        // Not the recursive kind, which is content with a folder that somebody put there.
        folders::create_new_private(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the throw-away folder");
        }
    }
}
