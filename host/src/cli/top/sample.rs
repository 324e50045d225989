//! A cluster for tests.

use std::time::Duration;

use super::board::{Board, Heard};
use crate::protocol::{
    CallStats, Generation, Incarnation, News, NewsItem, NodeId, NodeName, NodeRecord, NodeStats,
    NodeStatus, Overview, PlayerId, PlayerListing, PlayersPage, Seq,
};

pub(super) fn name(n: u8) -> NodeName {
    format!("app_node{n}").parse().unwrap()
}

pub(super) fn id(player: &str) -> PlayerId {
    player.parse().unwrap()
}

pub(super) fn record(n: u8, status: NodeStatus) -> NodeRecord {
    let addr = ([127, 0, 0, 1], 4432 + u16::from(n)).into();
    NodeRecord { id: NodeId(n.into()), name: name(n), addr, incarnation: Incarnation(1), status }
}

/// A node that has been up for so many seconds, with a hundred calls in each.
pub(super) fn stats(node: NodeName, secs: u64) -> NodeStats {
    let mut buckets = vec![0; CallStats::BUCKETS];
    (buckets[1], buckets[5]) = (90 * secs, 10 * secs);
    let calls = CallStats { returned: 100 * secs, buckets, ..CallStats::default() };
    let replicated_bytes = 5 * 1024 * secs;
    NodeStats { node, up_millis: 1000 * secs, calls, replicated_bytes, running: 12, resting: 3 }
}

pub(super) fn event(millis: u64, news: News) -> NewsItem {
    NewsItem { number: millis, millis, node: name(1), news }
}

/// Three nodes that are up, of which the second one leads.
pub(super) fn overview(secs: u64) -> Overview {
    Overview {
        asked: name(1),
        nodes: (1..=3).map(|n| record(n, NodeStatus::Up)).collect(),
        leader: Some(NodeId(2)),
        stats: (1..=3).map(|n| stats(name(n), secs)).collect(),
        silent: Vec::new(),
        news: Vec::new(),
        places: Vec::new(),
    }
}

pub(super) fn listing(player: &str, points: i64) -> PlayerListing {
    PlayerListing {
        player: id(player),
        owner: name(1),
        running: true,
        quarantined: false,
        keepers: vec![name(3)],
        generation: Generation(4),
        seq: Some(Seq(7)),
        points: Some(points),
    }
}

pub(super) fn page(players: &[&str], next: Option<&str>) -> Option<PlayersPage> {
    let players = players.iter().map(|player| listing(player, 5)).collect();
    Some(PlayersPage { players, next: next.map(id) })
}

/// A board on which the first node's players are shown.
pub(super) fn board() -> Board {
    let mut board = Board::new();
    board.apply(Heard::Overview(overview(10)), Duration::from_secs(1));
    board.apply(Heard::Overview(overview(11)), Duration::from_secs(2));
    show(&mut board, page(&["player1", "player2"], None));
    board
}

/// Shows a page of the players that are wanted.
pub(super) fn show(board: &mut Board, page: Option<PlayersPage>) {
    let wanted = board.wanted().page.unwrap();
    board.apply(Heard::Players(wanted, page), Duration::from_secs(2));
}
