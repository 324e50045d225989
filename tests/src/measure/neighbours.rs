//! Players whose guests do their worst, and what callers of other players of the same node feel.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use host::net::Connection;
use host::protocol::{Answer, Operation, PlayerId, Term};
use rustix::process::Pid;
use serde::Serialize;
use tokio::task::JoinSet;

use super::calm::{Callers, Felt, PLAYERS, ask, reward, value};
use super::runtime;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::guests::hostile_module;

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Computes and never returns.
    Loop,
    /// Takes all the memory that it gets, and writes to each page of it.
    Memory,
    /// Calls itself until there is no stack.
    Stack,
    /// Lets a table grow.
    Table,
    /// Changes more than a player may keep, in one call.
    Changes,
    /// Logs as much and as long messages as it can.
    Log,
    /// Traps at once.
    Trap,
}

impl Attack {
    /// The word that makes the hostile guest do it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Table => "table",
            Self::Changes => "changes",
            Self::Log => "grumble",
            Self::Trap => "unreachable",
        }
    }
}

/// How an attack is made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// By how many players at the same time.
    pub attackers: usize,
    /// Memory that the node may take, in MiB.
    pub memory_mib: u64,
    /// For how long the neighbours are called before, and meanwhile.
    pub time: Duration,
}

/// What an attack was like.
#[derive(Debug, Clone, Serialize)]
pub struct Neighbours {
    /// What was done.
    pub attack: Attack,
    /// By how many players at the same time.
    pub attackers: usize,
    /// What their callers were told, and how often.
    pub told: BTreeMap<String, usize>,
    /// What callers of the neighbours felt before.
    pub before: Felt,
    /// And meanwhile.
    pub meanwhile: Felt,
    /// Most memory that the owner's process had, in MiB, before and meanwhile.
    pub memory_mib: (u64, u64),
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attack, attackers, told, before, meanwhile, memory_mib: (from, to) } = self;
        writeln!(f, "{attackers} players: {}", attack.word())?;
        for (message, times) in told {
            writeln!(f, "  {times} times: {message}")?;
        }
        writeln!(f, "  neighbours before: {before}")?;
        writeln!(f, "  neighbours meanwhile: {meanwhile}")?;
        write!(f, "  memory: {from} MiB before, {to} MiB meanwhile")
    }
}

/// Has players of one node attack it while others of it are called.
///
/// # Errors
///
/// When a neighbour's call fails, an attack is answered with something else than a trap, or a player
/// is not as it was before.
///
/// # Panics
///
/// When a node does not start.
pub fn neighbours(attack: Attack, settings: Settings) -> Result<Neighbours> {
    let Settings { attackers, memory_mib, time } = settings;
    let memory = format!("{memory_mib}MiB");
    let cluster = Cluster::start_with_guest_and(2, &hostile_module(), &["--memory", &memory]);
    let node = cluster.node("app_node1");
    let runtime = runtime()?;
    let mut client = runtime.block_on(async { Client::new(cluster.secret()) })?;
    let dialed = runtime.block_on(client.connection(node.addr()));
    let connection = dialed.map_err(|reason| anyhow!(reason))?;
    let calm = runtime.block_on(begin(&connection, "calm", PLAYERS))?;
    let hostile = runtime.block_on(begin(&connection, "hostile", attackers))?;

    let callers = Callers::start(cluster.secret(), node.addr(), calm);
    let quiet = Instant::now();
    runtime.block_on(async { tokio::time::sleep(time).await });
    let memory_before = memory_of(node.pid())?;
    let attacked = Instant::now();
    let told = runtime.block_on(attack_all(&connection, &hostile, attack, node.pid(), time))?;
    let end = Instant::now();
    let felt = callers.stop()?;
    for player in &hostile {
        let points = runtime.block_on(value(&connection, player.clone(), Operation::Points))?;
        ensure!(points == 1, "{player} has {points} points instead of 1");
    }
    let (told, memory_meanwhile) = told;
    Ok(Neighbours {
        attack,
        attackers,
        told,
        before: Felt::between(&felt, quiet, attacked)?,
        meanwhile: Felt::between(&felt, attacked, end)?,
        memory_mib: (memory_before, memory_meanwhile),
    })
}

async fn begin(connection: &Connection, kind: &str, count: usize) -> Result<Vec<PlayerId>> {
    let mut players = Vec::new();
    for number in 0..count {
        let player: PlayerId = format!("{kind}-{number:03}").parse()?;
        ensure!(reward(connection, player.clone()).await? == 1, "{player} does not begin with 1");
        players.push(player);
    }
    Ok(players)
}

/// Lets each player attack again and again. Returns what their callers were told, and the most
/// memory that the process had, in MiB.
async fn attack_all(
    connection: &Connection,
    players: &[PlayerId],
    attack: Attack,
    pid: Pid,
    time: Duration,
) -> Result<(BTreeMap<String, usize>, u64)> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for player in players {
        let (player, connection) = (player.clone(), connection.clone());
        let stop = Arc::clone(&stop);
        callers.spawn(async move {
            let mut told = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let operation = Operation::Reward(Term::Text(attack.word().to_owned()));
                match ask(&connection, player.clone(), operation).await? {
                    Ok(Answer::Trapped(crash)) => told.push(crash.message),
                    other => bail!("{player} was not stopped: {other:?}"),
                }
            }
            Ok(told)
        });
    }
    let (end, mut most) = (Instant::now() + time, 0);
    while Instant::now() < end {
        most = most.max(memory_of(pid)?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = BTreeMap::new();
    while let Some(ended) = callers.join_next().await {
        for message in ended?? {
            // How much memory is in use is another number each time.
            let message = message.split(": ").next().unwrap_or_default().to_owned();
            *told.entry(message).or_default() += 1;
        }
    }
    Ok((told, most))
}

/// Returns the memory that a process has for itself, in MiB.
fn memory_of(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))
        .context("look at the node")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no RssAnon")?;
    Ok(kib.trim().parse::<u64>()? / 1024)
}
