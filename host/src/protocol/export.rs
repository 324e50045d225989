//! A player in a file, so that another one can begin with its state, in this cluster or in another.
//!
//! The file has the form of a bundle (`sealed`), with a first line of its own. What is in it: the
//! player's id, its memory as what differs from its code's initial image, its position, and the hash
//! of its code. The memory is all that the player knows, so the file is as secret as the player is.
//! The keys of its calls are not in it: another player has had other calls.
//!
//! Unlike what is in a bundle, the state is acknowledged: each of the player's keepers had it.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sealed::{Sealed, Unsealed};
use super::{
    CallKey, CodeHash, Effect, NodeName, Operation, PlayerId, PlayerState, Record, Seq, Value,
};
use crate::limits::{COUNT_MAX, SNAPSHOT_BYTES_MAX};
use crate::snapshot::{Delta, Snapshot};

const FILE: Sealed = Sealed { magic: b"player-host export\n", version: 1 };

/// Highest position in a file. A player must be able to go on counting from there.
const SEQ_MAX: u64 = COUNT_MAX / 2;

/// A healthy player at one position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The player.
    pub player: PlayerId,
    /// The node that made the file.
    pub node: NodeName,
    /// The component that the memory belongs to.
    pub code: CodeHash,
    /// The player's position.
    pub seq: Seq,
    /// Its memory.
    pub snapshot: Snapshot,
}

/// Why bytes are no exported player that can be read here.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ExportError {
    /// The file is something else.
    #[error("this is no player that `host export` wrote")]
    NotAnExport,
    /// Another build made it.
    #[error("this file has version {0}, and this host reads version {version} only", version = FILE.version)]
    Version(u8),
    /// It is cut off, or something was added.
    #[error("this file should have {expected} bytes and has {found}: it is not whole")]
    Length {
        /// What its head says, in bytes.
        expected: u64,
        /// What there is, in bytes.
        found: u64,
    },
    /// A byte is wrong.
    #[error("this file is damaged: its checksum does not match")]
    Damaged,
    /// The checksum is right, and what is there is no player that can go on.
    #[error("what is in this file cannot be read")]
    Content,
}

impl From<Unsealed> for ExportError {
    fn from(wrong: Unsealed) -> Self {
        match wrong {
            Unsealed::Other => Self::NotAnExport,
            Unsealed::Version(version) => Self::Version(version),
            Unsealed::Length { expected, found } => Self::Length { expected, found },
            Unsealed::Damaged => Self::Damaged,
            Unsealed::Content => Self::Content,
        }
    }
}

impl Export {
    /// Returns the player as it stands in a file.
    pub fn encode(&self) -> Vec<u8> {
        FILE.seal(self)
    }

    /// Reads a player from the bytes of a file.
    ///
    /// # Errors
    ///
    /// `ExportError` says what is wrong with them. Nothing larger than the bytes is made of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, ExportError> {
        let export: Self = FILE.open(bytes)?;
        let fits = export.snapshot.wire_bytes_after(&Delta::default()) <= SNAPSHOT_BYTES_MAX;
        if fits && export.seq.0 <= SEQ_MAX { Ok(export) } else { Err(ExportError::Content) }
    }

    /// Returns the state in which a player begins that is imported from here by this call, one
    /// position later. It remembers the call, so that one that comes again is told what it did.
    pub fn begin(self, key: CallKey, operation: &Operation) -> PlayerState {
        let mut state = PlayerState::new(self.code, self.snapshot);
        state.seq = self.seq;
        let effect = Effect::new(key, operation, Value::Nothing);
        let record = Record { seq: state.seq.next(), effect, delta: Delta::default() };
        state.apply(&record).expect("a record that changes nothing follows any state");
        state
    }
}

/// The bytes of a file that is to be imported.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExportFile(pub Vec<u8>);

/// By its checksum: a key remembers which file it was used for.
impl Hash for ExportFile {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        blake3::hash(&self.0).as_bytes().hash(hasher);
    }
}

impl fmt::Debug for ExportFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportFile({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::KeyLookup;
    use super::*;
    use crate::snapshot::{MemoryDelta, Run};

    fn export() -> Export {
        let mut snapshot = Snapshot::initial([64]);
        let runs = vec![Run { offset: 16, bytes: vec![5] }];
        snapshot.apply(&Delta { memories: vec![MemoryDelta { len: 64, runs }] }).unwrap();
        let (player, node) = ("p1".parse().unwrap(), "n1".parse().unwrap());
        Export { player, node, code: CodeHash([0xcc; 32]), seq: Seq(1), snapshot }
    }

    #[test]
    fn an_exported_player_has_its_golden_bytes() {
        let bytes = export().encode();
        assert_eq!(Export::decode(&bytes).as_ref(), Ok(&export()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.replace(&"cc".repeat(32), "CODE");
        let golden = "706c617965722d686f7374206578706f72740a\
            01\
            2d00000000000000\
            027031026e31CODE01014001100105\
            1fd24338e2eef71d78d1ee692bd7b17804fdd46269639086416e982372ae1acf";
        assert_eq!(hex, golden, "the format changed: raise its version");
    }

    #[test]
    fn what_is_no_exported_player_is_told_what_it_is() {
        let bytes = export().encode();
        assert_eq!(Export::decode(b"player-host bundle\n"), Err(ExportError::NotAnExport));
        let mut other = bytes.clone();
        other[FILE.magic.len()] = 7;
        assert_eq!(Export::decode(&other), Err(ExportError::Version(7)));
        let found = bytes.len() as u64 - 1;
        let cut = Err(ExportError::Length { expected: found + 1, found });
        assert_eq!(Export::decode(&bytes[..bytes.len() - 1]), cut);
        let far = Export { seq: Seq(SEQ_MAX + 1), ..export() };
        assert_eq!(Export::decode(&far.encode()), Err(ExportError::Content));
    }

    #[test]
    fn the_player_that_begins_remembers_by_which_call() {
        let operation = Operation::Import(ExportFile(export().encode()));
        let state = export().begin(CallKey(9), &operation);
        assert_eq!((state.seq, state.code), (Seq(2), CodeHash([0xcc; 32])));
        assert_eq!(state.snapshot, export().snapshot);
        let known = KeyLookup::Applied { seq: Seq(2), value: Value::Nothing };
        assert_eq!(state.window.lookup(CallKey(9), &operation), known);
        let other = Operation::Import(ExportFile(vec![1]));
        assert_eq!(state.window.lookup(CallKey(9), &other), KeyLookup::Reused);
    }

    proptest! {
        #[test]
        fn a_wrong_byte_anywhere_is_found(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = export().encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Export::decode(&bytes).is_err());
        }
    }
}
