//! A look at the engine's tables before the engine takes them.
//!
//! The engine checks each block of a table when it reads it, but not the list of tables, whose
//! checksum it writes; and where a small file is wrong it panics with its own locks held, which
//! would end the process. So each table's tree is opened and read here alone first.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lsm_tree::{AbstractTree as _, Config, Guard as _, SeqNo, SequenceNumberCounter};
use xxhash_rust::xxh3::xxh3_128;

use super::marked;

/// The engine numbers tables as they are made; number 0 is its own list of them.
const NUMBERS: std::ops::RangeInclusive<u32> = 0..=3;

/// Why a table cannot be used.
pub(super) enum Unusable {
    /// What it holds cannot be read.
    Damaged(String),
    /// The system said something else.
    Io(PathBuf, io::Error),
}

/// Reads all tables of a database that no process uses. Returns the number of the last write that
/// they hold, if they hold one: see [`marked`].
///
/// # Errors
///
/// The first thing that is wrong.
pub(super) fn examine(database: &Path) -> Result<Option<u64>, Unusable> {
    // Without any of these the engine would begin that part anew, as if it had never held anything.
    let tables: Vec<PathBuf> =
        NUMBERS.map(|number| database.join(format!("keyspaces/{number}"))).collect();
    let lists = tables.iter().map(|table| table.join("current"));
    if let Some(gone) = lists.chain([database.join("version")]).find(|path| !path.exists()) {
        return Err(Unusable::Damaged(format!("{} is gone", gone.display())));
    }
    let mut written = None;
    for table in tables {
        check_list(&table)?;
        let read = catch_unwind(AssertUnwindSafe(|| read(&table)));
        let read =
            read.map_err(|_| Unusable::Damaged(format!("{} makes no sense", table.display())))??;
        written = read.or(written);
    }
    Ok(written)
}

/// Checks the list of a table's files, `v` and a number: that number and the list's checksum are in
/// the file `current`.
fn check_list(table: &Path) -> Result<(), Unusable> {
    let read = |path: PathBuf| std::fs::read(&path).map_err(|source| Unusable::Io(path, source));
    let damaged = |path: PathBuf| {
        Unusable::Damaged(format!("{} does not match its checksum", path.display()))
    };
    let current = table.join("current");
    let bytes = read(current.clone())?;
    let Some((number, rest)) = bytes.split_first_chunk() else { return Err(damaged(current)) };
    let Some((checksum, _)) = rest.split_first_chunk() else { return Err(damaged(current)) };
    let list = table.join(format!("v{}", u64::from_le_bytes(*number)));
    let is_whole =
        list.exists() && xxh3_128(&read(list.clone())?) == u128::from_le_bytes(*checksum);
    if is_whole { Ok(()) } else { Err(damaged(list)) }
}

fn read(table: &Path) -> Result<Option<u64>, Unusable> {
    let failed = |error| match error {
        lsm_tree::Error::Io(source) => Unusable::Io(table.to_owned(), source),
        error => Unusable::Damaged(format!("{}: {error}", table.display())),
    };
    let (one, other) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
    let tree = Config::new(table, one, other).open().map_err(failed)?;
    let mut written = None;
    for entry in tree.iter(SeqNo::MAX, None) {
        let (key, value) = entry.into_inner().map_err(failed)?;
        if *key == *marked::WRITTEN.as_bytes() {
            written = marked::number(&value);
        }
    }
    Ok(written)
}
