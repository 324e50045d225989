//! State outside of linear memory: what is captured nevertheless, and which calls are refused.

use super::super::{screen, world};
use super::*;

const MEMORY: &str = r#"(memory (export "memory") 1)"#;

/// A guest whose `reward` is `body`, with its integer in local 1.
fn guest(items: &str, body: &str) -> Vec<u8> {
    single(&format!(
        r#"{MEMORY} {COMMON} {items}
        (func (export "reward") (param i32 i64 i32) (result i64) (local i32) {body})"#
    ))
}

/// Calls a guest a few times, and after each call goes on in a new instance: it answers like one
/// that goes on in the first.
#[track_caller]
fn survives(bytes: &[u8], answers: &[i64]) {
    let code = load(bytes).unwrap();
    let (mut stays, mut moves) = (Player::new(&code), Player::new(&code));
    for (round, answer) in answers.iter().enumerate() {
        moves.restore();
        let points = reward(i64::try_from(round).unwrap() + 1);
        assert_eq!(stays.call(&points), Ok(*answer), "in round {round}");
        assert_eq!(moves.call(&points), Ok(*answer), "in round {round}, restored");
        assert_eq!(stays.memories(), moves.memories(), "in round {round}");
    }
}

#[test]
fn a_counter_in_a_global_of_any_number_type_survives() {
    let counter = |ty: &str, from: &str, add: &str, read: &str| {
        guest(
            &format!("(global $n (mut {ty}) ({from}))"),
            &format!("(global.set $n ({add})) ({read})"),
        )
    };
    let wrapped = "i32.wrap_i64 (local.get 1)";
    let add = format!("i32.add (global.get $n) ({wrapped})");
    let read = "i64.extend_i32_s (global.get $n)";
    survives(&counter("i32", "i32.const 7", &add, read), &[8, 10, 13]);
    let add = "i64.add (global.get $n) (local.get 1)";
    survives(&counter("i64", "i64.const -1", add, "global.get $n"), &[0, 2, 5]);
    let add = "f32.add (global.get $n) (f32.convert_i64_s (local.get 1))";
    let read = "i64.extend_i32_u (i32.reinterpret_f32 (global.get $n))";
    let bits = |value: f32| i64::from(value.to_bits());
    survives(&counter("f32", "f32.const 0.5", add, read), &[bits(1.5), bits(3.5), bits(6.5)]);
    let add = "f64.add (global.get $n) (f64.convert_i64_s (local.get 1))";
    let read = "i64.trunc_f64_s (global.get $n)";
    survives(&counter("f64", "f64.const 0.5", add, read), &[1, 3, 6]);
    let add = "i64x2.add (global.get $n) (i64x2.splat (local.get 1))";
    let read = "i64x2.extract_lane 1 (global.get $n)";
    survives(&counter("v128", "v128.const i64x2 1 2", add, read), &[3, 5, 8]);
}

#[test]
fn what_a_float_is_noted_as_are_its_bits() {
    // From 0 to -0, which are equal, and to a NaN, which no value equals.
    let minus_zero = guest(
        "(global $n (mut f64) (f64.const 0))",
        "(i64.reinterpret_f64 (global.get $n))
         (global.set $n (select (f64.const -0) (f64.const nan:0x1234) (i64.eq (local.get 1) (i64.const 1))))",
    );
    let bits = |value: f64| value.to_bits().cast_signed();
    let nan = 0x7ff0_0000_0000_1234;
    survives(&minus_zero, &[bits(0.0), bits(-0.0), nan, nan]);
}

#[test]
fn a_global_that_was_only_read_or_set_to_what_it_was_is_no_change() {
    let bytes = guest(
        "(global $n (mut i64) (i64.const 0)) (global $m (mut f64) (f64.const nan))",
        "(global.set $n (i64.and (local.get 1) (i64.const 2))) (global.set $m (f64.const nan))
         (global.get $n)",
    );
    let mut player = Player::new(&load(&bytes).unwrap());
    assert_eq!(player.call_with_delta(&reward(1)), Ok((0, Delta::default())));
    let (value, delta) = player.call_with_delta(&reward(2)).unwrap();
    assert_eq!((value, delta.changed_bytes()), (2, 1));
    assert_eq!(player.call_with_delta(&reward(2)), Ok((2, Delta::default())));
}

#[test]
fn every_way_to_leave_a_global_changed_is_noticed() {
    let bodies = [
        // Only on one of two ways.
        "(if (global.get $n) (then (global.set $n (i32.const 5))))",
        // Lowered and not raised again before an early return.
        "(local i32) (global.set $n (local.tee 0 (i32.sub (global.get $n) (i32.const 16))))
         (if (local.get 0) (then (return)))
         (global.set $n (i32.add (local.get 0) (i32.const 16)))",
        // Lower with each round of a loop.
        "(loop (global.set $n (i32.sub (global.get $n) (i32.const 16))) (br_if 0 (i32.const 0)))",
        // The saved value was overwritten in a loop.
        "(local i32) (local.set 0 (global.get $n))
         (loop (global.set $n (local.get 0)) (local.set 0 (i32.const 1)) (br_if 0 (i32.const 0)))",
        "(block (br_table 0 0 (global.set $n (i32.const 1)) (i32.const 0)))",
    ];
    for body in bodies {
        let items = format!("(global $n (mut i32) (i32.const 64)) (func $f {body})");
        let code = load(&guest(&items, "(call $f) (i64.extend_i32_s (global.get $n))")).unwrap();
        assert!(code.has_ledgers(), "{body}");
        let (mut stays, mut moves) = (Player::new(&code), Player::new(&code));
        for _ in 0..2 {
            moves.restore();
            assert_eq!(stays.call(&reward(1)), moves.call(&reward(1)), "{body}");
        }
    }
}

#[test]
fn a_stack_pointer_needs_no_ledger() {
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
        let code = load(&single(&frame(body))).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert!(!code.has_ledgers(), "{body}");
    }
}

#[test]
fn a_counter_behind_a_start_function_survives() {
    let bytes = guest(
        "(global $n (mut i64) (i64.const 1)) (start $s)
         (func $s (global.set $n (i64.const 40)))",
        "(global.set $n (i64.add (global.get $n) (local.get 1))) (global.get $n)",
    );
    survives(&bytes, &[41, 43, 46]);
}

#[test]
fn globals_that_modules_share_survive_in_each_instance() {
    // Two instances of the module that has the global, a third module that sets those of both.
    let core = r#"(core module $a (global (export "n") (mut i64) (i64.const 10)))
        (core instance $one (instantiate $a))
        (core instance $other (instantiate $a))
        (core module $m
            (import "one" "n" (global $one (mut i64)))
            (import "other" "n" (global $other (mut i64)))
            (memory (export "memory") 1)
            (func (export "reward") (param i32 i64 i32) (result i64)
                (global.set $one (i64.add (global.get $one) (local.get 1)))
                (global.set $other (i64.mul (global.get $other) (i64.const 2)))
                (i64.add (global.get $one) (global.get $other)))
            (func (export "points") (result i64) (global.get $one))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m
            (with "one" (instance $one)) (with "other" (instance $other))))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#;
    survives(&component(core), &[11 + 20, 13 + 40, 16 + 80]);
}

#[test]
fn a_dropped_segment_stays_dropped() {
    // The first call copies the segment, the second one drops it, the third one cannot copy.
    let bytes = guest(
        r#"(data $unused "") (data $d "\2a")"#,
        "(if (i64.eq (local.get 1) (i64.const 2)) (then (data.drop $d)) (else
            (memory.init $d (i32.const 16) (i32.const 0) (i32.const 1))))
         (i64.load (i32.const 16))",
    );
    let code = load(&bytes).unwrap();
    let mut player = Player::new(&code);
    assert_eq!(player.call(&reward(1)), Ok(42));
    assert_eq!(player.call(&reward(2)), Ok(42));
    player.restore();
    assert_eq!(player.call(&reward(3)), Err("out of bounds memory access".to_owned()));
    player.restore();
    assert_eq!(player.call(&Operation::Points), Ok(42), "only what was dropped is");
    assert_eq!(Player::new(&code).call(&reward(3)), Ok(42), "a player of its own");
}

#[test]
fn a_segment_that_was_dropped_at_the_start_stays_dropped() {
    let bytes = guest(
        r#"(data $d "\2a") (start $s)
        (func $s (memory.init $d (i32.const 16) (i32.const 0) (i32.const 1)) (data.drop $d))"#,
        "(if (i64.eq (local.get 1) (i64.const 2))
            (then (memory.init $d (i32.const 32) (i32.const 0) (i32.const 1))))
         (i64.load (i32.const 16))",
    );
    let mut player = Player::new(&load(&bytes).unwrap());
    assert_eq!(player.call(&reward(1)), Ok(42));
    assert_eq!(player.call(&reward(2)), Err("out of bounds memory access".to_owned()));
}

#[test]
fn a_call_that_changes_a_table_is_refused_and_rolled_back() {
    let items = "(table $t 2 10 funcref) (elem declare func $f) (elem $e func $f) (func $f)
        (global $r (mut funcref) (ref.null func))";
    let cases = [
        ("table.set", "(table.set $t (i32.const 0) (ref.func $f))", None),
        ("table.grow", "(drop (table.grow $t (ref.func $f) (local.get 3)))", Some(0)),
        ("table.fill", "(table.fill $t (i32.const 0) (ref.func $f) (local.get 3))", Some(0)),
        ("table.copy", "(table.copy $t $t (i32.const 0) (i32.const 1) (local.get 3))", Some(0)),
        ("table.init", "(table.init $t $e (i32.const 0) (i32.const 0) (local.get 3))", Some(0)),
        ("global.set", "(global.set $r (ref.func $f))", None),
    ];
    for (instruction, body, harmless) in cases {
        // It counts first, so that there is something to roll back; from 100 on it misbehaves.
        let body = format!(
            "(i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
             (local.set 3 (i32.wrap_i64 (i64.sub (local.get 1) (i64.const 100))))
             (if (i32.ge_s (local.get 3) (i32.const 0)) (then {body}))
             (i64.load (i32.const 16))"
        );
        let mut player = Player::new(&load(&guest(items, &body)).unwrap());
        assert_eq!(player.call(&reward(1)), Ok(1), "{instruction}");
        if let Some(length) = harmless {
            assert_eq!(player.call(&reward(100 + length)), Ok(2), "{instruction} of nothing");
        }
        let count = player.call(&Operation::Points).unwrap();
        let message = player.call(&reward(101)).unwrap_err();
        assert!(message.starts_with(&format!("used `{instruction}`, which changes")), "{message}");
        player.restore();
        assert_eq!(player.call(&Operation::Points), Ok(count), "{instruction} is rolled back");
        assert_eq!(player.call(&reward(1)), Ok(count + 1));
    }
}

#[test]
fn an_element_segment_that_was_dropped_stays_so() {
    // A length of zero at the segment's end shows whether it still has one element.
    let bytes = guest(
        "(table $t 2 10 funcref) (elem $e func $f) (func $f)",
        "(if (i64.eq (local.get 1) (i64.const 2)) (then (elem.drop $e)) (else
            (table.init $t $e (i32.const 0) (i32.const 1) (i32.const 0))))
         (i64.const 7)",
    );
    let mut player = Player::new(&load(&bytes).unwrap());
    assert_eq!(player.call(&reward(1)), Ok(7));
    assert_eq!(player.call(&reward(2)), Ok(7));
    player.restore();
    assert_eq!(
        player.call(&reward(3)),
        Err("undefined element: out of bounds table access".to_owned())
    );
}

#[test]
fn a_table_that_is_changed_at_the_start_is_refused_by_name() {
    let bytes = guest(
        "(table $t 2 10 funcref) (elem declare func $f) (func $f) (start $s)
         (func $s (table.set $t (i32.const 0) (ref.func $f)))",
        "(i64.const 0)",
    );
    let refusal = load(&bytes).expect_err("no later instance would have it");
    let LoadError::Uncapturable(reason) = refusal else { panic!("another refusal: {refusal:?}") };
    assert!(reason.to_string().starts_with("its start uses `table.set`"), "{reason}");
}

#[test]
fn a_trap_of_the_guests_own_is_not_taken_for_a_refusal() {
    let bytes =
        guest("(global $n (mut i32) (i32.const 0))", "(global.set $n (i32.const 1)) unreachable");
    let mut player = Player::new(&load(&bytes).unwrap());
    assert_eq!(player.call(&reward(1)), Err("unreachable".to_owned()));
}

#[test]
fn a_function_with_locals_of_its_own_is_refused_like_any_other() {
    // The length is compared in a local that comes after all of them, whatever their groups.
    let bytes = guest(
        "(table $t 2 10 funcref) (elem $e func $f) (func $f)
         (func $g (param i64 f32) (result i64) (local i32 i32 f64 i64)
            (local.set 2 (i32.const 1)) (local.set 4 (f64.const 1)) (local.set 5 (i64.const 5))
            (table.init $t $e (i32.const 0) (i32.const 0) (i32.wrap_i64 (local.get 0)))
            (i64.add (local.get 5) (i64.extend_i32_u (local.get 2))))",
        "(call $g (local.get 1) (f32.const 1))",
    );
    let mut player = Player::new(&load(&bytes).unwrap());
    assert_eq!(player.call(&reward(0)), Ok(6));
    assert!(player.call(&reward(1)).unwrap_err().starts_with("used `table.init`"));
}

#[test]
fn a_module_that_is_made_hard_to_prove_is_noted_instead() {
    // 50,000 locals are copied at each of 5,000 branches, in each of 40 functions.
    let branches = "(block (br_if 0 (i32.const 0)))".repeat(5_000);
    let function = format!(
        "(func (param i32) (local {})
            (global.set $sp (local.tee 0 (i32.sub (global.get $sp) (i32.const 16))))
            {branches}
            (global.set $sp (i32.add (local.get 0) (i32.const 16))))",
        "i32 ".repeat(49_000)
    );
    let items = format!("(global $sp (mut i32) (i32.const 64)) {}", function.repeat(40));
    let code = world::component(&guest(&items, "(i64.const 0)")).unwrap();
    let screened = screen::capturable(&code).unwrap();
    assert_eq!(screened.modules[0].globals.keys().collect::<Vec<_>>(), [&0]);
}

#[test]
fn what_cannot_be_reached_is_looked_at_like_the_rest() {
    // Its `try_table` is dead code, whose `end` closes a block nevertheless.
    let items = "(global $g (mut i32) (i32.const 0))
        (func (param i32) global.get 0 global.set 0 block local.get 0 br_if 1 unreachable
            try_table end end br 0)";
    let code = world::component(&guest(items, "(i64.const 0)")).unwrap();
    let screened = screen::capturable(&code).unwrap();
    assert_eq!(screened.modules[0].globals.keys().collect::<Vec<_>>(), [&0]);
    // What catches could go on without what it skipped: it is off.
    let refusal = load(&guest(items, "(i64.const 0)")).expect_err("exceptions are off");
    assert!(matches!(refusal, LoadError::Invalid(_)), "{refusal:?}");
}

#[test]
fn blocks_within_blocks_that_are_made_to_fill_the_memory_are_not_followed() {
    let (depth, locals) = (19_000, "i32 ".repeat(49_000));
    let items = format!(
        "(global $sp (mut i32) (i32.const 64))
         (func (param i32) (local {locals})
            (global.set $sp (local.tee 0 (i32.sub (global.get $sp) (i32.const 16))))
            {} {}
            (global.set $sp (i32.add (local.get 0) (i32.const 16))))",
        "i32.const 1 if ".repeat(depth),
        "end ".repeat(depth),
    );
    let code = world::component(&guest(&items, "(i64.const 0)")).unwrap();
    let screened = screen::capturable(&code).unwrap();
    assert_eq!(screened.modules[0].globals.keys().collect::<Vec<_>>(), [&0]);
}
