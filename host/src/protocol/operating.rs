//! What people who operate a cluster are told.

use serde::{Deserialize, Serialize};

use super::{Generation, NodeName, Seq};

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
