//! `host token` as it is typed.

use clap::{Subcommand, ValueEnum, value_parser};

use crate::net::Scope;

/// Longest time that a token is good for, in days: whoever wants more makes another in time.
const DAYS_MAX: i64 = 3660;

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Print a new token
    ///
    /// It is good on every node of the cluster until it ends, or until the key of the secret that it
    /// was made with is dropped by `host secret rotate`: nothing else takes it back.
    New {
        /// What its bearer may do
        #[arg(long, value_name = "SCOPE")]
        scope: ScopeWord,
        /// Let it end after this many days
        #[arg(long, value_name = "N", default_value_t = 90)]
        #[arg(value_parser = value_parser!(u32).range(1..=DAYS_MAX))]
        days: u32,
    },
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ScopeWord {
    /// Look at players, nodes and what happens
    Read,
    /// Call players, and what `read` may
    Call,
    /// Everything: deploy code, end players, drain nodes
    Admin,
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Read => Self::Read,
            ScopeWord::Call => Self::Call,
            ScopeWord::Admin => Self::Admin,
        }
    }
}
