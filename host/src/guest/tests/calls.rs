//! Calls, traps, growth and restoring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::{Engine, built_in};
use super::*;
use crate::limits::{GUEST_MEMORY_BYTES, GUEST_MEMORY_BYTES_MAX, SNAPSHOT_BYTES_MAX};
use crate::memory::Memories;

#[test]
fn a_counter_continues_elsewhere_byte_for_byte() {
    let mut here = Player::new(&load(&counter()).unwrap());
    assert_eq!(here.call(&reward(5)), Ok(5));
    assert_eq!(here.call(&reward(-7)), Ok(-2));
    // Another engine, as on another machine.
    let mut there = Player::new(&load(&counter()).unwrap());
    there.snapshot = here.snapshot.clone();
    there.restore();
    assert_eq!(there.memories(), here.memories());
    assert_eq!(there.call(&Operation::Points), Ok(-2));
    assert_eq!(there.call(&reward(1)), here.call(&reward(1)));
    assert_eq!(there.memories(), here.memories());
}

#[test]
fn a_delta_has_the_changed_bytes_and_a_read_has_none() {
    let mut player = Player::new(&load(&counter()).unwrap());
    let (_, delta) = player.call_with_delta(&reward(5)).unwrap();
    assert_eq!(delta.memories[0].runs.len(), 1);
    assert_eq!((delta.memories[0].runs[0].offset, delta.changed_bytes()), (16, 1));
    assert_eq!(player.call_with_delta(&Operation::Points), Ok((5, Delta::default())));
    assert_eq!(player.call_with_delta(&reward(0)), Ok((5, Delta::default())));
}

#[test]
fn the_comparing_tracker_gives_the_same_deltas() {
    let memories = Memories::comparing(GUEST_MEMORY_BYTES);
    let comparing = Engine::with(memories, &Allowance::default()).unwrap();
    assert!(comparing.tracker().starts_with("whole-memory compare"));
    let bytes = counter();
    let mut one = Player::new(&Code::load(&comparing, &bytes).unwrap());
    let mut other = Player::new(&load(&bytes).unwrap());
    for points in [1, 255, 65_535, 0, -1, i64::MAX] {
        let (one, other) = (&mut one, &mut other);
        assert_eq!(one.call_with_delta(&reward(points)), other.call_with_delta(&reward(points)));
    }
}

/// Grows by one page with each reward and answers `memory.size`, in pages.
fn growing() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 1 40) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
                (then (i64.store
                    (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8))
                    (local.get 1))))
            (i64.store (i32.const 16) (i64.extend_i32_u (memory.size)))
            (i64.load (i32.const 16)))"#
    ))
}

#[test]
fn a_grown_memory_is_restored_with_its_length() {
    let code = load(&growing()).unwrap();
    let mut player = Player::new(&code);
    assert_eq!(player.call(&reward(7)), Ok(2));
    assert_eq!(player.call(&reward(8)), Ok(3));
    let before = player.memories();
    assert_eq!(before[0].len(), 3 * 65_536);
    player.restore();
    assert_eq!(player.memories(), before);
    assert_eq!(player.call(&reward(9)), Ok(4), "the guest sees the length that it had");
    for pages in 5..=40 {
        assert_eq!(player.call(&reward(1)), Ok(pages));
        player.restore();
    }
    assert_eq!(player.call(&reward(1)), Ok(40), "no growth beyond the declared maximum");
}

#[test]
fn a_growth_without_a_write_is_a_change() {
    let code = load(&single(&format!(
        r#"(memory (export "memory") 1) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.extend_i32_s (memory.grow (i32.wrap_i64 (local.get 1)))))"#
    )));
    let mut player = Player::new(&code.unwrap());
    let (before, delta) = player.call_with_delta(&reward(1)).unwrap();
    assert_eq!((before, delta.changed_bytes(), delta.memories[0].len), (1, 0, 2 * 65_536));
    let pages_max = i64::try_from(GUEST_MEMORY_BYTES / 65_536).unwrap();
    assert_eq!(player.call(&reward(pages_max)), Ok(-1), "beyond the limit of a guest");
    assert_eq!(player.call(&reward(pages_max - 2)), Ok(2));
    player.restore();
    assert_eq!(player.call(&reward(1)), Ok(-1), "a restored memory counts against the limit");
}

#[test]
fn a_start_function_that_grows_the_memory_does_so_before_a_restored_growth() {
    let code = load(&single(&format!(
        r#"(memory (export "memory") 1) {COMMON}
        (func $start
            (drop (memory.grow (i32.const 2)))
            (i64.store (i32.const 16) (i64.extend_i32_u (memory.size))))
        (start $start)
        (func (export "reward") (param i32 i64 i32) (result i64)
            (drop (memory.grow (i32.const 1)))
            (i64.extend_i32_u (memory.size)))"#
    )))
    .unwrap();
    let mut player = Player::new(&code);
    assert_eq!(player.call(&reward(1)), Ok(4));
    player.restore();
    assert_eq!(player.call(&Operation::Points), Ok(3), "the start function saw a longer memory");
    assert_eq!(player.call(&reward(1)), Ok(5));
}

#[test]
fn two_memories_of_two_core_instances_are_both_kept() {
    let module =
        format!(r#"(memory (export "memory") 1) {COMMON} {ADD} (export "add" (func $add))"#);
    let code = load(&component(&format!(
        r#"(core module $m {module})
        (core instance $a (instantiate $m))
        (core instance $b (instantiate $m))
        (core module $both
            (import "a" "add" (func $a (param i32 i64) (result i64)))
            (import "b" "add" (func $b (param i32 i64) (result i64)))
            (func (export "reward") (param i32 i64 i32) (result i64)
                (i64.add
                    (call $a (local.get 0) (local.get 1))
                    (i64.mul (i64.const 1000) (call $b (local.get 0) (i64.const 1))))))
        (core instance $i (instantiate $both (with "a" (instance $a)) (with "b" (instance $b))))
        (alias core export $a "memory" (core memory $memory))
        (alias core export $a "realloc" (core func $realloc))
        (alias core export $b "points" (core func $points))
        (alias core export $i "reward" (core func $reward))"#
    )))
    .unwrap();
    let mut player = Player::new(&code);
    assert_eq!(player.snapshot.memories.len(), 2);
    assert_eq!(player.call(&reward(5)), Ok(1005));
    player.restore();
    assert_eq!(player.call(&reward(5)), Ok(2010));
    assert_eq!(player.call(&Operation::Points), Ok(2));
}

/// Loops for ever if rewarded with a text; otherwise counts.
fn looping() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 1) {COMMON} {ADD}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (if (local.get 0) (then (loop (br 0))))
            (call $add (local.get 0) (local.get 1)))"#
    ))
}

#[test]
fn an_endless_loop_is_ended_each_time() {
    let engine = Engine::new(&Allowance::default()).unwrap();
    let mut player = Player::new(&Code::load(&engine, &looping()).unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.tick();
            }
        });
        for total in 1..=2 {
            assert_eq!(player.call(&text("a")), Err("ran longer than 1000 ms".into()));
            player.restore();
            // Time goes by far too fast here for a call to end in it, so none is made.
            assert_eq!(player.memories()[0][16], 0, "round {total}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(player.call(&reward(3)), Ok(3));
}

#[test]
fn whoever_waits_for_the_task_of_a_long_call_is_told() {
    let engine = Engine::new(&Allowance::default()).unwrap();
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    engine.when_calls_are_long(move || tell.store(true, Ordering::Relaxed));
    let mut player = Player::new(&Code::load(&engine, &looping()).unwrap());
    assert_eq!(player.call(&reward(3)), Ok(3));
    assert!(!told.load(Ordering::Relaxed), "it was short");
    player.call(&text("a")).unwrap_err();
    assert!(told.load(Ordering::Relaxed));
}

#[test]
fn a_call_has_its_full_time_however_long_the_instance_rested() {
    let engine = Engine::new(&Allowance::default()).unwrap();
    let mut player = Player::new(&Code::load(&engine, &looping()).unwrap());
    for total in 1..=3 {
        (0..1000).for_each(|_| engine.tick());
        assert_eq!(player.call(&reward(1)), Ok(total));
    }
}

#[test]
fn a_trap_is_told_in_plain_words() {
    let trapping = |body: &str| {
        let code = load(&single(&format!(
            r#"(memory (export "memory") 1) {COMMON}
            (func $deep (param i64) (result i64)
                (i64.add (call $deep (local.get 0)) (i64.const 1)))
            (func (export "reward") (param i32 i64 i32) (result i64) {body})"#
        )));
        Player::new(&code.unwrap()).call(&reward(0)).unwrap_err()
    };
    assert_eq!(trapping("unreachable"), "unreachable");
    assert_eq!(trapping("(i64.div_s (i64.const 1) (local.get 1))"), "integer divide by zero");
    assert_eq!(trapping("(i64.load (i32.const -1))"), "out of bounds memory access");
    assert_eq!(trapping("(call $deep (local.get 1))"), "out of stack");
}

/// Logs at a level (the reward) the text "last words", then traps.
fn talking() -> Vec<u8> {
    component(
        r#"(core module $memory_module
            (memory (export "memory") 1)
            (data (i32.const 64) "last\nwords")
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $own (instantiate $memory_module))
        (alias core export $own "memory" (core memory $memory))
        (alias core export $own "realloc" (core func $realloc))
        (core func $lowered (canon lower (func $log) (memory (core memory $memory))))
        (core module $m
            (import "host" "log" (func $log (param i32 i32 i32)))
            (func (export "reward") (param i32 i64 i32) (result i64)
                (call $log (i32.wrap_i64 (local.get 1)) (i32.const 64) (i32.const 10))
                unreachable)
            (func (export "points") (result i64)
                (call $log (i32.const 0) (i32.const 64) (i32.const 10))
                (i64.const 0)))
        (core instance $i (instantiate $m
            (with "host" (instance (export "log" (func $lowered))))))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#,
    )
}

#[test]
fn the_guests_own_last_error_is_the_message_of_its_trap() {
    let code = load(&talking()).unwrap();
    let mut player = Player::new(&code);
    assert_eq!(player.call(&reward(0)), Err("last\\nwords".into()));
    player.restore();
    assert_eq!(player.call(&reward(1)), Err("unreachable".into()), "a warning is no cause");
}

#[test]
fn an_error_of_an_earlier_call_is_not_the_cause_of_a_later_trap() {
    let mut player = Player::new(&load(&talking()).unwrap());
    assert_eq!(player.call(&Operation::Points), Ok(0));
    assert_eq!(player.call(&reward(2)), Err("unreachable".into()));
}

#[test]
fn an_instance_that_trapped_is_not_entered_again() {
    let mut player = Player::new(&load(&looping()).unwrap());
    let trapped = single(&format!(
        r#"(memory (export "memory") 1) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64) unreachable)"#
    ));
    let mut dead = Player::new(&load(&trapped).unwrap());
    assert!(dead.call(&reward(1)).is_err());
    assert!(dead.call(&Operation::Points).is_err());
    assert_eq!(player.call(&Operation::Points), Ok(0), "another instance is not concerned");
}

/// Fills as many MiB of its memory as it is rewarded with, and counts how often.
fn filling() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 1280) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
            (memory.fill (i32.const 4096) (i32.load (i32.const 16))
                (i32.mul (i32.wrap_i64 (local.get 1)) (i32.const 0x100000)))
            (i64.load (i32.const 16)))"#
    ))
}

#[test]
fn a_call_that_leaves_more_than_a_snapshot_may_have_traps_and_says_so() {
    let mut player = Player::new(&load(&filling()).unwrap());
    assert_eq!(player.call(&reward(63)), Ok(1));
    let message = player.call(&reward(65)).unwrap_err();
    assert!(message.contains("64 MiB that differ from its initial image"), "{message}");
    player.restore();
    // What it has written to already it may write to again.
    let (value, delta) = player.call_with_delta(&reward(63)).unwrap();
    assert_eq!((value, delta.changed_bytes()), (2, 1 + 63 * 1024 * 1024));
    let wire = postcard::to_stdvec(&player.snapshot).unwrap().len();
    assert!(wire <= SNAPSHOT_BYTES_MAX, "{wire} bytes");
}

#[test]
fn a_snapshot_of_other_code_is_refused() {
    let code = load(&counter()).unwrap();
    for lens in [vec![], vec![65_536, 65_536], vec![0], vec![65_537], vec![1 << 40]] {
        let snapshot = Snapshot::initial(lens.clone());
        assert!(code.instantiate(&snapshot).is_err(), "{lens:?}");
    }
    let beyond = GUEST_MEMORY_BYTES_MAX as u64 + 65_536;
    assert!(code.instantiate(&Snapshot::initial([beyond])).is_err());
    let two = load(&single(&format!(
        "{COMMON} (memory (export \"memory\") 1) (memory 1)
        (func (export \"reward\") (param i32 i64 i32) (result i64) (i64.const 0))"
    )));
    let both = Snapshot::initial([GUEST_MEMORY_BYTES_MAX as u64, 65_536]);
    assert!(two.unwrap().instantiate(&both).is_err(), "together they are too long");
    // Another node may have allowed it more.
    let largest = GUEST_MEMORY_BYTES_MAX as u64;
    assert!(code.instantiate(&Snapshot::initial([largest])).is_ok());
}

#[test]
fn a_core_module_that_carries_its_component_type_is_encoded() {
    let module = format!(
        r#"(module (memory (export "memory") 1) {COMMON} {ADD}
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "player:host/migrate@0.1.0#save") (result i32) (i32.const 64))
        (func (export "player:host/migrate@0.1.0#load") (param i32 i32) (result i32) (i32.const 64))
        (func (export "reward") (param i32 i64 i32) (result i64)
            (call $add (local.get 0) (local.get 1))))"#
    );
    let mut module = wat::parse_str(module).unwrap();
    // The world is taken from the built-in player, which was made with the contract.
    let decoded = wit_component::decode(built_in()).unwrap();
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        panic!("the built-in player is a component")
    };
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    let code = load(&module).unwrap();
    assert_eq!(Player::new(&code).call(&reward(5)), Ok(5));
    assert_eq!(code.bytes(), module, "the file is kept as it was given");
}
