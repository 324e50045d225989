//! Where the rules stop, a person decides: what may be stale is never restored by itself.

use tests::{Cluster, Failed, Forgotten, Returned, not_tested};

/// Nodes and a player with 5 points, owned by `app_node1`. Returns its keeper and another node.
#[track_caller]
fn place(nodes: usize) -> (Cluster, String, String) {
    let mut cluster = Cluster::start(nodes);
    cluster.await_settled();
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).node, "app_node1");
    let keeper = cluster.via("app_node1").player("player1").keepers.remove(0);
    let third = cluster.names_without(&["app_node1", &keeper]).remove(0);
    (cluster, keeper, third)
}

/// Kills the owner and the keeper at once.
#[track_caller]
fn kill_both(cluster: &mut Cluster, keeper: &str) {
    cluster.node_mut("app_node1").kill();
    cluster.node_mut(keeper).kill();
}

#[test]
fn either_disk_brings_a_player_back_after_owner_and_keeper_died_at_once() {
    for owner_returns in [true, false] {
        let (mut cluster, keeper, third) = place(3);
        kill_both(&mut cluster, &keeper);
        let refused = cluster.via(&third).within("2s").reward("player1", 100);
        assert_ne!(refused.code(), Some(0), "no majority and no copy: {}", refused.all());
        // No machine has rebooted, so each copy is whole: one node alone makes the majority.
        let back = if owner_returns { "app_node1" } else { &keeper };
        cluster.node_mut(back).restart();
        assert_eq!(cluster.via(&third).within("20s").rewarded("player1", 1).points, 6, "{back}");
    }
}

#[test]
fn a_player_whose_copies_are_all_away_is_refused_and_returns_with_one() {
    let (mut cluster, keeper, third) = place(5);
    kill_both(&mut cluster, &keeper);
    // Three voters of five decide, but none of them has a copy.
    // The first caller may have been on the way to the owner when that died.
    assert_ne!(cluster.via(&third).within("5s").reward("player1", 100).code(), Some(0));
    let refused = cluster.via(&third).within("8s").reward("player1", 100);
    let failed: Failed = refused.ended(1).unwrap();
    assert_eq!((failed.error.as_str(), failed.applied), ("unavailable", Some(false)));
    for holder in ["app_node1", keeper.as_str()] {
        assert!(failed.message.contains(holder), "it names where the copies are: {failed:?}");
    }
    cluster.node_mut(&keeper).restart();
    assert_eq!(cluster.via(&third).within("20s").rewarded("player1", 1).points, 6);
}

#[test]
fn a_copy_that_may_be_stale_is_restored_only_when_a_person_accepts_its_position() {
    let (mut cluster, keeper, third) = place(3);
    kill_both(&mut cluster, &keeper);
    for name in ["app_node1", &keeper] {
        if let Err(obstacle) = cluster.node_mut(name).pretend_reboot() {
            return not_tested(&format!("no machine can look rebooted here: {obstacle}"));
        }
        cluster.node_mut(name).restart();
    }
    cluster.await_settled();

    let via = cluster.via(&third).within("8s");
    let failed: Failed = via.reward("player1", 100).ended(1).unwrap();
    assert_eq!(failed.error, "unavailable");
    assert!(failed.message.contains("not trusted"), "{}", failed.message);
    assert!(failed.message.contains("at seq 1"), "it names the position: {}", failed.message);

    let wrong: Failed = via.recover("player1", &keeper, 7).ended(1).unwrap();
    assert_eq!(wrong.error, "unavailable", "another position was accepted: {}", wrong.message);
    let elsewhere: Failed = via.recover("player1", &third, 1).ended(1).unwrap();
    assert_eq!(elsewhere.error, "unavailable", "it has no copy: {}", elsewhere.message);
    let recovered: Returned = via.recover("player1", &keeper, 1).ended(0).unwrap();
    assert_eq!((recovered.points, recovered.seq), (5, 1));
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 6);

    let needless: Failed = via.recover("player1", &keeper, 2).ended(1).unwrap();
    assert_eq!((needless.error.as_str(), needless.applied), ("available", Some(false)));
}

#[test]
fn a_forgotten_player_begins_anew_and_its_old_copy_never_returns() {
    let (mut cluster, keeper, third) = place(5);
    kill_both(&mut cluster, &keeper);
    let via = cluster.via(&third).within("8s");
    assert_ne!(via.clone().within("5s").reward("player1", 100).code(), Some(0));
    let failed: Failed = via.reward("player1", 100).ended(1).unwrap();
    assert_eq!(failed.error, "unavailable");
    let unread: Forgotten = via.forget("player1").ended(0).unwrap();
    assert_eq!(unread, Forgotten { forgotten: true, seq: None });
    assert!(cluster.via(&third).try_player("player1").is_err(), "it is not listed");
    assert_eq!(cluster.via(&third).rewarded("player1", 2).points, 2);

    for name in ["app_node1", &keeper] {
        cluster.node_mut(name).restart();
    }
    assert_eq!(cluster.via(&keeper).rewarded("player1", 1).points, 3);
    // A player that lives is forgotten just as well, with its position.
    let read: Forgotten = cluster.via(&keeper).forget("player1").ended(0).unwrap();
    assert_eq!(read.seq, Some(2));
    let again: Forgotten = cluster.via(&third).forget("player1").ended(0).unwrap();
    assert_eq!(again.seq, None, "there is nothing left to forget");
    for (name, points) in cluster.names().iter().zip(1..) {
        assert_eq!(cluster.via(name).rewarded("player1", 1).points, points);
    }
}
