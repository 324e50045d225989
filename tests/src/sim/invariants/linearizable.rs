//! What the clients of one player saw is what one counter would have shown, call by call.
//!
//! Wing and Gong, "Testing and verifying concurrent objects" (1993), with Lowe's memory of dead
//! ends. A call that ended as unknown may take effect at any time after it began, or never: those
//! that did are the ones whose points make up what is missing in front of an answered call.

use std::collections::{BTreeMap, BTreeSet};

use host::protocol::{Operation, Term};

use super::super::client::{Ended, Op};
use super::super::happening::Time;
use super::super::world::World;

/// Orders that are begun before a history is called undecided.
const STEPS_MAX: usize = 100_000;

/// One call as its client saw it.
#[derive(Debug, Clone, Copy)]
struct Interval {
    began: Time,
    ended: Time,
    points: i64,
    /// The total that it was told; `None` when it was told nothing.
    total: Option<i64>,
}

impl Interval {
    fn of(op: &Op) -> Option<Self> {
        let points = match &op.operation {
            Operation::Reward(Term::Integer(points)) => *points,
            Operation::Points => 0,
            Operation::Reward(Term::Text(_)) | Operation::Recover(_) | Operation::Forget => {
                return None;
            }
        };
        let (ended, total) = match op.ended {
            Ended::Returned(total) => (op.ended_at, Some(total)),
            Ended::Unknown | Ended::Not if points != 0 => (Time::MAX, None),
            _ => return None,
        };
        Some(Self { began: op.began, ended, points, total })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Linearizable,
    Not,
    Undecided,
}

/// Whether some order of the calls explains all totals.
fn judge(calls: &[Interval]) -> Verdict {
    let mut search = Search { calls, taken: vec![false; calls.len()], dead: BTreeSet::new() };
    match search.explains(0) {
        _ if search.dead.len() > STEPS_MAX => Verdict::Undecided,
        true => Verdict::Linearizable,
        false => Verdict::Not,
    }
}

struct Search<'a> {
    calls: &'a [Interval],
    taken: Vec<bool>,
    /// Calls that were taken and led to nothing. They add up to the total.
    dead: BTreeSet<Vec<bool>>,
}

impl Search<'_> {
    /// Whether the calls that are not taken yet can follow, from this total on.
    fn explains(&mut self, total: i64) -> bool {
        let open: Vec<usize> = (0..self.calls.len()).filter(|at| !self.taken[*at]).collect();
        // Nothing may come before a call that ended before it began.
        let first_end = open.iter().map(|at| self.calls[*at].ended).min().unwrap_or(Time::MAX);
        let (answered, silent): (Vec<usize>, Vec<usize>) =
            open.into_iter().partition(|at| self.calls[*at].total.is_some());
        if answered.is_empty() {
            return true;
        }
        if self.dead.len() > STEPS_MAX || self.dead.contains(&self.taken) {
            return false;
        }
        let may_be_next = |at: &usize| self.calls[*at].began <= first_end;
        let silent: Vec<usize> = silent.into_iter().filter(may_be_next).collect();
        for at in answered.into_iter().filter(may_be_next).collect::<Vec<_>>() {
            let Some(told) = self.calls[at].total else { continue };
            let missing = told - self.calls[at].points - total;
            for before in self.sums(&silent, missing) {
                let step: Vec<usize> = before.into_iter().chain([at]).collect();
                step.iter().for_each(|at| self.taken[*at] = true);
                if self.explains(told) {
                    return true;
                }
                step.iter().for_each(|at| self.taken[*at] = false);
            }
        }
        self.dead.insert(self.taken.clone());
        false
    }

    /// Returns the sets of calls whose points add up to `sum`: all sums of one half, and for each
    /// the sums of the other half that fit.
    fn sums(&self, calls: &[usize], sum: i64) -> Vec<Vec<usize>> {
        let (left, right) = calls.split_at(calls.len() / 2);
        let mut of_right = BTreeMap::<i64, Vec<Vec<usize>>>::new();
        for (sum, set) in self.subsets(right) {
            of_right.entry(sum).or_default().push(set);
        }
        let mut found = Vec::new();
        for (of_left, set) in self.subsets(left) {
            for other in of_right.get(&(sum - of_left)).into_iter().flatten() {
                found.push(set.iter().chain(other).copied().collect());
            }
        }
        found
    }

    fn subsets(&self, calls: &[usize]) -> Vec<(i64, Vec<usize>)> {
        let mut all = vec![(0, Vec::new())];
        for at in calls {
            for (sum, set) in all.clone() {
                let with = set.into_iter().chain([*at]).collect();
                all.push((sum + self.calls[*at].points, with));
            }
        }
        all
    }
}

impl World {
    pub(in super::super) fn check_linearizable(&mut self) {
        for player in 0..self.players.len() {
            let calls: Vec<Interval> =
                self.ops.iter().filter(|op| op.player == player).filter_map(Interval::of).collect();
            let verdict = judge(&calls);
            if verdict != Verdict::Linearizable {
                let (name, count) = (&self.players[player], calls.len());
                let detail = format!("{name}: {count} calls are {verdict:?}");
                self.broken("each player is one counter", detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began: Time, ended: Time, points: i64, total: Option<i64>) -> Interval {
        Interval { began, ended, points, total }
    }

    #[test]
    fn overlapping_calls_may_take_effect_in_any_order() {
        let calls = [call(0, 10, 1, Some(3)), call(0, 10, 2, Some(2))];
        assert_eq!(judge(&calls), Verdict::Linearizable);
    }

    #[test]
    fn a_call_takes_effect_after_those_that_ended_before_it_began() {
        let calls = [call(0, 1, 1, Some(3)), call(2, 3, 2, Some(2))];
        assert_eq!(judge(&calls), Verdict::Not);
    }

    #[test]
    fn a_read_does_not_go_back() {
        let calls = [call(0, 1, 5, Some(5)), call(2, 3, 0, Some(0))];
        assert_eq!(judge(&calls), Verdict::Not);
    }

    #[test]
    fn an_unknown_call_may_have_happened_late_or_never() {
        let never = [call(0, Time::MAX, 7, None), call(2, 3, 1, Some(1))];
        assert_eq!(judge(&never), Verdict::Linearizable);
        let late = [call(0, Time::MAX, 7, None), call(2, 3, 1, Some(1)), call(4, 5, 1, Some(9))];
        assert_eq!(judge(&late), Verdict::Linearizable);
        let twice = [call(0, Time::MAX, 7, None), call(2, 3, 1, Some(8)), call(4, 5, 1, Some(16))];
        assert_eq!(judge(&twice), Verdict::Not);
        let early = [call(0, 1, 1, Some(8)), call(2, Time::MAX, 7, None)];
        assert_eq!(judge(&early), Verdict::Not);
    }
}
