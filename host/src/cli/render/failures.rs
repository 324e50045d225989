//! Players in quarantine, bundles, and what came of doing one again.

use serde::Serialize;

use super::json::line;
use super::table::{Align, Table};
use super::{Exit, Format, Rendered, harmless, names};
use crate::protocol::{
    Arguments, Bundle, Ending, Exhibit, FailedRestores, FunctionCall, Operation, Quarantine,
    Recovery, Term,
};

/// What came of doing again what is in a bundle.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Replayed {
    /// It failed, in these words.
    Failed(String),
    /// It did not; in words.
    Well(String),
}

/// Renders the players in quarantine.
pub(in crate::cli) fn quarantined(format: Format, list: &[Quarantine]) -> Rendered {
    let text = match format {
        Format::Json => quarantined_json(list),
        Format::Text if list.is_empty() => "no player is in quarantine".to_owned(),
        Format::Text => quarantined_table(list),
    };
    Rendered { text, exit: Exit::Done }
}

fn quarantined_table(list: &[Quarantine]) -> String {
    let mut table = Table::new(&[
        ("player", Align::Left),
        ("failed", Align::Right),
        ("seq", Align::Right),
        ("owner", Align::Left),
        ("copies", Align::Left),
        ("reason", Align::Left),
    ]);
    for Quarantine { player, owner, copies, failed } in list {
        let FailedRestores { times, seq, reason } = failed;
        table.row([
            player.to_string(),
            times.to_string(),
            seq.to_string(),
            owner.to_string(),
            names(copies),
            harmless(reason).replace('\n', " "),
        ]);
    }
    table.to_string()
}

fn quarantined_json(list: &[Quarantine]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        quarantined: Vec<Player<'a>>,
    }
    #[derive(Serialize)]
    struct Player<'a> {
        player: &'a str,
        times: u32,
        seq: u64,
        owner: &'a str,
        copies: Vec<&'a str>,
        reason: &'a str,
    }
    let players = list.iter().map(|Quarantine { player, owner, copies, failed }| Player {
        player: player.as_str(),
        times: failed.times,
        seq: failed.seq.0,
        owner: owner.as_str(),
        copies: copies.iter().map(|node| node.as_str()).collect(),
        reason: &failed.reason,
    });
    line(&List { quarantined: players.collect() })
}

/// Renders what was written as a bundle of so many bytes.
pub(in crate::cli) fn bundled(format: Format, bundle: &Bundle, bytes: usize) -> Rendered {
    let Bundle { player, node, seq, .. } = bundle;
    let (kind, failure) = failure_of(bundle);
    let text = match format {
        Format::Text => {
            let failure = harmless(&failure);
            format!("wrote {bytes} bytes: {player} at seq {seq}, from {node}, {failure}")
        }
        Format::Json => {
            #[derive(Serialize)]
            struct Written<'a> {
                #[serde(flatten)]
                what: What<'a>,
                bytes: usize,
            }
            line(&Written { what: What::of(bundle, kind, &failure), bytes })
        }
    };
    Rendered { text, exit: Exit::Done }
}

/// Renders what came of doing a bundle again. `same` says whether that is what is in the bundle.
pub(in crate::cli) fn replayed(
    format: Format,
    bundle: &Bundle,
    found: &Replayed,
    same: bool,
) -> Rendered {
    let Bundle { player, node, code, seq, .. } = bundle;
    let (kind, failure) = failure_of(bundle);
    let (Replayed::Failed(words) | Replayed::Well(words)) = found;
    let text = match format {
        Format::Text => {
            let end = match (same, found) {
                (true, _) => format!("reproduced: the same as on {node}"),
                (false, Replayed::Failed(_)) => {
                    format!("not reproduced: it fails differently here than on {node}")
                }
                (false, Replayed::Well(_)) => {
                    format!("not reproduced: it failed on {node} only")
                }
            };
            let (failure, words) = (harmless(&failure), harmless(words));
            format!("{player} at seq {seq}, code {code}, {failure}\nhere: {words}\n{end}")
        }
        Format::Json => {
            #[derive(Serialize)]
            struct Done<'a> {
                reproduced: bool,
                #[serde(flatten)]
                what: What<'a>,
                here: &'a str,
            }
            let what = What::of(bundle, kind, &failure);
            line(&Done { reproduced: same, what, here: words })
        }
    };
    Rendered { text, exit: if same { Exit::Done } else { Exit::NotApplied } }
}

/// What every answer about a bundle says of it.
#[derive(Serialize)]
struct What<'a> {
    bundle: &'static str,
    player: &'a str,
    seq: u64,
    code: String,
    node: &'a str,
    failure: &'a str,
}

impl<'a> What<'a> {
    fn of(bundle: &'a Bundle, kind: &'static str, failure: &'a str) -> Self {
        let Bundle { player, node, code, seq, .. } = bundle;
        let (player, node) = (player.as_str(), node.as_str());
        Self { bundle: kind, player, seq: seq.0, code: code.to_string(), node, failure }
    }
}

/// Returns what is in a bundle: one word, and what happened.
fn failure_of(bundle: &Bundle) -> (&'static str, String) {
    match &bundle.ending {
        Ending::Trap { operation, message, .. } => {
            ("trap", format!("trapped in `{}`: {message}", typed(operation)))
        }
        Ending::Restore { times, reason } => {
            ("restore", format!("could not be restored {times} times: {reason}"))
        }
    }
}

/// Returns a call as somebody could have typed it.
fn typed(operation: &Operation) -> String {
    match operation {
        Operation::Reward(Term::Integer(points)) => format!("reward {points}"),
        Operation::Reward(Term::Text(text)) => format!("reward {text:?}"),
        Operation::Points => "points".to_owned(),
        Operation::Call(FunctionCall { function, arguments }) => {
            let words = match arguments {
                Arguments::Wave(words) => words.join(" "),
                Arguments::Json(text) => text.to_string(),
            };
            format!("call {function} {words}").trim_end().to_owned()
        }
        Operation::Recover(Recovery { from, accept }) => {
            format!("recover --from {from} --accept-seq {accept}")
        }
        Operation::Move(to) => format!("move --to {to}"),
        Operation::Crash => "crash".to_owned(),
        Operation::Export => "export".to_owned(),
        Operation::Import(_) => "import".to_owned(),
        Operation::Forget => "forget".to_owned(),
        Operation::Release => "quarantine release".to_owned(),
        Operation::Bundle(Exhibit::LastTrap) => "bundle last-trap".to_owned(),
        Operation::Bundle(Exhibit::Quarantine) => "quarantine export".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CallKey, CodeHash, Seq};
    use crate::snapshot::Snapshot;

    fn player1() -> Quarantine {
        Quarantine {
            player: "player1".parse().unwrap(),
            owner: "app_node1".parse().unwrap(),
            copies: ["app_node2", "app_node1"].map(|name| name.parse().unwrap()).to_vec(),
            failed: FailedRestores { times: 3, seq: Seq(7), reason: "no\n\u{1b}[2J".to_owned() },
        }
    }

    #[test]
    fn players_in_quarantine_are_listed_with_what_is_kept_and_why() {
        assert_eq!(quarantined(Format::Text, &[]).text, "no player is in quarantine");
        assert_eq!(quarantined(Format::Json, &[]).text, r#"{"quarantined":[]}"#);
        let text = quarantined(Format::Text, &[player1()]).text;
        let lines: Vec<_> = text.lines().collect();
        let [head, line] = lines[..] else { panic!("a reason draws a line: {text}") };
        assert!(head.starts_with("player   failed  seq  owner      copies"), "{text}");
        assert!(line.contains("3    7  app_node1  app_node2, app_node1"), "{text}");
        assert!(!line.contains('\u{1b}'), "{text}");
        let json = quarantined(Format::Json, &[player1()]).text;
        let expected = r#"{"quarantined":[{"player":"player1","times":3,"seq":7,"#.to_owned()
            + r#""owner":"app_node1","copies":["app_node2","app_node1"],"#
            + r#""reason":"no\n\u001b[2J"}]}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn what_was_written_as_a_bundle_is_told() {
        let operation = Operation::Reward(Term::Text("a".to_owned()));
        let message = "not an integer".to_owned();
        let bundle = Bundle {
            player: "player1".parse().unwrap(),
            node: "app_node1".parse().unwrap(),
            code: CodeHash([0xcc; 32]),
            seq: Seq(7),
            snapshot: Snapshot::initial([64]),
            ending: Ending::Trap { key: CallKey(1), operation, message },
        };
        let text = bundled(Format::Text, &bundle, 120).text;
        let expected = "wrote 120 bytes: player1 at seq 7, from app_node1, trapped in \
                        `reward \"a\"`: not an integer";
        assert_eq!(text, expected);
        let json = bundled(Format::Json, &bundle, 120).text;
        let expected = r#"{"bundle":"trap","player":"player1","seq":7,"#.to_owned()
            + r#""code":"cccccccccccc","node":"app_node1","#
            + r#""failure":"trapped in `reward \"a\"`: not an integer","bytes":120}"#;
        assert_eq!(json, expected);
    }
}
