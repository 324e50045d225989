//! Which one of several equals begins a cluster.
//!
//! Equals are started with the same list of nodes and the same number *n*, in any order. None of them
//! is first. Each asks all on the list, itself included, until one of them is in a cluster, which it
//! then joins, or this happens:
//!
//! ```text
//!   it reaches n nodes of the list that wait, itself included, and is the smallest of them by name
//!     ──► it stands: promises itself, and asks each of the others for its promise
//!           ├─ n promises, its own included ──► it begins
//!           └─ fewer ──► it gives the attempt up: the next one has another number
//! ```
//!
//! A node promises one attempt at a time, and writes that down before it says so. It is free again
//! only when it hears, from the node that it promised, of a later attempt or a later start: then the
//! one that it promised was given up, and nobody begins on it any more.
//!
//! **Two never begin.** Say that X and Y did, each on one attempt, and each with the promises of n
//! nodes of the list. As n is more than half of the list, some node Z has promised both. Say that it
//! promised X first. To promise Y it must have heard from X of a later attempt or start. But an
//! attempt with which a node begins is its last: it goes on to write that it is in a cluster, and a
//! node that finds that in its data folder asks nobody. If it dies before it is written, it did not
//! begin. It is the same if X is Z or Y is: a node's promise to itself is one like any other.
//!
//! This does not rest on clocks, on how fast anybody is, or on who is the smallest: that only keeps
//! several from standing at the same time. It rests on three things that people see to:
//! - the list and n are the same for all: whoever has others is told so and promises nothing;
//! - an entry of the list is the same node for all of them, and one node only;
//! - a node that has promised does not lose its data folder before the cluster has begun. With n as
//!   long as the list even that does no harm: each node's own promise is needed then, and the one that
//!   stands has given it to itself.
//!
//! Only with n as long as the list are nodes that have data from before waited for, too. With a
//! smaller n those that have none may begin while the others are away.

use std::collections::BTreeSet;

use crate::protocol::{Candidacy, Muster, NodeId, NodeName, Stance, Writer, digest};

/// Returns how many of a list's nodes are needed at least: more than half of them.
pub fn fewest_that_begin(listed: usize) -> usize {
    listed / 2 + 1
}

/// What one of the equals knows, and has promised.
#[derive(Debug, Clone)]
pub struct Founding {
    me: Candidacy,
    name: NodeName,
    list: u64,
    expect: usize,
    promised: Option<Candidacy>,
}

impl Founding {
    /// Begins to wait. `promised` is what this node has promised in an earlier start.
    ///
    /// # Panics
    ///
    /// When `expect` is not more than half of the list, or more than all of it.
    pub fn new(
        me: Writer,
        name: NodeName,
        list: &[String],
        expect: usize,
        promised: Option<Candidacy>,
    ) -> Self {
        let listed: BTreeSet<&str> = list.iter().map(String::as_str).collect();
        assert!(
            (fewest_that_begin(listed.len())..=listed.len()).contains(&expect),
            "{expect} of {listed:?}"
        );
        let mut parts: Vec<&[u8]> = Vec::new();
        for entry in &listed {
            parts.extend([entry.as_bytes(), b"\n"]);
        }
        let count = expect.to_le_bytes();
        parts.push(&count);
        let me = Candidacy { node: me.node, incarnation: me.incarnation, attempt: 1 };
        // What it promised itself in an earlier start was given up with that.
        let promised = promised.filter(|promised| promised.node != me.node);
        Self { me, name, list: digest(&parts), expect, promised }
    }

    /// Returns the attempt that it has promised not to stand in the way of.
    pub fn promised(&self) -> Option<Candidacy> {
        self.promised
    }

    /// Returns what to ask the others.
    pub fn muster(&self, asks: bool) -> Muster {
        Muster { from: self.me, list: self.list, asks }
    }

    /// Whether it was started with the same list and number.
    pub fn is_equal(&self, list: u64) -> bool {
        list == self.list
    }

    /// Answers one of the others. A promise must be on disk before the answer leaves.
    pub fn handle_muster(&mut self, muster: &Muster) -> Stance {
        self.handle_heard(muster.from);
        if muster.asks && self.is_equal(muster.list) && self.promised.is_none() {
            self.promised = Some(muster.from);
        }
        Stance::Waits { at: self.me, list: self.list, promised: self.promised }
    }

    /// Takes the attempt that another node says it is at.
    pub fn handle_heard(&mut self, at: Candidacy) {
        // What is late, from an earlier attempt, frees nothing.
        let gave_up = |promised: &Candidacy| promised.node == at.node && *promised < at;
        if self.promised.as_ref().is_some_and(gave_up) {
            self.promised = None;
        }
    }

    /// Decides whether to ask for promises now. `others` are those that wait, one for each entry of
    /// the list, and this node is on the list, too.
    pub fn stand(&mut self, others: &BTreeSet<(NodeName, NodeId)>) -> bool {
        let mine = (self.name.clone(), self.me.node);
        let enough = others.len() + 1 >= self.expect;
        let smallest = others.iter().all(|other| mine < *other);
        if !enough || !smallest || self.promised.is_some_and(|promised| promised != self.me) {
            return false;
        }
        self.promised = Some(self.me);
        true
    }

    /// Whether it begins, given what these nodes have promised.
    pub fn begins(&self, promises: impl IntoIterator<Item = (NodeId, Option<Candidacy>)>) -> bool {
        let mine = |promised| promised == Some(self.me);
        let others = promises.into_iter().filter(|(_, promised)| mine(*promised));
        let mut nodes: BTreeSet<NodeId> = others.map(|(node, _)| node).collect();
        nodes.remove(&self.me.node);
        mine(self.promised) && nodes.len() + 1 >= self.expect
    }

    /// Gives up the attempt that it is at.
    pub fn give_up(&mut self) {
        let was = self.me;
        self.me.attempt += 1;
        if self.promised == Some(was) {
            self.promised = None;
        }
    }
}

#[cfg(test)]
mod tests;
