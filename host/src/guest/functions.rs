//! The functions that people can call: those that the component exports, found by their names and
//! called with values in WAVE, the text form of the component model's values, or in JSON.
//!
//! ```text
//!   "add-item", "{name: …}" ──► find ──► read ──► [Val] ──► the guest ──► [Val] ──► written ──► Value
//!                                │        └─ bad_arguments                         └─ too long: a trap
//!                                └─ no_function
//! ```
//!
//! What the host itself calls is not among them: the ledgers' functions and the contract's `migrate`.
//! `reward` and `points` are, though the host has a faster way for them.
//!
//! Everything here is bounded before it costs anything, for callers and guests may both mean ill: what
//! was written, what becomes of it in memory, how many types a function's type has, and what a guest
//! returns.
//!
//! Invariant: a call that does not fit has executed nothing.

mod arguments;
mod docs;
mod names;
mod shape;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::wasm_wave::wasm::DisplayValue;
use wasmtime::component::{Component, ComponentExportIndex, Val};

#[cfg(any(test, fuzzing))]
pub(super) use self::arguments::{Budget, json_value, wave_value};
use self::shape::{Cut, Obstacle};
use super::LoadError;
use super::ledger::{NOTE, RECALL};
use crate::limits::{
    ARGUMENTS_BYTES_MAX, DESCRIPTION_BYTES_MAX, FUNCTION_SHAPE_BYTES_MAX, FUNCTIONS_MAX,
    MISFIT_BYTES_MAX, RESULT_BYTES_MAX,
};
use crate::protocol::{CallError, CodeHash, Description, FunctionCall, FunctionShape, Value};

/// What the contract's interface that only the host calls begins with; a version follows.
const MIGRATE: &str = "player:host/migrate@";

/// Between an interface and a function of it.
const OF: char = '#';

/// Why a call does not fit its code. Nothing was executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// There is no such function, or it cannot be called from outside.
    Function(String),
    /// The arguments are others than the function takes.
    Arguments(String),
}

impl From<Misfit> for CallError {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Function(reason) => Self::NoFunction { reason },
            Misfit::Arguments(reason) => Self::BadArguments { reason },
        }
    }
}

/// The functions of one component, by their names.
pub(super) struct Functions(BTreeMap<String, Function>);

/// One function.
pub(super) struct Function {
    index: ComponentExportIndex,
    shape: ComponentFunc,
    /// Why it cannot be called, once somebody wanted to know.
    obstacle: OnceLock<Option<Obstacle>>,
}

/// A call that fits.
pub(super) struct Prepared {
    pub(super) index: ComponentExportIndex,
    pub(super) arguments: Vec<Val>,
    /// Room for what it returns.
    pub(super) results: Vec<Val>,
}

impl Functions {
    /// Finds the functions of a component.
    pub(super) fn of(engine: &Engine, component: &Component) -> Result<Self, LoadError> {
        let mut found = BTreeMap::new();
        let mut add = |name: String, shape, index| {
            let function = Function { index, shape, obstacle: OnceLock::new() };
            found.insert(name, function);
            if found.len() > FUNCTIONS_MAX { Err(LoadError::TooManyFunctions) } else { Ok(()) }
        };
        let exports = "an export that the component's type has";
        for (name, export) in component.component_type().exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(shape) if name != NOTE && name != RECALL => {
                    let index = component.get_export_index(None, name).expect(exports);
                    add(name.to_owned(), shape, index)?;
                }
                ComponentItem::ComponentInstance(interface) if !name.starts_with(MIGRATE) => {
                    let outer = component.get_export_index(None, name).expect(exports);
                    for (function, export) in interface.exports(engine) {
                        if let ComponentItem::ComponentFunc(shape) = export.ty {
                            let index = component.get_export_index(Some(&outer), function);
                            let name = format!("{name}{OF}{function}");
                            add(name, shape, index.expect(exports))?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self(found))
    }

    /// Finds the function that is called and reads its arguments.
    pub(super) fn prepare(&self, call: &FunctionCall) -> Result<Prepared, Misfit> {
        let bytes = call.bytes();
        if bytes > ARGUMENTS_BYTES_MAX {
            let most = ARGUMENTS_BYTES_MAX / 1024;
            let reason =
                format!("the arguments have {bytes} bytes, and at most {most} KiB are read");
            return Err(Misfit::Arguments(reason));
        }
        let (name, function) = self.find(&call.function)?;
        if let Some(obstacle) = function.obstacle() {
            let reason = format!("`{name}` cannot be called from outside: {obstacle}");
            return Err(Misfit::Function(reason));
        }
        let read = arguments::read(&function.shape, &call.arguments);
        let arguments = read.map_err(|why| {
            let mut reason = Cut::new(MISFIT_BYTES_MAX);
            // What does not fit is marked as cut.
            write!(reason, "{why}; it is `{name}: {}`", shape::Shown(&function.shape)).ok();
            Misfit::Arguments(reason.into_text())
        })?;
        let results = vec![Val::Bool(false); function.shape.results().len()];
        Ok(Prepared { index: function.index, arguments, results })
    }

    /// A name in full, or the bare one of a function in an interface if there is only one of it.
    fn find(&self, wanted: &str) -> Result<(&str, &Function), Misfit> {
        if let Some((name, function)) = self.0.get_key_value(wanted) {
            return Ok((name, function));
        }
        let of_interfaces = self.0.iter().filter(|(name, _)| names::bare(name) == wanted);
        let alike: Vec<(&String, &Function)> = of_interfaces.collect();
        match alike[..] {
            [(name, function)] => Ok((name, function)),
            [] => Err(Misfit::Function(names::unknown(wanted, self.0.keys()))),
            _ => {
                let names = alike.iter().map(|(name, _)| *name);
                Err(Misfit::Function(names::ambiguous(wanted, names)))
            }
        }
    }

    /// Describes the functions. `bytes` are the code as its author made it, with what is said there.
    pub(super) fn describe(&self, code: CodeHash, bytes: &[u8]) -> Description {
        let docs = docs::of(bytes);
        let mut room = DESCRIPTION_BYTES_MAX;
        let mut functions = Vec::new();
        for (name, function) in &self.0 {
            let mut shape = Cut::new(FUNCTION_SHAPE_BYTES_MAX);
            // What does not fit is marked as cut.
            write!(shape, "{}", shape::Shown(&function.shape)).ok();
            let refused = function.obstacle().as_ref().map(Obstacle::to_string);
            let docs = docs.get(name).cloned().or_else(|| docs::of_contract(name));
            let shape = shape.into_text();
            let said = docs.as_ref().map_or(0, String::len);
            let Some(left) = room.checked_sub(name.len() + shape.len() + said) else { break };
            room = left;
            functions.push(FunctionShape { name: name.clone(), shape, docs, refused });
        }
        let left_out = (self.0.len() - functions.len()) as u64;
        Description { code, functions, left_out }
    }
}

impl Function {
    fn obstacle(&self) -> &Option<Obstacle> {
        self.obstacle.get_or_init(|| Obstacle::of(&self.shape))
    }
}

/// Writes what a function returned. `None` if that is too long a text.
pub(super) fn written(results: &[Val]) -> Option<Value> {
    let [result] = results else { return Some(Value::Nothing) };
    let mut text = Cut::new(RESULT_BYTES_MAX);
    write!(text, "{}", DisplayValue(result)).ok()?;
    Some(Value::Wave(text.into_text()))
}

/// Writes what a guest returned in JSON, whose kinds of values are fewer: see
/// `guest/functions/arguments/json.rs`.
pub fn in_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Points(points) => (*points).into(),
        Value::Nothing => serde_json::Value::Null,
        // A node made the text, so it is WAVE.
        Value::Wave(text) => arguments::of_wave(text).unwrap_or_else(|_| text.as_str().into()),
    }
}

/// Says why a call that returned is not kept: its answer could not be kept with its key.
pub(super) fn too_long() -> String {
    format!(
        "returned more than {} KiB of text, the most that an answer may have: let the function \
         return less at a time",
        RESULT_BYTES_MAX / 1024
    )
}

/// Whether a call failed because lifting its result would take too much of the host's memory. The
/// engine has only words for it; a test knows when they change.
pub(super) fn returned_too_much(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls")
}
