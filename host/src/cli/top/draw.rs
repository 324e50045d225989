//! The screen as a function of what is known.

mod front;
mod panels;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline, Widget as _, Wrap};

use super::board::Board;
use super::history::Point;
use super::rates::Took;
use super::words;

/// The smallest screen on which all of it has room.
pub(super) const SIZE_MIN: (u16, u16) = (80, 24);

/// Lines of the bars: two on a small screen.
const BARS_LINES: (u16, u16) = (2, 4);
/// From this height on a screen is large.
const LARGE_FROM: u16 = 40;

/// How it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// With colours.
    pub(super) colours: bool,
    /// For somebody who presses keys: with what is chosen, and what can be done.
    pub(super) keys: bool,
}

impl Manner {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    fn doubtful(self) -> Style {
        self.colour(Color::Yellow)
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn heading(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// Draws what is known at a time since the start.
pub(super) fn draw(board: &Board, now: Duration, manner: Manner, buffer: &mut Buffer) {
    let area = buffer.area;
    if area.width < SIZE_MIN.0 || area.height < SIZE_MIN.1 {
        let text = format!(
            "This takes {} columns and {} lines; there are {} and {}. q ends it.",
            SIZE_MIN.0, SIZE_MIN.1, area.width, area.height
        );
        return Paragraph::new(text).wrap(Wrap { trim: true }).render(area, buffer);
    }
    let [title, rest] = split(area, [Constraint::Length(2), Constraint::Min(0)]);
    draw_title(board, now, manner, title, buffer);
    if board.overview.is_none() {
        draw_nothing(board, manner, rest, buffer);
    } else {
        let lines = if area.height < LARGE_FROM { BARS_LINES.0 } else { BARS_LINES.1 };
        let [bars, panels] = split(rest, [Constraint::Length(lines + 2), Constraint::Min(0)]);
        draw_bars(board, now, manner, bars, buffer);
        panels::draw(board, manner, panels, buffer);
    }
    front::draw(&board.front, board, manner, area, buffer);
}

fn split<const N: usize>(area: Rect, parts: [Constraint; N]) -> [Rect; N] {
    Layout::vertical(parts).areas(area)
}

/// The first line says how the cluster is, the second one what is wrong with that.
fn draw_title(board: &Board, now: Duration, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let [first, second] = split(area, [Constraint::Length(1), Constraint::Length(1)]);
    let mut spans = vec![Span::styled("host top", manner.heading())];
    if let Some(overview) = &board.overview {
        let rows = board.nodes();
        let well = rows.iter().filter(|row| row.status() == "up").count();
        let style = if well == rows.len() { manner.good() } else { manner.bad() };
        spans.push(Span::styled(format!("  {well} of {} nodes up", rows.len()), style));
        let total = board.total();
        spans.push(format!("  {} calls/s", words::rate(total.calls)).into());
        spans.push(format!("  p50 {}  p99 {}", took(total.p50()), took(total.p99())).into());
        spans.push(format!("  told by {}", overview.asked).into());
    }
    let keys = if manner.keys { "? help  q quit" } else { "" };
    let room = usize::from(first.width).saturating_sub(words::width(keys) + 1);
    // What is said last is missed least.
    while spans.iter().map(Span::width).sum::<usize>() > room && spans.len() > 1 {
        spans.pop();
    }
    Paragraph::new(Line::from(spans)).render(Rect { width: fit(room), ..first }, buffer);
    let keys_at = Rect { x: first.x + fit(room + 1), width: fit(words::width(keys)), ..first };
    Paragraph::new(Line::styled(keys, manner.faint())).render(keys_at, buffer);
    if let (Some(why), true) = (&board.trouble, board.overview.is_some()) {
        let age = words::age(board.age(now));
        let words = format!("no node answers, this is {age} old; asking again. {why}");
        let words = words::cut(&words, usize::from(second.width));
        Paragraph::new(Line::styled(words, manner.bad())).render(second, buffer);
    } else if board.overview.is_some() && board.leader().is_none() {
        let words = "the directory has no leader now: players go on, none can be taken over";
        Paragraph::new(Line::styled(words, manner.bad())).render(second, buffer);
    }
}

/// No screen has more columns than that.
fn fit(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}

fn took(took: Option<Took>) -> String {
    took.map_or_else(|| words::UNKNOWN.to_owned(), |took| took.to_string())
}

fn draw_nothing(board: &Board, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let lines = match &board.trouble {
        None => vec![Line::raw("asking …")],
        Some(why) => vec![
            Line::styled("No node answers; asking again.", manner.bad()),
            Line::default(),
            Line::raw(why.clone()),
        ],
    };
    Paragraph::new(lines).wrap(Wrap { trim: true }).render(area, buffer);
}

fn draw_bars(board: &Board, now: Duration, manner: Manner, area: Rect, buffer: &mut Buffer) {
    let gap = 2;
    let half = (area.width - gap) / 2;
    let left = Rect { width: half, ..area };
    let right = Rect { x: area.x + half + gap, width: area.width - half - gap, ..area };
    let total = board.total();
    let now_at = |words: String, highest: Option<u64>, unit: fn(u64) -> String| match highest {
        Some(highest) => format!("{words}, highest of 2 minutes {}", unit(highest)),
        None => words,
    };
    let columns = |count: u16, value: fn(&Point) -> Option<u64>| {
        board.history.columns(now, usize::from(count), value)
    };
    let calls = columns(left.width, |point| Some(point.calls));
    let highest = calls.iter().flatten().max().copied();
    let label = now_at(format!("calls/s {}", words::rate(total.calls)), highest, words::count);
    draw_bar(&label, &calls, manner, left, buffer);
    let p99 = columns(right.width, |point| point.p99);
    let highest = p99.iter().flatten().max().copied();
    let time = |micros| Took::AtMost(micros).to_string();
    draw_bar(
        &now_at(format!("p99 {}", took(total.p99())), highest, time),
        &p99,
        manner,
        right,
        buffer,
    );
}

fn draw_bar(label: &str, data: &[Option<u64>], manner: Manner, area: Rect, buffer: &mut Buffer) {
    let [head, bars, _] =
        split(area, [Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]);
    let label = words::cut(label, usize::from(head.width));
    Paragraph::new(Line::styled(label, manner.heading())).render(head, buffer);
    // A second without a call has no time: that is a gap, too.
    Sparkline::default()
        .data(data.iter().copied())
        .absent_value_symbol(" ")
        .style(manner.colour(Color::Cyan))
        .render(bars, buffer);
}
