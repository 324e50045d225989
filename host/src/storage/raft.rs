//! What Raft keeps: its log and a few single values. The meaning of the bytes is `directory`'s.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::error::Attempt;
use super::{Durability, Shared, StoreError, sealed};

/// A single value that Raft keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The latest vote.
    Vote,
    /// How far the log is known to be committed.
    Committed,
    /// The last log entry that was dropped because a snapshot covers it.
    Purged,
    /// The latest snapshot.
    Snapshot,
}

impl Slot {
    fn key(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Committed => "committed",
            Self::Purged => "purged",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Access to what Raft keeps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RaftStore {
    shared: Arc<Shared>,
}

impl RaftStore {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Writes entries under their indices, all or none, on disk when it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] or [`StoreError::Closed`].
    pub fn append(&self, entries: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
        let mut batch = self.shared.directory.batch();
        for (index, bytes) in entries {
            batch.insert(&self.shared.log, index.to_be_bytes(), sealed::seal_bytes(bytes));
        }
        self.shared.commit_directory(batch, Durability::Synced, "append to the log")
    }

    /// Returns the entries of a range of indices that are there, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when one is damaged.
    pub fn entries(&self, range: impl RangeBounds<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        let bound = |bound: Bound<&u64>| bound.map(|index| index.to_be_bytes());
        self.shared
            .log
            .range((bound(range.start_bound()), bound(range.end_bound())))
            .map(|entry| unseal_entry(&entry.value().attempt("read the log")?))
            .collect()
    }

    /// Returns the entry with the highest index.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when it is damaged.
    pub fn last_entry(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(entry) = self.shared.log.last_key_value() else { return Ok(None) };
        unseal_entry(&entry.value().attempt("read the log")?).map(Some)
    }

    /// Removes the entries from `index` on. The next append syncs the removal with it; until then
    /// a reboot may bring back entries that no majority ever held.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] or [`StoreError::Closed`].
    pub fn truncate(&self, index: u64) -> Result<(), StoreError> {
        let mut batch = self.shared.directory.batch();
        for entry in self.shared.log.range(index.to_be_bytes()..) {
            batch.remove(&self.shared.log, entry.key().attempt("read the log")?);
        }
        self.shared.commit_directory(batch, Durability::Buffered, "truncate the log")
    }

    /// Removes the entries up to and with `index` and sets [`Slot::Purged`], both or neither.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] or [`StoreError::Closed`].
    pub fn purge(&self, index: u64, purged: &[u8]) -> Result<(), StoreError> {
        let mut batch = self.shared.directory.batch();
        for entry in self.shared.log.range(..=index.to_be_bytes()) {
            batch.remove(&self.shared.log, entry.key().attempt("read the log")?);
        }
        batch.insert(&self.shared.slots, Slot::Purged.key(), sealed::seal_bytes(purged));
        self.shared.commit_directory(batch, Durability::Buffered, "purge the log")
    }

    /// Sets a single value.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] or [`StoreError::Closed`].
    pub fn put(&self, slot: Slot, value: &[u8], durability: Durability) -> Result<(), StoreError> {
        let mut batch = self.shared.directory.batch();
        batch.insert(&self.shared.slots, slot.key(), sealed::seal_bytes(value));
        self.shared.commit_directory(batch, durability, "write what Raft keeps")
    }

    /// Returns a single value, if it was ever set.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when it is damaged.
    pub fn get(&self, slot: Slot) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.shared.slots.get(slot.key()).attempt("read what Raft keeps")?;
        let Some(value) = value else { return Ok(None) };
        let bytes = sealed::unseal_bytes(&value)
            .ok_or(StoreError::Corrupt { what: slot.key(), source: None })?;
        Ok(Some(bytes.to_vec()))
    }
}

fn unseal_entry(value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let bytes = sealed::unseal_bytes(value);
    bytes.map(<[u8]>::to_vec).ok_or(StoreError::Corrupt { what: "Raft's log", source: None })
}
