//! A player's whole state and the record of one call: the same on the owner and on each keeper.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CallKey, CodeHash, Operation, Seq};
use crate::limits::KEY_WINDOW_CALLS;
use crate::snapshot::{Delta, Mismatch, Snapshot};

/// What a call did, for the caller who asks again with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The caller's key.
    pub key: CallKey,
    /// Fingerprint of the operation, so that a key reused for another call is noticed.
    pub operation: u64,
    /// What the guest returned.
    pub value: i64,
}

impl Effect {
    /// Returns the effect of `operation`, which answered `value`.
    pub fn new(key: CallKey, operation: &Operation, value: i64) -> Self {
        Self { key, operation: fingerprint(operation), value }
    }
}

/// One call in a player's history: its effect and what it changed, in one piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The player's position after the call.
    pub seq: Seq,
    /// What the caller was told.
    pub effect: Effect,
    /// What changed in memory.
    pub delta: Delta,
}

/// Why a record does not follow a state. The state is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateMismatch {
    /// The record is not the next one.
    #[error("record {record} does not follow position {state}")]
    Gap {
        /// Position of the state.
        state: Seq,
        /// Position in the record.
        record: Seq,
    },
    /// The delta does not belong to this memory.
    #[error("record does not fit the memory")]
    Memory(#[from] Mismatch),
}

/// A player's whole state between two calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerState {
    /// The component that the memory belongs to.
    pub code: CodeHash,
    /// Position in the player's history.
    pub seq: Seq,
    /// The memory.
    pub snapshot: Snapshot,
    /// The last calls' keys and answers.
    pub window: KeyWindow,
}

impl PlayerState {
    /// Returns the state of a player that was never called.
    pub fn new(code: CodeHash, snapshot: Snapshot) -> Self {
        Self { code, seq: Seq(0), snapshot, window: KeyWindow::default() }
    }

    /// Applies the next call.
    ///
    /// # Errors
    ///
    /// `StateMismatch` when the record is not the next one or does not fit; nothing is changed.
    pub fn apply(&mut self, record: &Record) -> Result<(), StateMismatch> {
        if record.seq != self.seq.next() {
            return Err(StateMismatch::Gap { state: self.seq, record: record.seq });
        }
        self.snapshot.apply(&record.delta)?;
        self.seq = record.seq;
        self.window.push(record.seq, record.effect.clone());
        Ok(())
    }
}

/// What a key window knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLookup {
    /// The call is new.
    New,
    /// The call was applied at this position and answered this value.
    Applied {
        /// The position.
        seq: Seq,
        /// The recorded answer.
        value: i64,
    },
    /// The key was used for another operation.
    Reused,
}

/// The last calls of a player, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWindow(VecDeque<(Seq, Effect)>);

impl KeyWindow {
    /// Looks a call up.
    pub fn lookup(&self, key: CallKey, operation: &Operation) -> KeyLookup {
        // Retries come soon, so the newest are looked at first.
        match self.0.iter().rev().find(|(_, effect)| effect.key == key) {
            None => KeyLookup::New,
            Some((seq, effect)) if effect.operation == fingerprint(operation) => {
                KeyLookup::Applied { seq: *seq, value: effect.value }
            }
            Some(_) => KeyLookup::Reused,
        }
    }

    fn push(&mut self, seq: Seq, effect: Effect) {
        if self.0.len() >= KEY_WINDOW_CALLS {
            self.0.pop_front();
        }
        self.0.push_back((seq, effect));
    }
}

/// A number that differs for different operations, the same on every machine.
fn fingerprint(operation: &Operation) -> u64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    operation.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::Term;
    use super::*;
    use crate::snapshot::{MemoryDelta, Run};

    fn record(seq: u64, key: u128, byte: u8) -> Record {
        let runs = vec![Run { offset: 0, bytes: vec![byte] }];
        Record {
            seq: Seq(seq),
            effect: Effect::new(CallKey(key), &Operation::Points, i64::from(byte)),
            delta: Delta { memories: vec![MemoryDelta { len: 16, runs }] },
        }
    }

    fn state() -> PlayerState {
        PlayerState::new(CodeHash([0; 32]), Snapshot::initial([16]))
    }

    #[test]
    fn records_follow_each_other_without_gaps() {
        let mut state = state();
        state.apply(&record(1, 1, 7)).unwrap();
        let before = state.clone();
        let gap = StateMismatch::Gap { state: Seq(1), record: Seq(3) };
        assert_eq!(state.apply(&record(3, 3, 9)), Err(gap));
        assert_eq!(state, before);
    }

    #[test]
    fn a_key_is_remembered_with_its_operation_and_answer() {
        let mut state = state();
        state.apply(&record(1, 42, 7)).unwrap();
        let lookup = |key, operation| state.window.lookup(CallKey(key), &operation);
        assert_eq!(lookup(42, Operation::Points), KeyLookup::Applied { seq: Seq(1), value: 7 });
        assert_eq!(lookup(42, Operation::Reward(Term::Integer(1))), KeyLookup::Reused);
        assert_eq!(lookup(43, Operation::Points), KeyLookup::New);
    }

    #[test]
    fn the_window_is_bounded() {
        let mut state = state();
        for n in 1..=KEY_WINDOW_CALLS as u64 + 1 {
            state.apply(&record(n, u128::from(n), 1)).unwrap();
        }
        assert_eq!(state.window.lookup(CallKey(1), &Operation::Points), KeyLookup::New);
        assert_ne!(state.window.lookup(CallKey(2), &Operation::Points), KeyLookup::New);
    }
}
