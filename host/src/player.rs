//! Player servers: each running player is one wasmtime instance with a mailbox.
//!
//! ```text
//!   gateway ─► Roster ─► server (one task a player) ─► Machine decides
//!                          │  executes on the instance, asks keepers and the directory
//!                          └─ answers callers
//! ```
//!
//! `machine` holds the rules without IO. A server drives one machine and decides nothing: it
//! selects what happened, applies it, and carries out the actions. The [`Roster`] owns the servers:
//! it opens one at a player's first call and forgets it when it ends. A player that nobody calls rests:
//! its server ends, its state is the copy on its own node, and the next call opens it again. [`Codes`] finds the component
//! that a player's memory belongs to. The [`Guardian`] opens players that nobody calls when nodes
//! have gone, so that they have their copies again. [`Shunned`] is what all of them know about nodes
//! that take no copies. [`LastTraps`] is what is left of traps, for those who want to see one again.
//!
//! What this room does not do: choose which node should run a player (`gateway`), or hold copies
//! for others (`keeper`).

mod alarm;
mod codes;
mod crossing;
mod guardian;
mod machine;
mod mailboxes;
mod reports;
mod resting;
mod rollout;
mod roster;
mod sabotage;
mod server;
mod shunned;
mod traps;
mod words;

pub use codes::{CodeError, Codes};
pub use guardian::{Around, Attendance, Guardian, open_all};
pub use machine::{
    Action, Event, FirstCalls, Machine, Origin, Rested, RestoreFailure, StepFailure, Story, Ticket,
    View, Way,
};
pub use reports::Reports;
pub use rollout::{Follower, Rollout};
pub use roster::{Players, Reply, Roster};
pub use sabotage::sabotage_restores;
pub use server::Context;
pub use shunned::Shunned;
pub use traps::LastTraps;
