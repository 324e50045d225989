//! What people who operate a cluster are told of its players.

use serde::Serialize;

use super::json::{Restored, line};
use super::{Exit, Format, Rendered, names, state};
use crate::cli::client::Crashed;
use crate::http::PlayerJson;
use crate::protocol::{
    CallKey, Crash, Export, Handover, NodeCrash, NodeName, Operation, PlayerId, PlayerListing, Seq,
};

/// Says where a player is now, and where it was.
pub(super) fn handed_over(player: &PlayerId, handover: &Handover) -> String {
    let Handover { from, to, seq, generation, keepers } = handover;
    let keepers = match keepers.as_slice() {
        [_] => format!("keeper {}", names(keepers)),
        _ => format!("keepers {}", names(keepers)),
    };
    if from == to {
        return format!(
            "{player} is on {to} already, at seq {seq}, generation {generation}, {keepers}; nothing \
             was changed"
        );
    }
    format!("{player} moved from {from} to {to} at seq {seq}; generation {generation}, {keepers}")
}

/// The same for a program.
pub(super) fn handed_over_json(handover: &Handover, key: CallKey) -> String {
    #[derive(Serialize)]
    struct HandedOver<'a> {
        /// `false` when the player was there already.
        moved: bool,
        from: &'a NodeName,
        to: &'a NodeName,
        seq: u64,
        generation: u64,
        keepers: &'a [NodeName],
        key: String,
    }
    let Handover { from, to, seq, generation, keepers } = handover;
    line(&HandedOver {
        moved: from != to,
        from,
        to,
        seq: seq.0,
        generation: generation.0,
        keepers,
        key: key.to_string(),
    })
}

/// What a player was restored to in a drill, for a program.
pub(super) fn drilled_json(crash: &Crash, key: CallKey) -> String {
    #[derive(Serialize)]
    struct Drilled<'a> {
        drill: &'a str,
        restored: Restored,
        node: &'a NodeName,
        keepers: &'a [NodeName],
        applied: bool,
        key: String,
    }
    let Crash { message, node, keepers, .. } = crash;
    let (restored, key) = (Restored::by(crash), key.to_string());
    line(&Drilled { drill: message, restored, node, keepers, applied: false, key })
}

/// Says that a node is gone, and what happens next.
pub(in crate::cli) fn crashed(format: Format, crashed: &Crashed) -> Rendered {
    let text = match format {
        Format::Text => crashed_text(crashed),
        Format::Json => crashed_json(crashed),
    };
    Rendered { text, exit: Exit::Done }
}

fn crashed_text(crashed: &Crashed) -> String {
    let (node, gone, players, copies) = match crashed {
        Crashed::Seen(NodeCrash { node, players, copies, down }) => {
            let gone = if *down {
                "and the directory calls it down"
            } else {
                "and the directory does not call it down yet"
            };
            let players = format!("it owned {}; each", counted(*players, "player", "players"));
            let copies = format!("it kept {}; each", counted(*copies, "copy", "copies"));
            (node, gone, players, copies)
        }
        Crashed::Asked(node) => {
            let gone = "and it was the node that was asked";
            let players = "each player that it owned".to_owned();
            (node, gone, players, "each copy that it kept".to_owned())
        }
    };
    format!(
        "{node} is gone: its process ended as if it was killed, {gone}\n        {players} goes on from \
         its keeper at its next call, or by itself within seconds\n        {copies} is made anew on \
         another node, if there is one\n        start it again with the same command, and it comes back"
    )
}

fn counted(count: u64, one: &str, more: &str) -> String {
    match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

fn crashed_json(crashed: &Crashed) -> String {
    #[derive(Serialize)]
    struct Gone<'a> {
        node: &'a NodeName,
        state: &'static str,
        /// Whether it was the node that was asked; then the others are `null`.
        asked: bool,
        players: Option<u64>,
        copies: Option<u64>,
        down: Option<bool>,
    }
    let state = "crashed";
    line(&match crashed {
        Crashed::Seen(NodeCrash { node, players, copies, down }) => Gone {
            node,
            state,
            asked: false,
            players: Some(*players),
            copies: Some(*copies),
            down: Some(*down),
        },
        Crashed::Asked(node) => {
            Gone { node, state, asked: true, players: None, copies: None, down: None }
        }
    })
}

/// Says what was written as an exported player of so many bytes.
pub(in crate::cli) fn exported(format: Format, export: &Export, bytes: usize) -> Rendered {
    let Export { player, node, code, seq, .. } = export;
    let text = match format {
        Format::Text => {
            format!("wrote {bytes} bytes: {player} at seq {seq}, code {code}, from {node}")
        }
        Format::Json => {
            #[derive(Serialize)]
            struct Written<'a> {
                exported: &'a PlayerId,
                seq: u64,
                code: String,
                node: &'a NodeName,
                bytes: usize,
            }
            let code = code.to_string();
            line(&Written { exported: player, seq: seq.0, code, node, bytes })
        }
    };
    Rendered { text, exit: Exit::Done }
}

/// Returns the player that was in the file of an import.
fn origin(operation: &Operation) -> Option<Export> {
    let Operation::Import(file) = operation else { return None };
    Export::decode(&file.0).ok()
}

/// Says with whose state a player has begun.
pub(super) fn imported(
    player: &PlayerId,
    operation: &Operation,
    seq: Seq,
    node: &NodeName,
    keepers: &[NodeName],
) -> String {
    let from = origin(operation).map(|Export { player, seq, code, .. }| {
        format!(" with the state of {player} at seq {seq}, code {code}")
    });
    let (from, keepers) = (from.unwrap_or_default(), names(keepers));
    format!("{player} begins{from}: it is at seq {seq} on {node}, kept on {keepers}")
}

/// The same for a program.
pub(super) fn imported_json(
    operation: &Operation,
    seq: Seq,
    node: &NodeName,
    keepers: &[NodeName],
    key: CallKey,
) -> String {
    #[derive(Serialize)]
    struct Imported<'a> {
        imported: bool,
        /// The player that was exported, its position and its code.
        from: Option<String>,
        from_seq: Option<u64>,
        code: Option<String>,
        seq: u64,
        node: &'a NodeName,
        keepers: &'a [NodeName],
        key: String,
    }
    let origin = origin(operation);
    let origin = origin.as_ref();
    line(&Imported {
        imported: true,
        from: origin.map(|export| export.player.to_string()),
        from_seq: origin.map(|export| export.seq.0),
        code: origin.map(|export| export.code.to_string()),
        seq: seq.0,
        node,
        keepers,
        key: key.to_string(),
    })
}

/// Says in a line what is seen of a player now.
pub(in crate::cli) fn seen(
    format: Format,
    player: &PlayerId,
    seen: Option<&PlayerListing>,
) -> String {
    match (format, seen) {
        (Format::Json, Some(listing)) => line(&PlayerJson::from(listing.clone())),
        (Format::Json, None) => {
            #[derive(Serialize)]
            struct Nobody<'a> {
                player: &'a PlayerId,
                exists: bool,
            }
            line(&Nobody { player, exists: false })
        }
        (Format::Text, None) => format!("{player} does not exist"),
        (Format::Text, Some(listing)) => {
            let PlayerListing { owner, keepers, generation, seq, points, .. } = listing;
            let known = |what: &str, value: Option<String>| {
                value.map(|value| format!("{what} {value}, ")).unwrap_or_default()
            };
            let seq = known("seq", seq.map(|seq| seq.to_string()));
            let points = known("points", points.map(|points| points.to_string()));
            let (keepers, state) = (names(keepers), state(listing));
            format!(
                "{player}: {seq}{points}owner {owner}, keepers {keepers}, generation {generation}, \
                 {state}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::call;
    use crate::protocol::{Answer, CodeHash, ExportFile, Generation};
    use crate::snapshot::Snapshot;

    #[test]
    fn a_drill_is_told_as_a_crash_and_is_done() {
        let crash = Crash {
            message: "crash drill".to_owned(),
            restored_seq: Seq(7),
            restore_micros: 41,
            node: "app_node1".parse().unwrap(),
            keepers: vec!["app_node2".parse().unwrap()],
        };
        let (player, end) = ("player1".parse().unwrap(), Ok(Answer::Trapped(crash)));
        let told = |format| call(format, &player, &Operation::Crash, CallKey(1), &end);
        let text = "CRASH!! player1 trapped: crash drill\n        restored at seq 7 from memory in 41 \
                    µs; keeper app_node2 unchanged";
        assert_eq!((told(Format::Text).text.as_str(), told(Format::Text).exit), (text, Exit::Done));
        let json = r#"{"drill":"crash drill","restored":{"seq":7,"from":"memory","micros":41},"#
            .to_owned()
            + r#""node":"app_node1","keepers":["app_node2"],"applied":false,"key":""#;
        assert!(told(Format::Json).text.starts_with(&json), "{}", told(Format::Json).text);
    }

    #[test]
    fn a_node_that_is_gone_is_told_with_what_it_had() {
        let node: NodeName = "app_node2".parse().unwrap();
        let crash = NodeCrash { node: node.clone(), players: 3, copies: 4, down: true };
        let told = crashed(Format::Text, &Crashed::Seen(crash.clone()));
        let words =
            ["app_node2 is gone", "it owned 3 players; each goes", "it kept 4 copies; each is"];
        assert!(words.iter().all(|words| told.text.contains(words)), "{}", told.text);
        let json = crashed(Format::Json, &Crashed::Seen(crash)).text;
        let expected = r#"{"node":"app_node2","state":"crashed","asked":false,"players":3,"#
            .to_owned()
            + r#""copies":4,"down":true}"#;
        assert_eq!(json, expected);
        let json = crashed(Format::Json, &Crashed::Asked(node)).text;
        assert!(json.contains(r#""asked":true,"players":null"#), "{json}");
    }

    #[test]
    fn a_player_that_was_exported_and_one_that_begins_with_it_are_told() {
        let export = Export {
            player: "player1".parse().unwrap(),
            node: "app_node1".parse().unwrap(),
            code: CodeHash([0xcc; 32]),
            seq: Seq(7),
            snapshot: Snapshot::initial([64]),
        };
        let text = exported(Format::Text, &export, 120).text;
        assert_eq!(text, "wrote 120 bytes: player1 at seq 7, code cccccccccccc, from app_node1");
        let json = exported(Format::Json, &export, 120).text;
        let expected = r#"{"exported":"player1","seq":7,"code":"cccccccccccc","node":"app_node1","#;
        assert!(json.starts_with(expected), "{json}");
        let (player, node) = ("player2".parse().unwrap(), "app_node2".parse().unwrap());
        let keepers = vec!["app_node3".parse().unwrap()];
        let operation = Operation::Import(ExportFile(export.encode()));
        let end = Ok(Answer::Imported { seq: Seq(8), node, keepers });
        let told = |format| call(format, &player, &operation, CallKey(1), &end);
        let text = "player2 begins with the state of player1 at seq 7, code cccccccccccc: it is at seq 8 \
                    on app_node2, kept on app_node3";
        assert_eq!((told(Format::Text).text.as_str(), told(Format::Text).exit), (text, Exit::Done));
        let json = told(Format::Json).text;
        let expected = r#"{"imported":true,"from":"player1","from_seq":7,"code":"cccccccccccc","#;
        assert!(json.starts_with(expected), "{json}");
    }

    #[test]
    fn what_is_seen_of_a_player_is_one_line() {
        let player = "player1".parse().unwrap();
        let listing = PlayerListing {
            player: "player1".parse().unwrap(),
            owner: "app_node1".parse().unwrap(),
            running: true,
            quarantined: false,
            keepers: vec!["app_node2".parse().unwrap()],
            generation: Generation(3),
            seq: Some(Seq(7)),
            points: Some(-5),
        };
        let text =
            "player1: seq 7, points -5, owner app_node1, keepers app_node2, generation 3, running";
        assert_eq!(seen(Format::Text, &player, Some(&listing)), text);
        let json = seen(Format::Json, &player, Some(&listing));
        assert!(
            json.starts_with(r#"{"player":"player1","owner":"app_node1","running":true,"#),
            "{json}"
        );
        let rests = PlayerListing { running: false, seq: None, points: None, ..listing };
        let text = "player1: owner app_node1, keepers app_node2, generation 3, at rest";
        assert_eq!(seen(Format::Text, &player, Some(&rests)), text);
        assert_eq!(seen(Format::Text, &player, None), "player1 does not exist");
        assert_eq!(seen(Format::Json, &player, None), r#"{"player":"player1","exists":false}"#);
    }

    #[test]
    fn a_move_is_told_with_all_that_has_changed() {
        let node = |n: u8| format!("app_node{n}").parse::<NodeName>().unwrap();
        let (player, keepers) = ("player1".parse().unwrap(), vec![node(2)]);
        let (seq, generation) = (Seq(7), Generation(4));
        let moved = Handover { from: node(1), to: node(3), seq, generation, keepers };
        let text =
            "player1 moved from app_node1 to app_node3 at seq 7; generation 4, keeper app_node2";
        assert_eq!(handed_over(&player, &moved), text);
        let json = r#"{"moved":true,"from":"app_node1","to":"app_node3","seq":7,"generation":4,"#
            .to_owned()
            + r#""keepers":["app_node2"],"key":""#;
        assert!(handed_over_json(&moved, CallKey(1)).starts_with(&json));
        let stays = Handover { from: node(3), ..moved };
        let text = "player1 is on app_node3 already, at seq 7, generation 4, keeper app_node2; nothing \
                    was changed";
        assert_eq!(handed_over(&player, &stays), text);
        assert!(handed_over_json(&stays, CallKey(1)).starts_with(r#"{"moved":false"#));
    }
}
