//! Linear memories that the host owns, and which of their bytes a call may have written.
//!
//! A guest's whole state is its linear memory, so the host must reach every byte of it, also of
//! memories that a component keeps private. Wasmtime therefore gets its memories from here
//! ([`Memories::creator`]), and [`Memories::instantiate`] keeps a second handle to each of them in
//! a [`Home`], in the order in which they were created.
//!
//! A memory begins empty, or with an [`Image`] that all instances of one code share: then it costs
//! the pages that are written to, and nothing else of it is ever copied.
//!
//! ```text
//!   [Image] ──────────┐                                       one for each memory of a code
//!   Memories ── instantiate ──► Home { Store, [Region] }      one for each instance
//!      │                          │ context()     the guest may run, nobody reads
//!      └── Tracker                │ bytes()       the guest is at rest
//!          pagemap or compare ◄───┘ take_dirty()  ranges written since the last call
//! ```
//!
//! Invariants:
//! - a guest runs only through [`Home::context`], which borrows the whole `Home`; so the borrow
//!   checker is the lock between guest and host;
//! - all memories of one `Home` together never exceed the budget given to `Memories`;
//! - an image never changes, whoever writes to a memory that began with it;
//! - the ranges a tracker reports cover every byte written since it was last asked; they may cover
//!   more, and the caller compares.
//!
//! It does not know what a snapshot is and does not compare bytes: `guest` does.
//!
//! This room is the only one with hand-written `unsafe`: mapping memory, viewing it as bytes, and
//! the two kernel interfaces of the page tracker. One question to the kernel that no safe library
//! asks is here for that reason alone: whether the clock is synchronised ([`is_clock_synchronised`]).
#![expect(unsafe_code, reason = "memory is mapped, viewed and tracked by hand; see the module doc")]

mod compare;
mod home;
mod image;
mod kernel_clock;
mod mapping;
mod nursery;
#[cfg(target_os = "linux")]
mod pagemap;
mod region;
mod spares;
mod tracker;

use std::sync::Arc;

pub use home::Home;
pub use image::Image;
pub use kernel_clock::is_clock_synchronised;
use nursery::{Born, Creator};
use thiserror::Error;
use tracker::Tracker;
use wasmtime::MemoryCreator;
use wasmtime::component::{Instance, InstancePre};

/// In the chain of an error of wasmtime: the system has refused a memory. It says nothing about the
/// guest, and another machine or a later moment may have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gives no memory")]
pub struct NoMemory;

/// What one memory of an instance begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Its first bytes. All later ones are zero.
    pub image: Arc<Image>,
    /// Its length, in bytes, at least the image's.
    pub len: usize,
}

/// Creates the memories of one engine's guests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memories {
    tracker: Arc<dyn Tracker>,
    why: Arc<str>,
    remedy: Option<&'static str>,
    sees_pages: bool,
    budget_bytes: usize,
}

impl Memories {
    /// Chooses the best tracker of this system. All memories of one instance may grow to
    /// `budget_bytes` together.
    pub fn detect(budget_bytes: usize) -> Self {
        let tracker::Detected { tracker, why, remedy } = tracker::detect();
        let sees_pages = tracker.sees_pages();
        Self { tracker, why: why.into(), remedy, sees_pages, budget_bytes }
    }

    /// Uses the tracker that works on every system.
    pub fn comparing(budget_bytes: usize) -> Self {
        let tracker = Arc::new(compare::Compare);
        let why = "whole-memory compare, as asked for".into();
        Self { tracker, why, remedy: None, sees_pages: false, budget_bytes }
    }

    /// Returns which tracker is in use and why.
    pub fn tracker(&self) -> &str {
        &self.why
    }

    /// Returns what a person can do so that this system has a better tracker, if there is anything.
    pub fn remedy(&self) -> Option<&'static str> {
        self.remedy
    }

    /// Whether the tracker sees which pages are written, not only that bytes differ.
    pub fn sees_pages(&self) -> bool {
        self.sees_pages
    }

    /// Returns the hook for [`wasmtime::Config::with_host_memory`].
    pub fn creator(&self) -> Arc<dyn MemoryCreator> {
        Arc::new(Creator::new(self.tracker.clone()))
    }

    /// Instantiates a component and keeps hold of the memories it creates, also when it fails: what
    /// it wrote before may say why.
    ///
    /// `beginnings` says, in order of creation, what the memories begin with and how long they are;
    /// others are zero and as long as the component asks for. All bytes count as clean only after
    /// the first [`Home::forget_dirty`].
    ///
    /// # Errors
    ///
    /// Wasmtime's error when the component traps while it starts, or a memory cannot be created:
    /// the system refuses (then it is [`NoMemory`], too), the budget is exceeded, or a length is not
    /// between the memory's minimum and its maximum.
    pub fn instantiate<T: 'static>(
        &self,
        mut store: wasmtime::Store<T>,
        component: &InstancePre<T>,
        beginnings: Vec<Beginning>,
    ) -> (Home<T>, wasmtime::Result<Instance>) {
        // One that comes from a node which allows more has at least what it had.
        let begins_with = beginnings.iter().map(|beginning| beginning.len).sum();
        let budget_bytes = self.budget_bytes.max(begins_with);
        let (instance, Born { regions, refused }) =
            nursery::collect(beginnings, budget_bytes, || component.instantiate(&mut store));
        let instance =
            instance.map_err(|error| if refused { error.context(NoMemory) } else { error });
        (Home::new(store, regions, self.tracker.clone()), instance)
    }
}
