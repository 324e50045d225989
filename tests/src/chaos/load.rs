//! Callers: one call after the other each, with a key, tried again with the same key through other
//! nodes until it is answered or too late.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use host::protocol::{Answer, Call, CallKey, Operation, PlayerId, Term};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::history::{Asked, Attempt, Ended, Failed, Journal, Record};
use crate::client::{Client, NoAnswer};
use crate::sim::rng::Rng;

/// Time between two calls of one caller. All together they leave two cores something to spare.
const PACE: Duration = Duration::from_millis(40);
/// Time a call is tried for.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// Time one node has to answer, after which another one is asked.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// Pause after an attempt that brought nothing: a node that refuses at once is not asked in a
/// tight loop.
const PAUSE: Duration = Duration::from_millis(20);

/// Who calls whom.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) clients: usize,
    pub(super) players: usize,
    pub(super) seed: u64,
    /// The nodes' addresses.
    pub(super) nodes: Vec<SocketAddr>,
}

impl Load {
    /// Returns the name of a player.
    pub(super) fn player(at: usize) -> String {
        format!("player{}", at + 1)
    }

    /// Calls until `stop`, and returns all calls. The sockets are where this thread is.
    pub(super) fn run(
        &self,
        secret: &Path,
        journal: &Arc<Journal>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<Record>> {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.context("start the callers' runtime")?.block_on(async {
            let mut callers = JoinSet::new();
            for client in 0..self.clients {
                let caller = self.caller(client, secret, journal)?;
                callers.spawn(caller.call_until(Arc::clone(stop)));
            }
            let mut records = Vec::new();
            while let Some(made) = callers.join_next().await {
                records.extend(made.context("a caller broke off")??);
            }
            Ok(records)
        })
    }

    /// Asks each player for its points, for `patience` at most, all at the same time.
    pub(super) fn ask_all(
        &self,
        secret: &Path,
        journal: &Arc<Journal>,
        patience: Duration,
    ) -> Result<Vec<Record>> {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.context("start the callers' runtime")?.block_on(async {
            let mut callers = JoinSet::new();
            for player in 0..self.players {
                let mut caller = self.caller(self.clients + player, secret, journal)?;
                callers.spawn(async move { caller.call(player, Asked::Points, patience).await });
            }
            let mut records = Vec::new();
            while let Some(made) = callers.join_next().await {
                records.push(made.context("a caller broke off")??);
            }
            Ok(records)
        })
    }

    fn caller(&self, client: usize, secret: &Path, journal: &Arc<Journal>) -> Result<Caller> {
        let number = u64::try_from(client).context("count the callers")?;
        Ok(Caller {
            number: client,
            client: Client::new(secret)?,
            rng: Rng::new(self.seed ^ (number + 1).rotate_left(32)),
            nodes: self.nodes.clone(),
            players: self.players,
            journal: Arc::clone(journal),
        })
    }
}

struct Caller {
    number: usize,
    client: Client,
    rng: Rng,
    nodes: Vec<SocketAddr>,
    players: usize,
    journal: Arc<Journal>,
}

impl Caller {
    async fn call_until(mut self, stop: Arc<AtomicBool>) -> Result<Vec<Record>> {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut records = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            pace.tick().await;
            let (player, asked) = (self.rng.index(self.players), self.question());
            records.push(self.call(player, asked, CALL_PATIENCE).await?);
        }
        Ok(records)
    }

    fn question(&mut self) -> Asked {
        match self.rng.between(0, 99) {
            0..=4 => Asked::Trap,
            5..=19 => Asked::Points,
            // Amounts that say which rewards a total is made of.
            _ => {
                let points = i64::try_from(self.rng.between(1, 1_000_000_000));
                Asked::Reward(points.expect("it is small") - 200_000_000)
            }
        }
    }

    async fn call(&mut self, player: usize, asked: Asked, patience: Duration) -> Result<Record> {
        let key = CallKey::random(host::clock::unix_millis());
        let operation = match asked {
            Asked::Reward(points) => Operation::Reward(Term::Integer(points)),
            Asked::Points => Operation::Points,
            Asked::Trap => Operation::Reward(Term::Text("a".to_owned())),
        };
        let id: PlayerId = Load::player(player).parse()?;
        let call = Call { player: id, key, operation };
        let began_us = self.journal.now_us();
        let mut attempts = Vec::new();
        let ended = self.attempts(&call, patience, &mut attempts).await;
        let record = Record {
            client: self.number,
            player,
            key: key.to_string(),
            asked,
            began_us,
            ended_us: self.journal.now_us(),
            ended,
            attempts,
        };
        self.journal.write(&record)?;
        Ok(record)
    }

    async fn attempts(
        &mut self,
        call: &Call,
        patience: Duration,
        attempts: &mut Vec<Attempt>,
    ) -> Ended {
        let start = Instant::now();
        let mut ended = Ended::NotApplied;
        let mut at = self.rng.index(self.nodes.len());
        loop {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return ended;
            }
            let asked = Attempt { node: at, at_us: self.journal.now_us(), failed: None };
            let within = left.min(ATTEMPT);
            let no_answer = match self.client.call(self.nodes[at], call.clone(), within).await {
                Ok(answer) => {
                    attempts.push(asked);
                    return told(answer);
                }
                Err(no_answer) => no_answer,
            };
            if !no_answer.is_harmless() {
                ended = Ended::Unknown;
            }
            attempts.push(Attempt { failed: Some(account(&no_answer)), ..asked });
            at = (at + 1 + self.rng.index(self.nodes.len() - 1)) % self.nodes.len();
            sleep(PAUSE).await;
        }
    }
}

fn told(answer: Answer) -> Ended {
    match answer {
        Answer::Returned { value, seq, node } => {
            let total = value.points().expect("the load asks for points only");
            Ended::Returned { total, seq: seq.0, node: node.to_string() }
        }
        Answer::Trapped(crash) => Ended::Trapped { message: crash.message },
        // Nobody asks for that here.
        Answer::Forgotten { .. }
        | Answer::Released { .. }
        | Answer::Bundled(_)
        | Answer::HandedOver(_)
        | Answer::Exported(_)
        | Answer::Imported { .. } => {
            Ended::Trapped { message: "it was asked for something else".to_owned() }
        }
    }
}

fn account(no_answer: &NoAnswer) -> Failed {
    let error = match no_answer {
        NoAnswer::Silence(reason) => {
            return Failed { code: "silence", reason: reason.clone() };
        }
        NoAnswer::Said(error) => error,
    };
    Failed { code: error.code(), reason: error.to_string() }
}
