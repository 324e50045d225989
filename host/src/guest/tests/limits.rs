//! What guests may take, and what they are told when they take more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::limits::{GUEST_MESSAGE_BYTES_MAX, TAKEN_BYTES_WHEN_FULL};
use crate::memory::Memories;

/// A guest that counts, and of which each reward writes so many bytes.
fn writing() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 16) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
            (memory.fill (i32.const 4096) (i32.load8_u (i32.const 16))
                (i32.wrap_i64 (local.get 1)))
            (i64.load (i32.const 16)))"#
    ))
}

/// An engine without a clock, which takes its process to have `used` bytes and may have `allowed`.
fn engine(used: u64, allowed: u64) -> Engine {
    let allowance = Allowance { process_bytes: allowed, ..Allowance::default() };
    let memories = Memories::detect(allowance.instance_bytes);
    let engine = Engine::with(memories, &allowance).unwrap();
    engine.usage().pretend(used);
    engine
}

#[test]
fn a_node_without_memory_refuses_calls_that_take_much_of_it_and_no_others() {
    let engine = engine(1000, 1000);
    let mut player = Player::new(&Code::load(&engine, &writing()).unwrap());
    let little = i64::try_from(TAKEN_BYTES_WHEN_FULL).unwrap() - 2000;
    assert_eq!(player.call(&reward(little)), Ok(1));
    let message = player.call(&reward(3 * little)).unwrap_err();
    assert!(message.starts_with("its node has no memory left for it: "), "{message}");
    player.restore();
    assert_eq!(player.call(&reward(2 * little)), Ok(2), "nothing of the refused call is kept");
    assert_eq!(player.call(&reward(2 * little)), Ok(3), "it changes much, and takes nothing");
    engine.usage().pretend(999);
    assert_eq!(player.call(&reward(3 * little)), Ok(4), "there is room");
}

#[test]
fn a_node_that_is_fuller_than_that_lets_nothing_grow() {
    let code = Code::load(&engine(1125, 1000), &writing()).unwrap();
    let mut player = Player::new(&code);
    let message = player.call(&reward(1)).unwrap_err();
    assert!(message.starts_with("its node has no memory left for it: "), "{message}");
    player.restore();
    assert_eq!(player.call(&Operation::Points), Ok(0), "it is there");
}

#[test]
fn pages_that_are_written_and_not_changed_are_taken_too() {
    // Two fills of 8 MiB, of which the second one undoes the first one.
    let bytes = single(&format!(
        r#"(memory (export "memory") 200) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (memory.fill (i32.const 65536) (i32.const 1) (i32.const 8388608))
            (memory.fill (i32.const 65536) (i32.const 0) (i32.const 8388608))
            (i64.const 7))"#
    ));
    let full = engine(1000, 1000);
    if !full.sees_pages() {
        return;
    }
    let message = Player::new(&Code::load(&full, &bytes).unwrap()).call(&reward(1)).unwrap_err();
    assert!(message.starts_with("its node has no memory left for it: "), "{message}");
    assert_eq!(Player::new(&load(&bytes).unwrap()).call(&reward(1)), Ok(7));
}

#[test]
fn a_node_without_memory_ends_a_call_that_goes_on_to_take_it() {
    let endless = single(&format!(
        r#"(memory (export "memory") 1) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64) (loop (br 0)) (i64.const 0))"#
    ));
    let told = |taken_each_tick: u64| {
        let engine = engine(1000, 1000);
        let mut player = Player::new(&Code::load(&engine, &endless).unwrap());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for tick in 0.. {
                    engine.usage().pretend(1000 + tick * taken_each_tick);
                    engine.tick();
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let message = player.call(&reward(1)).unwrap_err();
            done.store(true, Ordering::Relaxed);
            message
        })
    };
    let message = told(1024 * 1024);
    assert!(message.starts_with("its node has no memory left for it: "), "{message}");
    assert_eq!(told(0), "ran longer than 1000 ms", "it takes none");
}

#[test]
fn a_memory_grows_as_far_as_the_node_allows_and_what_it_had_elsewhere_stays() {
    let growing = single(&format!(
        r#"(memory (export "memory") 1) {COMMON}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.extend_i32_s (memory.grow (i32.wrap_i64 (local.get 1)))))"#
    ));
    let allowance =
        |pages: usize| Allowance { instance_bytes: pages * 65_536, ..Allowance::default() };
    let engine = |pages| Engine::new(&allowance(pages)).unwrap();
    let (large, small) = (engine(100), engine(50));
    let mut here = Player::new(&Code::load(&large, &growing).unwrap());
    assert_eq!((here.call(&reward(79)), here.call(&reward(21))), (Ok(1), Ok(-1)));
    let mut there = Player::new(&Code::load(&small, &growing).unwrap());
    assert_eq!((there.call(&reward(49)), there.call(&reward(1))), (Ok(1), Ok(-1)));
    // It comes from a node that allowed it more.
    there.snapshot = here.snapshot.clone();
    there.restore();
    assert_eq!(there.call(&reward(0)), Ok(80));
    assert_eq!(there.call(&reward(1)), Ok(-1), "but it does not get more here");
}

#[test]
fn a_message_of_any_length_costs_its_first_bytes() {
    // It logs all of its memory, which is 64 MiB of zeros and one letter.
    let core = format!(
        r#"(core module $memory (memory (export "memory") 1024) (data (i32.const 0) "x")
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $memory (instantiate $memory))
        (alias core export $memory "memory" (core memory $memory))
        (alias core export $memory "realloc" (core func $realloc))
        (core func $log (canon lower (func $log) (memory (core memory $memory))))
        (core module $m (import "host" "log" (func $log (param i32 i32 i32)))
            (func (export "reward") (param i32 i64 i32) (result i64)
                (call $log (i32.const 0) (i32.const 0) (i32.const {}))
                unreachable)
            (func (export "points") (result i64) (i64.const 0)))
        (core instance $host (export "log" (func $log)))
        (core instance $i (instantiate $m (with "host" (instance $host))))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#,
        1024 * 65_536
    );
    let mut player = Player::new(&load(&component(&core)).unwrap());
    let message = player.call(&reward(1)).unwrap_err();
    assert!(message.starts_with(r"x\u{0}\u{0}"), "{message}");
    assert!(message.len() <= GUEST_MESSAGE_BYTES_MAX);
}

#[test]
fn strings_that_the_host_would_have_to_decode_are_refused() {
    let core = |encoding: &str| {
        format!(
            r#"(core module $memory (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $memory))
            (alias core export $memory "realloc" (core func $realloc))
            (core func $log (canon lower (func $log) string-encoding={encoding}
                (memory (core memory $memory))))
            (core module $m (import "host" "log" (func $log (param i32 i32 i32)))
                (func (export "reward") (param i32 i64 i32) (result i64) (i64.const 0))
                (func (export "points") (result i64) (i64.const 0)))
            (core instance $host (export "log" (func $log)))
            (core instance $i (instantiate $m (with "host" (instance $host))))
            (alias core export $i "reward" (core func $reward))
            (alias core export $i "points" (core func $points))"#
        )
    };
    load(&component(&core("utf8"))).expect("the encoding that guests have");
    for encoding in ["utf16", "latin1+utf16"] {
        let refusal = load(&component(&core(encoding))).expect_err(encoding);
        assert!(matches!(refusal, LoadError::Encoding), "{refusal:?}");
    }
}
