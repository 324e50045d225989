//! The load itself: callers, each with one call under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{Instant as Wake, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::call::{Way, call};
use super::crowd::Crowd;
use super::field::Field;
use super::pace::Pace;
use super::process::Processes;
use super::report::Reading;
use super::tally::Tally;
use super::{BenchError, CostOfCall, Load, Progress};
use crate::cli::args::Payload;
use crate::clock;
use crate::limits::STEP_RETRY;
use crate::protocol::{NodeName, Operation, PlayerId, Term, Traffic};

/// Time in which calls are made that do not count: connections, caches and compilers get warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// Time after the end in which calls that were due before it are still sent. What waits longer does
/// so because the cluster is slower than the rate.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Time between two words to a person who waits.
const WORD: Duration = Duration::from_secs(1);

/// What came of a load.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What became of the calls.
    pub(super) tally: Tally,
    /// What each has cost.
    pub(super) cost: CostOfCall,
}

/// What all callers share.
#[derive(Debug)]
struct Shared {
    pace: Pace,
    tally: Mutex<Tally>,
    players: Vec<PlayerId>,
    ways: Vec<(NodeName, Way)>,
    payload: Payload,
    until: Instant,
    stop: CancellationToken,
}

/// Calls the players for as long as the load says or until `stop`, and waits for the last answers.
///
/// # Errors
///
/// `Thread`, or `Interrupted` after a stop. Calls that fail are counted.
pub(super) async fn run(
    field: &Field,
    crowd: &Crowd,
    load: Load,
    processes: &Processes,
    progress: Progress<'_>,
    stop: &CancellationToken,
) -> Result<Loaded, BenchError> {
    let begin = clock::now();
    let from = begin + WARM_UP;
    let until = from + load.time;
    let players = if load.hot { &crowd.players()[..1] } else { crowd.players() };
    let shared = Arc::new(Shared {
        pace: Pace::begin(load.rate, begin, until).map_err(BenchError::Thread)?,
        tally: Mutex::new(Tally::new(from, until)),
        players: players.to_vec(),
        ways: field.ways.clone(),
        payload: load.payload,
        until,
        stop: stop.clone(),
    });
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        // Each begins at another place of the round.
        let turn = number as usize * players.len() / load.callers as usize;
        callers.spawn(call_on(Arc::clone(&shared), turn));
    }
    let read = async || {
        // Who else uses a running cluster is not seen, so what its nodes exchange is nobody's.
        let between = if processes.are_known() { field.traffic_of_nodes().await } else { None };
        Reading {
            answered: shared.tally().answered,
            used: processes.used(),
            with_client: field.traffic().map(Traffic::bytes),
            between_nodes: between.map(Traffic::bytes),
        }
    };
    let wait_for = async |moment| {
        stop.run_until_cancelled(sleep_until(Wake::from_std(moment))).await.is_some()
    };
    wait_for(from).await;
    let before = read().await;
    let mut said = before.answered;
    for second in 1.. {
        let next = from + second * WORD;
        if next >= until || !wait_for(next).await {
            break;
        }
        let answered = shared.tally().answered;
        progress
            .say(|| format!("{second} s of {}: {} calls/s", load.time.as_secs(), answered - said));
        said = answered;
    }
    wait_for(until).await;
    let cost = CostOfCall::between(&before, &read().await);
    while let Some(caller) = callers.join_next().await {
        caller.expect("callers do not panic");
    }
    if stop.is_cancelled() {
        return Err(BenchError::Interrupted);
    }
    let shared = Arc::into_inner(shared).expect("the callers have ended");
    let tally = shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Loaded { tally, cost })
}

/// One caller: goes round the players and the nodes, one call after the other.
async fn call_on(shared: Arc<Shared>, mut turn: usize) {
    while let Some(Some(due)) = shared.stop.run_until_cancelled(shared.pace.next()).await {
        let now = clock::now();
        if now >= shared.until + LATE_MAX {
            shared.tally().unsent(due, now);
            continue;
        }
        let player = shared.players[turn % shared.players.len()].clone();
        let (node, way) = &shared.ways[turn % shared.ways.len()];
        turn += 1;
        let end = call(way, player, shared.payload.operation()).await;
        let now = clock::now();
        match end {
            Ok(ran) => shared.tally().answered(due, now, ran != *node),
            Err(code) => {
                shared.tally().failed(code);
                // A node that refuses at once must not be asked in a tight loop.
                sleep(STEP_RETRY).await;
            }
        }
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Each count is whole between any two calls, whoever panicked.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Payload {
    /// Returns what is asked of a player.
    fn operation(self) -> Operation {
        match self {
            Self::Reward => Operation::Reward(Term::Integer(1)),
            Self::Points => Operation::Points,
        }
    }
}
