//! The same key is the same call, on any node, after any failure.

use tests::{Cluster, Failed};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

#[test]
fn a_key_is_applied_once_through_any_node_and_after_a_failover() {
    let mut cluster = Cluster::start(3);
    let first = cluster.via("app_node1").with_key(KEY).rewarded("player1", 5);
    assert_eq!((first.points, first.seq, first.key.as_str()), (5, 1, KEY));
    for name in cluster.names() {
        let again = cluster.via(&name).with_key(KEY).rewarded("player1", 5);
        assert_eq!((again.points, again.seq), (5, 1), "through {name}");
    }
    assert_eq!(cluster.via("app_node2").rewarded("player1", 2).points, 7);

    cluster.node_mut("app_node1").kill();
    for name in ["app_node2", "app_node3"] {
        let again = cluster.via(name).with_key(KEY).rewarded("player1", 5);
        assert_eq!((again.points, again.seq), (5, 1), "through {name}, the recorded answer");
    }
    assert_eq!(cluster.via("app_node3").points("player1"), 7);
}

#[test]
fn a_key_of_one_call_is_refused_for_another() {
    let cluster = Cluster::start(2);
    cluster.via("app_node1").with_key(KEY).rewarded("player1", 5);
    for name in cluster.names() {
        let ran = cluster.via(&name).with_key(KEY).reward("player1", 6);
        let failed: Failed = ran.ended(1).unwrap();
        assert_eq!((failed.error.as_str(), failed.applied), ("key_reused", Some(false)));
        assert!(failed.message.contains(KEY), "{}", failed.message);
    }
    assert_eq!(cluster.via("app_node1").points("player1"), 5);
    // Another player's key is another key.
    assert_eq!(cluster.via("app_node1").with_key(KEY).rewarded("player2", 6).points, 6);
}

#[test]
fn calls_without_a_key_get_one_each() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    let [one, two] = [via.rewarded("player1", 5), via.rewarded("player1", 5)];
    assert_eq!(two.points, 10);
    assert_ne!(one.key, two.key);
    assert_eq!(one.key.len(), 32);
}
