//! Bearer tokens: what somebody shows who is no member and speaks HTTP.
//!
//! ```text
//!   player-host-token-1_call_1798761600_5d41402abc4b2a76_<64 digits>
//!                       │    │          │                └ keyed hash of all before it
//!                       │    │          └ a number that tells it from others, for logs
//!                       │    └ when it ends, in seconds since 1970
//!                       └ what it is good for
//! ```
//!
//! The hash's key is derived from the cluster's secret, so every node can judge every token and none is
//! stored. A token ends with its time, or with the key that it was made with: `host secret rotate`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::Secret;
use super::endpoint::Issued;

/// What each token starts with, so that people and scanners of leaked secrets know one.
const PREFIX: &str = "player-host-token-1";
/// Purpose of the derived key; its own version, since a change makes all tokens worthless.
const PURPOSE: &str = "player-host 2026 bearer tokens 1";
/// Between the parts of a token: nothing that a shell or a URL reads as more than a letter.
const BETWEEN: char = '_';

/// What somebody may do. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look at players, nodes and what happens.
    Read,
    /// Call players.
    Call,
    /// Everything: deploy code, end players, drain nodes.
    Admin,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Read, Self::Call, Self::Admin];

    /// Returns the word that a person types and reads.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Call => "call",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a token says, once it is known to be genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What its bearer may do.
    pub scope: Scope,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    /// Tells it from others; no secret.
    pub id: u64,
}

impl Grant {
    /// Writes the token. It is as secret as what it allows.
    pub fn sign(&self, secret: &Secret) -> Zeroizing<String> {
        let said = self.to_string();
        let proof = blake3::keyed_hash(&secret.derive(PURPOSE), said.as_bytes());
        Zeroizing::new(format!("{said}{BETWEEN}{proof}"))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, until, id } = self;
        write!(f, "{PREFIX}{BETWEEN}{scope}{BETWEEN}{until}{BETWEEN}{id:016x}")
    }
}

impl FromStr for Grant {
    type Err = TokenError;

    fn from_str(said: &str) -> Result<Self, TokenError> {
        let rest = said.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(BETWEEN));
        let mut parts = rest.ok_or(TokenError::NoToken)?.split(BETWEEN);
        let mut part = || parts.next().ok_or(TokenError::NoToken);
        let (scope, until, id) = (part()?, part()?, part()?);
        let scope = Scope::ALL.into_iter().find(|known| known.word() == scope);
        let grant = Self {
            scope: scope.ok_or(TokenError::NoToken)?,
            until: until.parse().map_err(|_| TokenError::NoToken)?,
            id: u64::from_str_radix(id, 16).map_err(|_| TokenError::NoToken)?,
        };
        // There is one way to write it.
        if grant.to_string() == said { Ok(grant) } else { Err(TokenError::NoToken) }
    }
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is none.
    #[error("this is no token of a cluster; `host token new` makes one")]
    NoToken,
    /// No key of the cluster has made it.
    #[error(
        "this token was not made with the cluster's secret, or with a key that was exchanged since; \
         `host token new` makes another"
    )]
    Forged,
    /// Its time is over.
    #[error("this token has ended; `host token new` makes another")]
    Ended,
}

/// Judges tokens by the secret that the node has now.
#[derive(Clone)]
pub struct Tokens(watch::Receiver<Issued>);

impl Tokens {
    pub(super) fn new(identity: watch::Receiver<Issued>) -> Self {
        Self(identity)
    }

    /// Returns what a token allows at `now`, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn judge(&self, token: &str, now: u64) -> Result<Grant, TokenError> {
        let keys = self.0.borrow().identity.token_keys();
        keys.judge(token, now)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// The keys that tokens of one secret are made with: two while one takes the place of the other.
#[derive(Clone)]
pub(super) struct TokenKeys(Arc<[Zeroizing<[u8; blake3::KEY_LEN]>]>);

impl TokenKeys {
    pub(super) fn of(secret: &Secret) -> Self {
        Self(secret.derive_each(PURPOSE).collect())
    }

    fn judge(&self, token: &str, now: u64) -> Result<Grant, TokenError> {
        let (said, proof) = token.rsplit_once(BETWEEN).ok_or(TokenError::NoToken)?;
        let grant: Grant = said.parse()?;
        let proof = blake3::Hash::from_hex(proof).map_err(|_| TokenError::NoToken)?;
        // Compared in constant time, as that library's hashes are.
        let genuine = |key: &Zeroizing<[u8; blake3::KEY_LEN]>| {
            blake3::keyed_hash(key, said.as_bytes()) == proof
        };
        if !self.0.iter().any(genuine) {
            return Err(TokenError::Forged);
        }
        if grant.until <= now / 1000 { Err(TokenError::Ended) } else { Ok(grant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn grant(scope: Scope) -> Grant {
        Grant { scope, until: NOW / 1000 + 60, id: 7 }
    }

    #[test]
    fn a_token_says_what_it_is_good_for_until_it_ends() {
        let secret = Secret::generate();
        let keys = TokenKeys::of(&secret);
        for scope in Scope::ALL {
            let token = grant(scope).sign(&secret);
            assert_eq!(keys.judge(&token, NOW), Ok(grant(scope)));
            assert_eq!(keys.judge(&token, NOW + 59_999), Ok(grant(scope)));
            assert_eq!(keys.judge(&token, NOW + 60_000), Err(TokenError::Ended));
        }
        assert!(Scope::Read < Scope::Call && Scope::Call < Scope::Admin);
    }

    #[test]
    fn a_token_that_somebody_changed_is_forged() {
        let secret = Secret::generate();
        let keys = TokenKeys::of(&secret);
        let token = grant(Scope::Read).sign(&secret);
        assert_eq!(keys.judge(&token.replace("_read_", "_admin_"), NOW), Err(TokenError::Forged));
        let later = token.replace("1800000060", "1900000060");
        assert_eq!(keys.judge(&later, NOW), Err(TokenError::Forged));
        let other = grant(Scope::Read).sign(&Secret::generate());
        assert_eq!(keys.judge(&other, NOW), Err(TokenError::Forged));
        // Each place of its proof counts.
        let flip = |c: char| if c == '0' { '1' } else { '0' };
        for at in token.len() - 64..token.len() {
            let mut changed: Vec<char> = token.chars().collect();
            changed[at] = flip(changed[at]);
            let changed: String = changed.into_iter().collect();
            assert_eq!(keys.judge(&changed, NOW), Err(TokenError::Forged), "{at}");
        }
    }

    #[test]
    fn what_is_no_token_is_told_so() {
        let secret = Secret::generate();
        let keys = TokenKeys::of(&secret);
        let token = grant(Scope::Call).sign(&secret).to_string();
        let one_less = &token[..token.len() - 1];
        for none in ["", "_", "secret", one_less, &token[1..], &token.replace("call", "root")] {
            assert_eq!(keys.judge(none, NOW), Err(TokenError::NoToken), "{none}");
        }
        for other in ["+1800000060", "01800000060", "-1"] {
            let other = token.replace("1800000060", other);
            assert_eq!(keys.judge(&other, NOW), Err(TokenError::NoToken), "{other}");
        }
    }
}
