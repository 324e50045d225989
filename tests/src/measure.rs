//! Measures what a caller feels while nodes fail and restart. What a call costs while they do not,
//! `host bench` measures.

mod calm;
mod deploys;
mod exodus;
mod neighbours;
mod rolling;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

pub use calm::Felt;
pub use deploys::{Deploys, Settings as DeploysSettings, deploys};
pub use exodus::{Exodus, Settings as ExodusSettings, exodus};
pub use neighbours::{Attack, Neighbours, Settings as NeighboursSettings, neighbours};
pub use rolling::{Rolling, rolling};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::wait::PATIENCE;

/// What happens to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Its process is killed.
    Killed,
    /// Its process is stopped: its connections stay, it only says nothing any more.
    Stopped,
}

/// Durations of one kind, in order.
#[derive(Debug, Clone)]
pub struct Sample(Vec<Duration>);

impl Sample {
    /// Sorts durations.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn new(mut durations: Vec<Duration>) -> Self {
        assert!(!durations.is_empty(), "a sample has at least one duration");
        durations.sort_unstable();
        Self(durations)
    }

    /// Returns the smallest duration that so many thousandths of the sample do not exceed.
    pub fn quantile(&self, thousandths: usize) -> Duration {
        let rank = (self.0.len() * thousandths).div_ceil(1000);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// Returns the longest duration.
    pub fn max(&self) -> Duration {
        self.quantile(1000)
    }

    /// Returns the number of durations.
    #[expect(clippy::len_without_is_empty, reason = "a sample is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Failover times of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Failovers {
    /// What happened to the owners.
    pub owner: Failure,
    /// How often.
    pub runs: usize,
    /// Half of them took at most so many milliseconds.
    pub median_ms: f64,
    /// All of them took at most so many milliseconds.
    pub max_ms: f64,
}

impl fmt::Display for Failovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = match self.owner {
            Failure::Killed => "kill -9 of the owner",
            Failure::Stopped => "kill -STOP of the owner",
        };
        let Self { runs, median_ms, max_ms, .. } = self;
        write!(f, "{owner}: {runs} runs, median {median_ms:.0} ms, max {max_ms:.0} ms")
    }
}

/// Measures the time from an owner's failure to the next answered reward, through another node:
/// in turn the keeper's and the third. The owners, too, change from run to run, so that some of
/// them lead the directory.
///
/// # Errors
///
/// When a reward was not answered or its total is wrong.
pub fn failovers(owner: Failure, runs: usize) -> Result<Failovers> {
    let mut cluster = Cluster::start(3);
    let runtime = runtime()?;
    let mut client = runtime.block_on(async { Client::new(cluster.secret()) })?;
    let mut durations = Vec::new();
    for run in 0..runs {
        durations.push(
            failover(&mut cluster, &runtime, &mut client, owner, run)
                .with_context(|| format!("run {run}"))?,
        );
    }
    let sample = Sample::new(durations);
    let [median_ms, max_ms] = [sample.quantile(500), sample.max()].map(milliseconds);
    Ok(Failovers { owner, runs, median_ms, max_ms })
}

fn failover(
    cluster: &mut Cluster,
    runtime: &Runtime,
    client: &mut Client,
    failure: Failure,
    run: usize,
) -> Result<Duration> {
    let names = cluster.names();
    let owner = &names[run % names.len()];
    let player = format!("player{run}");
    let claimed = cluster.via(owner).rewarded(&player, 1);
    ensure!(&claimed.node == owner, "{player} started on {} instead of {owner}", claimed.node);
    let keeper = cluster.via(owner).player(&player).keepers.remove(0);
    let third = cluster.names_without(&[owner, &keeper]).remove(0);
    let through = cluster.node(if run.is_multiple_of(2) { &keeper } else { &third }).addr();

    // Warms the connection, as a client that was there before has it.
    let mut reward = || runtime.block_on(client.reward(&[through], &player, 1, PATIENCE));
    ensure!(reward()? == 2, "{player} has a wrong total before the failure");
    let node = cluster.node_mut(owner);
    let start = Instant::now();
    match failure {
        Failure::Killed => node.kill(),
        Failure::Stopped => node.stop(),
    }
    let total = reward()?;
    let elapsed = start.elapsed();
    ensure!(total == 3, "{player} has {total} points instead of 3");
    match failure {
        Failure::Killed => node.restart(),
        Failure::Stopped => node.cont(),
    }
    cluster.await_settled();
    Ok(elapsed)
}

/// One thread, so that a measured call waits for no other one of the client.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("start the client's runtime")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_durations_of_the_sample() {
        let sample = Sample::new((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!(sample.quantile(500), Duration::from_micros(100));
        assert_eq!(sample.quantile(990), Duration::from_micros(198));
        assert_eq!(sample.max(), Duration::from_micros(200));
        let one = Sample::new(vec![Duration::from_micros(7)]);
        assert_eq!(one.quantile(0), one.max());
    }
}
