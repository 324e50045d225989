//! The cluster's secret and its file. Who holds it is a member; who does not is a stranger.
//!
//! ```text
//!   player-host-secret-1:<64 digits>             certificates are issued with this key
//!   player-host-secret-1:<64 digits> next        those of this key are accepted, too
//! ```
//!
//! A file holds two keys only while one takes the place of the other. The word behind the second one
//! says which way it goes: `next` will be issued with, `former` will be dropped. So each [`Step`] can
//! be told from the file, and every two files that follow each other share a key: machines that have
//! the one and machines that have the other talk to each other.

mod file;
#[cfg(test)]
mod tests;

use std::fmt;

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::{Zeroize, Zeroizing};

pub use file::SecretError;

/// What each line of the file starts with, so that another file is not taken for a secret.
const PREFIX: &str = "player-host-secret-1:";
/// Length of a key, in bytes: as strong as the keys that are derived from it.
const KEY_BYTES: usize = 32;
/// Purpose of what people see of a key.
const FINGERPRINT_PURPOSE: &str = "player-host 2025 fingerprint 1";

/// What makes a process a member of the cluster: a key of 32 random bytes, or two while one takes
/// the place of the other. Erased when dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Secret {
    issues: Key,
    other: Option<(Key, Role)>,
}

/// What becomes of the key that certificates are not issued with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Next,
    Former,
}

/// One step of putting a new key in the place of the old one. After each, the file goes to every
/// machine before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A new key is drawn; certificates of both are accepted.
    Accept,
    /// Certificates are issued with the new key; those of the old one are still accepted.
    Issue,
    /// The old key is gone: who has only that one is a stranger from now on.
    Drop,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Issue => "issue",
            Self::Drop => "drop",
        })
    }
}

/// A key as people see it: enough to tell two apart, and nothing to derive it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Secret {
    /// Draws a new secret from the system's random source.
    ///
    /// # Panics
    ///
    /// When the system has no randomness.
    pub fn generate() -> Self {
        Self { issues: Key::generate(), other: None }
    }

    /// Returns the fingerprint of the key that certificates are issued with, and then of the one
    /// whose certificates are accepted, too, if there are two.
    pub fn fingerprints(&self) -> (Fingerprint, Option<Fingerprint>) {
        (self.issues.fingerprint(), self.other.as_ref().map(|(key, _)| key.fingerprint()))
    }

    /// Returns the step that led here, if a rotation is under way: `Accept` or `Issue`.
    pub fn step(&self) -> Option<Step> {
        self.other.as_ref().map(|(_, role)| match role {
            Role::Next => Step::Accept,
            Role::Former => Step::Issue,
        })
    }

    /// Returns the step that comes next.
    pub fn next_step(&self) -> Step {
        match self.step() {
            None | Some(Step::Drop) => Step::Accept,
            Some(Step::Accept) => Step::Issue,
            Some(Step::Issue) => Step::Drop,
        }
    }

    /// Whether members with this one and members with `other` can talk to each other: some key is in
    /// both.
    pub(super) fn shares_a_key(&self, other: &Self) -> bool {
        self.accepted().any(|key| other.accepted().any(|theirs| key == theirs))
    }

    /// Derives a key for one purpose from the key that certificates are issued with. Keys of
    /// different purposes say nothing about each other.
    pub(super) fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        self.issues.derive(purpose)
    }

    /// Derives a key for one purpose from each key whose certificates are accepted.
    pub(super) fn derive_each(
        &self,
        purpose: &str,
    ) -> impl Iterator<Item = Zeroizing<[u8; KEY_BYTES]>> {
        self.accepted().map(move |key| key.derive(purpose))
    }

    fn accepted(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.issues).chain(self.other.as_ref().map(|(key, _)| key))
    }

    /// Takes the next step.
    fn advanced(self) -> Self {
        match self.other {
            None => Self { issues: self.issues, other: Some((Key::generate(), Role::Next)) },
            Some((next, Role::Next)) => {
                Self { issues: next, other: Some((self.issues, Role::Former)) }
            }
            Some((_, Role::Former)) => Self { issues: self.issues, other: None },
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let mut lines = lines.by_ref().filter(|line| !line.is_empty());
        let issues = Key::parse(lines.next()?)?;
        let other = match lines.next() {
            None => None,
            Some(line) => {
                let space = line.iter().position(u8::is_ascii_whitespace)?;
                let role = match line[space..].trim_ascii() {
                    b"next" => Role::Next,
                    b"former" => Role::Former,
                    _ => return None,
                };
                Some((Key::parse(&line[..space])?, role))
            }
        };
        // The same key twice would let a rotation end where it began.
        let fits = lines.next().is_none() && other.as_ref().is_none_or(|(key, _)| *key != issues);
        fits.then_some(Self { issues, other })
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(file::FILE_BYTES_MAX));
        self.issues.write(&mut text);
        if let Some((key, role)) = &self.other {
            text.push('\n');
            key.write(&mut text);
            text.push_str(match role {
                Role::Next => " next",
                Role::Former => " former",
            });
        }
        text.push('\n');
        text
    }
}

/// One key. In a place of its own, so that moving it leaves no copy behind.
#[derive(PartialEq, Eq)]
struct Key(Box<[u8; KEY_BYTES]>);

impl Key {
    fn generate() -> Self {
        let mut key = Self(Box::new([0; KEY_BYTES]));
        OsRng.try_fill_bytes(&mut *key.0).expect("the system has randomness");
        key
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(blake3::derive_key(purpose, &*self.0))
    }

    fn fingerprint(&self) -> Fingerprint {
        let derived = self.derive(FINGERPRINT_PURPOSE);
        Fingerprint(derived[..6].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let digits = line.strip_prefix(PREFIX.as_bytes())?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != KEY_BYTES {
            return None;
        }
        let mut key = Self(Box::new([0; KEY_BYTES]));
        for (byte, [high, low]) in key.0.iter_mut().zip(pairs) {
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        Some(key)
    }

    fn write(&self, text: &mut String) {
        text.push_str(PREFIX);
        for byte in *self.0 {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    // `to_digit(16)` is below 16.
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
