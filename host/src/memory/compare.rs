//! The tracker for any system: everything may have changed, so the caller compares everything.

use std::io;
use std::ops::Range;

use super::tracker::Tracker;

/// Calls the whole memory dirty. Costs one pass over the memory per call, never a missed byte.
#[derive(Debug)]
pub(super) struct Compare;

impl Tracker for Compare {
    fn adopt(&self, _start: *mut u8, _len: usize) -> io::Result<()> {
        Ok(())
    }

    fn sees_pages(&self) -> bool {
        false
    }

    #[expect(clippy::single_range_in_vec_init, reason = "one range is what is appended")]
    fn take_dirty(&self, memory: &[u8], dirty: &mut Vec<Range<usize>>) {
        dirty.extend([0..memory.len()]);
    }

    /// Does nothing: all is reported, whatever was written.
    fn forget_dirty(&self, _memory: &[u8]) {}

    /// Cannot say.
    fn ever_written(&self, _memory: &[u8], _written: &mut Vec<Range<usize>>) -> bool {
        false
    }
}
