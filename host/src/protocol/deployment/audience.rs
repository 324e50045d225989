//! Which players a deployment is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wildmatch::WildMatch;

use crate::limits::PLAYER_ID_BYTES_MAX;
use crate::protocol::{CodeHash, PlayerId, digest, is_plain};

/// Parts of a whole that a share counts in.
const PARTS: u64 = 10_000;

/// Which players a deployment is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// All of them.
    All,
    /// A part of them, the same ones on every node and each time.
    Share(Share),
    /// Those whose ids are like this.
    Like(Pattern),
}

impl Audience {
    /// Reads what somebody has asked for: a part of the players, those whose ids are like this, or all.
    ///
    /// # Errors
    ///
    /// [`InvalidAudience`].
    pub fn parse(share: Option<&str>, like: Option<&str>) -> Result<Self, InvalidAudience> {
        Ok(match (share, like) {
            (Some(share), _) => Self::Share(share.parse()?),
            (None, Some(pattern)) => Self::Like(pattern.parse()?),
            (None, None) => Self::All,
        })
    }

    /// Whether a deployment of `code` is for this player.
    pub fn includes(&self, code: CodeHash, player: &PlayerId) -> bool {
        match self {
            Self::All => true,
            // Not the same players for each code: somebody is always the first.
            Self::Share(Share(parts)) => {
                digest(&[&code.0, player.as_str().as_bytes()]) % PARTS < u64::from(*parts)
            }
            Self::Like(Pattern(pattern)) => WildMatch::new(pattern).matches(player.as_str()),
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Share(share) => share.fmt(f),
            Self::Like(pattern) => pattern.fmt(f),
        }
    }
}

/// A part of all players, in hundredths of a percent: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

/// Players whose ids are like this: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why nobody knows which players are meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAudience {
    /// It is no part of anything.
    #[error("`{0}` is not a part of the players; write it like 5% or 0.5%, from 0.01% to 100%")]
    Share(String),
    /// No id can be like that.
    #[error(
        "`{0}` is not like the id of a player; an id has 1 to {PLAYER_ID_BYTES_MAX} bytes of \
         printable characters, `*` stands for any of them and `?` for one"
    )]
    Pattern(String),
}

impl TryFrom<u16> for Share {
    type Error = InvalidAudience;

    fn try_from(parts: u16) -> Result<Self, InvalidAudience> {
        let possible = (1..=PARTS).contains(&u64::from(parts));
        possible.then_some(Self(parts)).ok_or_else(|| InvalidAudience::Share(parts.to_string()))
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl FromStr for Share {
    type Err = InvalidAudience;

    fn from_str(word: &str) -> Result<Self, InvalidAudience> {
        let wrong = || InvalidAudience::Share(word.to_owned());
        let number = word.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 || number.is_empty() {
            return Err(wrong());
        }
        let parts = format!("{whole}{part:0<2}").parse::<u16>().map_err(|_| wrong())?;
        Self::try_from(parts).map_err(|_| wrong())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidAudience;

    fn try_from(text: String) -> Result<Self, InvalidAudience> {
        let possible =
            (1..=PLAYER_ID_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain);
        if possible { Ok(Self(text)) } else { Err(InvalidAudience::Pattern(text)) }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl FromStr for Pattern {
    type Err = InvalidAudience;

    fn from_str(word: &str) -> Result<Self, InvalidAudience> {
        word.to_owned().try_into()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (word, parts, shown) in [
            ("5%", 500, "5%"),
            ("0.5%", 50, "0.50%"),
            ("0.01%", 1, "0.01%"),
            ("100%", 10_000, "100%"),
            (".5%", 50, "0.50%"),
        ] {
            let share: Share = word.parse().unwrap();
            assert_eq!((share, share.to_string().as_str()), (Share(parts), shown), "{word}");
        }
        for word in ["5", "%", "0%", "101%", "5.123%", "-5%", "a%", "", "655.36%", "1e2%"] {
            assert_eq!(word.parse::<Share>(), Err(InvalidAudience::Share(word.into())), "{word}");
        }
    }

    #[test]
    fn a_share_is_about_that_many_and_always_the_same() {
        let (code, other) = (CodeHash([1; 32]), CodeHash([2; 32]));
        let few = Audience::Share("5%".parse().unwrap());
        let more = Audience::Share("50%".parse().unwrap());
        let players = (0..10_000).map(|n| format!("player{n}").parse::<PlayerId>().unwrap());
        let (mut of_few, mut of_other) = (0, 0);
        for player in players {
            let included = few.includes(code, &player);
            of_few += u32::from(included);
            of_other += u32::from(included && few.includes(other, &player));
            assert!(
                !included || more.includes(code, &player),
                "a larger share has the smaller one"
            );
        }
        assert!((400..600).contains(&of_few), "{of_few}");
        assert!(of_other < 60, "another code has other players first: {of_other}");
    }

    #[test]
    fn patterns_are_like_those_of_a_shell() {
        let like = |pattern: &str, player: &str| {
            let audience = Audience::Like(pattern.parse().unwrap());
            audience.includes(CodeHash([0; 32]), &player.parse().unwrap())
        };
        assert!(like("vip-*", "vip-7") && like("vip-*", "vip-"));
        assert!(!like("vip-*", "a-vip-7") && !like("vip-*", "vip"));
        assert!(like("*-7", "vip-7") && like("p?", "p1") && !like("p?", "p12"));
        for text in ["", "a\nb", &"x".repeat(129)] {
            assert_eq!(text.parse::<Pattern>(), Err(InvalidAudience::Pattern(text.into())));
        }
        let wire = postcard::to_stdvec("a\u{1b}b").unwrap();
        assert!(postcard::from_bytes::<Pattern>(&wire).is_err());
    }
}
