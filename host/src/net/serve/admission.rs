//! Who gets in: handshakes that are under way, and connections that are open.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quinn::ConnectionError;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;
use tracing::{debug, info};

use super::super::PeerIdentity;
use super::super::crew::Crew;
use super::Bounds;
use crate::clock;
use crate::protocol::harmless;

/// Handshakes that failed and are named in the log in each [`NAMED_TIME`]; others are counted, for a
/// stranger must not be able to fill a disk.
const NAMED_MAX: usize = 10;
/// Time after which as many are named again.
const NAMED_TIME: Duration = Duration::from_secs(10);

/// A connection whose handshake is done.
pub(super) struct Opened {
    pub(super) quic: quinn::Connection,
    pub(super) crew: Crew,
    pub(super) addr: SocketAddr,
}

/// Handshakes that are under way. Nobody knows yet who is on the other side.
pub(super) struct Handshakes {
    bounds: Bounds,
    tasks: JoinSet<Result<Opened, (SocketAddr, String)>>,
    oldest_first: VecDeque<AbortHandle>,
    failures: Failures,
}

impl Handshakes {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (tasks, oldest_first) = (JoinSet::new(), VecDeque::new());
        Self { bounds, tasks, oldest_first, failures: Failures::default() }
    }

    /// Begins one. When there are many, its dialer has to show first that it hears what is sent to its
    /// address, and that costs this node nothing. When there are too many, the oldest is given up: a
    /// member's takes milliseconds, so it is hardly ever that one.
    pub(super) fn begin(&mut self, incoming: quinn::Incoming) {
        if self.tasks.len() >= self.bounds.handshakes_trusted && incoming.may_retry() {
            // Fails only for one that may not be asked again.
            incoming.retry().ok();
            return;
        }
        if self.tasks.len() >= self.bounds.handshakes
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let deadline = self.bounds.handshake_time;
        self.oldest_first.push_back(self.tasks.spawn(handshake(incoming, deadline)));
    }

    /// Waits for the next one that is done, and logs those that fail. Cancel safe; `None` if none is
    /// under way.
    pub(super) async fn next(&mut self) -> Option<Opened> {
        loop {
            let ended = self.tasks.join_next().await?;
            self.oldest_first.retain(|task| !task.is_finished());
            match ended {
                Ok(Ok(opened)) => return Some(opened),
                Ok(Err((addr, reason))) => self.failures.say(addr, &reason, clock::now()),
                // Given up for others, or a panic, which is our own bug and has been printed.
                Err(error) => debug!(%error, "a handshake was given up"),
            }
        }
    }
}

async fn handshake(
    incoming: quinn::Incoming,
    deadline: Duration,
) -> Result<Opened, (SocketAddr, String)> {
    let addr = incoming.remote_address();
    let handshake = async {
        let (accepted, crew) = Crew::open(|| incoming.accept())?;
        Ok((accepted.await?, crew))
    };
    match time::timeout(deadline, handshake).await {
        Ok(Ok((quic, crew))) => Ok(Opened { quic, crew, addr }),
        // It may hold words of the stranger.
        Ok(Err::<_, ConnectionError>(error)) => Err((addr, harmless(&error.to_string()))),
        Err(_) => Err((addr, "it was not done in time".to_owned())),
    }
}

/// What was said of handshakes that failed.
#[derive(Debug, Default)]
struct Failures {
    since: Option<Instant>,
    named: usize,
    unnamed: usize,
}

impl Failures {
    fn say(&mut self, addr: SocketAddr, reason: &str, now: Instant) {
        if self.counts(now) {
            info!(%addr, reason, "a connection was not opened");
        }
    }

    /// Counts one more; returns whether it is to be named.
    fn counts(&mut self, now: Instant) -> bool {
        let over = |since| now.saturating_duration_since(since) >= NAMED_TIME;
        if self.since.is_none_or(over) {
            if self.unnamed > 0 {
                info!(connections = self.unnamed, "so many more were not opened");
            }
            *self = Self { since: Some(now), named: 0, unnamed: 0 };
        }
        let named = self.named < NAMED_MAX;
        *if named { &mut self.named } else { &mut self.unnamed } += 1;
        named
    }
}

/// Connections that are open, by who is on the other side.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<HashMap<PeerIdentity, usize>>);

impl Guests {
    /// Gives a connection its place, if there is one for its kind.
    pub(super) fn admit(self: &Arc<Self>, peer: &PeerIdentity, bounds: &Bounds) -> Option<Place> {
        let mut open = self.lock();
        let own = open.get(peer).copied().unwrap_or(0);
        let fits = match peer {
            PeerIdentity::Client => own < bounds.clients,
            PeerIdentity::Node(_) => {
                let clients = open.get(&PeerIdentity::Client).copied().unwrap_or(0);
                own < bounds.each_node && open.values().sum::<usize>() - clients < bounds.nodes
            }
        };
        if !fits {
            return None;
        }
        open.insert(peer.clone(), own + 1);
        Some(Place { guests: self.clone(), peer: peer.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerIdentity, usize>> {
        // The table is whole between any two operations, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    guests: Arc<Guests>,
    peer: PeerIdentity,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.guests.lock();
        match open.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(open.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_bound_and_gives_back_its_places() {
        let bounds = Bounds { clients: 2, nodes: 3, each_node: 2, ..Bounds::default() };
        let guests = Arc::new(Guests::default());
        let node = |text: &str| PeerIdentity::Node(text.parse().unwrap());
        let admit = |peer: &PeerIdentity| guests.admit(peer, &bounds);
        let clients = [admit(&PeerIdentity::Client), admit(&PeerIdentity::Client)];
        assert!(clients.iter().all(Option::is_some) && admit(&PeerIdentity::Client).is_none());
        let first = [admit(&node("a")), admit(&node("a"))];
        assert!(first.iter().all(Option::is_some) && admit(&node("a")).is_none());
        let second = admit(&node("b"));
        assert!(second.is_some() && admit(&node("b")).is_none(), "all nodes together");
        drop(first);
        assert!(admit(&node("b")).is_some());
        drop((clients, second));
        assert!(guests.lock().is_empty());
    }

    #[test]
    fn strangers_cannot_fill_the_log() {
        let (mut failures, start) = (Failures::default(), clock::now());
        let mut named = |at| (0..1_000).filter(|_| failures.counts(at)).count();
        assert_eq!(named(start), NAMED_MAX);
        assert_eq!(named(start + NAMED_TIME / 2), 0);
        assert_eq!(named(start + NAMED_TIME), NAMED_MAX);
    }
}
