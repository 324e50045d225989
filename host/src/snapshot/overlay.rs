//! One memory as runs of bytes that differ from its initial image.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::LINEAR_MEMORY_BYTES_MAX;

/// Longest run, in bytes. One page: larger changes are split, so that one more byte never copies
/// more than a page.
pub const RUN_BYTES_MAX: usize = 4096;

/// What a run takes on the wire beside its bytes, at most: its offset in a 32-bit memory, 7 bits a
/// byte, and its length.
const RUN_HEAD_BYTES_MAX: usize = 5 + 2;

/// Neighbouring bytes that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Offset of the first byte in its memory, in bytes.
    pub offset: u64,
    /// The bytes, 1 to [`RUN_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// One memory: its length and the bytes that differ from its initial image.
///
/// Invariant: runs are not empty, do not cross a boundary of [`RUN_BYTES_MAX`] bytes, do not touch
/// within one page, and end within `len`, which 32-bit addresses reach. Decoding checks it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overlay {
    len: u64,
    runs: BTreeMap<u64, Vec<u8>>,
    /// The sum of the runs' lengths.
    #[serde(skip)]
    changed_bytes: usize,
}

impl Overlay {
    /// Returns a memory of `len` bytes that equals its initial image.
    pub fn new(len: u64) -> Self {
        Self { len, runs: BTreeMap::new(), changed_bytes: 0 }
    }

    /// Returns the length of the memory, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a memory of no bytes is not a special case")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the number of bytes in the runs.
    pub fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// Returns what the overlay takes on the wire, at most, in bytes.
    pub(super) fn wire_bytes(&self) -> usize {
        self.changed_bytes + self.runs.len() * RUN_HEAD_BYTES_MAX
    }

    /// Returns what the bytes of a run take on the wire, at most, if none of them is known.
    pub(super) fn new_run_bytes(len: usize) -> usize {
        len + (len.div_ceil(RUN_BYTES_MAX) + 1) * RUN_HEAD_BYTES_MAX
    }

    /// Returns by how much that grows, at most, when `runs` are written.
    pub(super) fn growth(&self, runs: &[Run]) -> usize {
        let grows = runs.iter().map(|run| {
            let missing = run.bytes.len() - self.known(run.offset, run.bytes.len() as u64);
            let known = run.bytes.len() - missing;
            if missing > 0 { Self::new_run_bytes(run.bytes.len()) - known } else { 0 }
        });
        grows.sum()
    }

    /// Returns how many bytes of a range are in runs.
    fn known(&self, start: u64, len: u64) -> usize {
        let (end, page) = (start + len, start - start % RUN_BYTES_MAX as u64);
        let overlap = |(&at, run): (&u64, &Vec<u8>)| {
            let (from, to) = (at.max(start), (at + run.len() as u64).min(end));
            to_usize(to.saturating_sub(from))
        };
        self.runs.range(page..end).map(overlap).sum()
    }

    /// Returns the runs in ascending order: offset and bytes.
    pub fn runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|(offset, bytes)| (*offset, bytes.as_slice()))
    }

    /// Writes the runs over `window`, which holds the initial image from `start` on.
    pub fn lay_over(&self, start: u64, window: &mut [u8]) {
        let end = start + window.len() as u64;
        let first_page = start - start % RUN_BYTES_MAX as u64;
        for (&offset, bytes) in self.runs.range(first_page..end) {
            let from = offset.max(start);
            let to = (offset + bytes.len() as u64).min(end);
            if from < to {
                window[to_usize(from - start)..to_usize(to - start)]
                    .copy_from_slice(&bytes[to_usize(from - offset)..to_usize(to - offset)]);
            }
        }
    }

    /// Lengthens the memory to `len` bytes. A shorter length is ignored.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Writes bytes that end within the memory.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let room = RUN_BYTES_MAX - to_usize(offset % RUN_BYTES_MAX as u64);
            let (piece, later) = rest.split_at(room.min(rest.len()));
            self.write_in_page(offset, piece);
            offset += piece.len() as u64;
            rest = later;
        }
    }

    fn write_in_page(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let page = offset - offset % RUN_BYTES_MAX as u64;
        // The common case: a counter that is overwritten where it was.
        if let Some((&at, run)) = self.runs.range_mut(page..=offset).next_back()
            && end <= at + run.len() as u64
        {
            let from = to_usize(offset - at);
            run[from..from + bytes.len()].copy_from_slice(bytes);
            return;
        }
        // Otherwise all runs of this page that touch the new one become one with it.
        let touching: Vec<u64> = self
            .runs
            .range(page..=end)
            .filter(|(at, run)| {
                **at < page + RUN_BYTES_MAX as u64 && **at + run.len() as u64 >= offset
            })
            .map(|(at, _)| *at)
            .collect();
        let old: Vec<(u64, Vec<u8>)> =
            touching.into_iter().filter_map(|at| self.runs.remove_entry(&at)).collect();
        let start = old.first().map_or(offset, |(at, _)| (*at).min(offset));
        let stop = old.last().map_or(end, |(at, run)| (*at + run.len() as u64).max(end));
        let mut merged = vec![0; to_usize(stop - start)];
        self.changed_bytes += merged.len();
        for (at, run) in &old {
            self.changed_bytes -= run.len();
            let from = to_usize(at - start);
            merged[from..from + run.len()].copy_from_slice(run);
        }
        let from = to_usize(offset - start);
        merged[from..from + bytes.len()].copy_from_slice(bytes);
        self.runs.insert(start, merged);
    }

    pub(super) fn is_sound(&self) -> bool {
        let page = |offset: u64| offset / RUN_BYTES_MAX as u64;
        let mut previous_end = None;
        let runs = self.runs.iter().all(|(&offset, run)| {
            let Some(end) = offset.checked_add(run.len() as u64) else { return false };
            let apart = previous_end.is_none_or(|before| {
                before < offset || (before == offset && page(before) != page(before - 1))
            });
            previous_end = Some(end);
            !run.is_empty() && page(offset) == page(end - 1) && end <= self.len && apart
        });
        runs && self.len <= LINEAR_MEMORY_BYTES_MAX
    }
}

impl<'de> Deserialize<'de> for Overlay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            len: u64,
            runs: BTreeMap<u64, Vec<u8>>,
        }
        let Wire { len, runs } = Wire::deserialize(deserializer)?;
        let changed_bytes = runs.values().map(Vec::len).sum();
        let overlay = Self { len, runs, changed_bytes };
        if overlay.is_sound() { Ok(overlay) } else { Err(D::Error::custom("unsound overlay")) }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets within one memory of a 64-bit host, checked by `Snapshot::check`"
)]
fn to_usize(offset: u64) -> usize {
    offset as usize
}
