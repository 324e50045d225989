//! Which bytes changed: memory as it is against the snapshot it was. Pure.

use std::ops::Range;

use crate::snapshot::{Overlay, RUN_BYTES_MAX, Run};

/// Unchanged bytes between two changed ones that are sent along rather than starting a new run. A
/// run costs about as much to encode.
const GAP_BYTES_MAX: usize = 8;

/// Appends the runs of `memory` that differ from `before`, which lies over the initial `image`.
///
/// Looks only at the pages that `dirty` touches. Runs never cross a page of [`RUN_BYTES_MAX`].
pub(super) fn changes(
    memory: &[u8],
    image: &[u8],
    before: &Overlay,
    dirty: &[Range<usize>],
    runs: &mut Vec<Run>,
) {
    let mut page = [0; RUN_BYTES_MAX];
    let mut next_page = 0;
    for range in dirty {
        let first = (range.start / RUN_BYTES_MAX).max(next_page);
        next_page = range.end.min(memory.len()).div_ceil(RUN_BYTES_MAX).max(next_page);
        for number in first..next_page {
            let start = number * RUN_BYTES_MAX;
            let now = &memory[start..memory.len().min(start + RUN_BYTES_MAX)];
            let then = &mut page[..now.len()];
            write_image(image, start, then);
            before.lay_over(start as u64, then);
            append_runs(then, now, start, runs);
        }
    }
}

/// Fills `window` with the image from `start` on; after the image's end there are zeros.
fn write_image(image: &[u8], start: usize, window: &mut [u8]) {
    let image = image.get(start..).unwrap_or_default();
    let known = image.len().min(window.len());
    window[..known].copy_from_slice(&image[..known]);
    window[known..].fill(0);
}

fn append_runs(then: &[u8], now: &[u8], start: usize, runs: &mut Vec<Run>) {
    let mut from = 0;
    while let Some(distance) = first_difference(&then[from..], &now[from..]) {
        let first = from + distance;
        let mut end = first + 1;
        loop {
            let near = end..now.len().min(end + GAP_BYTES_MAX);
            let Some(gap) = near.clone().position(|at| then[at] != now[at]) else { break };
            end += gap + 1;
        }
        runs.push(Run { offset: (start + first) as u64, bytes: now[first..end].to_vec() });
        from = end;
    }
}

/// Most of a page did not change, so whole blocks are compared first.
fn first_difference(then: &[u8], now: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let blocks = then.chunks(BLOCK).zip(now.chunks(BLOCK));
    let equal = blocks.take_while(|(then, now)| then == now).count();
    let from = (equal * BLOCK).min(now.len());
    (from..now.len()).find(|&at| then[at] != now[at])
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{Delta, MemoryDelta, Snapshot};

    #[expect(clippy::single_range_in_vec_init, reason = "one dirty range: everything")]
    fn runs_between(then: &[u8], now: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        changes(now, then, &Overlay::new(then.len() as u64), &[0..now.len()], &mut runs);
        runs
    }

    #[test]
    fn near_changes_are_one_run_and_far_ones_are_two() {
        let then = vec![0; 8192];
        let mut now = then.clone();
        (now[10], now[18], now[4000]) = (1, 2, 3);
        let run = |offset, bytes: &[u8]| Run { offset, bytes: bytes.to_vec() };
        let near = run(10, &[1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(runs_between(&then, &now), [near, run(4000, &[3])]);
        now[19 + 8] = 4;
        assert_eq!(runs_between(&then, &now).len(), 3, "eight unchanged bytes end a run");
    }

    #[test]
    fn a_change_across_a_page_is_two_runs() {
        let then = vec![0; 2 * RUN_BYTES_MAX];
        let mut now = then.clone();
        now[RUN_BYTES_MAX - 1..=RUN_BYTES_MAX].fill(1);
        let lens: Vec<_> = runs_between(&then, &now).iter().map(|run| run.bytes.len()).collect();
        assert_eq!(lens, [1, 1]);
    }

    #[test]
    fn only_dirty_pages_are_looked_at_and_each_of_them_once() {
        let then = vec![0; 4 * RUN_BYTES_MAX];
        let now = vec![1; 4 * RUN_BYTES_MAX];
        let mut runs = Vec::new();
        // Two ranges within one page, as a system with smaller pages than ours would report.
        let dirty = [RUN_BYTES_MAX..RUN_BYTES_MAX + 10, RUN_BYTES_MAX + 20..RUN_BYTES_MAX + 30];
        changes(&now, &then, &Overlay::new(then.len() as u64), &dirty, &mut runs);
        let page = Run { offset: RUN_BYTES_MAX as u64, bytes: vec![1; RUN_BYTES_MAX] };
        assert_eq!(runs, [page]);
    }

    proptest! {
        #[test]
        fn applying_the_changes_gives_the_memory(
            image in vec(0u8..3, 0..9000),
            rounds in vec((vec((any::<usize>(), 0u8..3), 0..40), 0usize..5000), 1..5),
        ) {
            let mut memory = image.clone();
            let mut snapshot = Snapshot::initial([image.len() as u64]);
            for (writes, growth) in rounds {
                memory.resize(memory.len() + growth, 0);
                for (at, byte) in writes {
                    if let Some(len) = std::num::NonZero::new(memory.len()) {
                        memory[at % len] = byte;
                    }
                }
                let mut runs = Vec::new();
                let everything = 0..memory.len();
                let dirty = std::slice::from_ref(&everything);
                changes(&memory, &image, &snapshot.memories[0], dirty, &mut runs);
                let memories = vec![MemoryDelta { len: memory.len() as u64, runs }];
                snapshot.apply(&Delta { memories }).unwrap();
                let mut restored = vec![0; memory.len()];
                restored[..image.len()].copy_from_slice(&image);
                snapshot.memories[0].lay_over(0, &mut restored);
                prop_assert_eq!(&restored, &memory);
            }
        }
    }
}
