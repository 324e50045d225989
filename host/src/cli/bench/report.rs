//! What a measurement has found. Pure; `render` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Load;
use super::process::Used;
use crate::protocol::{NodeName, Settings};

/// What a measurement has found.
#[derive(Debug)]
pub(in crate::cli) struct Report {
    /// Whether the cluster was a throw-away one.
    pub(in crate::cli) own: bool,
    /// How many of its nodes were up.
    pub(in crate::cli) nodes: usize,
    /// What held in it.
    pub(in crate::cli) settings: Settings,
    /// The node that owned the players.
    pub(in crate::cli) owner: NodeName,
    /// What was asked for.
    pub(in crate::cli) load: Load,
    /// How long calls took, if any was answered.
    pub(in crate::cli) latency: Option<Latency>,
    /// Calls that were answered.
    pub(in crate::cli) calls: u64,
    /// Calls that were not, by the reason.
    pub(in crate::cli) failures: BTreeMap<&'static str, u64>,
    /// Calls of an open loop that were due and could not be sent before its end.
    pub(in crate::cli) unsent: u64,
    /// Answered calls that another node ran than the one that they were sent to.
    pub(in crate::cli) forwarded: u64,
    /// What each call has cost.
    pub(in crate::cli) cost: CostOfCall,
    /// Players that began in a second, if there was more than one.
    pub(in crate::cli) begun_per_second: Option<f64>,
    /// Bytes by which each player has made the owner's process grow.
    pub(in crate::cli) memory_per_player: Option<u64>,
    /// Half of the round trips on a plain stream took at most this long.
    pub(in crate::cli) floor: Duration,
    /// Players that could not be forgotten.
    pub(in crate::cli) left: u64,
}

/// How long calls took, from when they were due to their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Latency {
    /// Half of them took at most this long.
    pub(in crate::cli) p50: Duration,
    /// 99 of 100.
    pub(in crate::cli) p99: Duration,
    /// 999 of 1,000.
    pub(in crate::cli) p999: Duration,
    /// All of them.
    pub(in crate::cli) max: Duration,
}

/// What one call has cost. What could not be seen is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct CostOfCall {
    /// Processor time of the owner's process, in microseconds; with the callers' if they are in it.
    pub(in crate::cli) owner_us: Option<f64>,
    /// Of all other nodes together.
    pub(in crate::cli) others_us: Option<f64>,
    /// Of this process, unless it is the owner's.
    pub(in crate::cli) client_us: Option<f64>,
    /// Bytes on the wire between this process and the nodes, in both directions.
    pub(in crate::cli) client_bytes: Option<f64>,
    /// Likewise between the nodes, with everything else that they tell each other.
    pub(in crate::cli) node_bytes: Option<f64>,
}

/// What was used, and for how many answers, until some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Answers.
    pub(super) answered: u64,
    /// Processor time.
    pub(super) used: Used,
    /// Bytes between this process and the nodes, if it is a client.
    pub(super) with_client: Option<u64>,
    /// Bytes between the nodes.
    pub(super) between_nodes: Option<u64>,
}

impl Report {
    /// Returns the number of calls without an answer.
    pub(in crate::cli) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns how many calls were answered in a second.
    pub(in crate::cli) fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.load.time.as_secs_f64()
    }

    /// Returns how many plain round trips fit into the median call.
    pub(in crate::cli) fn round_trips_of_p50(&self) -> Option<f64> {
        let p50 = self.latency?.p50.as_secs_f64();
        (!self.floor.is_zero()).then(|| p50 / self.floor.as_secs_f64())
    }
}

impl CostOfCall {
    /// Returns what each call has cost between two readings.
    pub(super) fn between(before: &Reading, after: &Reading) -> Self {
        let calls = after.answered.saturating_sub(before.answered);
        let each = |cost: f64| (calls > 0).then(|| cost / calls as f64);
        let time = |after: Option<Duration>, before: Option<Duration>| {
            each(after?.saturating_sub(before?).as_secs_f64() * 1e6)
        };
        // Fewer than before: a connection was lost, and its count with it.
        let bytes =
            |after: Option<u64>, before: Option<u64>| each(after?.checked_sub(before?)? as f64);
        Self {
            owner_us: time(after.used.owner, before.used.owner),
            others_us: time(after.used.others, before.used.others),
            client_us: time(after.used.client, before.used.client),
            client_bytes: bytes(after.with_client, before.with_client),
            node_bytes: bytes(after.between_nodes, before.between_nodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(answered: u64, millis: u64, bytes: u64) -> Reading {
        let time = Some(Duration::from_millis(millis));
        Reading {
            answered,
            used: Used { owner: time, others: None, client: time.map(|time| 2 * time) },
            with_client: Some(bytes),
            between_nodes: Some(bytes * 2),
        }
    }

    #[test]
    fn a_call_costs_what_was_used_between_the_readings() {
        let cost = CostOfCall::between(&reading(100, 10, 1000), &reading(300, 20, 3000));
        let expected = CostOfCall {
            owner_us: Some(50.0),
            others_us: None,
            client_us: Some(100.0),
            client_bytes: Some(10.0),
            node_bytes: Some(20.0),
        };
        assert_eq!(cost, expected);
    }

    #[test]
    fn no_call_costs_nothing_that_could_be_said() {
        let same = reading(5, 1, 1);
        let CostOfCall { owner_us, client_bytes, .. } = CostOfCall::between(&same, &same);
        assert_eq!((owner_us, client_bytes), (None, None));
    }

    #[test]
    fn a_count_that_began_anew_is_not_taken() {
        let before = reading(0, 1, 1000);
        let after = Reading { answered: 10, between_nodes: Some(5), ..before };
        let CostOfCall { client_bytes, node_bytes, .. } = CostOfCall::between(&before, &after);
        assert_eq!((client_bytes, node_bytes), (Some(0.0), None));
    }
}
