//! What a node counts and measures, for those who watch over it.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Gateway;
use crate::clock;
use crate::protocol::{
    Answer, CallError, CallReply, CallRequest, CallStats, NodeName, NodeRecord, NodeStats,
    NodeStatus, Outcome, PlayerRecord, Reply, Request,
};

/// Time that a node has to say how it does.
const PART_DEADLINE: Duration = Duration::from_secs(1);

/// Calls that came in here, whichever node has carried them out. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    began: Instant,
    returned: AtomicU64,
    trapped: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; CallStats::BUCKETS],
}

impl Meter {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self(Arc::new(Counts {
            began: clock::now(),
            returned: zero(),
            trapped: zero(),
            refused: zero(),
            unknown: zero(),
            micros: zero(),
            buckets: array::from_fn(|_| zero()),
        }))
    }

    /// Notes how a call ended, and how long that took.
    pub(super) fn note(&self, ended: &Result<Answer, CallError>, took: Duration) {
        let counts = &*self.0;
        let counter = match ended {
            Ok(Answer::Trapped(_)) => &counts.trapped,
            Ok(_) => &counts.returned,
            Err(error) if error.outcome() == Outcome::Unknown => &counts.unknown,
            Err(_) => &counts.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.micros.fetch_add(micros, Ordering::Relaxed);
        counts.buckets[CallStats::bucket_of(micros)].fetch_add(1, Ordering::Relaxed);
    }

    fn calls(&self) -> CallStats {
        let counts = &*self.0;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallStats {
            returned: value(&counts.returned),
            trapped: value(&counts.trapped),
            refused: value(&counts.refused),
            unknown: value(&counts.unknown),
            micros: value(&counts.micros),
            buckets: counts.buckets.iter().map(value).collect(),
        }
    }
}

/// How things stand on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Nodes that are up, draining and down.
    pub nodes: [usize; 3],
    /// Whether this node leads the directory.
    pub leads: bool,
    /// Whether it votes.
    pub votes: bool,
    /// Whether it knows of a leader.
    pub has_leader: bool,
    /// Entries of the directory's log that it has applied.
    pub applied: u64,
    /// Entries of the log that it has and has not applied.
    pub lag: u64,
}

/// Players as the directory has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// All of the cluster.
    pub known: u64,
    /// Those that this node owns.
    pub owned: u64,
    /// Those of them that are in quarantine.
    pub quarantined: u64,
    /// Those of them that have fewer copies than they should.
    pub short_of_copies: u64,
}

impl Gateway {
    /// Returns what this node has done.
    pub fn stats(&self) -> NodeStats {
        let (running, resting) = self.players.counts();
        let up = clock::now().saturating_duration_since(self.meter.0.began);
        NodeStats {
            node: self.name.clone(),
            up_millis: u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
            calls: self.meter.calls(),
            replicated_bytes: self.chronicle.replicated_bytes(),
            running: running as u64,
            resting: resting as u64,
        }
    }

    /// Returns what each node has done that is alive, by their names, and those that said nothing.
    pub async fn stats_everywhere(&self) -> (Vec<NodeStats>, Vec<NodeName>) {
        let nodes = self.nodes.borrow().clone();
        let alive = nodes.iter().filter(|node| node.status.is_alive());
        let parts = alive.map(|node| async {
            if node.id == self.me.node {
                return (node.name.clone(), Some(self.stats()));
            }
            let reply = self.links.send(node.id, Request::Call(CallRequest::Stats));
            let stats = match timeout(PART_DEADLINE, reply).await {
                Ok(Ok(Reply::Call(CallReply::Stats(stats)))) => Some(*stats),
                Ok(Ok(_) | Err(_)) | Err(_) => None,
            };
            (node.name.clone(), stats)
        });
        let (mut told, mut silent) = (Vec::new(), Vec::new());
        for (name, stats) in futures_util::future::join_all(parts).await {
            match stats {
                Some(stats) => told.push(stats),
                None => silent.push(name),
            }
        }
        told.sort_by(|a, b| a.node.cmp(&b.node));
        (told, silent)
    }

    /// Returns how things stand.
    pub fn gauges(&self) -> Gauges {
        let nodes = self.nodes.borrow().clone();
        let count =
            |status| nodes.iter().filter(|node: &&NodeRecord| node.status == status).count();
        let statuses = [NodeStatus::Up, NodeStatus::Draining, NodeStatus::Down];
        let (leader, applied) = (self.directory.leader(), self.directory.applied_entries());
        Gauges {
            nodes: array::from_fn(|at| count(statuses[at])),
            leads: leader == Some(self.me.node),
            votes: self.directory.voters().contains(&self.me.node),
            has_leader: leader.is_some(),
            applied,
            lag: self.directory.log_entries().saturating_sub(applied),
        }
    }

    /// Counts the players, which takes a while if there are many.
    pub async fn census(&self) -> Census {
        let mut census = Census::default();
        let up = self.nodes.borrow().iter().filter(|node| node.status.is_alive()).count();
        let wanted = usize::from(self.directory.settings().keepers).min(up.saturating_sub(1));
        self.directory
            .each_player(|_, record: &PlayerRecord| {
                census.known += 1;
                if record.owner.node == self.me.node {
                    census.owned += 1;
                    census.quarantined += u64::from(record.quarantine().is_some());
                    let short = record.remote_keepers().count() < wanted;
                    census.short_of_copies += u64::from(short);
                }
            })
            .await;
        census
    }
}
