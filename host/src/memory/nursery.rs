//! Finds the memories of an instance that is being created.
//!
//! Wasmtime asks for each memory through a hook that does not say for whom. But instantiation is
//! synchronous and stays on its thread, so a thread-local list that is open exactly as long as one
//! instantiation collects exactly its memories, in order.

use std::cell::RefCell;
use std::sync::Arc;

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::Beginning;
use super::region::{Budget, Region};
use super::tracker::Tracker;

thread_local! {
    static OPEN: RefCell<Option<Nursery>> = const { RefCell::new(None) };
}

struct Nursery {
    beginnings: Vec<Beginning>,
    budget: Budget,
    born: Vec<Arc<Region>>,
    /// Whether the system has refused a memory, and not a limit of the guest's.
    refused: bool,
}

/// What an instantiation has created on its thread.
#[derive(Debug, Default)]
pub(super) struct Born {
    /// The memories, in order.
    pub(super) regions: Vec<Arc<Region>>,
    /// Whether the system has refused one.
    pub(super) refused: bool,
}

/// Runs `instantiate` and returns its result with what that has created on this thread.
pub(super) fn collect<R>(
    beginnings: Vec<Beginning>,
    budget_bytes: usize,
    instantiate: impl FnOnce() -> R,
) -> (R, Born) {
    /// Closes the nursery also when `instantiate` panics.
    struct Closing(Option<Nursery>);
    impl Drop for Closing {
        fn drop(&mut self) {
            OPEN.set(self.0.take());
        }
    }

    let budget = Budget::new(budget_bytes);
    let nursery = Nursery { beginnings, budget, born: vec![], refused: false };
    let _closing = Closing(OPEN.replace(Some(nursery)));
    let result = instantiate();
    let born = OPEN.take().map(|Nursery { born: regions, refused, .. }| Born { regions, refused });
    (result, born.unwrap_or_default())
}

/// Wasmtime's source of memories.
#[derive(Debug)]
pub(super) struct Creator {
    tracker: Arc<dyn Tracker>,
}

impl Creator {
    pub(super) fn new(tracker: Arc<dyn Tracker>) -> Self {
        Self { tracker }
    }

    fn create(
        &self,
        nursery: &mut Nursery,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Arc<Region>, String> {
        // A memory that begins with an image may be longer than the component asks for. Wasmtime
        // asks for its length afterwards.
        let beginning = nursery.beginnings.get(nursery.born.len());
        let len = beginning.map_or(minimum, |beginning| beginning.len);
        if len < minimum {
            return Err(format!("a memory of {len} bytes is shorter than its declared minimum"));
        }
        if maximum.is_some_and(|maximum| len > maximum) {
            return Err(format!("a memory of {len} bytes is beyond its declared maximum"));
        }
        let capacity = reserved.unwrap_or(len).max(len);
        let (budget, room) = (&nursery.budget, (capacity, guard));
        let region = match beginning {
            Some(Beginning { image, .. }) => Region::begin(&self.tracker, budget, room, image, len),
            None => Region::new(&*self.tracker, budget, room, None, len),
        };
        let region = region.map(Arc::new).map_err(|error| {
            // Limits of the guest's own have no number of the system's.
            nursery.refused |= error.raw_os_error().is_some();
            format!("cannot create a memory of {len} bytes: {error}")
        })?;
        nursery.born.push(region.clone());
        Ok(region)
    }
}

// SAFETY: the memory's base never moves, and at least `reserved + guard` bytes from its base on are
// our own mapping, of which all but the accessible length faults. Wasmtime asks for zeros because
// WebAssembly does: a memory is zero-filled (fresh anonymous pages), or holds what instances of its
// component, which were stripped of what wrote it, find there by design. Both are plain bytes to
// compiled code, which relies on none of them.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        OPEN.with_borrow_mut(|open| {
            let nursery =
                open.as_mut().ok_or("a memory was asked for outside of an instantiation")?;
            let (reserved, guard) = (reserved_size_in_bytes, guard_size_in_bytes);
            let region = self.create(nursery, minimum, maximum, reserved, guard)?;
            Ok(Box::new(Handle(region)) as Box<dyn LinearMemory>)
        })
    }
}

/// Wasmtime's handle to a memory; the other one is in `Home`.
struct Handle(Arc<Region>);

// SAFETY: `Region` keeps what this trait asks for: the base never moves, the first `byte_size`
// bytes are accessible, and growth up to `byte_capacity` happens in place.
unsafe impl LinearMemory for Handle {
    fn byte_size(&self) -> usize {
        self.0.len()
    }

    fn byte_capacity(&self) -> usize {
        self.0.capacity()
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        Ok(self.0.grow_to(new_size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Compare;
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_from_what_the_guest_may_not_have() {
        let creator = Creator::new(Arc::new(Compare));
        let create = |minimum, reserved| {
            let (created, Born { refused, .. }) = collect(Vec::new(), 2 * 65_536, || {
                OPEN.with_borrow_mut(|open| {
                    creator.create(open.as_mut().unwrap(), minimum, None, Some(reserved), 0)
                })
            });
            (created.is_ok(), refused)
        };
        assert_eq!(create(65_536, 65_536), (true, false));
        assert_eq!(create(3 * 65_536, 3 * 65_536), (false, false), "beyond its budget");
        assert_eq!(create(65_536, 1 << 60), (false, true), "beyond any address space");
    }
}
