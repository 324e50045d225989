//! One copy's state in the keeper's memory: as it is while it changes, packed while it does not.
//!
//! Most players rest at any time. Packed, as on the wire, the state of a small one that was called a
//! few times takes a sixth of what it takes unpacked, and to unpack it takes a microsecond or two.

use std::borrow::Cow;

use crate::protocol::{PlayerState, Seq};

/// Largest state that is packed, in bytes that differ from the initial image and bytes of keys. What
/// is larger is mostly content, in whatever form, and takes longer to pack and to unpack: this much
/// takes some ten microseconds.
const PACKED_BYTES_MAX: usize = 8 * 1024;
/// What it costs to pack a state besides its bytes, in bytes that could be packed instead.
const PACK_OVERHEAD_BYTES: usize = 128;

/// A state that is kept.
#[derive(Debug, Clone)]
pub struct Kept(Form);

#[derive(Debug, Clone)]
enum Form {
    Open {
        state: Box<PlayerState>,
        /// Whether it was asked for since it was last asked to be packed.
        used: bool,
    },
    Packed {
        seq: Seq,
        bytes: Box<[u8]>,
    },
}

impl Kept {
    /// Keeps a state that is not written to.
    pub fn packed(state: PlayerState) -> Self {
        let mut kept = Self::from(state);
        kept.pack();
        kept
    }

    /// Returns the position.
    pub fn seq(&self) -> Seq {
        match &self.0 {
            Form::Open { state, .. } => state.seq,
            Form::Packed { seq, .. } => *seq,
        }
    }

    /// Returns the state.
    pub fn state(&self) -> Cow<'_, PlayerState> {
        match &self.0 {
            Form::Open { state, .. } => Cow::Borrowed(state),
            Form::Packed { bytes, .. } => Cow::Owned(unpack(bytes)),
        }
    }

    /// Whether it takes as little memory as it can.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed { .. })
    }

    /// Returns the state for writing.
    pub(super) fn open(&mut self) -> &mut PlayerState {
        if let Form::Packed { bytes, .. } = &self.0 {
            *self = Self::from(unpack(bytes));
        }
        match &mut self.0 {
            Form::Open { state, used } => {
                *used = true;
                state
            }
            Form::Packed { .. } => unreachable!("it was opened above"),
        }
    }

    /// Packs the state unless it was written to since this was asked last. Returns what that has cost
    /// in bytes once there is nothing more to do.
    pub(super) fn pack_if_unused(&mut self) -> Option<usize> {
        if let Form::Open { used, .. } = &mut self.0
            && std::mem::take(used)
        {
            return None;
        }
        Some(self.pack())
    }

    fn pack(&mut self) -> usize {
        let mut cost = PACK_OVERHEAD_BYTES;
        if let Form::Open { state, .. } = &self.0
            && state.bytes() <= PACKED_BYTES_MAX
        {
            let bytes = postcard::to_stdvec(state).expect("a state encodes into memory");
            cost += bytes.len();
            self.0 = Form::Packed { seq: state.seq, bytes: bytes.into_boxed_slice() };
        }
        cost
    }
}

fn unpack(bytes: &[u8]) -> PlayerState {
    postcard::from_bytes(bytes).expect("what was packed here is a state")
}

impl From<PlayerState> for Kept {
    /// Keeps a state that is about to be written to.
    fn from(state: PlayerState) -> Self {
        Self(Form::Open { state: Box::new(state), used: true })
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.state() == other.state()
    }
}

impl Eq for Kept {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CallKey, CodeHash, Effect, Operation, Record};
    use crate::snapshot::{Delta, MemoryDelta, Run, Snapshot};

    /// A player's state after so many calls that wrote as many bytes each.
    fn state(calls: u64, bytes: usize) -> PlayerState {
        let len = 1 << 20;
        let mut state = PlayerState::new(CodeHash([7; 32]), Snapshot::initial([len]));
        for seq in 1..=calls {
            let runs = vec![Run { offset: (seq - 1) * 4096, bytes: vec![1; bytes] }];
            let delta = Delta { memories: vec![MemoryDelta { len, runs }] };
            let effect = Effect::new(CallKey(seq.into()), &Operation::Points, 0);
            state.apply(&Record { seq: Seq(seq), effect, delta }).unwrap();
        }
        state
    }

    #[test]
    fn a_packed_state_is_the_state() {
        let mut kept = Kept::packed(state(3, 8));
        assert!(kept.is_packed());
        assert_eq!((kept.seq(), kept.state().into_owned()), (Seq(3), state(3, 8)));
        assert_eq!(kept, Kept::from(state(3, 8)));
        assert_eq!(*kept.open(), state(3, 8));
        assert!(!kept.is_packed());
    }

    #[test]
    fn a_state_is_packed_once_it_was_not_used_for_a_round() {
        let mut kept = Kept::from(state(1, 8));
        assert_eq!(kept.pack_if_unused(), None, "it is new");
        kept.open();
        assert_eq!(kept.pack_if_unused(), None, "it was written to");
        assert!(kept.pack_if_unused() > Some(PACK_OVERHEAD_BYTES));
        assert!(kept.is_packed());
        assert_eq!(kept.pack_if_unused(), Some(PACK_OVERHEAD_BYTES), "there is nothing to do");
    }

    #[test]
    fn a_large_state_stays_as_it_is() {
        let mut kept = Kept::packed(state(20, 4096));
        assert!(!kept.is_packed());
        kept.open();
        assert_eq!(kept.pack_if_unused(), None);
        assert_eq!(kept.pack_if_unused(), Some(PACK_OVERHEAD_BYTES), "it is not asked again");
    }

    #[test]
    fn a_small_player_takes_little_memory() {
        // A reward changes some 64 bytes in two places.
        let Form::Packed { bytes, .. } = Kept::packed(state(1, 64)).0 else { panic!("not packed") };
        assert!(bytes.len() < 200, "{}", bytes.len());
    }
}
