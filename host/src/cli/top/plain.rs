//! One picture, for scripts: as text, and its numbers as JSON.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde::Serialize;

use super::board::{Board, NodeRow};
use super::draw::{Manner, draw};
use super::rates::{Rates, Took};
use crate::http::EventJson;

/// Columns and lines of a picture that is no screen's.
const SIZE: (u16, u16) = (100, 30);

/// Returns a picture as lines of text, without the end of the last one.
pub(super) fn picture(board: &Board) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
    draw(board, Duration::ZERO, Manner { colours: false, keys: false }, &mut buffer);
    text(&buffer)
}

/// Returns what stands in a buffer, without spaces at the ends of its lines and lines at its end.
pub(super) fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y: u16| {
        let mut line = String::new();
        let mut skipped = 0;
        for x in 0..area.width {
            let symbol = buffer[(x, y)].symbol();
            if skipped == 0 {
                line.push_str(symbol);
                // What is wide hides the columns behind it.
                skipped = super::words::width(symbol);
            }
            skipped = skipped.saturating_sub(1);
        }
        line.trim_end().to_owned()
    };
    let lines: Vec<String> = (0..area.height).map(line).collect();
    lines.join("\n").trim_end().to_owned()
}

#[derive(Serialize)]
struct PictureJson<'a> {
    /// The node that has told.
    asked: &'a str,
    leader: Option<&'a str>,
    calls_per_second: f64,
    p50_micros: Option<u64>,
    p99_micros: Option<u64>,
    nodes: Vec<NodeJson<'a>>,
    /// The newest first.
    events: Vec<EventJson>,
}

/// A node; what it has not said is missing.
#[derive(Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    addr: String,
    status: &'static str,
    leader: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<DoneJson>,
}

/// What a node has done since its start.
#[derive(Serialize)]
struct DoneJson {
    up_millis: u64,
    running: u64,
    resting: u64,
    returned: u64,
    trapped: u64,
    refused: u64,
    unknown: u64,
    calls_per_second: f64,
    p50_micros: Option<u64>,
    p99_micros: Option<u64>,
    replicated_bytes: u64,
    replicated_bytes_per_second: f64,
}

impl<'a> NodeJson<'a> {
    fn new(row: &NodeRow<'a>) -> Self {
        let none = Rates::default();
        let rates = row.rates.unwrap_or(&none);
        let done = row.stats.map(|stats| DoneJson {
            up_millis: stats.up_millis,
            running: stats.running,
            resting: stats.resting,
            returned: stats.calls.returned,
            trapped: stats.calls.trapped,
            refused: stats.calls.refused,
            unknown: stats.calls.unknown,
            calls_per_second: rates.calls,
            p50_micros: micros(rates.p50()),
            p99_micros: micros(rates.p99()),
            replicated_bytes: stats.replicated_bytes,
            replicated_bytes_per_second: rates.replicated,
        });
        let record = row.record;
        Self {
            name: record.name.as_str(),
            addr: record.addr.to_string(),
            status: row.status(),
            leader: row.leads,
            done,
        }
    }
}

/// The last bucket has no end: nobody says a number of it.
fn micros(took: Option<Took>) -> Option<u64> {
    match took {
        Some(Took::AtMost(micros)) => Some(micros),
        Some(Took::Longer(_)) | None => None,
    }
}

/// Returns the numbers as one JSON object on one line.
pub(super) fn numbers(board: &Board) -> String {
    let total = board.total();
    let json = PictureJson {
        asked: board.overview.as_ref().map_or("", |overview| overview.asked.as_str()),
        leader: board.leader().map(|leader| leader.as_str()),
        calls_per_second: total.calls,
        p50_micros: micros(total.p50()),
        p99_micros: micros(total.p99()),
        nodes: board.nodes().iter().map(NodeJson::new).collect(),
        events: board.events.iter().map(EventJson::from).collect(),
    };
    crate::cli::render::line(&json)
}

#[cfg(test)]
mod tests {
    use super::super::sample::board;
    use super::*;

    #[test]
    fn a_picture_for_scripts_names_no_keys() {
        let text = picture(&board());
        assert!(text.starts_with("host top  3 of 3 nodes up  300 calls/s"), "{text}");
        assert!(text.contains("told by app_node1\n") && text.contains("\nplayer2"), "{text}");
        assert!(!text.contains("q quit") && !text.contains("> Nodes"), "{text}");
    }

    #[test]
    fn numbers_are_one_object_on_one_line() {
        let json = numbers(&board());
        let begin = r#"{"asked":"app_node1","leader":"app_node2","calls_per_second":300.0,"#
            .to_owned()
            + r#""p50_micros":100,"p99_micros":1600,"nodes":[{"name":"app_node1","#
            + r#""addr":"127.0.0.1:4433","status":"up","leader":false,"done":{"up_millis":11000,"#
            + r#""running":12,"resting":3,"returned":1100,"trapped":0,"refused":0,"unknown":0,"#
            + r#""calls_per_second":100.0,"p50_micros":100,"p99_micros":1600,"#
            + r#""replicated_bytes":56320,"replicated_bytes_per_second":5120.0}},"#;
        assert!(json.starts_with(&begin), "{json}");
        assert!(json.ends_with(r#"],"events":[]}"#) && !json.contains('\n'), "{json}");
    }
}
