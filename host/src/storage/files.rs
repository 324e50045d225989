//! The data folder: its lock, its layout, and how it comes into being.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::StoreError;

/// Memory of a table before it is written out, in bytes: for tables that stay small.
pub(super) const SMALL_MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;
/// Memory of a table before it is written out, in bytes: for tables that are written all the time.
pub(super) const LARGE_MEMTABLE_BYTES: u64 = 64 * 1024 * 1024;
/// Cache of each database, in bytes. What is read twice is held above the store anyway.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Threads that write tables out and merge them, for each database.
const WORKER_THREADS: usize = 1;

/// The databases once they are complete, and while they are being made.
const STORE: &str = "store";
const STORE_IN_MAKING: &str = "store.new";

/// Creates the folder, for its owner only, and locks it. The lock ends with the process, however
/// that ends.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| refused(dir, source))?;

    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(|source| refused(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(refused(&path, source)),
    }
}

/// Opens the directory's database and the copies' database, making them at the first time.
pub(super) fn open_databases(dir: &Path) -> Result<(Database, Database), StoreError> {
    let store = dir.join(STORE);
    if !store.try_exists().map_err(|source| refused(&store, source))? {
        make(dir)?;
    }
    Ok((open(&store.join("directory"))?, open(&store.join("copies"))?))
}

/// Makes empty databases aside and moves them into place at once: a process that is killed while
/// it makes them leaves nothing that a later one would take for a store.
fn make(dir: &Path) -> Result<(), StoreError> {
    let aside = dir.join(STORE_IN_MAKING);
    match std::fs::remove_dir_all(&aside) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(refused(&aside, source));
        }
        Ok(()) | Err(_) => {}
    }
    for name in ["directory", "copies"] {
        let folder = aside.join(name);
        std::fs::create_dir_all(&folder).map_err(|source| refused(&folder, source))?;
        let database = open(&folder)?;
        database
            .persist(PersistMode::SyncAll)
            .map_err(|source| StoreError::Failed { action: "make the store", source })?;
    }
    std::fs::rename(&aside, dir.join(STORE)).map_err(|source| refused(&aside, source))?;
    sync_folder(dir).map_err(|source| refused(dir, source))
}

fn open(folder: &Path) -> Result<Database, StoreError> {
    Database::builder(folder).cache_size(CACHE_BYTES).worker_threads(WORKER_THREADS).open().map_err(
        |source| match source {
            fjall::Error::Io(source) => refused(folder, source),
            source => StoreError::Corrupt { what: "its databases", source: Some(source) },
        },
    )
}

pub(super) fn keyspace_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes)
}

#[cfg(unix)]
fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_dir: &Path) -> io::Result<()> {
    Ok(())
}

fn refused(path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source }
}
