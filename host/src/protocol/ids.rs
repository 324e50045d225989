//! Names and numbers that identify things. Each is a type, so that none is taken for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use super::text::is_plain;
use crate::limits::{COUNT_MAX, NODE_NAME_BYTES_MAX, PLAYER_ID_BYTES_MAX};

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
    /// The text is no UUID.
    #[error(
        "a key is 32 hexadecimal digits, with or without the dashes of a UUID; `host key new` prints one"
    )]
    Key,
    /// The text is a UUID that does not say when it was made.
    #[error(
        "a key is a UUID of version 7, which says when it was made, and {0} is of another version; \
         `host key new` prints one, as any UUIDv7 library does"
    )]
    KeyVersion(String),
}

/// A player's id: 1 to 128 bytes of printable UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        match text.chars().find(|c| !is_plain(*c)) {
            Some(bad) => Err(InvalidId::PlayerCharacter(bad)),
            None => Ok(Self(text.into())),
        }
    }
}

/// A node's name, as people write it: 1 to 63 letters, digits, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

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
            None => Ok(Self(text.into())),
        }
    }
}

/// What ids that are text have in common: how they are shown, and their form on the wire, which is
/// the text, read without a copy and checked like one that a person typed.
macro_rules! text {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

text!(PlayerId, "a player id");
text!(NodeName, "a node name");

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
        )]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the number that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u64::deserialize(deserializer)?;
                if number <= COUNT_MAX {
                    Ok(Self(number))
                } else {
                    Err(D::Error::custom("a number that nobody has counted to"))
                }
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
///
/// It is a UUID of version 7 (RFC 9562): the time at which it was made, in milliseconds since 1970,
/// then 74 random bits. So the order of keys is that of their times, and a player can forget the
/// oldest ones and still tell those that it has forgotten from new ones.
///
/// Nodes rely on the order alone, so any number is safe; the version is checked where people hand
/// keys in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallKey(pub u128);

impl CallKey {
    const RANDOM_BITS: u32 = 80;
    const VERSION_SHIFT: u32 = 76;
    const VARIANT_SHIFT: u32 = 62;
    const MILLIS_MAX: u64 = (1 << 48) - 1;

    /// Returns the key made at `millis` since 1970 with the random bits of `random`: all but its
    /// upper 48 and the six that a UUID fixes.
    pub fn new(millis: u64, random: u128) -> Self {
        let time = u128::from(millis.min(Self::MILLIS_MAX)) << Self::RANDOM_BITS;
        let fixed = 0xf << Self::VERSION_SHIFT | 0b11 << Self::VARIANT_SHIFT;
        let random = random & ((1 << Self::RANDOM_BITS) - 1) & !fixed;
        Self(time | 7 << Self::VERSION_SHIFT | 0b10 << Self::VARIANT_SHIFT | random)
    }

    /// Draws a new key, made at `millis` since 1970.
    pub fn random(millis: u64) -> Self {
        Self::new(millis, rand::random())
    }

    /// Returns a key made at another time that is as unlike all others as this one.
    #[must_use]
    pub fn moved_to(self, millis: u64) -> Self {
        Self::new(millis, self.0)
    }

    /// Returns when the key was made, in milliseconds since 1970.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0 >> Self::RANDOM_BITS).unwrap_or(Self::MILLIS_MAX)
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let [a, b, c, d] = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20]];
        write!(f, "{a}-{b}-{c}-{d}-{}", &digits[20..])
    }
}

impl FromStr for CallKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_dash = |(at, byte): (usize, u8)| [8, 13, 18, 23].contains(&at) == (byte == b'-');
        let dashed = text.len() == 36 && text.bytes().enumerate().all(is_dash);
        let digits = if dashed { text.replace('-', "") } else { text.to_owned() };
        // A sign would be read, too.
        let fits = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if fits { u128::from_str_radix(&digits, 16).ok() } else { None };
        let key = Self(number.ok_or(InvalidId::Key)?);
        let is_version_7 = key == Self::new(key.millis(), key.0);
        if is_version_7 { Ok(key) } else { Err(InvalidId::KeyVersion(key.to_string())) }
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn player_ids_are_short_and_printable() {
        assert!("player1".parse::<PlayerId>().is_ok());
        assert!("spieler ü 🎲".parse::<PlayerId>().is_ok());
        assert_eq!("".parse::<PlayerId>(), Err(InvalidId::PlayerLength(0)));
        assert_eq!("x".repeat(129).parse::<PlayerId>(), Err(InvalidId::PlayerLength(129)));
        // Escapes, lines, reordering, nothing to see, other spaces, emoji that look like others.
        for bad in [
            '\u{0}',
            '\u{7}',
            '\u{1b}',
            '\n',
            '\r',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{2003}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e007f}',
            '\u{e0100}',
        ] {
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
    fn a_key_is_a_uuid_of_version_7() {
        // The example of RFC 9562, appendix A.6.
        let text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        let key = CallKey::new(0x017f_22e2_79b0, 0xcc3_18c4_dc0c_0c07_398f);
        assert_eq!(key.to_string(), text);
        assert_eq!(key.millis(), 1_645_557_742_000);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        assert_eq!(text.replace('-', "").parse(), Ok(key));
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        let text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        for bad in ["", "abc", &text[1..], &text.replacen('-', "", 1), &text.replace('-', "+")] {
            assert_eq!(bad.parse::<CallKey>(), Err(InvalidId::Key), "{bad}");
        }
        let [plus, late] =
            ["+17f22e279b07cc398c4dc0c0c07398f", "017f22e27-9b0-7cc3-98c4-dc0c0c07398f"];
        assert_eq!(plus.parse::<CallKey>(), Err(InvalidId::Key));
        assert_eq!(late.parse::<CallKey>(), Err(InvalidId::Key));
        for other in
            ["919108f7-52d1-4320-9bac-f847db4148a8", "017f22e2-79b0-7cc3-d8c4-dc0c0c07398f"]
        {
            let refused = InvalidId::KeyVersion(other.to_owned());
            assert_eq!(other.parse::<CallKey>(), Err(refused), "version or variant");
        }
    }

    #[test]
    fn keys_are_in_the_order_of_their_times() {
        let [old, new] = [CallKey::new(1, u128::MAX), CallKey::new(2, 0)];
        assert!(old < new);
        assert_eq!((old.moved_to(2).millis(), old.moved_to(1)), (2, old));
        assert_ne!(old.moved_to(2), new);
        // The year 10889: it stays there.
        assert_eq!(CallKey::new(u64::MAX, 0).millis(), (1 << 48) - 1);
    }

    proptest! {
        #[test]
        fn a_key_survives_its_text(millis in 0u64..1 << 48, random: u128) {
            let key = CallKey::new(millis, random);
            prop_assert_eq!(key.millis(), millis);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }
    }
}
