//! Nothing is sent to a keeper that could overtake what was sent before, or be overtaken by it.
//!
//! Messages of one stream keep their order; a change too large for a frame has a stream of its own.
//! What overtakes it leaves a gap, for which the keeper is given a full copy: safe, but slow.

use std::collections::{BTreeMap, BTreeSet};

use host::protocol::{KeeperCopy, KeeperRequest, PlayerId};

use super::super::happening::Slot;
use super::super::net::has_own_stream;
use super::super::world::World;

/// What one server has sent to copies and has no reply to.
#[derive(Debug, Default)]
pub(in super::super) struct Flight(BTreeMap<KeeperCopy, BTreeSet<(u64, bool)>>);

impl Flight {
    /// A message was answered, or will not be. What was sent before has arrived by then: replies may
    /// overtake each other.
    pub(in super::super) fn ended(&mut self, copy: KeeperCopy, number: u64) {
        if let Some(messages) = self.0.get_mut(&copy) {
            messages.retain(|(sent, _)| *sent > number);
        }
    }

    /// Returns whether a message keeps its place among those before.
    fn takes(&mut self, copy: KeeperCopy, number: u64, alone: bool) -> bool {
        let messages = self.0.entry(copy).or_default();
        let keeps = !messages.iter().any(|(_, other)| alone || *other);
        messages.insert((number, alone));
        keeps
    }
}

impl World {
    /// A server sends to a copy.
    pub(in super::super) fn watch_order(
        &mut self,
        slot: Slot,
        player: &PlayerId,
        id: u64,
        (copy, number): (KeeperCopy, u64),
        request: &KeeperRequest,
    ) {
        if !matches!(request, KeeperRequest::Append(_) | KeeperRequest::Confirm(_)) {
            return;
        }
        let alone = has_own_stream(request);
        self.coverage.changes_alone += u64::from(alone);
        let Some(server) = self.server(slot, player, id) else { return };
        if !server.flight.takes(copy, number, alone) {
            let detail = format!("{player} on {slot}: message {number} to {}", copy.copy);
            self.broken("nothing overtakes a large change", detail);
        }
    }
}
