//! Each key is applied at most once, and each call changes what it says.

use std::collections::BTreeSet;

use host::protocol::{Operation, PlayerId, PlayerState, Term};

use super::super::client::op_of;
use super::super::guest::{bulk_bytes, bulk_of, mark_of, memory_of, times_applied, total_of};
use super::super::world::World;
use super::history;

type Wrong = (&'static str, String);

const ONCE: &str = "each key is applied at most once";
const NO_GAP: &str = "positions have no gap";
const SAME: &str = "restored bytes are the acknowledged ones";

impl World {
    /// Judges the history inside a state.
    pub(super) fn check_history(&mut self, player: &PlayerId, state: &PlayerState, when: &str) {
        let steps = self.watch.steps.range((player.clone(), 0)..=(player.clone(), state.seq.0));
        let steps: BTreeSet<u64> = steps.map(|(_, seq)| *seq).collect();
        let wrong =
            self.check_memory(state, &steps).and_then(|()| self.check_window(state, &steps));
        if let Err((invariant, detail)) = wrong {
            self.broken(invariant, format!("{player} {when}: {detail}"));
        }
    }

    /// The memory is what the calls make that were applied, also those that the window forgot.
    fn check_memory(&self, state: &PlayerState, steps: &BTreeSet<u64>) -> Result<(), Wrong> {
        let memory = memory_of(state);
        let (mut calls, mut total) = (0, 0);
        for (op, times) in times_applied(&memory).iter().enumerate() {
            if *times > 1 {
                let key = self.ops.get(op).map(|op| op.key);
                return Err((ONCE, format!("{key:?} was applied {times} times")));
            }
            calls += u64::from(*times);
            total += i64::from(*times) * self.points(op);
        }
        let large = (0..self.ops.len()).filter(|op| bulk_bytes(self.points(*op)).is_some());
        let large = large.filter(|op| times_applied(&memory).get(*op).is_some_and(|n| *n > 0));
        let marks: BTreeSet<u8> = large.map(mark_of).collect();
        let bulk: BTreeSet<u8> = bulk_of(&memory).iter().copied().collect();
        if !bulk.is_subset(&marks) || bulk.is_empty() != marks.is_empty() {
            return Err((SAME, format!("large calls {marks:?} have left {bulk:?}")));
        }
        // Some steps to other code may have been given up, and made again at another position.
        let least = state.seq.0.saturating_sub(steps.len() as u64);
        if !(least..=state.seq.0).contains(&calls) || total != total_of(&memory) {
            let seen = total_of(&memory);
            return Err((SAME, format!("{seen} at {}, not {total} at {calls}", state.seq)));
        }
        Ok(())
    }

    /// What the window remembers fits together. It remembers all if it has forgotten nothing.
    fn check_window(&self, state: &PlayerState, steps: &BTreeSet<u64>) -> Result<(), Wrong> {
        let entries = history(state);
        let whole = state.window.horizon().is_none();
        let mut before = (0, 0);
        for entry in &entries {
            let points = self.points(op_of(entry.key));
            // Where another owner made a step that nobody named, there may be a call, too.
            let next = entry.seq == before.0 + 1;
            let stepped = |between| steps.contains(&between);
            let follows = next || (whole && (before.0 + 1..entry.seq).all(stepped));
            if !follows && (whole || entry.seq <= before.0) {
                return Err((NO_GAP, format!("{} follows {}", entry.seq, before.0)));
            }
            if follows && entry.value != before.1 + points {
                let (key, value) = (entry.key, entry.value);
                return Err((SAME, format!("{key} adds {points} to {}: {value}", before.1)));
            }
            before = (entry.seq, entry.value);
        }
        let (seq, total) = (state.seq.0, total_of(&memory_of(state)));
        let ends = (before.0 + 1..=seq).all(|between| steps.contains(&between));
        if (whole && !ends) || ((whole || before.0 == seq) && before.1 != total) {
            let detail = format!("{total} at {seq}, not {} at {}", before.1, before.0);
            return Err((SAME, detail));
        }
        Ok(())
    }

    fn points(&self, op: usize) -> i64 {
        match self.ops.get(op).map(|op| &op.operation) {
            Some(Operation::Reward(Term::Integer(points))) => *points,
            Some(
                Operation::Reward(Term::Text(_))
                | Operation::Points
                | Operation::Recover(_)
                | Operation::Call(_)
                | Operation::Forget
                | Operation::Release
                | Operation::Bundle(_)
                | Operation::Move(_)
                | Operation::Crash
                | Operation::Export
                | Operation::Import(_),
            )
            | None => 0,
        }
    }
}
