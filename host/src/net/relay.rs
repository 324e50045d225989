//! Around a broken link: a request for a node that cannot be reached from here is sent through
//! another one that reaches it.
//!
//! ```text
//!   this node ──✕── target            [`Relays`] remembers, for each target, which node got through
//!        │             ▲
//!        └──► relay ───┘              [`Relayer`] passes on over its own link, once and no further
//! ```
//!
//! A relayed request is sent once: if the relay cannot reach the target either, the request ends
//! in `Unreachable` and the next one tries another relay. Heartbeats do so all the time, so that
//! calls find a way that works.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::encoded_len;
use super::lane::Pending;
use super::{AskError, Inbound, Links, PeerIdentity, Responder};
use crate::clock;
use crate::limits::{INBOX_REQUESTS_MAX, RELAYED_BYTES_MAX, RELAYED_IN_FLIGHT_MAX};
use crate::protocol::{NodeId, Passed, Relay, Reply, Request, Unrelayed};

/// Time for which a relay that could not reach a target is not asked for it again.
const FAILED_FOR: Duration = Duration::from_millis(500);

/// Which node gets through to which. Cheap to clone; all clones are one memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Relays(Arc<Mutex<BTreeMap<NodeId, Ways>>>);

/// What is known of the ways to one target.
#[derive(Debug, Default)]
struct Ways {
    /// Got through, and is asked until it fails.
    works: Option<NodeId>,
    /// Did not get through, and when.
    failed: BTreeMap<NodeId, Instant>,
    /// Asked last while none was known to work: the next one comes after it.
    tried: Option<NodeId>,
}

/// The way of one request.
#[derive(Debug)]
pub(super) struct Through {
    relays: Relays,
    pub(super) target: NodeId,
    pub(super) relay: NodeId,
}

impl Relays {
    /// Chooses one of `candidates`, in order of their numbers, to ask `target` through: the one
    /// that works, or one after the other of those that have not failed a moment ago.
    pub(super) fn choose(
        &self,
        target: NodeId,
        candidates: &[NodeId],
        now: Instant,
    ) -> Option<Through> {
        let relay = self.lock().entry(target).or_default().choose(candidates, now)?;
        Some(Through { relays: self.clone(), target, relay })
    }

    /// Forgets the ways to nodes other than these.
    pub(super) fn retain(&self, is_known: impl Fn(NodeId) -> bool) {
        self.lock().retain(|target, _| is_known(*target));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Ways>> {
        // The table is whole between any two operations, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ways {
    fn choose(&mut self, candidates: &[NodeId], now: Instant) -> Option<NodeId> {
        if let Some(works) = self.works.filter(|works| candidates.contains(works)) {
            return Some(works);
        }
        self.works = None;
        self.failed.retain(|_, at| now.saturating_duration_since(*at) < FAILED_FOR);
        let mut open = candidates.iter().filter(|id| !self.failed.contains_key(id));
        let first = open.clone().next();
        self.tried = open.find(|id| Some(**id) > self.tried).or(first).copied();
        self.tried
    }

    fn worked(&mut self, relay: NodeId) {
        self.failed.remove(&relay);
        self.works.get_or_insert(relay);
    }

    fn failed(&mut self, relay: NodeId, now: Instant) {
        if self.works == Some(relay) {
            self.works = None;
        }
        self.failed.insert(relay, now);
    }
}

impl Through {
    /// Takes the relay's word, and learns from it.
    pub(super) fn answer(self, reply: Reply) -> Result<Reply, AskError> {
        let mut ways = self.relays.lock();
        let ways = ways.entry(self.target).or_default();
        match reply {
            Reply::Unrelayed(Unrelayed::Unreachable) => {
                ways.failed(self.relay, clock::now());
                Err(AskError::Unreachable)
            }
            Reply::Unrelayed(Unrelayed::Lost) => Err(AskError::Lost),
            Reply::Unrelayed(Unrelayed::Full) => Err(AskError::Full),
            // The relay's own word, not the target's: it says nothing about the way.
            Reply::Busy => Ok(reply),
            Reply::Member(_) | Reply::Directory(_) | Reply::Keeper(_) | Reply::Call(_) => {
                ways.worked(self.relay);
                Ok(reply)
            }
        }
    }
}

/// Passes on what other nodes ask of third ones.
#[derive(Debug)]
pub struct Relayer {
    links: Links,
    inbox: mpsc::Receiver<Inbound<Relay, Reply>>,
    /// What may be on its way at the same time, in bytes.
    bytes_max: usize,
}

/// A request on its way, and its bytes.
type Passing = Pin<Box<dyn Future<Output = usize> + Send>>;

impl Relayer {
    /// Returns what passes on over `links` once it runs, and its inbox.
    pub fn new(links: Links) -> (Self, mpsc::Sender<Inbound<Relay, Reply>>) {
        Self::bounded(links, RELAYED_BYTES_MAX)
    }

    /// As [`Relayer::new`], with another bound of what may be on its way at the same time, in bytes.
    pub(super) fn bounded(
        links: Links,
        bytes_max: usize,
    ) -> (Self, mpsc::Sender<Inbound<Relay, Reply>>) {
        let (sender, inbox) = mpsc::channel(INBOX_REQUESTS_MAX);
        (Self { links, inbox, bytes_max }, sender)
    }

    /// Passes on until `cancel`. Requests of one lane leave in the order in which they came.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut passed = FuturesUnordered::<Passing>::new();
        let mut bytes_passed = 0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(bytes) = passed.next(), if !passed.is_empty() => bytes_passed -= bytes,
                inbound = self.inbox.recv() => {
                    let Some(Inbound { from, request, responder, .. }) = inbound else { return };
                    // A client's is not let in; dropped, the responder says that nothing was done.
                    let PeerIdentity::Node(from) = from else { continue };
                    // One request may be as large as the largest guest, so their number says little.
                    let bytes = encoded_len(&request);
                    let fits = bytes_passed + bytes <= self.bytes_max;
                    if passed.len() >= RELAYED_IN_FLIGHT_MAX || !fits {
                        responder.send(Reply::Unrelayed(Unrelayed::Full));
                        continue;
                    }
                    let Relay { to, request } = request;
                    let request = Request::Passed(Passed { from, request });
                    let pending = self.links.send_directly(to, request);
                    bytes_passed += bytes;
                    let passing = pass(Owed(Some(responder)), pending);
                    passed.push(Box::pin(async move {
                        passing.await;
                        bytes
                    }));
                }
            }
        }
    }
}

async fn pass(mut owed: Owed, pending: Pending) {
    let reply = match pending.await {
        Ok(reply) => reply,
        Err(AskError::Unreachable | AskError::UnknownNode) => {
            Reply::Unrelayed(Unrelayed::Unreachable)
        }
        Err(AskError::Lost) => Reply::Unrelayed(Unrelayed::Lost),
        Err(AskError::Full) => Reply::Unrelayed(Unrelayed::Full),
    };
    owed.send(reply);
}

/// An answer that is owed for a request that was passed on. Given up, it says that the request may
/// have been done: silence of a [`Responder`] would say that nothing was.
struct Owed(Option<Responder<Reply>>);

impl Owed {
    fn send(&mut self, reply: Reply) {
        if let Some(responder) = self.0.take() {
            responder.send(reply);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.send(Reply::Unrelayed(Unrelayed::Lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MemberReply;

    const TARGET: NodeId = NodeId(9);

    fn ids(numbers: &[u64]) -> Vec<NodeId> {
        numbers.iter().copied().map(NodeId).collect()
    }

    fn unreachable() -> Reply {
        Reply::Unrelayed(Unrelayed::Unreachable)
    }

    fn noted() -> Reply {
        Reply::Member(MemberReply::Noted)
    }

    #[test]
    fn relays_are_tried_in_turn_until_one_works_and_that_one_until_it_fails() {
        let (relays, candidates) = (Relays::default(), ids(&[1, 2, 3]));
        let now = clock::now();
        let mut chosen = Vec::new();
        for _ in 0..4 {
            chosen.push(relays.choose(TARGET, &candidates, now).unwrap());
        }
        let order: Vec<u64> = chosen.iter().map(|through| through.relay.0).collect();
        assert_eq!(order, [1, 2, 3, 1]);

        let second = chosen.swap_remove(1);
        assert_eq!(second.answer(noted()), Ok(noted()));
        for _ in 0..3 {
            assert_eq!(relays.choose(TARGET, &candidates, now).unwrap().relay, NodeId(2));
        }
        let failing = relays.choose(TARGET, &candidates, now).unwrap();
        assert_eq!(failing.answer(unreachable()), Err(AskError::Unreachable));
        assert_ne!(relays.choose(TARGET, &candidates, now).unwrap().relay, NodeId(2));
    }

    #[test]
    fn relays_that_all_failed_rest_for_a_while() {
        let (relays, candidates) = (Relays::default(), ids(&[1, 2]));
        for _ in 0..2 {
            let through = relays.choose(TARGET, &candidates, clock::now()).unwrap();
            assert_eq!(through.answer(unreachable()), Err(AskError::Unreachable));
        }
        let now = clock::now();
        assert!(relays.choose(TARGET, &candidates, now).is_none());
        assert!(relays.choose(NodeId(8), &candidates, now).is_some(), "another target");
        assert!(relays.choose(TARGET, &candidates, now + FAILED_FOR).is_some());
    }

    #[test]
    fn what_a_relay_says_of_the_effect_is_kept() {
        let relays = Relays::default();
        let through = || relays.choose(TARGET, &ids(&[1]), clock::now()).unwrap();
        let says = |why| through().answer(Reply::Unrelayed(why));
        assert_eq!(says(Unrelayed::Lost), Err(AskError::Lost));
        assert_eq!(says(Unrelayed::Full), Err(AskError::Full));
        assert_eq!(through().answer(Reply::Busy), Ok(Reply::Busy));
    }
}
