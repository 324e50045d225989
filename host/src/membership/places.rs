//! How long nodes have been away, as one node sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::limits::PLACE_KEPT;
use crate::protocol::{NodeId, NodeRecord, NodeStatus};

/// Since when each node is down.
#[derive(Debug, Default)]
pub struct Places {
    down: BTreeMap<NodeId, Instant>,
}

impl Places {
    /// Takes the directory's nodes. Returns those that are down and were not so before.
    pub fn handle_nodes(&mut self, nodes: &[NodeRecord], now: Instant) -> BTreeSet<NodeId> {
        let is_down = |node: &&NodeRecord| node.status == NodeStatus::Down;
        let since = |id| self.down.get(&id).copied().unwrap_or(now);
        let down = nodes.iter().filter(is_down).map(|node| (node.id, since(node.id))).collect();
        let before = std::mem::replace(&mut self.down, down);
        self.down.keys().filter(|id| !before.contains_key(id)).copied().collect()
    }

    /// Returns the nodes that have been down for so long that they need no place any more.
    pub fn given_up(&self, now: Instant) -> impl Iterator<Item = NodeId> {
        let gone = move |since: Instant| now.saturating_duration_since(since) >= PLACE_KEPT;
        self.down.iter().filter(move |(_, since)| gone(**since)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::protocol::Incarnation;

    fn node(id: u64, status: NodeStatus) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("n{id}").parse().unwrap(),
            addr: ([127, 0, 0, 1], 4433).into(),
            incarnation: Incarnation(1),
            status,
        }
    }

    #[test]
    fn only_a_node_that_stays_away_is_given_up() {
        let (mut places, began) = (Places::default(), clock::now());
        let given_up =
            |places: &Places, now| places.given_up(now).map(|id| id.0).collect::<Vec<_>>();
        let half = began + PLACE_KEPT / 2;
        places.handle_nodes(&[node(1, NodeStatus::Down), node(2, NodeStatus::Down)], began);
        places.handle_nodes(&[node(1, NodeStatus::Down), node(2, NodeStatus::Up)], half);
        assert_eq!(given_up(&places, half), [0; 0]);
        places.handle_nodes(&[node(1, NodeStatus::Down), node(2, NodeStatus::Down)], half);
        assert_eq!(given_up(&places, began + PLACE_KEPT), [1]);
        assert_eq!(given_up(&places, half + PLACE_KEPT), [1, 2]);
        places.handle_nodes(&[node(2, NodeStatus::Draining)], half);
        assert_eq!(given_up(&places, half + PLACE_KEPT), [0; 0]);
    }

    #[test]
    fn a_node_goes_down_once() {
        let (mut places, now) = (Places::default(), clock::now());
        let mut gone = |first, second| {
            let gone = places.handle_nodes(&[node(1, first), node(2, second)], now);
            gone.into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(gone(NodeStatus::Draining, NodeStatus::Up), [0; 0]);
        assert_eq!(gone(NodeStatus::Down, NodeStatus::Up), [1]);
        assert_eq!(gone(NodeStatus::Down, NodeStatus::Down), [2]);
        assert_eq!(gone(NodeStatus::Down, NodeStatus::Up), [0; 0]);
        assert_eq!(gone(NodeStatus::Up, NodeStatus::Down), [2]);
    }
}
