//! A failure of a player in a file, so that it can be looked at on any machine, without a cluster.
//!
//! ```text
//!   "player-host bundle\n" │ version, 1 byte │ length, 8 bytes │ the bundle, postcard │ blake3 of all before
//! ```
//!
//! What is in it: the player's id, its memory as what differs from its code's initial image, its
//! position, the hash of its code, and the call that trapped or why no instance could be made. The
//! memory is all that the player knows, so the file is as secret as the player is. Nothing else of
//! the cluster is in it: no other player, no secret, no address.
//!
//! The state may be one that no keeper had acknowledged yet: it is what the guest saw.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sealed::{Sealed, Unsealed};
use super::{CallKey, CodeHash, NodeName, Operation, PlayerId, Seq};
use crate::snapshot::Snapshot;

const MAGIC: &[u8] = b"player-host bundle\n";
/// What this build writes, and all that it reads.
const VERSION: u8 = 1;
const FILE: Sealed = Sealed { magic: MAGIC, version: VERSION };

/// What is needed to see a failure again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The player.
    pub player: PlayerId,
    /// The node that made the bundle.
    pub node: NodeName,
    /// The component that the memory belongs to.
    pub code: CodeHash,
    /// The player's position.
    pub seq: Seq,
    /// Its memory before the failure.
    pub snapshot: Snapshot,
    /// The failure.
    pub ending: Ending,
}

/// How a player failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// A call trapped.
    Trap {
        /// The call's key.
        key: CallKey,
        /// What was asked.
        operation: Operation,
        /// The guest's own words, or the engine's if it left none.
        message: String,
    },
    /// No instance could be made from the memory.
    Restore {
        /// How often that was tried in a row.
        times: u32,
        /// Why it failed the last time.
        reason: String,
    },
}

/// Why bytes are no bundle that can be read here.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// The file is something else.
    #[error("this is no bundle of `host bundle` or `host quarantine export`")]
    NotABundle,
    /// Another build made it.
    #[error("this bundle has version {0}, and this host reads version {VERSION} only")]
    Version(u8),
    /// It is cut off, or something was added.
    #[error("this bundle should have {expected} bytes and has {found}: the file is not whole")]
    Length {
        /// What its head says, in bytes.
        expected: u64,
        /// What there is, in bytes.
        found: u64,
    },
    /// A byte is wrong.
    #[error("this bundle is damaged: its checksum does not match")]
    Damaged,
    /// The checksum is right, and the content is none.
    #[error("what is in this bundle cannot be read")]
    Content,
}

impl Bundle {
    /// Returns the bundle as it stands in a file.
    pub fn encode(&self) -> Vec<u8> {
        FILE.seal(self)
    }

    /// Reads a bundle from the bytes of a file.
    ///
    /// # Errors
    ///
    /// `BundleError` says what is wrong with them. Nothing larger than the bytes is made of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        Ok(FILE.open(bytes)?)
    }
}

impl From<Unsealed> for BundleError {
    fn from(wrong: Unsealed) -> Self {
        match wrong {
            Unsealed::Other => Self::NotABundle,
            Unsealed::Version(version) => Self::Version(version),
            Unsealed::Length { expected, found } => Self::Length { expected, found },
            Unsealed::Damaged => Self::Damaged,
            Unsealed::Content => Self::Content,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Term;
    use super::*;
    use crate::snapshot::{Delta, MemoryDelta, Run};

    const HEAD_BYTES: usize = FILE.head_bytes();

    fn bundle() -> Bundle {
        let mut snapshot = Snapshot::initial([64]);
        let runs = vec![Run { offset: 16, bytes: vec![5] }];
        let delta = Delta { memories: vec![MemoryDelta { len: 64, runs }] };
        snapshot.apply(&delta).unwrap();
        Bundle {
            player: "p1".parse().unwrap(),
            node: "n1".parse().unwrap(),
            code: CodeHash([0xcc; 32]),
            seq: Seq(1),
            snapshot,
            ending: Ending::Trap {
                key: CallKey(9),
                operation: Operation::Reward(Term::Text("a".to_owned())),
                message: "no".to_owned(),
            },
        }
    }

    #[test]
    fn a_bundle_has_its_golden_bytes() {
        let bytes = bundle().encode();
        assert_eq!(Bundle::decode(&bytes).as_ref(), Ok(&bundle()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.replace(&"cc".repeat(32), "CODE");
        let golden = "706c617965722d686f73742062756e646c650a\
            01\
            3600000000000000\
            027031026e31CODE01014001100105000900010161026e6f\
            d2b768eb7fa71b527ac94fbe75997117b544af5f8436808904139f2b6c27f173";
        assert_eq!(hex, golden, "the format changed: raise its version");
        let restore = Ending::Restore { times: 3, reason: "no".to_owned() };
        let other = Bundle { ending: restore, ..bundle() };
        assert_eq!(Bundle::decode(&other.encode()), Ok(other));
    }

    #[test]
    fn a_bundle_of_another_version_is_refused_by_its_number() {
        let mut bytes = bundle().encode();
        bytes[MAGIC.len()] = 7;
        assert_eq!(Bundle::decode(&bytes), Err(BundleError::Version(7)));
        // Whatever else that version has.
        assert_eq!(Bundle::decode(&bytes[..HEAD_BYTES - 3]), Err(BundleError::Version(7)));
    }

    #[test]
    fn what_is_no_whole_bundle_is_told_what_it_is() {
        let bytes = bundle().encode();
        assert_eq!(Bundle::decode(b"\0asm"), Err(BundleError::NotABundle));
        assert_eq!(Bundle::decode(&[]), Err(BundleError::NotABundle));
        let found = bytes.len() as u64 - 1;
        let cut = Err(BundleError::Length { expected: found + 1, found });
        assert_eq!(Bundle::decode(&bytes[..bytes.len() - 1]), cut);
        let longer = [&bytes[..], b"\n"].concat();
        let (expected, found) = (bytes.len() as u64, longer.len() as u64);
        assert_eq!(Bundle::decode(&longer), Err(BundleError::Length { expected, found }));
        let mut huge = bytes;
        huge[MAGIC.len() + 1..HEAD_BYTES].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(Bundle::decode(&huge), Err(BundleError::Length { .. })));
    }

    proptest! {
        #[test]
        fn a_wrong_byte_anywhere_is_found(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = bundle().encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Bundle::decode(&bytes).is_err());
        }

        #[test]
        fn any_content_under_a_right_checksum_is_read_or_refused(content in vec(any::<u8>(), 0..300)) {
            let mut bytes = [MAGIC, &[VERSION], &(content.len() as u64).to_le_bytes(), &content].concat();
            let checksum = blake3::hash(&bytes);
            bytes.extend_from_slice(checksum.as_bytes());
            let read = Bundle::decode(&bytes);
            prop_assert!(matches!(read, Ok(_) | Err(BundleError::Content)), "{read:?}");
        }
    }
}
