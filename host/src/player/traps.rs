//! The last trap of each player that trapped here lately, for those who want to see it again.
//!
//! A trap costs what it cost before: the state is copied when its caller has been answered as far as
//! this node can, and before anything else is executed on it. Who sends the same wrong call again and
//! again has it copied once, for nothing changes between two traps.
//!
//! It is memory of this node and nothing more: bounded, and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{LAST_TRAPS_BYTES_MAX, LAST_TRAPS_MAX};
use crate::protocol::{
    Bundle, Call, CodeHash, Ending, Generation, NodeName, Operation, PlayerId, PlayerState, Seq,
    Term,
};
use crate::snapshot::Snapshot;

/// What a run of a snapshot takes in memory beside its bytes, about: its place in a tree, and the
/// allocation of its bytes.
const RUN_HEAD_BYTES: usize = 96;

/// A call that trapped.
#[derive(Debug)]
pub(super) struct TrappedCall {
    pub(super) call: Call,
    pub(super) message: String,
}

/// The last traps of a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LastTraps(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    traps: BTreeMap<PlayerId, LastTrap>,
    /// The players, those first that trapped longest ago.
    order: BTreeMap<u64, PlayerId>,
    numbers: u64,
    bytes: usize,
}

#[derive(Debug)]
struct LastTrap {
    number: u64,
    /// Of the snapshot and of the words.
    bytes: usize,
    snapshot_bytes: usize,
    generation: Generation,
    code: CodeHash,
    seq: Seq,
    snapshot: Arc<Snapshot>,
    trap: TrappedCall,
}

impl LastTraps {
    /// Remembers a trap of a player that is in this state. A state too large for the room is not
    /// remembered.
    pub(super) fn keep(&self, trap: TrappedCall, generation: Generation, state: &PlayerState) {
        let player = trap.call.player.clone();
        let (code, seq) = (state.code, state.seq);
        let before = self.table().remove(&player);
        // One owner has one state at one position.
        let same = before.filter(|before| (before.generation, before.seq) == (generation, seq));
        let (snapshot, snapshot_bytes) = match same {
            Some(LastTrap { snapshot, snapshot_bytes, .. }) => (snapshot, snapshot_bytes),
            None => {
                let bytes = bytes_of(&state.snapshot);
                // Not even copied.
                if bytes > LAST_TRAPS_BYTES_MAX {
                    return;
                }
                (Arc::new(state.snapshot.clone()), bytes)
            }
        };
        let (number, bytes) = (0, snapshot_bytes + words_of(&trap));
        if bytes > LAST_TRAPS_BYTES_MAX {
            return;
        }
        let trap =
            LastTrap { number, bytes, snapshot_bytes, generation, code, seq, snapshot, trap };
        let evicted = self.table().insert(player, trap);
        // Large ones take their time, and nobody should wait for that.
        drop(evicted);
    }

    /// Returns the last trap of a player that `node` remembers.
    pub fn bundle(&self, player: &PlayerId, node: &NodeName) -> Option<Bundle> {
        let (code, seq, snapshot, ending) = {
            let table = self.table();
            let LastTrap { code, seq, snapshot, trap, .. } = table.traps.get(player)?;
            let TrappedCall { call: Call { key, operation, .. }, message } = trap;
            let (key, operation, message) = (*key, operation.clone(), message.clone());
            (*code, *seq, snapshot.clone(), Ending::Trap { key, operation, message })
        };
        let snapshot = Arc::unwrap_or_clone(snapshot);
        let (player, node) = (player.clone(), node.clone());
        Some(Bundle { player, node, code, seq, snapshot, ending })
    }

    /// Forgets the trap of a player that is no more.
    pub(super) fn forget(&self, player: &PlayerId) {
        drop(self.table().remove(player));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Memory for people who look for a mistake: whoever panicked, the rest of it is still true.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, player: &PlayerId) -> Option<LastTrap> {
        let trap = self.traps.remove(player)?;
        self.order.remove(&trap.number);
        self.bytes -= trap.bytes;
        Some(trap)
    }

    /// Adds a player's trap and returns those that it replaces.
    fn insert(&mut self, player: PlayerId, trap: LastTrap) -> Vec<LastTrap> {
        let mut evicted: Vec<LastTrap> = self.remove(&player).into_iter().collect();
        while self.traps.len() >= LAST_TRAPS_MAX || self.bytes + trap.bytes > LAST_TRAPS_BYTES_MAX {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            evicted.extend(self.remove(&oldest));
        }
        self.numbers += 1;
        let number = self.numbers;
        self.order.insert(number, player.clone());
        self.bytes += trap.bytes;
        evicted.extend(self.traps.insert(player, LastTrap { number, ..trap }));
        evicted
    }
}

/// Returns what the words of a trap take, in bytes.
fn words_of(trap: &TrappedCall) -> usize {
    let asked = match &trap.call.operation {
        Operation::Reward(Term::Text(text)) => text.len(),
        Operation::Call(call) => call.bytes(),
        Operation::Reward(Term::Integer(_))
        | Operation::Points
        | Operation::Recover(_)
        | Operation::Forget
        | Operation::Release
        | Operation::Bundle(_)
        | Operation::Move(_)
        | Operation::Crash
        | Operation::Export
        | Operation::Import(_) => 0,
    };
    asked + trap.message.len()
}

/// Returns what a snapshot takes in memory, about, in bytes.
fn bytes_of(snapshot: &Snapshot) -> usize {
    let runs: usize = snapshot.memories.iter().map(|memory| memory.runs().count()).sum();
    snapshot.changed_bytes() + runs * RUN_HEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CallKey;
    use crate::snapshot::{Delta, MemoryDelta, Run};

    const NODE: &str = "node1";

    fn id(n: usize) -> PlayerId {
        format!("player{n}").parse().unwrap()
    }

    fn trap(n: usize, word: &str) -> TrappedCall {
        let operation = Operation::Reward(Term::Text(word.to_owned()));
        let call = Call { player: id(n), key: CallKey(7), operation };
        TrappedCall { call, message: format!("not an integer: {word}") }
    }

    /// A state at a position, in which so many pages were written.
    fn state(seq: u64, pages: u64) -> PlayerState {
        let len = (pages + 1) * 4096;
        let runs = (0..pages).map(|page| Run { offset: page * 4096, bytes: vec![7; 4096] });
        let memories = vec![MemoryDelta { len, runs: runs.collect() }];
        let mut state = PlayerState::new(CodeHash([1; 32]), Snapshot::initial([len]));
        state.snapshot.apply(&Delta { memories }).unwrap();
        state.seq = Seq(seq);
        state
    }

    /// A state that takes more memory than there is room, though few bytes on the wire.
    fn scattered(seq: u64) -> PlayerState {
        let runs = u64::try_from(LAST_TRAPS_BYTES_MAX / RUN_HEAD_BYTES).unwrap();
        let len = runs * 64;
        let runs = (0..runs).map(|run| Run { offset: run * 64, bytes: vec![7] });
        let memories = vec![MemoryDelta { len, runs: runs.collect() }];
        let mut state = PlayerState::new(CodeHash([1; 32]), Snapshot::initial([len]));
        state.snapshot.apply(&Delta { memories }).unwrap();
        state.seq = Seq(seq);
        state
    }

    fn seen(traps: &LastTraps, n: usize) -> Option<(Seq, String)> {
        let bundle = traps.bundle(&id(n), &NODE.parse().unwrap())?;
        let Ending::Trap { message, .. } = bundle.ending else { panic!("no trap") };
        Some((bundle.seq, message))
    }

    #[test]
    fn the_last_trap_of_a_player_is_kept_with_the_state_before_it() {
        let traps = LastTraps::default();
        assert_eq!(seen(&traps, 1), None);
        traps.keep(trap(1, "a"), Generation(1), &state(3, 1));
        traps.keep(trap(1, "b"), Generation(1), &state(4, 2));
        assert_eq!(seen(&traps, 1), Some((Seq(4), "not an integer: b".to_owned())));
        let bundle = traps.bundle(&id(1), &NODE.parse().unwrap()).unwrap();
        assert_eq!(bundle.snapshot, state(4, 2).snapshot);
        assert_eq!((bundle.player, bundle.code), (id(1), CodeHash([1; 32])));
        traps.forget(&id(1));
        assert_eq!(seen(&traps, 1), None);
        assert_eq!(traps.table().bytes, 0);
    }

    #[test]
    fn the_same_state_is_copied_once() {
        let traps = LastTraps::default();
        let kept = || traps.table().traps[&id(1)].snapshot.clone();
        traps.keep(trap(1, "a"), Generation(1), &state(3, 1));
        let first = kept();
        traps.keep(trap(1, "b"), Generation(1), &state(3, 1));
        assert!(Arc::ptr_eq(&first, &kept()));
        assert_eq!(seen(&traps, 1).unwrap().1, "not an integer: b");
        // Another owner may have another state at the same position.
        traps.keep(trap(1, "c"), Generation(2), &state(3, 2));
        assert!(!Arc::ptr_eq(&first, &kept()));
    }

    #[test]
    fn those_that_trapped_longest_ago_make_room() {
        let traps = LastTraps::default();
        for n in 0..LAST_TRAPS_MAX {
            traps.keep(trap(n, "a"), Generation(1), &state(1, 0));
        }
        traps.keep(trap(0, "again"), Generation(1), &state(1, 0));
        traps.keep(trap(LAST_TRAPS_MAX, "a"), Generation(1), &state(1, 0));
        assert_eq!(seen(&traps, 1), None, "the oldest one");
        assert!(seen(&traps, 0).is_some() && seen(&traps, 2).is_some());
        assert_eq!(traps.table().traps.len(), LAST_TRAPS_MAX);
        assert_eq!(traps.table().order.len(), LAST_TRAPS_MAX);
    }

    #[test]
    fn all_traps_together_take_no_more_than_their_room() {
        let traps = LastTraps::default();
        let third = u64::try_from(LAST_TRAPS_BYTES_MAX / 3 / 4096).unwrap();
        for n in 0..5 {
            traps.keep(trap(n, "a"), Generation(1), &state(1, third - third / 10));
            assert!(traps.table().bytes <= LAST_TRAPS_BYTES_MAX);
        }
        assert!(seen(&traps, 1).is_none() && seen(&traps, 2).is_some());
        traps.keep(trap(4, "a"), Generation(1), &scattered(2));
        assert_eq!(seen(&traps, 4), None, "an old one would not be the last one");
        assert!(seen(&traps, 3).is_some(), "and the others stay");
        // It is in the call and in the message.
        let text = "x".repeat(LAST_TRAPS_BYTES_MAX / 2 - 100);
        traps.keep(trap(5, &text), Generation(1), &state(1, 0));
        assert!(traps.table().bytes <= LAST_TRAPS_BYTES_MAX, "words count, too");
        assert!(seen(&traps, 2).is_none());
    }
}
