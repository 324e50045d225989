//! What the cluster did in the last two minutes, for bars beside each other.

use std::collections::VecDeque;
use std::time::Duration;

use super::rates::Rates;

/// How far back it goes.
pub(super) const REACH: Duration = Duration::from_secs(120);

/// For how long what was seen holds when nothing is seen after it: looks are a second apart, about.
const HOLDS: Duration = Duration::from_millis(2500);

/// Points that are kept: more looks than there are in that time.
const POINTS_MAX: usize = 1024;

/// What was seen at one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    at: Duration,
    /// Calls a second.
    pub(super) calls: u64,
    /// The time that 99 of 100 calls kept, in microseconds.
    pub(super) p99: Option<u64>,
}

/// The looks of the last two minutes, in order.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Point>);

impl History {
    /// Adds what was seen.
    pub(super) fn push(&mut self, at: Duration, rates: &Rates) {
        let old = |point: &Point| point.at + REACH + HOLDS < at;
        while self.0.front().is_some_and(old) || self.0.len() >= POINTS_MAX {
            self.0.pop_front();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is not negative, and a float that is too large becomes the largest"
        )]
        let calls = rates.calls.round() as u64;
        self.0.push_back(Point { at, calls, p99: rates.p99().map(|took| took.micros()) });
    }

    /// Returns so many values, the newest last: each is the largest of its part of the time, or `None`
    /// where nothing was seen.
    pub(super) fn columns(
        &self,
        now: Duration,
        count: usize,
        value: impl Fn(&Point) -> Option<u64>,
    ) -> Vec<Option<u64>> {
        let step = REACH / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let column = |back: usize| {
            let until = now.checked_sub(step * u32::try_from(back).unwrap_or(u32::MAX))?;
            let before = || self.0.iter().rev().skip_while(move |point| point.at > until);
            let inside = |point: &&Point| point.at + step > until;
            let highest = before().take_while(inside).filter_map(&value).max();
            let held = before().next().filter(|point| point.at + HOLDS > until);
            highest.or_else(|| held.and_then(&value))
        };
        (0..count).rev().map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: &[(u64, f64)]) -> History {
        let mut history = History::default();
        for (secs, calls) in at {
            let rates = Rates { calls: *calls, ..Rates::default() };
            history.push(Duration::from_secs(*secs), &rates);
        }
        history
    }

    fn columns(history: &History, now: u64, count: usize) -> Vec<Option<u64>> {
        history.columns(Duration::from_secs(now), count, |point| Some(point.calls))
    }

    #[test]
    fn each_column_is_the_highest_of_its_part() {
        let history = seen(&[(110, 5.4), (115, 9.0), (119, 7.0)]);
        assert_eq!(columns(&history, 120, 12)[10..], [Some(5), Some(9)]);
        assert_eq!(columns(&history, 120, 1), [Some(9)]);
    }

    #[test]
    fn a_gap_stays_a_gap_and_jitter_is_none() {
        let history = seen(&[(100, 1.0), (102, 2.0), (110, 3.0)]);
        let columns = columns(&history, 110, 120);
        let newest: Vec<_> = columns[columns.len() - 12..].to_vec();
        let held = [None, Some(1), Some(1), Some(2), Some(2), Some(2)];
        assert_eq!(newest[..6], held, "{newest:?}");
        assert_eq!(newest[6..], [None, None, None, None, None, Some(3)], "{newest:?}");
    }

    #[test]
    fn what_is_older_than_two_minutes_is_gone() {
        let mut history = seen(&[(1, 1.0), (200, 2.0)]);
        assert_eq!(history.0.len(), 1);
        for at in 0..2 * POINTS_MAX as u64 {
            history.push(Duration::from_millis(200_000 + at), &Rates::default());
        }
        assert_eq!(history.0.len(), POINTS_MAX);
        assert!(columns(&seen(&[]), 5, 3).iter().all(Option::is_none));
    }
}
