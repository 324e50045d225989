//! The same key moves a player once at most, whatever became of the reply.

use host::protocol::{CallKey, PlayerId};

use super::super::world::World;

impl World {
    /// The directory has made a move with this key.
    pub(in super::super) fn watch_move(&mut self, player: &PlayerId, key: CallKey) {
        self.coverage.moves += 1;
        let first = self.watch.moved.insert((player.clone(), key));
        // What people give up may be that the key was used.
        if !first && self.given_up(player).is_empty() {
            let detail = format!("{player} was moved again with {key}");
            self.broken("each move is made at most once", detail);
        }
    }
}
