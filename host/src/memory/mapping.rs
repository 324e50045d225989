//! A mapping of this process, and its end.

use std::ptr::NonNull;

/// A mapping that is this value's own, unmapped when it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
}

// SAFETY: a mapping belongs to no thread, and this hands out no reference into it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever made this value has given the mapping to it, and every reference into it
        // borrowed what owns this.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "our own mapping is unmapped: {unmapped:?}");
    }
}
