//! The door for callers: finds the node that owns a player and follows it when it moves.
//!
//! A call carries a key, so the gateway may try as often as the caller's deadline allows: through a
//! crash of the owner, a failover, a move. It keeps one thing in mind over all attempts: whether
//! any of them may have been applied. Only if none may does it say that the call was not.
//!
//! What this room does not do: execute anything, or decide who owns a player. It reads the
//! directory as this node knows it; if that is old, the owner says so, and the gateway asks anew.

mod crashing;
mod deploying;
mod describing;
mod importing;
mod listing;
mod meter;
mod news;
mod overview;
mod routing;
mod service;
mod settings;

pub use listing::{Listing, ListingPage, Look, Readiness};
pub use meter::{Census, Gauges};
pub use news::{Feed, Places};
pub use routing::Gateway;
pub use service::Door;
