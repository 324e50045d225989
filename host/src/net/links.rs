//! A connection to each node, dialed when it is needed and again when it was lost.
//!
//! ```text
//!   Idle ──send──► Wanted ──driver──► Dialing ──► Ready ──lost, send──► Wanted
//!     ▲                                  │
//!     └──────── pause is over ──── Paused ◄── failed: all that waited is Unreachable
//! ```
//!
//! Sending never waits: on a ready link it puts the request into the connection's queue, so order
//! is the order of the calls, and on any other link into a queue in front of the dial. One dial a
//! link at a time; a request waits for one dial at most, and while a failed dial is followed by its
//! pause requests fail at once. A new address or start of a node drops what was known of the old.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::lane::{Job, LANE_REQUESTS_MAX};
use super::{AskError, Connection, DialError, Endpoint, Pending};
use crate::clock;
use crate::protocol::{Incarnation, NodeId, NodeName, NodeRecord, Request};

/// Pause after a first failed dial. Each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause after a failed dial: what a node that came back may have to wait.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Connections to all nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    links: Mutex<HashMap<NodeId, Link>>,
    /// Some link is wanted.
    wanted: Notify,
}

/// Dials for [`Links`].
#[derive(Debug)]
pub struct LinksDriver {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

impl Links {
    /// Returns links to no node yet, and what dials for them once it runs.
    pub fn new(endpoint: Endpoint) -> (Self, LinksDriver) {
        let shared = Arc::new(Shared { links: Mutex::default(), wanted: Notify::new() });
        (Self(shared.clone()), LinksDriver { endpoint, shared })
    }

    /// Says which nodes there are. A node with another address or start than before is another
    /// process: the connection to the old one is closed at once. So are those to nodes that are
    /// not listed any more. The others stay as they are.
    pub fn update(&self, nodes: &[NodeRecord]) {
        let mut links = self.0.lock();
        links.retain(|id, _| nodes.iter().any(|node| node.id == *id));
        for node in nodes {
            let target = Target::of(node);
            match links.get_mut(&node.id) {
                Some(link) if link.target == target => {}
                Some(link) => {
                    link.close();
                    *link = Link::new(target);
                }
                None => {
                    links.insert(node.id, Link::new(target));
                }
            }
        }
    }

    /// Sends a request. It is in its place when this returns: requests of one lane to one node
    /// arrive in the order of these calls, except large ones, which travel alone.
    pub fn send(&self, node: NodeId, request: Request) -> Pending {
        let (job, pending) = Job::new(request);
        let now = clock::now();
        let wanted = match self.0.lock().get_mut(&node) {
            Some(link) => link.send(job, now),
            None => {
                job.fail(AskError::UnknownNode);
                false
            }
        };
        if wanted {
            self.0.wanted.notify_one();
        }
        pending
    }

    /// Closes the connection to a node at once, because its process is known to be gone. What
    /// waits for a reply ends in `Lost`; the next request dials again.
    pub fn drop_connection(&self, node: NodeId) {
        if let Some(link) = self.0.lock().get_mut(&node) {
            link.close();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Link>> {
        // Each link is whole between any two operations, whoever panicked.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinksDriver {
    /// Dials until `cancel`, then closes all connections.
    pub async fn run(self, cancel: CancellationToken) {
        let mut dials = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.shared.wanted.notified() => {
                    for (node, link) in self.shared.lock().iter_mut() {
                        if let Some(target) = link.start_dialing() {
                            dials.spawn(dial(self.endpoint.clone(), *node, target));
                        }
                    }
                }
                Some(dialed) = dials.join_next() => {
                    // A dial that panicked leaves its link dialing; that is a bug to hear of.
                    let (node, target, result) = dialed.expect("dials do not panic");
                    self.dialed(node, &target, result);
                }
            }
        }
        self.shared.lock().clear();
    }

    fn dialed(&self, node: NodeId, target: &Target, result: Result<Connection, DialError>) {
        let now = clock::now();
        // Another target means that this dial was for a process that is gone.
        match self.shared.lock().get_mut(&node) {
            Some(link) if link.target == *target => link.dialed(result, now),
            Some(_) | None => {}
        }
    }
}

async fn dial(
    endpoint: Endpoint,
    node: NodeId,
    target: Target,
) -> (NodeId, Target, Result<Connection, DialError>) {
    let result = endpoint.dial(target.addr, Some(&target.name)).await;
    (node, target, result)
}

/// The process that a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    name: NodeName,
    addr: SocketAddr,
    incarnation: Incarnation,
}

impl Target {
    fn of(node: &NodeRecord) -> Self {
        Self { name: node.name.clone(), addr: node.addr, incarnation: node.incarnation }
    }
}

#[derive(Debug)]
struct Link {
    target: Target,
    state: State,
    /// Pause after the next failed dial.
    pause: Duration,
}

#[derive(Debug)]
enum State {
    /// Nothing to do.
    Idle,
    /// Somebody waits for a dial that has not begun.
    Wanted(Vec<Job>),
    /// Somebody waits for the dial's result.
    Dialing(Vec<Job>),
    /// Open, as far as is known.
    Ready(Connection),
    /// A dial failed; nothing is tried before this instant.
    Paused(Instant),
}

impl Link {
    fn new(target: Target) -> Self {
        Self { target, state: State::Idle, pause: PAUSE_MIN }
    }

    /// Takes a request. Returns whether the link wants to be dialed now.
    #[must_use]
    fn send(&mut self, job: Job, now: Instant) -> bool {
        let job = match &mut self.state {
            State::Ready(connection) => match connection.push(job) {
                Ok(()) => return false,
                Err(job) => job,
            },
            State::Wanted(waiting) | State::Dialing(waiting) => {
                if waiting.len() < LANE_REQUESTS_MAX {
                    waiting.push(job);
                } else {
                    job.fail(AskError::Full);
                }
                return false;
            }
            State::Paused(until) if now < *until => {
                job.fail(AskError::Unreachable);
                return false;
            }
            State::Paused(_) | State::Idle => job,
        };
        self.state = State::Wanted(vec![job]);
        true
    }

    fn start_dialing(&mut self) -> Option<Target> {
        let State::Wanted(waiting) = &mut self.state else { return None };
        self.state = State::Dialing(std::mem::take(waiting));
        Some(self.target.clone())
    }

    fn dialed(&mut self, result: Result<Connection, DialError>, now: Instant) {
        // A link that does not dial any more was closed meanwhile, and the result is unwanted.
        let State::Dialing(waiting) = &mut self.state else { return };
        let waiting = std::mem::take(waiting);
        let Target { name, addr, .. } = &self.target;
        match result {
            Ok(connection) => {
                debug!(peer = %name, %addr, "connected");
                for job in waiting {
                    // Given back because it is lost already: dropped, it says `Unreachable`.
                    connection.push(job).err();
                }
                self.state = State::Ready(connection);
                self.pause = PAUSE_MIN;
            }
            Err(error) => {
                // Said once for each time that a node gets lost.
                if self.pause == PAUSE_MIN {
                    info!(peer = %name, %addr, %error, "cannot connect");
                }
                drop(waiting);
                self.state = State::Paused(now + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready(connection) => connection.close(),
            // What waits says `Unreachable` when it is dropped.
            State::Wanted(_) | State::Dialing(_) | State::Idle | State::Paused(_) => {}
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::net::Secret;

    struct World {
        secret: Secret,
        links: Links,
        _tasks: JoinSet<()>,
    }

    fn world() -> World {
        let secret = Secret::generate();
        let endpoint = Endpoint::bind(any_addr(), node_identity(&secret, "app_node9")).unwrap();
        let (links, driver) = Links::new(endpoint);
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run(CancellationToken::new()));
        World { secret, links, _tasks: tasks }
    }

    #[tokio::test]
    async fn order_is_kept_across_the_dial() {
        let World { secret, links, _tasks } = world();
        let mut node = Node::start(&secret, "app_node1");
        links.update(std::slice::from_ref(&node.record));
        // The driver has not run yet: all of these wait for the dial.
        let pending: Vec<_> =
            (1..=100).map(|seq| links.send(node.record.id, append(seq))).collect();
        for (seq, pending) in (1..).zip(pending) {
            assert_eq!(soon(pending).await, Ok(acknowledged(seq)));
            let (_, request) = node.heard.recv().await.unwrap();
            assert_eq!(Request::Keeper(request), append(seq));
        }
    }

    #[tokio::test]
    async fn an_unknown_and_a_missing_node_are_told_apart() {
        let World { secret, links, _tasks } = world();
        let record = Node::start(&secret, "app_node1").kill().await;
        assert_eq!(links.send(record.id, ping()).await, Err(AskError::UnknownNode));
        links.update(std::slice::from_ref(&record));
        assert_eq!(soon(links.send(record.id, ping())).await, Err(AskError::Unreachable));
        links.update(&[]);
        assert_eq!(links.send(record.id, ping()).await, Err(AskError::UnknownNode));
    }

    #[tokio::test]
    async fn a_node_that_came_back_is_dialed_again() {
        let World { secret, links, _tasks } = world();
        let mut node = Node::start(&secret, "app_node1");
        let id = node.record.id;
        links.update(std::slice::from_ref(&node.record));
        let owed = links.send(id, never_answered());
        node.heard.recv().await.unwrap();
        let old = node.kill().await;
        assert_eq!(soon(owed).await, Err(AskError::Lost));
        assert_eq!(soon(links.send(id, ping())).await, Err(AskError::Unreachable));

        let node = Node::start_again(&secret, &old).await;
        // A new start is news: the pause after the failed dial does not hold for it.
        links.update(std::slice::from_ref(&node.record));
        assert_eq!(soon(links.send(id, append(1))).await, Ok(acknowledged(1)));
    }

    #[tokio::test]
    async fn a_dropped_connection_loses_what_is_owed_and_is_made_again() {
        let World { secret, links, _tasks } = world();
        let mut node = Node::start(&secret, "app_node1");
        let id = node.record.id;
        links.update(std::slice::from_ref(&node.record));
        let owed = links.send(id, never_answered());
        node.heard.recv().await.unwrap();
        links.drop_connection(id);
        assert_eq!(soon(owed).await, Err(AskError::Lost));
        assert_eq!(soon(links.send(id, append(1))).await, Ok(acknowledged(1)));
    }

    #[tokio::test]
    async fn another_node_at_the_address_gets_nothing() {
        let World { secret, links, _tasks } = world();
        let mut node = Node::start(&secret, "app_node1");
        let record = NodeRecord { name: name("app_node2"), ..node.record.clone() };
        links.update(std::slice::from_ref(&record));
        assert_eq!(soon(links.send(record.id, append(1))).await, Err(AskError::Unreachable));
        assert!(node.heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_full_queue_says_so_at_once() {
        let World { secret, links, _tasks } = world();
        let node = Node::start(&secret, "app_node1");
        links.update(std::slice::from_ref(&node.record));
        let waiting: Vec<_> =
            (0..LANE_REQUESTS_MAX).map(|_| links.send(node.record.id, ping())).collect();
        assert_eq!(links.send(node.record.id, ping()).await, Err(AskError::Full));
        for pending in waiting {
            assert!(soon(pending).await.is_ok());
        }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_end() {
        let target =
            Target { name: name("app_node1"), addr: any_addr(), incarnation: Incarnation(1) };
        let mut link = Link::new(target);
        let mut now = clock::now();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let (job, _pending) = Job::new(ping());
            assert!(link.send(job, now));
            assert!(link.start_dialing().is_some());
            link.dialed(Err(DialError::NoAnswer { addr: any_addr() }), now);
            let State::Paused(until) = link.state else { panic!("expected a pause") };
            let (early, _pending) = Job::new(ping());
            assert!(!link.send(early, now));
            pauses.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500]);
    }
}
