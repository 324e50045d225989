//! What one call costs in the processes that it crosses, without networks and disks:
//! `cargo bench --bench call`.
//! `host bench` measures the whole.

use std::sync::Arc;

use divan::{Bencher, black_box, black_box_drop};
use host::guest::{CallOutcome, Code, Engine, Instance, built_in};
use host::protocol::{
    Append, CallKey, CopyId, Effect, Generation, Incarnation, KeeperRequest, NodeId, Operation,
    Record, Request, Seq, Term, Writer,
};
use host::snapshot::{Delta, Snapshot};

fn main() {
    divan::main();
}

/// A player as its owner has it.
struct Player {
    code: Arc<Code>,
    instance: Instance,
    snapshot: Snapshot,
}

impl Player {
    /// Begins a player that was rewarded once.
    fn begin() -> Self {
        let engine = Engine::new().expect("this system runs guests");
        let code = Code::load(&engine, built_in()).expect("the built-in player is sound");
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
    let effect = Effect { key: CallKey::random(0), operation: u64::MAX, value: 2 };
    let record = Record { seq: Seq(2), effect, delta: Player::begin().call(&reward()) };
    Request::Keeper(KeeperRequest::Append(Append {
        player: "player1".parse().expect("a player id"),
        copy: CopyId(u64::MAX),
        generation: Generation(1),
        writer,
        record,
    }))
}

/// Call, capture and apply, some bytes changed.
#[divan::bench]
fn call_reward(bencher: Bencher) {
    let (mut player, reward) = (Player::begin(), reward());
    bencher.bench_local(|| player.call(&reward));
}

/// Call and capture, nothing changed.
#[divan::bench]
fn call_points(bencher: Bencher) {
    let mut player = Player::begin();
    bencher.bench_local(|| player.call(&Operation::Points));
}

/// What a keeper does to its copy.
#[divan::bench]
fn apply(bencher: Bencher) {
    let mut player = Player::begin();
    let delta = player.call(&reward());
    bencher.bench_local(|| player.snapshot.apply(black_box(&delta)));
}

/// A new instance without a state to restore.
#[divan::bench]
fn instantiate_and_drop(bencher: Bencher) {
    let player = Player::begin();
    let initial = player.code.initial();
    bencher.bench_local(|| black_box_drop(player.code.instantiate(&initial)));
}

/// A new instance from the last state.
#[divan::bench]
fn restore_and_drop(bencher: Bencher) {
    let player = Player::begin();
    bencher.bench_local(|| black_box_drop(player.restored()));
}

/// A call that traps, and the new instance that takes the place of the dead one.
#[divan::bench]
fn trap_and_restore(bencher: Bencher) {
    let mut player = Player::begin();
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
