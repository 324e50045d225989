//! A whole cluster at one look, for a person who watches over it.

use serde::{Deserialize, Serialize};

use super::{NewsItem, NodeId, NodeName, NodeRecord, NodeStats, PlayerId, PlayerListing};

/// How a cluster stands, as one node has found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The node that tells.
    pub asked: NodeName,
    /// All nodes by name, also those that are down.
    pub nodes: Vec<NodeRecord>,
    /// The directory's leader, as far as the node knows.
    pub leader: Option<NodeId>,
    /// What each node has done that has said so, by their names.
    pub stats: Vec<NodeStats>,
    /// Nodes that are called alive and did not answer in time.
    pub silent: Vec<NodeName>,
    /// What has happened, the oldest first; when there is very much, the newest of it.
    pub news: Vec<NewsItem>,
    /// Where to go on in what each node tells.
    pub places: Vec<(NodeId, u64)>,
}

/// Some players of one node, in order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayersPage {
    /// The players. A page may have none although there are more.
    pub players: Vec<PlayerListing>,
    /// After which one the next page begins; `None` when there is none.
    pub next: Option<PlayerId>,
}
