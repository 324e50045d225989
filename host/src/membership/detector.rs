//! Failure detector: heartbeats for nodes that fall silent, the pulse for processes that end.
//!
//! ```text
//!            heard                     heard
//!          +-------+             +----------------+
//!          v       |             v                |
//!        Alive ----+--silent--> Suspect --silent--> Silent
//!          |                                        ^
//!          +------------- process gone -------------+
//! ```
//!
//! Each node runs one and watches all others. Only the directory's leader acts on `Silent`.
//!
//! A node may live and its link be broken. So a sign of life counts wherever it comes from, also
//! through another node, while answers over the link itself are counted apart: when those stop and
//! the node goes on to show signs of life, it is *cut off*, and each node acts on that for itself.
//! Both take their time, for a machine that stood still shows a sign first and answers right after.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::{DOWN_AFTER, HEARTBEAT_INTERVAL, SUSPECT_AFTER};
use crate::protocol::{NodeId, NodeRecord, Writer};

/// A change of belief, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The node answers again.
    Alive(Writer),
    /// The node has been silent for a while.
    Suspect(Writer),
    /// The node is taken for dead: silent for too long, or its process ended.
    Silent(Writer),
    /// The node lives and does not answer over its link. Said again and again while that is so.
    CutOff(Writer),
}

/// Silence of a link after which the node behind it is looked for in other ways, and time for
/// which it must be heard from in other ways until its link is given up.
const QUIET_AFTER: Duration = SUSPECT_AFTER.checked_div(2).expect("two is not zero");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    Alive,
    Suspect,
    Silent,
}

#[derive(Debug)]
struct Peer {
    writer: Writer,
    up: bool,
    /// The last sign of life, wherever it came from.
    heard: Option<Instant>,
    /// The last answer over the link itself.
    answered: Option<Instant>,
    /// The first sign of life after the link had fallen quiet.
    beside: Option<Instant>,
    cut_off: bool,
    since: Instant,
    gone: bool,
    belief: Belief,
}

impl Peer {
    fn new(writer: Writer, up: bool, now: Instant) -> Self {
        Self {
            writer,
            up,
            heard: None,
            answered: None,
            beside: None,
            cut_off: false,
            since: now,
            gone: false,
            belief: Belief::Alive,
        }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.answered.unwrap_or(self.since)) >= QUIET_AFTER
    }

    /// Whether signs of life have gone on for a while since the link fell quiet.
    fn was_heard_beside(&self, now: Instant) -> bool {
        let (Some(first), Some(last)) = (self.beside, self.heard) else { return false };
        now.saturating_duration_since(first) >= QUIET_AFTER
            && last.saturating_duration_since(first) >= HEARTBEAT_INTERVAL / 2
    }
}

/// What one node believes of the others.
#[derive(Debug)]
pub struct Detector {
    me: NodeId,
    peers: BTreeMap<NodeId, Peer>,
}

impl Detector {
    /// Returns a detector that knows no other node yet.
    pub fn new(me: NodeId) -> Self {
        Self { me, peers: BTreeMap::new() }
    }

    /// Takes over what the directory says. A node gets its full time to be heard from when it is
    /// new, when it started anew, and when the directory has just said that it is up or down.
    pub fn handle_nodes(&mut self, nodes: &[NodeRecord], now: Instant) {
        self.peers.retain(|id, _| nodes.iter().any(|node| node.id == *id));
        for node in nodes.iter().filter(|node| node.id != self.me) {
            let writer = Writer { node: node.id, incarnation: node.incarnation };
            let up = node.status.is_alive();
            let known = self.peers.get(&node.id);
            if known.is_none_or(|peer| peer.writer != writer || peer.up != up) {
                self.peers.insert(node.id, Peer::new(writer, up, now));
            }
        }
    }

    /// Notes a sign of life that came by itself or through another node.
    pub fn handle_heard(&mut self, from: Writer, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&from.node)
            && peer.writer == from
        {
            peer.heard = Some(now);
            peer.gone = false;
            if peer.is_quiet(now) {
                peer.beside.get_or_insert(now);
            }
        }
    }

    /// Notes an answer over the link itself.
    pub fn handle_answered(&mut self, from: Writer, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&from.node)
            && peer.writer == from
        {
            peer.heard = Some(now);
            peer.gone = false;
            peer.answered = Some(now);
            peer.beside = None;
            peer.cut_off = false;
        }
    }

    /// Notes that the process of a node ended.
    pub fn handle_gone(&mut self, who: Writer) {
        if let Some(peer) = self.peers.get_mut(&who.node)
            && peer.writer == who
        {
            peer.gone = true;
        }
    }

    /// Gives every node its full time anew: this node stood still and could not hear them.
    pub fn handle_own_pause(&mut self, now: Instant) {
        for peer in self.peers.values_mut().filter(|peer| peer.up) {
            peer.since = now;
            peer.heard = peer.heard.map(|_| now);
            peer.answered = peer.answered.map(|_| now);
            peer.beside = None;
        }
    }

    /// Returns what changed by now.
    pub fn poll(&mut self, now: Instant) -> Vec<Turn> {
        let mut turns = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| peer.up) {
            let silence = now.saturating_duration_since(peer.heard.unwrap_or(peer.since));
            let belief = if peer.gone || silence >= DOWN_AFTER {
                Belief::Silent
            } else if silence >= SUSPECT_AFTER {
                Belief::Suspect
            } else {
                Belief::Alive
            };
            if belief != peer.belief {
                peer.belief = belief;
                turns.push(match belief {
                    Belief::Alive => Turn::Alive(peer.writer),
                    Belief::Suspect => Turn::Suspect(peer.writer),
                    Belief::Silent => Turn::Silent(peer.writer),
                });
            }
            if belief == Belief::Alive && peer.was_heard_beside(now) {
                peer.cut_off = true;
                // The next sign of life begins the time anew.
                peer.beside = None;
                turns.push(Turn::CutOff(peer.writer));
            }
        }
        turns
    }

    /// Whether this node, which the directory calls up, has not answered over its link for a while:
    /// it is to be looked for in other ways.
    pub fn is_quiet(&self, node: NodeId, now: Instant) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.up && peer.is_quiet(now))
    }

    /// Whether this node lives behind a broken link: what is seen of it directly says nothing.
    pub fn is_cut_off(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.cut_off)
    }

    /// Returns the nodes that the directory calls up and this node takes for dead.
    pub fn silent(&self) -> Vec<Writer> {
        let silent = |peer: &&Peer| peer.up && peer.belief == Belief::Silent;
        self.peers.values().filter(silent).map(|peer| peer.writer).collect()
    }

    /// Returns the nodes that the directory calls down and that speak nevertheless.
    pub fn returned(&self) -> Vec<Writer> {
        let returned = |peer: &&Peer| !peer.up && peer.heard.is_some() && !peer.gone;
        self.peers.values().filter(returned).map(|peer| peer.writer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::{Incarnation, NodeStatus};

    const OTHER: Writer = Writer { node: NodeId(2), incarnation: Incarnation(1) };

    fn nodes(status: NodeStatus, incarnation: u64) -> Vec<NodeRecord> {
        let node = |id: u64, name: &str, status| NodeRecord {
            id: NodeId(id),
            name: name.parse().unwrap(),
            addr: ([127, 0, 0, 1], 4433).into(),
            incarnation: Incarnation(incarnation),
            status,
        };
        vec![node(1, "me", NodeStatus::Up), node(2, "other", status)]
    }

    fn detector(start: Instant) -> Detector {
        let mut detector = Detector::new(NodeId(1));
        detector.handle_nodes(&nodes(NodeStatus::Up, 1), start);
        detector
    }

    #[test]
    fn silence_makes_suspect_then_silent_and_a_word_makes_alive() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        assert_eq!(detector.poll(start), []);
        assert_eq!(detector.poll(start + SUSPECT_AFTER), [Turn::Suspect(OTHER)]);
        assert_eq!(detector.silent(), []);
        assert_eq!(detector.poll(start + DOWN_AFTER), [Turn::Silent(OTHER)]);
        assert_eq!(detector.silent(), [OTHER]);
        detector.handle_heard(OTHER, start + DOWN_AFTER);
        assert_eq!(detector.poll(start + DOWN_AFTER), [Turn::Alive(OTHER)]);
        assert_eq!(detector.silent(), []);
    }

    #[test]
    fn a_node_that_is_heard_and_does_not_answer_is_cut_off_until_it_answers() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_answered(OTHER, start);
        let mut turns = Vec::new();
        let mut now = start;
        while now < start + 3 * SUSPECT_AFTER {
            now += QUIET_AFTER / 4;
            detector.handle_heard(OTHER, now);
            turns.extend(detector.poll(now).into_iter().map(|turn| (now - start, turn)));
        }
        assert_eq!(turns.first(), Some(&(SUSPECT_AFTER, Turn::CutOff(OTHER))));
        assert!(turns.len() > 1 && turns.iter().all(|(_, turn)| *turn == Turn::CutOff(OTHER)));
        assert_eq!(detector.silent(), []);
        assert!(detector.is_cut_off(OTHER.node) && detector.is_quiet(OTHER.node, now));

        detector.handle_answered(OTHER, now);
        assert!(!detector.is_cut_off(OTHER.node) && !detector.is_quiet(OTHER.node, now));
        detector.handle_heard(OTHER, now + QUIET_AFTER / 2);
        assert_eq!(detector.poll(now + QUIET_AFTER / 2), []);
    }

    #[test]
    fn a_node_that_stood_still_is_not_cut_off() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_answered(OTHER, start);
        // Back again, it asks before it gets to answering.
        let back = start + SUSPECT_AFTER + QUIET_AFTER;
        assert_eq!(detector.poll(back), [Turn::Suspect(OTHER)]);
        detector.handle_heard(OTHER, back);
        assert_eq!(detector.poll(back), [Turn::Alive(OTHER)]);
        detector.handle_answered(OTHER, back + QUIET_AFTER / 4);
        assert_eq!(detector.poll(back + QUIET_AFTER), []);
    }

    #[test]
    fn a_node_that_is_heard_of_no_more_is_silent_and_not_cut_off() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_answered(OTHER, start);
        let last = start + QUIET_AFTER;
        detector.handle_heard(OTHER, last);
        assert_eq!(detector.poll(last + SUSPECT_AFTER), [Turn::Suspect(OTHER)]);
        assert_eq!(detector.poll(last + DOWN_AFTER), [Turn::Silent(OTHER)]);
    }

    #[test]
    fn an_ended_process_is_silent_at_once() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_heard(OTHER, start);
        detector.handle_gone(OTHER);
        assert_eq!(detector.poll(start), [Turn::Silent(OTHER)]);
    }

    #[test]
    fn a_pause_of_its_own_is_not_the_silence_of_others() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_heard(OTHER, start);
        let resumed = start + 10 * DOWN_AFTER;
        detector.handle_own_pause(resumed);
        assert_eq!(detector.poll(resumed), []);
        assert_eq!(detector.poll(resumed + DOWN_AFTER), [Turn::Silent(OTHER)]);
    }

    #[test]
    fn news_of_an_older_start_is_ignored() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_nodes(&nodes(NodeStatus::Up, 2), start);
        detector.handle_gone(OTHER);
        detector.handle_heard(OTHER, start + DOWN_AFTER);
        assert_eq!(detector.poll(start + Duration::from_millis(1)), []);
        assert_eq!(detector.poll(start + DOWN_AFTER).len(), 1);
    }

    #[test]
    fn a_node_called_down_returns_only_by_speaking_after_that() {
        let start = crate::clock::now();
        let mut detector = detector(start);
        detector.handle_heard(OTHER, start);
        detector.handle_nodes(&nodes(NodeStatus::Down, 1), start);
        assert_eq!(detector.returned(), []);
        detector.handle_heard(OTHER, start);
        assert_eq!(detector.returned(), [OTHER]);
    }
}
