//! The initial image: what is in it, that it is shared, and what a large one costs.

use wasmparser::{Parser, Payload};
use wasmtime::component::TypedFunc;

use super::super::bindings::{REWARD, TermArgument};
use super::super::journal::Journal;
use super::super::{Engine, RestoreError, code, strip, world};
use super::*;
use crate::clock;
use crate::limits::GUEST_MEMORY_BYTES_MAX;
use crate::memory::Home;

/// An instance that was started as the component says, without an image.
struct Started {
    home: Home<Journal>,
    reward: TypedFunc<(TermArgument<'static>,), (i64,)>,
}

impl Started {
    fn new(bytes: &[u8]) -> Self {
        let engine = Engine::new(&Allowance::default()).unwrap();
        let component = code::compiled(&engine, &world::component(bytes).unwrap()).unwrap();
        let (mut home, instance) =
            engine.memories().instantiate(engine.store(), &component, Vec::new());
        let reward = instance.unwrap().get_typed_func(home.context(), REWARD).unwrap();
        Self { home, reward }
    }

    fn reward(&mut self, points: i64) -> i64 {
        let mut store = self.home.context();
        store.set_epoch_deadline(u64::MAX / 2);
        let term = Term::Integer(points);
        self.reward.call(&mut store, ((&term).into(),)).unwrap().0
    }

    fn memories(&self) -> Vec<&[u8]> {
        (0..self.home.memories()).map(|memory| self.home.bytes(memory)).collect()
    }
}

/// Its start function grows the memory and fills the new page, through a table and with a stack
/// pointer, after a data segment was copied to the first one.
fn self_made() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 1 5) {COMMON} {ADD}
        (data (i32.const 16) "\07") (data $later "later") (data (i32.const 65530) "tail")
        (global $sp (mut i32) (i32.const 4096))
        (table 2 funcref) (elem (i32.const 1) $fill)
        (func $fill
            (local $fp i32)
            (global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 16))))
            (i32.store (local.get $fp) (i32.const 42))
            (drop (memory.grow (i32.const 2)))
            (memory.fill (i32.const 65536) (i32.const 9) (i32.const 65536))
            (global.set $sp (i32.add (local.get $fp) (i32.const 16))))
        (func $start (call_indirect (i32.const 1)))
        (start $start)
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.store (i32.const 32) (i64.extend_i32_u (global.get $sp)))
            (i64.store (i32.const 40) (i64.extend_i32_u (memory.grow (i32.const 1))))
            (call $add (local.get 0) (local.get 1)))"#
    ))
}

/// Two instances of one module that have a memory each, one whose data segment and start function
/// write to another's memory, and one in a component within the component, which logs at its start.
fn composed() -> Vec<u8> {
    component(&format!(
        r#"(core module $m
            (memory (export "memory") 1 3) {COMMON} {ADD} (export "add" (func $add))
            (data (i32.const 64) "last\nwords")
            (func $start (i64.store (i32.const 16)
                (i64.add (i64.load (i32.const 16)) (i64.const 3))))
            (start $start))
        (core instance $a (instantiate $m))
        (core instance $b (instantiate $m))
        (alias core export $b "memory" (core memory $log_memory))
        (core func $log (canon lower (func $log) (memory (core memory $log_memory))))
        (component $inner
            (core module $n
                (memory (export "memory") 1) (data (i32.const 8) "inner")
                (func $start (i32.store (i32.const 0) (memory.size)))
                (start $start))
            (core instance (instantiate $n)))
        (instance (instantiate $inner))
        (core module $both
            (import "a" "memory" (memory 1))
            (import "a" "add" (func $a (param i32 i64) (result i64)))
            (import "b" "add" (func $b (param i32 i64) (result i64)))
            (import "host" "log" (func $log (param i32 i32 i32)))
            (data (i32.const 200) "from outside")
            (func $start
                (drop (call $b (i32.const 0) (i64.const 20)))
                (call $log (i32.const 0) (i32.const 64) (i32.const 10))
                (drop (memory.grow (i32.const 1)))
                (memory.fill (i32.const 65536) (i32.const 5) (i32.const 10)))
            (start $start)
            (func (export "reward") (param i32 i64 i32) (result i64)
                (i64.add
                    (call $a (local.get 0) (local.get 1))
                    (i64.mul (i64.const 1000) (call $b (local.get 0) (i64.const 1))))))
        (core instance $i (instantiate $both
            (with "a" (instance $a)) (with "b" (instance $b))
            (with "host" (instance (export "log" (func $log))))))
        (alias core export $a "memory" (core memory $memory))
        (alias core export $a "realloc" (core func $realloc))
        (alias core export $b "points" (core func $points))
        (alias core export $i "reward" (core func $reward))"#
    ))
}

/// Its start calls two functions by their numbers, and none of those that are called later.
fn stepwise() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 1) {COMMON} {ADD}
        (func $second (i64.store (i32.const 24) (i64.const 6)))
        (func $first (call $second) (i64.store (i32.const 32) (i64.load (i32.const 24))))
        (func $start (call $first) (memory.fill (i32.const 64) (i32.const 1) (i32.const 8)))
        (start $start)
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.store (i32.const 40) (i64.load (i32.const 32)))
            (call $add (local.get 0) (local.get 1)))"#
    ))
}

#[test]
fn an_instance_from_the_image_is_the_one_that_would_have_started() {
    for bytes in [super::super::built_in().to_vec(), counter(), self_made(), composed(), stepwise()]
    {
        let mut started = Started::new(&bytes);
        let mut player = Player::new(&load(&bytes).unwrap());
        assert!(started.memories() == player.memories(), "after the start");
        for points in [5, -7, i64::MAX, 1] {
            assert_eq!(player.call(&reward(points)), Ok(started.reward(points)));
            assert!(started.memories() == player.memories(), "after {points}");
            player.restore();
            assert!(started.memories() == player.memories(), "restored after {points}");
        }
    }
}

#[test]
fn what_is_started_has_only_the_functions_that_a_start_calls() {
    let lens = |component: &[u8]| -> Vec<usize> {
        let payloads = Parser::new(0).parse_all(component).map(Result::unwrap);
        let bodies = payloads.filter_map(|payload| match payload {
            Payload::CodeSectionEntry(body) => Some(body.as_bytes().len()),
            _ => None,
        });
        bodies.collect()
    };
    let (all, kept) = (stepwise(), strip::calls_of(&stepwise()).unwrap());
    // `realloc`, `points`, `add`, the three of the start, `reward`.
    let (all, kept) = (lens(&all), lens(&kept));
    assert_eq!(kept[3..6], all[3..6]);
    let trap = 3;
    assert_eq!([&kept[..3], &kept[6..]].concat(), [trap; 4]);
}

#[test]
fn only_a_first_start_logs() {
    let mut started = Started::new(&composed());
    assert_eq!(started.home.data_mut().take_last_error().as_deref(), Some("last\\nwords"));
    let code = load(&composed()).unwrap();
    let (mut home, _) = code.begin([2, 1, 1].map(|pages| pages * 65_536)).unwrap();
    assert_eq!(home.data_mut().take_last_error(), None);
}

#[test]
fn nothing_that_writes_at_the_start_is_left() {
    use wasmparser::{DataKind, Parser, Payload, Validator, WasmFeatures};

    for bytes in [super::super::built_in().to_vec(), counter(), self_made(), composed()] {
        let stripped = strip::start_of(&bytes).unwrap();
        Validator::new_with_features(WasmFeatures::all()).validate_all(&stripped).unwrap();
        let mut segments = 0;
        for payload in Parser::new(0).parse_all(&stripped) {
            match payload.unwrap() {
                Payload::StartSection { .. } => panic!("a start function"),
                Payload::DataSection(section) => {
                    for segment in section {
                        let segment = segment.unwrap();
                        assert!(matches!(segment.kind, DataKind::Passive));
                        assert!(segment.data.is_empty() || segment.data == b"later");
                        segments += 1;
                    }
                }
                _ => {}
            }
        }
        assert!(segments > 0, "segments keep their numbers");
        assert!(strip::start_of(&stripped).unwrap() == stripped);
    }
}

#[test]
fn code_without_anything_to_take_away_stays_as_it_is() {
    let bytes = single(&format!(
        r#"(memory (export "memory") 1) {COMMON} {ADD}
        (func (export "reward") (param i32 i64 i32) (result i64)
            (call $add (local.get 0) (local.get 1)))"#
    ));
    assert!(strip::start_of(&bytes).unwrap() == bytes);
}

/// Has an image of so many MiB, and fills as many MiB of its memory as it is rewarded with.
fn large(image_mib: usize, memory_mib: usize) -> Vec<u8> {
    let (pages, written) = (memory_mib * 16, image_mib * 1024 * 1024);
    single(&format!(
        r#"(memory (export "memory") {pages}) {COMMON}
        (func $start (memory.fill (i32.const 0) (i32.const 7) (i32.const {written})))
        (start $start)
        (func (export "reward") (param i32 i64 i32) (result i64)
            (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
            (memory.fill (i32.const 4096) (i32.wrap_i64 (i64.load (i32.const 16)))
                (i32.mul (i32.wrap_i64 (local.get 1)) (i32.const 0x100000)))
            (if (local.get 0) (then unreachable))
            (i64.load (i32.const 16)))"#
    ))
}

/// Returns how much longer `work` takes with one than with the other, at best.
fn times_as_long<T>([one, other]: [&mut T; 2], mut work: impl FnMut(&mut T)) -> f64 {
    let mut fastest = [f64::INFINITY; 2];
    for _ in 0..50 {
        for (player, fastest) in [&mut *one, &mut *other].into_iter().zip(&mut fastest) {
            let before = clock::now();
            work(player);
            *fastest = fastest.min(clock::now().duration_since(before).as_secs_f64());
        }
    }
    fastest[0] / fastest[1]
}

#[test]
fn a_large_guest_does_not_pay_for_its_size() {
    let players = [(200, 256), (1, 1)].map(|(image, memory)| load(&large(image, memory)).unwrap());
    let [mut one, mut other] = players.map(|code| Player::new(&code));
    if !Engine::new(&Allowance::default()).unwrap().tracker().starts_with("PAGEMAP_SCAN") {
        // To compare the whole memory is the price of an older system.
        return;
    }
    // To copy or to compare 200 MiB would take thousands of times as long, and to walk tables of all
    // its pages more than twenty times.
    let restored = times_as_long([&mut one, &mut other], Player::restore);
    assert!(restored < 8.0, "a restore takes {restored} times as long");
    let called = times_as_long([&mut one, &mut other], |player| {
        player.call(&reward(0)).unwrap();
    });
    assert!(called < 8.0, "a call takes {called} times as long");
}

#[test]
fn a_snapshot_that_does_not_fit_its_code_is_told_so_and_is_not_the_machines_fault() {
    let code = load(&composed()).unwrap();
    let lens: Vec<u64> = code.initial().memories.iter().map(|memory| memory.len()).collect();
    let failed = |lens: &[u64]| {
        let error = code.instantiate(&Snapshot::initial(lens.iter().copied())).unwrap_err();
        assert!(error.is_of_snapshot(), "{error}");
        error
    };
    // Another version of the host may have noted in a ledger what this one proves to need none.
    let fewer = code.instantiate(&Snapshot::initial(lens[1..].iter().copied())).unwrap_err();
    assert!(matches!(fewer, RestoreError::Memories { .. }) && !fewer.is_of_snapshot());
    let odd = [lens[0] + 1, lens[1], lens[2]];
    assert!(matches!(failed(&odd), RestoreError::Length { memory: 0, .. }));
    let beyond_its_maximum = [4 * 65_536, lens[1], lens[2]];
    assert!(matches!(failed(&beyond_its_maximum), RestoreError::Start(_)));
    let beyond_all = [lens[0], lens[1], GUEST_MEMORY_BYTES_MAX as u64 + 65_536];
    assert!(matches!(failed(&beyond_all), RestoreError::Length { memory: 2, .. }));
}
