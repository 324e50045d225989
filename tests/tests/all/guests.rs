//! The player code is whatever component fits the contract.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::{
    Cluster, Trapped, doubling_component, doubling_module, host, large_module, networked_module,
    timely_module,
};

#[track_caller]
fn doubles_and_survives(mut cluster: Cluster) {
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).points, 10);
    assert_eq!(via.rewarded("player1", -1).points, 8);
    let trapped: Trapped = via.reward("player1", "a").ended(1).expect("a trap");
    assert!(!trapped.message.is_empty(), "the engine's words, as the guest has none");
    cluster.node_mut("app_node1").kill();
    assert_eq!(cluster.via("app_node2").rewarded("player1", 1).points, 10);
    assert_eq!(cluster.via("app_node3").points("player1"), 10);
}

#[test]
fn a_component_by_hand_is_a_player_like_any_other() {
    doubles_and_survives(Cluster::start_with_guest(3, &doubling_component()));
}

#[test]
fn a_core_module_with_its_component_type_is_a_player_too() {
    doubles_and_survives(Cluster::start_with_guest(3, &doubling_module()));
}

#[test]
fn a_player_with_a_large_memory_survives_like_any_other() {
    let mut cluster = Cluster::start_with_guest(3, &large_module(200, 256));
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).points, 5);
    let trapped: Trapped = via.reward("player1", "a").ended(1).expect("a trap");
    assert_eq!(trapped.message, "unreachable");
    assert_eq!(via.rewarded("player1", 1).points, 6, "what was acknowledged is kept");
    cluster.node_mut("app_node1").kill();
    assert_eq!(cluster.via("app_node2").rewarded("player1", 1).points, 7);
    assert_eq!(cluster.via("app_node3").points("player1"), 7);
}

/// Returns the seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the guest is asked for the same")]
fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_secs()).expect("it is not that late")
}

#[test]
fn a_player_that_asks_for_the_time_and_writes_lines_survives_like_any_other() {
    let mut cluster = Cluster::start_with_guest(3, &timely_module());
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).points, 5);
    let (before, said) = (seconds(), via.rewarded("player1", "what-time").points);
    assert!((before..=seconds()).contains(&said), "{said} is not now, {before}");
    assert!(cluster.node("app_node1").log_tail().contains("what-time"), "it is in the node's log");
    cluster.node_mut("app_node1").kill();
    let via = cluster.via("app_node2");
    assert_eq!(via.rewarded("player1", 2).points, 7);
    assert!(via.rewarded("player1", "and-now").points >= said);
    assert_eq!(cluster.via("app_node3").points("player1"), 7);
}

#[test]
fn a_player_that_asks_for_the_network_is_refused_and_told_what_to_do() {
    let folder = tempfile::tempdir().expect("make a folder");
    let (guest, data) = (folder.path().join("guest.wasm"), folder.path().join("data"));
    fs::write(&guest, networked_module()).expect("write the guest");
    let path = |path: &std::path::Path| path.to_str().expect("it is UTF-8").to_owned();
    let (guest, data) = (path(&guest), path(&data));
    let ran = host(&["--name", "app_node1", "--guest", &guest, "--data-dir", &data]);
    assert!(!ran.status.success(), "{}", ran.all());
    let told = ran.all();
    assert!(told.contains("imports `wasi:sockets/instance-network@0.2.0`"), "{told}");
    assert!(told.contains("--stub-wasi"), "{told}");
}
