//! One instance's store together with the memories it created.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use wasmtime::{AsContextMut, Store, StoreContextMut};

use super::region::Region;
use super::tracker::Tracker;

/// A store and its memories: either the guest runs, or its bytes are read and written.
///
/// Invariant: the guests with these memories live in `store`, and `store` can only be used through
/// [`Home::context`], whose result borrows all of `self` and cannot be exchanged for another store.
pub struct Home<T: 'static> {
    store: Store<T>,
    regions: Vec<Arc<Region>>,
    tracker: Arc<dyn Tracker>,
}

impl<T: 'static> Home<T> {
    pub(super) fn new(
        store: Store<T>,
        regions: Vec<Arc<Region>>,
        tracker: Arc<dyn Tracker>,
    ) -> Self {
        Self { store, regions, tracker }
    }

    /// Returns the store, in which the guest may run.
    pub fn context(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }

    /// Returns the store's data.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Returns the number of memories.
    pub fn memories(&self) -> usize {
        self.regions.len()
    }

    /// Returns the length of each memory in bytes, in order of creation.
    pub fn lens(&self) -> impl Iterator<Item = usize> {
        self.regions.iter().map(|region| region.len())
    }

    /// Returns the bytes of a memory.
    ///
    /// # Panics
    ///
    /// If there is no memory with that number.
    pub fn bytes(&self, memory: usize) -> &[u8] {
        // SAFETY: running the guest or getting a mutable slice borrows `self` mutably, which
        // excludes this shared borrow.
        unsafe { self.regions[memory].bytes() }
    }

    /// Returns the bytes of a memory for writing.
    ///
    /// # Panics
    ///
    /// If there is no memory with that number.
    pub fn bytes_mut(&mut self, memory: usize) -> &mut [u8] {
        // SAFETY: the result borrows `self` mutably, so neither the guest runs nor another slice of
        // any of its memories exists.
        unsafe { self.regions[memory].bytes_mut() }
    }

    /// Appends the ranges of a memory, in bytes, that may have been written since this was last
    /// called for it.
    ///
    /// # Panics
    ///
    /// If there is no memory with that number.
    pub fn take_dirty(&mut self, memory: usize, dirty: &mut Vec<Range<usize>>) {
        self.tracker.take_dirty(self.bytes(memory), dirty);
    }

    /// Makes what was written to a memory until now count as clean.
    ///
    /// # Panics
    ///
    /// If there is no memory with that number.
    pub fn forget_dirty(&mut self, memory: usize) {
        self.tracker.forget_dirty(self.bytes(memory));
    }
}

impl<T: 'static> fmt::Debug for Home<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("memories", &self.regions).finish_non_exhaustive()
    }
}
