//! Guests: WebAssembly components of the world `player`, run by wasmtime.
//!
//! ```text
//!   bytes ── Code::load ──► Code ── instantiate(snapshot) ──► Instance ── call ──► CallOutcome
//!            checked and      (shared by all its players)        │                 value + Delta
//!            started once                                        └─ dead after a trap
//! ```
//!
//! Why the checks at load: a player's state is its linear memory and nothing else, so a component
//! that keeps state anywhere else would silently lose it. What can be noted in a memory is (`ledger`:
//! globals, dropped segments); what cannot, [`Code::load`] refuses with the reason (handles), or the
//! call that does it traps (tables).
//!
//! The same checks make large guests cheap. As nothing but memory remembers how an instance was
//! started, no second one is: it begins with the memories that the first one had after its start,
//! which all share until they write to them (`strip`, [`crate::memory::Image`]).
//!
//! Invariants:
//! - [`Engine`] is the only place that configures wasmtime, and what it configures is
//!   deterministic: two nodes that run the same call on the same state get the same bytes, unless the
//!   guest asks for the time or for random numbers (`wasi`), or for more than the node has;
//! - after `CallOutcome::Returned` the instance's state is exactly `before` plus `delta`;
//! - after a trap the instance is never entered again;
//! - an instance that begins with the initial image is the one that would have started anew.
//!
//! It does not decide when to call, to capture or to restore, and knows no player, no keeper and no
//! seq: `player` does.

mod allowance;
mod bindings;
mod capture;
mod code;
mod engine;
mod error;
mod functions;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod instance;
mod journal;
mod lanes;
mod ledger;
mod migrate;
mod screen;
mod steady;
mod strip;
#[cfg(test)]
mod tests;
mod wasi;
mod world;

pub use allowance::{Allowance, available_bytes};
pub use code::Code;
pub use engine::Engine;
pub use error::{EngineError, LoadError, RestoreError, Uncapturable};
pub use functions::{Misfit, in_json};
pub use instance::{CallOutcome, Instance};
pub use migrate::{MigrateError, Side};

/// Returns the component of the default player, which every host carries.
pub fn built_in() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/guest_player.wasm"))
}
