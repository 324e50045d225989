//! A player's state in bytes that other code of the player reads, too.
//!
//! One case for each version there ever was. A new version gets a case of its own at the end, `load`
//! goes on reading the older ones, and `save` writes the newest. Cases are known by their place:
//! none is ever taken away or moved.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a player saved.
///
/// The bytes are those of `postcard`: the number of the case as a varint, then its fields. So
/// `V1 { points: 5 }` is `00 0a`: case 0, and 5 as a zigzag varint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Saved {
    /// A player that has points and nothing else.
    V1 {
        /// The total.
        points: i64,
    },
}

/// How many cases `Saved` has.
const VERSIONS: u32 = 1;

/// Why saved bytes were not taken over. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLoaded {
    /// A newer player saved them.
    UnknownVersion(u32),
    /// They are not what `Saved` is written as.
    Malformed,
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => write!(
                f,
                "the saved state has version {version}, and this player reads those below {VERSIONS}"
            ),
            Self::Malformed => f.write_str("the saved state is cut off or damaged"),
        }
    }
}

impl std::error::Error for NotLoaded {}

impl Saved {
    /// Returns the bytes of this state.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("plain numbers are always written")
    }

    /// Reads the bytes of a state, all of them.
    ///
    /// # Errors
    ///
    /// `NotLoaded` if they are of another version, or of something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotLoaded> {
        match postcard::take_from_bytes(bytes) {
            Ok((version, _)) if version >= VERSIONS => Err(NotLoaded::UnknownVersion(version)),
            Ok(_) => match postcard::take_from_bytes(bytes) {
                Ok((saved, [])) => Ok(saved),
                _ => Err(NotLoaded::Malformed),
            },
            Err(_) => Err(NotLoaded::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// States and their bytes, and bytes of none: the same for the players of all languages.
    const STATES: &str = include_str!("../../saved-states.txt");

    #[test]
    fn states_are_saved_and_refused_as_by_every_other_player() {
        let lines = STATES.lines().filter(|line| !line.starts_with('#'));
        for line in lines.clone() {
            let (state, digits) = line.split_once(' ').unwrap_or((line, ""));
            let bytes: Vec<u8> = (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect();
            match Saved::from_bytes(&bytes) {
                Ok(saved) => {
                    assert_eq!(saved, Saved::V1 { points: state.parse().expect(line) });
                    assert_eq!(saved.to_bytes(), bytes);
                }
                Err(refused) => assert!(refused.to_string().contains(state), "{line}: {refused}"),
            }
        }
        assert!(lines.count() > 10, "there are states to try");
    }
}
