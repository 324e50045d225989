//! Which ranges of a memory may have changed: one question, two ways to answer it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::compare::Compare;

/// Tells which bytes of a memory may have been written.
///
/// Its answers may cover bytes that did not change, never the other way round.
pub(super) trait Tracker: Send + Sync + fmt::Debug {
    /// Starts watching a reservation, of which nothing is accessible yet. The watch ends when the
    /// reservation is unmapped.
    fn adopt(&self, start: *mut u8, len: usize) -> io::Result<()>;

    /// Appends the ranges, in bytes and in ascending order, that may have been written since the
    /// last time this was called for `memory`, the accessible part of an adopted reservation; and
    /// starts anew.
    fn take_dirty(&self, memory: &[u8], dirty: &mut Vec<Range<usize>>);

    /// Starts anew, as exactly as it can: what was written until now is not reported by the next
    /// [`Tracker::take_dirty`] if that can be helped. Takes longer than that.
    fn forget_dirty(&self, memory: &[u8]);

    /// Whether it sees which pages are written; otherwise every byte counts as written.
    fn sees_pages(&self) -> bool;

    /// Appends the ranges that may have been written since the memory was adopted, which began as a
    /// private mapping of a file. False if it cannot say: then what it appended means nothing.
    fn ever_written(&self, memory: &[u8], written: &mut Vec<Range<usize>>) -> bool;
}

/// A tracker that this system has.
pub(super) struct Detected {
    pub(super) tracker: Arc<dyn Tracker>,
    /// Which one it is, and why.
    pub(super) why: String,
    /// What a person can do so that there is a better one.
    pub(super) remedy: Option<&'static str>,
}

/// Returns the best tracker of this system.
pub(super) fn detect() -> Detected {
    match asynchronous_write_protection() {
        Ok(tracker) => {
            let why = "PAGEMAP_SCAN with asynchronous write-protection".to_owned();
            Detected { tracker, why, remedy: None }
        }
        Err((why, remedy)) => {
            let why = format!("whole-memory compare, because {why}");
            Detected { tracker: Arc::new(Compare), why, remedy: Some(remedy) }
        }
    }
}

#[cfg(target_os = "linux")]
fn asynchronous_write_protection() -> Result<Arc<dyn Tracker>, (String, &'static str)> {
    match super::pagemap::Pagemap::new() {
        Ok(tracker) => Ok(Arc::new(tracker)),
        Err(error) => Err((error.to_string(), error.remedy())),
    }
}

#[cfg(not(target_os = "linux"))]
fn asynchronous_write_protection() -> Result<Arc<dyn Tracker>, (String, &'static str)> {
    let why = "PAGEMAP_SCAN exists on Linux only".to_owned();
    Err((why, "run nodes on Linux 6.7 or later"))
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::image::Image;
    use super::super::region::{Budget, Region};
    use super::*;

    const PAGE: usize = 65_536;

    /// One memory, and what it held when its tracker was last asked.
    struct Watched {
        tracker: Arc<dyn Tracker>,
        region: Region,
        before: Vec<u8>,
    }

    impl Watched {
        fn new(tracker: Arc<dyn Tracker>, pages: usize) -> Self {
            Self::over(tracker, None, pages)
        }

        fn over(tracker: Arc<dyn Tracker>, image: Option<&Image>, pages: usize) -> Self {
            let (budget, room) = (Budget::new(64 * PAGE), (64 * PAGE, PAGE));
            let region = Region::new(&*tracker, &budget, room, image, pages * PAGE).unwrap();
            let mut before = vec![0; pages * PAGE];
            let image = image.map_or(&[][..], Image::bytes);
            before[..image.len()].copy_from_slice(image);
            let mut watched = Self { tracker, region, before };
            assert_eq!(watched.changed(), []);
            watched
        }

        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: `region` is private to this test and borrowed mutably with `self`.
            unsafe { self.region.bytes_mut() }
        }

        /// Returns the exact bytes that changed, looking only where the tracker points.
        fn changed(&mut self) -> Vec<(usize, u8)> {
            let mut dirty = Vec::new();
            let tracker = self.tracker.clone();
            tracker.take_dirty(self.bytes(), &mut dirty);
            let now = self.bytes().to_vec();
            self.before.resize(now.len(), 0);
            let mut changed = Vec::new();
            for range in dirty {
                // Bytes one by one only where there is a change: this is not optimised.
                for start in range.clone().step_by(4096) {
                    let piece = start..range.end.min(start + 4096);
                    if now[piece.clone()] != self.before[piece.clone()] {
                        let differ = piece.filter(|&at| now[at] != self.before[at]);
                        changed.extend(differ.map(|at| (at, now[at])));
                    }
                }
            }
            self.before = now;
            changed
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write {
            at: usize,
            byte: u8,
        },
        Scatter {
            every: usize,
            byte: u8,
        },
        Read {
            at: usize,
        },
        /// Every page, as after a long time: all of them exist, and few of them are written.
        ReadAll,
        Grow,
        PageOut,
        Forget,
        Ask,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Step::Write { at, byte }),
            // Every second page is a range of its own: more of them than one result buffer holds.
            1 => (1usize..6, any::<u8>())
                .prop_map(|(pages, byte)| Step::Scatter { every: 2 * pages * 4096, byte }),
            1 => any::<usize>().prop_map(|at| Step::Read { at }),
            1 => Just(Step::ReadAll),
            1 => Just(Step::Grow),
            1 => Just(Step::PageOut),
            1 => Just(Step::Forget),
            3 => Just(Step::Ask),
        ]
    }

    fn take(watched: &mut Watched, step: &Step) -> Option<Vec<(usize, u8)>> {
        let len = watched.region.len();
        match *step {
            Step::Write { at, byte } => watched.bytes()[at % len] = byte,
            Step::Scatter { every, byte } => {
                watched.bytes().iter_mut().step_by(every).for_each(|b| *b = b.wrapping_add(byte));
            }
            Step::Read { at } => assert!(u16::from(watched.bytes()[at % len]) < 256),
            Step::ReadAll => {
                let sum: u64 = watched.bytes().iter().step_by(4096).map(|&b| u64::from(b)).sum();
                black_box(sum);
            }
            Step::Grow => watched.region.grow_to((len + PAGE).min(64 * PAGE)).unwrap(),
            Step::PageOut => page_out(watched.bytes()),
            Step::Forget => {
                let tracker = watched.tracker.clone();
                tracker.forget_dirty(watched.bytes());
                watched.before = watched.bytes().to_vec();
            }
            Step::Ask => return Some(watched.changed()),
        }
        None
    }

    /// Asks the kernel to put the pages out of memory, where a page that was written must not be
    /// forgotten. What it does about that depends on the system: private pages need swap to go to,
    /// and without any, as on the machines where these tests were written, they stay. Pages of the
    /// image that were only read are dropped in either case, if nobody else has them mapped.
    #[cfg(target_os = "linux")]
    fn page_out(bytes: &mut [u8]) {
        use rustix::mm::{Advice, madvise};
        // SAFETY: the advice changes no byte, and the range is borrowed.
        let advised =
            unsafe { madvise(bytes.as_mut_ptr().cast(), bytes.len(), Advice::LinuxPageOut) };
        advised.unwrap();
    }

    #[cfg(not(target_os = "linux"))]
    fn page_out(_bytes: &mut [u8]) {}

    /// Bytes of which no page is like its neighbours, and some of the image's pieces are zero.
    fn image_of(pages: usize) -> Vec<u8> {
        let byte = |at: usize| (at / PAGE % 3 != 1).then(|| (at / 97 % 251).to_le_bytes()[0]);
        (0..pages * PAGE).map(|at| byte(at).unwrap_or(0)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn both_trackers_find_exactly_the_same_changes(
            pages in 1usize..20,
            in_image in 0usize..20,
            steps in vec(step(), 1..20),
        ) {
            let Detected { tracker: best, why, .. } = detect();
            let first = image_of(in_image.min(pages));
            let (shared, copied) = (Image::shared(&first).unwrap(), Image::copied(&first));
            let best_over = |image| Watched::over(best.clone(), Some(image), pages);
            let mut watched = [
                best_over(&shared),
                best_over(&copied),
                Watched::over(Arc::new(Compare), Some(&shared), pages),
                Watched::over(Arc::new(Compare), Some(&copied), pages),
            ];
            for step in steps.iter().chain([&Step::Ask]) {
                let [found, others @ ..] = watched.each_mut().map(|watched| take(watched, step));
                for other in others {
                    prop_assert_eq!(&other, &found, "{}", why);
                }
            }
            let [watched, others @ ..] = &watched;
            for other in others {
                prop_assert!(other.before == watched.before, "the memories differ");
            }
            for image in [shared, copied] {
                let bytes = image.bytes();
                prop_assert!(bytes == &first[..bytes.len()], "the image has changed");
            }
        }
    }

    #[test]
    fn more_ranges_than_one_result_buffer_holds_are_all_found() {
        let best = detect().tracker;
        let image = Image::shared(&image_of(32)).unwrap();
        // Over an image and beyond it.
        let mut watched = Watched::over(best, Some(&image), 64);
        for at in (0..64 * PAGE).step_by(8192) {
            watched.bytes()[at] ^= 1;
        }
        let changed = watched.changed();
        assert_eq!(changed.len(), 64 * PAGE / 8192);
        assert!(watched.changed().is_empty(), "nothing was written since");
    }

    #[test]
    fn what_is_forgotten_is_not_compared_and_later_writes_are_found() {
        let Detected { tracker: best, why, .. } = detect();
        let mut watched = Watched::new(best, 4);
        let tracker = watched.tracker.clone();
        watched.bytes()[..64].fill(7);
        tracker.forget_dirty(watched.bytes());
        watched.before = watched.bytes().to_vec();
        let mut dirty = Vec::new();
        tracker.take_dirty(watched.bytes(), &mut dirty);
        assert!(dirty.is_empty() || why.starts_with("whole-memory"), "{dirty:?}");
        // Many pages, few of them again, then many: marked, unmarked and marked again.
        for pages in [64, 2, 2, 64, 1, 0] {
            for page in 0..pages {
                watched.bytes()[page * 4096] += 1;
            }
            assert_eq!(watched.changed().len(), pages);
        }
    }

    #[test]
    fn a_memory_that_nobody_wrote_to_costs_no_comparison() {
        let Detected { tracker: best, why, .. } = detect();
        if why.starts_with("whole-memory") {
            return;
        }
        let image = Image::shared(&image_of(16)).unwrap();
        for image in [None, Some(&image)] {
            let mut watched = Watched::over(best.clone(), image, 16);
            // What was read of an image does not count; other memory has to be forgotten.
            if image.is_none() {
                best.forget_dirty(watched.bytes());
            }
            watched.bytes()[5 * 4096] += 1;
            let mut dirty = Vec::new();
            best.take_dirty(watched.bytes(), &mut dirty);
            assert_eq!(dirty.len(), 1);
            // At most the page that was written, however large this system's pages are.
            assert!(dirty[0].contains(&(5 * 4096)) && dirty[0].len() <= PAGE, "{dirty:?}");
        }
    }

    #[test]
    fn a_memory_that_nobody_touched_has_no_written_pages() {
        let Detected { tracker: best, why, .. } = detect();
        if why.starts_with("whole-memory") {
            return;
        }
        for image in [None, Some(Image::shared(&image_of(17)).unwrap())] {
            let (budget, room) = (Budget::new(64 * PAGE), (64 * PAGE, PAGE));
            let region = Region::new(&*best, &budget, room, image.as_ref(), 33 * PAGE).unwrap();
            // Marked or not, and also where it has grown.
            for len in [33 * PAGE, 33 * PAGE, 40 * PAGE] {
                region.grow_to(len).unwrap();
                // SAFETY: the region is local to this test, which has no other slice of it.
                let bytes = unsafe { region.bytes() };
                let mut dirty = Vec::new();
                best.take_dirty(bytes, &mut dirty);
                assert!(dirty.is_empty(), "{dirty:?}");
                best.forget_dirty(bytes);
            }
        }
    }
}
