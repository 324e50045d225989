//! Where a player's copies belong: rendezvous hashing over the nodes that are up.
//!
//! One pure function of the directory, so that every node would choose alike, and a node that joins
//! or leaves moves only the copies that it gains or loses. (Thaler and Ravishankar, "A name-based
//! mapping scheme for rendezvous", 1996.)

use std::net::IpAddr;

use crate::protocol::{NodeId, NodeRecord, NodeStatus, PlayerId, Writer, digest};

/// Returns the nodes on which `count` new copies of `player` belong, best first.
///
/// Never the owner, never a node in `taken`, only nodes that are up. Nodes in `avoid` come last,
/// and so do machines (addresses) that hold the owner or another copy, while others are free.
/// Shorter than `count` when there are not enough nodes.
pub fn keepers_for(
    player: &PlayerId,
    owner: NodeId,
    taken: &[NodeId],
    avoid: &[NodeId],
    nodes: &[NodeRecord],
    count: usize,
) -> Vec<NodeId> {
    let machine_of = |id: NodeId| nodes.iter().find(|node| node.id == id).map(|n| n.addr.ip());
    let mut used: Vec<IpAddr> =
        taken.iter().chain([&owner]).filter_map(|id| machine_of(*id)).collect();
    let mut free: Vec<&NodeRecord> = nodes
        .iter()
        .filter(|node| node.status == NodeStatus::Up)
        .filter(|node| node.id != owner && !taken.contains(&node.id))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let best = free.iter().enumerate().min_by_key(|(_, node)| {
            let machine_used = used.contains(&node.addr.ip());
            let weight = weight(player, node.id);
            (avoid.contains(&node.id), machine_used, std::cmp::Reverse(weight))
        });
        let Some((at, node)) = best else { break };
        used.push(node.addr.ip());
        chosen.push(node.id);
        free.swap_remove(at);
    }
    chosen
}

/// Returns the node that should own `player`, not `leaving`: one that is up, rather not one that
/// keeps a copy. `None` when no other node could keep a copy then.
pub fn successor_for(
    player: &PlayerId,
    leaving: Option<NodeId>,
    keepers: &[NodeId],
    nodes: &[NodeRecord],
) -> Option<Writer> {
    let up =
        || nodes.iter().filter(|node| node.status == NodeStatus::Up && Some(node.id) != leaving);
    let best = up().max_by_key(|node| (!keepers.contains(&node.id), weight(player, node.id)))?;
    let has_place = up().count() > 1;
    has_place.then_some(Writer { node: best.id, incarnation: best.incarnation })
}

fn weight(player: &PlayerId, node: NodeId) -> u64 {
    digest(&[&node.0.to_le_bytes(), player.as_str().as_bytes()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Incarnation;

    fn node(id: u64, machine: u8, status: NodeStatus) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("node{id}").parse().unwrap(),
            addr: ([10, 0, 0, machine], 4433).into(),
            incarnation: Incarnation(1),
            status,
        }
    }

    fn player(n: u32) -> PlayerId {
        format!("player{n}").parse().unwrap()
    }

    #[test]
    fn another_machine_is_preferred() {
        let up = NodeStatus::Up;
        let nodes = [node(1, 1, up), node(2, 1, up), node(3, 2, up)];
        for n in 0..50 {
            let chosen = keepers_for(&player(n), NodeId(1), &[], &[], &nodes, 1);
            assert_eq!(chosen, [NodeId(3)]);
        }
        let all = keepers_for(&player(0), NodeId(1), &[], &[], &nodes, 9);
        assert_eq!(all, [NodeId(3), NodeId(2)]);
    }

    #[test]
    fn a_node_to_avoid_is_better_than_none() {
        let nodes = [node(1, 1, NodeStatus::Up), node(2, 2, NodeStatus::Up)];
        let chosen = keepers_for(&player(0), NodeId(1), &[], &[NodeId(2)], &nodes, 1);
        assert_eq!(chosen, [NodeId(2)]);
    }

    #[test]
    fn copies_spread_evenly() {
        let nodes: Vec<_> =
            (1..=5).map(|n| node(n, u8::try_from(n).unwrap(), NodeStatus::Up)).collect();
        let mut held = std::collections::BTreeMap::new();
        for n in 0..4000 {
            for keeper in keepers_for(&player(n), NodeId(1), &[], &[], &nodes, 1) {
                *held.entry(keeper).or_insert(0) += 1;
            }
        }
        assert_eq!(held.len(), 4);
        assert!(held.values().all(|copies| (800..1200).contains(copies)), "{held:?}");
    }

    proptest! {
        #[test]
        fn never_the_owner_never_twice_never_down(
            up in proptest::collection::vec(any::<bool>(), 1..9),
            owner in 0u64..9,
            taken in 0u64..9,
            count in 0usize..5,
        ) {
            let status = |up: &bool| if *up { NodeStatus::Up } else { NodeStatus::Down };
            let nodes: Vec<_> =
                up.iter().zip(0..).map(|(up, id)| node(id, 1, status(up))).collect();
            let taken = [NodeId(taken)];
            let chosen = keepers_for(&player(1), NodeId(owner), &taken, &[], &nodes, count);
            let mut distinct = chosen.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert!(!chosen.contains(&NodeId(owner)) && !chosen.contains(&taken[0]));
            let free = nodes.iter().filter(|n| {
                n.status == NodeStatus::Up && n.id != NodeId(owner) && n.id != taken[0]
            });
            prop_assert_eq!(chosen.len(), count.min(free.count()));
        }
    }
}
