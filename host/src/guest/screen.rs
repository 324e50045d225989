//! Does all of a component's state live in its linear memory? Decided once, at load.
//!
//! What could hold state between two calls, and what is done about it:
//!
//! | state | rule |
//! |---|---|
//! | linear memory | captured; shared and 64-bit memories are refused |
//! | mutable globals | every function leaves them as it found them (`steady`), or refused |
//! | tables | filled at instantiation only; instructions that change them are refused |
//! | passive segments | instructions that use or drop them are refused |
//! | handles, tasks, threads | every canonical function but `lift` and `lower` is refused |
//!
//! Active segments and start functions run once, at instantiation, alike for every instance.

use std::collections::BTreeSet;
use std::mem;

use wasmparser::{
    BinaryReaderError, CanonicalFunction, Encoding, FuncToValidate, FuncValidatorAllocations,
    FunctionBody, MemoryType, Operator, Parser, Payload, TypeRef, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use super::steady::leaves_global_as_found;
use super::{LoadError, Uncapturable};

/// Refuses a component that keeps state where it would be lost.
pub(super) fn capturable(component: &[u8]) -> Result<(), LoadError> {
    // All features: a component that uses one that matters here is refused by name, and wasmtime
    // refuses those that it has switched off.
    let mut screen = Screen {
        validator: Validator::new_with_features(WasmFeatures::all()),
        allocations: FuncValidatorAllocations::default(),
        modules: 0,
    };
    for payload in Parser::new(0).parse_all(component) {
        screen.payload(&payload.map_err(invalid)?)?;
    }
    Ok(())
}

struct Screen {
    validator: Validator,
    allocations: FuncValidatorAllocations,
    /// Core modules seen so far, the one being read included.
    modules: u32,
}

impl Screen {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        let module = self.modules.saturating_sub(1);
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => self.modules += 1,
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    refuse_memory(module, &memory.map_err(invalid)?)?;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(invalid)?;
                    match import.ty {
                        TypeRef::Memory(memory) => refuse_memory(module, &memory)?,
                        TypeRef::Global(global) if global.mutable => {
                            let name = import.name.to_owned();
                            return Err(Uncapturable::ImportedGlobal { module, name }.into());
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.clone() {
                    refuse_canonical(&function.map_err(invalid)?)?;
                }
            }
            _ => {}
        }
        match self.validator.payload(payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => self.function(module, function, &body),
            ValidPayload::Ok | ValidPayload::Parser(_) | ValidPayload::End(_) => Ok(()),
        }
    }

    fn function(
        &mut self,
        module: u32,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), LoadError> {
        let globals = globals_set(module, body)?;
        let FuncToValidate { resources, index, ty, features } = function;
        if globals.is_empty() {
            let function = FuncToValidate { resources, index, ty, features };
            let mut validator = function.into_validator(mem::take(&mut self.allocations));
            validator.validate(body).map_err(invalid)?;
            self.allocations = validator.into_allocations();
            return Ok(());
        }
        for global in globals {
            let function = FuncToValidate { resources: resources.clone(), index, ty, features };
            let mut validator = function.into_validator(mem::take(&mut self.allocations));
            let verdict = leaves_global_as_found(global, &mut validator, body).map_err(invalid)?;
            self.allocations = validator.into_allocations();
            if verdict.is_break() {
                return Err(Uncapturable::Global { module, function: index, global }.into());
            }
        }
        Ok(())
    }
}

/// Returns the globals that a function sets, and refuses instructions that must not be there.
fn globals_set(module: u32, body: &FunctionBody<'_>) -> Result<BTreeSet<u32>, LoadError> {
    let mut globals = BTreeSet::new();
    for operator in body.get_operators_reader().map_err(invalid)? {
        let operator = operator.map_err(invalid)?;
        if let Some(instruction) = lasting_effect(&operator) {
            return Err(Uncapturable::Instruction { module, instruction }.into());
        }
        if let Operator::GlobalSet { global_index } = operator {
            globals.insert(global_index);
        }
    }
    Ok(globals)
}

fn invalid(error: BinaryReaderError) -> LoadError {
    LoadError::Invalid(error.into())
}

fn refuse_memory(module: u32, memory: &MemoryType) -> Result<(), Uncapturable> {
    let kind = match memory {
        MemoryType { shared: true, .. } => "shared",
        MemoryType { memory64: true, .. } => "64-bit",
        _ => return Ok(()),
    };
    Err(Uncapturable::Memory { module, kind })
}

fn refuse_canonical(function: &CanonicalFunction) -> Result<(), Uncapturable> {
    if matches!(function, CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. }) {
        return Ok(());
    }
    // `ResourceNew { resource: 3 }` is `resource-new` to the reader of an error.
    let debug = format!("{function:?}");
    let name = debug.split([' ', '{', '(']).next().unwrap_or_default();
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.extend(c.to_lowercase());
    }
    Err(Uncapturable::Canonical(words))
}

/// Returns the name of an instruction that changes state which no snapshot has.
fn lasting_effect(operator: &Operator<'_>) -> Option<&'static str> {
    Some(match operator {
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        Operator::ElemDrop { .. } => "elem.drop",
        Operator::MemoryInit { .. } => "memory.init",
        Operator::DataDrop { .. } => "data.drop",
        _ => return None,
    })
}
