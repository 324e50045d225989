//! Names of guests. Pure.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest name, in bytes. Crates and packages of npm may have as many.
const BYTES_MAX: usize = 64;

/// Names that a crate cannot have: words of the language, its libraries, and what a new guest depends on.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "postcard",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "wit-bindgen",
    "yield",
];

/// What a guest is called, in every language: as a crate, a package and a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct GuestName(String);

/// Why a name is not good.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("`{given}` is no name for a guest: {why}; expected one like my-player")]
pub(in crate::cli) struct InvalidName {
    given: String,
    why: &'static str,
}

impl GuestName {
    /// Returns it as a text.
    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GuestName {
    type Err = InvalidName;

    fn from_str(given: &str) -> Result<Self, InvalidName> {
        match flaw(given) {
            None => Ok(Self(given.to_owned())),
            Some(why) => Err(InvalidName { given: given.to_owned(), why }),
        }
    }
}

/// Returns what is wrong with a name, if anything is.
fn flaw(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() {
        Some("it has no letters")
    } else if name.len() > BYTES_MAX {
        Some("it has more than 64 letters")
    } else if !name.chars().all(is_plain) {
        Some("it has other characters than a to z, 0 to 9 and -")
    } else if !name.split('-').all(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) {
        // So that it can be a name in WIT, too.
        Some("each word of it, between two -, begins with a letter")
    } else if TAKEN.contains(&name) {
        Some("it means something else to a compiler")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_every_language_takes_are_good() {
        for name in ["my-player", "p", "player2", "a-b-c3"] {
            assert_eq!(name.parse::<GuestName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn any_other_name_is_refused_with_the_reason() {
        for (name, reason) in [
            ("", "no letters"),
            ("My-player", "other characters"),
            ("my_player", "other characters"),
            ("my player", "other characters"),
            ("spieler-ä", "other characters"),
            ("2players", "begins with a letter"),
            ("my-2", "begins with a letter"),
            ("-my", "begins with a letter"),
            ("my-", "begins with a letter"),
            ("my--player", "begins with a letter"),
            ("fn", "something else to a compiler"),
            ("serde", "something else to a compiler"),
            ("std", "something else to a compiler"),
        ] {
            let refused = name.parse::<GuestName>().unwrap_err().to_string();
            assert!(refused.contains(reason), "{name}: {refused}");
            assert!(refused.contains(&format!("`{name}`")), "{refused}");
        }
        assert!("a".repeat(64).parse::<GuestName>().is_ok());
        assert!("a".repeat(65).parse::<GuestName>().is_err());
    }
}
