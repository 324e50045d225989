//! The one place that configures wasmtime.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io, thread};

use tokio::runtime::{Handle, RuntimeFlavor};
use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Config, Store, StoreContextMut, UpdateDeadline};

use super::EngineError;
use super::allowance::{Allowance, Usage};
use super::bindings::{LOG, Level};
use super::journal::{Journal, printable};
use super::lanes::{Lanes, Turn};
use crate::clock;
use crate::limits::{GUEST_CALL_TIME_MAX, GUEST_STACK_BYTES_MAX, LONG_CALLS_MAX};
use crate::memory::Memories;

/// Time between two ticks of the guests' clock: how exactly a call's time is measured. A call gives
/// way at the second, for the first may come at once. Dozens of endless calls that begin at once hold
/// up the others of their node for two of these each, so it is short; 500 in a second cost nothing.
const TICK: Duration = Duration::from_millis(2);

/// Time in which another thread takes over what a long call held up. If it does not, the next tick
/// tries again.
const TAKE_OVER: Duration = Duration::from_micros(200);

/// Compiles and runs guests. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    memories: Memories,
    linker: Linker<Journal>,
    usage: Arc<Usage>,
    others: Others,
}

/// All who wait for a thread that a guest holds.
#[derive(Clone)]
struct Others {
    lanes: Arc<Lanes>,
    held_up: Arc<OnceLock<Release>>,
}

/// Lets others go on that wait for the task of a long call.
type Release = Box<dyn Fn() + Send + Sync>;

impl Engine {
    /// Sets wasmtime up and starts the guests' clock, which goes until the engine is dropped.
    ///
    /// # Errors
    ///
    /// `EngineError` when wasmtime does not support this machine, or there is no thread for the
    /// clock.
    pub fn new(allowance: &Allowance) -> Result<Self, EngineError> {
        let engine = Self::with(Memories::detect(allowance.instance_bytes), allowance);
        let engine = engine.map_err(|error| EngineError(error.into()))?;
        let started = start_clock(&engine.wasmtime, engine.usage.clone());
        started.map_err(|error| EngineError(error.into()))?;
        Ok(engine)
    }

    pub(super) fn with(memories: Memories, allowance: &Allowance) -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(&config(&memories))?;
        let mut linker = Linker::new(&wasmtime);
        linker.root().func_wrap(
            LOG,
            |mut store: StoreContextMut<'_, Journal>, (level, message): (Level, WasmStr)| {
                // Read where it lies: a message may be as large as the guest's memory.
                if store.data_mut().may_say(level) {
                    let message = printable(&message.to_str(&store)?);
                    store.data_mut().log(level, message);
                }
                Ok(())
            },
        )?;
        let others = Others { lanes: Lanes::new(), held_up: Arc::default() };
        let usage = Arc::new(Usage::new(allowance));
        Ok(Self { wasmtime, memories, linker, usage, others })
    }

    /// Calls this whenever a guest's call turns out to be long, on the thread that it holds. Only the
    /// first one counts.
    pub fn when_calls_are_long(&self, release: impl Fn() + Send + Sync + 'static) {
        drop(self.others.held_up.set(Box::new(release)));
    }

    /// Returns which tracker finds the written pages, and why it is that one.
    pub fn tracker(&self) -> &str {
        self.memories.tracker()
    }

    /// Lets a tick of time pass for all guests, as the clock does.
    #[cfg(test)]
    pub(super) fn tick(&self) {
        self.wasmtime.increment_epoch();
    }

    /// Whether it is known which pages a guest wrote to.
    pub(super) fn sees_pages(&self) -> bool {
        self.memories.sees_pages()
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
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

    /// Lets others go on before a guest, or what follows its call, holds the thread for long. Returns
    /// whether the call may go on; if not, its journal says why.
    pub(super) fn let_others_go_on(&self, journal: &mut Journal) -> bool {
        self.others.let_go_on(journal)
    }

    /// Returns an empty store in which a guest may start for as long as a call may take.
    pub(super) fn store(&self) -> Store<Journal> {
        let mut store = Store::new(&self.wasmtime, Journal::new(self.usage.clone()));
        store.limiter(Journal::limits);
        let others = self.others.clone();
        store.epoch_deadline_callback(move |mut store| {
            let ticks = store.data_mut().count_tick();
            if ticks >= CALL_TICKS {
                return Ok(UpdateDeadline::Interrupt);
            }
            // The first tick may come at once: it does not tell a long call from a short one.
            if ticks > 1 {
                if store.data_mut().is_refused_more() {
                    return Ok(UpdateDeadline::Interrupt);
                }
                if !others.let_go_on(store.data_mut()) {
                    return Ok(UpdateDeadline::Interrupt);
                }
            }
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
        store
    }
}

impl Others {
    fn let_go_on(&self, journal: &mut Journal) -> bool {
        journal.end_turn();
        if let Some(release) = self.held_up.get() {
            release();
        }
        match give_way(&self.lanes) {
            Some(turn) => journal.begin_turn(turn, clock::now()),
            None => {
                journal.end_for_want(too_many_long_calls());
                false
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("memories", &self.memories).finish_non_exhaustive()
    }
}

/// Ticks that a call may see before it is ended. One more than its time has, as the first may come
/// at once.
const CALL_TICKS: u128 = GUEST_CALL_TIME_MAX.as_millis() / TICK.as_millis() + 1;

/// The clock has a thread of its own: the threads that run guests cannot stop what ends them.
#[expect(clippy::disallowed_methods, reason = "the clock's thread is no worker")]
fn start_clock(engine: &wasmtime::Engine, usage: Arc<Usage>) -> io::Result<()> {
    let engine = engine.weak();
    let ticking = move || {
        for tick in 0u128.. {
            let Some(engine) = engine.upgrade() else { break };
            engine.increment_epoch();
            drop(engine);
            usage.measure();
            if tick.is_multiple_of(TICKS_A_SECOND) {
                let dropped = usage.begin_second();
                if dropped > 0 {
                    tracing::warn!(
                        dropped,
                        "guests log too much: some of their lines are left out"
                    );
                }
            }
            thread::sleep(TICK);
        }
    };
    // Nobody waits for its end, a tick after the engine's.
    thread::Builder::new().name("guests' clock".to_owned()).spawn(ticking).map(drop)
}

/// Ticks in a second.
const TICKS_A_SECOND: u128 = 1000 / TICK.as_millis();

fn too_many_long_calls() -> String {
    format!("too many calls need long at the same time: {LONG_CALLS_MAX} wait on this node already")
}

/// Lets the other tasks of this thread go on elsewhere, for the guest on it needs longer than most,
/// and waits for its turn. Returns `None` when too many calls need long. Short calls are spared the
/// change of threads, and endless ones hold up nobody.
#[expect(
    clippy::disallowed_methods,
    reason = "who takes over says nothing that one could wait for"
)]
fn give_way(lanes: &Arc<Lanes>) -> Option<Turn> {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(|| {
            thread::sleep(TAKE_OVER);
            lanes.take()
        })
    } else {
        lanes.take()
    }
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
    // Nobody sees where in the guest a trap was, and to find out takes a third of its time.
    config.wasm_backtrace_max_frames(None);

    // The same call on the same state gives the same bytes on every machine.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);

    // State that is not captured is refused by `screen`; what it need not look for is off.
    config.wasm_memory64(false);
    config
}
