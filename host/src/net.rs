//! Messages between processes: who the other side is, how bytes become requests, and whether a
//! process still lives.
//!
//! ```text
//!   Links ──► Connection ══ QUIC, mutual TLS, one stream a lane ══► serve ──► Inboxes
//!   Pulse ─────────────────────── TCP, no data ───────────────────► the same port
//! ```
//!
//! - [`Identity`] turns the cluster's [`Secret`] into a certificate; nobody without it gets as far
//!   as a stream.
//! - [`Renewal`] follows the secret's file while a node runs, and issues its certificate again.
//! - The same secret makes the [`Tokens`] of those who speak HTTP and have no certificate.
//! - [`Endpoint`] is one UDP socket that dials and serves. [`Links`] keeps a [`Connection`] to each
//!   node and dials again when it is lost. Requests of one [`Lane`](crate::protocol::Lane) arrive
//!   in the order in which they were sent while their way stays the same; replies come back in any
//!   order.
//! - Who may take any of several nodes has their dials [`race`].
//! - Around a link that is broken, a request goes through another node: its [`Relayer`] passes it
//!   on over its own link, once.
//! - [`round_trips`] measures what any of this can cost at least.
//! - QUIC does not feel a killed process, the kernel's TCP does: [`Pulse`] holds a silent TCP
//!   connection to each node and reports its end.
//!
//! Invariants:
//!
//! - An [`AskError`] never lies about the effect: only [`AskError::Lost`] may have been done.
//! - Everything is bounded: frames before they are allocated, queues, streams, connections, waits.
//! - No task is detached: each belongs to a future that the caller runs or to the connection that
//!   it serves.
//!
//! What this room does not do: decide who is alive, retry a request, or look into its content
//! beyond whether a client may ask it.

mod connection;
mod crew;
mod dial;
mod endpoint;
mod floor;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod identity;
mod inboxes;
mod lane;
mod links;
mod pulse;
mod race;
mod relay;
mod renewal;
mod secret;
mod serve;
mod socket;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;

pub use connection::Connection;
pub use dial::{DialError, ResolveError, resolve};
pub use endpoint::{BindError, Endpoint, SocketBuffers, could_listen};
pub use floor::{FloorError, round_trips};
pub use identity::{Identity, IdentityError, PeerIdentity};
pub use inboxes::{CallInbound, Calls, Inbound, Inboxes, Responder, Serving};
pub use lane::{AskError, Pending};
pub use links::{Links, LinksDriver};
pub use pulse::{Pulse, PulseDriver, PulseEvent};
pub use race::{Raced, race};
pub use relay::Relayer;
pub use renewal::Renewal;
pub use secret::{Fingerprint, Secret, SecretError, Step};
pub use token::{Grant, Scope, TokenError, Tokens};
