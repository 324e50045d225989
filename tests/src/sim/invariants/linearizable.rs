//! What the clients of one player saw is what one counter would have shown, call by call.

use host::protocol::{Operation, PlayerId, Term};

use super::super::client::{Ended, Op};
use super::super::world::World;
use super::Told;
use crate::linearizable::{Call, Verdict, judge};

/// What a call adds, if it is one that counts.
fn points(op: &Op) -> Option<i64> {
    match &op.operation {
        Operation::Reward(Term::Integer(points)) => Some(*points),
        Operation::Points => Some(0),
        Operation::Reward(Term::Text(_))
        | Operation::Recover(_)
        | Operation::Call(_)
        | Operation::Forget
        | Operation::Release
        | Operation::Bundle(_)
        | Operation::Move(_)
        | Operation::Crash
        | Operation::Export
        | Operation::Import(_) => None,
    }
}

/// What is known of a call. `repeats` says that some come twice: the second time, code that traps now
/// and then may do what it did not do the first time.
fn call(op: &Op, repeats: bool) -> Option<Call> {
    let points = points(op)?;
    let told = match op.ended {
        Ended::Returned(total) => Some(total),
        Ended::Unknown | Ended::Not => None,
        // The player may have been ended since an earlier attempt, and have had better code then.
        Ended::Trapped if op.may_be_applied || repeats => None,
        Ended::Trapped | Ended::NotApplied => return None,
    };
    Some(Call { began: op.began, ended: op.ended_at, points, told })
}

impl World {
    pub(in super::super) fn check_linearizable(&mut self) {
        for player in 0..self.players.len() {
            for life in 0..=self.given_up(&self.players[player]).len() {
                let calls = self.calls_in(player, life);
                let verdict = judge(&calls);
                if verdict != Verdict::Linearizable {
                    let (name, count) = (&self.players[player], calls.len());
                    let detail = format!("{name}: {count} calls are {verdict:?} in life {life}");
                    self.broken("each player is one counter", detail);
                }
            }
        }
    }

    /// The calls of a player as they are from one time at which something was given up to the next.
    /// Of those that were given up before, and of those that were told later, nothing is known here.
    fn calls_in(&self, player: usize, life: usize) -> Vec<Call> {
        let name = &self.players[player];
        let given_up = self.given_up(name);
        let (before, next) = (&given_up[..life], given_up.get(life));
        let counts = |(at, op): (usize, &Op)| {
            let call = call(op, self.plan.repeats > 0).filter(|_| op.player == player)?;
            if given_up.is_empty() {
                return Some(call);
            }
            let told = self.first_told(name, op).filter(|(seq, _, by)| {
                next.is_none_or(|next| *by < next.below)
                    && !before.iter().any(|given_up| given_up.covers(*seq, *by))
            });
            match told {
                Some(_) => Some(call),
                None => self.can_be_in(name, at, before).then_some(Call { told: None, ..call }),
            }
        };
        self.ops.iter().enumerate().filter_map(counts).collect()
    }

    /// Who told first what a client was told.
    fn first_told(&self, player: &PlayerId, op: &Op) -> Option<Told> {
        let Ended::Returned(total) = op.ended else { return None };
        let all = self.watch.told.get(&(player.clone(), op.key))?;
        all.iter().copied().filter(|(_, value, _)| *value == total).min_by_key(|(_, _, by)| *by)
    }
}
