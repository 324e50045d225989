//! A whole cluster that was stopped comes back with every player.

use tests::Cluster;

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
