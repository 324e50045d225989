//! The death of a node that owned very many players, while players of another node are called.
//!
//! ```text
//!   app_node1 owns the many ──► killed ──► one is called through app_node3 ──► all have two copies
//!   app_node2 owns the calm, which app_node3 keeps: called at a steady rate from before to after
//! ```

mod look;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use host::net::Connection;
use host::protocol::{NodeName, PlayerId};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::calm::{Callers, Felt, PLAYERS, reward};
use super::{milliseconds, runtime};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::wait::PATIENCE;

/// Players that begin at the same time: enough to fill entries of the directory.
const BEGUN_AT_ONCE: usize = 512;
/// Players among which the calm ones are found: about half of them are kept by the node that will
/// die.
const CANDIDATES: usize = 4 * PLAYERS;

/// What is done.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Players of the node that dies.
    pub players: usize,
    /// For how long the calm players are called before it does.
    pub before: Duration,
}

/// What it was like. No player was lost and no call of a calm one failed, or there is no such
/// result.
#[derive(Debug, Clone, Serialize)]
pub struct Exodus {
    /// Players that the dead node owned.
    pub players: usize,
    /// How many of them began in a second.
    pub begun_per_second: f64,
    /// Time from the kill to the first answer of one of them, through another node.
    pub first_answer_ms: f64,
    /// Time from the kill to the moment after which none was seen with less than two copies.
    pub copies_ms: f64,
    /// Time from the kill to the end of a listing in which all have two copies; it rests now and then
    /// if they are very many.
    pub confirmed_ms: f64,
    /// What callers of the calm players felt before.
    pub before: Felt,
    /// And from the kill to the last copy.
    pub meanwhile: Felt,
}

impl fmt::Display for Exodus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { players, begun_per_second, first_answer_ms, .. } = self;
        let Self { copies_ms, confirmed_ms, before, meanwhile, .. } = self;
        writeln!(f, "{players} players, {begun_per_second:.0} begun in a second")?;
        writeln!(f, "first answer of one of them: {first_answer_ms:.0} ms after the kill")?;
        writeln!(f, "all have two copies: {copies_ms:.0} ms, confirmed: {confirmed_ms:.0} ms")?;
        writeln!(f, "other players before: {before}")?;
        write!(f, "other players meanwhile: {meanwhile}")
    }
}

/// Kills a node with many players.
///
/// # Errors
///
/// When a player is lost, has a wrong total or stays without two copies, or when a call of a player
/// that has nothing to do with the dead node fails.
///
/// # Panics
///
/// When a node does not start.
pub fn exodus(settings: Settings) -> Result<Exodus> {
    let mut cluster = Cluster::start(3);
    let names = cluster.names();
    let [dying, other, third] = names.as_slice() else { bail!("three nodes were started") };
    let runtime = runtime()?;
    let mut client = runtime.block_on(async { Client::new(cluster.secret()) })?;
    let mut dial = |node: &str| {
        let dialed = client.connection(cluster.node(node).addr());
        runtime.block_on(dialed).map_err(|reason| anyhow!(reason))
    };
    let (to_dying, to_other, to_third) = (dial(dying)?, dial(other)?, dial(third)?);
    let dead: NodeName = dying.parse()?;

    let calm = runtime.block_on(begin_calm(&to_other, &dead)).context("begin the calm ones")?;
    let begun_per_second = begin_many(&runtime, &to_dying, MANY, settings.players)?;
    let callers = Callers::start(cluster.secret(), cluster.node(other).addr(), calm);
    runtime.block_on(async { tokio::time::sleep(settings.before).await });

    let (called, through) = (settings.players / 2, [cluster.node(third).addr()]);
    let killed = Instant::now();
    cluster.node_mut(dying).kill();
    let one = player(called);
    let total = runtime.block_on(client.reward(&through, one.as_str(), 1, PATIENCE))?;
    let first_answer = killed.elapsed();
    ensure!(total == 2, "{one} has {total} points instead of 2");

    let healing = look::Healing { connection: &to_third, dead: &dead, players: settings.players };
    runtime.block_on(healing.await_last())?;
    let last = Instant::now();
    let felt = callers.stop()?;
    let confirmed = runtime.block_on(healing.confirm(|number| 1 + i64::from(number == called)))?;
    let copies = confirmed.last_short.unwrap_or(last).duration_since(killed);
    let window = |from, to| Felt::between(&felt, from, to);
    Ok(Exodus {
        players: settings.players,
        begun_per_second,
        first_answer_ms: milliseconds(first_answer),
        copies_ms: milliseconds(copies),
        confirmed_ms: milliseconds(confirmed.at.duration_since(killed)),
        before: window(killed.checked_sub(settings.before).unwrap_or(killed), killed)?,
        meanwhile: window(killed, last)?,
    })
}

/// The many.
const MANY: &str = "many";

/// Returns the id of one of the many. Their order is that of their numbers.
fn player(number: usize) -> PlayerId {
    player_of(MANY, number)
}

fn player_of(group: &str, number: usize) -> PlayerId {
    format!("{group}-{number:07}").parse().expect("letters, digits and a dash make an id")
}

/// Begins many players of a group. Returns how many began in a second.
pub(super) fn begin_many(
    runtime: &Runtime,
    connection: &Connection,
    group: &str,
    players: usize,
) -> Result<f64> {
    let began = Instant::now();
    runtime.block_on(begin(connection, group, 0..players))?;
    Ok(players as f64 / began.elapsed().as_secs_f64())
}

/// Begins these of a group, each with a reward of 1.
async fn begin(connection: &Connection, group: &str, numbers: Range<usize>) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut callers = JoinSet::new();
    for _ in 0..BEGUN_AT_ONCE {
        let (connection, next) = (connection.clone(), Arc::clone(&next));
        let group = group.to_owned();
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return anyhow::Ok(());
                }
                let total = reward(&connection, player_of(&group, number)).await?;
                ensure!(total == 1, "player {number} begins with {total} points");
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Begins calm players on a node: those that `dying` does not keep.
async fn begin_calm(connection: &Connection, dying: &NodeName) -> Result<Vec<PlayerId>> {
    for number in 0..CANDIDATES {
        let player = format!("calm-{number:03}").parse()?;
        ensure!(reward(connection, player).await? == 1, "a player does not begin with 1");
    }
    let (listed, _) = look::page(connection, None).await?;
    let calm = listed.into_iter().filter(|player| !player.keepers.contains(dying));
    let calm: Vec<_> = calm.map(|listed| listed.player).take(PLAYERS).collect();
    ensure!(calm.len() == PLAYERS, "only {} players are not kept by {dying}", calm.len());
    Ok(calm)
}
