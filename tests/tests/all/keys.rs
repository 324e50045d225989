//! The same key is the same call, on any node, after any failure, for as long as it is remembered.

use std::net::SocketAddr;
use std::path::Path;

use host::clock;
use host::limits::KEY_WINDOW_CALLS;
use host::protocol::{Answer, Call, CallKey, Operation, Term};
use serde::Deserialize;
use tests::{Client, Cluster, Failed, PATIENCE, Ran, host};
use tokio::runtime::Builder;

const KEY: &str = "018bcfe5-6800-7001-8203-0405060708ff";
const MINUTE: u64 = 60_000;

/// Rewards a player with 1 point for each key, one after the other, and returns the totals.
fn reward_with(
    secret: &Path,
    node: SocketAddr,
    player: &str,
    keys: impl IntoIterator<Item = CallKey>,
) -> Vec<i64> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("start a runtime");
    runtime.block_on(async {
        let mut client = Client::new(secret).expect("make a client");
        let mut totals = Vec::new();
        for key in keys {
            let operation = Operation::Reward(Term::Integer(1));
            let call = Call { player: player.parse().expect("a valid id"), key, operation };
            match client.call(node, call, PATIENCE).await {
                Ok(Answer::Returned { value, .. }) => totals.extend(value.points()),
                other => panic!("{key}: {other:?}"),
            }
        }
        totals
    })
}

/// The code of a refusal, whether the call was applied, and the words for people.
#[track_caller]
fn refused(ran: &Ran, exit: i32) -> (String, Option<bool>, String) {
    let Failed { error, applied, message, .. } =
        ran.ended(exit).unwrap_or_else(|reason| panic!("{reason}"));
    (error, applied, message)
}

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
        let (error, applied, message) = refused(&ran, 1);
        assert_eq!((error.as_str(), applied), ("key_reused", Some(false)));
        assert!(message.contains(KEY), "{message}");
    }
    assert_eq!(cluster.via("app_node1").points("player1"), 5);
    // Another player's key is another key.
    assert_eq!(cluster.via("app_node1").with_key(KEY).rewarded("player2", 6).points, 6);
}

#[test]
fn an_expired_key_is_refused_through_any_node_and_changes_nothing() {
    let mut cluster = Cluster::start(3);
    let (secret, owner) = (cluster.secret().to_owned(), cluster.node("app_node1").addr());
    let now = clock::unix_millis();
    let old = CallKey::random(now - 20 * MINUTE);
    assert_eq!(reward_with(&secret, owner, "player1", [old]), [1]);
    assert_eq!(reward_with(&secret, owner, "player1", [old]), [1], "it is remembered");

    // As many as are remembered however old they are, and of another time.
    let keys: Vec<CallKey> = (0..KEY_WINDOW_CALLS).map(|_| CallKey::random(now)).collect();
    let totals = reward_with(&secret, owner, "player1", keys.iter().copied());
    let total = 1 + i64::try_from(KEY_WINDOW_CALLS).unwrap();
    assert_eq!(totals.last(), Some(&total));

    let never_used = CallKey::random(now - 21 * MINUTE);
    let check = |cluster: &Cluster, name: &str| {
        for key in [old, never_used] {
            let ran = cluster.via(name).with_key(key.to_string()).reward("player1", 1);
            let (error, applied, message) = refused(&ran, 3);
            assert_eq!((error.as_str(), applied), ("key_expired", None), "through {name}");
            assert!(message.contains(&key.to_string()) && message.contains("player1"), "{message}");
            assert!(!message.contains("same key"), "that would not help: {message}");
        }
        let first = cluster.via(name).with_key(keys[0].to_string()).rewarded("player1", 1);
        assert_eq!(first.points, 2, "through {name}, the recorded answer");
        assert_eq!(cluster.via(name).points("player1"), total, "through {name}");
    };
    check(&cluster, "app_node1");
    check(&cluster, "app_node3");
    cluster.node_mut("app_node1").kill();
    check(&cluster, "app_node2");
    check(&cluster, "app_node3");
}

#[test]
fn a_key_of_the_future_is_refused() {
    let cluster = Cluster::start(2);
    let now = clock::unix_millis();
    let ahead = CallKey::random(now + 30 * MINUTE).to_string();
    for name in cluster.names() {
        let ran = cluster.via(&name).with_key(&ahead).reward("player1", 5);
        let (error, applied, message) = refused(&ran, 1);
        assert_eq!((error.as_str(), applied), ("key_ahead", Some(false)), "{}", ran.all());
        assert!(message.contains("clock") && message.contains(&name), "{message}");
    }
    // Clocks are never quite the same.
    let near = CallKey::random(now + MINUTE / 2).to_string();
    assert_eq!(cluster.via("app_node1").with_key(near).rewarded("player1", 5).points, 5);
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
