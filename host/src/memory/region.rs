//! One linear memory: reserved address space of which the first bytes are accessible.
//!
//! ```text
//!   the image         private mapping of a shared file: a page is copied when it is written to
//!   rest up to `len`  zero pages, made when they are touched
//!   rest              not accessible: growth up to `capacity`, then the guard
//! ```

use std::ffi::c_void;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::image::Image;
use super::mapping::Mapping;
use super::spares::{Spare, overwrite};
use super::tracker::Tracker;

/// What all memories of one instance may still grow by, in bytes.
///
/// Counted with relaxed atomics only because handles are shared: at any time one thread runs the
/// instance, so nothing races.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed).checked_sub(bytes);
        let left = left.ok_or_else(|| io::Error::other("the guest's memory limit is reached"))?;
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

/// One linear memory.
///
/// Invariant: `mapping` is private and lives as long as this value, backed by nothing or by an
/// [`Image`], which never changes; the first `len` bytes are readable and writable, all others
/// fault. `len` only grows, and nothing ever moves.
#[derive(Debug)]
pub(super) struct Region {
    /// Taken only when this value is dropped.
    mapping: ManuallyDrop<Mapping>,
    /// Bytes that the memory may grow to; what follows is guard.
    capacity: usize,
    len: AtomicUsize,
    budget: Budget,
    /// Where the memory may go when this value is dropped.
    origin: Option<(Arc<Image>, Arc<dyn Tracker>)>,
}

// SAFETY: the mapping belongs to no thread, and `Region` hands out no reference without an unsafe
// call whose caller answers for exclusion.
unsafe impl Send for Region {}
// SAFETY: as above; all fields that change are atomic.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves `capacity` bytes and a guard after them, and makes the first `len` accessible. They
    /// are `image`'s, and zero after its end.
    pub(super) fn new(
        tracker: &dyn Tracker,
        budget: &Budget,
        (capacity, guard): (usize, usize),
        image: Option<&Image>,
        len: usize,
    ) -> io::Result<Self> {
        let least = image.map_or(0, Image::len);
        if len < least || len > capacity {
            let message = format!("{len} bytes are not between {least} and {capacity}");
            return Err(io::Error::other(message));
        }
        let reserved = capacity
            .checked_add(guard)
            .filter(|&bytes| bytes > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), reserved, ProtFlags::empty(), flags)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // From here on `drop` unmaps, whatever fails.
        let region = Self::of(Mapping { start, len: reserved }, capacity, budget);
        if let Some(image) = image {
            region.begin_with(image)?;
        }
        tracker.adopt(start.as_ptr(), reserved)?;
        region.grow_to(len)?;
        Ok(region)
    }

    /// As [`Self::new`], rather from a memory that is kept for the image than from the system.
    pub(super) fn begin(
        tracker: &Arc<dyn Tracker>,
        budget: &Budget,
        (capacity, guard): (usize, usize),
        image: &Arc<Image>,
        len: usize,
    ) -> io::Result<Self> {
        let origin = Some((image.clone(), tracker.clone()));
        let spares = image.spares().filter(|_| (image.len()..=capacity).contains(&len));
        let spare = spares.and_then(|spares| spares.take(tracker, capacity, capacity + guard));
        let Some(Spare { mapping, .. }) = spare else {
            let room = (capacity, guard);
            let mut region = Self::new(&**tracker, budget, room, Some(image), len)?;
            region.origin = origin;
            return Ok(region);
        };
        let mut region = Self::of(mapping, capacity, budget);
        region.origin = origin;
        region.budget.spend(image.len())?;
        region.len.store(image.len(), Ordering::Relaxed);
        region.grow_to(len)?;
        Ok(region)
    }

    fn of(mapping: Mapping, capacity: usize, budget: &Budget) -> Self {
        let (mapping, len) = (ManuallyDrop::new(mapping), AtomicUsize::new(0));
        Self { mapping, capacity, len, budget: budget.clone(), origin: None }
    }

    /// Returns the accessible bytes' number.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns how far the memory can grow without moving, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the address of the first byte.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.mapping.start.as_ptr()
    }

    /// Makes the first `len` bytes accessible; those that were not are zero. Changes nothing if it
    /// fails or `len` is not longer.
    pub(super) fn grow_to(&self, len: usize) -> io::Result<()> {
        let old = self.len();
        if len <= old {
            return Ok(());
        }
        if len > self.capacity {
            return Err(io::Error::other("the memory would not fit its reservation"));
        }
        self.budget.spend(len - old)?;
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: `len <= capacity <= reserved`, so the range is within our own mapping, and no
        // reference to the bytes that become accessible can exist.
        unsafe { rustix::mm::mprotect(self.mapping.start.as_ptr().cast::<c_void>(), len, access)? };
        self.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    /// Puts the image where nothing is accessible yet.
    fn begin_with(&self, image: &Image) -> io::Result<()> {
        self.budget.spend(image.bytes().len())?;
        // SAFETY: the mapping is our own, private and at least as long as the image, as `new` has
        // checked; nothing of it is accessible, so nobody refers to it.
        let placed = unsafe { image.place(self.mapping.start.as_ptr()) }?;
        self.len.store(placed, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the accessible bytes.
    ///
    /// # Safety
    ///
    /// While the result lives nobody writes to them: no guest with this memory runs, and no result
    /// of [`Self::bytes_mut`] exists.
    pub(super) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are mapped readable for as long as `self` lives, hold what
        // the kernel or an image put there, and by the contract above nobody writes to them.
        unsafe { slice::from_raw_parts(self.mapping.start.as_ptr(), self.len()) }
    }

    /// Returns the accessible bytes for writing.
    ///
    /// # Safety
    ///
    /// While the result lives nobody else reads or writes them: no guest with this memory runs, and
    /// no other result of this function or of [`Self::bytes`] exists.
    #[expect(
        clippy::mut_from_ref,
        reason = "the owner is shared; the caller answers for exclusion"
    )]
    pub(super) unsafe fn bytes_mut(&self) -> &mut [u8] {
        // SAFETY: as in `bytes`, mapped writable too, and exclusive by the contract above.
        unsafe { slice::from_raw_parts_mut(self.mapping.start.as_ptr(), self.len()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let origin = self.origin.take();
        // A memory that has grown would have to shrink.
        let kept = origin.filter(|(image, tracker)| {
            // SAFETY: nobody else has this value any more, so nobody refers to its bytes.
            let bytes = unsafe { self.bytes_mut() };
            image.spares().is_some() && overwrite(bytes, image.bytes(), &**tracker)
        });
        // SAFETY: this is the only place that takes it, and nothing uses it afterwards.
        let mapping = unsafe { ManuallyDrop::take(&mut self.mapping) };
        if let Some((image, tracker)) = kept
            && let Some(spares) = image.spares()
        {
            spares.put(Spare { mapping, capacity: self.capacity, tracker });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Compare;
    use super::*;

    #[test]
    fn growth_is_bounded_by_the_reservation_and_by_the_budget_of_all_memories() {
        let budget = Budget::new(5 * 65_536);
        let first = Region::new(&Compare, &budget, (4 * 65_536, 65_536), None, 65_536).unwrap();
        let second = Region::new(&Compare, &budget, (4 * 65_536, 65_536), None, 65_536).unwrap();
        assert!(first.grow_to(5 * 65_536).is_err(), "beyond the reservation");
        first.grow_to(3 * 65_536).unwrap();
        assert!(second.grow_to(3 * 65_536).is_err(), "beyond the budget");
        second.grow_to(2 * 65_536).unwrap();
        assert_eq!((first.len(), second.len()), (3 * 65_536, 2 * 65_536));
        // SAFETY: the region is local to this test.
        assert!(unsafe { first.bytes() }.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_memory_begins_with_its_image_and_writes_to_it_stay_its_own() {
        let mut first = vec![0; 3 * 65_536];
        (first[0], first[65_536 + 9]) = (1, 2);
        for image in [Image::shared(&first).unwrap(), Image::copied(&first)] {
            let budget = Budget::new(10 * 65_536);
            let new = |len| Region::new(&Compare, &budget, (8 * 65_536, 65_536), Some(&image), len);
            assert!(new(2 * 65_536).is_err(), "shorter than its image");
            assert!(new(9 * 65_536).is_err(), "beyond its reservation");
            let (one, other) = (new(3 * 65_536).unwrap(), new(4 * 65_536).unwrap());
            // SAFETY: the region is local to this test, which has no other slice of it.
            let ours = unsafe { one.bytes_mut() };
            // SAFETY: as above.
            let theirs = unsafe { other.bytes() };
            assert_eq!((&*ours, &theirs[..3 * 65_536]), (&*first, &*first));
            assert!(theirs[3 * 65_536..].iter().all(|&byte| byte == 0));
            ours.fill(9);
            assert_eq!(&theirs[..3 * 65_536], &*first);
            assert_eq!(image.bytes(), &first[..image.bytes().len()]);
            one.grow_to(4 * 65_536).unwrap();
            // SAFETY: as above; `ours` is not used any more.
            let grown = unsafe { one.bytes() };
            assert!(grown[..3 * 65_536].iter().all(|&byte| byte == 9));
            assert!(grown[3 * 65_536..].iter().all(|&byte| byte == 0));
            assert!(new(4 * 65_536).is_err(), "images count against the budget");
        }
    }
}
