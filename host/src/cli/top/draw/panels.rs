//! Nodes, players and events, one below the other.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, StatefulWidget, Table, TableState, Widget as _};

use super::{Manner, fit, split, took};

use crate::cli::render::{names, state};
use crate::cli::top::board::{Board, NodeRow, Panel};
use crate::cli::top::words;
use crate::protocol::{NodeName, PlayerListing, harmless};

/// A column: its name, its width, where its words stand.
type Column = (&'static str, u16, Alignment);

/// The first column of each table has what is left.
const NODE_COLUMNS: [Column; 8] = [
    ("status", 8, Alignment::Left),
    ("calls/s", 7, Alignment::Right),
    ("p50", 7, Alignment::Right),
    ("p99", 7, Alignment::Right),
    ("running", 7, Alignment::Right),
    ("resting", 7, Alignment::Right),
    ("copied/s", 8, Alignment::Right),
    ("up for", 6, Alignment::Right),
];

const PLAYER_COLUMNS: [Column; 5] = [
    ("points", 10, Alignment::Right),
    ("seq", 7, Alignment::Right),
    ("state", 11, Alignment::Left),
    ("owner", 12, Alignment::Left),
    ("keepers", 16, Alignment::Left),
];

/// A title and a heading.
const HEAD_LINES: u16 = 2;

pub(super) fn draw(board: &Board, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let rows = fit(board.nodes().len()).max(1);
    let nodes = (rows + HEAD_LINES).min(area.height / 3).max(HEAD_LINES + 1);
    let left = area.height - nodes;
    let [nodes, _, players, _, events] = split(
        area,
        [
            Constraint::Length(nodes),
            Constraint::Length(1),
            Constraint::Length((left - 2) / 2),
            Constraint::Length(1),
            Constraint::Min(0),
        ],
    );
    draw_nodes(board, manner, nodes, buffer);
    draw_players(board, manner, players, buffer);
    draw_events(board, manner, events, buffer);
}

fn draw_nodes(board: &Board, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let rows = board.nodes();
    let title = "Nodes, * leads the directory";
    let below = draw_head(title, Panel::Nodes, board, manner, area, buffer);
    let room = first_width(area, &NODE_COLUMNS);
    let rows = rows.iter().map(|row| node_cells(row, room, manner)).collect();
    // The chosen node is marked wherever the person is: its players are shown.
    let mark = match (manner.keys, board.panel) {
        (false, _) => None,
        (true, Panel::Nodes) => Some(manner.chosen()),
        (true, Panel::Players | Panel::Events) => Some(manner.heading()),
    };
    let (first, columns, chosen) = ("node", &NODE_COLUMNS, board.node_at());
    Grid { first, columns, rows, chosen, mark }.draw(manner, below, buffer);
}

fn node_cells(row: &NodeRow<'_>, room: usize, manner: Manner) -> Vec<(String, Style)> {
    let status = match row.status() {
        "up" => manner.good(),
        "down" | "silent" => manner.bad(),
        _ => manner.doubtful(),
    };
    let mark = if row.leads { " *" } else { "" };
    let name = words::cut(row.record.name.as_str(), room.saturating_sub(mark.len())) + mark;
    let unknown = || words::UNKNOWN.to_owned();
    let rate = |of: fn(f64) -> String, rate: Option<f64>| rate.map_or_else(unknown, of);
    let (rates, stats) = (row.rates, row.stats);
    let plain = [
        rate(words::rate, rates.map(|rates| rates.calls)),
        took(rates.and_then(|rates| rates.p50())),
        took(rates.and_then(|rates| rates.p99())),
        stats.map_or_else(unknown, |stats| words::count(stats.running)),
        stats.map_or_else(unknown, |stats| words::count(stats.resting)),
        rate(words::bytes, rates.map(|rates| rates.replicated)),
        stats.map_or_else(unknown, |stats| words::time(stats.up_millis)),
    ];
    let first = [(name, Style::new()), (row.status().to_owned(), status)];
    first.into_iter().chain(plain.map(|words| (words, Style::new()))).collect()
}

fn draw_players(board: &Board, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let node = board.node.as_ref().map_or(words::UNKNOWN, NodeName::as_str);
    let (number, more) = (board.page_number(), board.page.as_ref().and_then(|it| it.next.as_ref()));
    let page = match (number, more) {
        (1, None) => String::new(),
        (_, None) => format!(", page {number}, the last one"),
        (_, Some(_)) => format!(", page {number}, PageDown for more"),
    };
    let title = format!("Players of {node}{page}");
    let below = draw_head(&title, Panel::Players, board, manner, area, buffer);
    if board.players().is_empty() {
        let words = if board.page.is_none() { "asking …" } else { "no players" };
        return Paragraph::new(Line::styled(words, manner.faint())).render(below, buffer);
    }
    let room = first_width(area, &PLAYER_COLUMNS);
    let rows = board.players().iter().map(|player| player_cells(player, room, manner)).collect();
    let focused = manner.keys && board.panel == Panel::Players;
    let mark = focused.then(|| manner.chosen());
    let (first, columns, chosen) = ("player", &PLAYER_COLUMNS, board.player);
    Grid { first, columns, rows, chosen, mark }.draw(manner, below, buffer);
}

fn player_cells(listing: &PlayerListing, room: usize, manner: Manner) -> Vec<(String, Style)> {
    let unknown = || words::UNKNOWN.to_owned();
    let state = state(listing);
    let style = if listing.quarantined { manner.bad() } else { Style::new() };
    vec![
        (words::cut(listing.player.as_str(), room), Style::new()),
        (
            listing.points.map_or_else(unknown, |points| words::cut(&points.to_string(), 10)),
            Style::new(),
        ),
        (listing.seq.map_or_else(unknown, |seq| words::cut(&seq.to_string(), 7)), Style::new()),
        (state.to_owned(), style),
        (words::cut(listing.owner.as_str(), 12), Style::new()),
        (words::cut(&names(&listing.keepers), 16), Style::new()),
    ]
}

fn draw_events(board: &Board, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let title = "Events, newest first, in UTC";
    let below = draw_head(title, Panel::Events, board, manner, area, buffer);
    if board.events.is_empty() {
        let line = Line::styled("nothing has happened", manner.faint());
        return Paragraph::new(line).render(below, buffer);
    }
    let focused = manner.keys && board.panel == Panel::Events;
    let rows: Vec<Row<'_>> = board
        .events
        .iter()
        .map(|item| {
            let words = format!("{}  {}", words::of_day(item.millis), harmless(&item.to_string()));
            Row::new([Cell::from(words::cut(&words, usize::from(below.width)))])
        })
        .collect();
    let style = if focused { manner.chosen() } else { Style::new() };
    let table = Table::new(rows, [Constraint::Fill(1)]).row_highlight_style(style);
    let mut state = TableState::new().with_selected(focused.then_some(board.event));
    StatefulWidget::render(table, below, buffer, &mut state);
}

/// Draws a panel's title; returns what is below it.
fn draw_head(
    title: &str,
    panel: Panel,
    board: &Board,
    manner: Manner,
    area: Rect,
    buffer: &mut Buffer,
) -> Rect {
    let [head, below] = split(area, [Constraint::Length(1), Constraint::Min(0)]);
    let mark = if manner.keys && board.panel == panel { "> " } else { "" };
    let title = words::cut(&format!("{mark}{title}"), usize::from(head.width));
    Paragraph::new(Line::styled(title, manner.heading())).render(head, buffer);
    below
}

fn first_width(area: Rect, columns: &[Column]) -> usize {
    let taken: u16 = columns.iter().map(|(_, width, _)| width + 1).sum();
    usize::from(area.width.saturating_sub(taken))
}

/// A table in which a row is chosen.
struct Grid {
    /// The name of the first column.
    first: &'static str,
    columns: &'static [Column],
    rows: Vec<Vec<(String, Style)>>,
    chosen: usize,
    /// How the chosen row is marked.
    mark: Option<Style>,
}

impl Grid {
    fn draw(self, manner: Manner, area: Rect, buffer: &mut Buffer) {
        let Self { first, columns, rows, chosen, mark } = self;
        let side = |at: usize| at.checked_sub(1).map_or(Alignment::Left, |at| columns[at].2);
        let cell = |(at, (words, style)): (usize, (String, Style))| {
            Cell::from(Text::from(words).alignment(side(at)).style(style))
        };
        let rows = rows.into_iter().map(|row| Row::new(row.into_iter().enumerate().map(cell)));
        let names = [first].into_iter().chain(columns.iter().map(|(name, _, _)| *name));
        let heading = names.map(|name| (name.to_owned(), manner.faint())).enumerate().map(cell);
        let widths = columns.iter().map(|(_, width, _)| Constraint::Length(*width));
        let widths = [Constraint::Fill(1)].into_iter().chain(widths);
        let table = Table::new(rows, widths).header(Row::new(heading));
        let table = table.row_highlight_style(mark.unwrap_or_default());
        let mut state = TableState::new().with_selected(mark.map(|_| chosen));
        StatefulWidget::render(table, area, buffer, &mut state);
    }
}
