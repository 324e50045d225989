//! Real processes in a network and on disks that fail, under callers whose history is judged.
//!
//! ```text
//!   callers ──► app_node1..n, one network namespace and one small disk each
//!      │             ▲
//!      │             └── plan: kill, stop, cut, fill or delete; heal; wait until all is well; again
//!      └─► history ──► `linearizable`: the same judge as the simulation's
//! ```
//!
//! Where the simulation tries orders that hardly ever happen, this tries what a model may have left
//! out: the kernel's sockets, QUIC, the store's files, Raft's library, processes that really stand.
//!
//! At most two faults overlap, and some copy of each player outlives them all: with one keeper, a
//! data folder is deleted only while all other nodes are well and each player runs and is kept.
//! With each fault other code is deployed, which answers like the code before it.
//! So the promise is the whole one: nothing acknowledged is lost, nothing is applied twice, and
//! after the faults every player answers.

mod arena;
mod deploys;
mod disk;
mod history;
mod load;
mod network;
mod plan;
mod report;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

pub(crate) use disk::Disk;
pub(crate) use network::Namespace;
pub use network::obstacle;
pub use plan::Kind;
pub use report::Report;

use self::arena::{Arena, Fault, wait_until};
use self::history::Journal;
use self::load::Load;
use self::plan::Plan;
use self::report::Episode;

/// Time each player has to answer after everything has healed.
const LIVE_WITHIN: Duration = Duration::from_secs(30);

/// What a run is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Settings {
    /// Where the faults and the calls come from; when they happen depends on the machine, too.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many callers at the same time.
    pub clients: usize,
    /// How many players they call.
    pub players: usize,
    /// When no new fault begins any more.
    pub until: Until,
}

/// When no new fault begins any more.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After so many faults, or pairs of them.
    Episodes(usize),
}

impl Settings {
    /// Eight callers of twelve players.
    pub fn new(seed: u64, nodes: usize, until: Until) -> Self {
        Self { seed, nodes, clients: 8, players: 12, until }
    }
}

/// Runs a cluster through faults and judges what its callers saw.
///
/// # Errors
///
/// When a promise is broken, with what was seen and the folder that is kept: the history, each
/// node's log and data. When the cluster does not get well again, the reason is on standard error.
pub fn run(settings: Settings) -> Result<Report> {
    // A thread of its own, for it moves into the callers' namespace.
    let runner = std::thread::Builder::new().name(format!("chaos {}", settings.seed));
    let runner = runner.spawn(move || run_here(settings)).context("start a thread")?;
    runner.join().unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(anyhow!("the run with seed {} broke off: {said}", settings.seed))
    })
}

fn run_here(settings: Settings) -> Result<Report> {
    let mut arena = Arena::start(settings.nodes, settings.players)?;
    let result = observe(settings, &mut arena);
    let broken = match result {
        Ok(report) if report.is_good() => return Ok(report),
        Ok(report) => anyhow!("{report}\na promise is broken"),
        Err(error) => error,
    };
    arena.cluster.keep_folder()?;
    let folder = arena.cluster.folder().display();
    Err(broken.context(format!("seed {}; what is left is in {folder}", settings.seed)))
}

fn observe(settings: Settings, arena: &mut Arena) -> Result<Report> {
    let Settings { seed, clients, players, .. } = settings;
    let (folder, secret) = (arena.cluster.folder().to_owned(), arena.cluster.secret().to_owned());
    let journal = Arc::new(Journal::create(&folder.join("history.jsonl"))?);
    let names = arena.cluster.names();
    let nodes = names.iter().map(|name| arena.cluster.node(name).addr()).collect();
    let load = Load { clients, players, seed, nodes };
    let (episodes, mut records) =
        under_load(&load, &secret, &journal, |journal| bring_faults(settings, arena, journal))?;
    records.extend(load.ask_all(&secret, &journal, LIVE_WITHIN)?);
    let (gave_up, deployments) = (arena.gave_up, arena.deploys.made);
    Ok(Report::new(settings, episodes, records, (gave_up, deployments), &folder))
}

/// Runs the callers while `during` runs, and a little longer.
fn under_load<T>(
    load: &Load,
    secret: &Path,
    journal: &Arc<Journal>,
    during: impl FnOnce(&Journal) -> Result<T>,
) -> Result<(T, Vec<history::Record>)> {
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let callers = scope.spawn(|| load.run(secret, journal, &stop));
        // They must end even if this thread panics: the scope waits for them.
        let stopping = StopAtEnd(&stop);
        let result = during(journal);
        drop(stopping);
        let records = callers.join().map_err(|_| anyhow!("a caller panicked"))??;
        Ok((result?, records))
    })
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn bring_faults(settings: Settings, arena: &mut Arena, journal: &Journal) -> Result<Vec<Episode>> {
    let mut plan = Plan::new(settings.seed, settings.nodes, settings.players);
    let start = Instant::now();
    // Every player must be there before something may be lost.
    arena.settle(&[], &[])?;
    let mut episodes = Vec::new();
    let is_over = |episodes: usize| match settings.until {
        Until::Time(time) => start.elapsed() >= time,
        Until::Episodes(count) => episodes >= count,
    };
    while !is_over(episodes.len()) {
        wait_until(Instant::now() + plan.calm());
        let planned = plan.episode();
        let before = arena.listed()?;
        let began_us = journal.now_us();
        let faults = arena.suffer(&planned)?;
        let healed_us = journal.now_us();
        arena.settle(&faults, &before)?;
        let episode = Episode::new(&faults, began_us, healed_us, journal.now_us());
        journal.write(&episode)?;
        episodes.push(episode);
    }
    Ok(episodes)
}
