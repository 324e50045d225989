//! A player's memory as data: full (`Snapshot`) and what one call changed (`Delta`).
//!
//! Both are sparse: runs of bytes that differ from the code's *initial image*, the memories right
//! after instantiation, which are the same for every player of one component. A player that changed
//! 64 bytes is 64 bytes large, whatever its memory's size.
//!
//! Captured: the bytes and the length of every linear memory. What a component keeps elsewhere, in
//! globals for example, `guest` has noted in a memory before; what nothing can note it refuses.
//!
//! Pure: no clock, no IO, no wasmtime.

mod overlay;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::limits::{GUEST_MEMORIES_MAX, LINEAR_MEMORY_BYTES_MAX, SNAPSHOT_BYTES_MAX};

pub use overlay::{Overlay, RUN_BYTES_MAX, Run};

/// Why a delta does not fit a snapshot. The snapshot is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// The delta speaks of another number of memories.
    #[error("the delta has {delta} memories and the snapshot {snapshot}")]
    Memories {
        /// Memories in the delta.
        delta: usize,
        /// Memories in the snapshot.
        snapshot: usize,
    },
    /// A run ends outside the memory it belongs to, is empty, or is too long.
    #[error("a run at {offset} of {len} bytes does not fit a memory of {memory} bytes")]
    Run {
        /// Offset of the run in its memory, in bytes.
        offset: u64,
        /// Length of the run, in bytes.
        len: usize,
        /// Length of the memory, in bytes.
        memory: u64,
    },
    /// The delta shrinks a memory; linear memories only grow.
    #[error("the delta shrinks a memory from {from} to {to} bytes")]
    Shrunk {
        /// Length before, in bytes.
        from: u64,
        /// Length in the delta, in bytes.
        to: u64,
    },
    /// The delta makes a memory longer than any can be.
    #[error("the delta makes a memory {0} bytes long, and {LINEAR_MEMORY_BYTES_MAX} are addressed")]
    Long(u64),
    /// With the delta the snapshot would be larger than a player's may be.
    #[error("with the delta the snapshot would take {0} bytes, and {SNAPSHOT_BYTES_MAX} are kept")]
    Large(usize),
}

/// What one call changed in one memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryDelta {
    /// Length of the memory after the call, in bytes.
    pub len: u64,
    /// Changed bytes, in ascending order.
    pub runs: Vec<Run>,
}

/// What one call changed: one entry for each memory of the component, in order of instantiation.
/// Empty when the call changed nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// One entry for each memory, or none at all.
    #[serde(deserialize_with = "few")]
    pub memories: Vec<MemoryDelta>,
}

impl Delta {
    /// Whether the call changed nothing.
    pub fn is_empty(&self) -> bool {
        self.memories.is_empty()
    }

    /// Returns the number of changed bytes that the delta carries.
    pub fn changed_bytes(&self) -> usize {
        self.memories.iter().flat_map(|memory| &memory.runs).map(|run| run.bytes.len()).sum()
    }
}

/// All memories of one player, as differences from the code's initial image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// One overlay for each memory of the component, in order of instantiation.
    #[serde(deserialize_with = "few")]
    pub memories: Vec<Overlay>,
}

impl Snapshot {
    /// Returns the state right after instantiation of a component with memories of these lengths.
    pub fn initial(lens: impl IntoIterator<Item = u64>) -> Self {
        Self { memories: lens.into_iter().map(Overlay::new).collect() }
    }

    /// Applies what one call changed.
    ///
    /// # Errors
    ///
    /// `Mismatch` when the delta does not belong to this snapshot; nothing is changed then.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), Mismatch> {
        if delta.is_empty() {
            return Ok(());
        }
        self.check(delta)?;
        for (overlay, change) in self.memories.iter_mut().zip(&delta.memories) {
            overlay.grow(change.len);
            for run in &change.runs {
                overlay.write(run.offset, &run.bytes);
            }
        }
        Ok(())
    }

    /// Returns the number of bytes in which the state differs from the initial image.
    pub fn changed_bytes(&self) -> usize {
        self.memories.iter().map(Overlay::changed_bytes).sum()
    }

    /// Returns what the state takes on the wire once `delta` is applied, at most, in bytes. It must
    /// belong to this snapshot.
    pub fn wire_bytes_after(&self, delta: &Delta) -> usize {
        let before: usize = self.memories.iter().map(Overlay::wire_bytes).sum();
        let memories = self.memories.iter().zip(&delta.memories);
        let growth = memories.map(|(overlay, change)| overlay.growth(&change.runs));
        before + growth.sum::<usize>()
    }

    fn check(&self, delta: &Delta) -> Result<(), Mismatch> {
        if delta.memories.len() != self.memories.len() {
            let (delta, snapshot) = (delta.memories.len(), self.memories.len());
            return Err(Mismatch::Memories { delta, snapshot });
        }
        for (overlay, change) in self.memories.iter().zip(&delta.memories) {
            if change.len < overlay.len() {
                return Err(Mismatch::Shrunk { from: overlay.len(), to: change.len });
            }
            if change.len > LINEAR_MEMORY_BYTES_MAX {
                return Err(Mismatch::Long(change.len));
            }
            for run in &change.runs {
                let (offset, len, memory) = (run.offset, run.bytes.len(), change.len);
                let end = offset.checked_add(len as u64);
                if len == 0 || len > RUN_BYTES_MAX || end.is_none_or(|end| end > memory) {
                    return Err(Mismatch::Run { offset, len, memory });
                }
            }
        }
        self.check_size(delta)
    }

    /// An owner's call that leaves more traps, so no owner asks for it.
    fn check_size(&self, delta: &Delta) -> Result<(), Mismatch> {
        // Nearly all players are far below the bound, whatever they know of the delta already.
        let runs = delta.memories.iter().flat_map(|memory| &memory.runs);
        let new: usize = runs.map(|run| Overlay::new_run_bytes(run.bytes.len())).sum();
        let before: usize = self.memories.iter().map(Overlay::wire_bytes).sum();
        if before + new <= SNAPSHOT_BYTES_MAX {
            return Ok(());
        }
        let bytes = self.wire_bytes_after(delta);
        if bytes > SNAPSHOT_BYTES_MAX { Err(Mismatch::Large(bytes)) } else { Ok(()) }
    }
}

/// Reads a list with an entry for each memory. Nobody's has more than a guest may have: an entry takes
/// two bytes in a message and many more here.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Few<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list for at most {GUEST_MEMORIES_MAX} memories")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut memories = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if memories.len() == GUEST_MEMORIES_MAX {
                    return Err(A::Error::invalid_length(memories.len() + 1, &self));
                }
                memories.push(entry);
            }
            Ok(memories)
        }
    }
    deserializer.deserialize_seq(Few(PhantomData))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn delta(len: u64, runs: &[(u64, &[u8])]) -> Delta {
        let runs =
            runs.iter().map(|(offset, bytes)| Run { offset: *offset, bytes: bytes.to_vec() });
        Delta { memories: vec![MemoryDelta { len, runs: runs.collect() }] }
    }

    #[test]
    fn a_delta_that_does_not_fit_changes_nothing() {
        let mut snapshot = Snapshot::initial([100]);
        let before = snapshot.clone();
        let outside = delta(100, &[(0, &[1]), (99, &[1, 2])]);
        assert_eq!(
            snapshot.apply(&outside),
            Err(Mismatch::Run { offset: 99, len: 2, memory: 100 })
        );
        assert_eq!(
            snapshot.apply(&delta(100, &[(u64::MAX, &[1])])),
            Err(Mismatch::Run { offset: u64::MAX, len: 1, memory: 100 })
        );
        assert_eq!(snapshot.apply(&delta(50, &[])), Err(Mismatch::Shrunk { from: 100, to: 50 }));
        let two = Delta { memories: vec![MemoryDelta::default(); 2] };
        assert_eq!(snapshot.apply(&two), Err(Mismatch::Memories { delta: 2, snapshot: 1 }));
        assert_eq!(snapshot, before);
    }

    #[test]
    fn a_memory_is_no_longer_than_its_addresses_reach() {
        // Where a page ends there must be a number.
        let mut snapshot = Snapshot::initial([100]);
        let before = snapshot.clone();
        let last = delta(u64::MAX, &[(u64::MAX - 2, &[1])]);
        assert_eq!(snapshot.apply(&last), Err(Mismatch::Long(u64::MAX)));
        assert_eq!(snapshot, before);
        let largest = LINEAR_MEMORY_BYTES_MAX;
        snapshot.apply(&delta(largest, &[(largest - 1, &[1])])).unwrap();
        let wire = postcard::to_stdvec(&snapshot).unwrap();
        assert_eq!(postcard::from_bytes::<Snapshot>(&wire).unwrap(), snapshot);
        let wire = postcard::to_stdvec(&Snapshot::initial([largest + 1])).unwrap();
        assert!(postcard::from_bytes::<Snapshot>(&wire).is_err());
    }

    #[test]
    fn nobody_has_more_memories_than_a_guest_may_have() {
        let taken = |memories: usize| {
            let wire = postcard::to_stdvec(&Snapshot::initial(vec![0; memories])).unwrap();
            let deltas = Delta { memories: vec![MemoryDelta::default(); memories] };
            let deltas = postcard::to_stdvec(&deltas).unwrap();
            let snapshot = postcard::from_bytes::<Snapshot>(&wire).is_ok();
            assert_eq!(postcard::from_bytes::<Delta>(&deltas).is_ok(), snapshot);
            snapshot
        };
        assert!(taken(GUEST_MEMORIES_MAX));
        assert!(!taken(GUEST_MEMORIES_MAX + 1));
    }

    #[test]
    fn a_copy_grows_no_larger_than_a_snapshot_may_be() {
        let len = 2 * SNAPSHOT_BYTES_MAX as u64;
        let mut snapshot = Snapshot::initial([len]);
        let page = vec![7; RUN_BYTES_MAX];
        let pages: Vec<(u64, &[u8])> =
            (0..64u64).map(|nth| (nth * RUN_BYTES_MAX as u64, page.as_slice())).collect();
        let refused = (0..).find_map(|nth| {
            let at = nth * (64 * RUN_BYTES_MAX) as u64;
            let pages: Vec<_> = pages.iter().map(|(offset, page)| (at + offset, *page)).collect();
            snapshot.apply(&delta(len, &pages)).err()
        });
        assert!(matches!(refused, Some(Mismatch::Large(bytes)) if bytes > SNAPSHOT_BYTES_MAX));
        // What it knows already can be written again.
        snapshot.apply(&delta(len, &pages)).unwrap();
        assert!(postcard::to_stdvec(&snapshot).unwrap().len() <= SNAPSHOT_BYTES_MAX);
    }

    #[test]
    fn a_delta_may_grow_the_memory_it_writes_to() {
        let mut snapshot = Snapshot::initial([100]);
        snapshot.apply(&delta(200, &[(150, &[7])])).unwrap();
        let mut memory = vec![0; 200];
        snapshot.memories[0].lay_over(0, &mut memory);
        assert_eq!(memory[150], 7);
        assert_eq!(snapshot.memories[0].len(), 200);
    }

    proptest! {
        #[test]
        fn applying_deltas_equals_writing_to_memory(
            writes in vec((0u64..20_000, vec(any::<u8>(), 1..300)), 0..60),
        ) {
            let mut memory = vec![0u8; 20_480];
            let mut snapshot = Snapshot::initial([20_480]);
            for (offset, bytes) in &writes {
                let at = usize::try_from(*offset).unwrap();
                memory[at..at + bytes.len()].copy_from_slice(bytes);
                snapshot.apply(&delta(20_480, &[(*offset, bytes)])).unwrap();
            }
            let mut restored = vec![0u8; 20_480];
            snapshot.memories[0].lay_over(0, &mut restored);
            prop_assert_eq!(&restored, &memory);
            // Any window of the memory is restored alike, as the tracker asks for single pages.
            let mut page = vec![0u8; 4096];
            snapshot.memories[0].lay_over(4096, &mut page);
            prop_assert_eq!(&page[..], &memory[4096..8192]);
            let known = snapshot.memories[0].runs().map(|(_, run)| run.len()).sum::<usize>();
            prop_assert_eq!(snapshot.changed_bytes(), known);
            let wire = postcard::to_stdvec(&snapshot).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Snapshot>(&wire).unwrap(), snapshot);
        }

        #[test]
        fn the_size_on_the_wire_is_foreseen(
            deltas in vec(vec((0u64..20_000, 1usize..300), 1..10), 1..20),
        ) {
            // The lengths of the memory and of its list of runs.
            let head = 3 + 3;
            let mut snapshot = Snapshot::initial([20_480]);
            for delta in &deltas {
                let runs: Vec<_> =
                    delta.iter().map(|(offset, len)| (*offset, vec![7; *len])).collect();
                let runs: Vec<_> =
                    runs.iter().map(|(offset, bytes)| (*offset, bytes.as_slice())).collect();
                let delta = self::delta(20_480, &runs);
                let foreseen = snapshot.wire_bytes_after(&delta);
                snapshot.apply(&delta).unwrap();
                let size = postcard::to_stdvec(&snapshot).unwrap().len();
                prop_assert!(size <= foreseen + head, "{} bytes, not {}", size, foreseen);
                // What is known already adds nothing.
                prop_assert!(snapshot.wire_bytes_after(&delta) <= foreseen);
                let nothing = Delta::default();
                prop_assert_eq!(
                    snapshot.wire_bytes_after(&delta), snapshot.wire_bytes_after(&nothing)
                );
            }
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(mut snapshot) = postcard::from_bytes::<Snapshot>(&bytes) {
                if let Ok(delta) = postcard::from_bytes::<Delta>(&bytes) {
                    let _ = snapshot.apply(&delta).is_ok();
                }
                prop_assert!(snapshot.memories.iter().all(|overlay| overlay.is_sound()));
            }
        }
    }
}
