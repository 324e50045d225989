//! What the clients of one player saw is what one counter would have shown, call by call.
//!
//! Wing and Gong, "Testing and verifying concurrent objects" (1993), with Lowe's memory of dead
//! ends. A call that ended as unknown may take effect at any time after it began, or never: those
//! that did are the ones whose points make up what is missing in front of an answered call. So
//! points should be drawn from so many that two sets of them hardly add up to the same.
//!
//! Histories may be long: the usual next step is found without looking at silent calls at all.

mod sums;

use std::collections::BTreeSet;

use self::sums::Sums;

/// Orders that are begun before a history is called undecided.
const STEPS_MAX: usize = 100_000;
/// Sets of silent calls that are looked at before a history is called undecided.
const SETS_MAX: usize = 200_000_000;

/// One call as its client saw it. Times are on one clock, in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// When its client began to ask.
    pub began: u64,
    /// When it was answered. Of a call that was told nothing this says nothing.
    pub ended: u64,
    /// What it adds; nothing, if it only reads.
    pub points: i64,
    /// The total that it was told; `None` if nobody knows whether it was applied.
    pub told: Option<i64>,
}

/// Whether some order of the calls explains all totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One does.
    Linearizable,
    /// None does.
    Not(Stuck),
    /// Too many orders are possible to look at all of them.
    Undecided(Stuck),
}

/// How far the best order came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stuck {
    /// Answered calls that it explains.
    pub explained: usize,
    /// The total after them.
    pub total: i64,
}

/// Judges the history of one player that began with no points. The calls may come in any order.
pub fn judge(calls: &[Call]) -> Verdict {
    Search::new(calls).run()
}

/// Calls that have taken effect. They add up to the total.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    /// All answered calls before this one.
    before: usize,
    /// Answered calls behind it.
    ahead: BTreeSet<usize>,
    silent: BTreeSet<usize>,
}

/// Silent calls that take effect, then an answered one that is told the total.
#[derive(Debug, Clone)]
struct Step {
    silent: Vec<usize>,
    answered: usize,
}

/// One place on the way, with what has not been tried from there.
#[derive(Debug)]
struct Place {
    total: i64,
    /// How far this way came.
    explained: usize,
    untried: Vec<Step>,
    /// Whether the steps with silent calls were looked for, too.
    all_found: bool,
    /// The step that leads to the next place.
    gone: Option<Step>,
}

struct Search {
    /// In the order of their beginnings, as the silent ones.
    answered: Vec<Call>,
    silent: Vec<Call>,
    taken: Taken,
    dead: BTreeSet<Taken>,
    /// Sets of silent calls that were looked at.
    sets: usize,
    /// Whether some sets of silent calls were not looked at.
    partial: bool,
    best: Stuck,
}

impl Search {
    fn new(calls: &[Call]) -> Self {
        let mut calls = calls.to_vec();
        calls.sort_by_key(|call| call.began);
        let (answered, mut silent): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| call.told.is_some());
        silent.retain(|call| call.points != 0);
        Self {
            answered,
            silent,
            taken: Taken::default(),
            dead: BTreeSet::new(),
            sets: 0,
            partial: false,
            best: Stuck::default(),
        }
    }

    fn run(mut self) -> Verdict {
        let mut way = vec![self.place(0, 0)];
        while self.taken.before < self.answered.len() {
            let Some(here) = way.last_mut() else {
                let undecided = self.is_exhausted() || self.partial;
                let verdict = if undecided { Verdict::Undecided } else { Verdict::Not };
                return verdict(self.best);
            };
            if let Some(step) = here.untried.pop() {
                let total = self.answered[step.answered].told.unwrap_or(here.total);
                let explained = here.explained + 1;
                self.take(&step);
                here.gone = Some(step);
                way.push(self.place(total, explained));
            } else if !here.all_found {
                here.all_found = true;
                here.untried = self.steps_with_silent(here.total);
            } else {
                self.dead.insert(self.taken.clone());
                way.pop();
                if let Some(step) = way.last_mut().and_then(|place| place.gone.take()) {
                    self.give_back(&step);
                }
            }
        }
        Verdict::Linearizable
    }

    fn is_exhausted(&self) -> bool {
        self.dead.len() > STEPS_MAX || self.sets > SETS_MAX
    }

    fn place(&mut self, total: i64, explained: usize) -> Place {
        if explained > self.best.explained {
            self.best = Stuck { explained, total };
        }
        let is_dead = self.is_exhausted() || self.dead.contains(&self.taken);
        let untried = if is_dead { Vec::new() } else { self.steps(total) };
        Place { total, explained, untried, all_found: is_dead, gone: None }
    }

    fn take(&mut self, step: &Step) {
        self.taken.silent.extend(&step.silent);
        self.taken.ahead.insert(step.answered);
        while self.taken.ahead.remove(&self.taken.before) {
            self.taken.before += 1;
        }
    }

    fn give_back(&mut self, step: &Step) {
        self.taken.silent.retain(|at| !step.silent.contains(at));
        self.taken.ahead.extend(step.answered..self.taken.before);
        self.taken.before = self.taken.before.min(step.answered);
        self.taken.ahead.remove(&step.answered);
    }

    /// Returns the answered calls that may be next, and until when a silent one may have begun:
    /// nothing may come before a call that ended before it began.
    fn next(&self) -> (Vec<usize>, u64) {
        let (mut first_end, mut next) = (u64::MAX, Vec::new());
        for (at, call) in self.answered.iter().enumerate().skip(self.taken.before) {
            if call.began > first_end {
                break;
            }
            if !self.taken.ahead.contains(&at) {
                first_end = first_end.min(call.ended);
                next.push(at);
            }
        }
        next.retain(|at| self.answered[*at].began <= first_end);
        (next, first_end)
    }

    /// What an answered call was told beyond a total and its own points.
    fn missing(&self, answered: usize, total: i64) -> i64 {
        let call = self.answered[answered];
        call.told.unwrap_or(0) - call.points - total
    }

    /// Returns the steps from this total that need no silent call.
    fn steps(&self, total: i64) -> Vec<Step> {
        let (next, _) = self.next();
        let fits = next.into_iter().filter(|at| self.missing(*at, total) == 0);
        fits.map(|answered| Step { silent: Vec::new(), answered }).collect()
    }

    /// Returns the steps from this total that need some.
    fn steps_with_silent(&mut self, total: i64) -> Vec<Step> {
        let (next, first_end) = self.next();
        let begun = self.silent.iter().take_while(|call| call.began <= first_end).enumerate();
        let open: Vec<(usize, i64)> = begun
            .filter(|(at, _)| !self.taken.silent.contains(at))
            .map(|(at, call)| (at, call.points))
            .collect();
        if open.is_empty() {
            return Vec::new();
        }
        let sums = Sums::of(open);
        self.partial |= !sums.are_all();
        let mut steps = Vec::new();
        for answered in next {
            self.sets += sums.cost();
            let found = sums.that_make(self.missing(answered, total));
            steps.extend(found.into_iter().map(|silent| Step { silent, answered }));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began: u64, ended: u64, points: i64, told: Option<i64>) -> Call {
        Call { began, ended, points, told }
    }

    fn is_not(calls: &[Call]) -> bool {
        matches!(judge(calls), Verdict::Not(_))
    }

    #[test]
    fn overlapping_calls_may_take_effect_in_any_order() {
        let calls = [call(0, 10, 1, Some(3)), call(0, 10, 2, Some(2))];
        assert_eq!(judge(&calls), Verdict::Linearizable);
    }

    #[test]
    fn a_call_takes_effect_after_those_that_ended_before_it_began() {
        let calls = [call(0, 1, 1, Some(3)), call(2, 3, 2, Some(2))];
        assert!(is_not(&calls));
    }

    #[test]
    fn a_read_does_not_go_back() {
        let calls = [call(0, 1, 5, Some(5)), call(2, 3, 0, Some(0))];
        assert_eq!(judge(&calls), Verdict::Not(Stuck { explained: 1, total: 5 }));
    }

    #[test]
    fn an_unknown_call_may_have_happened_late_or_never() {
        let never = [call(0, u64::MAX, 7, None), call(2, 3, 1, Some(1))];
        assert_eq!(judge(&never), Verdict::Linearizable);
        let late = [call(0, u64::MAX, 7, None), call(2, 3, 1, Some(1)), call(4, 5, 1, Some(9))];
        assert_eq!(judge(&late), Verdict::Linearizable);
        let twice = [call(0, u64::MAX, 7, None), call(2, 3, 1, Some(8)), call(4, 5, 1, Some(16))];
        assert!(is_not(&twice));
        let early = [call(0, 1, 1, Some(8)), call(2, u64::MAX, 7, None)];
        assert!(is_not(&early));
    }

    #[test]
    fn what_fits_first_need_not_be_right() {
        // Both rewards fit first, but only the second can follow the silent call.
        let calls = [call(0, 5, 2, Some(2)), call(1, 20, 2, Some(2)), call(6, 0, -2, None)];
        assert_eq!(judge(&calls), Verdict::Linearizable);
    }

    #[test]
    fn long_histories_are_judged() {
        let step =
            |at: u64| call(4 * at, 4 * at + 6, 3, Some(3 * (i64::try_from(at).unwrap() + 1)));
        let mut calls: Vec<Call> = (0..20_000).map(step).collect();
        assert_eq!(judge(&calls), Verdict::Linearizable);
        calls[15_000].told = Some(7);
        assert!(is_not(&calls));
    }

    #[test]
    fn many_silent_calls_are_looked_through() {
        let points = |at: u64| i64::try_from(at * at * 7919 % 1_000_003).unwrap() + 1;
        let silent = (0..60).map(|at| call(at, 0, points(at), None));
        let told = points(3) + points(40) + points(50) + 1;
        let mut calls: Vec<Call> = silent.chain([call(100, 101, 1, Some(told))]).collect();
        assert_eq!(judge(&calls), Verdict::Linearizable);
        calls.truncate(10);
        calls.push(call(100, 101, 1, Some(5_000_000_000)));
        assert!(is_not(&calls));
    }
}
