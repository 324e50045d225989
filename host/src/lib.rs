//! A host for WebAssembly players whose plain memory survives traps, deploys and dead machines.
//!
//! The rooms, bottom to top; each imports only rooms above it in this list. `ARCHITECTURE.md` is
//! the map.

pub mod clock;
pub mod limits;

pub mod snapshot;

pub mod protocol;

pub mod chronicle;

pub mod memory;

pub mod guest;

pub mod storage;

pub mod net;

pub mod membership;

pub mod directory;

pub mod keeper;

pub mod player;

pub mod gateway;

pub mod http;

pub mod node;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod hostile;

/// A call makes some fifty small allocations. With the system's allocator those took a fifth of its
/// processor time, and memory went back to the system and came again all the time.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
