//! Who owns and who keeps what: one small state machine, replicated with Raft.
//!
//! ```text
//!   rooms above ── change ──► batcher ── many changes, one entry ──► the leader ──► log ─┐
//!       ▲                                                                                │
//!       └────────────────── look ◄── View ◄── state machine ◄── committed entries ◄──────┘
//! ```
//!
//! Reads are local and may be a little old; [`Directory::barrier`] makes them as new as the last
//! acknowledged change. A call to an active player touches none of this.
//!
//! Invariants:
//! - what [`Directory::change`] acknowledged is on the disks of a majority of the voters, and this
//!   node's reads show it;
//! - a side of a partition without a majority of voters changes nothing;
//! - the rules of the state itself: see `machine`.
//!
//! What is not here: who is alive, who should vote and where copies belong (`membership` says so,
//! `node` carries it out through [`Directory::declare_down`] and [`Directory::set_voters`]).

mod arriving;
mod driver;
mod elector;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod log_store;
mod machine;
mod members;
mod network;
mod sound;
mod state_machine;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openraft::error::Fatal;
use openraft::metrics::RaftServerMetrics;
use openraft::{EmptyNode, Raft, SnapshotPolicy};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use driver::Driver;
pub use error::{AnnounceError, DirectoryError};
pub use machine::{Command, DirectoryState, Outcome};
pub use network::{Transport, TransportError};

use crate::limits::{
    INBOX_REQUESTS_MAX, LISTING_PAGE_PLAYERS, NODES_MAX, STEP_DEADLINE, STEP_RETRY,
};
use crate::protocol::{
    ChangeOutcome, CopyId, DeploymentChange, DeploymentConflict, Deployments, DirectoryReply,
    DirectoryRequest, NodeId, NodeRecord, PlayerChange, PlayerId, PlayerRecord, Settings,
    SettingsChange, Writer,
};
use crate::storage::Store;
use arriving::Arriving;
use driver::Job;
use log_store::LogStore;
use network::{Network, Peers, RaftRequest};
use state_machine::{StateMachine, View};

openraft::declare_raft_types!(
    /// What Raft replicates here.
    pub(crate) TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = EmptyNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// Time between two heartbeats of the leader.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Silence of the leader after which a voter stands for election, shortest and longest. For
/// Raft's lease of the same length added to it, it takes twice as long; `elector` is faster.
const ELECTION: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(800));
/// Entries in one message to a follower: an entry holds up to a thousand changes.
const MESSAGE_ENTRIES_MAX: u64 = 32;
/// Bytes of a snapshot in one message.
const SNAPSHOT_CHUNK_BYTES: u64 = 1024 * 1024;
/// Time for one piece of a snapshot to be taken, and for the last one to be installed.
const SNAPSHOT_CHUNK_TIME: Duration = Duration::from_secs(5);
/// Entries after which a snapshot is made and the log before it is dropped.
const ENTRIES_PER_SNAPSHOT: u64 = 5000;
/// Entries that stay behind a snapshot, for followers that lag a little.
const ENTRIES_KEPT: u64 = 500;
/// Time that one leader is given for one attempt, before the next attempt asks whoever leads then.
const ATTEMPT_TIME: Duration = Duration::from_millis(500);

/// The directory on this node. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    me: NodeId,
    raft: Raft<TypeConfig>,
    metrics: watch::Receiver<RaftServerMetrics<u64, EmptyNode>>,
    view: Arc<View>,
    peers: Peers,
    /// Whether the data folder knew a cluster when it was opened.
    knew_cluster: bool,
    changes: mpsc::Sender<Job>,
    gone: mpsc::Sender<NodeId>,
    /// How often a voter with a longer log has asked for this node's vote.
    better: AtomicU64,
    /// The snapshot that the leader is sending.
    arriving: Arriving,
    stop: CancellationToken,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("me", &self.0.me).finish_non_exhaustive()
    }
}

impl Directory {
    /// Starts the directory of the node that `store` belongs to. Nothing is changed before the
    /// returned driver runs.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`] when the store cannot be read.
    pub async fn open(
        store: &Store,
        transport: impl Transport,
    ) -> Result<(Self, Driver), DirectoryError> {
        let me = store.node_id();
        let log_store = LogStore::new(store.raft());
        let knew_cluster = !log_store.is_pristine()?;
        let state_machine = StateMachine::open(store.raft())?;
        let view = state_machine.view();
        let peers = Peers::new(transport);
        let network = Network { peers: peers.clone() };
        let raft = Box::pin(Raft::new(me.0, config(), network, log_store, state_machine)).await?;

        let (changes, queue) = mpsc::channel(INBOX_REQUESTS_MAX);
        let (gone, reports) = mpsc::channel(NODES_MAX);
        let stop = CancellationToken::new();
        let metrics = raft.server_metrics();
        let inner = Inner {
            me,
            raft,
            metrics,
            view,
            peers,
            knew_cluster,
            changes,
            gone,
            better: AtomicU64::new(0),
            arriving: Arriving::default(),
            stop,
        };
        let directory = Self(Arc::new(inner));
        Ok((directory.clone(), Driver::new(directory, queue, reports)))
    }

    /// Whether this node belongs to a cluster, or its data folder did before.
    pub fn is_initialized(&self) -> bool {
        self.0.knew_cluster || *self.0.view.watch_index().borrow() > 0
    }

    /// Returns all nodes in order of their numbers.
    pub fn nodes(&self) -> Arc<Vec<NodeRecord>> {
        self.0.view.nodes()
    }

    /// Returns a watch on all nodes.
    pub fn watch_nodes(&self) -> watch::Receiver<Arc<Vec<NodeRecord>>> {
        self.0.view.watch_nodes()
    }

    /// Returns what holds for the whole cluster, as far as this node has heard.
    pub fn settings(&self) -> Settings {
        self.0.view.look(DirectoryState::settings)
    }

    /// Returns how many entries of the log this node has applied.
    pub fn applied_entries(&self) -> u64 {
        *self.watch_entries().borrow()
    }

    /// Returns how many entries the log has here, applied or not.
    pub fn log_entries(&self) -> u64 {
        let last = self.0.raft.data_metrics().borrow().last_log;
        last.map_or(0, |last| last.index + 1)
    }

    /// Returns a watch on how many entries of the log this node has applied.
    pub fn watch_entries(&self) -> watch::Receiver<u64> {
        self.0.view.watch_index()
    }

    /// Returns a watch on what holds for the whole cluster.
    pub fn watch_settings(&self) -> watch::Receiver<Settings> {
        self.0.view.watch_settings()
    }

    /// Returns which code players run, as far as this node has heard.
    pub fn deployments(&self) -> Arc<Deployments> {
        Arc::clone(&self.watch_deployments().borrow())
    }

    /// Returns a watch on which code players run.
    pub fn watch_deployments(&self) -> watch::Receiver<Arc<Deployments>> {
        self.0.view.watch_deployments()
    }

    /// Returns a node.
    pub fn node(&self, id: NodeId) -> Option<NodeRecord> {
        self.0.view.look(|state| state.node(id).cloned())
    }

    /// Whether a node is down and nobody else gets its place, for it left on purpose.
    pub fn keeps_place(&self, id: NodeId) -> bool {
        self.0.view.look(|state| state.keeps_place(id))
    }

    /// Returns a player.
    pub fn player(&self, player: &PlayerId) -> Option<PlayerRecord> {
        self.0.view.look(|state| state.player(player).cloned())
    }

    /// Returns up to `limit` players whose ids follow `after`, in order.
    pub fn players_after(
        &self,
        after: Option<&PlayerId>,
        limit: usize,
    ) -> Vec<(PlayerId, PlayerRecord)> {
        self.0.view.look(|state| {
            let players = state.players_after(after).take(limit);
            players.map(|(player, record)| (player.clone(), record.clone())).collect()
        })
    }

    /// Looks at all players, some at a time: many may follow, and calls want the thread.
    pub async fn each_player(&self, mut look: impl FnMut(&PlayerId, &PlayerRecord)) {
        let mut after: Option<PlayerId> = None;
        loop {
            let page = self.players_after(after.as_ref(), LISTING_PAGE_PLAYERS);
            let Some((last, _)) = page.last() else { return };
            after = Some(last.clone());
            page.iter().for_each(|(player, record)| look(player, record));
            yield_now().await;
        }
    }

    /// Whether the directory names this copy as one that counts.
    pub fn copy_is_named(&self, player: &PlayerId, copy: CopyId) -> bool {
        self.0.view.look(|state| state.is_named(player, copy))
    }

    /// Returns the leader as far as this node knows; it may have been replaced since.
    pub fn leader(&self) -> Option<NodeId> {
        self.0.metrics.borrow().current_leader.map(NodeId)
    }

    /// Whether this node believes that it leads.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.0.me)
    }

    /// Returns a watch that changes whenever the leader or the voters may have.
    pub fn watch_leader(&self) -> LeaderWatch {
        LeaderWatch(self.0.metrics.clone())
    }

    /// Returns the nodes whose majority decides.
    pub fn voters(&self) -> Vec<NodeId> {
        self.0.metrics.borrow().membership_config.voter_ids().map(NodeId).collect()
    }

    /// Changes a player, wherever the leader is. Many changes that wait at the same time become one
    /// entry of the log. When it returns, this node's reads show the change.
    ///
    /// A change that is in force exactly as it was asked counts as changed, also if an earlier
    /// attempt did it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Late`] when no majority answered within [`STEP_DEADLINE`]: it may still be
    /// done. [`DirectoryError::Stopping`].
    pub async fn change(&self, change: PlayerChange) -> Result<ChangeOutcome, DirectoryError> {
        within_deadline(async {
            let (reply, decided) = oneshot::channel();
            let job = Job { change, reply };
            self.0.changes.send(job).await.map_err(|_| DirectoryError::Stopping)?;
            let (outcome, index) = decided.await.map_err(|_| DirectoryError::Stopping)?;
            self.applied(index).await?;
            Ok(outcome)
        })
        .await
    }

    /// Changes what holds for the whole cluster, wherever the leader is. Returns what holds now: the
    /// settings before, if no cluster can have those that were asked for. When it returns, this
    /// node's reads show it; each other node follows as soon as it hears of it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Late`] when no majority answered within [`STEP_DEADLINE`]: it may still be
    /// done. [`DirectoryError::Stopping`].
    pub async fn configure(
        &self,
        change: SettingsChange,
    ) -> Result<(Settings, u64), DirectoryError> {
        within_deadline(async {
            loop {
                let asked = self.leader();
                match self.ask_leader(DirectoryRequest::Configure(change)).await {
                    Some(DirectoryReply::Configured { settings, index }) => {
                        self.applied(index).await?;
                        return Ok((settings, index.saturating_add(1)));
                    }
                    Some(_) | None => self.pause(asked).await,
                }
            }
        })
        .await
    }

    /// Changes which code players run, wherever the leader is. Returns the number of the deployment
    /// that was changed. When it returns, this node's reads show it; each other node follows as soon
    /// as it hears of it. Asking twice for the same does no harm.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Late`] when no majority answered within [`STEP_DEADLINE`]: it may still be
    /// done. [`DirectoryError::Stopping`].
    pub async fn deploy(
        &self,
        change: DeploymentChange,
    ) -> Result<Result<u64, DeploymentConflict>, DirectoryError> {
        let change = change.cut();
        within_deadline(async {
            loop {
                let asked = self.leader();
                match self.ask_leader(DirectoryRequest::Deploy(change.clone())).await {
                    Some(DirectoryReply::Deployed { outcome, index }) => {
                        self.applied(index).await?;
                        return Ok(outcome);
                    }
                    Some(_) | None => self.pause(asked).await,
                }
            }
        })
        .await
    }

    /// Waits until this node's reads show everything that was acknowledged before the call.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Late`] when no majority answered within [`STEP_DEADLINE`].
    pub async fn barrier(&self) -> Result<(), DirectoryError> {
        within_deadline(async {
            loop {
                let asked = self.leader();
                match self.ask_leader(DirectoryRequest::ReadIndex).await {
                    Some(DirectoryReply::ReadIndex(index)) => return self.applied(index).await,
                    Some(_) | None => self.pause(asked).await,
                }
            }
        })
        .await
    }

    /// Says that a start of a node is going to leave. For the leader.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotLeader`], or [`DirectoryError::Late`] when no majority agreed in time.
    pub async fn declare_draining(&self, writer: Writer) -> Result<(), DirectoryError> {
        self.commit(Command::NodeDraining(writer)).await.map(drop)
    }

    /// Says that a start of a node is down. For the leader.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotLeader`], or [`DirectoryError::Late`] when no majority agreed in time.
    pub async fn declare_down(&self, writer: Writer) -> Result<(), DirectoryError> {
        self.commit(Command::NodeDown(writer)).await.map(drop)
    }

    /// Says that nodes which left do not keep their places any longer. For the leader.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotLeader`], or [`DirectoryError::Late`] when no majority agreed in time.
    pub async fn free_places(&self, nodes: Vec<NodeId>) -> Result<(), DirectoryError> {
        self.commit(Command::PlacesFree(nodes)).await.map(drop)
    }

    /// Reports that a node cannot be reached. If it leads, the voters that remain elect another at
    /// once. A false report costs an election, nothing else.
    pub fn leader_gone(&self, node: NodeId) {
        if self.0.gone.try_send(node).is_err() {
            debug!(peer = %node, "too many reports of lost leaders, or stopping");
        }
    }

    /// Answers another node. `is_from` says of a number whether it may be that node's: what Raft on
    /// one node asks in the name of another one is not done.
    pub async fn handle(
        &self,
        request: DirectoryRequest,
        is_from: impl Fn(NodeId) -> bool,
    ) -> DirectoryReply {
        let raft_request = match request {
            DirectoryRequest::AppendEntries(bytes) => RaftRequest::AppendEntries(bytes),
            DirectoryRequest::Vote(bytes) => RaftRequest::Vote(bytes),
            DirectoryRequest::InstallSnapshot(bytes) => RaftRequest::InstallSnapshot(bytes),
            DirectoryRequest::Change(changes) => return self.serve_changes(changes).await,
            DirectoryRequest::ReadIndex => return self.serve_read_index().await,
            DirectoryRequest::Configure(change) => return self.serve_configure(change).await,
            DirectoryRequest::Deploy(change) => return self.serve_deploy(change).await,
        };
        let Inner { raft, me, better, arriving, .. } = &*self.0;
        network::serve(raft, *me, raft_request, is_from, better, arriving).await
    }

    /// Stops taking part. Changes under way may or may not be done.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        if let Err(error) = self.0.raft.shutdown().await {
            debug!(%error, "raft ended badly");
        }
    }

    /// Commits a command on this node, which must lead: how it ended, and its log index.
    async fn commit(&self, command: Command) -> Result<(Outcome, u64), DirectoryError> {
        within_deadline(async {
            let response = self.0.raft.client_write(command).await?;
            Ok((response.data, response.log_id.index))
        })
        .await
    }

    async fn serve_changes(&self, changes: Vec<PlayerChange>) -> DirectoryReply {
        match self.commit(Command::Players(changes)).await {
            Ok((Outcome::Players(outcomes), index)) => DirectoryReply::Changed { outcomes, index },
            Err(DirectoryError::NotLeader(leader)) => DirectoryReply::NotLeader(leader),
            Ok(_) | Err(_) => DirectoryReply::NotLeader(None),
        }
    }

    async fn serve_configure(&self, change: SettingsChange) -> DirectoryReply {
        match self.commit(Command::Configure(change)).await {
            Ok((Outcome::Configured(settings), index)) => {
                DirectoryReply::Configured { settings, index }
            }
            Err(DirectoryError::NotLeader(leader)) => DirectoryReply::NotLeader(leader),
            Ok(_) | Err(_) => DirectoryReply::NotLeader(None),
        }
    }

    async fn serve_deploy(&self, change: DeploymentChange) -> DirectoryReply {
        match self.commit(Command::Deploy(change)).await {
            Ok((Outcome::Deployed(outcome), index)) => DirectoryReply::Deployed { outcome, index },
            Err(DirectoryError::NotLeader(leader)) => DirectoryReply::NotLeader(leader),
            Ok(_) | Err(_) => DirectoryReply::NotLeader(None),
        }
    }

    async fn serve_read_index(&self) -> DirectoryReply {
        match self.0.raft.get_read_log_id().await {
            Ok((Some(log_id), _)) => DirectoryReply::ReadIndex(log_id.index),
            Ok((None, _)) | Err(_) => DirectoryReply::NotLeader(self.leader()),
        }
    }

    /// Asks the leader once, be it this node or another; `None` when that leads to nothing and
    /// should be tried again.
    async fn ask_leader(&self, request: DirectoryRequest) -> Option<DirectoryReply> {
        let leader = self.leader()?;
        let mut metrics = self.0.metrics.clone();
        let ask = async {
            if leader == self.0.me {
                return Some(Box::pin(self.handle(request, |id| id == self.0.me)).await);
            }
            match self.0.peers.ask(leader, request).await {
                Ok(reply) => Some(reply),
                Err(error) => {
                    debug!(peer = %leader, %error, "cannot ask the leader");
                    None
                }
            }
        };
        tokio::select! {
            reply = timeout(ATTEMPT_TIME, ask) => reply.ok()?,
            _ = metrics.wait_for(|now| now.current_leader != Some(leader.0)) => None,
        }
    }

    /// Waits for a leader other than the one that was asked in vain, for a moment at most. One that
    /// is known already is asked at once.
    async fn pause(&self, asked: Option<NodeId>) {
        let mut metrics = self.0.metrics.clone();
        let other = metrics
            .wait_for(|now| now.current_leader.is_some_and(|leader| asked != Some(NodeId(leader))));
        // Either way it is time to try again.
        drop(timeout(STEP_RETRY, other).await);
    }

    /// Waits until this node has applied the log up to and with `index`.
    async fn applied(&self, index: u64) -> Result<(), DirectoryError> {
        let mut next_index = self.0.view.watch_index();
        next_index.wait_for(|next| *next > index).await.map_err(|_| DirectoryError::Stopping)?;
        Ok(())
    }

    /// Waits until Raft cannot go on on this node.
    async fn failed(&self) -> DirectoryError {
        let mut metrics = self.0.raft.metrics();
        match metrics.wait_for(|now| now.running_state.is_err()).await {
            Ok(now) => now.running_state.clone().err().unwrap_or(Fatal::Stopped).into(),
            Err(_) => DirectoryError::Stopping,
        }
    }
}

/// Wakes up when the leader or the voters may have changed.
#[derive(Debug, Clone)]
pub struct LeaderWatch(watch::Receiver<RaftServerMetrics<u64, EmptyNode>>);

impl LeaderWatch {
    /// Waits for a change since the last call. False when the directory has stopped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

async fn within_deadline<T>(
    work: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    timeout(STEP_DEADLINE, work).await.unwrap_or(Err(DirectoryError::Late))
}

fn config() -> Arc<openraft::Config> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: "directory".to_owned(),
        heartbeat_interval: millis(HEARTBEAT),
        election_timeout_min: millis(ELECTION.0),
        election_timeout_max: millis(ELECTION.1),
        max_payload_entries: MESSAGE_ENTRIES_MAX,
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
        install_snapshot_timeout: millis(SNAPSHOT_CHUNK_TIME),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(ENTRIES_PER_SNAPSHOT),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        replication_lag_threshold: ENTRIES_PER_SNAPSHOT * 2,
        ..openraft::Config::default()
    };
    Arc::new(config.validate().expect("the constants above fit each other"))
}
