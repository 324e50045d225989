//! Guests of all kinds, written out in the text format, and the built-in one.

mod built_in;
mod calls;
mod functions;
mod generated;
mod large;
mod limits;
mod migrating;
mod outside;
mod refused;
mod wasi;

use std::sync::Arc;

use super::{Allowance, CallOutcome, Code, Engine, Instance, LoadError};
use crate::protocol::{Operation, Term, Value};
use crate::snapshot::{Delta, Snapshot};

fn reward(points: i64) -> Operation {
    Operation::Reward(Term::Integer(points))
}

fn text(points: &str) -> Operation {
    Operation::Reward(Term::Text(points.into()))
}

/// The world around core instances: `core` defines them and aliases the core functions `$reward`
/// and `$points`, the memory `$memory` and `$realloc`. It may use the core function `$log`, which
/// needs a memory and therefore is lowered with `$log_memory`.
fn component(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "player:host/types@0.1.0" (instance $types
                (type $t (variant (case "integer" s64) (case "text" string)))
                (export "term" (type (eq $t)))
                (type $l (enum "error" "warn" "info" "debug"))
                (export "level" (type (eq $l)))))
            (alias export $types "term" (type $term))
            (alias export $types "level" (type $level))
            (import "log" (func $log (param "level" $level) (param "message" string)))
            {core}
            (func (export "reward") (param "points" $term) (result s64)
                (canon lift (core func $reward) (memory (core memory $memory)) (realloc (core func $realloc))))
            (func (export "points") (result s64) (canon lift (core func $points))))"#
    );
    wat::parse_str(text).unwrap()
}

/// A guest of one core module, which exports `reward`, `points`, `memory` and `realloc`.
fn single(module: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {module})
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (alias core export $i "reward" (core func $reward))
        (alias core export $i "points" (core func $points))"#
    ))
}

/// What most guests here have in common: a `realloc` that always gives out the same place, and
/// `points`, which reads the total at 16.
const COMMON: &str = r#"
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "points") (result i64) (i64.load (i32.const 16)))"#;

/// Adds the integer of a term to the total at 16.
const ADD: &str = r#"
    (func $add (param $kind i32) (param $integer i64) (result i64)
        (i64.store (i32.const 16)
            (i64.add (i64.load (i32.const 16)) (local.get $integer)))
        (i64.load (i32.const 16)))"#;

fn counter() -> Vec<u8> {
    single(&format!(
        r#"(memory (export "memory") 1) {COMMON} {ADD}
        (data (i32.const 65528) "tail")
        (func (export "reward") (param i32 i64 i32) (result i64)
            (call $add (local.get 0) (local.get 1)))"#
    ))
}

fn load(bytes: &[u8]) -> Result<Arc<Code>, LoadError> {
    Code::load(&Engine::new(&Allowance::default()).unwrap(), bytes)
}

/// A player as its owner sees it: an instance and the snapshot that its deltas add up to.
struct Player {
    code: Arc<Code>,
    instance: Instance,
    snapshot: Snapshot,
}

impl Player {
    fn new(code: &Arc<Code>) -> Self {
        let snapshot = code.initial();
        let instance = code.instantiate(&snapshot).unwrap();
        Self { code: code.clone(), instance, snapshot }
    }

    fn call(&mut self, operation: &Operation) -> Result<i64, String> {
        self.call_with_delta(operation).map(|(value, _)| value)
    }

    fn call_with_delta(&mut self, operation: &Operation) -> Result<(i64, Delta), String> {
        self.call_any(operation).map(|(value, delta)| (value.points().unwrap(), delta))
    }

    fn call_any(&mut self, operation: &Operation) -> Result<(Value, Delta), String> {
        match self.instance.call(operation, &self.snapshot) {
            CallOutcome::Returned { value, delta } => {
                self.snapshot.apply(&delta).unwrap();
                Ok((value, delta))
            }
            CallOutcome::Trapped { message } => Err(message),
            CallOutcome::Refused(misfit) => panic!("{misfit:?}"),
        }
    }

    /// Goes on in a new instance, as after a trap or on another node.
    fn restore(&mut self) {
        self.instance = self.code.instantiate(&self.snapshot).unwrap();
    }

    fn memories(&self) -> Vec<Vec<u8>> {
        self.instance.memories().map(<[u8]>::to_vec).collect()
    }
}
