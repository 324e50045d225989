//! What is refused at load, and in which words.

use super::super::Uncapturable;
use super::*;
use crate::limits::{COMPONENT_BYTES_MAX, NOTED_GLOBALS_MAX};

fn refusal(bytes: &[u8]) -> LoadError {
    load(bytes).expect_err("this code is to be refused")
}

fn uncapturable(module: &str) -> Uncapturable {
    let module = format!(
        r#"{module} {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))"#
    );
    match refusal(&single(&module)) {
        LoadError::Uncapturable(reason) => reason,
        other => panic!("another refusal: {other:?}"),
    }
}

const MEMORY: &str = r#"(memory (export "memory") 1)"#;

/// Core instances of a guest that does nothing.
const PLAIN: &str = r#"(core module $m (memory (export "memory") 1)
            (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))
            (func (export "points") (result i64) (i64.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#;

#[test]
fn what_is_no_component_is_refused() {
    let text = r#"(component (export "reward"))"#.as_bytes();
    assert!(matches!(refusal(text), LoadError::NotWasm));
    assert!(matches!(refusal(b""), LoadError::NotWasm));
    let module = wat::parse_str("(module)").unwrap();
    assert!(matches!(refusal(&module), LoadError::NoComponentType));
    let component = wat::parse_str("(component)").unwrap();
    let cut = &counter()[..200];
    assert!(matches!(refusal(cut), LoadError::Invalid(_)));
    assert!(matches!(refusal(&component), LoadError::MissingExport("reward")));
    let large = vec![0; COMPONENT_BYTES_MAX + 1];
    assert!(matches!(refusal(&large), LoadError::TooLarge(_)));
}

#[test]
fn another_world_is_refused_with_the_name_that_does_not_fit() {
    let world = |import: &str, params: &str, core_params: &str| {
        let text = format!(
            r#"(component
            {import}
            (core module $m
                (func (export "reward") {core_params} (result i64) (i64.const 0)))
            (core instance $i (instantiate $m))
            (alias core export $i "reward" (core func $reward))
            (func (export "reward") {params} (result s64) (canon lift (core func $reward)))
            (func (export "points") {params} (result s64) (canon lift (core func $reward))))"#
        );
        refusal(&wat::parse_str(text).unwrap())
    };
    let import =
        r#"(import "wasi:clocks/now@0.2.0" (instance (export "now" (func (result u64)))))"#;
    let LoadError::UnknownImport(name) = world(import, "", "") else { panic!("not the import") };
    assert_eq!(name, "wasi:clocks/now@0.2.0");
    let import = r#"(import "log" (func (param "message" string)))"#;
    assert!(matches!(world(import, "", ""), LoadError::WrongImport(_)));
    let wrong = world("", r#"(param "points" s64)"#, "(param i64)");
    assert!(matches!(wrong, LoadError::WrongExport { name: "reward", .. }), "{wrong:?}");
}

#[test]
fn an_interface_that_should_take_state_over_is_complete_or_refused_by_name() {
    let with = |save: &str, takes: &str| {
        let core = format!(
            r#"{PLAIN}
            (core module $n
                (func (export "save") (result i32) (i32.const 64))
                (func (export "load") (param i32 i32) (result i32) (i32.const 128)))
            (core instance $j (instantiate $n))
            (func $save {save} (canon lift (core func $j "save") (memory (core memory $memory))))
            (func $load {takes}
                (canon lift (core func $j "load") (memory (core memory $memory)) (realloc (core func $realloc))))
            (instance $migrate (export "save" (func $save)) (export "load" (func $load)))
            (export "player:host/migrate@0.1.0" (instance $migrate))"#
        );
        load(&component(&core))
    };
    let save = "(result (list u8))";
    let takes = r#"(param "state" (list u8)) (result (result (error string)))"#;
    with(save, takes).expect("this is the contract's");
    let wrong = |refusal: Result<_, LoadError>| match refusal {
        Err(LoadError::WrongMigrate(name)) => name,
        other => panic!("not refused for that: {other:?}"),
    };
    assert_eq!(wrong(with("(result string)", takes)), "save");
    let fails_silently = r#"(param "state" (list u8)) (result (result))"#;
    assert_eq!(wrong(with(save, fails_silently)), "load");
    let only_save = format!(
        r#"{PLAIN}
        (core module $n (func (export "save") (result i32) (i32.const 64)))
        (core instance $j (instantiate $n))
        (func $save {save} (canon lift (core func $j "save") (memory (core memory $memory))))
        (instance $migrate (export "save" (func $save)))
        (export "player:host/migrate@0.1.0" (instance $migrate))"#
    );
    assert_eq!(wrong(load(&component(&only_save))), "load");
}

#[test]
fn a_table_that_is_filled_at_instantiation_is_accepted() {
    let module = format!(
        r#"{MEMORY} {COMMON} {ADD} (table 1 funcref) (elem (i32.const 0) $add)
        (func (export "reward") (param i32 i64 i32) (result i64)
            (call_indirect (param i32 i64) (result i64)
                (local.get 0) (local.get 1) (i32.const 0)))"#
    );
    assert_eq!(Player::new(&load(&single(&module)).unwrap()).call(&reward(4)), Ok(4));
}

#[test]
fn memories_that_the_host_does_not_own_are_refused() {
    let memory = |kind: &str, text: &str| {
        let module = format!("{MEMORY} (memory {text})");
        assert_eq!(uncapturable(&module).to_string(), format!("core module 0 has a {kind} memory"));
    };
    memory("shared", "1 1 shared");
    memory("64-bit", "i64 1");
}

#[test]
fn handles_kept_by_the_host_are_refused() {
    let core =
        format!("(type $r (resource (rep i32))) (core func $new (canon resource.new $r)) {PLAIN}");
    let refusal = refusal(&component(&core));
    let expected = Uncapturable::Canonical("resource-new".into());
    assert!(matches!(refusal, LoadError::Uncapturable(reason) if reason == expected));
}

#[test]
fn what_only_a_nested_component_could_be_asked_for_is_refused() {
    let core = |counter: &str| {
        format!(
            r#"(component $inner
                (core module $a {counter})
                (core instance (instantiate $a)))
            (instance (instantiate $inner))
            {PLAIN}"#
        )
    };
    let counting = r#"(global $n (mut i32) (i32.const 0))
        (func (export "count") (global.set $n (i32.add (global.get $n) (i32.const 1))))"#;
    let refusal = refusal(&component(&core(counting)));
    let expected = Uncapturable::Nested { module: 0 };
    assert!(matches!(refusal, LoadError::Uncapturable(reason) if reason == expected));
    load(&component(&core("(memory 1)"))).expect("memory is captured wherever it is");
}

#[test]
fn more_globals_than_are_noted_are_refused() {
    let globals = |count: usize| {
        let globals = "(global (mut i32) (i32.const 0))".repeat(count);
        let sets: String = (0..count).map(|n| format!("(global.set {n} (i32.const 1))")).collect();
        format!("{MEMORY} {globals} (func (export \"set\") {sets})")
    };
    let refusal = uncapturable(&globals(NOTED_GLOBALS_MAX + 1));
    assert_eq!(refusal, Uncapturable::Globals { module: 0 });
}

#[test]
fn async_functions_are_refused_by_name() {
    let core = r#"(core module $m (memory (export "memory") 1)
            (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))
            (func (export "points") (result i64) (i64.const 0))
            (func (export "other"))
            (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))
        (alias core export $i "other" (core func $other))
        (func (export "other") async (canon lift (core func $other) async))"#;
    let refusal = refusal(&component(core));
    let expected = Uncapturable::Canonical("async".into());
    assert!(matches!(refusal, LoadError::Uncapturable(reason) if reason == expected));
}

#[test]
fn references_to_a_collected_heap_are_refused_by_name() {
    let module = format!(
        r#"{MEMORY} {COMMON} (type $s (struct (field i32)))
        (global $g (mut (ref null $s)) (ref.null $s))
        (func (export "reward") (param i32 i64 i32) (result i64)
            (global.set $g (struct.new $s (i32.const 1))) (i64.const 0))"#
    );
    let refusal = refusal(&single(&module));
    let chain: Vec<_> =
        std::iter::successors(Some(&refusal as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect();
    assert!(matches!(refusal, LoadError::Invalid(_)), "{chain:?}");
    assert!(chain.iter().any(|why| why.contains("gc")), "{chain:?}");
}

#[test]
fn code_that_traps_at_the_start_or_wants_too_much_is_refused() {
    let code = |module: &str| {
        single(&format!(
            r#"{module} {COMMON}
            (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))"#
        ))
    };
    let start = |module: &str| match refusal(&code(module)) {
        LoadError::Start(reason) => reason,
        other => panic!("another refusal: {other:?}"),
    };
    assert_eq!(start(&format!("{MEMORY} (func $s unreachable) (start $s)")), "unreachable");
    let large = start(r#"(memory (export "memory") 4097)"#);
    assert!(large.contains("memory limit"), "{large}");
}
