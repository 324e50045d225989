//! Names and numbers that identify things. Each is a type, so that none is taken for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{NODE_NAME_BYTES_MAX, PLAYER_ID_BYTES_MAX};

/// Why a text is not a name or an id. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// The player id is empty or too long.
    #[error("a player id has 1 to {PLAYER_ID_BYTES_MAX} bytes, this one has {0}")]
    PlayerLength(usize),
    /// The player id has a character that cannot be printed.
    #[error("a player id has printable characters only, this one has {0:?}")]
    PlayerCharacter(char),
    /// The node name is empty or too long.
    #[error("a node name has 1 to {NODE_NAME_BYTES_MAX} characters, this one has {0}")]
    NodeLength(usize),
    /// The node name has a character outside the allowed set.
    #[error("a node name has letters, digits, `_` and `-` only, this one has {0:?}")]
    NodeCharacter(char),
    /// The text is not a hexadecimal number of the right length.
    #[error("expected {0} hexadecimal digits")]
    Hex(usize),
}

/// A player's id: 1 to 128 bytes of printable UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlayerId(Arc<str>);

impl PlayerId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlayerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > PLAYER_ID_BYTES_MAX {
            return Err(InvalidId::PlayerLength(text.len()));
        }
        match text.chars().find(|c| !is_printable(*c)) {
            Some(bad) => Err(InvalidId::PlayerCharacter(bad)),
            None => Ok(Self(text.into())),
        }
    }
}

/// Control characters, line separators and the invisible marks that reorder or hide text.
fn is_printable(c: char) -> bool {
    let invisible = matches!(c,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !invisible
}

impl TryFrom<String> for PlayerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<PlayerId> for String {
    fn from(id: PlayerId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for PlayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PlayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlayerId({})", self.0)
    }
}

/// A node's name, as people write it: 1 to 63 letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > NODE_NAME_BYTES_MAX {
            return Err(InvalidId::NodeLength(text.chars().count()));
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_' && *c != '-') {
            Some(bad) => Err(InvalidId::NodeCharacter(bad)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for NodeName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the number that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// One start of a node, counted from 1 in its data folder.
    Incarnation
}
number! {
    /// Ownership number of a player; 0 is "never owned". Raised by each change in the directory.
    Generation
}
number! {
    /// Position in a player's history; 0 is the state right after creation.
    Seq
}

/// A node's number in the directory: drawn once per data folder, so that a node that lost its disk
/// is another node to Raft although its name is the same.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One copy of a player on one keeper, named in the directory once it holds the state it promises.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CopyId(pub u64);

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who writes: a node and the start of it that the directory knows.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Writer {
    /// The node.
    pub node: NodeId,
    /// The start of that node.
    pub incarnation: Incarnation,
}

/// Content hash (BLAKE3) of a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CodeHash(pub [u8; 32]);

impl CodeHash {
    /// Hashes a component's bytes.
    pub fn of(component: &[u8]) -> Self {
        Self(*blake3::hash(component).as_bytes())
    }
}

impl fmt::Display for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Twelve digits are enough for people; the whole hash travels between machines.
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeHash({self})")
    }
}

/// A caller's key: the same key is the same call, however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallKey(pub u128);

impl CallKey {
    /// Draws a new key.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for CallKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = if digits { u128::from_str_radix(text, 16).ok() } else { None };
        number.map(Self).ok_or(InvalidId::Hex(32))
    }
}

/// Returns a number that differs for different `parts`, the same on every machine: the first eight
/// bytes of the BLAKE3 hash of all of them, one after the other.
pub fn digest(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn player_ids_are_short_and_printable() {
        assert!("player1".parse::<PlayerId>().is_ok());
        assert!("spieler ü 🎲".parse::<PlayerId>().is_ok());
        assert_eq!("".parse::<PlayerId>(), Err(InvalidId::PlayerLength(0)));
        assert_eq!("x".repeat(129).parse::<PlayerId>(), Err(InvalidId::PlayerLength(129)));
        for bad in ['\u{1b}', '\n', '\u{202e}', '\u{200b}'] {
            let text = format!("a{bad}b");
            assert_eq!(text.parse::<PlayerId>(), Err(InvalidId::PlayerCharacter(bad)));
        }
    }

    #[test]
    fn node_names_are_one_label() {
        assert!("app_node1".parse::<NodeName>().is_ok());
        assert_eq!("a/b".parse::<NodeName>(), Err(InvalidId::NodeCharacter('/')));
        assert_eq!("".parse::<NodeName>(), Err(InvalidId::NodeLength(0)));
    }

    #[test]
    fn bytes_from_a_peer_are_checked_like_text_from_a_person() {
        let wire = postcard::to_stdvec(&"a\u{1b}[31m".to_owned()).unwrap();
        assert!(postcard::from_bytes::<PlayerId>(&wire).is_err());
    }

    #[test]
    fn a_key_survives_its_text() {
        let key = CallKey(0xabc);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("abc".parse::<CallKey>(), Err(InvalidId::Hex(32)));
    }
}
