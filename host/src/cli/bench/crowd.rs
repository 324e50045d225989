//! The players that are called: begun before the load, forgotten after it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::BenchError;
use super::call::{Way, call};
use super::process::Processes;
use crate::clock;
use crate::protocol::{NodeName, Operation, PlayerId, Term};

/// Players that begin or end at the same time: so many that they share entries of the directory and
/// the machine has no time to wait for its disk. With 64 a third fewer began in a second.
const AT_ONCE: usize = 512;

/// Players whose names nobody else has.
#[derive(Debug)]
pub(super) struct Crowd {
    players: Vec<PlayerId>,
    /// How many of them, from the first on, may exist.
    begun: Cell<usize>,
    /// How many of those are known not to exist any more.
    forgotten: Cell<usize>,
}

/// What it was like to begin players.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    /// How many began in a second, if there was more than one.
    pub(super) per_second: Option<f64>,
    /// By how many bytes each has made the owner's process grow, if its memory can be seen and there
    /// are enough players to tell.
    pub(super) memory_each: Option<u64>,
}

impl Crowd {
    /// Names players: `bench-` and a random number make the names this run's own.
    pub(super) fn new(players: u32) -> Self {
        let run: u32 = rand::random();
        let name = |number| format!("bench-{run:08x}-{number}").parse();
        let named = |number| name(number).expect("letters, digits and dashes make an id");
        let players = (0..players).map(named).collect();
        Self { players, begun: Cell::new(0), forgotten: Cell::new(0) }
    }

    /// Returns the players' ids.
    pub(super) fn players(&self) -> &[PlayerId] {
        &self.players
    }

    /// Begins all players, or those until `stop`, each with a first reward.
    ///
    /// # Errors
    ///
    /// `NotBegun`, or `Interrupted` after a stop; some may exist then.
    pub(super) async fn begin(
        &self,
        way: &Way,
        processes: &Processes,
        stop: &CancellationToken,
    ) -> Result<Begun, BenchError> {
        let reward = Operation::Reward(Term::Integer(1));
        // What the first one brings along is not a player's: the code, buffers, connections.
        let (first, others) = self.players.split_at(1);
        self.begun.set(first.len());
        self.check(each(way, first, &reward, stop).await)?;
        let (memory, began) = (processes.owner_memory(), clock::now());
        self.begun.set(self.players.len());
        self.check(each(way, others, &reward, stop).await)?;
        if stop.is_cancelled() {
            return Err(BenchError::Interrupted);
        }
        let took = clock::now().duration_since(began);
        let count = u64::try_from(others.len()).unwrap_or(u64::MAX);
        let memory_each = processes
            .owner_memory()
            .zip(memory)
            .and_then(|(now, then)| now.checked_sub(then)?.checked_div(count));
        let per_second = (count > 0).then(|| count as f64 / took.as_secs_f64());
        Ok(Begun { per_second, memory_each })
    }

    /// Ends all players that may exist. Returns how many may still do so.
    pub(super) async fn forget(&self, way: &Way) -> u64 {
        let begun = &self.players[..self.begun.get()];
        let ends = each(way, begun, &Operation::Forget, &CancellationToken::new()).await;
        self.forgotten.set(ends.iter().filter(|end| end.is_ok()).count());
        self.left()
    }

    /// Returns how many players may exist.
    pub(super) fn left(&self) -> u64 {
        let left = self.begun.get() - self.forgotten.get();
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    fn check(&self, ends: Vec<Result<NodeName, &'static str>>) -> Result<(), BenchError> {
        let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
        ends.into_iter().filter_map(Result::err).for_each(|code| {
            *codes.entry(code).or_default() += 1;
        });
        let failed = codes.values().sum();
        let Some((code, _)) = codes.into_iter().max_by_key(|(_, count)| *count) else {
            return Ok(());
        };
        let players = u32::try_from(self.players.len()).unwrap_or(u32::MAX);
        Err(BenchError::NotBegun { failed, players, code })
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.players.as_slice() {
            [] => Ok(()),
            [only] => only.fmt(f),
            [first, .., last] => write!(f, "{first} to {last}"),
        }
    }
}

/// Calls each of these players once, some at the same time, and begins no call after `stop`.
async fn each(
    way: &Way,
    players: &[PlayerId],
    operation: &Operation,
    stop: &CancellationToken,
) -> Vec<Result<NodeName, &'static str>> {
    stream::iter(players)
        .take_until(stop.cancelled())
        .map(|player| call(way, player.clone(), operation.clone()))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_names_of_its_own() {
        let (one, other) = (Crowd::new(2), Crowd::new(2));
        assert!(one.players().iter().all(|player| player.as_str().starts_with("bench-")));
        assert_ne!(one.players()[0], one.players()[1]);
        assert_ne!(one.to_string(), other.to_string());
        assert_eq!(one.left(), 0, "none was begun");
    }

    #[test]
    fn the_most_frequent_reason_is_told() {
        let crowd = Crowd::new(3);
        crowd.check(vec![Ok("app_node1".parse().unwrap())]).unwrap();
        let error = crowd.check(vec![Err("late"), Err("moved"), Err("late")]).unwrap_err();
        assert_eq!(error.to_string(), "3 of 3 players did not begin: late");
    }
}
