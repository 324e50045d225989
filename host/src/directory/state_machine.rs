//! The directory's state in memory, as far as Raft's log is applied.
//!
//! It lives in memory only: a restarted node rebuilds it from the latest snapshot and the log after
//! it. One [`View`] is shared by Raft, which writes it, and the node's rooms, which read it; its
//! lock is held for a look or one batch of entries, never while something is awaited.

use std::io::Cursor;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EmptyNode, Entry, EntryPayload, LogId, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership,
};
use tokio::sync::watch;

use super::log_store::block;
use super::machine::{Command, DirectoryState, Outcome};
use super::sound::Sound as _;
use super::{DirectoryError, TypeConfig};
use crate::protocol::{Deployments, NodeRecord, Settings};
use crate::storage::{Durability, RaftStore, Slot, StoreError};

type IoError = StorageIOError<u64>;
type Result<T> = std::result::Result<T, StorageError<u64>>;
pub(super) type Meta = SnapshotMeta<u64, EmptyNode>;

/// What has been applied, for readers.
#[derive(Debug)]
pub(super) struct View {
    applied: RwLock<Applied>,
    nodes: watch::Sender<Arc<Vec<NodeRecord>>>,
    settings: watch::Sender<Settings>,
    deployments: watch::Sender<Arc<Deployments>>,
    /// Log index after the last applied one.
    next_index: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Applied {
    state: DirectoryState,
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, EmptyNode>,
}

impl View {
    fn new(applied: Applied) -> Self {
        let nodes = watch::Sender::new(nodes_of(&applied.state));
        let settings = watch::Sender::new(applied.state.settings());
        let deployments = watch::Sender::new(Arc::new(applied.state.deployments().clone()));
        let next_index = watch::Sender::new(next_index_of(&applied));
        Self { applied: RwLock::new(applied), nodes, settings, deployments, next_index }
    }

    /// Returns one of a directory in which nothing has happened.
    #[cfg(any(test, fuzzing))]
    pub(super) fn empty() -> Self {
        Self::new(Applied::default())
    }

    /// Lets a reader look at the state.
    pub(super) fn look<T>(&self, reader: impl FnOnce(&DirectoryState) -> T) -> T {
        reader(&self.read().state)
    }

    /// Returns a watch on the nodes.
    pub(super) fn watch_nodes(&self) -> watch::Receiver<Arc<Vec<NodeRecord>>> {
        self.nodes.subscribe()
    }

    /// Returns a watch on the settings.
    pub(super) fn watch_settings(&self) -> watch::Receiver<Settings> {
        self.settings.subscribe()
    }

    /// Returns a watch on which code players run.
    pub(super) fn watch_deployments(&self) -> watch::Receiver<Arc<Deployments>> {
        self.deployments.subscribe()
    }

    /// Returns the nodes.
    pub(super) fn nodes(&self) -> Arc<Vec<NodeRecord>> {
        Arc::clone(&self.nodes.borrow())
    }

    /// Returns a watch on the log index after the last applied one.
    pub(super) fn watch_index(&self) -> watch::Receiver<u64> {
        self.next_index.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, Applied> {
        self.applied.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Applied> {
        self.applied.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies entries, and tells those who watch.
    pub(super) fn apply(
        &self,
        entries: impl IntoIterator<Item = Entry<TypeConfig>>,
    ) -> Vec<Outcome> {
        let mut changed = Changed { nodes: false, deployments: false };
        let mut applied = self.write();
        let outcomes = entries
            .into_iter()
            .map(|entry| {
                applied.last = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Blank => Outcome::Nothing,
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                        Outcome::Nothing
                    }
                    EntryPayload::Normal(command) => {
                        match &command {
                            Command::NodeUp(_)
                            | Command::NodeDraining(_)
                            | Command::NodeDown(_) => changed.nodes = true,
                            Command::Deploy(_) => changed.deployments = true,
                            Command::PlacesFree(_)
                            | Command::Players(_)
                            | Command::Configure(_) => {}
                        }
                        applied.state.apply(&command)
                    }
                }
            })
            .collect();
        self.publish(applied, changed);
        outcomes
    }

    fn replace(&self, state: DirectoryState, meta: &Meta) {
        let mut applied = self.write();
        *applied = Applied::from_snapshot(state, meta);
        self.publish(applied, Changed { nodes: true, deployments: true });
    }

    fn publish(&self, applied: RwLockWriteGuard<'_, Applied>, changed: Changed) {
        let nodes = changed.nodes.then(|| nodes_of(&applied.state));
        let settings = applied.state.settings();
        let deployments = applied.state.deployments();
        let deployments = changed.deployments.then(|| Arc::new(deployments.clone()));
        let next_index = next_index_of(&applied);
        // Whoever is woken wants to look.
        drop(applied);
        if let Some(nodes) = nodes {
            self.nodes.send_replace(nodes);
        }
        self.settings.send_if_modified(|known| std::mem::replace(known, settings) != settings);
        if let Some(deployments) = deployments {
            self.deployments.send_replace(deployments);
        }
        self.next_index.send_replace(next_index);
    }
}

/// What entries may have changed that is told to those who watch.
#[derive(Debug, Clone, Copy)]
struct Changed {
    nodes: bool,
    deployments: bool,
}

impl Applied {
    fn from_snapshot(state: DirectoryState, meta: &Meta) -> Self {
        Self { state, last: meta.last_log_id, membership: meta.last_membership.clone() }
    }
}

fn nodes_of(state: &DirectoryState) -> Arc<Vec<NodeRecord>> {
    Arc::new(state.nodes().cloned().collect())
}

fn next_index_of(applied: &Applied) -> u64 {
    applied.last.map_or(0, |log_id| log_id.index + 1)
}

/// Raft's side of the state.
#[derive(Debug, Clone)]
pub(super) struct StateMachine {
    view: Arc<View>,
    store: RaftStore,
}

impl StateMachine {
    /// Begins with the latest snapshot in the store.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`] when the snapshot is damaged.
    pub(super) fn open(store: RaftStore) -> std::result::Result<Self, DirectoryError> {
        let applied = match stored_snapshot(&store)? {
            Some((meta, bytes)) => {
                let state = postcard::from_bytes(&bytes).map_err(|_| UNREADABLE)?;
                Applied::from_snapshot(state, &meta)
            }
            None => Applied::default(),
        };
        Ok(Self { view: Arc::new(View::new(applied)), store })
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Stores a snapshot and returns its encoded state, which `append` puts behind what it is given:
    /// with a million players there should not be more of it in memory than needed.
    async fn store_snapshot(
        &self,
        meta: &Meta,
        append: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static,
    ) -> Result<Vec<u8>> {
        let prefix = postcard::to_stdvec(meta).expect("Raft's types encode into memory");
        let store = self.store.clone();
        // It takes half a second then, which is not this thread's to spend.
        let stored = block(move || {
            let state = prefix.len();
            let mut value = append(prefix);
            store.put(Slot::Snapshot, &value, Durability::Synced)?;
            value.drain(..state);
            Ok(value)
        });
        Ok(stored.await.map_err(|e| IoError::write_snapshot(Some(meta.signature()), e))?)
    }
}

const UNREADABLE: StoreError =
    StoreError::Corrupt { what: "the directory's snapshot", source: None };

/// Reads the latest snapshot: what it covers and the encoded state.
fn stored_snapshot(store: &RaftStore) -> std::result::Result<Option<(Meta, Vec<u8>)>, StoreError> {
    let Some(value) = store.get(Slot::Snapshot)? else { return Ok(None) };
    let (meta, state) = postcard::take_from_bytes::<Meta>(&value).map_err(|_| UNREADABLE)?;
    if !meta.is_sound() {
        return Err(UNREADABLE);
    }
    Ok(Some((meta, state.to_vec())))
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>> {
        let (state, last_log_id, last_membership) = {
            let applied = self.view.read();
            (applied.state.clone(), applied.last, applied.membership.clone())
        };
        // The state is a function of the log, so its position names it.
        let snapshot_id = last_log_id.map_or_else(String::new, |log_id| log_id.to_string());
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        let encode =
            move |prefix| postcard::to_extend(&state, prefix).expect("a state encodes into memory");
        let bytes = self.store_snapshot(&meta, encode).await?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, EmptyNode>)> {
        let applied = self.view.read();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + Send,
        I::IntoIter: Send,
    {
        Ok(self.view.apply(entries))
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<()> {
        let bytes = snapshot.into_inner();
        let state = postcard::from_bytes(&bytes)
            .map_err(|e| IoError::read_snapshot(Some(meta.signature()), AnyError::new(&e)))?;
        self.store_snapshot(meta, move |prefix| [prefix, bytes].concat()).await?;
        self.view.replace(state, meta);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>> {
        let stored = stored_snapshot(&self.store);
        let stored = stored.map_err(|e| IoError::read_snapshot(None, AnyError::new(&e)))?;
        Ok(stored.map(|(meta, bytes)| Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}
