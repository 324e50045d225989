//! Does this code belong to the world `player`?

use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wit_component::ComponentEncoder;

use super::bindings::{LOAD, LOG, MIGRATE, POINTS, REWARD, SAVE};
use super::{LoadError, wasi};

/// Prefix of the custom section in which a core module carries its component type.
const COMPONENT_TYPE: &str = "component-type";

/// Returns the component that `bytes` are, or that the core module in them describes.
pub(super) fn component(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    if Parser::is_component(bytes) {
        return Ok(bytes.to_vec());
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(LoadError::NotWasm);
    }
    if !carries_component_type(bytes)? {
        return Err(LoadError::NoComponentType);
    }
    ComponentEncoder::default()
        .module(bytes)
        .and_then(|encoder| encoder.validate(false).encode())
        .map_err(|error| LoadError::Encode(error.into()))
}

fn carries_component_type(module: &[u8]) -> Result<bool, LoadError> {
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| LoadError::Invalid(error.into()))?;
        if let Payload::CustomSection(section) = payload
            && section.name().starts_with(COMPONENT_TYPE)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks the names of imports and exports. Their types are compared when imports are linked and
/// exports are looked up.
pub(super) fn check(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let world = component.component_type();
    for (name, import) in world.imports(engine) {
        let offered = match import.ty {
            ComponentItem::ComponentFunc(_) => name == LOG,
            ComponentItem::ComponentInstance(_) if wasi::offered(name).is_some() => true,
            ComponentItem::ComponentInstance(_) if wasi::is_network(name) => {
                return Err(LoadError::Network(name.to_owned()));
            }
            // The contract's types arrive as an instance that has nothing else in it.
            ComponentItem::ComponentInstance(instance) => instance
                .exports(engine)
                .all(|(_, export)| matches!(export.ty, ComponentItem::Type(_))),
            ComponentItem::Type(_) => true,
            ComponentItem::CoreFunc(_)
            | ComponentItem::Module(_)
            | ComponentItem::Component(_)
            | ComponentItem::Resource(_) => false,
        };
        if !offered {
            return Err(LoadError::UnknownImport(name.to_owned()));
        }
    }
    for name in [REWARD, POINTS] {
        let export = world.get_export(engine, name).map(|export| export.ty);
        if !matches!(export, Some(ComponentItem::ComponentFunc(_))) {
            return Err(LoadError::MissingExport(name));
        }
    }
    check_migrate(engine, component)
}

/// Checks the functions of the interface `migrate`, if there is any. A player whose state cannot be
/// taken over to other code is one, too; but who tried to offer it hears of a mistake now, not when
/// other code is there.
fn check_migrate(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let world = component.component_type();
    let Some(migrate) = world.get_export(engine, MIGRATE) else { return Ok(()) };
    let function = |name| match &migrate.ty {
        ComponentItem::ComponentInstance(instance) => match instance.get_export(engine, name)?.ty {
            ComponentItem::ComponentFunc(function) => Some(function),
            _ => None,
        },
        _ => None,
    };
    if !function(SAVE).is_some_and(|save| is_save(&save)) {
        return Err(LoadError::WrongMigrate(SAVE));
    }
    if !function(LOAD).is_some_and(|load| is_load(&load)) {
        return Err(LoadError::WrongMigrate(LOAD));
    }
    Ok(())
}

/// Whether this is a `func() -> list<u8>`.
fn is_save(function: &ComponentFunc) -> bool {
    let (params, results) = types_of(function);
    params.is_empty() && matches!(&results[..], [state] if is_bytes(state))
}

/// Whether this is a `func(state: list<u8>) -> result<_, string>`.
fn is_load(function: &ComponentFunc) -> bool {
    let (params, results) = types_of(function);
    let answers = |ty: &Type| match ty {
        Type::Result(result) => result.ok().is_none() && result.err() == Some(Type::String),
        _ => false,
    };
    matches!(&params[..], [state] if is_bytes(state))
        && matches!(&results[..], [answer] if answers(answer))
}

fn types_of(function: &ComponentFunc) -> (Vec<Type>, Vec<Type>) {
    (function.params().map(|(_, ty)| ty).collect(), function.results().collect())
}

fn is_bytes(ty: &Type) -> bool {
    matches!(ty, Type::List(list) if list.ty() == Type::U8)
}
