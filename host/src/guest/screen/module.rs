//! What one core module holds outside of linear memory.

use std::collections::BTreeSet;
use std::mem;

use wasmparser::{
    ExternalKind, FuncToValidate, FuncValidatorAllocations, FunctionBody, GlobalType, MemoryType,
    Payload, TypeRef, ValType, ValidatorResources, types::TypesRef,
};

use super::effects::Effects;
use super::invalid;
use crate::guest::ledger::Outside;
use crate::guest::steady::{Effort, leaves_global_as_found};
use crate::guest::{LoadError, Uncapturable};
use crate::limits::NOTED_GLOBALS_MAX;

/// Globals of one module of which a proof is tried that they return to their values: compilers have
/// one or two stack pointers, and each proof reads every function that sets the global once more.
const FOLLOWED_MAX: usize = 4;

/// A module of which a part has been read.
pub(super) struct OpenModule {
    /// Its number in the component.
    number: usize,
    globals: Vec<Global>,
    /// Globals that are looked at in every function that sets them, until one may leave them changed.
    followed: BTreeSet<u32>,
    outside: Outside,
}

/// A global of a module.
struct Global {
    ty: GlobalType,
    whose: Whose,
}

/// Who may set a global.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This module alone.
    Private,
    /// Other modules, too.
    Exported,
    /// The module that has it, and others. That module notes it.
    Imported,
}

impl OpenModule {
    pub(super) fn new(number: usize) -> Self {
        let (globals, followed, outside) = Default::default();
        Self { number, globals, followed, outside }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Looks at one section, before it is validated.
    pub(super) fn section(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.refuse_memory(&memory.map_err(invalid)?)?;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    match import.map_err(invalid)?.ty {
                        TypeRef::Memory(memory) => self.refuse_memory(&memory)?,
                        TypeRef::Global(ty) => {
                            self.globals.push(Global { ty, whose: Whose::Imported });
                        }
                        _ => {}
                    }
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    let ty = global.map_err(invalid)?.ty;
                    self.globals.push(Global { ty, whose: Whose::Private });
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export.map_err(invalid)?;
                    if export.kind == ExternalKind::Global {
                        self.exported(export.index);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A global that other modules may set is noted, whoever sets it.
    fn exported(&mut self, index: u32) {
        let Some(global) = self.globals.get_mut(index as usize) else { return };
        if global.whose == Whose::Private {
            global.whose = Whose::Exported;
            if global.ty.mutable && !is_reference(global.ty.content_type) {
                self.outside.globals.insert(index, global.ty.content_type);
            }
        }
    }

    /// Validates a function and looks at what it does.
    pub(super) fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: &mut FuncValidatorAllocations,
        effort: &mut Effort,
    ) -> Result<(), LoadError> {
        let effects = Effects::of(body).map_err(invalid)?;
        let FuncToValidate { resources, index, ty, features } = function;
        let function = |resources| FuncToValidate { resources, index, ty, features };
        let mut lasting = effects.are_lasting();
        for &global in &effects.globals_set {
            match self.kind_of(global) {
                // Nothing could say which one it is, and few guests have any.
                Some(ValType::Ref(_)) => {
                    lasting = true;
                    self.outside.references.insert(global);
                }
                Some(number) if self.is_to_be_proven(global, number) => {
                    let function = function(resources.clone());
                    let mut validator = function.into_validator(mem::take(allocations));
                    let verdict = leaves_global_as_found(global, &mut validator, body, effort);
                    let verdict = verdict.map_err(invalid)?;
                    *allocations = validator.into_allocations();
                    if verdict.is_break() {
                        self.outside.globals.insert(global, number);
                    }
                }
                _ => {}
            }
        }
        let mut validator = function(resources).into_validator(mem::take(allocations));
        validator.validate(body).map_err(invalid)?;
        if lasting {
            self.outside.functions.insert(index, validator.len_locals());
        }
        *allocations = validator.into_allocations();
        self.outside.data.extend(effects.data_dropped);
        self.outside.elements.extend(effects.elements_dropped);
        self.refuse_many_globals()
    }

    /// Returns what the module has outside of linear memory. `types` are its own.
    pub(super) fn outside(self, types: TypesRef<'_>) -> Outside {
        Outside {
            types: types.core_type_count_in_module(),
            all_functions: types.function_count(),
            memories: types.memory_count(),
            all_globals: types.global_count(),
            ..self.outside
        }
    }

    /// Returns the type of a global's value. One that is not there has it refused by the validator.
    fn kind_of(&self, index: u32) -> Option<ValType> {
        Some(self.globals.get(index as usize)?.ty.content_type)
    }

    /// Whether a number's global is noted only if it does not return to its value by itself. Others
    /// are noted anyhow, by this module or by the one that has them.
    fn is_to_be_proven(&mut self, index: u32, ty: ValType) -> bool {
        let private =
            self.globals.get(index as usize).is_some_and(|global| global.whose == Whose::Private);
        if !private || self.outside.globals.contains_key(&index) {
            return false;
        }
        if self.followed.len() < FOLLOWED_MAX {
            self.followed.insert(index);
        }
        let followed = self.followed.contains(&index);
        if !followed {
            self.outside.globals.insert(index, ty);
        }
        followed
    }

    fn refuse_many_globals(&self) -> Result<(), LoadError> {
        let Outside { globals, data, elements, .. } = &self.outside;
        if globals.len() + data.len() + elements.len() > NOTED_GLOBALS_MAX {
            return Err(Uncapturable::Globals { module: self.number }.into());
        }
        Ok(())
    }

    fn refuse_memory(&self, memory: &MemoryType) -> Result<(), Uncapturable> {
        let kind = match memory {
            MemoryType { shared: true, .. } => "shared",
            MemoryType { memory64: true, .. } => "64-bit",
            _ => return Ok(()),
        };
        Err(Uncapturable::Memory { module: self.number, kind })
    }
}

fn is_reference(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(_))
}
