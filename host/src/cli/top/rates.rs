//! What happened between two looks at a node: both say what it has done since it started.

use std::fmt;

use crate::protocol::{CallStats, NodeStats};

/// What a node, or several, did in some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rates {
    /// Calls that ended in a second.
    pub(super) calls: f64,
    /// Bytes of players' states that went to keepers in a second.
    pub(super) replicated: f64,
    /// How many calls took so long that they are in each bucket.
    pub(super) buckets: Vec<u64>,
}

/// How long a call took, as far as a bucket tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Took {
    /// So many microseconds at most.
    AtMost(u64),
    /// Longer than that.
    Longer(u64),
}

impl Rates {
    /// Returns what a node did between two looks; since its start, if there was none before or it has
    /// started again since. `None` when no time has passed.
    pub(super) fn between(before: Option<&NodeStats>, now: &NodeStats) -> Option<Self> {
        let before = before.filter(|before| !has_restarted(before, now));
        let millis = now.up_millis - before.map_or(0, |before| before.up_millis);
        if millis == 0 {
            return None;
        }
        let since = |of: fn(&NodeStats) -> u64| of(now).saturating_sub(before.map_or(0, of));
        #[expect(clippy::cast_precision_loss, reason = "a rate for people has no 53 bits")]
        let per_second = |count: u64| count as f64 * 1000.0 / millis as f64;
        let old = |at: usize| before.and_then(|it| it.calls.buckets.get(at)).copied().unwrap_or(0);
        let buckets = now.calls.buckets.iter().enumerate();
        Some(Self {
            calls: per_second(since(|stats| calls_of(&stats.calls))),
            replicated: per_second(since(|stats| stats.replicated_bytes)),
            buckets: buckets.map(|(at, count)| count.saturating_sub(old(at))).collect(),
        })
    }

    /// Returns what several nodes did together.
    pub(super) fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::default(), |mut sum, part| {
            sum.calls += part.calls;
            sum.replicated += part.replicated;
            let length = sum.buckets.len().max(part.buckets.len());
            sum.buckets.resize(length, 0);
            sum.buckets.iter_mut().zip(&part.buckets).for_each(|(sum, part)| *sum += part);
            sum
        })
    }

    /// Returns the time that half of the calls kept.
    pub(super) fn p50(&self) -> Option<Took> {
        percentile(&self.buckets, 50)
    }

    /// Returns the time that 99 of 100 calls kept.
    pub(super) fn p99(&self) -> Option<Took> {
        percentile(&self.buckets, 99)
    }
}

/// A node's numbers only grow while it runs.
fn has_restarted(before: &NodeStats, now: &NodeStats) -> bool {
    now.up_millis < before.up_millis || calls_of(&now.calls) < calls_of(&before.calls)
}

/// Returns how many calls have ended in any way.
pub(super) fn calls_of(calls: &CallStats) -> u64 {
    let CallStats { returned, trapped, refused, unknown, .. } = calls;
    returned.saturating_add(*trapped).saturating_add(*refused).saturating_add(*unknown)
}

/// Returns the bucket in which so many of a hundred calls have ended; `None` without calls.
fn percentile(buckets: &[u64], percent: u128) -> Option<Took> {
    let all: u128 = buckets.iter().copied().map(u128::from).sum();
    if all == 0 {
        return None;
    }
    let wanted = (all * percent).div_ceil(100);
    let mut seen = 0;
    let at = buckets.iter().position(|count| {
        seen += u128::from(*count);
        seen >= wanted
    })?;
    let longest = CallStats::longest_of(CallStats::BUCKETS - 2).unwrap_or(u64::MAX);
    Some(CallStats::longest_of(at).map_or(Took::Longer(longest), Took::AtMost))
}

impl Took {
    /// Returns it in microseconds, for a bar beside others.
    pub(super) fn micros(self) -> u64 {
        match self {
            Self::AtMost(micros) => micros,
            Self::Longer(micros) => micros.saturating_mul(2),
        }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, micros) = match self {
            Self::AtMost(micros) => ("", *micros),
            Self::Longer(micros) => (">", *micros),
        };
        let tenths = |unit: u64| (micros / unit, micros % unit * 10 / unit);
        match micros {
            0..1000 => write!(f, "{mark}{micros} µs"),
            1000..10_000 => {
                let (whole, tenth) = tenths(1000);
                write!(f, "{mark}{whole}.{tenth} ms")
            }
            10_000..1_000_000 => write!(f, "{mark}{} ms", micros / 1000),
            _ => {
                let (whole, tenth) = tenths(1_000_000);
                write!(f, "{mark}{whole}.{tenth} s")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(up_millis: u64, buckets: [u64; 3], replicated_bytes: u64) -> NodeStats {
        let calls = CallStats {
            returned: buckets.iter().sum(),
            buckets: buckets.to_vec(),
            ..CallStats::default()
        };
        let node = "app_node1".parse().unwrap();
        NodeStats { node, up_millis, calls, replicated_bytes, running: 0, resting: 0 }
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let (before, now) = (stats(1000, [50, 0, 50], 100), stats(3000, [148, 1, 51], 2100));
        let rates = Rates::between(Some(&before), &now).unwrap();
        assert_eq!((rates.calls, rates.replicated), (50.0, 1000.0));
        assert_eq!(rates.p50(), Some(Took::AtMost(50)));
        assert_eq!(rates.p99(), Some(Took::AtMost(100)), "the slow ones of before do not count");
    }

    #[test]
    fn the_first_look_counts_from_the_start_of_the_node() {
        let now = stats(2000, [10, 10, 0], 4000);
        let first = Rates::between(None, &now).unwrap();
        assert_eq!((first.calls, first.replicated), (10.0, 2000.0));
        let restarted = [stats(9000, [10, 10, 5], 9000), stats(1000, [90, 10, 5], 9000)];
        for before in &restarted {
            assert_eq!(Rates::between(Some(before), &now).as_ref(), Some(&first));
        }
        assert_eq!(Rates::between(Some(&now), &now), None);
        assert_eq!(Rates::between(None, &stats(0, [0; 3], 0)), None);
    }

    #[test]
    fn nobody_called_is_no_time_at_all() {
        let (before, now) = (stats(1000, [5, 0, 0], 0), stats(2000, [5, 0, 0], 0));
        let rates = Rates::between(Some(&before), &now).unwrap();
        assert_eq!((rates.calls, rates.p50(), rates.p99()), (0.0, None, None));
    }

    #[test]
    fn the_cluster_is_the_sum_of_its_nodes() {
        let of = |buckets| Rates::between(None, &stats(1000, buckets, 10)).unwrap();
        let sum = Rates::sum([&of([98, 0, 0]), &of([0, 0, 2])]);
        assert_eq!((sum.calls, sum.replicated), (100.0, 20.0));
        assert_eq!((sum.p50(), sum.p99()), (Some(Took::AtMost(50)), Some(Took::AtMost(200))));
    }

    #[test]
    fn times_are_short_and_the_last_bucket_has_no_end() {
        let mut buckets = vec![0; CallStats::BUCKETS];
        buckets[CallStats::BUCKETS - 1] = 1;
        let endless = percentile(&buckets, 50).unwrap();
        assert_eq!(endless.to_string(), ">13.1 s");
        for (micros, text) in [
            (50, "50 µs"),
            (800, "800 µs"),
            (1600, "1.6 ms"),
            (12_800, "12 ms"),
            (819_200, "819 ms"),
            (1_638_400, "1.6 s"),
        ] {
            assert_eq!(Took::AtMost(micros).to_string(), text);
            assert!(endless > Took::AtMost(micros) && endless.micros() > micros);
        }
    }
}
