//! `host bench`: what calls cost, measured on a throw-away cluster of this machine or a running one.
//!
//! ```text
//!   floor ──► field (cluster, connections) ──► crowd (players) ──► load ──► report
//!             own: started, killed at the end    │  begun      │ pace, callers, tally
//!             running: left as it was            └─ forgotten ─┘ process: the nodes' clocks
//! ```
//!
//! Invariants: a wait counts from the moment at which its call was due, also if the call could not
//! be sent before others were answered; nothing that was begun is left, whether the measurement
//! ends well, fails or is interrupted.

mod call;
mod crowd;
mod field;
mod load;
mod pace;
mod process;
mod report;
mod tally;

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::crowd::Crowd;
use self::field::Field;
use self::load::Loaded;
use self::process::Processes;
pub(super) use self::report::{CostOfCall, Latency, Report};
use super::args::{Payload, Through};
use super::client::{Client, Dialer, DialerError, Failed, Patience, Reach};
use super::cluster::{Cluster, ClusterError, ClusterSettings, FirstNode};
use super::render::{self, Format, Rendered};
use super::screen::Screen;
use super::signals::Interrupts;
use crate::limits::CALL_DEADLINE;
use crate::net::{BindError, DialError, FloorError, IdentityError, Secret, round_trips};
use crate::protocol::NodeName;

/// Round trips on a plain stream, measured before the load. They take a quarter of a second.
const FLOOR_ROUNDS: usize = 4000;

/// What is measured, and where.
#[derive(Debug)]
pub(super) struct BenchSettings {
    /// The load.
    pub(super) load: Load,
    /// The cluster.
    pub(super) target: Target,
}

impl BenchSettings {
    /// Returns what a node that shall run in this process logs, if one shall.
    pub(super) fn log_of_node_here(&self) -> Option<&str> {
        match &self.target {
            Target::Own(cluster) if cluster.first == FirstNode::Here => cluster.log.as_deref(),
            Target::Own(_) | Target::Running { .. } => None,
        }
    }
}

/// Which calls are made, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// How many players are made.
    pub(super) players: u32,
    /// How many calls are under way at the same time, at most.
    pub(super) callers: u32,
    /// For how long calls count.
    pub(super) time: Duration,
    /// Whether all calls go to one of the players.
    pub(super) hot: bool,
    /// What each call is.
    pub(super) payload: Payload,
    /// Calls that are due in a second; without it each caller waits for its answer.
    pub(super) rate: Option<u32>,
    /// Which nodes calls are sent to.
    pub(super) through: Through,
}

/// The cluster that is measured.
#[derive(Debug)]
pub(super) enum Target {
    /// A throw-away one.
    Own(ClusterSettings),
    /// One that runs.
    Running {
        /// Its nodes.
        reach: Reach,
        /// Its secret.
        secret: Secret,
    },
}

/// Why there is no measurement. Nothing that was begun is left, unless it says so.
#[derive(Debug, Error)]
pub(super) enum BenchError {
    /// The process cannot hear that it should stop.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// Ctrl-C.
    #[error("stopped before the end: nothing was measured")]
    Interrupted,
    /// The plain round trip cannot be measured.
    #[error("cannot measure the machine's own round trip")]
    Floor(#[from] FloorError),
    /// The throw-away cluster does not run.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The throw-away cluster's nodes do not agree on who is there.
    #[error("the nodes that were started did not find together in time")]
    Unsettled,
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No client.
    #[error(transparent)]
    Dialer(#[from] DialerError),
    /// A node that was to be called is not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No node says what cluster it is.
    #[error("{}", .0.message)]
    Unanswered(Failed),
    /// The node that should own the players takes none.
    #[error("{0} is going to leave, so it takes no players")]
    Leaving(NodeName),
    /// There is no such node as `--through` asks for.
    #[error("`--through wrong` needs a second node that is up")]
    NoOtherNode,
    /// Players cannot be begun.
    #[error("{failed} of {players} players did not begin: {code}")]
    NotBegun {
        /// How many.
        failed: u64,
        /// Of how many.
        players: u32,
        /// The most frequent reason, one word.
        code: &'static str,
    },
    /// There is no thread that keeps time.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Measures, and leaves everything as it was.
pub(super) async fn run(settings: BenchSettings, format: Format, screen: &Screen) -> Rendered {
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return failed(format, &BenchError::Signals(error)),
    };
    let BenchSettings { load, target } = settings;
    let progress = Progress(screen);
    progress.say(|| "measuring the machine's own round trip".to_owned());
    let floor = tokio::select! {
        floor = floor() => floor,
        () = interrupts.next() => Err(BenchError::Interrupted),
    };
    let floor = match floor {
        Ok(floor) => floor,
        Err(error) => return failed(format, &error),
    };
    let report = match target {
        Target::Own(settings) => on_own(settings, load, progress, &mut interrupts).await,
        Target::Running { reach, secret } => {
            on_running(&reach, &secret, load, progress, &mut interrupts).await
        }
    };
    match report {
        Ok(report) => render::measured(format, &Report { floor, ..report }),
        Err(error) => failed(format, &error),
    }
}

/// Returns the median of plain round trips. They are made on a thread of their own, with a runtime
/// of one thread like a client's: that of a node would be another floor.
async fn floor() -> Result<Duration, BenchError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(BenchError::Thread)?;
    let (tell, told) = oneshot::channel();
    let measure = move || {
        // Nobody listens any more after Ctrl-C.
        tell.send(runtime.block_on(round_trips(FLOOR_ROUNDS))).ok();
    };
    thread::Builder::new().name("floor".to_owned()).spawn(measure).map_err(BenchError::Thread)?;
    let mut floor = told.await.expect("the thread does not panic")?;
    floor.sort_unstable();
    Ok(floor[floor.len() / 2])
}

/// Measures a throw-away cluster, and kills it.
async fn on_own(
    settings: ClusterSettings,
    load: Load,
    progress: Progress<'_>,
    interrupts: &mut Interrupts,
) -> Result<Report, BenchError> {
    progress.say(|| format!("starting {} nodes", settings.nodes));
    let mut cluster = Cluster::new(settings, progress.0.clone(), false)?;
    let report = tokio::select! {
        report = Box::pin(measure_own(&mut cluster, load, progress)) => report,
        () = interrupts.next() => Err(BenchError::Interrupted),
    };
    // Its data is thrown away: there is nothing that it should hand over.
    cluster.kill_all().await;
    report
}

async fn measure_own(
    cluster: &mut Cluster,
    load: Load,
    progress: Progress<'_>,
) -> Result<Report, BenchError> {
    cluster.start_all().await?;
    let names: Vec<_> = cluster.names().cloned().collect();
    let processes =
        names.iter().map(|name| cluster.process(name)).collect::<Result<Vec<_>, _>>()?;
    let processes = Processes::new(&processes);
    let mut client = Client::new(Dialer::new(cluster.secret())?);
    if !cluster.settle(&mut client).await {
        return Err(BenchError::Unsettled);
    }
    let targets = cluster.serving()?.iter().map(SocketAddr::to_string).collect();
    let reach = Reach { targets, patience: Patience::UntilDeadline, deadline: CALL_DEADLINE };
    let mut field = Field::enter(&mut client, &reach, cluster.secret(), load.through).await?;
    client.into_way().close().await;
    if let Some(gateway) = cluster.gateway() {
        field.call_inside(gateway);
    }
    let crowd = Crowd::new(load.players);
    // Nobody stops it but the one who kills the cluster, too.
    let stop = CancellationToken::new();
    let report = measure(&field, &crowd, load, &processes, progress, &stop).await;
    field.leave().await;
    report
}

/// Measures a cluster that runs, and has it forget the players.
async fn on_running(
    reach: &Reach,
    secret: &Secret,
    load: Load,
    progress: Progress<'_>,
    interrupts: &mut Interrupts,
) -> Result<Report, BenchError> {
    let mut client = Client::new(Dialer::new(secret)?);
    let field = tokio::select! {
        field = Field::enter(&mut client, reach, secret, load.through) => field?,
        () = interrupts.next() => return Err(BenchError::Interrupted),
    };
    client.into_way().close().await;
    let crowd = Crowd::new(load.players);
    progress.0.print(format!(
        "{} makes {} players, {}, and forgets them at the end",
        field.owner, load.players, crowd
    ));
    let report = measure_running(&field, &crowd, load, progress, interrupts).await;
    progress.say(|| "forgetting the players".to_owned());
    let left = tokio::select! {
        left = crowd.forget(&field.home) => left,
        // A second Ctrl-C.
        () = interrupts.next() => crowd.left(),
    };
    field.leave().await;
    if left > 0 {
        progress.0.print(format!("{left} players are left: {crowd}; `host forget` ends each"));
    }
    report.map(|report| Report { left, ..report })
}

async fn measure_running(
    field: &Field,
    crowd: &Crowd,
    load: Load,
    progress: Progress<'_>,
    interrupts: &mut Interrupts,
) -> Result<Report, BenchError> {
    let (processes, stop) = (Processes::own(), CancellationToken::new());
    let mut measuring = Box::pin(measure(field, crowd, load, &processes, progress, &stop));
    tokio::select! {
        report = &mut measuring => report,
        () = interrupts.next() => {
            stop.cancel();
            // A call that is under way could begin its player again after that was forgotten.
            measuring.await
        }
    }
}

/// Begins the players, calls them, and says what it was like.
async fn measure(
    field: &Field,
    crowd: &Crowd,
    load: Load,
    processes: &Processes,
    progress: Progress<'_>,
    stop: &CancellationToken,
) -> Result<Report, BenchError> {
    progress.say(|| format!("beginning {} players", load.players));
    let begun = crowd.begin(&field.home, processes, stop).await?;
    let loaded = load::run(field, crowd, load, processes, progress, stop).await?;
    let Loaded { tally, cost } = loaded;
    Ok(Report {
        own: processes.are_known(),
        nodes: field.nodes.len(),
        settings: field.settings,
        owner: field.owner.clone(),
        load,
        latency: tally.latency(),
        calls: tally.calls,
        failures: tally.failures,
        unsent: tally.unsent,
        forwarded: tally.forwarded,
        cost,
        begun_per_second: begun.per_second,
        memory_per_player: begun.memory_each,
        floor: Duration::ZERO,
        left: 0,
    })
}

/// Where a person who waits is told what goes on.
#[derive(Debug, Clone, Copy)]
struct Progress<'a>(&'a Screen);

impl Progress<'_> {
    /// Says it if a person is there.
    fn say(&self, words: impl FnOnce() -> String) {
        if io::stderr().is_terminal() {
            self.0.print(words());
        }
    }
}

fn failed(format: Format, error: &BenchError) -> Rendered {
    match error {
        // A node's own words.
        BenchError::Unanswered(failed) => render::unanswered(format, failed),
        error => render::not_done(format, &render::sentence(error)),
    }
}
