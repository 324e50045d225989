//! How what a cluster gives away stands in a file: a bundle, an exported player.
//!
//! ```text
//!   "player-host …\n" │ version, 1 byte │ length, 8 bytes │ the content, postcard │ blake3 of all before
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::BUNDLE_BYTES_MAX;

const CHECKSUM_BYTES: usize = 32;

/// A kind of file.
pub(super) struct Sealed {
    /// What it begins with.
    pub(super) magic: &'static [u8],
    /// What this build writes, and all that it reads.
    pub(super) version: u8,
}

/// Why bytes are no file of a kind that can be read here.
pub(super) enum Unsealed {
    /// The file is something else.
    Other,
    /// Another build made it.
    Version(u8),
    /// It is cut off, or something was added.
    Length {
        /// What its head says, in bytes.
        expected: u64,
        /// What there is, in bytes.
        found: u64,
    },
    /// A byte is wrong.
    Damaged,
    /// The checksum is right, and the content is none.
    Content,
}

impl Sealed {
    pub(super) const fn head_bytes(&self) -> usize {
        self.magic.len() + 1 + 8
    }

    /// Returns the content as it stands in a file.
    pub(super) fn seal(&self, content: &impl Serialize) -> Vec<u8> {
        let content = postcard::to_stdvec(content).expect("plain data can be encoded");
        let mut bytes = Vec::with_capacity(self.head_bytes() + content.len() + CHECKSUM_BYTES);
        bytes.extend_from_slice(self.magic);
        bytes.push(self.version);
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&content);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads the content from the bytes of a file. Nothing larger than the bytes is made of them.
    pub(super) fn open<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Unsealed> {
        let rest = bytes.strip_prefix(self.magic).ok_or(Unsealed::Other)?;
        let (version, rest) = rest.split_first().ok_or(Unsealed::Other)?;
        // First of all: what follows belongs to the version.
        if *version != self.version {
            return Err(Unsealed::Version(*version));
        }
        let (len, rest) = rest.split_first_chunk().ok_or(Unsealed::Other)?;
        let len = u64::from_le_bytes(*len);
        let expected = len.saturating_add((self.head_bytes() + CHECKSUM_BYTES) as u64);
        let found = bytes.len() as u64;
        if expected != found || bytes.len() > BUNDLE_BYTES_MAX {
            return Err(Unsealed::Length { expected, found });
        }
        let (content, checksum) =
            rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Unsealed::Other)?;
        let checked = &bytes[..bytes.len() - CHECKSUM_BYTES];
        if blake3::hash(checked) != blake3::Hash::from_bytes(*checksum) {
            return Err(Unsealed::Damaged);
        }
        postcard::from_bytes(content).map_err(|_| Unsealed::Content)
    }
}
