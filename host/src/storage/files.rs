//! The data folder: its lock, its layout, and how it comes into being.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode};

use super::StoreError;
use super::journal::{self, Broken, Known, Past};
use super::marked::{Mark, Marked};
use super::salvage::salvage;
use super::tables::{self, Unusable};

/// Memory of a table before it is written out, in bytes: for tables that stay small.
pub(super) const SMALL_MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;
/// Memory of a table before it is written out, in bytes: for tables that are written all the time.
pub(super) const LARGE_MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;
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

/// The tables of each database and the memory of each before it is written out, in bytes.
pub(super) const DIRECTORY: [(&str, u64); 3] = [
    ("node", SMALL_MEMTABLE_BYTES),
    ("log", SMALL_MEMTABLE_BYTES),
    ("slots", SMALL_MEMTABLE_BYTES),
];
pub(super) const COPIES: [(&str, u64); 3] = [
    ("bases", LARGE_MEMTABLE_BYTES),
    ("records", LARGE_MEMTABLE_BYTES),
    ("floors", SMALL_MEMTABLE_BYTES),
];

/// A database and its tables, all of which can be read.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) tables: [Keyspace; 3],
}

/// Why a database was not opened.
enum Unopened {
    /// What it holds cannot be read.
    Damaged(String),
    /// The system refused, which says nothing about what it holds.
    Refused(StoreError),
}

/// Makes the databases at the first time.
pub(super) fn prepare(dir: &Path) -> Result<(), StoreError> {
    let store = dir.join(STORE);
    let exists = store.try_exists().map_err(|source| refused(&store, source))?;
    if exists { Ok(()) } else { make(dir) }
}

/// Opens the directory's database and its tables.
pub(super) fn open_directory(
    dir: &Path,
    same_boot: bool,
) -> Result<(Marked, [Keyspace; 3]), StoreError> {
    let folder = dir.join(STORE).join("directory");
    let failed = |unopened| match unopened {
        Unopened::Damaged(reason) => {
            StoreError::Directory { dir: dir.to_owned(), folder: folder.clone(), reason }
        }
        Unopened::Refused(error) => error,
    };
    let mark = open_mark(&dir.join(STORE).join(MARK)).map_err(failed)?;
    let past = if same_boot { Past::SameBoot } else { Past::Marked };
    let opened = open_whole(&folder, &DIRECTORY, past, mark.synced()).map_err(failed)?;
    let marked = Marked::new(opened.database, opened.tables[0].clone(), mark)?;
    Ok((marked, opened.tables))
}

/// How far the directory was synced, as a file of its own.
const MARK: &str = "synced";

fn open_mark(path: &Path) -> Result<Mark, Unopened> {
    let mark = Mark::open(path).map_err(|source| unreadable(path, source))?;
    mark.ok_or_else(|| Unopened::Damaged(format!("{} does not match its checksum", path.display())))
}

/// Opens the copies' database. If it is damaged or gone, makes another one in its place, of what can
/// be saved; then the second value is true, no copy in it is trusted, and what was damaged is kept
/// aside. The caller notes that, and then says so with [`note_doubt`].
pub(super) fn open_copies(dir: &Path, past: Past) -> Result<(Opened, bool), StoreError> {
    let store = dir.join(STORE);
    let folder = store.join("copies");
    if folder.try_exists().map_err(|source| refused(&folder, source))? {
        // What a copy's own checksum covers is judged when it is loaded, one by one.
        match open_whole(&folder, &COPIES, past, 0) {
            Ok(opened) => return Ok((opened, has_unnoted_doubt(&store)?)),
            Err(Unopened::Damaged(reason)) => {
                if replace_by_salvage(&store, &folder, &reason)? {
                    return reopen_copies(&folder);
                }
            }
            Err(Unopened::Refused(error)) => return Err(error),
        }
    } else {
        tracing::error!(
            folder = %folder.display(),
            "the copies that this node kept of players are gone; those on other nodes are used"
        );
    }
    make_database(&folder, &COPIES)?;
    sync_folder(&store).map_err(|source| refused(&store, source))?;
    reopen_copies(&folder)
}

/// Opens copies that were made or saved a moment ago.
fn reopen_copies(folder: &Path) -> Result<(Opened, bool), StoreError> {
    match open_whole(folder, &COPIES, Past::Doubtful, 0) {
        Ok(opened) => Ok((opened, true)),
        Err(Unopened::Refused(error)) => Err(error),
        Err(Unopened::Damaged(_)) => {
            Err(StoreError::Corrupt { what: "its copies, made a moment ago", source: None })
        }
    }
}

/// Moves damaged copies aside, and what can be saved of them in their place. False if that is
/// nothing.
fn replace_by_salvage(store: &Path, folder: &Path, reason: &str) -> Result<bool, StoreError> {
    let saved = store.join("copies.new");
    let salvaged = salvage(folder, &saved).map_err(|source| unreadable(&saved, source));
    let opened = salvaged.and_then(|()| open_whole(&saved, &COPIES, Past::Doubtful, 0));
    let is_saved = opened.map(drop).is_ok();
    let aside = free_name(store, "copies.damaged")?;
    if is_saved {
        // Before they are in place: after a crash nobody else would know that they may lack calls.
        let doubt = store.join(DOUBT);
        let noted = File::create(&doubt).and_then(|file| file.sync_all());
        noted.and_then(|()| sync_folder(store)).map_err(|source| refused(&doubt, source))?;
    }
    std::fs::rename(folder, &aside).map_err(|source| refused(folder, source))?;
    if is_saved {
        std::fs::rename(&saved, folder).map_err(|source| refused(folder, source))?;
        sync_folder(store).map_err(|source| refused(store, source))?;
        tracing::error!(
            reason, folder = %aside.display(),
            "the copies that this node kept of players are damaged; they were moved aside, and what \
             was written before the damage is kept, but not trusted: the copies on other nodes are \
             used, and where there is none, `host recover` can use one of these; keep the folder \
             until all players answer again"
        );
    } else {
        tracing::error!(
            reason, folder = %aside.display(),
            "the copies that this node kept of players cannot be read; they were moved aside and \
             count as lost here, and the copies on other nodes are used; keep the folder until all \
             players answer again"
        );
    }
    Ok(is_saved)
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(source),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Stands there while the copies are salvaged ones and the directory's database does not say so yet.
const DOUBT: &str = "copies.doubtful";

fn has_unnoted_doubt(store: &Path) -> Result<bool, StoreError> {
    let doubt = store.join(DOUBT);
    doubt.try_exists().map_err(|source| refused(&doubt, source))
}

/// The directory's database says that no copy of before is trusted.
pub(super) fn note_doubt(dir: &Path) -> Result<(), StoreError> {
    let doubt = dir.join(STORE).join(DOUBT);
    match std::fs::remove_file(&doubt) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(refused(&doubt, source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens a database after all of it was read once, so that damage is found before anybody relies on
/// what is left.
fn open_whole(
    folder: &Path,
    tables: &[(&'static str, u64); 3],
    past: Past,
    synced: u64,
) -> Result<Opened, Unopened> {
    let in_tables = tables::examine(folder).map_err(|unusable| match unusable {
        Unusable::Damaged(reason) => Unopened::Damaged(reason),
        Unusable::Io(path, source) => unreadable(&path, source),
    })?;
    let known = Known { in_tables: in_tables.unwrap_or(0), synced };
    let judged = journal::examine(folder, past, known);
    judged.map_err(|source| unreadable(folder, source))?.map_err(|broken| {
        let Broken { file, at } = broken;
        Unopened::Damaged(format!(
            "{} does not match its checksum or lacks what was synced, at byte {at}",
            file.display()
        ))
    })?;
    // The engine trusts much of what it reads, and panics where that is wrong.
    let opened = catch_unwind(AssertUnwindSafe(|| open_tables(folder, tables)));
    opened.map_err(|_| Unopened::Damaged(format!("{} makes no sense", folder.display())))?
}

fn open_tables(folder: &Path, tables: &[(&'static str, u64); 3]) -> Result<Opened, Unopened> {
    let failed = |error| match error {
        fjall::Error::Io(source) | fjall::Error::Storage(LsmError::Io(source)) => {
            unreadable(folder, source)
        }
        error => Unopened::Damaged(format!("{}: {error}", folder.display())),
    };
    let database = engine(folder).map_err(failed)?;
    let open = |(name, memtable_bytes): (&str, u64)| {
        database.keyspace(name, || keyspace_options(memtable_bytes)).map_err(failed)
    };
    let [first, second, third] = *tables;
    let tables = [open(first)?, open(second)?, open(third)?];
    Ok(Opened { database, tables })
}

/// Tells a system that does not let us read from files that lack something.
fn unreadable(folder: &Path, source: io::Error) -> Unopened {
    const EIO: i32 = 5;
    let damaged = match source.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotFound
        | io::ErrorKind::Other => true,
        _ => source.raw_os_error() == Some(EIO),
    };
    if damaged {
        Unopened::Damaged(format!("{}: {source}", folder.display()))
    } else {
        Unopened::Refused(refused(folder, source))
    }
}

/// Returns the first of `name-1`, `name-2` and so on that is not there.
fn free_name(folder: &Path, name: &str) -> Result<PathBuf, StoreError> {
    for number in 1_u64.. {
        let path = folder.join(format!("{name}-{number}"));
        if !path.try_exists().map_err(|source| refused(&path, source))? {
            return Ok(path);
        }
    }
    Err(refused(folder, io::ErrorKind::AlreadyExists.into()))
}

/// The boot under which the store was used last, as a file: it must be known before the databases
/// are opened. Not synced, for after a power loss it may as well be missing.
const BOOT: &str = "boot";

/// Whether the machine runs since the store was used last.
pub(super) fn is_same_boot(dir: &Path, boot: Option<&str>) -> bool {
    let noted = std::fs::read_to_string(dir.join(STORE).join(BOOT)).ok();
    boot.is_some() && noted.as_deref() == boot
}

/// Notes the boot under which the store is used now.
pub(super) fn note_boot(dir: &Path, boot: Option<&str>) -> Result<(), StoreError> {
    let path = dir.join(STORE).join(BOOT);
    std::fs::write(&path, boot.unwrap_or_default()).map_err(|source| refused(&path, source))
}

/// Makes empty databases aside and moves them into place at once: a process that is killed while
/// it makes them leaves nothing that a later one would take for a store.
fn make(dir: &Path) -> Result<(), StoreError> {
    let aside = dir.join(STORE_IN_MAKING);
    remove_folder(&aside).map_err(|source| refused(&aside, source))?;
    for (name, tables) in [("directory", &DIRECTORY), ("copies", &COPIES)] {
        make_database(&aside.join(name), tables)?;
    }
    let mark = aside.join(MARK);
    Mark::make(&mark).map_err(|source| refused(&mark, source))?;
    sync_folder(&aside).map_err(|source| refused(&aside, source))?;
    std::fs::rename(&aside, dir.join(STORE)).map_err(|source| refused(&aside, source))?;
    sync_folder(dir).map_err(|source| refused(dir, source))
}

fn make_database(folder: &Path, tables: &[(&'static str, u64); 3]) -> Result<(), StoreError> {
    std::fs::create_dir_all(folder).map_err(|source| refused(folder, source))?;
    let made = engine(folder).and_then(|database| {
        for (name, memtable_bytes) in tables {
            database.keyspace(name, || keyspace_options(*memtable_bytes))?;
        }
        database.persist(PersistMode::SyncAll)
    });
    made.map_err(|source| match source {
        fjall::Error::Io(source) => refused(folder, source),
        source => StoreError::Failed { action: "make the store", source },
    })
}

fn engine(folder: &Path) -> fjall::Result<Database> {
    Database::builder(folder).cache_size(CACHE_BYTES).worker_threads(WORKER_THREADS).open()
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
