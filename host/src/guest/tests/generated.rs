//! Modules that nobody wrote: whatever they do, a player of theirs goes on elsewhere as it would
//! have gone on here.
//!
//! `GENERATED_MODULES=10000 cargo test --release -p host generated` tries that many.
//! `GENERATED_FROM=1234` begins with that one, to look at it again.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;

use arbitrary::Unstructured;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, ValType, Validator, WasmFeatures};
use wasmtime::component::TypedFunc;

use super::super::bindings::{REWARD, TermArgument};
use super::super::instance::reason;
use super::super::journal::Journal;
use super::super::{code, world};
use super::*;
use crate::memory::Home;

/// Modules that every run of the tests tries.
const MODULES: u64 = 300;
/// Calls before a player goes on in two places, and after.
const PREFIX: i64 = 5;
const SUFFIX: i64 = 8;
/// Calls and rounds of loops that a module may have in all, after which each call of it traps.
const FUEL: u32 = 20_000;

/// Numbers of modules by how they went.
type Tally = BTreeMap<&'static str, u64>;

#[test]
fn what_generated_modules_do_goes_on_elsewhere() {
    let number = |name, otherwise| {
        env::var(name).ok().map_or(otherwise, |number| number.parse::<u64>().unwrap())
    };
    let (from, count) = (number("GENERATED_FROM", 0), number("GENERATED_MODULES", MODULES));
    let mut tally = Tally::new();
    for seed in from..from + count {
        let module = generated(seed);
        let component = surrounded(&module, seed % 2 == 0);
        goes_on(seed, &component, &mut tally);
    }
    eprintln!("{tally:?}");
    let of = |what| tally.get(what).copied().unwrap_or(0);
    if count >= MODULES {
        assert!(of("goes on") > count / 2, "{tally:?}");
        assert!(of("with ledgers") > count / 4 && of("calls refused") > 0, "{tally:?}");
        assert!(
            of("calls trapped") > 0 && of("calls that changed something") > count / 2,
            "{tally:?}"
        );
    }
}

fn goes_on(seed: u64, component: &[u8], tally: &mut Tally) {
    let engine = Engine::new(&Allowance::default()).unwrap();
    let mut count = |what| *tally.entry(what).or_default() += 1;
    let code = match Code::load(&engine, component) {
        Ok(code) => code,
        Err(LoadError::Start(_)) => return count("does not start"),
        Err(LoadError::Uncapturable(reason)) => {
            assert!(reason.to_string().starts_with("its start uses"), "{seed}: {reason}");
            return count("changes a table at its start");
        }
        Err(LoadError::Invalid(source)) => panic!("{seed}: {source}: {:?}", source.source()),
        Err(error) => panic!("{seed}: {error:?}"),
    };
    if code.has_ledgers() {
        count("with ledgers");
    }
    let mut stays = Player::new(&code);
    let mut as_written = AsWritten::new(&engine, component);
    for round in 0..PREFIX {
        let before = stays.snapshot.clone();
        let answer = stays.call(&reward(round));
        if let Some(written) = &mut as_written {
            let expected = written.reward(round);
            if answer.is_err() {
                // How deep the stack goes depends on how functions were compiled.
                let deep = |answer: &Result<i64, String>| *answer == Err("out of stack".to_owned());
                let alike = refused(&answer) || deep(&answer) || deep(&expected);
                let alike = alike || expected == answer;
                assert!(alike, "{seed}, round {round}: {expected:?} as written, {answer:?} here");
                as_written = None;
            } else {
                assert_eq!(expected, answer, "{seed}, round {round}: as it was written");
            }
        }
        match &answer {
            Ok(_) if stays.snapshot != before => count("calls that changed something"),
            Ok(_) => count("calls returned"),
            answer if refused(answer) => count("calls refused"),
            Err(_) => count("calls trapped"),
        }
        if answer.is_err() {
            stays.restore();
        }
    }
    let mut moves = Player::new(&code);
    moves.snapshot = stays.snapshot.clone();
    for round in PREFIX..PREFIX + SUFFIX {
        moves.restore();
        assert!(moves.memories() == stays.memories(), "{seed}, round {round}: restored otherwise");
        let (one, other) = (stays.call(&reward(round)), moves.call(&reward(round)));
        assert_eq!(one, other, "{seed}, round {round}");
        if one.is_err() {
            stays.restore();
        } else {
            assert!(stays.memories() == moves.memories(), "{seed}, round {round}: other memories");
            assert!(stays.snapshot == moves.snapshot, "{seed}, round {round}: other snapshots");
        }
    }
    count("goes on");
}

fn refused(answer: &Result<i64, String>) -> bool {
    matches!(answer, Err(message) if message.contains("which changes state outside"))
}

/// An instance of the component without ledgers and images, until its first trap.
struct AsWritten {
    home: Home<Journal>,
    reward: TypedFunc<(TermArgument<'static>,), (i64,)>,
}

impl AsWritten {
    fn new(engine: &Engine, component: &[u8]) -> Option<Self> {
        let component = code::compiled(engine, &world::component(component).unwrap()).unwrap();
        let (mut home, instance) =
            engine.memories().instantiate(engine.store(), &component, Vec::new());
        let reward = instance.unwrap().get_typed_func(home.context(), REWARD).unwrap();
        Some(Self { home, reward })
    }

    fn reward(&mut self, points: i64) -> Result<i64, String> {
        self.home.data_mut().begin();
        let mut store = self.home.context();
        store.set_epoch_deadline(1);
        let term = Term::Integer(points);
        let answer = self.reward.call(&mut store, ((&term).into(),));
        answer.map(|(value,)| value).map_err(|error| reason(&error))
    }
}

/// Returns a module that ends, whatever is called.
fn generated(seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut entropy = vec![0; 64 * 1024];
    rng.fill_bytes(&mut entropy);
    let config = wasm_smith::Config {
        export_everything: true,
        allow_start_export: rng.next_u32() % 4 == 0,
        // One that traps soon does little before.
        disallow_traps: rng.next_u32() % 4 != 0,
        max_imports: 0,
        min_funcs: 4,
        max_funcs: 10,
        max_instructions: 60,
        max_globals: 12,
        min_globals: 2,
        max_memories: 2,
        min_memories: 1,
        max_memory32_bytes: 8 * 65_536,
        max_tables: 2,
        max_table_elements: 100,
        min_data_segments: 1,
        max_data_segments: 5,
        max_element_segments: 5,
        bulk_memory_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&entropy)).unwrap();
    module.ensure_termination(FUEL).unwrap();
    module.to_bytes()
}

/// Returns a player that calls the module's functions in turn. Its globals are its own, or everybody
/// may set them.
fn surrounded(module: &[u8], has_private_globals: bool) -> Vec<u8> {
    let functions = functions(module);
    let text = wasmprinter::print_bytes(module).unwrap();
    let text = text.replacen("(module", "(core module $generated", 1);
    // References to what the host has are a feature that is off. Those to functions are not.
    let text = text.replace("externref", "funcref").replace("null extern", "null func");
    let is_export_of_a_global = |line: &&str| {
        has_private_globals && line.contains("(export \"") && line.contains("(global ")
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_export_of_a_global(line)).collect();
    let text = lines.join("\n");
    let mut imports = String::new();
    for (at, (name, ty)) in functions.iter().enumerate() {
        let name: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let list = |types: &[ValType]| {
            let list = types.iter().fold(String::new(), |list, ty| format!("{list} {ty}"));
            list.replace("externref", "funcref")
        };
        let (params, results) = (list(ty.params()), list(ty.results()));
        write!(imports, r#"(import "g" "{name}" (func $f{at} (param{params}) (result{results})))"#)
            .unwrap();
    }
    // Each call begins with another function, and calls two.
    let count = functions.len();
    let calls = (0..count).map(|at| {
        format!(
            "(func $c{at} (param i64) (result i64) (local $acc i64) (local $v v128) {})",
            call(at, &functions[at].1)
        )
    });
    let calls: String = calls.collect();
    let numbers: String = (0..count).map(|at| format!(" $c{at}")).collect();
    let body = format!(
        r#"(core instance $g (instantiate $generated))
        (core module $m {imports} (memory (export "memory") 1) {calls}
            (table funcref (elem{numbers}))
            (type $call (func (param i64) (result i64)))
            (func $one (param i64) (result i64)
                (call_indirect (type $call) (local.get 0)
                    (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.const {count})))))
            (func (export "reward") (param i32 i64 i32) (result i64)
                (i64.add (call $one (local.get 1))
                    (call $one (i64.add (i64.mul (local.get 1) (i64.const 7)) (i64.const 3)))))
            (func (export "points") (result i64) (i64.const 0))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $i (instantiate $m (with "g" (instance $g))))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#
    );
    component(&format!("{text} {body}"))
}

/// Returns the functions that a module exports, with their types.
fn functions(module: &[u8]) -> Vec<(String, FuncType)> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let types = validator.validate_all(module).unwrap();
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ExportSection(exports) = payload.unwrap() else { continue };
        for export in exports {
            let export = export.unwrap();
            if export.kind == ExternalKind::Func {
                let ty = types.as_ref().core_function_at(export.index);
                let ty = types.as_ref().get(ty).unwrap().unwrap_func().clone();
                functions.push((export.name.to_owned(), ty));
            }
        }
    }
    functions
}

/// A call with arguments made of local 0, whose results are mixed into one number.
fn call(at: usize, ty: &FuncType) -> String {
    let mut text = String::new();
    for (place, param) in ty.params().iter().enumerate() {
        let number = format!("local.get 0 i64.const {} i64.mul", 2 * place + 1);
        let argument = match param {
            ValType::I32 => format!("{number} i32.wrap_i64"),
            ValType::I64 => number,
            ValType::F32 => format!("{number} f32.convert_i64_s"),
            ValType::F64 => format!("{number} f64.convert_i64_s"),
            ValType::V128 => format!("{number} i64x2.splat"),
            ValType::Ref(_) => "ref.null func".to_owned(),
        };
        write!(text, " {argument}").unwrap();
    }
    write!(text, " call $f{at}").unwrap();
    for result in ty.results().iter().rev() {
        let number = match result {
            ValType::I32 => "i64.extend_i32_u",
            ValType::I64 => "",
            ValType::F32 => "i32.reinterpret_f32 i64.extend_i32_u",
            ValType::F64 => "i64.reinterpret_f64",
            ValType::V128 => {
                "local.tee $v i64x2.extract_lane 0 local.get $v i64x2.extract_lane 1 i64.add"
            }
            ValType::Ref(_) => "ref.is_null i64.extend_i32_u",
        };
        write!(text, " {number} local.get $acc i64.const 7 i64.rotl i64.xor local.set $acc")
            .unwrap();
    }
    text + " local.get $acc"
}
