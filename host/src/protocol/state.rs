//! A player's whole state and the record of one call: the same on the owner and on each keeper.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CallKey, CodeHash, KeyWindow, Operation, Seq};
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
        Self { key, operation: operation.fingerprint(), value }
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
    /// The latest calls' keys and answers.
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
        self.window.push(record.seq, &record.effect);
        Ok(())
    }

    /// Returns roughly how many bytes the state takes where it is stored.
    pub fn bytes(&self) -> usize {
        self.snapshot.changed_bytes() + self.window.bytes()
    }
}

impl Operation {
    /// Returns a number that differs for different operations, the same on every machine.
    pub(super) fn fingerprint(&self) -> u64 {
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
        self.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
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
    fn the_size_of_a_state_counts_its_memory_and_its_keys() {
        let mut state = state();
        assert_eq!(state.bytes(), 0);
        state.apply(&record(1, 1, 7)).unwrap();
        let one = state.bytes();
        assert!(one > 1, "a changed byte and a key");
        state.apply(&record(2, 2, 8)).unwrap();
        assert_eq!(state.bytes(), 2 * one - 1, "the same byte and another key");
    }
}
