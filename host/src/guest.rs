//! Guests: WebAssembly components of the world `player`, run by wasmtime.
//!
//! ```text
//!   bytes ── Code::load ──► Code ── instantiate(snapshot) ──► Instance ── call ──► CallOutcome
//!            checked once,    (shared by all its players)        │                 value + Delta
//!            compiled once                                       └─ dead after a trap
//! ```
//!
//! Why the checks at load: a player's state is its linear memory and nothing else, so a component
//! that keeps state anywhere else (globals, tables, dropped segments, handles) would silently lose
//! it. [`Code::load`] refuses it with the reason instead.
//!
//! Invariants:
//! - [`Engine`] is the only place that configures wasmtime, and what it configures is
//!   deterministic: two nodes that run the same call on the same state get the same bytes;
//! - after `CallOutcome::Returned` the instance's state is exactly `before` plus `delta`;
//! - after a trap the instance is never entered again.
//!
//! It does not decide when to call, to capture or to restore, and knows no player, no keeper and no
//! seq: `player` does.

mod bindings;
mod capture;
mod code;
mod engine;
mod error;
mod instance;
mod journal;
mod lanes;
mod screen;
mod steady;
#[cfg(test)]
mod tests;
mod world;

pub use code::Code;
pub use engine::Engine;
pub use error::{EngineError, LoadError, RestoreError, Uncapturable};
pub use instance::{CallOutcome, Instance};

/// Returns the component of the default player, which every host carries.
pub fn built_in() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/guest_player.wasm"))
}
