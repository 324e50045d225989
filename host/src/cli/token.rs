//! `host token`: a token goes to standard output alone, so that it can go on into a file.

use serde::Serialize;

use super::render::{Exit, Format, Rendered};
use crate::net::{Grant, Scope, Secret};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// A token to make.
#[derive(Debug)]
pub(super) struct NewToken {
    /// What it is good for.
    pub(super) scope: Scope,
    /// For how long.
    pub(super) days: u32,
    /// What makes it good.
    pub(super) secret: Secret,
}

impl NewToken {
    /// Makes it, at a time in milliseconds since 1970.
    pub(super) fn make(self, now: u64, format: Format) -> Rendered {
        #[derive(Serialize)]
        struct Made<'a> {
            token: &'a str,
            scope: &'static str,
            id: String,
            /// In seconds since 1970.
            until: u64,
        }
        let Self { scope, days, secret } = self;
        let until = now / 1000 + u64::from(days) * SECONDS_A_DAY;
        let grant = Grant { scope, until, id: rand::random() };
        let token = grant.sign(&secret);
        let text = match format {
            Format::Text => token.to_string(),
            Format::Json => {
                let id = format!("{:016x}", grant.id);
                let made = Made { token: &token, scope: scope.word(), id, until };
                super::render::line(&made)
            }
        };
        Rendered { text, exit: Exit::Done }
    }
}
