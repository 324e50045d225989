use super::*;
use crate::protocol::{
    Generation, Incarnation, NodeId, NodeRecord, NodeStatus, PlayerListing, Seq,
};

const KEY: CallKey = CallKey(0xff);
const KEY_TEXT: &str = "00000000-0000-0000-0000-0000000000ff";

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn both(end: &Result<Answer, Failed>) -> (Rendered, String) {
    let player = "player1".parse().unwrap();
    let json = call(Format::Json, &player, &Operation::Points, KEY, end);
    let text = call(Format::Text, &player, &Operation::Points, KEY, end);
    assert_eq!(json.exit, text.exit);
    (text, json.text)
}

#[test]
fn a_returned_call_is_its_number() {
    let end = Ok(Answer::Returned { value: 5.into(), seq: Seq(1), node: name("app_node1") });
    let (text, json) = both(&end);
    assert_eq!(text, Rendered { text: "5".into(), exit: Exit::Done });
    assert_eq!(json, format!(r#"{{"points":5,"seq":1,"node":"app_node1","key":"{KEY_TEXT}"}}"#));
}

fn crash(message: &str, keepers: &[&str]) -> Result<Answer, Failed> {
    Ok(Answer::Trapped(Crash {
        message: message.into(),
        restored_seq: Seq(1),
        restore_micros: 41,
        node: name("app_node1"),
        keepers: keepers.iter().map(|keeper| name(keeper)).collect(),
    }))
}

#[test]
fn a_trap_says_what_happened_and_what_was_kept() {
    let (text, json) = both(&crash("not an integer: \"a\"", &["app_node3"]));
    let lines = "CRASH!! player1 trapped: not an integer: \"a\"\n        \
                 restored at seq 1 from memory in 41 µs; keeper app_node3 unchanged";
    assert_eq!(text, Rendered { text: lines.into(), exit: Exit::NotApplied });
    let expected = r#"{"error":"trapped","message":"not an integer: \"a\"","#.to_owned()
        + r#""restored":{"seq":1,"from":"memory","micros":41},"node":"app_node1","#
        + r#""keepers":["app_node3"],"applied":false,"key":"00000000-0000-0000-0000-0000000000ff"}"#;
    assert_eq!(json, expected);
    let (text, _) = both(&crash("x", &["b", "c"]));
    assert!(text.text.ends_with("; keepers b, c unchanged"));
}

#[test]
fn a_guests_words_cannot_draw_on_the_terminal() {
    let (text, _) = both(&crash("\u{1b}[2Jgone\nCRASH!! player2", &[]));
    assert!(text.text.starts_with("CRASH!! player1 trapped: \\u{1b}[2Jgone\n        CRASH!!"));
}

#[test]
fn a_failure_says_whether_it_was_applied() {
    let failed = |code, outcome| Failed { code, message: "m".into(), outcome };
    let (text, json) = both(&Err(failed("single_node", Outcome::NotApplied)));
    assert_eq!(text, Rendered { text: "m; nothing was applied".into(), exit: Exit::NotApplied });
    let expected =
        format!(r#"{{"error":"single_node","message":"m","applied":false,"key":"{KEY_TEXT}"}}"#);
    assert_eq!(json, expected);
    let (text, json) = both(&Err(failed("unknown", Outcome::Unknown)));
    assert_eq!(text, Rendered { text: "m".into(), exit: Exit::Unknown });
    assert!(json.contains(r#""applied":null"#), "{json}");
}

#[test]
fn players_line_up() {
    let listing = |player: &str, points: Option<i64>| PlayerListing {
        player: player.parse().unwrap(),
        owner: name("app_node1"),
        running: points.is_some(),
        quarantined: false,
        keepers: vec![name("app_node2")],
        generation: Generation(1),
        seq: points.map(|_| Seq(12)),
        points,
    };
    let mut list = Players {
        players: vec![listing("player1", Some(-5)), listing("ü", None)],
        silent: vec![],
    };
    let table = "\
player   points  seq  owner      keepers    generation  state
player1      -5   12  app_node1  app_node2           1  running
ü             -    -  app_node1  app_node2           1  at rest";
    assert_eq!(players(Format::Text, &list).text, table);
    list.silent.push(name("app_node3"));
    let silent = "\nno answer from app_node3: points and positions there are missing";
    assert_eq!(players(Format::Text, &list).text, format!("{table}{silent}"));
    list.players.pop();
    let expected = r#"{"players":[{"player":"player1","owner":"app_node1","running":true,"#
        .to_owned()
        + r#""quarantined":false,"#
        + r#""keepers":["app_node2"],"generation":1,"seq":12,"points":-5}],"#
        + r#""silent":["app_node3"]}"#;
    assert_eq!(players(Format::Json, &list).text, expected);
    assert_eq!(players(Format::Text, &Players::default()).text, "no players");
}

#[test]
fn nodes_show_who_leads_and_who_was_asked() {
    let node = |id, text: &str, port, status| NodeRecord {
        id: NodeId(id),
        name: name(text),
        addr: ([127, 0, 0, 1], port).into(),
        incarnation: Incarnation(id),
        status,
    };
    let mut list = Nodes {
        nodes: vec![
            node(1, "app_node1", 4433, NodeStatus::Up),
            node(2, "app_node2", 4434, NodeStatus::Down),
            node(3, "app_node3", 4435, NodeStatus::Up),
        ],
        asked: name("app_node3"),
        leader: Some(NodeId(1)),
        voters: vec![NodeId(1), NodeId(2)],
    };
    let table = "\
node         address         status  directory  incarnation
app_node1    127.0.0.1:4433  up      leader               1
app_node2    127.0.0.1:4434  down    voter                2
app_node3 *  127.0.0.1:4435  up      learner              3
* the node that was asked";
    assert_eq!(nodes(Format::Text, &list).text, table);
    list.nodes.truncate(1);
    let expected = r#"{"nodes":[{"name":"app_node1","addr":"127.0.0.1:4433","status":"up","#
        .to_owned()
        + r#""incarnation":1,"id":"0000000000000001","voter":true,"leader":true}],"#
        + r#""asked":"app_node3"}"#;
    assert_eq!(nodes(Format::Json, &list).text, expected);
}

#[test]
fn a_ready_line_can_be_read_back() {
    let addr = "127.0.0.1:4433".parse().unwrap();
    let line = ready(Format::Text, &name("app_node1"), addr, None);
    assert_eq!(line, "app_node1 ready on 127.0.0.1:4433");
    assert_eq!(parse_ready(&line), Some(addr));
    assert_eq!(parse_ready("app_node1 is ready"), None);
    let json = ready(Format::Json, &name("app_node1"), addr, None);
    assert_eq!(json, r#"{"ready":"app_node1","addr":"127.0.0.1:4433"}"#);
    let http = Some("127.0.0.1:8080".parse().unwrap());
    let line = ready(Format::Text, &name("app_node1"), addr, http);
    assert_eq!(line, "app_node1 ready on 127.0.0.1:4433, HTTP on 127.0.0.1:8080");
    assert_eq!(parse_ready(&line), Some(addr));
    let json = ready(Format::Json, &name("app_node1"), addr, http);
    assert!(json.ends_with(r#""http":"127.0.0.1:8080"}"#), "{json}");
}

#[test]
fn what_an_operator_gave_up_is_said() {
    let player = "player1".parse().unwrap();
    let recovery = Recovery { from: name("app_node3"), accept: Seq(41) };
    let end = Ok(Answer::Returned { value: 17.into(), seq: Seq(41), node: name("app_node1") });
    let recovered = call(Format::Text, &player, &Operation::Recover(recovery), KEY, &end);
    assert_eq!(
        recovered.text,
        "player1 has 17 points at seq 41 again, from app_node3, and runs on app_node1; calls that \
         were acknowledged after seq 41 are given up"
    );
    let (text, json) = both(&Ok(Answer::Forgotten { seq: Some(Seq(41)), node: name("app_node1") }));
    assert_eq!(text.text, "player1 is forgotten; it was at seq 41");
    assert_eq!(json, r#"{"forgotten":true,"seq":41,"node":"app_node1"}"#);
}

#[test]
fn a_node_that_has_not_heard_of_a_change_is_named() {
    let settings = crate::protocol::Settings { keepers: 2, ack: crate::protocol::Ack::Disk };
    let mut report = SettingsReport { settings, applied: 8, silent: Vec::new() };
    assert_eq!(super::settings(Format::Text, &report).text, "keepers 2\nack disk");
    report.silent = vec![name("app_node3")];
    let text = super::settings(Format::Text, &report).text;
    assert!(text.starts_with("keepers 2\nack disk\nno word yet from app_node3: "), "{text}");
    let json = super::settings(Format::Json, &report).text;
    assert_eq!(json, r#"{"keepers":2,"ack":"disk","silent":["app_node3"]}"#);
}
