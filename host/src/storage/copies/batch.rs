//! Writes to copies and floors that take effect together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Header, base_key, record_key, records};
use crate::protocol::{CopyId, Generation, PlayerId, PlayerState, Record, Seq, Writer};
use crate::storage::error::Attempt;
use crate::storage::{Durability, Shared, StoreError, sealed};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Bases,
    Records,
    Floors,
}

/// Writes that take effect together, in the order in which they were added.
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    shared: Arc<Shared>,
    /// The last word on each key; `None` removes it. The engine gives all writes of one commit the
    /// same age, so there must be only one for each key.
    staged: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// The first failure to read what a removal has to remove.
    failure: Option<StoreError>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("writes", &self.staged.len()).finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, staged: BTreeMap::new(), failure: None }
    }

    /// Whether a commit would write nothing.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.failure.is_none()
    }

    /// Writes a copy as a whole, and removes its records up to the state's position.
    ///
    /// `trusted` must be false when the state comes from an untrusted copy: only a fresh seed
    /// makes a copy trusted again.
    pub fn put_base(
        &mut self,
        player: &PlayerId,
        copy: CopyId,
        generation: Generation,
        writer: Writer,
        state: &PlayerState,
        trusted: bool,
    ) {
        self.remove_records(copy, state.seq);
        let session = self.shared.session().incarnation;
        let header = Header { seq: state.seq, generation, writer, session, trusted };
        self.stage(Table::Bases, base_key(copy, player), Some(sealed::seal(&(header, state))));
    }

    /// Adds one call to a copy.
    pub fn put_record(&mut self, copy: CopyId, record: &Record) {
        self.stage(Table::Records, record_key(copy, record.seq), Some(sealed::seal(record)));
    }

    /// Sets the highest generation seen of a player.
    pub fn put_floor(&mut self, player: &PlayerId, generation: Generation, writer: Writer) {
        let value = sealed::seal(&(generation, writer));
        self.stage(Table::Floors, player.as_str().into(), Some(value));
    }

    /// Forgets the highest generation seen of a player.
    pub fn remove_floor(&mut self, player: &PlayerId) {
        self.stage(Table::Floors, player.as_str().into(), None);
    }

    /// Removes a copy: its base and all its records.
    pub fn remove_copy(&mut self, copy: CopyId) {
        self.remove_records(copy, Seq(u64::MAX));
        match self.base_keys(copy) {
            Ok(keys) => keys.into_iter().for_each(|key| self.stage(Table::Bases, key, None)),
            Err(failure) => self.fail(failure),
        }
    }

    /// Writes all of it, or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] or [`StoreError::Closed`].
    pub fn commit(self, durability: Durability) -> Result<(), StoreError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.staged.is_empty() {
            return Ok(());
        }
        let mut batch = self.shared.copies.batch();
        for ((table, key), value) in self.staged {
            let keyspace = match table {
                Table::Bases => &self.shared.bases,
                Table::Records => &self.shared.records,
                Table::Floors => &self.shared.floors,
            };
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        self.shared.commit_copies(batch, durability)
    }

    fn stage(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.staged.insert((table, key), value);
    }

    fn fail(&mut self, failure: StoreError) {
        self.failure.get_or_insert(failure);
    }

    /// Removes the records of a copy up to a position, stored and staged ones.
    fn remove_records(&mut self, copy: CopyId, through: Seq) {
        if through == Seq(0) {
            return; // A new player's copy: there are none, and to look for them costs more than to write it.
        }
        let all = (Table::Records, record_key(copy, Seq(0)))
            ..=(Table::Records, record_key(copy, through));
        for (_, value) in self.staged.range_mut(all) {
            *value = None;
        }
        match self.stored_records(copy, through) {
            Ok(keys) => keys.into_iter().for_each(|key| self.stage(Table::Records, key, None)),
            Err(failure) => self.fail(failure),
        }
    }

    fn stored_records(&self, copy: CopyId, through: Seq) -> Result<Vec<Vec<u8>>, StoreError> {
        records(&self.shared.records, copy, self.first_record(copy)?)
            .map(|record| record.map(|(seq, _)| seq))
            .take_while(|seq| seq.as_ref().map_or(true, |seq| *seq <= through))
            .map(|seq| seq.map(|seq| record_key(copy, seq)))
            .collect()
    }

    /// Returns where the records of a copy begin. Looking for them further down would be right as
    /// well, but slow: all records that its former bases replaced left a mark in the engine.
    fn first_record(&self, copy: CopyId) -> Result<Seq, StoreError> {
        let Some(base) = self.shared.bases.prefix(copy.0.to_be_bytes()).next() else {
            return Ok(Seq(0));
        };
        let value = base.value().attempt("read a copy")?;
        let header = sealed::unseal_bytes(&value)
            .and_then(|bytes| postcard::take_from_bytes::<Header>(bytes).ok());
        Ok(header.map_or(Seq(0), |(header, _)| header.seq.next()))
    }

    /// Returns the keys of a copy's base: stored and staged ones.
    fn base_keys(&self, copy: CopyId) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = copy.0.to_be_bytes();
        let stored = self.shared.bases.prefix(prefix).map(|entry| {
            let key = entry.key().attempt("read a copy")?;
            Ok(key.to_vec())
        });
        let staged = self
            .staged
            .range((Table::Bases, prefix.to_vec())..)
            .map(|((table, key), _)| (*table, key))
            .take_while(|(table, key)| *table == Table::Bases && key.starts_with(&prefix))
            .map(|(_, key)| Ok(key.clone()));
        stored.chain(staged).collect()
    }
}
