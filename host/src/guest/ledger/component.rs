//! A component whose modules have ledgers, and the clerk that calls them.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CodeSection, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentSection, ComponentSectionId, ComponentTypeSection, EntityType,
    ExportKind, ExportSection, Function, FunctionSection, ImportSection, InstanceSection,
    Instruction, Module, ModuleArg, ModuleSection, RawSection, Section as _, TypeSection,
};
use wasmparser::{Parser, Payload};

use super::{NOTE, RECALL, invalid, module};
use crate::guest::LoadError;
use crate::guest::screen::Screened;

/// Returns the component with the ledgers of its modules, which are all instantiated by the
/// outermost component itself, and with the functions `NOTE` and `RECALL`.
pub(super) fn written(component: &[u8], screened: &Screened) -> Result<Vec<u8>, LoadError> {
    let mut written = Vec::with_capacity(component.len() + component.len() / 8);
    // Components and modules that are open, the outermost one aside.
    let mut depth = 0;
    let mut modules = screened.modules.iter();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(invalid)?;
        let outermost = depth == 0;
        match &payload {
            Payload::Version { range, .. } if written.is_empty() => {
                written.extend_from_slice(&component[range.clone()]);
            }
            Payload::End(_) => depth -= i32::from(depth > 0),
            Payload::ModuleSection { unchecked_range, .. } => {
                depth += 1;
                let outside = modules.next();
                let bytes = &component[unchecked_range.clone()];
                match outside.filter(|outside| outermost && !outside.is_empty()) {
                    Some(outside) => {
                        let data = module::written(bytes, outside)?;
                        let id = ComponentSectionId::CoreModule.into();
                        RawSection { id, data: &data }.append_to(&mut written);
                    }
                    None if outermost => copy(&payload, component, &mut written),
                    None => {}
                }
            }
            Payload::ComponentSection { .. } => {
                depth += 1;
                if outermost {
                    copy(&payload, component, &mut written);
                }
            }
            _ if outermost => copy(&payload, component, &mut written),
            _ => {}
        }
    }
    append_clerk(screened, &mut written);
    Ok(written)
}

fn copy(payload: &Payload<'_>, component: &[u8], written: &mut Vec<u8>) {
    if let Some((id, range)) = payload.as_section() {
        RawSection { id, data: &component[range] }.append_to(written);
    }
}

/// Appends the clerk, its instance, and the component's two functions.
fn append_clerk(screened: &Screened, written: &mut Vec<u8>) {
    let Screened { instances, counts, .. } = screened;
    ModuleSection(&clerk(instances.len())).append_to_component(written);

    let names: Vec<String> = (0..instances.len()).map(|number| number.to_string()).collect();
    let arguments = names.iter().zip(instances);
    let arguments = arguments.map(|(name, at)| (name.as_str(), ModuleArg::Instance(*at)));
    let mut instance = InstanceSection::new();
    instance.instantiate(counts.modules, arguments);
    instance.append_to_component(written);

    let mut aliases = ComponentAliasSection::new();
    let mut types = ComponentTypeSection::new();
    let mut lifted = CanonicalFunctionSection::new();
    let mut exports = ComponentExportSection::new();
    types.function().params::<[(&str, wasm_encoder::ComponentValType); 0], _>([]).result(None);
    for (name, number) in [NOTE, RECALL].into_iter().zip(0..) {
        let instance = counts.instances;
        aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        lifted.lift(counts.core_functions + number, counts.types, []);
        exports.export(name, ComponentExportKind::Func, counts.functions + number, None);
    }
    let sections: [&dyn ComponentSection; 4] = [&aliases, &types, &lifted, &exports];
    sections.into_iter().for_each(|section| section.append_to_component(written));
}

/// Returns the module that calls all others': it imports their functions under their numbers.
fn clerk(instances: usize) -> Module {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let (mut functions, mut exports, mut code) =
        (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([], []);
    for number in 0..instances {
        for name in [NOTE, RECALL] {
            imports.import(&number.to_string(), name, EntityType::Function(0));
        }
    }
    let imported = u32::try_from(2 * instances).expect("a component's instances fit into 32 bits");
    for (name, number) in [NOTE, RECALL].into_iter().zip(0..) {
        functions.function(0);
        exports.export(name, ExportKind::Func, imported + number);
        let mut body = Function::new([]);
        for import in (number..imported).step_by(2) {
            body.instruction(&Instruction::Call(import));
        }
        body.instruction(&Instruction::End);
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    module
}
