//! A look at the engine's journals before the engine takes them.
//!
//! The engine reads a journal up to the first thing that it does not understand, cuts the rest off
//! and goes on. That is right for a batch that was being written when the process or the machine
//! died: nobody was told of it. But after one wrong byte in the middle it would lose all later
//! batches without a word. So what would be cut is judged here first.
//!
//! ```text
//! journal   batch … batch, zeros (the file is longer than what was written)
//! batch     1, items: u32, number: u64,  item …,  3, checksum of the items: u64, "FJL" 3
//! item      2, kind: u8, 0, table: u64, key: u16, value: u32, value: u32,  key, value
//! ```
//!
//! All numbers are little-endian. This is format 3 of the engine; a test with real journals fails if
//! a new version of it writes another one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::marked;

const BATCH: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";

/// Bytes that are read at once. A journal is mostly zeros, which are not kept.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What may be missing at the end of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// Nothing but the one batch that a killed process was writing: the machine runs since.
    SameBoot,
    /// Nothing but the one batch that was being synced when the machine died.
    Synced,
    /// Any of what came after the last write that is known to be synced when the machine died.
    Marked,
    /// Any of what was not synced when the machine died. Nothing that is left is trusted.
    Doubtful,
}

/// A journal that lost something in the middle.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The file, or the folder that has none.
    pub(super) file: PathBuf,
    /// Where the first batch that is not whole begins.
    pub(super) at: usize,
}

/// What is known of a database that numbers its writes; zeros for one that does not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The last write that is in its tables already.
    pub(super) in_tables: u64,
    /// The last write that was synced.
    pub(super) synced: u64,
}

/// Judges the journals of a database that no process uses and that has one at least. What was being
/// written at the end is cut off.
///
/// # Errors
///
/// What the system says.
pub(super) fn examine(folder: &Path, past: Past, known: Known) -> io::Result<Result<(), Broken>> {
    let journals = journals(folder)?;
    if journals.is_empty() {
        return Ok(Err(Broken { file: folder.to_owned(), at: 0 }));
    }
    let newest = journals.len().saturating_sub(1);
    let mut last = Last { number: None, write: known.in_tables };
    for (nth, file) in journals.into_iter().enumerate() {
        let bytes = written_part(&file)?;
        let at = whole_batches(&bytes, &mut last);
        let rest = &bytes[at..];
        if nth == newest && last.write < known.synced {
            return Ok(Err(Broken { file, at }));
        }
        if rest.iter().all(|byte| *byte == 0) {
            continue;
        }
        // An older journal was synced before the next one was begun.
        let is_torn = nth == newest
            && match past {
                Past::SameBoot => !was_finished(rest),
                Past::Synced => !contains_batch(rest, last.number),
                Past::Marked | Past::Doubtful => true,
            };
        if !is_torn {
            return Ok(Err(Broken { file, at }));
        }
        tracing::info!(
            file = %file.display(), bytes = rest.len(),
            "cut off what was being written when the node or its machine died"
        );
        cut(&file, at)?;
    }
    Ok(Ok(()))
}

/// Drops everything from the first batch on that is not whole.
///
/// # Errors
///
/// What the system says.
pub(super) fn cut_at_damage(folder: &Path) -> io::Result<()> {
    let (mut last, mut is_broken) = (Last::default(), false);
    for file in journals(folder)? {
        if is_broken {
            std::fs::remove_file(file)?;
            continue;
        }
        let bytes = written_part(&file)?;
        let at = whole_batches(&bytes, &mut last);
        if bytes[at..].iter().any(|byte| *byte != 0) {
            cut(&file, at)?;
            is_broken = true;
        }
    }
    Ok(())
}

/// Returns the journals of a database, the oldest first.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|e| e == "jnl")) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Reads a file without the zeros at its end, or at least without most of them.
fn written_part(file: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(file)?;
    let (mut bytes, mut zeros) = (Vec::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    let empty = vec![0; CHUNK_BYTES];
    loop {
        let len = file.read(&mut chunk)?;
        if len == 0 {
            return Ok(bytes);
        }
        if chunk[..len] == empty[..len] {
            zeros += len;
        } else {
            bytes.resize(bytes.len() + std::mem::take(&mut zeros), 0);
            bytes.extend_from_slice(&chunk[..len]);
        }
    }
}

/// The last of the batches that are whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Last {
    /// The engine's number of it.
    pub(super) number: Option<u64>,
    /// Our own, or zero: see [`marked`].
    write: u64,
}

/// Returns where the whole batches at the beginning end.
pub(super) fn whole_batches(bytes: &[u8], last: &mut Last) -> usize {
    let mut at = 0;
    while let Some((batch, len)) = batch(&bytes[at..]) {
        // The numbers rise; the checksum does not cover them.
        if batch.number <= last.number {
            break;
        }
        *last = Last { write: batch.write.max(last.write), ..batch };
        at += len;
    }
    at
}

/// Reads one batch and its length.
fn batch(bytes: &[u8]) -> Option<(Last, usize)> {
    let (batch, rest) = checked_items(bytes)?;
    let rest = rest.strip_prefix(TRAILER)?;
    Some((batch, bytes.len() - rest.len()))
}

/// Reads a batch up to the checksum of its items, and returns what follows, too.
fn checked_items(bytes: &[u8]) -> Option<(Last, &[u8])> {
    let mut rest = Cursor(bytes);
    rest.checked_items().map(|batch| (batch, rest.0))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Reads a batch up to the checksum of its items. Where it ends in vain says how far it came.
    fn checked_items(&mut self) -> Option<Last> {
        let rest = self;
        if rest.byte()? != BATCH {
            return None;
        }
        let items = u32::from_le_bytes(rest.array()?);
        let number = Some(u64::from_le_bytes(rest.array()?));
        let begin = rest.0;
        let mut write = 0;
        for _ in 0..items {
            write = rest.item()?.unwrap_or(write);
        }
        let checked = &begin[..begin.len() - rest.0.len()];
        let is_end = rest.byte()? == END;
        let checksum = u64::from_le_bytes(rest.array()?);
        (is_end && xxh3_64(checked) == checksum).then_some(Last { number, write })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Skips one item. Returns its value if that is the number of a write.
    fn item(&mut self) -> Option<Option<u64>> {
        match self.byte()? {
            ITEM => {
                let [_kind, compression] = self.array()?;
                let _table: [u8; 8] = self.array()?;
                let key = usize::from(u16::from_le_bytes(self.array()?));
                let _unpacked: [u8; 4] = self.array()?;
                let value = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
                let (key, rest) = self.0.split_at_checked(key)?;
                let (value, rest) = rest.split_at_checked(value)?;
                self.0 = rest;
                let is_number = key == marked::WRITTEN.as_bytes();
                (compression == 0).then(|| is_number.then(|| marked::number(value)).flatten())
            }
            CLEAR => self.array::<8>().map(|_| None),
            _ => None,
        }
    }
}

/// Whether a whole batch that follows `last` begins anywhere behind the first byte: it was written
/// after what is broken. One that does not is from a file that had the same place on the disk before.
pub(super) fn contains_batch(rest: &[u8], last: Option<u64>) -> bool {
    let mut work = rest.len().saturating_mul(LOOKS_PER_BYTE_MAX);
    (1..rest.len()).filter(|at| rest[*at] == BATCH).any(|at| {
        let mut cursor = Cursor(&rest[at..]);
        let batch = cursor.checked_items();
        let is_whole =
            batch.is_some_and(|batch| batch.number > last) && cursor.0.starts_with(TRAILER);
        work = work.saturating_sub(rest.len() - at - cursor.0.len());
        is_whole || work == 0
    })
}

/// How often each byte is looked at, on average, in search of a batch. Real journals need about one
/// look: nearly all that looks like the beginning of a batch ends at its first item. One that needs
/// more was made to, and is taken for damaged.
const LOOKS_PER_BYTE_MAX: usize = 64;

/// Whether a batch was written up to its end, though it is not whole: its trailer is there, or what
/// is there instead is not the beginning of one.
pub(super) fn was_finished(rest: &[u8]) -> bool {
    let has_trailer = rest.windows(TRAILER.len()).any(|bytes| bytes == TRAILER);
    has_trailer
        || checked_items(rest).is_some_and(|(_, end)| {
            let end = &end[..end.len().min(TRAILER.len())];
            let written = end.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            !TRAILER.starts_with(&end[..written])
        })
}

fn cut(file: &Path, at: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(file)?;
    file.set_len(at as u64)?;
    file.sync_all()
}
