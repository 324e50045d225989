//! Which players without a server should have one here: a pure function of the directory.

use std::collections::{BTreeMap, BTreeSet};

use crate::membership::{keepers_for, successor_for};
use crate::player::rollout::Rollout;
use crate::protocol::{
    Incarnation, NodeId, NodeRecord, NodeStatus, PlayerId, PlayerRecord, Writer,
};

/// The starts of nodes whose copies were seen to.
#[derive(Debug, Clone, Default)]
pub struct Attendance(BTreeMap<NodeId, Incarnation>);

impl Attendance {
    /// Returns the nodes that are alive and were not when [`Self::note`] was told, or not as this start.
    pub fn returned(&self, nodes: &[NodeRecord]) -> BTreeSet<NodeId> {
        let alive = nodes.iter().filter(|node| node.status.is_alive());
        let returned = alive.filter(|node| self.0.get(&node.id) != Some(&node.incarnation));
        returned.map(|node| node.id).collect()
    }

    /// Notes which nodes are alive.
    pub fn note(&mut self, nodes: &[NodeRecord]) {
        let alive = nodes.iter().filter(|node| node.status.is_alive());
        self.0 = alive.map(|node| (node.id, node.incarnation)).collect();
    }
}

/// What decides whether a player without a server should have one.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// This start of this node.
    pub me: Writer,
    /// The directory's nodes.
    pub nodes: &'a [NodeRecord],
    /// How many keepers the cluster wants for a player.
    pub keepers: usize,
    /// Nodes whose copies were not seen to since they came.
    pub returned: &'a BTreeSet<NodeId>,
    /// Which code players should run.
    pub rollout: &'a Rollout,
}

impl Around<'_> {
    /// Whether a player that does not run should be opened on this node.
    pub fn falls_to_me(&self, player: &PlayerId, record: &PlayerRecord) -> bool {
        if record.is_forgotten() {
            return false;
        }
        let owner = self
            .node(record.owner.node)
            .filter(|node| node.incarnation == record.owner.incarnation && node.status.is_alive());
        if owner.is_none() {
            let keepers: Vec<NodeId> = record.keepers.iter().map(|keeper| keeper.node).collect();
            return successor_for(player, None, &keepers, self.nodes) == Some(self.me);
        }
        record.owner == self.me && self.can_be_helped(player, record)
    }

    /// Whether a player of this node has to go over to other code and can.
    pub fn goes_over(&self, player: &PlayerId, record: &PlayerRecord) -> bool {
        record.owner == self.me
            && !record.is_forgotten()
            && record.quarantine().is_none()
            && self.rollout.step_for(player, record.code).is_some()
    }

    /// Whether a player of this node that rests lacks something that it could have, or may do so, or
    /// keeps what it should not.
    fn can_be_helped(&self, player: &PlayerId, record: &PlayerRecord) -> bool {
        let me = self.me.node;
        let is = |node: NodeId, status| self.node(node).is_some_and(|node| node.status == status);
        let alive = |node: &NodeId| self.node(*node).is_some_and(|node| node.status.is_alive());
        let remote = record.remote_keepers().map(|keeper| keeper.node);
        let holders: Vec<NodeId> = remote.filter(alive).collect();
        if is(me, NodeStatus::Draining) {
            return successor_for(player, Some(me), &holders, self.nodes).is_some();
        }
        let staying = holders.iter().filter(|node| is(**node, NodeStatus::Up)).count();
        let missing = self.keepers.saturating_sub(staying);
        let lacks = !keepers_for(player, me, &holders, &[], self.nodes, missing).is_empty();
        // After a handover its owner holds none before it has opened it.
        let has_own = record.keepers.iter().any(|keeper| keeper.node == me);
        let lacks_own = !has_own && (lacks || !holders.is_empty());
        let in_doubt = holders.iter().any(|node| self.returned.contains(node));
        lacks || lacks_own || in_doubt || staying > self.keepers.max(1)
    }

    fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CodeHash, CopyId, Generation, KeeperCopy};

    fn node(id: u64, incarnation: u64, status: NodeStatus) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("node{id}").parse().unwrap(),
            addr: ([10, 0, 0, 1], 4433).into(),
            incarnation: Incarnation(incarnation),
            status,
        }
    }

    fn writer(id: u64) -> Writer {
        Writer { node: NodeId(id), incarnation: Incarnation(1) }
    }

    fn around(me: Writer, nodes: &[NodeRecord]) -> Around<'_> {
        const NONE: &BTreeSet<NodeId> = &BTreeSet::new();
        let rollout = Box::leak(Box::default());
        Around { me, nodes, keepers: 1, returned: NONE, rollout }
    }

    /// A player of node 1, which has no copy of its own.
    fn record() -> PlayerRecord {
        let keepers = vec![KeeperCopy { node: NodeId(2), copy: CopyId(7) }];
        let (generation, code) = (Generation(3), CodeHash([0; 32]));
        PlayerRecord { generation, owner: writer(1), keepers, code, failed: None }
    }

    /// Returns the nodes that a player of node 1 falls to, whose keeper is node 2.
    fn falls_to_one(nodes: &[NodeRecord]) -> Vec<u64> {
        let record = record();
        let player = "player1".parse().unwrap();
        let start = |node: &NodeRecord| Writer { node: node.id, incarnation: node.incarnation };
        let falls =
            nodes.iter().filter(|node| around(start(node), nodes).falls_to_me(&player, &record));
        falls.map(|node| node.id.0).collect()
    }

    #[test]
    fn a_player_falls_to_its_owner_or_to_one_other_node_when_that_is_gone() {
        let [up, down] = [NodeStatus::Up, NodeStatus::Down];
        let nodes = |first| vec![first, node(2, 1, up), node(3, 1, up), node(4, 1, up)];
        assert_eq!(falls_to_one(&nodes(node(1, 1, up))), [1]);
        let heir = falls_to_one(&nodes(node(1, 1, down)));
        assert!(heir == [3] || heir == [4], "not its keeper: {heir:?}");
        // A new start of the owner's node is another owner, and as good as any.
        assert_eq!(falls_to_one(&[node(1, 2, up), node(2, 1, up)]), [1]);
        // With one other node there would be no place for a copy.
        assert!(falls_to_one(&[node(1, 1, down), node(2, 1, up)]).is_empty());
        let forgotten = PlayerRecord { keepers: Vec::new(), ..record() };
        let player = "player1".parse().unwrap();
        assert!(!around(writer(1), &nodes(node(1, 1, up))).falls_to_me(&player, &forgotten));
    }

    /// Returns whether a player of node 1 that rests is opened, which these other nodes keep.
    fn is_woken(keepers: usize, own: bool, holders: &[u64], nodes: &[NodeRecord]) -> bool {
        let copies = holders.iter().chain(own.then_some(&1));
        let copies = copies.map(|id| KeeperCopy { node: NodeId(*id), copy: CopyId(*id) });
        let record = PlayerRecord { keepers: copies.collect(), ..record() };
        let around = Around { keepers, ..around(writer(1), nodes) };
        around.falls_to_me(&"player1".parse().unwrap(), &record)
    }

    #[test]
    fn a_player_that_rests_is_woken_only_when_that_helps_it() {
        let [up, down, draining] = [NodeStatus::Up, NodeStatus::Down, NodeStatus::Draining];
        let nodes = |second, third| [node(1, 1, up), node(2, 1, second), node(3, 1, third)];
        assert!(!is_woken(1, true, &[2], &nodes(up, up)), "it has what it should have");
        assert!(is_woken(1, true, &[2], &nodes(down, up)), "its keeper is down");
        assert!(!is_woken(1, true, &[2], &nodes(down, down)), "no other node could keep it");
        assert!(is_woken(1, true, &[2], &nodes(draining, up)), "its keeper leaves");
        assert!(!is_woken(1, true, &[2], &nodes(draining, down)), "and nobody takes its place");
        assert!(is_woken(1, false, &[2], &nodes(up, up)), "it was given to this node");
        assert!(is_woken(2, true, &[2], &nodes(up, up)), "more keepers are wanted");
        assert!(is_woken(1, true, &[2, 3], &nodes(up, up)), "fewer keepers are wanted");
        assert!(!is_woken(2, true, &[2], &nodes(up, down)), "there are no more");
        let leaving = [node(1, 1, draining), node(2, 1, up), node(3, 1, up)];
        assert!(is_woken(1, true, &[2], &leaving), "this node leaves");
        assert!(!is_woken(1, true, &[2], &leaving[..2]), "and nobody could take it");
    }

    #[test]
    fn a_player_that_rests_is_woken_when_its_keeper_has_come_back() {
        let [up, down] = [NodeStatus::Up, NodeStatus::Down];
        let before = [node(1, 1, up), node(2, 1, up), node(3, 1, down)];
        let after = [node(1, 1, up), node(2, 2, up), node(3, 1, up)];
        let mut attended = Attendance::default();
        attended.note(&before);
        assert!(attended.returned(&before).is_empty());
        let returned = attended.returned(&after);
        assert_eq!(returned, BTreeSet::from([NodeId(2), NodeId(3)]));
        let copies = [1, 2].map(|id| KeeperCopy { node: NodeId(id), copy: CopyId(id) });
        let record = PlayerRecord { keepers: copies.to_vec(), ..record() };
        let player = "player1".parse().unwrap();
        let around = around(writer(1), &after);
        assert!(Around { returned: &returned, ..around }.falls_to_me(&player, &record));
        assert!(!around.falls_to_me(&player, &record), "once it was seen to");
        attended.note(&after);
        assert!(attended.returned(&after).is_empty());
    }
}
