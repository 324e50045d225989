//! What the clients of one player saw is what one counter would have shown, call by call.

use host::protocol::{Operation, Term};

use super::super::client::{Ended, Op};
use super::super::world::World;
use crate::linearizable::{Call, Verdict, judge};

fn call(op: &Op) -> Option<Call> {
    let points = match &op.operation {
        Operation::Reward(Term::Integer(points)) => *points,
        Operation::Points => 0,
        Operation::Reward(Term::Text(_)) | Operation::Recover(_) | Operation::Forget => {
            return None;
        }
    };
    let told = match op.ended {
        Ended::Returned(total) => Some(total),
        Ended::Unknown | Ended::Not => None,
        Ended::Trapped | Ended::NotApplied => return None,
    };
    Some(Call { began: op.began, ended: op.ended_at, points, told })
}

impl World {
    pub(in super::super) fn check_linearizable(&mut self) {
        for player in 0..self.players.len() {
            let calls: Vec<Call> =
                self.ops.iter().filter(|op| op.player == player).filter_map(call).collect();
            let verdict = judge(&calls);
            if verdict != Verdict::Linearizable {
                let (name, count) = (&self.players[player], calls.len());
                let detail = format!("{name}: {count} calls are {verdict:?}");
                self.broken("each player is one counter", detail);
            }
        }
    }
}
