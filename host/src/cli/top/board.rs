//! What is known of the cluster, and what the person looks at. Pure: what was heard and the time go in.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::history::History;
use super::rates::Rates;
use crate::protocol::{
    NewsItem, NodeName, NodeRecord, NodeStats, Overview, PlayerId, PlayerListing, PlayersPage,
};

/// Events that are kept: more than a terminal has lines.
const EVENTS_MAX: usize = 200;

/// Players of a page.
pub(super) const PAGE_PLAYERS: u16 = 32;

/// What a node has said, or why none has.
#[derive(Debug)]
pub(super) enum Heard {
    /// How the cluster stands.
    Overview(Overview),
    /// A page of players; `None` when there is no such node any more.
    Players(PageWanted, Option<PlayersPage>),
    /// A player; `None` when there is none of that name.
    Player(PlayerId, Option<Box<PlayerListing>>),
    /// No node has answered, in words.
    Silence(String),
}

/// A page of players that somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageWanted {
    /// The node that owns them.
    pub(super) node: NodeName,
    /// After this one in order.
    pub(super) after: Option<PlayerId>,
}

/// What is to be asked besides how the cluster stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Some players.
    pub(super) page: Option<PageWanted>,
    /// One player.
    pub(super) player: Option<PlayerId>,
}

/// A part of the screen in which something can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Nodes,
    Players,
    Events,
}

/// What is in front of everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Front {
    /// Nothing.
    Nothing,
    /// What the keys do.
    Help,
    /// The id of a player is typed, and why it was none the last time.
    Search { typed: String, wrong: Option<String> },
    /// One player.
    Player { player: PlayerId, seen: Sight },
    /// One node.
    Node(NodeName),
}

/// What is known of a player that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nobody has answered yet.
    Asked,
    /// There is none.
    Missing,
    /// This.
    Seen(Box<PlayerListing>),
}

/// All that the screen shows.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) overview: Option<Overview>,
    rates: BTreeMap<NodeName, Rates>,
    pub(super) history: History,
    pub(super) events: VecDeque<NewsItem>,
    /// When a node has told something, and why none does since then.
    heard_at: Duration,
    pub(super) trouble: Option<String>,
    pub(super) panel: Panel,
    pub(super) front: Front,
    /// The chosen node.
    pub(super) node: Option<NodeName>,
    /// After which players the pages up to the shown one begin; none for the first page.
    pages: Vec<PlayerId>,
    pub(super) page: Option<PlayersPage>,
    /// The chosen rows.
    pub(super) player: usize,
    pub(super) event: usize,
}

/// A node as a line of the table.
#[derive(Debug)]
pub(super) struct NodeRow<'a> {
    pub(super) record: &'a NodeRecord,
    pub(super) leads: bool,
    /// Alive, and says nothing.
    pub(super) silent: bool,
    pub(super) stats: Option<&'a NodeStats>,
    pub(super) rates: Option<&'a Rates>,
}

impl<'a> NodeRow<'a> {
    fn new(
        record: &'a NodeRecord,
        overview: &'a Overview,
        rates: &'a BTreeMap<NodeName, Rates>,
    ) -> Self {
        let NodeRecord { id, name, .. } = record;
        Self {
            record,
            leads: overview.leader == Some(*id),
            silent: overview.silent.contains(name),
            stats: overview.stats.iter().find(|stats| stats.node == *name),
            rates: rates.get(name),
        }
    }

    /// Returns its status as one word.
    pub(super) fn status(&self) -> &'static str {
        if self.silent { "silent" } else { self.record.status.word() }
    }
}

impl Board {
    /// Returns one on which nothing is known yet.
    pub(super) fn new() -> Self {
        Self {
            overview: None,
            rates: BTreeMap::new(),
            history: History::default(),
            events: VecDeque::new(),
            heard_at: Duration::ZERO,
            trouble: None,
            panel: Panel::Nodes,
            front: Front::Nothing,
            node: None,
            pages: Vec::new(),
            page: None,
            player: 0,
            event: 0,
        }
    }

    /// Notes what was heard at a time since the start.
    pub(super) fn apply(&mut self, heard: Heard, now: Duration) {
        match heard {
            Heard::Silence(why) => {
                self.trouble = Some(why);
                return;
            }
            Heard::Overview(overview) => self.look(overview, now),
            Heard::Players(wanted, page) => {
                if self.page_wanted().as_ref() == Some(&wanted) {
                    self.show(page.unwrap_or(PlayersPage { players: Vec::new(), next: None }));
                }
            }
            Heard::Player(asked, found) => {
                if let Front::Player { player, seen } = &mut self.front
                    && *player == asked
                {
                    *seen = found.map_or(Sight::Missing, Sight::Seen);
                }
            }
        }
        self.trouble = None;
        self.heard_at = now;
    }

    fn look(&mut self, mut overview: Overview, now: Duration) {
        let before = self.overview.take();
        let of =
            |node: &NodeName| before.iter().flat_map(|it| &it.stats).find(|it| it.node == *node);
        let rates = overview.stats.iter().filter_map(|stats| {
            let rates = Rates::between(of(&stats.node), stats)?;
            Some((stats.node.clone(), rates))
        });
        self.rates = rates.collect();
        if before.is_some() {
            // The first look has what happened since the nodes' start.
            self.history.push(now, &Rates::sum(self.rates.values()));
        }
        self.take_in(std::mem::take(&mut overview.news));
        let is_there = |name: &NodeName| overview.nodes.iter().any(|node| node.name == *name);
        if !self.node.as_ref().is_some_and(is_there) {
            self.choose_node(overview.nodes.first().map(|node| node.name.clone()));
        }
        self.overview = Some(overview);
    }

    /// Adds events, the newest first. Who reads older ones goes on seeing them.
    fn take_in(&mut self, news: Vec<NewsItem>) {
        if self.event > 0 {
            self.event += news.len();
        }
        for item in news {
            // One that a node was slow to tell is where it belongs.
            let newer = self.events.iter().take_while(|known| known.millis > item.millis).count();
            self.events.insert(newer, item);
        }
        self.events.truncate(EVENTS_MAX);
        self.event = self.event.min(self.events.len().saturating_sub(1));
    }

    fn show(&mut self, page: PlayersPage) {
        if let (true, Some(next)) = (page.players.is_empty(), page.next.clone()) {
            // Many players of other nodes stand between two of this one.
            self.pages.pop();
            self.pages.push(next);
            return;
        }
        self.player = self.player.min(page.players.len().saturating_sub(1));
        self.page = Some(page);
    }

    /// Returns the nodes in order.
    pub(super) fn nodes(&self) -> Vec<NodeRow<'_>> {
        let Some(overview) = &self.overview else { return Vec::new() };
        let row = |record| NodeRow::new(record, overview, &self.rates);
        overview.nodes.iter().map(row).collect()
    }

    /// Returns what all nodes do together.
    pub(super) fn total(&self) -> Rates {
        Rates::sum(self.rates.values())
    }

    /// Returns the leader's name.
    pub(super) fn leader(&self) -> Option<&NodeName> {
        let overview = self.overview.as_ref()?;
        let leads = |node: &&NodeRecord| Some(node.id) == overview.leader;
        overview.nodes.iter().find(leads).map(|node| &node.name)
    }

    /// Returns how old what is shown is, when no node answers.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard_at)
    }

    /// Returns the place of the shown page among those of the node, from 1.
    pub(super) fn page_number(&self) -> usize {
        self.pages.len() + 1
    }

    /// Returns what is to be asked.
    pub(super) fn wanted(&self) -> Wanted {
        let player = match &self.front {
            Front::Player { player, .. } => Some(player.clone()),
            _ => None,
        };
        Wanted { page: self.page_wanted(), player }
    }

    fn page_wanted(&self) -> Option<PageWanted> {
        Some(PageWanted { node: self.node.clone()?, after: self.pages.last().cloned() })
    }

    /// Chooses a node, whose players are shown from their first on.
    pub(super) fn choose_node(&mut self, node: Option<NodeName>) {
        if self.node != node {
            self.node = node;
            self.pages.clear();
            (self.page, self.player) = (None, 0);
        }
    }

    /// Goes to the page of players behind the shown one, if there is one.
    pub(super) fn next_page(&mut self) {
        if let Some(next) = self.page.as_ref().and_then(|page| page.next.clone()) {
            self.pages.push(next);
            (self.page, self.player) = (None, 0);
        }
    }

    /// Goes back to the page before, to this row of it.
    pub(super) fn page_before(&mut self, row: usize) {
        if self.pages.pop().is_some() {
            (self.page, self.player) = (None, row);
        }
    }

    /// Goes to the first page.
    pub(super) fn first_page(&mut self) {
        if !self.pages.is_empty() {
            self.pages.clear();
            self.page = None;
        }
        self.player = 0;
    }

    /// Returns the players that are shown.
    pub(super) fn players(&self) -> &[PlayerListing] {
        self.page.as_ref().map_or(&[], |page| &page.players)
    }
}

#[cfg(test)]
mod tests;
