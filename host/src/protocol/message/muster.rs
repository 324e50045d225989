//! Asking nodes that may begin a cluster together: see `membership` for the rule.

use serde::{Deserialize, Serialize};

use crate::protocol::{Incarnation, NodeId, NodeName};

/// One attempt of a node to begin a cluster. Of one node, a later one says that all earlier ones were
/// given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidacy {
    /// The node.
    pub node: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
    /// Which attempt of that start.
    pub attempt: u64,
}

/// "I wait for a cluster to begin. How about you?"
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muster {
    /// The sender, and the attempt that it is at.
    pub from: Candidacy,
    /// What it was started with: differs for another list, or another number of nodes to wait for.
    pub list: u64,
    /// Whether it asks for a promise that nobody else may begin.
    pub asks: bool,
}

/// Who was asked, and how it stands to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mustered {
    /// The answering node: so one that asks itself by another address finds that out.
    pub from: NodeId,
    /// Its name.
    pub name: NodeName,
    /// How it stands.
    pub stance: Stance,
}

/// How a node stands to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stance {
    /// It is in one, or was, by its data folder.
    Member,
    /// It waits to join one, and never begins one with others.
    Joins,
    /// It waits for one to begin.
    Waits {
        /// The attempt that it is at.
        at: Candidacy,
        /// What it was started with.
        list: u64,
        /// The attempt that it has promised not to stand in the way of.
        promised: Option<Candidacy>,
    },
}
