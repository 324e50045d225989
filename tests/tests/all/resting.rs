//! A player that nobody calls rests, whoever calls it next does not notice, and it has its copies
//! all the same.

use tests::{Cluster, Listed, Measured, PATIENCE, eventually};

/// Rest as soon as a test can see it.
const SOON: [&str; 2] = ["--idle-after", "100ms"];

/// Waits until a player rests that is as this says.
#[track_caller]
fn await_rest(cluster: &Cluster, via: &str, fits: impl Fn(&Listed) -> bool) -> Listed {
    let via = cluster.via(via);
    eventually(PATIENCE, || {
        let seen = via.try_player("player1")?;
        if !seen.running && fits(&seen) { Ok(seen) } else { Err(format!("{seen:?}")) }
    })
}

#[test]
fn a_player_that_rested_goes_on_where_it_was() {
    let key = "018bcfe5-6800-7001-8203-0405060708ff";
    let cluster = Cluster::start_with(3, &SOON);
    let first = cluster.via("app_node1").with_key(key).rewarded("player1", 5);
    assert_eq!(first.points, 5);
    let before = await_rest(&cluster, "app_node2", |_| true);
    assert!(cluster.via("app_node1").players().is_empty(), "none runs");

    let again = cluster.via("app_node3").with_key(key).rewarded("player1", 5);
    assert_eq!((again.points, again.seq), (5, 1), "its keys rest with it");
    await_rest(&cluster, "app_node2", |_| true);
    assert_eq!(cluster.via("app_node2").rewarded("player1", 2).points, 7);
    let after = await_rest(&cluster, "app_node2", |_| true);
    assert_eq!(after.generation, before.generation, "nothing was asked of the directory");
    assert_eq!((after.owner, after.keepers), (before.owner, before.keepers));
}

#[test]
fn a_player_that_rests_gets_another_keeper_without_a_call() {
    let mut cluster = Cluster::start_with(3, &SOON);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    let before = await_rest(&cluster, "app_node1", |_| true);
    cluster.node_mut(&before.keepers[0]).kill();
    let after = await_rest(&cluster, "app_node1", |seen| seen.keepers != before.keepers);
    assert_eq!((after.owner.as_str(), after.keepers.len()), ("app_node1", 1));

    // Whoever has the new copy has all of it.
    cluster.node_mut("app_node1").kill();
    cluster.node_mut(&before.keepers[0]).restart();
    let answer = cluster.via(&after.keepers[0]).rewarded("player1", 2);
    assert_eq!((answer.points, answer.seq), (7, 2));
}

#[test]
fn a_player_that_rests_survives_its_owner() {
    let mut cluster = Cluster::start_with(3, &SOON);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    let before = await_rest(&cluster, "app_node2", |_| true);
    cluster.node_mut("app_node1").kill();
    let after = await_rest(&cluster, "app_node2", |seen| seen.owner != before.owner);
    assert!(!after.keepers.contains(&before.owner), "{after:?}");
    assert_eq!(cluster.via("app_node2").rewarded("player1", 2).points, 7);
}

#[test]
fn a_keeper_that_comes_back_in_doubt_is_seen_to_without_a_call() {
    // Of two nodes only the first one votes: the other one may die.
    let mut cluster = Cluster::start_with(2, &SOON);
    assert_eq!(cluster.via("app_node2").rewarded("player1", 5).node, "app_node2");
    await_rest(&cluster, "app_node2", |_| true);
    // What its machine had not synced may be gone, so the keeper does not trust its copies.
    let keeper = cluster.node_mut("app_node1");
    keeper.kill();
    keeper.pretend_reboot().expect("give the process another boot id");
    keeper.restart();
    eventually(PATIENCE, || {
        let log = cluster.node("app_node2").log();
        if log.contains("saw to players") { Ok(()) } else { Err(log) }
    });
    await_rest(&cluster, "app_node2", |_| true);

    // Nobody has called it, and the keeper's copy is as good as its owner's was.
    cluster.node_mut("app_node2").kill();
    cluster.add_node();
    let answer = cluster.via("app_node3").within("20s").rewarded("player1", 2);
    assert_eq!((answer.points, answer.seq), (7, 2));
}

#[test]
fn a_node_that_leaves_hands_over_players_that_rest() {
    let mut cluster = Cluster::start_with(3, &SOON);
    for number in 1..=20 {
        let answer = cluster.via("app_node1").rewarded(&format!("player{number}"), number);
        assert_eq!(answer.node, "app_node1");
    }
    await_rest(&cluster, "app_node2", |_| true);
    cluster.node_mut("app_node1").terminate();
    let owners: Vec<String> =
        cluster.via("app_node2").all_players().into_iter().map(|seen| seen.owner).collect();
    assert!(!owners.contains(&"app_node1".to_owned()), "{owners:?}");
    for number in 1..=20 {
        assert_eq!(cluster.via("app_node3").points(&format!("player{number}")), number);
    }
}

#[test]
fn more_players_than_instances_are_served_in_turn() {
    const ROOM: usize = 4;
    let cluster = Cluster::start_with(2, &["--instances-max", "4"]);
    let via = cluster.via("app_node1");
    for round in 1..=3 {
        for number in 1..=20 {
            let player = format!("player{number}");
            assert_eq!(via.rewarded(&player, number).points, round * number, "{player}");
        }
    }
    // Whoever is asked to rest does so a moment later.
    eventually(PATIENCE, || {
        let running = via.try_players()?.len();
        if running <= ROOM { Ok(()) } else { Err(format!("{running} run")) }
    });
    assert_eq!(via.all_players().len(), 20);
}

#[test]
fn calls_that_meet_a_player_on_its_way_to_rest_are_answered() {
    const ROOM: usize = 8;
    let cluster = Cluster::start_with(2, &["--instances-max", "8"]);
    let via = cluster.via("app_node1");
    let load = via.start_bench(&["--players", "100", "--callers", "40", "--seconds", "2"]);
    let measured: Measured = load.finish().done().expect("a measurement");
    assert_eq!(measured.failed, 0, "{measured:?}");
    assert!(measured.calls > 100, "{measured:?}");
    // How many run meanwhile is for the machine to say. When they are gone, others rest as ever.
    for number in 1..=3 * ROOM {
        assert_eq!(via.rewarded(&format!("player{number}"), 1).points, 1);
    }
    eventually(PATIENCE, || {
        let running = via.try_players()?.len();
        if running <= ROOM { Ok(()) } else { Err(format!("{running} run")) }
    });
}
