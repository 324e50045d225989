//! A load that goes on while one node after the other is stopped in order and started again.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

use super::{Sample, milliseconds, runtime};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::wait::PATIENCE;

/// Callers, each with players of its own.
const CALLERS: i64 = 4;
/// Players of one caller.
const PLAYERS: i64 = 5;
/// Pause between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(3);

/// What callers felt. Every call was answered and every total was right, or there is no such result.
#[derive(Debug, Clone, Serialize)]
pub struct Rolling {
    /// Nodes that were stopped and started.
    pub restarts: usize,
    /// Calls that were answered.
    pub calls: usize,
    /// Half of them took at most so many milliseconds.
    pub p50_ms: f64,
    /// 999 of 1,000 took at most so many milliseconds.
    pub p999_ms: f64,
    /// All of them took at most so many milliseconds.
    pub max_ms: f64,
}

impl fmt::Display for Rolling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { restarts, calls, p50_ms, p999_ms, max_ms } = self;
        write!(f, "{restarts} restarts, {calls} calls, none failed: ")?;
        write!(f, "p50 {p50_ms:.2} ms, p99.9 {p999_ms:.0} ms, max {max_ms:.0} ms")
    }
}

/// Restarts each of three nodes so often, in order, under a load through all of them.
///
/// # Errors
///
/// When a call was not answered or a total is wrong.
///
/// # Panics
///
/// When a node does not stop or start.
pub fn rolling(rounds: usize) -> Result<Rolling> {
    let mut cluster = Cluster::start(3);
    let stop = Arc::new(AtomicBool::new(false));
    let nodes: Vec<_> = cluster.names().iter().map(|name| cluster.node(name).addr()).collect();
    let secret = cluster.secret().to_owned();
    let caller = |number| call_until(stop.clone(), secret.clone(), nodes.clone(), number);
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    let mut restarts = 0;
    for _ in 0..rounds {
        for name in cluster.names() {
            cluster.node_mut(&name).terminate();
            cluster.node_mut(&name).restart();
            cluster.await_settled();
            restarts += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut durations = Vec::new();
    for caller in callers {
        durations.extend(caller.join().map_err(|_| anyhow!("a caller panicked"))??);
    }
    ensure!(!durations.is_empty(), "nobody called");
    let sample = Sample::new(durations);
    let [p50_ms, p999_ms, max_ms] =
        [sample.quantile(500), sample.quantile(999), sample.max()].map(milliseconds);
    Ok(Rolling { restarts, calls: sample.len(), p50_ms, p999_ms, max_ms })
}

/// Calls one player after the other, each through another node, until it is told to stop.
fn call_until(
    stop: Arc<AtomicBool>,
    secret: PathBuf,
    nodes: Vec<SocketAddr>,
    number: i64,
) -> JoinHandle<Result<Vec<Duration>>> {
    thread::spawn(move || runtime()?.block_on(call_all(&stop, &secret, nodes, number)))
}

async fn call_all(
    stop: &AtomicBool,
    secret: &Path,
    mut nodes: Vec<SocketAddr>,
    number: i64,
) -> Result<Vec<Duration>> {
    let mut client = Client::new(secret)?;
    let mut durations = Vec::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        nodes.rotate_left(1);
        let player = format!("player{number}-{}", turn % PLAYERS);
        let sent = Instant::now();
        let total = client.reward(&nodes, &player, 1, PATIENCE).await.context("not answered")?;
        durations.push(sent.elapsed());
        ensure!(total == turn / PLAYERS + 1, "{player} has {total} points");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(durations)
}
