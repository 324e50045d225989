//! Operating players and nodes over HTTP.

use serde_json::json;
use tests::{Cluster, Http, PATIENCE, eventually};

const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

fn http(cluster: &Cluster, node: &str) -> Http {
    Http::new(cluster.node(node).http())
}

#[test]
fn a_player_is_moved_and_crashes_on_a_persons_word_over_http() {
    let cluster = Cluster::start_with(3, &HTTP);
    let [first, second] = ["app_node1", "app_node2"].map(|name| http(&cluster, name));
    first.reward("player1", 5).ok();
    let moved = second.post("/v1/players/player1/move", &json!({ "to": "app_node3" })).ok();
    assert_eq!((&moved["from"], &moved["to"]), (&json!("app_node1"), &json!("app_node3")));
    let again = second.post("/v1/players/player1/move", &json!({ "to": "app_node3" })).ok();
    assert_eq!(
        (&again["from"], &again["seq"]),
        (&json!("app_node3"), &moved["seq"]),
        "nothing to do"
    );
    let nowhere = second.post("/v1/players/player1/move", &json!({ "to": "app_node9" }));
    let nowhere = nowhere.problem(409, "not_moved");
    assert!(
        nowhere["detail"].as_str().unwrap().contains("app_node1, app_node2, app_node3"),
        "{nowhere}"
    );
    second.post("/v1/players/nobody/move", &json!({ "to": "app_node3" })).problem(404, "no_player");

    let drilled = first.post("/v1/players/player1/crash", &json!({})).ok();
    assert_eq!(
        (&drilled["node"], &drilled["restored"]["seq"]),
        (&json!("app_node3"), &moved["seq"])
    );
    assert_eq!(second.reward("player1", 2).ok()["points"], 7);
}

#[test]
fn a_players_state_is_taken_to_a_file_and_begins_another_one_over_http() {
    let cluster = Cluster::start_with(2, &HTTP);
    let [first, second] = ["app_node1", "app_node2"].map(|name| http(&cluster, name));
    first.reward("player1", 5).ok();
    let file = first.bytes("/v1/players/player1/export");
    let upload = second.with("content-type", "application/octet-stream");
    let imported = upload.ask("PUT", "/v1/players/player2/import", &file).ok();
    assert_eq!(imported["node"], "app_node2");
    assert_eq!(first.reward("player2", 2).ok()["points"], 7);
    upload.ask("PUT", "/v1/players/player2/import", &file).problem(409, "player_exists");
    let damaged = &file[..file.len() - 1];
    upload.ask("PUT", "/v1/players/player3/import", damaged).problem(422, "not_imported");
    first.get("/v1/players/player3").problem(404, "no_player");
}

#[test]
fn a_node_is_drained_and_another_one_crashes_on_a_persons_word_over_http() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let [first, third] = ["app_node1", "app_node3"].map(|name| http(&cluster, name));
    first.reward("player1", 5).ok();
    third.post("/v1/nodes/app_node9/drain", &json!({})).problem(404, "no_node");
    let drained = third.post("/v1/nodes/app_node1/drain", &json!({})).ok();
    assert_eq!((&drained["node"], &drained["players"]), (&json!("app_node1"), &json!(1)));
    assert_eq!(drained["left"], json!(null));
    assert!(cluster.node_mut("app_node1").await_end().success());
    assert_eq!(third.reward("player1", 1).ok()["points"], 6);
    cluster.node_mut("app_node1").restart();
    cluster.await_settled();

    let crashed = third.post("/v1/nodes/app_node2/crash", &json!({})).ok();
    assert_eq!((&crashed["node"], &crashed["down"]), (&json!("app_node2"), &json!(true)));
    assert!(!cluster.node_mut("app_node2").await_end().success());
    let total = eventually(PATIENCE, || {
        let answered = third.reward("player1", 0);
        if answered.status == 200 { Ok(answered.ok()) } else { Err(format!("{answered:?}")) }
    });
    assert_eq!(total["points"], 6);
}
