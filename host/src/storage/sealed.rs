//! A value with its checksum: a CRC-32 of the rest in its first four bytes, little-endian.
//!
//! The engine checks its own blocks when it reads them from disk; this also covers what happens to
//! a value before it gets there and between its memory and ours.

use serde::Serialize;
use serde::de::DeserializeOwned;

const CHECKSUM_BYTES: usize = 4;

/// Encodes a value and seals it.
pub(super) fn seal(value: &impl Serialize) -> Vec<u8> {
    let bytes = postcard::to_extend(value, vec![0; CHECKSUM_BYTES]);
    finish(bytes.expect("our own types encode into memory"))
}

/// Seals bytes as they are.
pub(super) fn seal_bytes(bytes: &[u8]) -> Vec<u8> {
    finish([&[0; CHECKSUM_BYTES], bytes].concat())
}

fn finish(mut sealed: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&sealed[CHECKSUM_BYTES..]);
    sealed[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    sealed
}

/// Returns what was sealed, or `None` if it is damaged.
pub(super) fn unseal_bytes(sealed: &[u8]) -> Option<&[u8]> {
    let (checksum, bytes) = sealed.split_first_chunk::<CHECKSUM_BYTES>()?;
    (crc32fast::hash(bytes) == u32::from_le_bytes(*checksum)).then_some(bytes)
}

/// Returns the value that was sealed, or `None` if it is damaged.
pub(super) fn unseal<T: DeserializeOwned>(sealed: &[u8]) -> Option<T> {
    postcard::from_bytes(unseal_bytes(sealed)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(bytes in vec(any::<u8>(), 0..100), at: usize, bit in 0u8..8) {
            let mut sealed = seal_bytes(&bytes);
            prop_assert_eq!(unseal_bytes(&sealed), Some(&bytes[..]));
            let at = at % sealed.len();
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(unseal_bytes(&sealed), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..100)) {
            let _ = unseal::<(u64, String)>(&bytes).is_some();
        }
    }
}
