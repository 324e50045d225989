//! A connection to each node, dialed when it is needed and again when it was lost.
//!
//! ```text
//!   Idle ──send──► Wanted ──driver──► Dialing ──► Ready ──lost, send──► Wanted
//!     ▲                                  │          │
//!     └──────── pause is over ──── Paused ◄─ failed ┴ bypassed
//! ```
//!
//! Sending never waits: on a ready link it puts the request into the connection's queue, so order
//! is the order of the calls, and on any other link into a queue in front of the dial. One dial a
//! link at a time; a request waits for one dial at most. A new address or start of a node drops
//! what was known of the old.
//!
//! A link whose dial failed, or that was bypassed, is *broken* until a dial succeeds. What is sent
//! to a node behind a broken link goes through another node whose link is ready, and so does what
//! waited for the dial that failed; meanwhile the link is dialed in the background. If there is no
//! way around, a request waits for the next dial, and fails at once during the pause before it.
//!
//! When this process shows another certificate, each connection is replaced by one that shows it,
//! without a gap: requests go over the new one once it is open, and the old one is closed when all
//! that was asked on it is answered.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::lane::{Job, LANE_REQUESTS_MAX};
use super::relay::Relays;
use super::{AskError, Connection, DialError, Endpoint, Identity, Pending};
use crate::clock;
use crate::limits::{CALL_DEADLINE, SUSPECT_AFTER};
use crate::protocol::{CallRequest, Incarnation, NodeId, NodeName, NodeRecord, Request, Traffic};

/// Pause after a first failed dial. Each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause after a failed dial: what a node that came back may have to wait.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Time that a connection which was replaced has for the answers that are due on it: as long as they
/// are waited for.
const REPLACED_DEADLINE: Duration = CALL_DEADLINE;

/// Connections to all nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Some link is wanted.
    wanted: Notify,
}

/// Dials for [`Links`].
#[derive(Debug)]
pub struct LinksDriver {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

/// The ways that a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Directly, or through another node while the link is broken.
    Any,
    /// Directly; not at all while the link is broken.
    Direct,
    /// Through another node only.
    Around,
}

impl Links {
    /// Returns links to no node yet, and what dials for them once it runs.
    pub fn new(endpoint: Endpoint) -> (Self, LinksDriver) {
        let shared = Arc::new(Shared { table: Mutex::default(), wanted: Notify::new() });
        (Self(shared.clone()), LinksDriver { endpoint, shared })
    }

    /// Says which nodes there are. A node with another address or start than before is another
    /// process: the connection to the old one is closed at once. So are those to nodes that are
    /// not listed any more. The others stay as they are.
    pub fn update(&self, nodes: &[NodeRecord]) {
        self.0.lock().update(nodes);
    }

    /// Sends a request. It is in its place when this returns: requests of one lane to one node
    /// arrive in the order of these calls, except large ones, which travel alone. While the link
    /// is broken and the node is up, the request goes through another node, if it may; when the way
    /// changes, what went the old way may be overtaken.
    pub fn send(&self, node: NodeId, request: Request) -> Pending {
        self.send_on(node, request, Way::Any)
    }

    /// As [`Links::send`], over the link to the node itself. While that is broken, the request
    /// ends in `Unreachable` at once, and the link is dialed.
    pub fn send_directly(&self, node: NodeId, request: Request) -> Pending {
        self.send_on(node, request, Way::Direct)
    }

    /// As [`Links::send`], through another node, whatever the link is like. Ends in `Unreachable`
    /// if there is no way around.
    pub fn send_around(&self, node: NodeId, request: Request) -> Pending {
        self.send_on(node, request, Way::Around)
    }

    /// Returns what has gone over the connections that are open.
    pub fn traffic(&self) -> Traffic {
        let table = self.0.lock();
        table.links.values().filter_map(Link::open_connection).map(Connection::traffic).sum()
    }

    fn send_on(&self, node: NodeId, request: Request, way: Way) -> Pending {
        let (job, pending) = Job::new(request);
        let wanted = self.0.lock().send(node, job, way, clock::now());
        if wanted {
            self.0.wanted.notify_one();
        }
        pending
    }

    /// Closes the connection to a node at once, because its process is known to be gone. What
    /// waits for a reply ends in `Lost`; the next request dials again.
    pub fn drop_connection(&self, node: NodeId) {
        if let Some(link) = self.0.lock().links.get_mut(&node) {
            link.close();
        }
    }

    /// Closes the connection to a node that lives and does not answer on it. What waits for a
    /// reply ends in `Lost`; further requests go around until a dial succeeds. A connection that
    /// was made a moment ago is given its time. Returns whether there was one to close.
    pub fn bypass(&self, node: NodeId) -> bool {
        let now = clock::now();
        self.0.lock().links.get_mut(&node).is_some_and(|link| link.bypass(now))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Each link is whole between any two operations, whoever panicked.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinksDriver {
    /// Dials until `cancel`, then closes all connections.
    pub async fn run(self, cancel: CancellationToken) {
        let mut identity = self.endpoint.watch_identity();
        let mut dials = JoinSet::new();
        let mut replacements = JoinSet::new();
        let mut replaced = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.shared.wanted.notified() => {
                    for (node, link) in &mut self.shared.lock().links {
                        if let Some(target) = link.start_dialing() {
                            dials.spawn(dial(self.endpoint.clone(), *node, target));
                        }
                    }
                }
                Some(dialed) = dials.join_next() => {
                    // A dial that panicked leaves its link dialing; that is a bug to hear of.
                    let (node, target, result) = dialed.expect("dials do not panic");
                    self.shared.lock().dialed(node, &target, result, clock::now());
                }
                Some(dialed) = replacements.join_next() => {
                    let (node, target, result) = dialed.expect("dials do not panic");
                    let issued = identity.borrow().clone();
                    let old = self.shared.lock().replaced(
                        node, &target, result, &issued.identity, clock::now()
                    );
                    replaced.extend(old.map(answer_and_close));
                }
                Some(_) = replaced.join_next() => {}
                // It lives as long as the endpoint does.
                Ok(()) = identity.changed() => {}
            }
            let number = identity.borrow().number;
            for (node, link) in &mut self.shared.lock().links {
                if let Some((target, pause)) = link.start_replacing(number) {
                    replacements.spawn(replace(self.endpoint.clone(), *node, target, pause));
                }
            }
        }
        self.shared.lock().links.clear();
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

/// As [`dial`], after a pause.
async fn replace(
    endpoint: Endpoint,
    node: NodeId,
    target: Target,
    pause: Duration,
) -> (NodeId, Target, Result<Connection, DialError>) {
    sleep(pause).await;
    let (node, target, dialed) = dial(endpoint, node, target).await;
    let proven = match dialed {
        Ok(connection) => answers(&connection, target.addr).await.map(|()| connection),
        Err(error) => Err(error),
    };
    (node, target, proven)
}

/// Asks something small. To this side a connection may look open before the other one has refused
/// the certificate.
async fn answers(connection: &Connection, addr: SocketAddr) -> Result<(), DialError> {
    let question = connection.ask(Request::Call(CallRequest::Nodes));
    match timeout(SUSPECT_AFTER, question).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(DialError::OtherCluster { addr }),
        Err(_) => Err(DialError::NoAnswer { addr }),
    }
}

/// Keeps a connection until all that was asked on it is answered.
async fn answer_and_close(connection: Connection) {
    if timeout(REPLACED_DEADLINE, connection.answered()).await.is_err() {
        debug!("closing a connection that was replaced although answers are due on it");
    }
    connection.close();
}

#[derive(Debug, Default)]
struct Table {
    links: BTreeMap<NodeId, Link>,
    relays: Relays,
}

impl Table {
    fn update(&mut self, nodes: &[NodeRecord]) {
        let is_known = |id: NodeId| nodes.iter().any(|node| node.id == id);
        self.links.retain(|id, _| is_known(*id));
        self.relays.retain(is_known);
        for node in nodes {
            let target = Target::of(node);
            let up = node.status.is_alive();
            match self.links.get_mut(&node.id) {
                Some(link) if link.target == target => link.up = up,
                Some(link) => {
                    link.close();
                    *link = Link::new(target, up);
                }
                None => {
                    self.links.insert(node.id, Link::new(target, up));
                }
            }
        }
    }

    /// Returns whether a link wants to be dialed now.
    #[must_use]
    fn send(&mut self, node: NodeId, job: Job, way: Way, now: Instant) -> bool {
        let Some(link) = self.links.get_mut(&node) else {
            job.fail(AskError::UnknownNode);
            return false;
        };
        match way {
            Way::Any if link.up && link.broken => {
                let wanted = link.dial_again(now);
                match self.relay(node, job, now) {
                    Ok(()) => wanted,
                    Err(job) => self.send_on_link(node, job, way, now) || wanted,
                }
            }
            Way::Direct if link.broken => {
                job.fail(AskError::Unreachable);
                link.dial_again(now)
            }
            Way::Any | Way::Direct => link.send(job, way, now),
            Way::Around => {
                // Given back because there is no way around: dropped, it says `Unreachable`.
                self.relay(node, job, now).err();
                false
            }
        }
    }

    fn send_on_link(&mut self, node: NodeId, job: Job, way: Way, now: Instant) -> bool {
        self.links.get_mut(&node).is_some_and(|link| link.send(job, way, now))
    }

    /// Sends a request through another node. Gives it back if there is no way around.
    #[expect(clippy::result_large_err, reason = "the job is handed back to be sent elsewhere")]
    fn relay(&self, target: NodeId, job: Job, now: Instant) -> Result<(), Job> {
        let open = self.links.iter().filter(|(id, link)| **id != target && link.up);
        let open: BTreeMap<NodeId, &Connection> =
            open.filter_map(|(id, link)| Some((*id, link.open_connection()?))).collect();
        let candidates: Vec<NodeId> = open.keys().copied().collect();
        let Some(through) = self.relays.choose(target, &candidates, now) else { return Err(job) };
        let Some(connection) = open.get(&through.relay) else { return Err(job) };
        let job = job.relayed(through)?;
        // Given back because it was lost just now: dropped, it says `Unreachable`.
        connection.push(job).err();
        Ok(())
    }

    fn dialed(
        &mut self,
        node: NodeId,
        target: &Target,
        result: Result<Connection, DialError>,
        now: Instant,
    ) {
        // Another target means that this dial was for a process that is gone.
        let Some(link) = self.links.get_mut(&node).filter(|link| link.target == *target) else {
            return;
        };
        let stranded = link.dialed(result, now);
        if link.up {
            for (job, way) in stranded {
                if way == Way::Any {
                    // Given back because there is no way around: dropped, it says `Unreachable`.
                    self.relay(node, job, now).err();
                }
            }
        }
    }

    /// Takes the result of a dial that was to replace a connection. Returns that one, if it was.
    fn replaced(
        &mut self,
        node: NodeId,
        target: &Target,
        result: Result<Connection, DialError>,
        identity: &Identity,
        now: Instant,
    ) -> Option<Connection> {
        let link = self.links.get_mut(&node).filter(|link| link.target == *target)?;
        link.replaced(result, identity, now)
    }
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
    /// Whether the directory calls the node up.
    up: bool,
    state: State,
    /// Whether the last dial failed, or what it made was bypassed.
    broken: bool,
    /// Pause after the next failed dial.
    pause: Duration,
    /// A dial is under way that is to replace the connection.
    replacing: bool,
    /// Pause before the next such dial: none before the first one.
    replace_after: Duration,
}

/// Requests that wait for a dial.
type Waiting = Vec<(Job, Way)>;

#[derive(Debug)]
enum State {
    /// Nothing to do.
    Idle,
    /// Somebody waits for a dial that has not begun.
    Wanted(Waiting),
    /// Somebody waits for the dial's result.
    Dialing(Waiting),
    /// Open since then, as far as is known.
    Ready(Connection, Instant),
    /// A dial failed; nothing is tried before this instant.
    Paused(Instant),
}

impl Link {
    fn new(target: Target, up: bool) -> Self {
        Self {
            target,
            up,
            state: State::Idle,
            broken: false,
            pause: PAUSE_MIN,
            replacing: false,
            replace_after: Duration::ZERO,
        }
    }

    fn open_connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Ready(connection, _) => connection.is_open().then_some(connection),
            State::Idle | State::Wanted(_) | State::Dialing(_) | State::Paused(_) => None,
        }
    }

    /// Takes a request. Returns whether the link wants to be dialed now.
    #[must_use]
    fn send(&mut self, job: Job, way: Way, now: Instant) -> bool {
        let job = match &mut self.state {
            State::Ready(connection, _) => match connection.push(job) {
                Ok(()) => return false,
                Err(job) => job,
            },
            State::Wanted(waiting) | State::Dialing(waiting) => {
                if waiting.len() < LANE_REQUESTS_MAX {
                    waiting.push((job, way));
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
        self.state = State::Wanted(vec![(job, way)]);
        true
    }

    /// Wants a broken link to be dialed if its pause is over, though nobody waits for it.
    #[must_use]
    fn dial_again(&mut self, now: Instant) -> bool {
        let due = match &self.state {
            State::Paused(until) => now >= *until,
            State::Idle => true,
            State::Wanted(_) | State::Dialing(_) | State::Ready(..) => false,
        };
        if due {
            self.state = State::Wanted(Vec::new());
        }
        due
    }

    fn start_dialing(&mut self) -> Option<Target> {
        let State::Wanted(waiting) = &mut self.state else { return None };
        self.state = State::Dialing(std::mem::take(waiting));
        Some(self.target.clone())
    }

    /// Takes the result of a dial. Returns what waited for it in vain.
    fn dialed(&mut self, result: Result<Connection, DialError>, now: Instant) -> Waiting {
        // A link that does not dial any more was closed meanwhile, and the result is unwanted.
        let State::Dialing(waiting) = &mut self.state else { return Vec::new() };
        let waiting = std::mem::take(waiting);
        let Target { name, addr, .. } = &self.target;
        match result {
            Ok(connection) => {
                if self.broken {
                    info!(peer = %name, %addr, "connected again");
                } else {
                    debug!(peer = %name, %addr, "connected");
                }
                for (job, _) in waiting {
                    // Given back because it is lost already: dropped, it says `Unreachable`.
                    connection.push(job).err();
                }
                self.state = State::Ready(connection, now);
                self.broken = false;
                self.pause = PAUSE_MIN;
                Vec::new()
            }
            Err(error) => {
                // Said once for each time that a node gets lost.
                if !self.broken {
                    info!(peer = %name, %addr, %error, "cannot connect");
                }
                self.state = State::Paused(now + self.pause);
                self.broken = true;
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                waiting
            }
        }
    }

    /// Has a connection replaced that was opened with an identity before this one. Returns where to,
    /// and after what pause.
    fn start_replacing(&mut self, identity: u64) -> Option<(Target, Duration)> {
        let is_old = self.open_connection().is_some_and(|open| open.identity() < identity);
        if !is_old || self.replacing {
            return None;
        }
        self.replacing = true;
        Some((self.target.clone(), self.replace_after))
    }

    /// Takes the result of a dial that was to replace the connection. Returns that one, if it was.
    fn replaced(
        &mut self,
        result: Result<Connection, DialError>,
        identity: &Identity,
        now: Instant,
    ) -> Option<Connection> {
        self.replacing = false;
        self.replace_after = Duration::ZERO;
        // What was lost meanwhile is dialed when it is wanted.
        let State::Ready(open, since) = &mut self.state else { return None };
        let Target { name, addr, .. } = &self.target;
        match result {
            Ok(connection) => {
                debug!(peer = %name, %addr, "connected with another certificate");
                *since = now;
                Some(std::mem::replace(open, connection))
            }
            Err(error) if open.is_accepted(identity) => {
                debug!(peer = %name, %addr, %error, "not connected with another certificate yet");
                self.replace_after = PAUSE_MAX;
                None
            }
            Err(error) => {
                info!(peer = %name, %addr, %error, "its secret was dropped, and it has no other");
                self.close();
                self.broken = true;
                None
            }
        }
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready(connection, _) => connection.close(),
            // What waits says `Unreachable` when it is dropped.
            State::Wanted(_) | State::Dialing(_) | State::Idle | State::Paused(_) => {}
        }
    }

    fn bypass(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Ready(_, since) if now.saturating_duration_since(*since) >= SUSPECT_AFTER => {}
            State::Ready(..)
            | State::Wanted(_)
            | State::Dialing(_)
            | State::Idle
            | State::Paused(_) => return false,
        }
        self.close();
        self.broken = true;
        true
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}
