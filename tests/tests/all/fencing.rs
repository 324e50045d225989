//! An owner that stands still and wakes again can execute, but never acknowledge.

use std::time::Duration;

use tests::{Cluster, Failed, PATIENCE, Ran, Returned, eventually};

/// The promise is two seconds. A second more is for this test alone: it measures a whole one-shot
/// process of a debug build, on few cores that another cluster shares. `measure` takes the time
/// without that noise.
const TAKEOVER_MAX: Duration = Duration::from_secs(2 + 1);

#[test]
fn a_stopped_owner_is_fenced() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).node, "app_node1");
    let before = cluster.via("app_node1").player("player1");

    cluster.node_mut("app_node1").stop();
    let takeover = cluster.via("app_node2").reward("player1", 3);
    let answer: Returned = takeover.done().unwrap();
    assert_eq!((answer.points, answer.seq), (8, 2));
    eprintln!("taken over in {:?}", takeover.elapsed);
    assert!(takeover.elapsed < TAKEOVER_MAX, "taken over in {:?}", takeover.elapsed);
    let after = cluster.via("app_node2").player("player1");
    assert_ne!(after.owner, "app_node1");
    assert!(after.generation > before.generation, "{before:?} then {after:?}");
    assert_eq!(cluster.via("app_node3").rewarded("player1", 1).points, 9);

    cluster.node_mut("app_node1").cont();
    let through_old = cluster.via("app_node1").rewarded("player1", 1);
    assert_eq!((through_old.points, through_old.seq), (10, 4));
    assert_eq!(through_old.node, after.owner, "the old owner forwards");
    let via = cluster.via("app_node1");
    eventually(PATIENCE, || {
        let here = via.try_players()?;
        let listed = here.iter().any(|listed| listed.player == "player1");
        if listed { Err(format!("the old owner lists it: {here:?}")) } else { Ok(()) }
    });
    cluster.await_settled();
    assert_eq!(cluster.via("app_node3").rewarded("player1", 1).points, 11);
}

#[test]
fn a_call_that_waits_in_a_stopped_owner_is_not_answered_from_its_old_state() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).node, "app_node1");
    cluster.node_mut("app_node1").stop();
    let waiting = cluster.via("app_node1").within("20s").start_reward("player1", 100);
    assert_eq!(cluster.via("app_node2").rewarded("player1", 3).points, 8);
    cluster.node_mut("app_node1").cont();

    let expected = 8 + settle(&cluster, &waiting.finish());
    for name in cluster.names() {
        assert_eq!(cluster.via(&name).points("player1"), expected, "through {name}");
    }
}

/// Finds out what a call of 100 points did, as its caller would, and returns the points it added.
#[track_caller]
fn settle(cluster: &Cluster, ran: &Ran) -> i64 {
    match ran.code() {
        Some(0) => assert_eq!(ran.done::<Returned>().expect("an answer").points, 108),
        Some(1) => return 0,
        Some(3) => {
            let failed: Failed = ran.ended(3).expect("a failed call");
            assert_eq!(failed.applied, None, "{}", ran.all());
            let retry = cluster.via("app_node3").with_key(failed.key.expect("a key to retry with"));
            assert_eq!(retry.rewarded("player1", 100).points, 108);
        }
        _ => panic!("{}", ran.all()),
    }
    100
}

#[test]
fn a_read_through_a_woken_owner_is_not_old() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).node, "app_node1");
    cluster.node_mut("app_node1").stop();
    assert_eq!(cluster.via("app_node3").rewarded("player1", 3).points, 8);
    cluster.node_mut("app_node1").cont();
    assert_eq!(cluster.via("app_node1").points("player1"), 8);
}

#[test]
fn a_stopped_keeper_holds_nobody_up_for_long() {
    let mut cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).points, 5);
    let keeper = via.player("player1").keepers.remove(0);
    cluster.node_mut(&keeper).stop();
    assert_eq!(via.rewarded("player1", 3).points, 8);
    assert!(!via.player("player1").keepers.contains(&keeper));
    cluster.node_mut(&keeper).cont();
    assert_eq!(cluster.via(&keeper).rewarded("player1", 1).points, 9);
}
