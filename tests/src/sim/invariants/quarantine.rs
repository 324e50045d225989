//! A player whose state cannot be restored is counted by all its owners together; once it is in
//! quarantine nobody tries to restore it, and only a person's word ends that, or other code: one that
//! cannot be restored on code that it came to lately goes back to what it was before.

use host::protocol::{Operation, PlayerChange, PlayerId, PlayerRecord};

use super::super::happening::Slot;
use super::super::world::World;

const ONLY_A_PERSON: &str = "only a person's word ends a quarantine";

impl World {
    /// Returns what the directory says of the players that these changes are about.
    pub(in super::super) fn records_of(
        &self,
        changes: &[PlayerChange],
    ) -> Vec<(PlayerId, PlayerRecord)> {
        let known = |change: &PlayerChange| {
            let record = self.log.state.player(&change.player)?;
            Some((change.player.clone(), record.clone()))
        };
        changes.iter().filter_map(known).collect()
    }

    /// The directory has made changes; `before` is what it said of their players.
    pub(in super::super) fn watch_counts(&mut self, before: &[(PlayerId, PlayerRecord)]) {
        for (player, before) in before {
            let Some(after) = self.log.state.player(player).cloned() else { continue };
            let (was, is) = (before.quarantine().is_some(), after.quarantine().is_some());
            self.coverage.quarantines += u64::from(!was && is);
            if was && is && before.owner != after.owner {
                self.coverage.quarantines_taken_over += 1;
            }
            let times = |record: &PlayerRecord| record.failed.as_ref().map_or(0, |f| f.times);
            let (from, to) = (times(before), times(&after));
            if to > from + 1 || (to < from && to != 0) {
                let detail = format!("{player}: {to} after {from}");
                self.broken("failed restores are counted one by one", detail);
            }
            if was && !is && !after.is_forgotten() && before.code == after.code {
                self.coverage.releases += 1;
                let asked = self.ops.iter().any(|op| {
                    op.operation == Operation::Release && self.players[op.player] == *player
                });
                if !asked {
                    let detail = format!("{player} g{} is in none any more", after.generation);
                    self.broken(ONLY_A_PERSON, detail);
                }
            }
        }
    }

    /// A server makes an instance.
    pub(in super::super) fn watch_restore(&mut self, slot: Slot, player: &PlayerId, id: u64) {
        let Some(server) = self.server(slot, player, id) else { return };
        let generation = server.machine.generation();
        let record = self.log.state.player(player);
        // One that was stopped meanwhile does not know what newer owners have counted.
        let quarantined = record
            .is_some_and(|record| record.generation == generation && record.quarantine().is_some());
        if quarantined {
            let detail = format!("{player} on {slot} g{generation}");
            self.broken("nobody restores a player in quarantine", detail);
        }
    }
}
