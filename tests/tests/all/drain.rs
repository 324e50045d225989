//! A node that leaves on purpose hands over first: nobody waits for a death to be noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::{Client, Cluster, Drained, PATIENCE, eventually};

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

/// One call after the other, each through another node, until it is told to stop. Returns how many
/// were answered.
fn load(cluster: &Cluster, number: usize, stop: Arc<AtomicBool>) -> thread::JoinHandle<i64> {
    let secret = cluster.secret().to_owned();
    let mut nodes: Vec<_> = cluster.names().iter().map(|name| cluster.node(name).addr()).collect();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("start the caller's runtime").block_on(async {
            let mut client = Client::new(&secret).expect("make a client");
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                let player = format!("player{}-{}", number, answered % 5);
                nodes.rotate_left(1);
                let total = client.reward(&nodes, &player, 1, PATIENCE).await.expect("an answer");
                assert_eq!(total, answered / 5 + 1, "{player}");
                answered += 1;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            answered
        })
    })
}

#[test]
fn a_rolling_restart_under_load_fails_no_call() {
    let mut cluster = Cluster::start(3);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4).map(|number| load(&cluster, number, stop.clone())).collect();
    for name in cluster.names() {
        cluster.node_mut(&name).terminate();
        cluster.node_mut(&name).restart();
        cluster.await_settled();
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += caller.join().expect("no call fails and no total is wrong");
    }
    assert!(calls > 100, "the load ran all the time: {calls}");
}
