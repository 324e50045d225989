//! The directory's database, with a mark of how much of it was synced.
//!
//! Some writes are synced before anybody is told of them, others (how far the log is committed, what
//! is dropped from it) are not. A power loss may leave any part of what came after the last sync: a
//! piece, a hole with something whole behind it, old bytes of the disk. From the journal alone that
//! looks like damage. So each write carries its number, and the number of the last synced one stands
//! in a small file next to the database, synced before the write counts as done. What is broken up
//! to that number is damage; what is broken after it was never promised to anybody.
//!
//! ```text
//! mark      place, zeros, place, zeros       each place in a sector of its own, written in turn
//! place     checksum: u32, number: u64       little-endian; the higher one counts
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fjall::{Database, Keyspace, OwnedWriteBatch};

use super::error::Attempt;
use super::{Durability, StoreError, sealed};

/// The key under which each write puts its number.
pub(super) const WRITTEN: &str = "written";

/// Where the two places of a mark begin. A disk that loses power spoils no more than the sector that
/// it was writing.
const PLACES: [u64; 2] = [0, 4096];
/// Length of a place, in bytes.
const PLACE_BYTES: usize = 12;

/// The number of the last write that was synced, on disk.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// The last write that was synced.
    synced: u64,
    /// Which place is written next.
    next: usize,
}

impl Mark {
    /// Makes the mark of a database that holds nothing yet.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn make(path: &Path) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(&place(0))?;
        file.set_len(PLACES[1] + PLACE_BYTES as u64)?;
        file.sync_all()
    }

    /// Opens a mark; `None` if it is damaged. One of its places may be: it was being written.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let [first, second] = [read_place(&mut file, 0)?, read_place(&mut file, 1)?];
        let Some(synced) = first.max(second) else { return Ok(None) };
        let next = usize::from(first == Some(synced));
        Ok(Some(Self { file, synced, next }))
    }

    /// The last write that was synced.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    fn put(&mut self, number: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(PLACES[self.next]))?;
        self.file.write_all(&place(number))?;
        self.file.sync_data()?;
        self.synced = number;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn place(number: u64) -> Vec<u8> {
    sealed::seal_bytes(&number.to_le_bytes())
}

fn read_place(file: &mut File, nth: usize) -> io::Result<Option<u64>> {
    let mut bytes = Vec::with_capacity(PLACE_BYTES);
    file.seek(SeekFrom::Start(PLACES[nth]))?;
    file.take(PLACE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(number(&bytes))
}

/// Reads the number of a write from its sealed bytes.
pub(super) fn number(sealed: &[u8]) -> Option<u64> {
    sealed::unseal_bytes(sealed)?.try_into().ok().map(u64::from_le_bytes)
}

/// A database that numbers its writes, and its mark.
pub(super) struct Marked {
    database: Database,
    /// The table that holds the number of the last write.
    table: Keyspace,
    last: Mutex<Last>,
}

/// Where the writes are. Behind one lock, so that they have their numbers in the journal's order.
struct Last {
    written: u64,
    mark: Mark,
}

impl Marked {
    /// Takes a database that was opened and lacks nothing that the mark says was synced.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] or [`StoreError::Failed`].
    pub(super) fn new(database: Database, table: Keyspace, mark: Mark) -> Result<Self, StoreError> {
        let value = table.get(WRITTEN).attempt("read how far the store was written")?;
        let written = value
            .map_or(Some(0), |value| number(&value))
            .ok_or(StoreError::Corrupt { what: "the number of its last write", source: None })?;
        Ok(Self { database, table, last: Mutex::new(Last { written, mark }) })
    }

    /// Begins a batch of writes.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.database.batch()
    }

    /// Writes a batch, all or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    pub(super) fn commit(
        &self,
        mut batch: OwnedWriteBatch,
        durability: Durability,
        action: &'static str,
    ) -> Result<(), StoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.written + 1;
        batch.insert(&self.table, WRITTEN, place(number));
        batch.durability(Some(durability.mode())).commit().attempt(action)?;
        last.written = number;
        match durability {
            Durability::Buffered => Ok(()),
            Durability::Synced => last.mark.put(number).map_err(Into::into).attempt(action),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mark_that_was_being_written_is_the_one_before() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("mark");
        Mark::make(&path).unwrap();
        for number in [3, 4, 8, 9, 15] {
            let mut mark = Mark::open(&path).unwrap().unwrap();
            let before = mark.synced();
            let (old, at) = (fs::read(&path).unwrap(), PLACES[mark.next]);
            mark.put(number).unwrap();
            assert_eq!(Mark::open(&path).unwrap().unwrap().synced(), number);

            let at = usize::try_from(at).unwrap();
            let new = fs::read(&path).unwrap();
            for len in 0..PLACE_BYTES {
                let mut torn = new.clone();
                torn[at + len..at + PLACE_BYTES].copy_from_slice(&old[at + len..at + PLACE_BYTES]);
                fs::write(&path, &torn).unwrap();
                let found = Mark::open(&path).unwrap().unwrap().synced();
                assert!(found == before || (torn == new && found == number), "{len}: {found}");
            }
            fs::write(&path, &new).unwrap();
        }
        fs::write(&path, [7; 5000]).unwrap();
        assert!(Mark::open(&path).unwrap().is_none());
    }
}
