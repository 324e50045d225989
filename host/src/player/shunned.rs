//! What a node remembers of nodes that took no copy: each is tried ever more rarely.
//!
//! A node that refuses copies, or never answers, costs whoever tries it a full copy and a deadline.
//! All players of a node share what one of them has found out, and the pause until the next try is
//! doubled with each that fails. A new start of the node is another node, and one copy that it takes
//! makes it like any other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::protocol::Writer;

/// Pause after the first failure: a link that broke, or a disk that was slow once, is well again.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(5);

/// Longest pause. A try is a full copy in vain, and this few of them can be had; a node that is well
/// again without a restart is noticed within this time.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Nodes that took no copy, and when each may be tried again.
#[derive(Debug, Default)]
pub struct Shunned {
    nodes: BTreeMap<Writer, Shun>,
}

#[derive(Debug, Clone, Copy)]
struct Shun {
    pause: Duration,
    until: Instant,
}

impl Shunned {
    /// A try of this node has failed, or begins after one that has: nobody else should try
    /// meanwhile. What is said during its pause changes nothing: many players notice one failure.
    pub fn shun(&mut self, node: Writer, now: Instant) {
        self.nodes.retain(|_, shun| !shun.is_forgotten(now));
        let next = match self.nodes.get(&node) {
            Some(shun) if now < shun.until => return,
            Some(shun) => (shun.pause * 2).min(PAUSE_MAX),
            None => PAUSE_MIN,
        };
        self.nodes.insert(node, Shun { pause: next, until: now + next });
    }

    /// This node has taken a copy. Returns whether that was not expected of it.
    pub fn trust(&mut self, node: Writer) -> bool {
        self.nodes.remove(&node).is_some()
    }

    /// Returns when this node may be tried again. `None` when nothing is known against it.
    pub fn retry_at(&self, node: Writer, now: Instant) -> Option<Instant> {
        let shun = self.nodes.get(&node).filter(|shun| !shun.is_forgotten(now));
        shun.map(|shun| shun.until)
    }
}

impl Shun {
    /// Whether nobody has needed to try the node for so long that it is like any other again.
    fn is_forgotten(&self, now: Instant) -> bool {
        now >= self.until + PAUSE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Incarnation, NodeId};

    const NODE: Writer = Writer { node: NodeId(2), incarnation: Incarnation(1) };

    /// Fails each time it may be tried; returns the pauses.
    fn pauses(shunned: &mut Shunned, mut now: Instant, tries: usize) -> Vec<u64> {
        let fail = |_| {
            shunned.shun(NODE, now);
            let until = shunned.retry_at(NODE, now).unwrap();
            let pause = until - now;
            now = until;
            pause.as_secs()
        };
        (0..tries).map(fail).collect()
    }

    #[test]
    fn a_node_that_takes_no_copies_is_tried_ever_more_rarely() {
        let (mut shunned, now) = (Shunned::default(), crate::clock::now());
        let all = [5, 10, 20, 40, 80, 160, 300, 300, 300];
        assert_eq!(pauses(&mut shunned, now, all.len()), all);
        assert!(shunned.trust(NODE));
        assert!(!shunned.trust(NODE));
        assert_eq!(shunned.retry_at(NODE, now), None);
        assert_eq!(pauses(&mut shunned, now, 2), [5, 10], "one copy that it takes is enough");
    }

    #[test]
    fn one_failure_that_many_players_notice_is_one() {
        let (mut shunned, now) = (Shunned::default(), crate::clock::now());
        for player in 0..1000 {
            shunned.shun(NODE, now + Duration::from_millis(player));
        }
        assert_eq!(shunned.retry_at(NODE, now), Some(now + PAUSE_MIN));
        let again = Writer { incarnation: Incarnation(2), ..NODE };
        assert_eq!(shunned.retry_at(again, now), None, "a new start may be well");
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let (mut shunned, now) = (Shunned::default(), crate::clock::now());
        shunned.shun(NODE, now);
        let late = now + PAUSE_MIN + PAUSE_MAX;
        let before = late - Duration::from_millis(1);
        assert_eq!(shunned.retry_at(NODE, before), Some(now + PAUSE_MIN));
        assert_eq!(
            shunned.retry_at(NODE, late),
            None,
            "it is like any other, though nobody tried it"
        );
        let other = Writer { node: NodeId(3), ..NODE };
        shunned.shun(other, late);
        assert_eq!(shunned.retry_at(NODE, now), None, "and takes no room");
    }
}
