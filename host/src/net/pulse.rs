//! The pulse: a silent TCP connection to each process, whose end tells that the process is gone.
//!
//! When a process is killed its kernel closes its TCP connections at once, while QUIC, which lives
//! inside the process, just falls silent. So each node holds a TCP connection to each other node.
//! When it ends *and* a new one is refused, nobody listens there any more: the process is gone.
//! When a new one is accepted, or nothing answers at all, this says nothing and tries again:
//! heartbeats tell a restarted process, a broken network and a dead machine apart.
//!
//! The connections carry no data and nobody proves anything on them. Their end is a hint that makes
//! detection fast, never a proof that a node is down.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::dial::connect_tcp;
use crate::clock;
use crate::protocol::{Incarnation, NodeId, NodeRecord};

/// Pulses that one process holds for others: each other node, several times. The oldest goes first.
const HELD_MAX: usize = 256;
/// Pause before a pulse that could not connect tries again.
const RETRY: Duration = Duration::from_millis(500);
/// Pause after a connection that ended as soon as it was made, for the first few and for later ones.
/// While a kernel takes a dead process apart it may still accept for it, for some milliseconds;
/// something else that accepts for the process may do so for ever.
const SHORT_RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How many are the first few.
const SHORT_RETRIES: u32 = 25;
/// Time for a connection. A machine that is there answers sooner.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Silence after which the kernel asks whether the machine is still there.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after the system refused to accept, for want of file descriptors most likely.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The process of this node and this start of it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PulseEvent {
    /// The node.
    pub node: NodeId,
    /// The start of it that was watched.
    pub incarnation: Incarnation,
}

/// Says which nodes are watched. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse(watch::Sender<Vec<Watched>>);

/// Watches for [`Pulse`].
#[derive(Debug)]
pub struct PulseDriver {
    watched: watch::Receiver<Vec<Watched>>,
    events: mpsc::Sender<PulseEvent>,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watched {
    id: NodeId,
    incarnation: Incarnation,
    addr: SocketAddr,
}

impl Pulse {
    /// Returns a pulse of no node yet, and what watches once it runs. Each process that is gone
    /// becomes one event; a full channel delays further ones.
    pub fn new(events: mpsc::Sender<PulseEvent>) -> (Self, PulseDriver) {
        let (sender, watched) = watch::channel(Vec::new());
        (Self(sender), PulseDriver { watched, events })
    }

    /// Says which nodes there are; those that are `Up` are watched. A node with another address or
    /// start than before is another process.
    pub fn update(&self, nodes: &[NodeRecord]) {
        let up = nodes.iter().filter(|node| node.status.is_alive());
        let watched = up
            .map(|node| Watched { id: node.id, incarnation: node.incarnation, addr: node.addr })
            .collect();
        self.0.send_replace(watched);
    }
}

impl PulseDriver {
    /// Watches until `cancel`, or until nobody can say any more who is watched.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut watchers: HashMap<NodeId, (Watched, AbortHandle)> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.watched.changed() => if changed.is_err() { return },
                // Ended watchers stay in the table: a process is gone once.
                Some(_) = tasks.join_next() => continue,
            }
            let wanted = self.watched.borrow_and_update().clone();
            watchers.retain(|_, (watched, task)| {
                let keep = wanted.contains(watched);
                if !keep {
                    task.abort();
                }
                keep
            });
            for node in wanted {
                watchers.entry(node.id).or_insert_with(|| {
                    (node, tasks.spawn(watch_process(node, self.events.clone())))
                });
            }
        }
    }
}

/// Ends when the process is gone and has been reported.
async fn watch_process(process: Watched, events: mpsc::Sender<PulseEvent>) {
    // Whether a connection ended and none has been made since.
    let mut ended = false;
    let mut short_lived = 0;
    loop {
        match time::timeout(CONNECT_DEADLINE, connect_tcp(process.addr)).await {
            Ok(Ok(stream)) => {
                let since = clock::now();
                let reason = end_of(&stream).await;
                debug!(node = %process.id, ?reason, "a pulse ended");
                ended = true;
                short_lived = if clock::now() - since < RETRY { short_lived + 1 } else { 0 };
                match short_lived {
                    0 => {}
                    1..=SHORT_RETRIES => time::sleep(SHORT_RETRY.0).await,
                    _ => time::sleep(SHORT_RETRY.1).await,
                }
            }
            Ok(Err(error)) if ended && says_gone(&error) => {
                let Watched { id: node, incarnation, .. } = process;
                // Nobody listens any more only when the node itself stops.
                events.send(PulseEvent { node, incarnation }).await.ok();
                return;
            }
            Ok(Err(_)) | Err(_) => time::sleep(RETRY).await,
        }
    }
}

fn says_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

/// Waits for the end of a connection.
async fn end_of(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    // Nobody writes, so whatever can be read is the end. Data would be a stranger's, and no better.
    // Tokio takes a new connection for readable before it has looked: only a read tells.
    stream.peek(&mut [0]).await.map(drop)
}

/// Holds the pulses of other processes until `cancel`. Reads nothing.
pub(super) async fn hold(listener: Option<std::net::TcpListener>, cancel: CancellationToken) {
    let Some(listener) = listener else { return };
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "no pulse: killed processes are noticed late"),
    };
    let mut held = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
            Some(_) = held.join_next() => {
                oldest_first.retain(|pulse| !pulse.is_finished());
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                if held.len() >= HELD_MAX
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                }
                oldest_first.push_back(held.spawn(async move {
                    let reason = end_of(&stream).await;
                    debug!(?reason, "a held pulse ended");
                }));
            }
            Err(error) => {
                debug!(%error, "a pulse was not accepted");
                time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeStatus;

    /// Runs what watches until the test ends.
    struct World {
        pulse: Pulse,
        events: mpsc::Receiver<PulseEvent>,
        tasks: JoinSet<()>,
    }

    fn world() -> World {
        let (sender, events) = mpsc::channel(8);
        let (pulse, driver) = Pulse::new(sender);
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run(CancellationToken::new()));
        World { pulse, events, tasks }
    }

    fn record(addr: SocketAddr, incarnation: u64) -> NodeRecord {
        NodeRecord {
            id: NodeId(7),
            name: "app_node7".parse().unwrap(),
            addr,
            incarnation: Incarnation(incarnation),
            status: NodeStatus::Up,
        }
    }

    async fn listener() -> (tokio::net::TcpListener, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[tokio::test]
    async fn a_process_whose_sockets_close_is_reported_once() {
        let mut world = world();
        let (listener, addr) = listener().await;
        world.pulse.update(&[record(addr, 3)]);
        let held = listener.accept().await.unwrap();
        // The order in which a kernel may close a killed process's sockets.
        drop(held);
        drop(listener);
        let gone = PulseEvent { node: NodeId(7), incarnation: Incarnation(3) };
        assert_eq!(world.events.recv().await, Some(gone));
        world.tasks.shutdown().await;
        assert_eq!(world.events.recv().await, None);
    }

    #[tokio::test]
    async fn a_connection_that_is_made_again_says_nothing() {
        let mut world = world();
        let (listener, addr) = listener().await;
        world.pulse.update(&[record(addr, 3)]);
        drop(listener.accept().await.unwrap());
        let _again = listener.accept().await.unwrap();
        assert!(world.events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_pulse_lasts_while_both_ends_live() {
        let mut world = world();
        let (listener, addr) = listener().await;
        world.pulse.update(&[record(addr, 3)]);
        let held = listener.accept().await.unwrap();
        assert!(time::timeout(RETRY, listener.accept()).await.is_err(), "it was made again");
        assert!(time::timeout(SHORT_RETRY.1, end_of(&held.0)).await.is_err(), "it ended");
        assert!(world.events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_new_start_is_watched_in_place_of_the_old() {
        let mut world = world();
        let (listener, addr) = listener().await;
        world.pulse.update(&[record(addr, 3)]);
        let old = listener.accept().await.unwrap();
        world.pulse.update(&[record(addr, 4)]);
        let new = listener.accept().await.unwrap();
        old.0.readable().await.unwrap();
        drop((old, new, listener));
        let gone = PulseEvent { node: NodeId(7), incarnation: Incarnation(4) };
        assert_eq!(world.events.recv().await, Some(gone));
    }

    #[tokio::test]
    async fn held_pulses_are_bounded_and_end_with_their_holder() {
        let (listener, addr) = listener().await;
        let cancel = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let listener = listener.into_std().unwrap();
        tasks.spawn(hold(Some(listener), cancel.clone()));
        let oldest = connect_tcp(addr).await.unwrap();
        let mut others = Vec::new();
        for _ in 0..HELD_MAX {
            others.push(connect_tcp(addr).await.unwrap());
        }
        end_of(&oldest).await.unwrap();
        let newest = others.pop().unwrap();
        cancel.cancel();
        end_of(&newest).await.unwrap();
        tasks.join_next().await.unwrap().unwrap();
        assert!(says_gone(&connect_tcp(addr).await.unwrap_err()));
    }
}
