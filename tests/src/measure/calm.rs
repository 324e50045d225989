//! Players that have nothing to do with what is done to others, and those who call them.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use host::clock;
use host::net::Connection;
use host::protocol::{
    Answer, Call, CallError, CallKey, CallReply, CallRequest, Operation, PlayerId, Reply, Request,
    Term, Value,
};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Sample, milliseconds, runtime};
use crate::client::Client;
use crate::wait::PATIENCE;

/// How many there are.
pub(super) const PLAYERS: usize = 100;
/// Callers, each with players of its own.
const CALLERS: usize = 10;
/// Time between two calls of one caller: 1,000 calls a second together, a small part of what a
/// node can answer.
const INTERVAL: Duration = Duration::from_millis(10);

/// What callers felt in some time.
#[derive(Debug, Clone, Serialize)]
pub struct Felt {
    /// Calls that were due in it, and answered.
    pub calls: usize,
    /// Half of them took at most so many milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// All of them.
    pub max_ms: f64,
}

impl Felt {
    /// Looks at the calls that were due from one moment to another.
    ///
    /// # Errors
    ///
    /// When there was none.
    pub(super) fn between(calls: &[Called], from: Instant, to: Instant) -> Result<Self> {
        let due = calls.iter().filter(|call| (from..to).contains(&call.due));
        let took: Vec<_> = due.map(|call| call.took).collect();
        ensure!(!took.is_empty(), "no call was due");
        let sample = Sample::new(took);
        let [p50_ms, p99_ms, max_ms] =
            [sample.quantile(500), sample.quantile(990), sample.max()].map(milliseconds);
        Ok(Self { calls: sample.len(), p50_ms, p99_ms, max_ms })
    }
}

impl fmt::Display for Felt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, p50_ms, p99_ms, max_ms } = self;
        write!(f, "{calls} calls, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.1} ms")
    }
}

/// One call that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called {
    pub(super) due: Instant,
    /// From when it was due to its answer.
    pub(super) took: Duration,
}

/// Callers of the calm players, in a thread of their own.
pub(super) struct Callers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Called>>>,
}

impl Callers {
    /// Begins to call these players through their owner.
    pub(super) fn start(secret: &Path, owner: SocketAddr, players: Vec<PlayerId>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, secret) = (Arc::clone(&stop), secret.to_owned());
        let thread =
            thread::spawn(move || runtime()?.block_on(call_all(&stopped, secret, owner, players)));
        Self { stop, thread }
    }

    /// Ends the calls, and returns what became of them.
    ///
    /// # Errors
    ///
    /// When one failed.
    pub(super) fn stop(self) -> Result<Vec<Called>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a caller panicked"))?
    }
}

async fn call_all(
    stop: &Arc<AtomicBool>,
    secret: PathBuf,
    owner: SocketAddr,
    players: Vec<PlayerId>,
) -> Result<Vec<Called>> {
    let mut client = Client::new(&secret)?;
    let connection = client.connection(owner).await.map_err(|reason| anyhow!(reason))?;
    let mut callers = JoinSet::new();
    for players in players.chunks(PLAYERS.div_ceil(CALLERS)) {
        let (stop, connection) = (Arc::clone(stop), connection.clone());
        callers.spawn(call_on(stop, connection, players.to_vec()));
    }
    let mut calls = Vec::new();
    while let Some(ended) = callers.join_next().await {
        calls.extend(ended??);
    }
    Ok(calls)
}

/// Calls one player after the other at a steady rate. A call that could not be sent before the one
/// ahead of it was answered has waited since it was due.
async fn call_on(
    stop: Arc<AtomicBool>,
    connection: Connection,
    players: Vec<PlayerId>,
) -> Result<Vec<Called>> {
    let mut calls = Vec::new();
    let mut next = Instant::now();
    for (turn, player) in players.iter().cycle().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let on_time = Instant::now() < next;
        tokio::time::sleep_until(next.into()).await;
        // The timer itself may be late by a millisecond: that is not the cluster's.
        let due = if on_time { Instant::now() } else { next };
        let total = reward(&connection, player.clone()).await.context("a calm player")?;
        calls.push(Called { due, took: due.elapsed() });
        let expected = i64::try_from(turn / players.len())? + 2;
        ensure!(total == expected, "{player} has {total} points instead of {expected}");
        next += INTERVAL;
    }
    Ok(calls)
}

/// Rewards a player once, and returns the total.
pub(super) async fn reward(connection: &Connection, player: PlayerId) -> Result<i64> {
    value(connection, player, Operation::Reward(Term::Integer(1))).await
}

/// Calls a player once, and returns what its guest returned.
pub(super) async fn value(
    connection: &Connection,
    player: PlayerId,
    operation: Operation,
) -> Result<i64> {
    match ask(connection, player.clone(), operation).await? {
        Ok(Answer::Returned { value: Value::Points(value), .. }) => Ok(value),
        other => bail!("{player} was not answered: {other:?}"),
    }
}

/// Calls a player once, and returns what became of it.
pub(super) async fn ask(
    connection: &Connection,
    player: PlayerId,
    operation: Operation,
) -> Result<Result<Answer, CallError>> {
    let deadline_ms = u64::try_from(PATIENCE.as_millis())?;
    let key = CallKey::random(clock::unix_millis());
    let call = Call { player, key, operation };
    let request = Request::Call(CallRequest::Call { call, deadline_ms });
    match tokio::time::timeout(PATIENCE, connection.ask(request)).await?? {
        Reply::Call(CallReply::Called(called)) => Ok(called),
        other => bail!("another answer than a call's: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_were_due_in_time_are_looked_at() {
        let start = Instant::now();
        let call = |due, took| Called {
            due: start + Duration::from_millis(due),
            took: Duration::from_millis(took),
        };
        let calls = [call(0, 9), call(1, 1), call(2, 3), call(3, 9)];
        let (from, to) = (calls[1].due, calls[3].due);
        let felt = Felt::between(&calls, from, to).unwrap();
        assert_eq!((felt.calls, felt.p50_ms, felt.max_ms), (2, 1.0, 3.0));
        assert!(Felt::between(&calls, to, from).is_err());
    }
}
