//! What became of the calls. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Latency;

/// Decimal digits that a duration keeps.
const DIGITS: u8 = 3;
/// Longest duration that is told from longer ones, in nanoseconds: two hours, twice the longest
/// measurement. With three digits that makes a table of 250 KiB.
const NANOS_MAX: u64 = 7_200_000_000_000;

/// Calls that have ended.
#[derive(Debug)]
pub(super) struct Tally {
    /// Calls that count were due in this time.
    counts: (Instant, Instant),
    /// Calls that count and were answered.
    pub(super) calls: u64,
    /// Answered calls, also those that do not count.
    pub(super) answered: u64,
    /// Those of them that another node than the called one ran.
    pub(super) forwarded: u64,
    /// Calls without an answer, also those that would not count, by the reason.
    pub(super) failures: BTreeMap<&'static str, u64>,
    /// Calls that were due and not sent.
    pub(super) unsent: u64,
    /// How long those took that count, in nanoseconds.
    latencies: Histogram<u64>,
}

impl Tally {
    /// Counts calls that are due at `from` or later, and before `until`.
    pub(super) fn new(from: Instant, until: Instant) -> Self {
        let latencies = Histogram::new_with_max(NANOS_MAX, DIGITS).expect("the bounds are sound");
        Self {
            counts: (from, until),
            calls: 0,
            answered: 0,
            forwarded: 0,
            failures: BTreeMap::new(),
            unsent: 0,
            latencies,
        }
    }

    /// Notes a call that was answered.
    pub(super) fn answered(&mut self, due: Instant, now: Instant, forwarded: bool) {
        self.answered += 1;
        if self.counts(due) {
            self.calls += 1;
            self.forwarded += u64::from(forwarded);
            self.record(due, now);
        }
    }

    /// Notes a call that was not answered, and why.
    pub(super) fn failed(&mut self, code: &'static str) {
        *self.failures.entry(code).or_default() += 1;
    }

    /// Notes a call that was due and could not be sent before the end. It would have taken longer
    /// than it has waited; leaving it out would make a cluster look faster the slower it is.
    pub(super) fn unsent(&mut self, due: Instant, now: Instant) {
        if self.counts(due) {
            self.unsent += 1;
            self.record(due, now);
        }
    }

    /// Returns how long calls took, if there were any.
    pub(super) fn latency(&self) -> Option<Latency> {
        let at = |quantile| Duration::from_nanos(self.latencies.value_at_quantile(quantile));
        (!self.latencies.is_empty()).then(|| Latency {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }

    fn counts(&self, due: Instant) -> bool {
        (self.counts.0..self.counts.1).contains(&due)
    }

    fn record(&mut self, due: Instant, now: Instant) {
        let nanos = now.saturating_duration_since(due).as_nanos();
        self.latencies.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// Whether two durations are the same but for the digits that are not kept.
    fn near(one: Duration, other: Duration) -> bool {
        one.abs_diff(other) <= other / 500
    }

    #[test]
    fn quantiles_are_those_of_the_calls_that_count() {
        let from = clock::now();
        let mut tally = Tally::new(from, from + SECOND);
        assert!(tally.latency().is_none());
        for milli in 1..=1000 {
            let due = from + Duration::from_millis(milli - 1);
            tally.answered(due, due + Duration::from_millis(milli), milli > 900);
        }
        // Neither before nor after it.
        tally.answered(from + SECOND, from + 60 * SECOND, true);
        tally.answered(from.checked_sub(SECOND).unwrap_or(from), from + 60 * SECOND, true);
        let Latency { p50, p99, p999, max } = tally.latency().unwrap();
        for (seen, millis) in [(p50, 500), (p99, 990), (p999, 999), (max, 1000)] {
            assert!(near(seen, Duration::from_millis(millis)), "{seen:?} instead of {millis} ms");
        }
        assert_eq!((tally.calls, tally.answered, tally.forwarded), (1000, 1002, 100));
    }

    #[test]
    fn calls_that_waited_in_vain_are_not_left_out() {
        let from = clock::now();
        let mut tally = Tally::new(from, from + 10 * SECOND);
        tally.answered(from, from + Duration::from_millis(1), false);
        tally.unsent(from + SECOND, from + 10 * SECOND);
        assert!(near(tally.latency().unwrap().max, 9 * SECOND));
        assert_eq!((tally.calls, tally.unsent), (1, 1));
    }

    #[test]
    fn failures_are_counted_by_their_reasons() {
        let now = clock::now();
        let mut tally = Tally::new(now, now + SECOND);
        for code in ["late", "moved", "late"] {
            tally.failed(code);
        }
        assert_eq!(tally.failures, BTreeMap::from([("late", 2), ("moved", 1)]));
    }
}
