//! What is refused at load, and in which words.

use super::super::Uncapturable;
use super::*;
use crate::limits::COMPONENT_BYTES_MAX;

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
fn state_in_a_global_is_refused() {
    let counting = format!(
        r#"{MEMORY} (global $n (mut i32) (i32.const 0))
        (func (export "count") (global.set $n (i32.add (global.get $n) (i32.const 1))))"#
    );
    let expected = Uncapturable::Global { module: 0, function: 0, global: 0 };
    assert_eq!(uncapturable(&counting), expected);
    assert!(expected.to_string().contains("function 0 may leave the mutable global 0 changed"));
    let bodies = [
        // Only on one of two ways.
        "(if (global.get $n) (then (global.set $n (i32.const 5))))",
        // Lowered and not raised again before an early return.
        "(local i32) (global.set $n (local.tee 0 (i32.sub (global.get $n) (i32.const 16))))
         (if (local.get 0) (then (return)))
         (global.set $n (i32.add (local.get 0) (i32.const 16)))",
        // Lower with each round of a loop.
        "(loop (global.set $n (i32.sub (global.get $n) (i32.const 16))) (br_if 0 (i32.const 1)))",
        // The saved value was overwritten in a loop.
        "(local i32) (local.set 0 (global.get $n))
         (loop (global.set $n (local.get 0)) (local.set 0 (i32.const 1)) (br_if 0 (i32.const 1)))",
        "(block (br_table 0 0 (global.set $n (i32.const 1)) (i32.const 0)))",
    ];
    for body in bodies {
        let module = format!(
            "{MEMORY} (global $n (mut i32) (i32.const 64)) (func (export \"count\") {body})"
        );
        assert_eq!(uncapturable(&module), expected, "{body}");
    }
}

#[test]
fn a_stack_pointer_is_accepted() {
    let frame = |body: &str| {
        format!(
            r#"{MEMORY} {COMMON} (global $sp (mut i32) (i32.const 4096)) (global $other (mut i64) (i64.const 1))
            (func $leaf (param i32) (result i32) (local $fp i32) {body})
            (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))"#
        )
    };
    let bodies = [
        "(global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 16))))
         (block (br_if 0 (local.get 0)) (drop (call $leaf (local.get $fp))))
         (loop $again
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if $again (local.get 0)))
         (global.set $sp (i32.add (local.get $fp) (i32.const 16)))
         (local.get 0)",
        // Aligned: what was found is in a local, what is current is unknown.
        "(local.set $fp (global.get $sp))
         (global.set $sp (i32.and (i32.sub (global.get $sp) (i32.const 100)) (i32.const -64)))
         (global.set $sp (local.get $fp))
         (local.get 0)",
        // A path that traps need not restore it.
        "(global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 16))))
         (if (local.get 0) (then unreachable) (else
            (global.set $sp (i32.add (i32.const 16) (local.get $fp)))))
         (i32.const 1)",
        // A frame of its own in each round, as after inlining.
        "(loop (result i32)
            (global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 32))))
            (global.set $sp (i32.add (local.get $fp) (i32.const 32)))
            (br_if 0 (local.get 0))
            (i32.const 1))",
    ];
    for body in bodies {
        load(&single(&frame(body))).unwrap_or_else(|error| panic!("{body}: {error}"));
    }
}

#[test]
fn state_in_tables_and_segments_is_refused_by_name() {
    let table = "(table $t 1 10 funcref) (elem declare func $f) (func $f)";
    let cases = [
        ("table.set", "(table.set $t (i32.const 0) (ref.func $f))"),
        ("table.grow", "(drop (table.grow $t (ref.func $f) (i32.const 1)))"),
        ("table.fill", "(table.fill $t (i32.const 0) (ref.func $f) (i32.const 1))"),
        ("table.copy", "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("table.init", "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("elem.drop", "(elem.drop $e)"),
        ("memory.init", "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("data.drop", "(data.drop $d)"),
    ];
    for (instruction, body) in cases {
        let module = format!(
            r#"{MEMORY} {table} (elem $e func $f) (data $d "x") (func (export "bad") {body})"#
        );
        assert_eq!(uncapturable(&module), Uncapturable::Instruction { module: 0, instruction });
    }
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
    let core = r#"(type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m (memory (export "memory") 1)
            (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))
            (func (export "points") (result i64) (i64.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#;
    let refusal = refusal(&component(core));
    let expected = Uncapturable::Canonical("resource-new".into());
    assert!(matches!(refusal, LoadError::Uncapturable(reason) if reason == expected));
}

#[test]
fn a_mutable_global_of_another_module_is_refused() {
    let core = r#"(core module $a (global (export "n") (mut i32) (i32.const 0)))
        (core instance $a (instantiate $a))
        (core module $m (memory (export "memory") 1)
            (import "a" "n" (global (mut i32)))
            (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))
            (func (export "points") (result i64) (i64.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m (with "a" (instance $a))))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#
        .replace(
            r#"(memory (export "memory") 1)
            (import "a" "n" (global (mut i32)))"#,
            r#"(import "a" "n" (global (mut i32))) (memory (export "memory") 1)"#,
        );
    let refusal = refusal(&component(&core));
    let expected = Uncapturable::ImportedGlobal { module: 1, name: "n".into() };
    assert!(matches!(refusal, LoadError::Uncapturable(reason) if reason == expected));
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
