//! One node: builds the rooms below, connects them, owns every task, and takes them down in order.
//!
//! ```text
//!   start   store → guest code → endpoint → links, pulse → directory → keeper → serve
//!           → membership: begin a cluster, join one, or come back to it → roster, gateway
//!   drain   players and copies go to other nodes, while this one still serves
//!   stop    players (answers that are due leave) → "I am leaving" → gateway, keeper, directory
//!           → links and endpoint → store (synced and marked clean)
//! ```
//!
//! A node that serves is in the directory as up under this very start. When one of its tasks ends
//! unasked, the node has failed: its owner stops it, and the cluster goes on without it.

mod chronicler;
mod drain;
mod founding;
mod joining;
mod members;
mod start;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::directory::{Directory, DirectoryError};
use crate::gateway::Gateway;
use crate::guest::{Allowance, EngineError};
use crate::http::{HttpConfig, HttpError};
use crate::limits::{HEARTBEAT_INTERVAL, PLACE_KEPT, STEP_DEADLINE};
use crate::net::{BindError, Endpoint, IdentityError, Secret};
use crate::player::{CodeError, Players};
use crate::protocol::{DrainReport, JoinRefusal, NodeName, SettingsChange, Writer};
use crate::storage::{Store, StoreError};

/// Time that each part of a graceful stop may take.
const STOP_PART_DEADLINE: Duration = STEP_DEADLINE;

/// What a node needs to know.
#[derive(Debug)]
pub struct NodeConfig {
    /// Its name; one node at a time bears it in a cluster.
    pub name: NodeName,
    /// Where it listens, and where other nodes reach it.
    pub listen: SocketAddr,
    /// Members to join through, as `host:port`. None: begin a cluster, or come back to the one that
    /// the data folder knows.
    pub joins: Vec<String>,
    /// Begin a cluster when so many nodes of [`NodeConfig::joins`] wait for one, this one included.
    pub bootstrap_expect: Option<usize>,
    /// Where it keeps what must outlive it.
    pub data_dir: PathBuf,
    /// The component that new players run, with the path it came from; `None` is the built-in one.
    pub guest: Option<(PathBuf, Vec<u8>)>,
    /// What holds for the whole cluster, if this node begins it. Otherwise what is named is compared
    /// with what holds.
    pub settings: SettingsChange,
    /// Time without a call after which a player rests.
    pub idle_after: Duration,
    /// How many players run at the same time before others rest for them.
    pub instances_max: usize,
    /// What guests may take.
    pub allowance: Allowance,
    /// How it speaks HTTP, if it does.
    pub http: Option<HttpConfig>,
    /// The cluster's secret.
    pub secret: Secret,
    /// Where it was read from, and is looked at again while the node runs.
    pub secret_file: PathBuf,
}

/// Why a node did not start. Nothing of the cluster was changed.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder")]
    Store(#[from] StoreError),
    /// There is no engine for WebAssembly.
    #[error("cannot run WebAssembly on this system")]
    Engine(#[from] EngineError),
    /// The guest does not load.
    #[error("cannot load the guest {path}")]
    Guest {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: CodeError,
    },
    /// The node has no identity.
    #[error("cannot make a certificate")]
    Identity(#[from] IdentityError),
    /// The address cannot be listened on.
    #[error("cannot listen")]
    Bind(#[from] BindError),
    /// It cannot speak HTTP.
    #[error("cannot serve HTTP")]
    Http(#[from] HttpError),
    /// The directory does not open.
    #[error("cannot open the directory")]
    Directory(#[from] DirectoryError),
    /// The cluster did not take the node in.
    #[error("{}", refusal(.0))]
    Refused(JoinRefusal),
}

fn refusal(refusal: &JoinRefusal) -> String {
    match refusal {
        JoinRefusal::NameTaken { name, addr } => {
            format!("a node named {name} is already up at {addr}; choose another --name")
        }
        JoinRefusal::Full { nodes } => format!(
            "the cluster is full with {nodes} nodes; a node that left keeps its place for {} minutes, \
             and one with its --name may take it at once",
            PLACE_KEPT.as_secs() / 60
        ),
        JoinRefusal::NotNow { reason } => reason.clone(),
    }
}

/// Why a running node failed.
#[derive(Debug, Error)]
#[error("the node's {task} ended: {reason}")]
pub struct NodeFailure {
    task: &'static str,
    reason: String,
}

/// Why a node should end.
#[derive(Debug)]
pub enum NodeEnd {
    /// It failed.
    Failed(NodeFailure),
    /// Somebody wants it to hand over and leave, and to get the report of [`Node::drain`].
    Drain(oneshot::Sender<DrainReport>),
}

/// A task that ended, and why.
type Ended = (&'static str, Result<(), String>);

/// The tokens that stop a node's parts, one after the other.
#[derive(Debug, Clone, Default)]
struct Stops {
    players: CancellationToken,
    gateway: CancellationToken,
    members: CancellationToken,
    rooms: CancellationToken,
    net: CancellationToken,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    me: Writer,
    name: NodeName,
    addr: SocketAddr,
    http: Option<SocketAddr>,
    endpoint: Endpoint,
    directory: Directory,
    store: Store,
    leaving: members::Leaving,
    players: Players,
    gateway: Gateway,
    drains: mpsc::Receiver<oneshot::Sender<DrainReport>>,
    tasks: JoinSet<Ended>,
    roster: JoinSet<Ended>,
    stops: Stops,
}

impl Node {
    /// Returns where the node listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns where the node speaks HTTP, if it does.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Returns the node's name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// Returns the door for calls from within this process. A clone of it outlives the node, and then
    /// gets no answers.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Waits until the node should end: a task of it ended unasked, or somebody asks it over the
    /// network to leave.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what happened is reported by the next call.
    pub async fn end(&mut self) -> NodeEnd {
        let ended = tokio::select! {
            Some(ended) = self.tasks.join_next() => ended,
            Some(ended) = self.roster.join_next() => ended,
            Some(report_to) = self.drains.recv() => return NodeEnd::Drain(report_to),
            else => {
                let reason = "there is none left".to_owned();
                return NodeEnd::Failed(NodeFailure { task: "tasks", reason });
            }
        };
        NodeEnd::Failed(match ended {
            Ok((task, Ok(()))) => NodeFailure { task, reason: "it was not asked to".to_owned() },
            Ok((task, Err(reason))) => NodeFailure { task, reason },
            Err(panic) => NodeFailure { task: "task", reason: panic.to_string() },
        })
    }

    /// Hands over what the node has to the other nodes while it still serves; bounded by half a
    /// minute. The node stays in the cluster until [`Node::stop`].
    pub async fn drain(&self) -> DrainReport {
        tracing::info!(node = self.name.as_str(), "handing over");
        let Self { me, name, directory, players, leaving, .. } = self;
        let report = drain::Drain { me: *me, name, directory, players, leaving }.run().await;
        let DrainReport { players, copies, left, .. } = &report;
        match left {
            None => tracing::info!(players, copies, "handed over"),
            Some(left) => tracing::warn!(players, copies, left, "not all was handed over"),
        }
        report
    }

    /// Ends all its tasks at once, as the death of its process would: nothing is handed over,
    /// nothing is said, nothing is flushed. What it has is given back when it is dropped.
    pub fn abort(&mut self) {
        self.roster.abort_all();
        self.tasks.abort_all();
    }

    /// Stops gracefully; bounded by a few seconds.
    pub async fn stop(mut self) {
        tracing::info!(node = self.name.as_str(), "stopping");
        self.stops.players.cancel();
        within(async { while self.roster.join_next().await.is_some() {} }).await;
        within(self.leaving.leave()).await;
        self.stops.members.cancel();
        self.stops.gateway.cancel();
        within(self.directory.shutdown()).await;
        self.stops.rooms.cancel();
        self.stops.net.cancel();
        within(self.endpoint.close()).await;
        within(async { while self.tasks.join_next().await.is_some() {} }).await;
        self.tasks.abort_all();
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "the store did not close cleanly");
        }
    }
}

/// Waits for a part of the stop, but not for ever.
async fn within(part: impl Future<Output = ()>) {
    if tokio::time::timeout(STOP_PART_DEADLINE, part).await.is_err() {
        tracing::warn!("a part of the node did not stop in time");
    }
}

/// Time between two looks at the other nodes.
const LOOK_INTERVAL: Duration = HEARTBEAT_INTERVAL.checked_div(5).expect("five is not zero");
