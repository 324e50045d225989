//! Each key is applied at most once, and each call changes what it says.

use std::collections::BTreeSet;

use host::protocol::{Operation, PlayerId, PlayerState, Term};

use super::super::world::World;
use super::{history, total};

impl World {
    /// Judges the history inside a state.
    pub(super) fn check_history(&mut self, player: &PlayerId, state: &PlayerState, when: &str) {
        let entries = history(state);
        let mut keys = BTreeSet::new();
        let mut before = None;
        let mut wrong = None;
        for entry in &entries {
            let op = usize::try_from(entry.key.0 - 1).ok().and_then(|op| self.ops.get(op));
            let points = match op.map(|op| &op.operation) {
                Some(Operation::Reward(Term::Integer(points))) => *points,
                _ => 0,
            };
            if !keys.insert(entry.key) {
                wrong = Some(("each key is applied at most once", format!("{}", entry.key)));
            }
            let (seq, value) = before.unwrap_or((entry.seq - 1, entry.value - points));
            if entry.seq != seq + 1 {
                let detail = format!("{} follows {seq}", entry.seq);
                wrong = Some(("positions have no gap", detail));
            }
            if entry.value != value + points {
                let detail = format!("{} adds {points} to {value}: {}", entry.key, entry.value);
                wrong = Some(("restored bytes are the acknowledged ones", detail));
            }
            before = Some((entry.seq, entry.value));
        }
        let (seq, value) = before.unwrap_or((state.seq.0, total(state)));
        if (seq, value) != (state.seq.0, total(state)) {
            let detail = format!("{} at {}, not {value} at {seq}", total(state), state.seq);
            wrong = Some(("restored bytes are the acknowledged ones", detail));
        }
        if let Some((invariant, detail)) = wrong {
            self.broken(invariant, format!("{player} {when}: {detail}"));
        }
    }
}
