//! The one place that configures wasmtime.

use std::fmt;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Store, StoreContextMut};

use super::EngineError;
use super::bindings::{LOG, Level};
use super::journal::Journal;
use crate::limits::{GUEST_CALL_TIME_MAX, GUEST_MEMORY_BYTES_MAX, GUEST_STACK_BYTES_MAX};
use crate::memory::Memories;

/// How often [`Engine::tick`] is to be called.
const TICK: Duration = Duration::from_millis(10);

/// Compiles and runs guests. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    memories: Memories,
    linker: Linker<Journal>,
}

impl Engine {
    /// Time between two calls of [`Self::tick`].
    pub const TICK: Duration = TICK;

    /// Sets wasmtime up.
    ///
    /// # Errors
    ///
    /// `EngineError` when wasmtime does not support this machine.
    pub fn new() -> Result<Self, EngineError> {
        Self::with(Memories::detect(GUEST_MEMORY_BYTES_MAX)).map_err(|e| EngineError(e.into()))
    }

    pub(super) fn with(memories: Memories) -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(&config(&memories))?;
        let mut linker = Linker::new(&wasmtime);
        linker.root().func_wrap(
            LOG,
            |mut store: StoreContextMut<'_, Journal>, (level, message): (Level, String)| {
                store.data_mut().log(level, &message);
                Ok(())
            },
        )?;
        Ok(Self { wasmtime, memories, linker })
    }

    /// Returns which tracker finds the written pages, and why it is that one.
    pub fn tracker(&self) -> &str {
        self.memories.tracker()
    }

    /// Lets [`Self::TICK`] of time pass for all guests. A guest that runs for longer than
    /// [`GUEST_CALL_TIME_MAX`] traps, at load as well as in a call; without ticks it never does.
    pub fn tick(&self) {
        self.wasmtime.increment_epoch();
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(super) fn memories(&self) -> &Memories {
        &self.memories
    }

    pub(super) fn linker(&self) -> &Linker<Journal> {
        &self.linker
    }

    /// Returns an empty store in which a guest may start for as long as a call may take.
    pub(super) fn store(&self) -> Store<Journal> {
        let mut store = Store::new(&self.wasmtime, Journal::new());
        store.limiter(Journal::limits);
        store.set_epoch_deadline(deadline_ticks());
        store
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("memories", &self.memories).finish_non_exhaustive()
    }
}

/// Ticks that one call may see. One more than its time has, as the first may come at once.
pub(super) fn deadline_ticks() -> u64 {
    let ticks = GUEST_CALL_TIME_MAX.as_millis() / TICK.as_millis();
    u64::try_from(ticks).unwrap_or(u64::MAX - 1) + 1
}

fn config(memories: &Memories) -> Config {
    let mut config = Config::new();
    // The host owns the memories. Only the on-demand allocator (the default) asks the host for
    // them, and it must not map initial images over them itself.
    config.with_host_memory(memories.creator());
    config.memory_init_cow(false);
    config.memory_may_move(false);

    // A guest is bounded in time and stack here, in memory by `Memories` and the store's limits.
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK_BYTES_MAX);

    // The same call on the same state gives the same bytes on every machine.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);

    // State that is not captured is refused by `screen`; what it need not look for is off.
    config.wasm_memory64(false);
    config
}
