//! A player's whole state and the record of one call: the same on the owner and on each keeper.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CallKey, CodeHash, KeyWindow, Operation, Seq, Value};
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::snapshot::{Delta, Mismatch, Snapshot};

/// What a call did, for the caller who asks again with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The caller's key.
    pub key: CallKey,
    /// Fingerprint of the operation, so that a key reused for another call is noticed.
    pub operation: u64,
    /// What the guest returned.
    pub value: Value,
}

impl Effect {
    /// Returns the effect of `operation`, which answered `value`.
    pub fn new(key: CallKey, operation: &Operation, value: impl Into<Value>) -> Self {
        Self { key, operation: operation.fingerprint(), value: value.into() }
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
    /// What it was before it came to this code, until a call changes it here.
    pub before: Option<Box<Before>>,
}

/// A player before it came to other code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The component that the memory belongs to.
    pub code: CodeHash,
    /// The memory.
    pub snapshot: Snapshot,
}

impl PlayerState {
    /// Returns the state of a player that was never called.
    pub fn new(code: CodeHash, snapshot: Snapshot) -> Self {
        Self { code, seq: Seq(0), snapshot, window: KeyWindow::default(), before: None }
    }

    /// Returns the same player with other code and the memory that belongs to it, one position later.
    /// What it was goes with it, if a message can carry both, unless it is what it goes back to.
    pub fn with_code(&self, code: CodeHash, snapshot: Snapshot) -> Self {
        let goes_back = self.before.as_ref().is_some_and(|before| before.code == code);
        let bytes = |snapshot: &Snapshot| snapshot.wire_bytes_after(&Delta::default());
        let fits = bytes(&self.snapshot) + bytes(&snapshot) <= SNAPSHOT_BYTES_MAX;
        let before = (fits && !goes_back)
            .then(|| Box::new(Before { code: self.code, snapshot: self.snapshot.clone() }));
        Self { code, seq: self.seq.next(), snapshot, window: self.window.clone(), before }
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
        if !record.delta.is_empty() {
            self.before = None;
        }
        self.seq = record.seq;
        self.window.push(record.seq, &record.effect);
        Ok(())
    }

    /// Returns roughly how many bytes the state takes where it is stored.
    pub fn bytes(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |before| before.snapshot.changed_bytes());
        self.snapshot.changed_bytes() + self.window.bytes() + before
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
    fn what_a_player_was_before_its_code_stays_until_a_call_changes_it() {
        let mut state = state();
        state.apply(&record(1, 1, 7)).unwrap();
        let new = state.with_code(CodeHash([1; 32]), Snapshot::initial([32]));
        let before = new.before.clone().unwrap();
        assert_eq!((new.seq, &new.window), (Seq(2), &state.window));
        assert_eq!((before.code, &before.snapshot), (state.code, &state.snapshot));
        let back = new.with_code(before.code, before.snapshot);
        assert_eq!((back.seq, &back.snapshot, back.before), (Seq(3), &state.snapshot, None));

        let mut read = new.clone();
        let nothing = Record { delta: Delta::default(), ..record(3, 3, 0) };
        read.apply(&nothing).unwrap();
        assert_eq!(read.before, new.before, "a call that changed nothing");
        let runs = vec![Run { offset: 0, bytes: vec![9] }];
        let delta = Delta { memories: vec![MemoryDelta { len: 32, runs }] };
        read.apply(&Record { delta, ..record(4, 4, 9) }).unwrap();
        assert_eq!(read.before, None);
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
