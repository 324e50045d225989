//! Handing over: a node that is going to leave gives its players away while it still serves.
//!
//! The owner stops executing, waits until everything that it has executed is acknowledged, and has
//! the directory name another owner with the same copies, its own one among them. The new owner
//! claims the player at the next call and reads it from the copies, as after a failover; but nobody
//! had to notice a death, and every caller who waits is sent on at once. The old owner's node stays
//! until the new one has a copy of its own, so that there are two at any time.

use super::naming::Naming;
use super::{Action, Life, Machine, Phase, View};
use crate::membership::successor_for;
use crate::protocol::{NodeId, PlayerChange, Writer};

impl Machine {
    /// Whether the player should go to another node, and there is one.
    pub(super) fn is_leaving(&self, view: View<'_>) -> bool {
        view.is_draining(self.me.node) && self.successor(view).is_some()
    }

    /// Gives the player away once nothing is under way.
    pub(super) fn hand_over(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let executed = self.executing.is_none() && self.crashed.is_none();
        let quiet = executed && self.unanswered.is_empty() && self.life != Life::Coming;
        if !matches!(self.phase, Phase::Active) || !quiet {
            return;
        }
        let (Some(record), Some(owner)) = (self.record.clone(), self.successor(view)) else {
            return;
        };
        let change = PlayerChange {
            player: self.player.clone(),
            expect: record.generation,
            by: self.me,
            owner,
            keepers: record.keepers,
            code: record.code,
            failed: record.failed,
        };
        self.name(Naming { change, seeded: Vec::new(), counts: false }, out);
        "the player is being handed over".clone_into(&mut self.trouble);
    }

    fn successor(&self, view: View<'_>) -> Option<Writer> {
        let keepers: Vec<NodeId> = self.keepers.iter().map(|keeper| keeper.copy.node).collect();
        successor_for(&self.player, Some(self.me.node), &keepers, view.nodes)
    }
}
