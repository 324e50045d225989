//! One running guest.

use std::ops::Range;
use std::sync::Arc;
use std::{fmt, mem};

use wasmtime::component::TypedFunc;
use wasmtime::{OutOfMemory, Trap, component};

use super::bindings::{POINTS, REWARD, TermArgument};
use super::capture::changes;
use super::code::{Code, refused};
use super::functions::{self, Misfit, Prepared};
use super::journal::{Journal, printable};
use super::ledger::{NOTE, RECALL};
use super::{LoadError, RestoreError};
use crate::limits::{GUEST_CALL_TIME_MAX, RESULT_COST_MAX, SNAPSHOT_BYTES_MAX};
use crate::memory::{Home, NoMemory};
use crate::protocol::{Operation, Value};
use crate::snapshot::{Delta, MemoryDelta, Snapshot};

/// How a call ended. A trap is an outcome, not an error of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// The guest returned.
    Returned {
        /// What it returned.
        value: Value,
        /// The bytes that the call changed; empty if it changed none.
        delta: Delta,
    },
    /// The guest trapped. The instance is dead; nothing of the call is to be kept.
    Trapped {
        /// The guest's own words, or the engine's if it left none.
        message: String,
    },
    /// The call does not fit the code. The guest was not entered; the instance is as it was.
    Refused(Misfit),
}

/// Calls in which the state that an instance was made with is compared, too, if it is small.
const NEW_CALLS: u32 = 8;
/// Runs of a small state: most lie in pages of their own, of which each takes 0.2 µs to compare.
const COMPARED_RUNS_MAX: usize = 16;

/// A running guest. It can only be called while it has not trapped.
pub struct Instance {
    code: Arc<Code>,
    home: Home<Journal>,
    exports: Exports,
    /// Kept between calls only for its allocation.
    dirty: Vec<Range<usize>>,
    /// Calls until what was written before the first one is not compared any more.
    new_for: u32,
    /// Bytes of the pages that its last call wrote to, as far as the system sees pages.
    written: usize,
    /// Whether its last call needed long, so that the next one gives way before it begins.
    takes_long: bool,
}

/// Written bytes whose comparison holds a thread for about a millisecond: for more, others go on
/// elsewhere first.
const COMPARED_AT_ONCE: usize = 1024 * 1024;

/// The functions of the world, and those of the ledgers.
pub(super) struct Exports {
    instance: component::Instance,
    reward: TypedFunc<(TermArgument<'static>,), (i64,)>,
    points: TypedFunc<(), (i64,)>,
    ledgers: Option<Ledgers>,
}

struct Ledgers {
    note: TypedFunc<(), ()>,
    recall: TypedFunc<(), ()>,
}

impl Exports {
    pub(super) fn of(
        home: &mut Home<Journal>,
        instance: component::Instance,
        has_ledgers: bool,
    ) -> Result<Self, LoadError> {
        let wrong = |name| {
            move |error: wasmtime::Error| LoadError::WrongExport { name, source: error.into() }
        };
        let reward = instance.get_typed_func(home.context(), REWARD).map_err(wrong(REWARD))?;
        let points = instance.get_typed_func(home.context(), POINTS).map_err(wrong(POINTS))?;
        let mut of_ledgers =
            |name| instance.get_typed_func(home.context(), name).map_err(wrong(name));
        let ledgers = if has_ledgers {
            Some(Ledgers { note: of_ledgers(NOTE)?, recall: of_ledgers(RECALL)? })
        } else {
            None
        };
        Ok(Self { instance, reward, points, ledgers })
    }

    /// Notes in the memories what is not in them. Fails if that cannot be noted: a handle.
    pub(super) fn note(&self, home: &mut Home<Journal>) -> wasmtime::Result<()> {
        home.data_mut().refuse_handles()?;
        self.ledgers.as_ref().map_or(Ok(()), |ledgers| ledgers.note.call(home.context(), ()))
    }

    /// Brings what is not in the memories to where they say it was.
    pub(super) fn recall(&self, home: &mut Home<Journal>) -> wasmtime::Result<()> {
        self.ledgers.as_ref().map_or(Ok(()), |ledgers| ledgers.recall.call(home.context(), ()))
    }
}

impl Instance {
    /// Makes the instance that `snapshot` describes.
    pub(super) fn restore(code: Arc<Code>, snapshot: &Snapshot) -> Result<Self, RestoreError> {
        let lens = code.lens(snapshot)?;
        let (mut home, instance) = code.begin(lens).map_err(|error| unrestored(&error))?;
        let exports = Exports::of(&mut home, instance, code.has_ledgers())
            .expect("the exports of this code were looked up when it was loaded");
        let (dirty, new_for, written, takes_long) = (Vec::new(), NEW_CALLS, 0, false);
        let mut instance = Self { code, home, exports, dirty, new_for, written, takes_long };
        instance.write(snapshot)?;
        let Self { exports, home, .. } = &mut instance;
        exports.recall(home).map_err(|error| unrestored(&error))?;
        home.data_mut().end_turn();
        Ok(instance)
    }

    /// Whether the last call needed long.
    pub fn takes_long(&self) -> bool {
        self.takes_long
    }

    /// Whether the last call was ended for what this machine lacks now, memory or time: its code and its
    /// caller did nothing wrong.
    pub fn lacked(&mut self) -> bool {
        self.home.data_mut().lacked()
    }

    /// Says whether the next call is expected to need long: then others go on elsewhere before it
    /// begins. Nothing else depends on it.
    pub fn expect_long(&mut self, takes_long: bool) {
        self.takes_long = takes_long;
    }

    /// Calls the guest. `before` is its state, as the caller keeps it.
    ///
    /// # Panics
    ///
    /// If `before` does not belong to this instance.
    pub fn call(&mut self, operation: &Operation, before: &Snapshot) -> CallOutcome {
        assert_eq!(before.memories.len(), self.home.memories(), "`before` is of another code");
        let prepared = match operation {
            Operation::Call(call) => match self.code.functions().prepare(call) {
                Ok(prepared) => Some(prepared),
                Err(misfit) => return CallOutcome::Refused(misfit),
            },
            _ => None,
        };
        self.home.data_mut().begin();
        self.written = 0;
        if self.takes_long && !self.let_others_go_on() {
            return CallOutcome::Trapped { message: self.last_words().unwrap_or_default() };
        }
        let mut store = self.home.context();
        // From here on the time of the call is counted in ticks.
        store.set_epoch_deadline(1);
        let points = |(points,)| Value::Points(points);
        let returned = match (operation, prepared) {
            (Operation::Reward(term), _) => {
                self.exports.reward.call(&mut store, (term.into(),)).map(points)
            }
            (Operation::Points | Operation::Recover(_), _) => {
                self.exports.points.call(&mut store, ()).map(points)
            }
            (Operation::Call(_), Some(prepared)) => self.call_any(prepared),
            (
                Operation::Call(_)
                | Operation::Forget
                | Operation::Release
                | Operation::Bundle(_)
                | Operation::Move(_)
                | Operation::Crash
                | Operation::Export
                | Operation::Import(_),
                _,
            ) => {
                let message = "this is nothing that a guest can do".to_owned();
                return CallOutcome::Trapped { message };
            }
        };
        let returned = returned.and_then(|value| {
            self.exports.note(&mut self.home)?;
            Ok(value)
        });
        self.home.data_mut().end_lines();
        let outcome = self.outcome(returned, before);
        self.takes_long = self.home.data_mut().has_turn() || self.written > COMPARED_AT_ONCE;
        self.home.data_mut().end_turn();
        outcome
    }

    /// Runs a function that is no call, for as long as a call may take. Its words, if it traps: then
    /// [`Self::lacked`] says whose fault that is.
    pub(super) fn run<T>(
        &mut self,
        function: impl FnOnce(&mut Home<Journal>, component::Instance) -> wasmtime::Result<T>,
    ) -> Result<T, String> {
        self.home.data_mut().begin();
        self.written = 0;
        self.home.context().set_epoch_deadline(1);
        let result = function(&mut self.home, self.exports.instance);
        let result = result.and_then(|result| {
            self.exports.note(&mut self.home)?;
            Ok(result)
        });
        let result = result.map_err(|error| self.why_trapped(&error));
        self.home.data_mut().end_lines();
        self.home.data_mut().end_turn();
        result
    }

    /// Finds what was changed by a function that is no call.
    pub(super) fn changed(&mut self, before: &Snapshot) -> Result<Delta, String> {
        let outcome = self.outcome(Ok(Value::Nothing), before);
        self.home.data_mut().end_turn();
        match outcome {
            CallOutcome::Returned { delta, .. } => Ok(delta),
            CallOutcome::Trapped { message } => Err(message),
            // It fits, for nobody has called it.
            CallOutcome::Refused(misfit) => Err(format!("{misfit:?}")),
        }
    }

    /// Calls a function whose type only its component knows. What it returns is bounded while it is
    /// read from the guest's memory, and again as a text.
    fn call_any(&mut self, prepared: Prepared) -> wasmtime::Result<Value> {
        let Prepared { index, arguments, mut results } = prepared;
        let mut store = self.home.context();
        let found = self.exports.instance.get_func(&mut store, index);
        let function = found.expect("the functions of this code were looked up when it was loaded");
        let usual = store.hostcall_fuel();
        store.set_hostcall_fuel(RESULT_COST_MAX);
        let returned = function.call(&mut store, &arguments, &mut results);
        store.set_hostcall_fuel(usual);
        let value = match returned {
            Ok(()) => functions::written(&results),
            Err(error) if functions::returned_too_much(&error) => None,
            Err(error) => return Err(error),
        };
        value.ok_or_else(|| {
            let why = functions::too_long();
            self.home.data_mut().end_early(why.clone());
            wasmtime::Error::msg(why)
        })
    }

    fn outcome(&mut self, returned: wasmtime::Result<Value>, before: &Snapshot) -> CallOutcome {
        match returned {
            Ok(value) => {
                let Some(delta) = self.capture(before) else {
                    return CallOutcome::Trapped { message: self.last_words().unwrap_or_default() };
                };
                self.age();
                let bytes = before.wire_bytes_after(&delta);
                if bytes > SNAPSHOT_BYTES_MAX {
                    return CallOutcome::Trapped { message: too_large() };
                }
                let growth = bytes - before.wire_bytes_after(&Delta::default());
                // What it wrote to without a change is the instance's while it lives.
                let taken = if self.written > COMPARED_AT_ONCE { self.written } else { growth };
                if let Some(message) = self.code.engine().usage().why_refused(taken) {
                    self.home.data_mut().end_for_want(message.clone());
                    return CallOutcome::Trapped { message };
                }
                CallOutcome::Returned { value, delta }
            }
            Err(error) => CallOutcome::Trapped { message: self.why_trapped(&error) },
        }
    }

    /// Returns the length and the content of each memory.
    #[cfg(test)]
    pub(super) fn memories(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.home.memories()).map(|memory| self.home.bytes(memory))
    }

    fn write(&mut self, snapshot: &Snapshot) -> Result<(), RestoreError> {
        for (memory, overlay) in snapshot.memories.iter().enumerate() {
            let bytes = self.home.bytes_mut(memory);
            if bytes.len() as u64 != overlay.len() {
                return Err(RestoreError::Length { memory, bytes: overlay.len() });
            }
            for (offset, run) in overlay.runs() {
                let (start, end) = (offset, offset + run.len() as u64);
                // `Overlay` guarantees that its runs end within its length, which was compared.
                let within = "a run ends within its memory";
                let start = usize::try_from(start).expect(within);
                let end = usize::try_from(end).expect(within);
                bytes[start..end].copy_from_slice(run);
            }
            // What was written until here is the state, not a change.
            if overlay.runs().nth(COMPARED_RUNS_MAX).is_some() {
                self.home.forget_dirty(memory);
            }
        }
        Ok(())
    }

    /// Stops to compare what was written when the instance was made. An instance that is called once
    /// or twice before its player rests is not worth it: it interrupts every core, and the next write
    /// to each page is a fault.
    fn age(&mut self) {
        if self.new_for == 1 {
            (0..self.home.memories()).for_each(|memory| self.home.forget_dirty(memory));
        }
        self.new_for = self.new_for.saturating_sub(1);
    }

    /// Returns the cause of a trap: what the host knows better, then the guest's own words, then the
    /// engine's.
    fn why_trapped(&mut self, error: &wasmtime::Error) -> String {
        if let Some(instruction) = refused(&self.home, self.code.has_ledgers()) {
            return format!(
                "used `{instruction}`, which changes state outside of linear memory that no \
                 snapshot can hold"
            );
        }
        self.last_words().unwrap_or_else(|| reason(error))
    }

    fn last_words(&mut self) -> Option<String> {
        self.home.data_mut().take_last_error()
    }

    fn let_others_go_on(&mut self) -> bool {
        self.code.engine().let_others_go_on(self.home.data_mut())
    }

    /// Finds what the call changed. `None` if there is no turn or no memory for so much of it; then its
    /// last words say so.
    fn capture(&mut self, before: &Snapshot) -> Option<Delta> {
        let mut memories = Vec::with_capacity(before.memories.len());
        let mut changed = false;
        for (memory, overlay) in before.memories.iter().enumerate() {
            let mut dirty = mem::take(&mut self.dirty);
            dirty.clear();
            self.home.take_dirty(memory, &mut dirty);
            let written: usize = dirty.iter().map(ExactSizeIterator::len).sum();
            self.written += if self.code.engine().sees_pages() { written } else { 0 };
            if written > COMPARED_AT_ONCE {
                // Before it waits with all that it has taken.
                if let Some(why) = self.code.engine().usage().why_refused(self.written) {
                    self.home.data_mut().end_for_want(why);
                    return None;
                }
                if !self.home.data_mut().has_turn() && !self.let_others_go_on() {
                    return None;
                }
            }
            let bytes = self.home.bytes(memory);
            let mut runs = Vec::new();
            changes(bytes, self.code.image(memory), overlay, &dirty, &mut runs);
            let len = bytes.len() as u64;
            changed |= !runs.is_empty() || len != overlay.len();
            memories.push(MemoryDelta { len, runs });
            self.dirty = dirty;
        }
        Some(if changed { Delta { memories } } else { Delta::default() })
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, home, .. } = self;
        f.debug_struct("Instance").field("code", code).field("home", home).finish_non_exhaustive()
    }
}

/// Says whose fault it is that no instance could be made. What one does at its start is little and
/// bounded: if that takes too long, the machine has other things to do.
fn unrestored(error: &wasmtime::Error) -> RestoreError {
    let took_too_long = matches!(error.downcast_ref(), Some(Trap::Interrupt));
    let of_system = took_too_long || error.is::<NoMemory>() || error.is::<OutOfMemory>();
    let variant = if of_system { RestoreError::System } else { RestoreError::Start };
    variant(reason(error))
}

/// Says why a call that returned is not kept: no keeper could be sent what it left.
fn too_large() -> String {
    let mib = SNAPSHOT_BYTES_MAX / (1024 * 1024);
    format!(
        "wrote to more memory than a player may keep: all its calls together may leave {mib} MiB \
         that differ from its initial image"
    )
}

/// Says in plain words why wasmtime gave up.
pub(super) fn reason(error: &wasmtime::Error) -> String {
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return printable(&format!("{:#}", error));
    };
    match trap {
        Trap::Interrupt => format!("ran longer than {} ms", GUEST_CALL_TIME_MAX.as_millis()),
        Trap::StackOverflow => "out of stack".to_owned(),
        Trap::UnreachableCodeReached => "unreachable".to_owned(),
        Trap::MemoryOutOfBounds => "out of bounds memory access".to_owned(),
        other => other.to_string().trim_start_matches("wasm trap: ").to_owned(),
    }
}
