//! Memories of instances that are gone, which begin as others of the same code.
//!
//! To map a memory, to fault its pages in and to unmap it again takes most of the time that a new
//! instance takes, and interrupts every core that runs a thread of this process. So a few memories are
//! kept. What their guests had written is overwritten with the image first: a page that was never
//! written is the image's still, and the tracker tells which were.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::mapping::Mapping;
use super::tracker::Tracker;

/// Memories that are kept for one image: as many as players may come and go at the same time. Each
/// has what its guests wrote to, some pages.
const SPARES_MAX: usize = 256;

/// Most bytes that are overwritten to keep a memory. Beyond that a new one is as cheap, and takes
/// less room.
pub(super) const OVERWRITTEN_BYTES_MAX: usize = 128 * 1024;

/// A memory that nobody uses, and that holds exactly its image.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) mapping: Mapping,
    pub(super) capacity: usize,
    /// Who watches it.
    pub(super) tracker: Arc<dyn Tracker>,
}

/// The memories that are kept for one image.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Spare>>);

impl Spares {
    /// Keeps a memory, unless there are enough.
    pub(super) fn put(&self, spare: Spare) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            return spares.push(spare);
        }
        drop(spares);
        // To unmap it takes longer than others should wait.
        drop(spare);
    }

    /// Returns a memory that is as large as this and that this tracker watches.
    pub(super) fn take(
        &self,
        tracker: &Arc<dyn Tracker>,
        capacity: usize,
        reserved: usize,
    ) -> Option<Spare> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |spare: &Spare| {
            Arc::ptr_eq(&spare.tracker, tracker)
                && (spare.capacity, spare.mapping.len) == (capacity, reserved)
        };
        let at = spares.iter().rposition(fits)?;
        Some(spares.swap_remove(at))
    }
}

/// Overwrites what was written to a memory with its image. Returns whether the memory is the image's
/// again; if not, nothing of it may be used.
pub(super) fn overwrite(memory: &mut [u8], image: &[u8], tracker: &dyn Tracker) -> bool {
    let mut written: Vec<Range<usize>> = Vec::new();
    if memory.len() != image.len() || !tracker.ever_written(memory, &mut written) {
        return false;
    }
    let bytes: usize = written.iter().map(Range::len).sum();
    if bytes > OVERWRITTEN_BYTES_MAX {
        return false;
    }
    for range in written {
        let Some((memory, image)) = memory.get_mut(range.clone()).zip(image.get(range)) else {
            return false;
        };
        memory.copy_from_slice(image);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::compare::Compare;
    use super::super::image::Image;
    use super::super::region::{Budget, Region};
    use super::super::tracker::{Detected, detect};
    use super::*;

    const PAGE: usize = 65_536;
    const ROOM: (usize, usize) = (8 * PAGE, PAGE);

    fn image() -> Arc<Image> {
        let bytes: Vec<u8> = (0..4 * PAGE).map(|at| (at / 97 % 251).to_le_bytes()[0]).collect();
        Arc::new(Image::shared(&bytes).unwrap())
    }

    fn begin(tracker: &Arc<dyn Tracker>, image: &Arc<Image>) -> Region {
        Region::begin(tracker, &Budget::new(8 * PAGE), ROOM, image, image.len()).unwrap()
    }

    fn bytes(region: &mut Region) -> &mut [u8] {
        // SAFETY: the region is local to a test and borrowed mutably.
        unsafe { region.bytes_mut() }
    }

    /// The tracker, if it can say what was ever written.
    fn knowing() -> Option<Arc<dyn Tracker>> {
        let Detected { tracker, why, .. } = detect();
        (!why.starts_with("whole-memory")).then_some(tracker)
    }

    #[test]
    fn a_memory_is_used_again_by_instances_of_the_same_kind_only() {
        let Some(tracker) = knowing() else { return };
        let (first, second) = (image(), image());
        let mut one = begin(&tracker, &first);
        let start = one.as_ptr();
        bytes(&mut one)[7] ^= 1;
        drop(one);
        assert_ne!(begin(&tracker, &second).as_ptr(), start, "another code's");
        let other = detect().tracker;
        assert_ne!(begin(&other, &first).as_ptr(), start, "nobody would see its changes");
        let comparing: Arc<dyn Tracker> = Arc::new(Compare);
        assert_ne!(begin(&comparing, &first).as_ptr(), start);
        let mut again = begin(&tracker, &first);
        assert_eq!(again.as_ptr(), start);
        assert!(bytes(&mut again) == first.bytes(), "what was written is gone");
        assert_ne!(begin(&tracker, &first).as_ptr(), start, "it is in use");
    }

    #[test]
    fn a_memory_that_has_grown_or_was_written_all_over_is_not_kept() {
        let Some(tracker) = knowing() else { return };
        let image = image();
        let grown = begin(&tracker, &image);
        grown.grow_to(5 * PAGE).unwrap();
        drop(grown);
        let mut full = begin(&tracker, &image);
        bytes(&mut full)[..OVERWRITTEN_BYTES_MAX + PAGE].fill(7);
        drop(full);
        let (capacity, guard) = ROOM;
        let spares = image.spares().unwrap();
        assert!(spares.take(&tracker, capacity, capacity + guard).is_none());
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let Some(tracker) = knowing() else { return };
        let image = image();
        let regions: Vec<Region> = (0..SPARES_MAX + 5).map(|_| begin(&tracker, &image)).collect();
        drop(regions);
        let (capacity, guard) = ROOM;
        let spares = image.spares().unwrap();
        let kept = std::iter::from_fn(|| spares.take(&tracker, capacity, capacity + guard));
        assert_eq!(kept.count(), SPARES_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever was written, marked, forgotten and written again, the next one finds the image,
        /// and its own changes are found.
        #[test]
        fn whoever_comes_next_finds_the_image(
            rounds in vec(vec((0..4 * PAGE, any::<u8>(), 0u8..4), 0..40), 1..6),
        ) {
            let tracker = detect().tracker;
            let image = image();
            for round in rounds {
                let mut region = begin(&tracker, &image);
                prop_assert!(bytes(&mut region) == image.bytes());
                tracker.forget_dirty(bytes(&mut region));
                let mut expected = image.bytes().to_vec();
                let mut seen = expected.clone();
                for (at, byte, then) in round {
                    bytes(&mut region)[at] = byte;
                    expected[at] = byte;
                    let mut dirty = Vec::new();
                    match then {
                        0 => tracker.take_dirty(bytes(&mut region), &mut dirty),
                        1 => {
                            tracker.forget_dirty(bytes(&mut region));
                            seen.clone_from(&expected);
                        }
                        _ => {}
                    }
                    for range in dirty {
                        seen[range.clone()].copy_from_slice(&bytes(&mut region)[range]);
                    }
                }
                let mut dirty = Vec::new();
                tracker.take_dirty(bytes(&mut region), &mut dirty);
                for range in dirty {
                    seen[range.clone()].copy_from_slice(&bytes(&mut region)[range]);
                }
                prop_assert!(seen == expected, "a change was missed");
            }
        }
    }
}
