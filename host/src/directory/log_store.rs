//! Raft's log and vote in the store.
//!
//! Entries and votes are on disk before they count. The store blocks while it syncs, so that is
//! done on a thread that may block; Raft waits for it in any case.

#![expect(clippy::result_large_err, reason = "it is what openraft's traits return")]

use std::fmt::Debug;
use std::ops::RangeBounds;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, Entry, LogId, RaftLogReader, StorageError, StorageIOError, Vote};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TypeConfig;
use super::sound::Sound;
use crate::storage::{Durability, RaftStore, Slot, StoreError};

type IoError = StorageIOError<u64>;
type Result<T> = std::result::Result<T, StorageError<u64>>;

/// Entries of one message to a follower, in bytes, if it is more than one: below what a shared
/// stream carries, so that heartbeats are not held up.
const MESSAGE_ENTRIES_BYTES: usize = 128 * 1024;

/// Raft's log in the store. Cheap to clone; its clones read while it writes.
#[derive(Debug, Clone)]
pub(super) struct LogStore {
    store: RaftStore,
}

impl LogStore {
    pub(super) fn new(store: RaftStore) -> Self {
        Self { store }
    }

    /// Whether the store holds nothing of a cluster: no entry, and no snapshot that replaced some.
    pub(super) fn is_pristine(&self) -> std::result::Result<bool, StoreError> {
        let is_absent = |slot| Ok::<_, StoreError>(self.store.get(slot)?.is_none());
        let is_empty = self.store.last_entry()?.is_none();
        Ok(is_empty && is_absent(Slot::Purged)? && is_absent(Slot::Snapshot)?)
    }

    fn get<T: DeserializeOwned + Sound>(&self, slot: Slot) -> Result<Option<T>> {
        let bytes = self.store.get(slot).map_err(|e| IoError::read(&e))?;
        let value = bytes.map(|bytes| read(&bytes)).transpose();
        Ok(value.map_err(IoError::read)?)
    }
}

/// Runs a blocking use of the store on a thread that may block.
pub(super) async fn block<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, StoreError> + Send + 'static,
) -> std::result::Result<T, AnyError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| AnyError::new(&e)),
        Err(stopped) => Err(AnyError::new(&stopped)),
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("Raft's types encode into memory")
}

fn decode(bytes: &[u8]) -> Result<Entry<TypeConfig>> {
    Ok(read(bytes).map_err(IoError::read_logs)?)
}

/// Reads what was written here, if it can have been.
fn read<T: DeserializeOwned + Sound>(bytes: &[u8]) -> std::result::Result<T, AnyError> {
    let value: T = postcard::from_bytes(bytes).map_err(|e| AnyError::new(&e))?;
    if value.is_sound() { Ok(value) } else { Err(AnyError::error("no node wrote this")) }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry<TypeConfig>>> {
        let entries = self.store.entries(range).map_err(|e| IoError::read_logs(&e))?;
        entries.iter().map(|bytes| decode(bytes)).collect()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<TypeConfig>>> {
        let entries = self.store.entries(start..end).map_err(|e| IoError::read_logs(&e))?;
        let mut room = MESSAGE_ENTRIES_BYTES;
        entries
            .iter()
            .enumerate()
            .take_while(|(nth, bytes)| {
                let fits = *nth == 0 || bytes.len() <= room;
                room = room.saturating_sub(bytes.len());
                fits
            })
            .map(|(_, bytes)| decode(bytes))
            .collect()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.get(Slot::Purged)?;
        let last = self.store.last_entry().map_err(|e| IoError::read_logs(&e))?;
        let last = last.map(|bytes| decode(&bytes)).transpose()?;
        let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<()> {
        let (store, vote) = (self.store.clone(), encode(vote));
        let saved = block(move || store.put(Slot::Vote, &vote, Durability::Synced)).await;
        Ok(saved.map_err(IoError::write_vote)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>> {
        self.get(Slot::Vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<()> {
        // Only a hint of how much of the log may be applied at once after a restart.
        let saved = self.store.put(Slot::Committed, &encode(&committed), Durability::Buffered);
        Ok(saved.map_err(|e| IoError::write(&e))?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>> {
        Ok(self.get::<Option<LogId<u64>>>(Slot::Committed)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<()>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<_> =
            entries.into_iter().map(|entry| (entry.log_id.index, encode(&entry))).collect();
        let store = self.store.clone();
        block(move || store.append(&entries)).await.map_err(IoError::write_logs)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<()> {
        Ok(self.store.truncate(log_id.index).map_err(|e| IoError::write_logs(&e))?)
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<()> {
        let purged = self.store.purge(log_id.index, &encode(&log_id));
        Ok(purged.map_err(|e| IoError::write_logs(&e))?)
    }
}
