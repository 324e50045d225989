//! The door for load balancers, browsers and programs without our client: HTTP with JSON.
//!
//! ```text
//!   server ─► limits ─► access ─► a handler ─► gateway
//!   (TCP, TLS) (how many,  (token,    (JSON to a request,
//!               how fast)   scope)     its reply to JSON)
//! ```
//!
//! A handler decides nothing about players: it writes a [`CallRequest`](crate::protocol::CallRequest)
//! for the node's gateway, or asks it directly, and says in JSON what came of it. All that can go wrong
//! is a `Problem`, in the form of RFC 9457.
//!
//! On loopback nobody has to show a token: whoever is on this machine may do everything. Names that a
//! foreign page could have made point here are refused then.
//! Beyond loopback each request shows a token, whose scope says what it may do.
//!
//! Everything is bounded: connections, requests at the same time and in a second, headers, bodies, and
//! the time in which they arrive.

mod access;
mod calls;
mod code;
mod desk;
mod events;
mod headers;
mod health;
mod intake;
mod metrics;
mod nodes;
mod operating;
mod page;
mod players;
mod problem;
mod routes;
mod server;
mod stats;

use crate::protocol::NodeName;

pub use code::{DeployedJson, DeploymentsJson};
pub use desk::{Desk, Shared};
pub use events::EventJson;
pub use nodes::NodesJson;
pub use players::PlayerJson;
pub use server::{HttpConfig, HttpError, Server, TlsFiles};

/// Nodes by their names, in JSON.
fn names(nodes: &[NodeName]) -> Vec<String> {
    nodes.iter().map(ToString::to_string).collect()
}
