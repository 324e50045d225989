//! What people who operate a cluster are told.

use serde::{Deserialize, Serialize};

use super::{Generation, NodeName, NodeRecord, NodeStatus, Seq};

/// A player that was handed over because somebody wanted it on another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The node that owned it; the same as `to` when there was nothing to do.
    pub from: NodeName,
    /// The node that owns it.
    pub to: NodeName,
    /// The player's position.
    pub seq: Seq,
    /// Its ownership number now.
    pub generation: Generation,
    /// The other nodes that keep its copies.
    pub keepers: Vec<NodeName>,
}

/// A node whose process was ended in a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCrash {
    /// The node.
    pub node: NodeName,
    /// Players that it owned.
    pub players: u64,
    /// Copies that it kept for other owners.
    pub copies: u64,
    /// Whether the directory calls it down by now.
    pub down: bool,
}

/// Returns the names of nodes for somebody who has named another one, with what keeps one from being
/// used.
pub fn names_in_words(nodes: &[NodeRecord]) -> String {
    let mut names: Vec<String> = nodes
        .iter()
        .map(|NodeRecord { name, status, .. }| match status {
            NodeStatus::Up => name.to_string(),
            NodeStatus::Draining => format!("{name} (draining)"),
            NodeStatus::Down => format!("{name} (down)"),
        })
        .collect();
    names.sort();
    names.join(", ")
}
