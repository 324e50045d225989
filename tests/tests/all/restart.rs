//! A whole cluster that was stopped comes back with every player.

use tests::{Cluster, PATIENCE, eventually};

const PLAYERS: i64 = 20;

/// Rewards twenty players over three nodes.
#[track_caller]
fn fill(cluster: &Cluster) {
    let names = cluster.names();
    for (number, name) in (1..=PLAYERS).zip(names.iter().cycle()) {
        let player = format!("player{number}");
        assert_eq!(cluster.via(name).rewarded(&player, number).points, number);
        assert_eq!(cluster.via(name).rewarded(&player, 1000).points, number + 1000);
    }
}

/// Checks all of them, each through another node than before, and that they go on.
#[track_caller]
fn check(cluster: &Cluster) {
    let names = cluster.names();
    for (number, name) in (1..=PLAYERS).zip(names.iter().cycle().skip(1)) {
        let (player, via) = (format!("player{number}"), cluster.via(name).within("20s"));
        assert_eq!(via.points(&player), number + 1000, "{player} through {name}");
        let next = via.rewarded(&player, 1);
        assert_eq!((next.points, next.seq), (number + 1001, 3), "{player} through {name}");
    }
    assert_eq!(cluster.via(&names[0]).all_players().len() as i64, PLAYERS);
}

#[test]
fn a_cluster_that_was_stopped_has_every_player() {
    let mut cluster = Cluster::start(3);
    fill(&cluster);
    cluster.terminate_all();
    cluster.restart_all();
    check(&cluster);
}

#[test]
fn a_cluster_that_was_killed_has_every_player() {
    let mut cluster = Cluster::start(3);
    fill(&cluster);
    cluster.kill_all();
    cluster.restart_all();
    check(&cluster);
}

#[test]
fn a_cluster_that_is_stopped_node_by_node_has_every_player() {
    let mut cluster = Cluster::start(3);
    fill(&cluster);
    for name in cluster.names() {
        cluster.node_mut(&name).terminate();
    }
    cluster.restart_all();
    check(&cluster);
}

/// Nobody's vote is taken away because its node has not said yet that it is back. Otherwise the
/// first one that is back would decide alone, and if the leader fell in the middle of the change,
/// nobody could lead ever again.
#[test]
fn nodes_that_come_back_after_all_were_stopped_find_their_votes() {
    let mut cluster = Cluster::start(3);
    fill(&cluster);
    cluster.terminate_all();
    let first = ["app_node2", "app_node3"];
    first.iter().for_each(|name| cluster.node_mut(name).spawn());
    first.iter().for_each(|name| cluster.node_mut(name).await_ready());
    eventually(PATIENCE, || {
        let nodes = cluster.via(first[0]).try_nodes()?;
        let up = nodes.iter().filter(|node| node.status == "up").count();
        let leads = nodes.iter().any(|node| node.leader);
        if up == 2 && leads { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    for name in first {
        let nodes = cluster.via(name).try_nodes().unwrap();
        assert!(nodes.iter().all(|node| node.voter), "{name}: {nodes:?}");
    }
    cluster.node_mut("app_node1").restart();
    cluster.await_settled();
    check(&cluster);
}
