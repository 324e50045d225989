//! The contract's types as wasmtime passes them; `wit/player.wit` says what they mean.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::protocol::Term;

/// Name of the import that writes to the host's log.
pub(super) const LOG: &str = "log";
/// Name of the export that adds points.
pub(super) const REWARD: &str = "reward";
/// Name of the export that answers the total.
pub(super) const POINTS: &str = "points";
/// Name of the interface that a player exports whose state other code can take over.
pub(super) const MIGRATE: &str = "player:host/migrate@0.1.0";
/// Name of its function that returns the state.
pub(super) const SAVE: &str = "save";
/// Name of its function that takes a state over.
pub(super) const LOAD: &str = "load";

/// `variant term`.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
pub(super) enum TermArgument<'a> {
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "text")]
    Text(&'a str),
}

impl<'a> From<&'a Term> for TermArgument<'a> {
    fn from(term: &'a Term) -> Self {
        match term {
            Term::Integer(integer) => Self::Integer(*integer),
            Term::Text(text) => Self::Text(text),
        }
    }
}

/// `enum level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "comes out of the guest's memory, is never constructed here")]
pub(super) enum Level {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
}
