//! What all handlers share.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use super::metrics::Counted;
use super::problem::Problem;
use crate::gateway::Gateway;
use crate::limits::{FEEDS_MAX, HTTP_CALLERS_REMEMBERED_MAX, HTTP_REQUESTS_MAX};
use crate::net::Tokens;
use crate::protocol::NodeName;

/// What all handlers share. It can be handed out before there is a gateway behind it. Cheap to clone.
pub type Desk = Arc<Shared>;

/// What all handlers share.
#[derive(Debug)]
pub struct Shared {
    node: NodeName,
    gateway: OnceLock<Gateway>,
    document: OnceLock<Bytes>,
    pub(super) tokens: Tokens,
    /// Whether each request must show a token.
    pub(super) needs_token: bool,
    /// Room for requests, of all connections together.
    pub(super) room: Semaphore,
    /// Room for those who follow what happens.
    pub(super) feeds: Arc<Semaphore>,
    /// The players, counted a moment ago.
    pub(super) counted: Counted,
    rate: Option<Rate>,
}

/// How many requests of one caller are taken in a second.
#[derive(Debug)]
struct Rate {
    limiter: DefaultKeyedRateLimiter<Caller>,
    clock: DefaultClock,
}

/// Who asks, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// Whoever has this token.
    Token(u64),
    /// Whoever is at this address: a load balancer, perhaps.
    Address(IpAddr),
}

impl Shared {
    /// Returns a desk with nobody behind it: whoever comes too early is told to come back.
    pub fn new(
        node: NodeName,
        tokens: Tokens,
        needs_token: bool,
        rate: Option<NonZeroU32>,
    ) -> Desk {
        let rate = rate.map(|rate| Rate {
            limiter: RateLimiter::keyed(Quota::per_second(rate)),
            clock: DefaultClock::default(),
        });
        let (gateway, room) = (OnceLock::new(), Semaphore::new(HTTP_REQUESTS_MAX));
        let feeds = Arc::new(Semaphore::new(FEEDS_MAX));
        Arc::new(Self {
            node,
            gateway,
            document: OnceLock::new(),
            tokens,
            needs_token,
            room,
            feeds,
            counted: Counted::default(),
            rate,
        })
    }

    /// Keeps the document that describes the interface: anybody may ask for it, and it stays the same.
    pub(super) fn describe(&self, document: String) {
        self.document.set(document.into()).ok();
    }

    /// Returns the document that describes the interface.
    pub(super) fn document(&self) -> Bytes {
        self.document.get().cloned().unwrap_or_default()
    }

    /// Lets requests through to `gateway`. Only the first one counts.
    pub fn open_to(&self, gateway: Gateway) {
        self.gateway.set(gateway).ok();
    }

    /// Returns the gateway.
    ///
    /// # Errors
    ///
    /// `starting` when there is none yet.
    pub(super) fn gateway(&self) -> Result<&Gateway, Problem> {
        self.gateway.get().ok_or_else(|| {
            let node = &self.node;
            Problem::new("starting", format!("{node} is not a member of its cluster yet"))
        })
    }

    /// Returns the node's name.
    pub(super) fn node(&self) -> &NodeName {
        &self.node
    }

    /// Counts a request of somebody.
    ///
    /// # Errors
    ///
    /// `too_many_requests` when there were too many in this second.
    pub(super) fn count(&self, caller: Caller) -> Result<(), Problem> {
        let Some(Rate { limiter, clock }) = &self.rate else { return Ok(()) };
        if limiter.len() > HTTP_CALLERS_REMEMBERED_MAX {
            // Who has asked nothing for a while has its whole second again anyway.
            limiter.retain_recent();
        }
        limiter.check_key(&caller).map_err(|over| {
            let wait = over.wait_time_from(clock.now());
            let detail =
                "more requests in a second than this node takes of one caller; nothing was done";
            Problem::new("too_many_requests", detail).retry_after(wait)
        })
    }
}
