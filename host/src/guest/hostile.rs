//! Components of any bytes, up to where they are compiled, and arguments of any text: see
//! [`crate::hostile`].

use std::sync::OnceLock;

use wasm_encoder::{
    ComponentBuilder, ComponentDefinedTypeEncoder, ComponentExportKind, ComponentValType,
    PrimitiveValType,
};
use wasmparser::{Validator, WasmFeatures};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Type};

use super::{Allowance, Engine, LoadError, functions, ledger, screen, strip, world};
use crate::limits::ARGUMENTS_BYTES_MAX;
use crate::protocol::Value;

/// A component or a core module, as `Code::load` looks at it.
pub(crate) fn component(bytes: &[u8]) {
    let Ok(encoded) = world::component(bytes) else { return };
    let Ok(screened) = screen::capturable(&encoded) else { return };
    let with_ledgers = match ledger::with_ledgers(&encoded, &screened) {
        Ok(with_ledgers) => with_ledgers,
        Err(LoadError::TooLarge(_)) => return,
        Err(error) => panic!("what was screened is read again: {error}"),
    };
    if let Some(with_ledgers) = &with_ledgers {
        let valid = Validator::new_with_features(WasmFeatures::all()).validate_all(with_ledgers);
        // Only a guest that has the names of the ledgers' own functions may clash with them.
        let clashes = |error: &dyn std::fmt::Display| error.to_string().contains("player-host-");
        assert!(valid.as_ref().err().is_none_or(|error| clashes(error)), "{:?}", valid.err());
        if valid.is_err() {
            return;
        }
    }
    let encoded = with_ledgers.unwrap_or(encoded);
    let stripped = strip::start_of(&encoded).expect("what was screened is read again");
    screen::capturable(&stripped).expect("without its start it is no worse");
    let again = strip::start_of(&stripped).expect("it is read again");
    assert!(again == stripped, "there is nothing left to take away");
}

/// An argument, for a type that the first byte chooses. One that is read is written as what is read as
/// the same again, and costs no more than it may.
pub(crate) fn wave(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let types = types();
    let ty = &types[usize::from(*choice) % types.len()];
    let mut left = functions::Budget::new();
    let read = match functions::wave_value(text, ty, &mut left) {
        Ok(read) => read,
        Err(wrong) => return assert!(!wrong.to_string().is_empty()),
    };
    assert!(left.is_touched(), "nothing is free");
    // What is written may be longer than what was read, and too long.
    let Some(Value::Wave(written)) = functions::written(std::slice::from_ref(&read)) else {
        return;
    };
    let again = functions::wave_value(&written, ty, &mut functions::Budget::new());
    let again = again.unwrap_or_else(|wrong| panic!("{text} was written as {written}: {wrong}"));
    assert_eq!(again, read, "{written}");
    assert!(written.len() <= ARGUMENTS_BYTES_MAX);
    let json = functions::in_json(&Value::Wave(written));
    let again = functions::json_value(&json, ty, &mut functions::Budget::new());
    let again = again.unwrap_or_else(|wrong| panic!("{text} in JSON is {json}: {wrong}"));
    assert_eq!(again, read, "{json}");
}

/// Types of all kinds, and one that is made of them.
fn types() -> &'static [Type] {
    static TYPES: OnceLock<Vec<Type>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let engine = Engine::new(&Allowance::default()).expect("wasmtime is set up");
        let engine = engine.wasmtime();
        let component = Component::from_binary(engine, &types_of_all_kinds());
        let component = component.expect("a component that exports types");
        let types = component.component_type();
        let types = types.exports(engine).map(|(_, export)| match export.ty {
            ComponentItem::Type(ty) => ty,
            other => unreachable!("{other:?}"),
        });
        types.collect()
    })
}

fn types_of_all_kinds() -> Vec<u8> {
    use PrimitiveValType::{Bool, Char, F32, F64, S8, S64, String, U8, U16, U64};
    let mut component = ComponentBuilder::default();
    let mut count = 0;
    let mut define = |fill: &dyn Fn(ComponentDefinedTypeEncoder<'_>)| {
        let (index, encoder) = component.type_defined(None);
        fill(encoder);
        count += 1;
        let name = format!("t{count}");
        ComponentValType::Type(component.export(&name, ComponentExportKind::Type, index, None))
    };
    let of = ComponentValType::Primitive;
    let shade = define(&|ty| ty.enum_type(["pale", "none", "a-B-3"]));
    let rights = define(&|ty| ty.flags(["read", "write", "ok"]));
    let bytes = define(&|ty| ty.list(of(U8)));
    let maybe = define(&|ty| ty.option(of(String)));
    let nested = define(&|ty| ty.option(maybe));
    let done = define(&|ty| ty.result(Some(bytes), None));
    let plain = define(&|ty| ty.result(None, None));
    let shape =
        define(&|ty| ty.variant([("round", None), ("some", Some(nested)), ("x", Some(done))]));
    let pair = define(&|ty| ty.tuple([of(F32), of(F64), of(Char)]));
    let all = define(&|ty| {
        ty.record([
            ("shade", shade),
            ("rights", rights),
            ("nested", nested),
            ("plain", plain),
            ("shape", shape),
            ("pair", pair),
            ("yes", of(Bool)),
            ("s8", of(S8)),
            ("s64", of(S64)),
            ("u16", of(U16)),
            ("u64", of(U64)),
            ("maybe", maybe),
        ]);
    });
    define(&|ty| ty.list(all));
    component.finish()
}

/// Arguments as people write them, each for one of the types.
#[cfg(test)]
pub(crate) fn texts() -> Vec<Vec<u8>> {
    let all = "{shade: %none, rights: {read, %ok}, nested: some(none), plain: err, \
               shape: %some(some(\"a\\n\\u{fc}\")), pair: (1.5, -inf, '\\''), yes: true, s8: -8, \
               s64: -9223372036854775808, u16: 65535, u64: 18446744073709551615, maybe: \"x\"}";
    let texts = [
        (0, "a-B-3"),
        (1, "{read, write}"),
        (2, "[1, 2, // three\n 3,]"),
        (3, "some(\"a\")"),
        (3, "\"\"\"\n  many\n  lines\n  \"\"\""),
        (4, "some(some(\"\"))"),
        (5, "ok([0])"),
        (6, "err"),
        (7, "x(ok([255]))"),
        (8, "(nan, 1e10, 'x')"),
        (9, all),
        (10, &format!("[{all}, {all}]")),
    ];
    texts.iter().map(|(choice, text)| [&[*choice], text.as_bytes()].concat()).collect()
}

/// Components and modules that are taken, and such that are refused late.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let built_in = super::built_in().to_vec();
    let stripped = strip::start_of(&built_in).unwrap();
    let texts = [
        "(component)",
        r#"(component (core module (memory 1) (data (i32.const 8) "abc")
            (global $sp (mut i32) (i32.const 1024))
            (func $f (local i32)
                global.get $sp i32.const 16 i32.sub local.tee 0 global.set $sp
                (block (loop local.get 0 br_if 0 local.get 0 br_table 0 1))
                local.get 0 i32.const 16 i32.add global.set $sp)
            (start $f)))"#,
        r#"(component (core module (table 1 funcref) (global (mut i32) (i32.const 0))
            (func (param i32) (result i32) local.get 0
                (if (result i32) (then i32.const 1 global.set 0 i32.const 2)
                    (else i32.const 3)))
            (elem (i32.const 0) func 0)))"#,
        r#"(component (component (core module (memory 1 2) (data "passive"))) (core module))"#,
    ];
    let texts = texts.iter().map(|text| wat::parse_str(text).unwrap());
    [built_in, stripped].into_iter().chain(texts).collect()
}
