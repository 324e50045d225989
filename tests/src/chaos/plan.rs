//! Which faults come, drawn from a seed: what is drawn depends on nothing else.
//!
//! Each kind comes before any comes again. What must stay true while they come: a majority of the
//! directory's voters can talk, and some copy of each player outlives them. So at most one node is
//! hit at a time, two of five; and a disk is lost only when everything else is well.

use std::fmt;
use std::time::Duration;

use crate::sim::rng::Rng;

/// Nodes from which on two may fail at the same time.
const NODES_FOR_TWO: usize = 5;
/// Shortest and longest time that a fault lasts, in milliseconds.
const LASTS_MS: (u64, u64) = (200, 6000);
/// Of a hundred faults of one node, those that a second one joins where two may fail.
const OVERLAPS_PERCENT: u64 = 40;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of a node.
    Kill,
    /// `kill -9` of two nodes at once, often of a player's owner and its keeper.
    KillTwo,
    /// `kill -STOP`, later `kill -CONT`.
    Stop,
    /// The interface of a node is down.
    LinkDown,
    /// A node does not hear another one.
    OneWay,
    /// A node and all others do not hear each other; callers reach all of them.
    Isolate,
    /// Two nodes do not hear each other.
    CutPair,
    /// A node's disk has no room. A node that stops for that is started again.
    DiskFull,
    /// A node is killed and loses its data folder.
    DiskLost,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Kill,
        Self::KillTwo,
        Self::Stop,
        Self::LinkDown,
        Self::OneWay,
        Self::Isolate,
        Self::CutPair,
        Self::DiskFull,
        Self::DiskLost,
    ];

    /// Returns how many kinds a cluster of so many nodes stands.
    pub fn count(nodes: usize) -> usize {
        Self::of(nodes).count()
    }

    fn of(nodes: usize) -> impl Iterator<Item = Self> {
        let two = nodes >= NODES_FOR_TWO;
        Self::ALL.into_iter().filter(move |kind| two || *kind != Self::KillTwo)
    }

    /// How many nodes it needs a name of.
    pub(super) fn nodes(self) -> usize {
        match self {
            Self::Kill
            | Self::Stop
            | Self::LinkDown
            | Self::Isolate
            | Self::DiskFull
            | Self::DiskLost => 1,
            Self::KillTwo | Self::OneWay | Self::CutPair => 2,
        }
    }

    /// Whether it takes one node away and nothing that another fault could need.
    fn may_overlap(self) -> bool {
        match self {
            Self::Kill | Self::Stop | Self::LinkDown | Self::Isolate => true,
            Self::KillTwo | Self::OneWay | Self::CutPair | Self::DiskFull | Self::DiskLost => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill -9",
            Self::KillTwo => "kill -9 of two",
            Self::Stop => "stopped process",
            Self::LinkDown => "link down",
            Self::OneWay => "one-way drop",
            Self::Isolate => "isolated node",
            Self::CutPair => "cut pair",
            Self::DiskFull => "full disk",
            Self::DiskLost => "deleted data folder",
        })
    }
}

/// Whom it hits, as far as that is known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The owner of this player, with its keeper if two are hit.
    Owner(usize),
    /// The keeper of this player, with its owner if two are hit.
    Keeper(usize),
    /// The directory's leader, with some other node if two are hit.
    Leader,
    /// Whoever it is.
    Any,
}

/// One fault to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) aim: Aim,
    /// From the beginning of the episode.
    pub(super) after: Duration,
    pub(super) lasts: Duration,
    /// Decides among the nodes that nobody aimed at.
    pub(super) dice: u64,
}

/// Draws episodes: one fault, or two that overlap.
#[derive(Debug)]
pub(super) struct Plan {
    rng: Rng,
    nodes: usize,
    players: usize,
    deck: Vec<Kind>,
}

impl Plan {
    pub(super) fn new(seed: u64, nodes: usize, players: usize) -> Self {
        Self { rng: Rng::new(seed), nodes, players, deck: Vec::new() }
    }

    /// Draws the time between two episodes.
    pub(super) fn calm(&mut self) -> Duration {
        Duration::from_millis(self.rng.between(300, 2000))
    }

    pub(super) fn episode(&mut self) -> Vec<Planned> {
        let kind = self.kind();
        let first = self.fault(kind, Duration::ZERO);
        let overlaps = self.nodes >= NODES_FOR_TWO && kind.may_overlap();
        if !overlaps || !self.rng.percent(OVERLAPS_PERCENT) {
            return vec![first];
        }
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.may_overlap()).collect();
        let kind = kinds[self.rng.index(kinds.len())];
        let lasts = u64::try_from(first.lasts.as_millis()).unwrap_or(u64::MAX);
        let after = Duration::from_millis(self.rng.between(0, lasts));
        vec![first, self.fault(kind, after)]
    }

    fn kind(&mut self) -> Kind {
        if self.deck.is_empty() {
            self.deck.extend(Kind::of(self.nodes));
        }
        self.deck.swap_remove(self.rng.index(self.deck.len()))
    }

    fn fault(&mut self, kind: Kind, after: Duration) -> Planned {
        let player = self.rng.index(self.players);
        let aim = match self.rng.index(4) {
            0 => Aim::Owner(player),
            1 => Aim::Keeper(player),
            2 => Aim::Leader,
            _ => Aim::Any,
        };
        let lasts = Duration::from_millis(self.rng.between(LASTS_MS.0, LASTS_MS.1));
        Planned { kind, aim, after, lasts, dice: self.rng.next() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn episodes(nodes: usize, count: usize) -> Vec<Vec<Planned>> {
        let mut plan = Plan::new(1, nodes, 12);
        (0..count).map(|_| plan.episode()).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_plan() {
        assert_eq!(episodes(5, 50), episodes(5, 50));
    }

    #[test]
    fn each_kind_comes_before_any_comes_again() {
        let first = |episode: Vec<Planned>| episode[0].kind;
        for nodes in [3, 5] {
            let episodes = episodes(nodes, Kind::count(nodes)).into_iter();
            let kinds: BTreeSet<Kind> = episodes.map(first).collect();
            assert_eq!(kinds, Kind::of(nodes).collect());
        }
    }

    #[test]
    fn of_less_than_five_nodes_one_fails_at_a_time() {
        for episode in episodes(3, 200) {
            assert_eq!(episode.len(), 1);
            assert_ne!(episode[0].kind, Kind::KillTwo);
        }
    }

    #[test]
    fn only_what_takes_one_node_away_overlaps() {
        let episodes = episodes(5, 500);
        assert!(episodes.iter().any(|episode| episode.len() == 2));
        for episode in episodes.into_iter().filter(|episode| episode.len() > 1) {
            assert_eq!(episode.len(), 2);
            assert!(episode.iter().all(|fault| fault.kind.may_overlap()), "{episode:?}");
            assert!(episode[1].after <= episode[0].lasts, "{episode:?}");
        }
    }
}
