//! A node that leaves on purpose hands over first: nobody waits for a death to be noticed.

use tests::measure::rolling;
use tests::{Cluster, Drained, PATIENCE, eventually};

#[test]
fn a_drained_node_leaves_nothing_behind_and_ends_in_good_order() {
    let mut cluster = Cluster::start(3);
    for n in 0..6 {
        let node = format!("app_node{}", 1 + n % 3);
        cluster.via(&node).rewarded(&format!("player{n}"), 5);
    }
    let report: Drained = cluster.via("app_node1").drain().ended(0).unwrap();
    assert_eq!((report.node.as_str(), &report.left), ("app_node1", &None));
    assert!(report.players >= 2, "it owned at least those that it was asked for: {report:?}");
    assert!(cluster.node_mut("app_node1").await_end().success());
    for n in 0..6 {
        let player = format!("player{n}");
        let seen = cluster.via("app_node2").player(&player);
        let holders = [&seen.owner, &seen.keepers[0]];
        assert!(!holders.contains(&&"app_node1".to_owned()), "{seen:?}");
        assert_eq!(cluster.via("app_node3").rewarded(&player, 1).points, 6);
    }
    // Nobody took over after a death: there was none.
    let logs = [cluster.node("app_node2").log(), cluster.node("app_node3").log()];
    assert!(!logs.iter().any(|log| log.contains("taken for dead")), "{logs:?}");
}

#[test]
fn a_node_that_others_cannot_replace_says_what_stays() {
    let mut cluster = Cluster::start(2);
    cluster.via("app_node1").rewarded("player1", 5);
    let report: Drained = cluster.via("app_node1").drain().ended(1).unwrap();
    assert!(report.left.is_some_and(|left| left.contains("only one other node")));
    assert!(cluster.node_mut("app_node1").await_end().success());
    // It comes back, and so does the player.
    cluster.node_mut("app_node1").restart();
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 6);
}

#[test]
fn players_of_a_dead_node_get_their_copies_again_without_a_call() {
    let mut cluster = Cluster::start(3);
    for n in 0..20 {
        cluster.via("app_node1").rewarded(&format!("player{n}"), 5);
    }
    cluster.node_mut("app_node1").kill();
    eventually(PATIENCE, || {
        for n in 0..20 {
            let seen = cluster.via("app_node2").try_player(&format!("player{n}"))?;
            let holders = [&seen.owner, &seen.keepers[0]];
            if holders.iter().any(|holder| *holder == "app_node1") {
                return Err(format!("{seen:?}"));
            }
        }
        Ok(())
    });
    assert_eq!(cluster.via("app_node3").rewarded("player7", 1).points, 6);
}

#[test]
fn a_rolling_restart_under_load_fails_no_call() {
    let rolling = rolling(1).expect("every call is answered and every total is right");
    assert_eq!(rolling.restarts, 3);
    assert!(rolling.calls > 100, "the load ran all the time: {rolling}");
}

#[test]
fn a_player_that_was_handed_over_has_two_copies_again_without_a_call() {
    let mut cluster = Cluster::start(4);
    cluster.via("app_node1").rewarded("player1", 5);
    let keeper = cluster.via("app_node1").player("player1").keepers.remove(0);
    cluster.node_mut("app_node1").terminate();
    let witness = cluster.names_without(&["app_node1", &keeper]).remove(0);
    // Begun, handed over, claimed, and named with a copy of its new owner's own.
    let with_own = 4;
    eventually(PATIENCE, || {
        let seen = cluster.via(&witness).try_player("player1")?;
        // A dead voter must be replaced, too, before another node may die.
        let nodes = cluster.via(&witness).try_nodes()?;
        let dead_voter = nodes.iter().any(|node| node.voter && node.status != "up");
        if seen.generation >= with_own && !dead_voter {
            Ok(())
        } else {
            Err(format!("{seen:?}, {nodes:?}"))
        }
    });
    cluster.node_mut(&keeper).kill();
    assert_eq!(cluster.via(&witness).within("20s").rewarded("player1", 1).points, 6);
}
