//! Many callers at once, over one connection to one node of three.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use host::clock;
use host::net::{Connection, Endpoint, Identity, Secret};
use host::protocol::{Call, CallKey, CallReply, CallRequest, Operation, Reply, Request, Term};
use serde::Serialize;
use tokio::task::JoinSet;

use super::cpu::{CpuOfCall, Used};
use super::{Sample, microseconds, runtime};
use crate::cluster::Cluster;
use crate::wait::PATIENCE;

/// The node that is called, and so owns the players.
const OWNER: &str = "app_node1";

/// How many callers call how many players.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Players, each called as often as any other.
    pub players: u64,
    /// Callers, each with one call under way.
    pub callers: u64,
    /// How long they call.
    pub duration: Duration,
}

/// What a cluster did under a load. Every call was answered, or there is no such result.
#[derive(Debug, Clone, Serialize)]
pub struct Throughput {
    /// Acknowledged calls in a second.
    pub calls_per_second: f64,
    /// Half of them took at most so many microseconds.
    pub p50_us: f64,
    /// 99 of 100 took at most so many microseconds.
    pub p99_us: f64,
    /// All of them took at most so many microseconds.
    pub max_us: f64,
    /// Processor time of one call.
    pub cpu: CpuOfCall,
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls_per_second, p50_us, p99_us, max_us, cpu } = self;
        let CpuOfCall { owner_us, keepers_us, client_us } = cpu;
        write!(f, "{calls_per_second:.0} rewards/s: ")?;
        write!(f, "p50 {p50_us:.0} µs, p99 {p99_us:.0} µs, max {max_us:.0} µs; processor time: ")?;
        write!(f, "owner {owner_us:.1} µs, keepers {keepers_us:.1} µs, client {client_us:.1} µs")
    }
}

/// Measures rewards of many callers. Players begin with their first call.
///
/// # Errors
///
/// When a reward was not answered.
pub fn throughput(load: Load) -> Result<Throughput> {
    let cluster = Cluster::start(3);
    let addr = cluster.node(OWNER).addr();
    let secret = Secret::load(cluster.secret()).context("load the secret")?;
    let used = || {
        let keepers: Vec<_> =
            cluster.names_without(&[OWNER]).iter().map(|name| cluster.node(name).pid()).collect();
        Used::now(cluster.node(OWNER).pid(), &keepers)
    };
    let before = used()?;
    let durations = runtime()?.block_on(async {
        let endpoint = Endpoint::client(Identity::client(&secret)?)?;
        let connection = endpoint.dial(addr, None).await?;
        let until = Instant::now() + load.duration;
        let mut callers = JoinSet::new();
        for caller in 0..load.callers {
            callers.spawn(call_until(until, connection.clone(), caller, load));
        }
        let mut durations = Vec::new();
        while let Some(called) = callers.join_next().await {
            durations.extend(called??);
        }
        anyhow::Ok(durations)
    })?;
    let after = used()?;
    let sample = Sample::new(durations);
    let [p50_us, p99_us, max_us] =
        [sample.quantile(500), sample.quantile(990), sample.max()].map(microseconds);
    let calls = u32::try_from(sample.len()).context("count the calls")?;
    let calls_per_second = f64::from(calls) / load.duration.as_secs_f64();
    let cpu = after.of_call(&before, calls);
    Ok(Throughput { calls_per_second, p50_us, p99_us, max_us, cpu })
}

/// One caller: goes round all players, each caller from a place of its own.
async fn call_until(
    until: Instant,
    connection: Connection,
    caller: u64,
    load: Load,
) -> Result<Vec<Duration>> {
    let deadline_ms = u64::try_from(PATIENCE.as_millis())?;
    let mut durations = Vec::new();
    let mut turn = caller * load.players / load.callers;
    while Instant::now() < until {
        turn = (turn + 1) % load.players;
        let player = format!("player{turn}").parse()?;
        let operation = Operation::Reward(Term::Integer(1));
        let call = Call { player, key: CallKey::random(clock::unix_millis()), operation };
        let sent = Instant::now();
        let request = Request::Call(CallRequest::Call { call, deadline_ms });
        match connection.ask(request).await? {
            Reply::Call(CallReply::Called(Ok(_))) => durations.push(sent.elapsed()),
            other => bail!("a reward was not answered: {other:?}"),
        }
    }
    Ok(durations)
}
