//! What one call costs in the processes that it crosses, without networks and disks:
//! `cargo bench --bench call`.
//! `host bench` measures the whole.
//!
//! The guests: the built-in one, which has 17 pages of memory; `image_16`, whose initial image has
//! 16 MiB, all of them written; `image_250`, whose memory has 256 MiB, of which 250 are written
//! before its first call.

use std::fmt;
use std::sync::{Arc, OnceLock};

use divan::{Bencher, black_box, black_box_drop};
use host::guest::{Allowance, CallOutcome, Code, Engine, Instance, built_in};
use host::protocol::{
    Append, CallKey, CopyId, Effect, Generation, Incarnation, KeeperRequest, NodeId, Operation,
    Record, Request, Seq, Term, Writer,
};
use host::snapshot::{Delta, Snapshot};

fn main() {
    divan::main();
}

/// Whose calls are measured.
const GUESTS: [Guest; 3] = [Guest::BuiltIn, Guest::Large(16), Guest::Large(250)];

/// A player's code.
#[derive(Debug, Clone, Copy)]
enum Guest {
    BuiltIn,
    /// Writes so many MiB before its first call, and the total in the last page of them at each.
    Large(usize),
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built_in"),
            Self::Large(mib) => write!(f, "image_{mib}"),
        }
    }
}

impl Guest {
    /// Returns the code, which is loaded once however many measurements use it.
    fn code(self) -> Arc<Code> {
        static LOADED: [OnceLock<Arc<Code>>; GUESTS.len()] = [const { OnceLock::new() }; 3];
        let number = match self {
            Self::BuiltIn => 0,
            Self::Large(16) => 1,
            Self::Large(_) => 2,
        };
        let load = || {
            let engine = Engine::new(&Allowance::default()).expect("this system runs guests");
            let component = match self {
                Self::BuiltIn => built_in().to_vec(),
                Self::Large(mib) => large(mib),
            };
            Code::load(&engine, &component).expect("the guest is sound")
        };
        LOADED[number].get_or_init(load).clone()
    }
}

/// Adds up rewards, and traps if it is rewarded with a text.
fn large(mib: usize) -> Vec<u8> {
    let (pages, written) = (mib * 16 + 96, mib * 1024 * 1024);
    let total = written - 2048;
    let text = format!(
        r#"(component
            (import "player:host/types@0.1.0" (instance $types
                (type $t (variant (case "integer" s64) (case "text" string)))
                (export "term" (type (eq $t)))))
            (alias export $types "term" (type $term))
            (core module $m
                (memory (export "memory") {pages})
                (func $start
                    (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const {written}))
                    (i64.store (i32.const {total}) (i64.const 0)))
                (start $start)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "points") (result i64) (i64.load (i32.const {total})))
                (func (export "reward") (param i32 i64 i32) (result i64)
                    (if (local.get 0) (then unreachable))
                    (i64.store (i32.const {total})
                        (i64.add (i64.load (i32.const {total})) (local.get 1)))
                    (i64.load (i32.const {total}))))
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (alias core export $i "realloc" (core func $realloc))
            (alias core export $i "reward" (core func $reward))
            (alias core export $i "points" (core func $points))
            (func (export "reward") (param "points" $term) (result s64)
                (canon lift (core func $reward)
                    (memory (core memory $memory))
                    (realloc (core func $realloc))))
            (func (export "points") (result s64) (canon lift (core func $points))))"#
    );
    wat::parse_str(text).expect("the guest is valid WAT")
}

/// A player as its owner has it.
struct Player {
    code: Arc<Code>,
    instance: Instance,
    snapshot: Snapshot,
}

impl Player {
    /// Begins a player that was rewarded once.
    fn begin(guest: Guest) -> Self {
        let code = guest.code();
        let snapshot = code.initial();
        let instance = code.instantiate(&snapshot).expect("it starts");
        let mut player = Self { code, instance, snapshot };
        player.call(&reward());
        player
    }

    /// Executes a call, captures what it changed and applies that, as the owner does.
    fn call(&mut self, operation: &Operation) -> Delta {
        match self.instance.call(operation, &self.snapshot) {
            CallOutcome::Returned { delta, .. } => {
                self.snapshot.apply(&delta).expect("it follows the snapshot");
                delta
            }
            CallOutcome::Trapped { message } => panic!("it trapped: {message}"),
            CallOutcome::Refused(misfit) => panic!("it does not fit: {misfit:?}"),
        }
    }

    fn restored(&self) -> Instance {
        self.code.instantiate(&self.snapshot).expect("it is its own snapshot")
    }
}

fn reward() -> Operation {
    Operation::Reward(Term::Integer(1))
}

/// The message that a keeper gets for one reward.
fn append() -> Request {
    let writer = Writer { node: NodeId(1), incarnation: Incarnation(1) };
    let effect = Effect { key: CallKey::random(0), operation: u64::MAX, value: 2.into() };
    let record =
        Record { seq: Seq(2), effect, delta: Player::begin(Guest::BuiltIn).call(&reward()) };
    Request::Keeper(KeeperRequest::Append(Append {
        player: "player1".parse().expect("a player id"),
        copy: CopyId(u64::MAX),
        generation: Generation(1),
        writer,
        record,
    }))
}

/// Call, capture and apply, some bytes changed.
#[divan::bench(args = GUESTS)]
fn call_reward(bencher: Bencher, guest: Guest) {
    let (mut player, reward) = (Player::begin(guest), reward());
    bencher.bench_local(|| player.call(&reward));
}

/// Call and capture, nothing changed.
#[divan::bench(args = GUESTS)]
fn call_points(bencher: Bencher, guest: Guest) {
    let mut player = Player::begin(guest);
    bencher.bench_local(|| player.call(&Operation::Points));
}

/// What a keeper does to its copy.
#[divan::bench]
fn apply(bencher: Bencher) {
    let mut player = Player::begin(Guest::BuiltIn);
    let delta = player.call(&reward());
    bencher.bench_local(|| player.snapshot.apply(black_box(&delta)));
}

/// A new instance without a state to restore.
#[divan::bench(args = GUESTS)]
fn instantiate_and_drop(bencher: Bencher, guest: Guest) {
    let player = Player::begin(guest);
    let initial = player.code.initial();
    bencher.bench_local(|| black_box_drop(player.code.instantiate(&initial)));
}

/// A new instance from the last state.
#[divan::bench(args = GUESTS)]
fn restore_and_drop(bencher: Bencher, guest: Guest) {
    let player = Player::begin(guest);
    bencher.bench_local(|| black_box_drop(player.restored()));
}

/// A call that traps, and the new instance that takes the place of the dead one.
#[divan::bench(args = GUESTS)]
fn trap_and_restore(bencher: Bencher, guest: Guest) {
    let mut player = Player::begin(guest);
    let word = Operation::Reward(Term::Text("a".to_owned()));
    bencher.bench_local(|| {
        let outcome = player.instance.call(&word, &player.snapshot);
        player.instance = player.restored();
        outcome
    });
}

/// One reward's message to a keeper.
#[divan::bench]
fn encode_append(bencher: Bencher) {
    let append = append();
    bencher.bench_local(|| postcard::to_stdvec(black_box(&append)));
}

/// The same on the keeper.
#[divan::bench]
fn decode_append(bencher: Bencher) {
    let bytes = postcard::to_stdvec(&append()).expect("messages can be encoded");
    bencher.bench_local(|| postcard::from_bytes::<Request>(black_box(&bytes)));
}
