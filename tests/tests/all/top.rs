//! `host top`: the cluster in a terminal, and one picture of it for scripts.

use serde::Deserialize;
use tempfile::TempDir;
use tests::{Cluster, Terminal, host};

/// What `host top --once --json` says.
#[derive(Debug, Deserialize)]
struct Picture {
    asked: String,
    leader: Option<String>,
    p99_micros: Option<u64>,
    nodes: Vec<NodeShown>,
    events: Vec<EventShown>,
}

#[derive(Debug, Deserialize)]
struct NodeShown {
    name: String,
    status: String,
    done: Option<Done>,
}

#[derive(Debug, Deserialize)]
struct Done {
    returned: u64,
    trapped: u64,
    running: u64,
    replicated_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct EventShown {
    event: String,
    node: String,
}

fn top(cluster: &Cluster, name: &str) -> Terminal {
    let node = cluster.node(name).addr().to_string();
    let secret = cluster.secret().to_str().expect("a temporary path is UTF-8");
    Terminal::start(&["top", "--node", &node, "--secret-file", secret])
}

#[test]
fn one_picture_has_all_nodes_and_the_calls_through_any_of_them() {
    let mut cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    for _ in 0..5 {
        via.rewarded("player1", 1);
    }
    cluster.via("app_node2").rewarded("player2", 1);
    cluster.via("app_node2").reward("player2", "a");

    let picture: Picture = cluster.via("app_node3").top().done().unwrap();
    assert_eq!(picture.asked, "app_node3");
    assert!(picture.leader.is_some() && picture.p99_micros.is_some(), "{picture:?}");
    let names: Vec<_> = picture.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["app_node1", "app_node2", "app_node3"]);
    let done = |at: usize| picture.nodes[at].done.as_ref().expect("every node has answered");
    assert_eq!((done(0).returned, done(0).trapped, done(0).running), (5, 0, 1));
    assert_eq!((done(1).returned, done(1).trapped, done(2).returned), (1, 1, 0));
    assert!(done(0).replicated_bytes > 0);
    let trapped = picture.events.iter().find(|event| event.event == "trapped");
    assert_eq!(trapped.map(|event| event.node.as_str()), Some("app_node2"), "{picture:?}");
    let joined = picture.events.iter().filter(|event| event.event == "joined").count();
    assert_eq!(joined, 3, "what all nodes see is told once: {picture:?}");

    let text = cluster.via("app_node3").as_text().top();
    assert_eq!(text.code(), Some(0), "{}", text.all());
    for words in ["3 of 3 nodes up", "app_node2", "Players of app_node1", "player2 trapped on"] {
        assert!(text.stdout.contains(words), "no `{words}` in {}", text.all());
    }
    let player = text.stdout.lines().find(|line| line.starts_with("player1 ")).unwrap();
    let words: Vec<_> = player.split_whitespace().collect();
    assert_eq!(words[..5], ["player1", "5", "5", "running", "app_node1"], "{}", text.all());

    cluster.node_mut("app_node2").stop();
    let picture: Picture = cluster.via("app_node3").top().done().unwrap();
    let stopped = &picture.nodes[1];
    assert!(stopped.done.is_none() && stopped.status != "up", "{picture:?}");
    assert!(picture.nodes[0].done.is_some(), "{picture:?}");
}

#[test]
fn a_screen_is_left_as_it_was_by_q_by_ctrl_c_and_by_a_signal() {
    let cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 5);
    for way in ["q", "Ctrl-C", "SIGTERM"] {
        let mut top = top(&cluster, "app_node2");
        top.await_word("app_node3");
        top.await_word("player1");
        match way {
            "q" => top.press("q"),
            "Ctrl-C" => top.press("\u{3}"),
            _ => top.terminate(),
        }
        let left = top.finish();
        assert_eq!((left.code, left.restored), (0, true), "{way}: {left:?}");
        let (entered, rest) =
            left.shown.split_once("\u{1b}[?1049h").expect("it has its own screen");
        assert!(entered.contains("before ") && rest.contains("\u{1b}[?1049l"), "{way}: {left:?}");
    }
}

#[test]
fn a_screen_goes_on_when_the_asked_node_is_gone() {
    let mut cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 5);
    let mut top = top(&cluster, "app_node1");
    top.await_word("player1");
    cluster.node_mut("app_node1").kill();
    top.await_word("down");
    // A player of the dead node, as its next owner or the directory knows it.
    top.press("/player1\r");
    top.await_word("generation");
    top.press("q");
    assert_eq!(top.finish().code, 0);
}

#[test]
fn without_a_terminal_it_names_what_there_is_instead() {
    let folder = TempDir::with_prefix("top-").expect("create a folder for the secret");
    let secret = folder.path().join("secret");
    let secret = secret.to_str().expect("a temporary path is UTF-8");
    assert_eq!(host(&["secret", "new", secret]).code(), Some(0));
    let ran = host(&["top", "--secret-file", secret]);
    assert_eq!(ran.code(), Some(2), "{}", ran.all());
    for words in ["host top --once", "host players", "/v1/stats"] {
        assert!(ran.stderr.contains(words), "{}", ran.all());
    }
    let ran = host(&["top", "--json", "--secret-file", secret]);
    assert_eq!(ran.code(), Some(2), "{}", ran.all());
    assert!(ran.all().contains("--json goes with `host top --once`"), "{}", ran.all());
}
