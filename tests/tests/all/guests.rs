//! The player code is whatever component fits the contract.

use tests::{Cluster, Trapped, doubling_component, doubling_module, large_module};

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
