//! Nodes come, go and come back by themselves.

use tests::{Cluster, Failed, PATIENCE, eventually};

#[test]
fn one_node_alone_refuses() {
    let mut cluster = Cluster::start(1);
    let refused = cluster.via("app_node1").reward("player1", 5);
    let failed: Failed = refused.ended(1).unwrap();
    assert_eq!((failed.error.as_str(), failed.applied), ("single_node", Some(false)));
    assert!(failed.message.contains("app_node1"), "{}", failed.message);

    let text = cluster.via("app_node1").as_text().reward("player1", 5);
    assert_eq!((text.code(), text.stdout.as_str()), (Some(1), ""), "{}", text.all());
    assert_eq!(text.stderr.lines().count(), 1, "{}", text.all());
    assert!(text.stderr.contains("single_node"), "{}", text.all());

    let second = cluster.add_node();
    for (name, expected) in [("app_node1", 5), (second.as_str(), 10)] {
        assert_eq!(cluster.via(name).rewarded("player1", 5).points, expected, "through {name}");
    }
}

#[test]
fn a_player_whose_node_is_left_alone_refuses_and_goes_on_when_another_comes() {
    let mut cluster = Cluster::start(2);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    cluster.node_mut("app_node2").kill();
    let refused = cluster.via("app_node1").within("5s").reward("player1", 100);
    assert_ne!(refused.code(), Some(0), "nothing may be acknowledged: {}", refused.all());
    let failed: Failed = refused.ended(refused.code().unwrap()).unwrap();
    assert_ne!(failed.applied, Some(true), "{}", refused.all());

    cluster.node_mut("app_node2").restart();
    // A call of unknown outcome is settled by its key, as a caller would do it.
    let key = failed.key.unwrap();
    let settled = cluster.via("app_node1").with_key(key).within("20s").rewarded("player1", 100);
    assert_eq!(settled.points, 105);
    assert_eq!(cluster.via("app_node2").rewarded("player1", 1).points, 106);
}

#[test]
fn a_killed_node_rejoins_with_the_same_command() {
    let mut cluster = Cluster::start(3);
    let names = cluster.names();
    for (index, name) in names.iter().enumerate() {
        let player = format!("player{index}");
        let other = &names[(index + 1) % names.len()];
        assert_eq!(&cluster.via(name).rewarded(&player, 5).node, name);

        cluster.node_mut(name).kill();
        assert_eq!(cluster.via(other).rewarded(&player, 5).points, 10, "without {name}");
        cluster.node_mut(name).restart();
        cluster.await_settled();
        let again = cluster.via(other).try_nodes().unwrap();
        let again = again.iter().find(|node| &node.name == name).unwrap();
        assert_eq!(again.incarnation, 2, "{again:?}");
        assert_eq!(cluster.via(name).rewarded(&player, 5).points, 15, "through {name}");
        let new_player = format!("new{index}");
        assert_eq!(&cluster.via(name).rewarded(&new_player, 1).node, name, "it serves again");
    }
}

#[test]
fn a_node_that_ends_in_good_order_leaves_its_players_to_the_others() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).node, "app_node1");
    cluster.node_mut("app_node1").terminate();
    assert_eq!(cluster.via("app_node2").rewarded("player1", 3).points, 8);
    cluster.node_mut("app_node1").restart();
    assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, 9);
}

#[test]
fn an_unreachable_member_is_retried_with_a_message() {
    let mut cluster = Cluster::start(2);
    let first = cluster.node("app_node1").addr().to_string();
    cluster.kill_all();
    // The second finds its folder, but alone it has no majority; the first is not there yet.
    cluster.node_mut("app_node2").spawn();
    eventually(PATIENCE, || {
        let log = cluster.node("app_node2").log();
        if log.contains(&first) { Ok(()) } else { Err(format!("no word of {first} in {log}")) }
    });
    cluster.node_mut("app_node1").restart();
    cluster.node_mut("app_node2").await_ready();
    cluster.await_settled();
    assert_eq!(cluster.via("app_node2").rewarded("player1", 5).points, 5);
}
