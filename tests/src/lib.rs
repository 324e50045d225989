//! Drives real `host` processes: starts clusters of them, kills, stops and restarts nodes, and asks
//! them as a person would.
//!
//! Nothing here knows how the host works inside. [`Cluster`] starts processes and [`Via`] runs
//! one-shot commands, both over the documented command line; only [`Client`] speaks the wire, for
//! loops that are too fast for a process each.
//!
//! A harness has one caller, a test, and one way to fail, so its functions panic with what they saw.
//! Functions that a test polls return a `Result` and go into [`eventually`].
//!
//! Invariants:
//! - no process outlives the value that started it, not even a stopped one;
//! - every wait has a deadline and says what it last saw;
//! - no wait is a pause of a guessed length: it ends when the awaited thing is there.

mod answers;
mod bench;
mod browser;
pub mod chaos;
mod client;
mod cluster;
mod command;
mod dev;
pub mod fuzz;
mod guests;
mod http;
mod islands;
pub mod linearizable;
pub mod measure;
mod netns;
mod nginx;
mod node;
pub mod sim;
mod slots;
mod terminal;
mod via;
mod wait;

pub use answers::{
    Called, Class, Deployed, Deployment, Described, Drained, Drilled, Failed, Forgotten,
    HandedOver, Imported, Listed, Measured, NodeCrashed, NodeSeen, Quarantined, Released, Replayed,
    Returned, Settings, Trapped,
};
pub use bench::Bench;
pub use browser::{Browser, Scheme};
pub use client::{Client, NoAnswer};
pub use cluster::Cluster;
pub use command::{Ran, Running, host, host_binary, spawn_host};
pub use dev::{Dev, End, Orphan};
pub use guests::{
    Flaw, WorldInC, bag_component, component_type_in_c, doubling_component, doubling_module,
    endless_module, hostile_module, large_module, migrating_module, networked_module, padded,
    renamed, timely_module,
};
pub use http::{Answered, Http};
pub use islands::Islands;
pub use netns::{Cut, Net};
pub use nginx::{Nginx, Spread};
pub use node::Node;
pub use terminal::{Left, Terminal};
pub use via::Via;
pub use wait::{PATIENCE, eventually, not_tested, pause};
