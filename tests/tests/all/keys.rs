//! The same key is the same call, on any node, after any failure.

use host::protocol::CallKey;
use serde::Deserialize;
use tests::{Cluster, Failed, host};

const KEY: &str = "018bcfe5-6800-7001-8203-0405060708ff";

#[test]
fn a_key_is_applied_once_through_any_node_and_after_a_failover() {
    let mut cluster = Cluster::start(3);
    let first = cluster.via("app_node1").with_key(KEY).rewarded("player1", 5);
    assert_eq!((first.points, first.seq, first.key.as_str()), (5, 1, KEY));
    for (name, key) in cluster.names().iter().zip([KEY, &KEY.replace('-', ""), &KEY.to_uppercase()])
    {
        let again = cluster.via(name).with_key(key).rewarded("player1", 5);
        assert_eq!((again.points, again.seq), (5, 1), "through {name}");
        assert_eq!(again.key, KEY, "a key has one form, however it was typed");
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
fn a_new_key_is_printed_and_taken_back() {
    #[derive(Deserialize)]
    struct Made {
        key: String,
    }
    let made: Made = host(&["key", "new", "--json"]).done().unwrap();
    let text = host(&["key", "new"]);
    assert_eq!(text.code(), Some(0), "{}", text.all());
    assert_ne!(text.stdout.trim(), made.key);

    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    for (key, total) in [(made.key.as_str(), 5), (text.stdout.trim(), 10)] {
        for _ in 0..2 {
            let answer = via.clone().with_key(key).rewarded("player1", 5);
            assert_eq!((answer.points, answer.key.as_str()), (total, key));
        }
    }
}

#[test]
fn calls_without_a_key_get_one_each() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    let [one, two] = [via.rewarded("player1", 5), via.rewarded("player1", 5)];
    assert_eq!(two.points, 10);
    assert_ne!(one.key, two.key);
    assert!(one.key.parse::<CallKey>().is_ok(), "{}", one.key);
    let again = via.with_key(one.key).rewarded("player1", 5);
    assert_eq!((again.points, again.seq), (5, 1));
}
