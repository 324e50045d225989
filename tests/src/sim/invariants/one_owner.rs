//! One owner acknowledges under one generation, and no keeper goes back to an older one.

use host::protocol::NodeId;

use super::super::Bug;
use super::super::keeper::Asked;
use super::super::world::World;

impl World {
    pub(in super::super) fn watch_acknowledgement(&mut self, node: NodeId, asked: &Asked) {
        let Asked { player, generation, writer, .. } = asked;
        let owner = *self.watch.owners.entry((player.clone(), *generation)).or_insert(*writer);
        if owner != *writer {
            let detail = format!("{player} under {generation}: {owner:?} and {writer:?}");
            self.broken("one owner acknowledges under a generation", detail);
        }
        let newest = self.watch.newest.entry((node, player.clone())).or_insert(*generation);
        let before = std::mem::replace(newest, (*newest).max(*generation));
        // A keeper without fences breaks this at once; what counts is what comes of it.
        if *generation < before && self.settings.bug.is_none_or(|bug| bug != Bug::NoGenerationCheck)
        {
            let detail = format!("{player} on {node}: {generation} after {before}");
            self.broken("acknowledged generations do not go back", detail);
        }
    }
}
