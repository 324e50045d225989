//! The embedded store of one node: everything that must outlive its process.
//!
//! One data folder holds two fjall databases, so that a sync of one never delays a write to the
//! other:
//!
//! ```text
//! <data folder>/lock               held while a process uses the folder
//! <data folder>/store/directory    who the node is, and Raft's log, vote and snapshot
//! <data folder>/store/synced       how much of the directory is known to be on disk
//! <data folder>/store/boot         under which boot of the machine the store was used last
//! <data folder>/store/copies       copies of players and their fences, for `keeper`
//! <data folder>/store/copies.damaged-1   copies that were damaged, out of the way
//! ```
//!
//! Invariants:
//! - a write is in the kernel when its function returns, so a killed process loses nothing;
//! - Raft's log, vote and snapshot are on disk when their functions return;
//! - a copy is loaded as trusted only if nothing that was acknowledged can be missing from it
//!   ([`Trust`]);
//! - each value carries a checksum, and a damaged one is reported, never used;
//! - a damaged file is found when the store is opened, and never read as if it ended early.
//!
//! What is not here: any decision about copies (`keeper`) or about Raft (`directory`). All
//! functions block; the synced ones for as long as the disk takes.

mod copies;
mod error;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod identity;
mod journal;
mod marked;
mod raft;
mod salvage;
mod sealed;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};

pub use copies::{Batch, Copies, Damage, Damaged, Loaded, StoredCopy, StoredFloor};
pub use error::StoreError;
pub use identity::Trust;
pub use raft::{RaftStore, Slot};

use crate::protocol::{Candidacy, Incarnation, NodeId, NodeName};
use error::Attempt;
use identity::{NodeTable, Session};
use journal::Past;
use marked::Marked;

/// Most files that the databases keep open for their tables: fjall's 900 for each.
pub const OPEN_FILES_MAX: u64 = 2 * 900;

/// Most that journals take on disk before they are written out to tables, in bytes: fjall's 512 MiB for
/// each database.
pub const JOURNAL_BYTES_MAX: u64 = 2 * 512 * 1024 * 1024;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the kernel: survives the process, not the machine.
    Buffered,
    /// On disk: survives the machine.
    Synced,
}

impl Durability {
    fn mode(self) -> PersistMode {
        match self {
            Self::Buffered => PersistMode::Buffer,
            Self::Synced => PersistMode::SyncData,
        }
    }
}

/// The store of one node. One process at a time uses a data folder.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    node: NodeId,
    incarnation: Incarnation,
    trust: Trust,
    lost_copies: bool,
}

/// What the handles of one store have in common.
struct Shared {
    directory: Marked,
    copies: Database,
    node_table: NodeTable,
    log: Keyspace,
    slots: Keyspace,
    bases: Keyspace,
    records: Keyspace,
    floors: Keyspace,
    session: Mutex<Session>,
    /// Whether writes are still taken. Writers hold it shared, so that none is under way when the
    /// store is marked as cleanly closed.
    open: RwLock<bool>,
    /// Last, so that the folder is free only when the databases are gone.
    _lock: File,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in the data folder `dir`, creating both if they do not exist, and begins a
    /// new incarnation of the node.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] when another process uses the folder, [`StoreError::Folder`] when it
    /// cannot be created or written, [`StoreError::Directory`] when the directory's part of it cannot
    /// be read. If the copies cannot be read, they are set aside and the store opens with what can be
    /// saved of them, untrusted.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(dir, identity::boot_id())
    }

    /// Opens the store on a machine whose current boot has this id, or an unknown one.
    fn open_on(dir: &Path, boot: Option<String>) -> Result<Self, StoreError> {
        let lock = files::lock(dir)?;
        files::prepare(dir)?;
        let same_boot = files::is_same_boot(dir, boot.as_deref());
        let (directory, [node_table, log, slots]) = files::open_directory(dir, same_boot)?;
        let past = if same_boot { Past::SameBoot } else { Past::Synced };
        let node_table = NodeTable::new(node_table);
        let node = node_table.node_id(&directory)?;
        let previous = node_table.session()?;
        let mut trust = identity::judge(previous.as_ref(), boot.as_deref());
        let past = if trust == Trust::Doubtful { Past::Doubtful } else { past };
        let (copies, lost_copies) = files::open_copies(dir, past)?;
        if lost_copies {
            // Were they ever put back, nobody could say what they lack.
            trust = Trust::Doubtful;
        }
        let files::Opened { database: copies, tables: [bases, records, floors] } = copies;
        // What an earlier process left in the kernel becomes part of the past that a later reboot
        // cannot take back: this session only answers for its own writes.
        copies.persist(PersistMode::SyncAll).attempt("sync the copies")?;

        files::note_boot(dir, boot.as_deref())?;
        let session = Session::after(previous.as_ref(), trust, boot);
        node_table.put_session(&directory, &session)?;
        files::note_doubt(dir)?;
        let shared = Shared {
            log,
            slots,
            bases,
            records,
            floors,
            directory,
            copies,
            node_table,
            session: Mutex::new(session.clone()),
            open: RwLock::new(true),
            _lock: lock,
        };
        let incarnation = session.incarnation;
        Ok(Self { shared: Arc::new(shared), node, incarnation, trust, lost_copies })
    }

    /// Returns the node's number, drawn once per data folder.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Returns the number of this start; each open of the folder raises it.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns whether this open found all that was ever acknowledged.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether this open found the copies damaged or gone, and began with none, or with what was
    /// saved of them, which is not trusted.
    pub fn has_lost_copies(&self) -> bool {
        self.lost_copies
    }

    /// Binds the folder to the node's name; the first name stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherNode`] when the folder belongs to another name.
    pub fn bind_name(&self, name: &NodeName) -> Result<(), StoreError> {
        let _writing = self.shared.writing()?;
        self.shared.node_table.bind_name(&self.shared.directory, name)
    }

    /// Returns the attempt to begin a cluster that the node promised last not to stand in the way of.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that cannot be read.
    pub fn promised(&self) -> Result<Option<Candidacy>, StoreError> {
        self.shared.node_table.promised()
    }

    /// Writes down such a promise. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: it must not be given then.
    pub fn promise(&self, to: Candidacy) -> Result<(), StoreError> {
        let _writing = self.shared.writing()?;
        self.shared.node_table.put_promised(&self.shared.directory, to)
    }

    /// Returns access to what Raft keeps.
    pub fn raft(&self) -> RaftStore {
        RaftStore::new(Arc::clone(&self.shared))
    }

    /// Returns access to the copies of players.
    pub fn copies(&self) -> Copies {
        Copies::new(Arc::clone(&self.shared))
    }

    /// Syncs everything and marks the store as cleanly closed. Later writes are refused with
    /// [`StoreError::Closed`]; a second close does nothing. The folder is free for another process
    /// once all handles are dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the disk does not take it; the store then counts as not closed.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut open = self.shared.open.write().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return Ok(());
        }
        *open = false;
        // First all data, then the mark that vouches for it.
        self.shared.copies.persist(PersistMode::SyncAll).attempt("sync the copies")?;
        let mut session = self.shared.session();
        session.clean = true;
        self.shared.node_table.put_session(&self.shared.directory, &session)
    }
}

impl Shared {
    /// Keeps the store from being closed while the guard lives.
    fn writing(&self) -> Result<RwLockReadGuard<'_, bool>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if *open { Ok(open) } else { Err(StoreError::Closed) }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_directory(
        &self,
        batch: OwnedWriteBatch,
        durability: Durability,
        action: &'static str,
    ) -> Result<(), StoreError> {
        let _writing = self.writing()?;
        self.directory.commit(batch, durability, action)
    }

    fn commit_copies(
        &self,
        batch: OwnedWriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let _writing = self.writing()?;
        if durability == Durability::Buffered {
            self.note_buffered()?;
        }
        batch.durability(Some(durability.mode())).commit().attempt("write copies")
    }

    /// Syncs what was only buffered so far, and notes then that a reboot can take nothing back.
    fn sync_copies(&self) -> Result<(), StoreError> {
        // Alone, for a buffered write that slipped in between would not be noted.
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return Err(StoreError::Closed);
        }
        let mut session = self.session();
        if session.buffered {
            self.copies.persist(PersistMode::SyncAll).attempt("sync the copies")?;
            let mut noted = session.clone();
            noted.buffered = false;
            self.node_table.put_session(&self.directory, &noted)?;
            *session = noted;
        }
        Ok(())
    }

    /// Notes on disk, before the first such write of a session and before the first one after a
    /// sync of all, that this session has acknowledged writes that a reboot may take back.
    fn note_buffered(&self) -> Result<(), StoreError> {
        let mut session = self.session();
        if !session.buffered {
            let mut noted = session.clone();
            noted.buffered = true;
            self.node_table.put_session(&self.directory, &noted)?;
            *session = noted;
        }
        Ok(())
    }
}
