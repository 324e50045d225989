//! Other code for players that are called all the time, and for very many that nobody calls.
//!
//! ```text
//!   1,000 players, called through all nodes ──► counts twice ──► bad code ──► other languages
//!   100,000 players that rest ──► other code ──► back
//! ```
//!
//! Every answer is held against the one before it: it grew by one or by two, as the code says that the
//! player ran, and from one deployment to the next it changes once at most. So no call was lost, none
//! was applied twice, and none saw half of a step.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use anyhow::{Context, Result, anyhow, bail, ensure};
use host::guest::built_in;
use serde::Serialize;

use super::calm::{Called, Felt};
use super::exodus::begin_many;
use super::runtime;
use crate::answers::Deployed;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::guests::{Flaw, migrating_module, renamed};
use crate::wait::PATIENCE;

/// Callers, each with players of its own.
const CALLERS: usize = 8;
/// Pause between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(3);
/// For how long players are called between two deployments.
const BETWEEN: Duration = Duration::from_secs(3);

/// What is done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Players that are called.
    pub players: usize,
    /// Players that nobody calls.
    pub idle: usize,
    /// Components that are deployed one after the other, each of which counts rewards once.
    pub guests: Vec<PathBuf>,
}

/// What it was like. Every call was answered and every total was right, or there is no such result.
#[derive(Debug, Clone, Serialize)]
pub struct Deploys {
    /// Players that were called.
    pub players: usize,
    /// Calls that were answered.
    pub calls: usize,
    /// What callers felt before anything was deployed.
    pub before: Felt,
    /// What was deployed, in order.
    pub steps: Vec<Step>,
    /// Players that nobody called.
    pub idle: usize,
    /// Time for all of those to come to other code, in seconds.
    pub idle_there_s: f64,
    /// Time for all of them to go back, in seconds.
    pub idle_back_s: f64,
}

/// One deployment under load.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What was deployed.
    pub name: String,
    /// From the command to the last player that came, or to the end of the rollback, in seconds.
    pub seconds: f64,
    /// Players that came, those that were never called included.
    pub arrived: u64,
    /// Why it was taken back, if it was.
    pub withdrawn: Option<String>,
    /// What callers felt meanwhile.
    pub felt: Felt,
}

impl fmt::Display for Deploys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { players, calls, before, steps, idle, .. } = self;
        writeln!(f, "{players} players, {calls} calls, none failed, all totals right")?;
        writeln!(f, "before: {before}")?;
        for Step { name, seconds, arrived, withdrawn, felt } in steps {
            let end = match withdrawn {
                Some(reason) => format!("taken back: {reason}"),
                None => format!("{arrived} players came"),
            };
            writeln!(f, "{name}: {end}, {seconds:.1} s; {felt}")?;
        }
        let Self { idle_there_s, idle_back_s, .. } = self;
        write!(
            f,
            "{idle} players at rest: there in {idle_there_s:.1} s, back in {idle_back_s:.1} s"
        )
    }
}

/// One answered call.
struct Answered {
    player: usize,
    called: Called,
    total: i64,
}

/// Deploys code over players.
///
/// # Errors
///
/// When a call was not answered, a total is wrong, or a player did not come.
///
/// # Panics
///
/// When a node does not start.
pub fn deploys(settings: &Settings) -> Result<Deploys> {
    let cluster = Cluster::start_with(3, &["--idle-after", "2s"]);
    let (idle_there_s, idle_back_s) = rest(&cluster, settings.idle)?;
    let stop = Arc::new(AtomicBool::new(false));
    let nodes: Vec<_> = cluster.names().iter().map(|name| cluster.node(name).addr()).collect();
    let caller = |number| {
        let mine: Vec<usize> = (number..settings.players).step_by(CALLERS).collect();
        call_until(stop.clone(), cluster.secret().to_owned(), nodes.clone(), mine)
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    let_them_call(BETWEEN);
    let mut windows = vec![(Instant::now(), None)];
    for (name, code, bad) in plan(settings)? {
        let began = Instant::now();
        let deployed = deploy(&cluster, &name, &code, bad)?;
        let seconds = began.elapsed().as_secs_f64();
        windows.push((began, Some((name, seconds, deployed, Instant::now()))));
        let_them_call(BETWEEN);
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    for caller in callers {
        answered.extend(caller.join().map_err(|_| anyhow!("a caller panicked"))??);
    }
    judge(&answered, settings.players)?;
    let called: Vec<Called> = answered.iter().map(|it| it.called).collect();
    let first = called.iter().map(|it| it.due).min().context("nobody called")?;
    let before = Felt::between(&called, first, windows[0].0)?;
    let mut steps = Vec::new();
    for (began, step) in windows.into_iter().filter_map(|(at, step)| Some((at, step?))) {
        let (name, seconds, Deployed { arrived, withdrawn, .. }, ended) = step;
        let arrived = arrived.context("nobody waited")?;
        let felt = Felt::between(&called, began, ended)?;
        steps.push(Step { name, seconds, arrived, withdrawn, felt });
    }
    let (calls, players, idle) = (answered.len(), settings.players, settings.idle);
    Ok(Deploys { players, calls, before, steps, idle, idle_there_s, idle_back_s })
}

/// Returns what is deployed under load: its name, its code, and whether it is bad.
fn plan(settings: &Settings) -> Result<Vec<(String, Vec<u8>, bool)>> {
    let mut plan = vec![
        ("counts twice".to_owned(), migrating_module(2, Flaw::None), false),
        ("takes over nothing".to_owned(), migrating_module(2, Flaw::RefusesState), true),
    ];
    for guest in &settings.guests {
        let code = fs::read(guest).with_context(|| format!("read {}", guest.display()))?;
        let name = guest.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        plan.push((name, code, false));
    }
    Ok(plan)
}

fn deploy(cluster: &Cluster, name: &str, code: &[u8], bad: bool) -> Result<Deployed> {
    let file = cluster.folder().join(name.replace(' ', "-"));
    fs::write(&file, code).context("write the code")?;
    let ran = cluster.via(&cluster.names()[0]).start_deploy(&file, &[]).finish();
    let deployed: Deployed = ran.ended(i32::from(bad)).map_err(anyhow::Error::msg)?;
    ensure!(deployed.due == Some(0) && deployed.withdrawn.is_some() == bad, "{deployed:?}");
    Ok(deployed)
}

/// Has players that nobody calls come to other code and go back. Returns the seconds of both.
fn rest(cluster: &Cluster, players: usize) -> Result<(f64, f64)> {
    let via = cluster.via(&cluster.names()[0]);
    let runtime = runtime()?;
    let mut client = runtime.block_on(async { Client::new(cluster.secret()) })?;
    for name in cluster.names() {
        let dialed = client.connection(cluster.node(&name).addr());
        let connection = runtime.block_on(dialed).map_err(|reason| anyhow!(reason))?;
        begin_many(&runtime, &connection, &format!("idle-{name}"), players / 3)?;
    }
    let began = Instant::now();
    let other = deploy(cluster, "other", &renamed(built_in(), "other"), false)?;
    let there = began.elapsed().as_secs_f64();
    let all = u64::try_from(players / 3 * 3)?;
    ensure!(other.arrived == Some(all), "{other:?}");
    let began = Instant::now();
    let ran = via.roll_back();
    ensure!(ran.code() == Some(0), "{}", ran.all());
    let back = began.elapsed().as_secs_f64();
    let left = via.try_deployments().map_err(anyhow::Error::msg)?;
    let Some(newest) = left.first() else { bail!("nothing was deployed") };
    ensure!(newest.players == 0, "{left:?}");
    Ok((there, back))
}

/// Calls one player after the other, each through another node, until it is told to stop.
fn call_until(
    stop: Arc<AtomicBool>,
    secret: PathBuf,
    nodes: Vec<SocketAddr>,
    players: Vec<usize>,
) -> JoinHandle<Result<Vec<Answered>>> {
    thread::spawn(move || runtime()?.block_on(call_all(&stop, &secret, nodes, &players)))
}

async fn call_all(
    stop: &AtomicBool,
    secret: &Path,
    mut nodes: Vec<SocketAddr>,
    players: &[usize],
) -> Result<Vec<Answered>> {
    let mut client = Client::new(secret)?;
    let mut answered = Vec::new();
    for player in players.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        nodes.rotate_left(1);
        let sent = Instant::now();
        let name = format!("player{player}");
        let total = client.reward(&nodes, &name, 1, PATIENCE).await.context("not answered")?;
        let called = Called { due: sent, took: sent.elapsed() };
        answered.push(Answered { player: *player, called, total });
        tokio::time::sleep(PAUSE).await;
    }
    Ok(answered)
}

/// Each player's total grew by one in each call, then by two, then by one.
fn judge(answered: &[Answered], players: usize) -> Result<()> {
    for player in 0..players {
        let totals = answered.iter().filter(|it| it.player == player).map(|it| it.total);
        let mut before = 0;
        let mut grew: Vec<i64> = Vec::new();
        for total in totals {
            grew.push(total - before);
            before = total;
        }
        grew.dedup();
        let right = [&[1][..], &[2], &[1, 2], &[2, 1], &[1, 2, 1], &[]].contains(&&grew[..]);
        ensure!(right, "player{player} grew by {grew:?} in turn");
    }
    Ok(())
}

/// Lets the callers go on for a while: there is nothing to wait for.
fn let_them_call(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        crate::wait::pause();
    }
}
