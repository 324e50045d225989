//! Does all of a component's state live where it is captured? Decided once, at load.
//!
//! What could hold state between two calls, and what is done about it:
//!
//! | state | rule |
//! |---|---|
//! | linear memory | captured; shared and 64-bit memories are refused |
//! | mutable globals | every function leaves them as it found them (`steady`), or they are noted in a `ledger` |
//! | dropped segments | noted in a `ledger` |
//! | tables, references in globals | filled at instantiation only: a call that changes one is refused when it does (`ledger`) |
//! | handles | `wasi` offers a few, and a call that keeps one is refused; the guest's own are refused |
//! | tasks, threads, async functions | every canonical function but a plain `lift` and `lower`, and the end of a handle, is refused |
//!
//! Active segments and start functions run once, at instantiation, alike for every instance.

mod effects;
mod module;

use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentInstance, ComponentOuterAliasKind, Encoding, FuncValidatorAllocations, Instance,
    Parser, Payload, ValidPayload, Validator, WasmFeatures, types::Types,
};

use self::module::OpenModule;
use super::ledger::Outside;
use super::steady::Effort;
use super::{LoadError, Uncapturable};

/// What a component keeps outside of linear memory, and where more can be added to it.
#[derive(Debug, Default)]
pub(super) struct Screened {
    /// Core modules, in the order in which they appear, nested ones included.
    pub(super) modules: Vec<Outside>,
    /// Core instances of those modules that keep something, by their numbers.
    pub(super) instances: Vec<u32>,
    /// How many of each kind the outermost component has.
    pub(super) counts: Counts,
}

/// How many of each kind a component has.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) modules: u32,
    pub(super) instances: u32,
    pub(super) core_functions: u32,
    pub(super) types: u32,
    pub(super) functions: u32,
}

/// Refuses a component that keeps state where it would be lost, and finds what it keeps elsewhere.
pub(super) fn capturable(component: &[u8]) -> Result<Screened, LoadError> {
    // All features: a component that uses one that matters here is refused by name, and wasmtime
    // refuses those that it has switched off.
    let mut screen = Screen {
        validator: Validator::new_with_features(WasmFeatures::all()),
        allocations: FuncValidatorAllocations::default(),
        effort: Effort::of_a_component(),
        open: Vec::new(),
        found: Screened::default(),
        outermost: Vec::new(),
        core_instances: 0,
        strays: false,
    };
    for payload in Parser::new(0).parse_all(component) {
        screen.payload(&payload.map_err(invalid)?)?;
    }
    screen.finish()
}

struct Screen {
    validator: Validator,
    allocations: FuncValidatorAllocations,
    effort: Effort,
    /// What is being read: components, of which nothing is noted, and the module within them.
    open: Vec<Option<OpenModule>>,
    found: Screened,
    /// The core modules that the outermost component knows: the numbers of those that are written in
    /// it, and none for others.
    outermost: Vec<Option<usize>>,
    /// Core instances of the outermost component so far, and the module of each that it makes.
    core_instances: u32,
    /// Whether a core module may be instantiated by another component than the outermost one.
    strays: bool,
}

impl Screen {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                if self.open.len() == 1 {
                    self.outermost.push(Some(self.found.modules.len()));
                }
                let number = self.found.modules.len();
                self.found.modules.push(Outside::default());
                self.open.push(Some(OpenModule::new(number)));
            }
            Payload::Version { .. } => self.open.push(None),
            _ => {}
        }
        match self.open.last_mut() {
            Some(Some(module)) => module.section(payload)?,
            _ => self.component_section(payload)?,
        }
        match self.validator.payload(payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => {
                let Some(Some(module)) = self.open.last_mut() else { return Ok(()) };
                module.function(function, &body, &mut self.allocations, &mut self.effort)
            }
            ValidPayload::End(types) => {
                self.close(&types);
                Ok(())
            }
            ValidPayload::Ok | ValidPayload::Parser(_) => Ok(()),
        }
    }

    fn component_section(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        let outermost = self.open.len() == 1;
        match payload {
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.clone() {
                    refuse_canonical(&function.map_err(invalid)?)?;
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    if is_of_a_module(&alias.map_err(invalid)?) {
                        self.stray(outermost);
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    if import.map_err(invalid)?.ty.kind() == ComponentExternalKind::Module {
                        self.stray(outermost);
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    if export.map_err(invalid)?.kind == ComponentExternalKind::Module {
                        self.stray(outermost);
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    self.strays |= passes_a_module(&instance.map_err(invalid)?);
                }
            }
            Payload::InstanceSection(instances) if outermost => {
                for instance in instances.clone() {
                    self.core_instance(&instance.map_err(invalid)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A core module that comes from another component, or goes to one: it has a number more here.
    fn stray(&mut self, outermost: bool) {
        self.strays = true;
        if outermost {
            self.outermost.push(None);
        }
    }

    fn core_instance(&mut self, instance: &Instance<'_>) {
        if let Instance::Instantiate { module_index, .. } = instance {
            let number = self.outermost.get(*module_index as usize).copied().flatten();
            let outside = number.and_then(|number| self.found.modules.get(number));
            if outside.is_some_and(|outside| !outside.is_empty()) {
                self.found.instances.push(self.core_instances);
            }
        }
        self.core_instances += 1;
    }

    fn close(&mut self, types: &Types) {
        let types = types.as_ref();
        match self.open.pop() {
            Some(Some(module)) => {
                let number = module.number();
                self.found.modules[number] = module.outside(types);
                // Only its own component could note what a nested one's module has.
                let nested = self.open.len() > 1;
                self.strays |= nested && !self.found.modules[number].is_empty();
            }
            _ if self.open.is_empty() => {
                self.found.counts = Counts {
                    modules: types.module_count(),
                    instances: types.core_instance_count(),
                    core_functions: types.function_count(),
                    types: types.component_type_count(),
                    functions: types.component_function_count(),
                };
            }
            _ => {}
        }
    }

    fn finish(self) -> Result<Screened, LoadError> {
        match self.found.modules.iter().position(|outside| !outside.is_empty()) {
            Some(module) if self.strays => Err(Uncapturable::Nested { module }.into()),
            _ => Ok(self.found),
        }
    }
}

fn invalid(error: BinaryReaderError) -> LoadError {
    LoadError::Invalid(error.into())
}

fn is_of_a_module(alias: &ComponentAlias<'_>) -> bool {
    matches!(
        alias,
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. }
            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. }
    )
}

fn passes_a_module(instance: &ComponentInstance<'_>) -> bool {
    match instance {
        ComponentInstance::Instantiate { args, .. } => {
            args.iter().any(|arg| arg.kind == ComponentExternalKind::Module)
        }
        ComponentInstance::FromExports(exports) => {
            exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
        }
    }
}

fn refuse_canonical(function: &CanonicalFunction) -> Result<(), LoadError> {
    if let CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } =
        function
    {
        let wide = |option: &CanonicalOption| {
            matches!(option, CanonicalOption::UTF16 | CanonicalOption::CompactUTF16)
        };
        if matches!(function, CanonicalFunction::Lower { .. }) && options.iter().any(wide) {
            return Err(LoadError::Encoding);
        }
        let is_async = options.iter().any(|option| matches!(option, CanonicalOption::Async));
        return if is_async {
            Err(Uncapturable::Canonical("async".to_owned()).into())
        } else {
            Ok(())
        };
    }
    // Who drops a handle has got it from somebody: `wasi` counts those of the host, and what makes
    // others is refused.
    if matches!(function, CanonicalFunction::ResourceDrop { .. }) {
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
    Err(Uncapturable::Canonical(words).into())
}
