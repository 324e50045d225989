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
}

/// Runs `instantiate` and returns its result with the memories that it created on this thread.
pub(super) fn collect<R>(
    beginnings: Vec<Beginning>,
    budget_bytes: usize,
    instantiate: impl FnOnce() -> R,
) -> (R, Vec<Arc<Region>>) {
    /// Closes the nursery also when `instantiate` panics.
    struct Closing(Option<Nursery>);
    impl Drop for Closing {
        fn drop(&mut self) {
            OPEN.set(self.0.take());
        }
    }

    let budget = Budget::new(budget_bytes);
    let nursery = Nursery { beginnings, budget, born: vec![] };
    let _closing = Closing(OPEN.replace(Some(nursery)));
    let result = instantiate();
    let born = OPEN.take().map(|nursery| nursery.born).unwrap_or_default();
    (result, born)
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
        let region = region
            .map(Arc::new)
            .map_err(|error| format!("cannot create a memory of {len} bytes: {error}"))?;
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
