//! How many keepers a player has and when an answer leaves: chosen when a cluster begins, changed
//! while it runs.

use tests::{Cluster, Failed, Listed, PATIENCE, Settings, eventually, not_tested};

/// Waits until a player has this many keepers, without a call.
#[track_caller]
fn await_keepers(cluster: &Cluster, via: &str, player: &str, keepers: usize) -> Listed {
    let via = cluster.via(via);
    eventually(PATIENCE, || {
        let seen = via.try_player(player)?;
        if seen.keepers.len() == keepers { Ok(seen) } else { Err(format!("{seen:?}")) }
    })
}

fn settings(keepers: u8, ack: &str) -> Settings {
    Settings { keepers, ack: ack.to_owned() }
}

#[test]
fn with_two_keepers_nothing_is_lost_when_owner_and_keeper_die_at_once() {
    let mut cluster = Cluster::start_with(5, &["--keepers", "2"]);
    for number in 1..=20 {
        let player = format!("player{number}");
        let answer = cluster.via("app_node1").rewarded(&player, number);
        assert_eq!((answer.points, answer.node.as_str()), (number, "app_node1"));
    }
    let before = cluster.via("app_node1").all_players();
    assert!(before.iter().all(|player| player.keepers.len() == 2), "{before:?}");

    // `kill` waits for the process to be gone, so the signals leave within a moment.
    let keeper = before[0].keepers[0].clone();
    cluster.node_mut("app_node1").kill();
    cluster.node_mut(&keeper).kill();
    let rest = cluster.names_without(&["app_node1", &keeper]);
    for (number, via) in (1..=20).zip(rest.iter().cycle()) {
        let answer = cluster.via(via).within("20s").rewarded(&format!("player{number}"), 100);
        assert_eq!((answer.points, answer.seq), (number + 100, 2), "player{number} through {via}");
    }
    let after = cluster.via(&rest[0]).all_players();
    assert!(after.iter().all(|player| player.keepers.len() == 2), "{after:?}");
}

#[test]
fn the_number_of_keepers_changes_while_players_serve() {
    let mut cluster = Cluster::start(4);
    let via = cluster.via("app_node2");
    assert_eq!(via.set(&[]), settings(1, "memory"));
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    assert_eq!(via.set(&["--keepers", "2"]), settings(2, "memory"));
    let two = await_keepers(&cluster, "app_node3", "player1", 2);
    assert_eq!(two.owner, "app_node1");
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 6);

    // More than there are nodes: as many as there are.
    assert_eq!(via.set(&["--keepers", "8"]), settings(8, "memory"));
    await_keepers(&cluster, "app_node3", "player1", 3);
    assert_eq!(cluster.via("app_node3").rewarded("player1", 1).points, 7);
    assert_eq!(cluster.via("app_node3").rewarded("player2", 1).points, 1);

    assert_eq!(via.set(&["--keepers", "1"]), settings(1, "memory"));
    let one = await_keepers(&cluster, "app_node3", "player1", 1);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 8);
    cluster.node_mut("app_node1").kill();
    let answer = cluster.via(&one.keepers[0]).rewarded("player1", 1);
    assert_eq!((answer.points, answer.seq), (9, 5));
}

#[test]
fn a_change_of_the_settings_has_reached_every_node_that_is_not_named() {
    let mut cluster = Cluster::start(3);
    for (round, ack) in ["disk", "memory"].into_iter().cycle().take(6).enumerate() {
        let names = cluster.names();
        let silent = cluster.via(&names[round % 3]).silent_after_set(&["--ack", ack]);
        for name in names.iter().filter(|name| !silent.contains(name)) {
            assert_eq!(cluster.via(name).set(&[]), settings(1, ack), "{name} in round {round}");
        }
    }

    let nodes = cluster.via("app_node1").try_nodes().unwrap();
    let stopped = nodes.iter().find(|node| !node.leader).unwrap().name.clone();
    let asked = nodes.iter().find(|node| node.leader).unwrap().name.clone();
    cluster.node_mut(&stopped).stop();
    let silent = cluster.via(&asked).silent_after_set(&["--ack", "disk"]);
    let known = cluster.via(&asked).try_nodes().unwrap();
    let down = known.iter().any(|node| node.name == stopped && node.status == "down");
    assert!(silent == [stopped.clone()] || (down && silent.is_empty()), "{silent:?}");
    cluster.node_mut(&stopped).cont();
    eventually(PATIENCE, || match cluster.via(&stopped).try_set(&[]) {
        Ok(now) if now == settings(1, "disk") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn settings_outlive_the_cluster_and_a_node_with_others_is_told() {
    let mut cluster = Cluster::start_with(3, &["--keepers", "2", "--ack", "disk"]);
    assert_eq!(cluster.via("app_node3").set(&[]), settings(2, "disk"));
    assert_eq!(cluster.via("app_node2").set(&["--ack", "memory"]), settings(2, "memory"));
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    cluster.kill_all();
    cluster.restart_all();
    for name in cluster.names() {
        assert_eq!(cluster.via(&name).set(&[]), settings(2, "memory"), "{name}");
        let log = cluster.node(&name).log();
        let told = "the cluster has --keepers 2 --ack memory, which holds";
        assert!(log.contains(told) && log.contains("host set --keepers 2 --ack disk"), "{log}");
    }
    assert_eq!(cluster.via("app_node2").within("20s").points("player1"), 5);
}

#[test]
fn calls_that_the_disks_have_acknowledged_are_there_after_all_nodes_were_killed() {
    let mut cluster = Cluster::start_with(3, &["--ack", "disk"]);
    for number in 1..=10 {
        assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, number);
    }
    // Live there and back: what was only in memory before is on disk with the first change.
    assert_eq!(cluster.via("app_node2").set(&["--ack", "memory"]), settings(1, "memory"));
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 11);
    assert_eq!(cluster.via("app_node2").set(&["--ack", "disk"]), settings(1, "disk"));
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 12);
    cluster.kill_all();
    cluster.restart_all();
    assert_eq!(cluster.via("app_node2").within("20s").rewarded("player1", 1).points, 13);
}

/// Ends all machines at once, as far as programs can see that. False where that cannot be done.
#[track_caller]
fn reboot_all(cluster: &mut Cluster) -> bool {
    cluster.kill_all();
    for name in cluster.names() {
        if let Err(obstacle) = cluster.node_mut(&name).pretend_reboot() {
            not_tested(&format!("no machine can look rebooted here: {obstacle}"));
            return false;
        }
    }
    cluster.restart_all();
    true
}

#[test]
fn only_calls_that_the_disks_have_acknowledged_survive_the_reboot_of_all_machines() {
    let mut cluster = Cluster::start_with(3, &["--ack", "disk"]);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    if !reboot_all(&mut cluster) {
        return;
    }
    assert_eq!(cluster.via("app_node2").within("20s").rewarded("player1", 1).points, 6);

    // What may be gone is never taken for what is there.
    assert_eq!(cluster.via("app_node2").set(&["--ack", "memory"]), settings(1, "memory"));
    assert_eq!(cluster.via("app_node2").rewarded("player1", 1).points, 7);
    assert!(reboot_all(&mut cluster));
    let refused: Failed =
        cluster.via("app_node3").within("8s").reward("player1", 1).ended(1).unwrap();
    assert_eq!((refused.error.as_str(), refused.applied), ("unavailable", Some(false)));
    assert!(refused.message.contains("not trusted"), "{}", refused.message);
}
