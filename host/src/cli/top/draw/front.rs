//! What stands in front of the panels: help, a search, one player, one node.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Widget as _};

use super::{Manner, fit};

use crate::cli::render::{names, state};
use crate::cli::top::board::{Board, Front, Sight};
use crate::cli::top::rates::calls_of;
use crate::cli::top::words;
use crate::protocol::{NodeName, PlayerId, PlayerListing, harmless};

/// Events of one player that are shown.
const EVENTS_MAX: usize = 6;

/// They fit the smallest screen.
const HELP: [&str; 15] = [
    "j k, arrows  choose a node, a player or an event",
    "Tab          go to the next panel, > marks it",
    "Enter        show more of what is chosen",
    "PageDown     more players of the chosen node",
    "PageUp       those before",
    "Home         back to the first",
    "/            look for a player by its id",
    "Esc          back",
    "q, Ctrl-C    end",
    "",
    "p50, p99   half of the calls, or 99 of 100, took so long at most since",
    "           the last look; times are counted in steps that double",
    "copied/s   bytes of players' states that went to keepers",
    "silent     called alive by the directory, but says nothing",
    "At first all of it is since the nodes' start.",
];

pub(super) fn draw(front: &Front, board: &Board, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let (title, lines) = match front {
        Front::Nothing => return,
        Front::Help => ("Keys".to_owned(), HELP.iter().map(|line| Line::raw(*line)).collect()),
        Front::Search { typed, wrong } => ("Player".to_owned(), searched(typed, wrong, manner)),
        Front::Player { player, seen } => (player.to_string(), player_lines(player, seen, board)),
        Front::Node(node) => (node.to_string(), node_lines(node, board)),
    };
    let width = area.width.saturating_sub(4).min(100);
    let height = (fit(lines.len()) + 2).min(area.height.saturating_sub(2));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 3,
        width,
        height,
    };
    let room = usize::from(width.saturating_sub(4));
    let title = Line::styled(format!(" {} ", words::cut(&title, room)), manner.heading());
    let cut = |line: Line<'static>| {
        let style = line.style;
        Line::styled(words::cut(&line.to_string(), room), style)
    };
    let lines: Vec<Line<'_>> = lines.into_iter().map(cut).collect();
    Clear.render(place, buffer);
    let block = Block::bordered().title(title).padding(ratatui::widgets::Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(place, buffer);
}

fn searched(typed: &str, wrong: &Option<String>, manner: Manner) -> Vec<Line<'static>> {
    // The end of a long one is what is being typed.
    let shown: String = typed.chars().skip(typed.chars().count().saturating_sub(60)).collect();
    let mut lines = vec![Line::raw(format!("id: {shown}_"))];
    let hint = Line::styled("Enter looks for it, Esc goes back", manner.faint());
    lines.push(wrong.as_ref().map_or(hint, |wrong| Line::styled(harmless(wrong), manner.bad())));
    lines
}

fn player_lines(player: &PlayerId, seen: &Sight, board: &Board) -> Vec<Line<'static>> {
    let mut lines = match seen {
        Sight::Asked => vec!["asking …".to_owned()],
        Sight::Missing => vec![format!("{player} does not exist")],
        Sight::Seen(listing) => listing_lines(listing),
    };
    let about = board.events.iter().filter(|item| item.news.player() == Some(player));
    let about: Vec<_> = about.take(EVENTS_MAX).collect();
    if !about.is_empty() {
        lines.push(String::new());
    }
    lines.extend(
        about
            .iter()
            .map(|item| format!("{}  {}", words::of_day(item.millis), harmless(&item.to_string()))),
    );
    lines.into_iter().map(Line::raw).collect()
}

fn listing_lines(listing: &PlayerListing) -> Vec<String> {
    let PlayerListing { owner, keepers, generation, seq, points, .. } = listing;
    let unknown = || words::UNKNOWN.to_owned();
    vec![
        format!("points      {}", points.map_or_else(unknown, |points| points.to_string())),
        format!("seq         {}", seq.map_or_else(unknown, |seq| seq.to_string())),
        format!("state       {}", state(listing)),
        format!("owner       {owner}"),
        format!("keepers     {}", names(keepers)),
        format!("generation  {generation}"),
    ]
}

fn node_lines(node: &NodeName, board: &Board) -> Vec<Line<'static>> {
    let rows = board.nodes();
    let Some(row) = rows.iter().find(|row| row.record.name == *node) else {
        return vec![Line::raw("there is no such node any more")];
    };
    let leads = if row.leads { ", leads the directory" } else { "" };
    let mut lines = vec![
        format!("status      {}{leads}", row.status()),
        format!("address     {}", row.record.addr),
        format!("start       {}", row.record.incarnation),
    ];
    if let Some(stats) = row.stats {
        let calls = &stats.calls;
        lines.push(format!("up for      {}", words::time(stats.up_millis)));
        lines.push(format!("players     {} running, {} resting", stats.running, stats.resting));
        lines.push(format!("calls       {} since its start", calls_of(calls)));
        lines.push(format!(
            "            {} returned, {} trapped, {} refused, {} unknown",
            calls.returned, calls.trapped, calls.refused, calls.unknown
        ));
        #[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
        let copied = words::bytes(stats.replicated_bytes as f64);
        lines.push(format!("copied      {copied} since its start"));
    }
    lines.into_iter().map(Line::raw).collect()
}
