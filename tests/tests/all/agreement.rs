//! Any node may be asked, and the answer does not depend on which.

use tests::Cluster;

#[test]
fn every_node_gives_the_same_running_total() {
    let cluster = Cluster::start(3);
    let names = cluster.names();
    let first = cluster.via(&names[0]).rewarded("player1", 5);
    assert_eq!((first.points, first.seq), (5, 1));
    assert_eq!(first.node, names[0], "a player starts on the node that was asked");

    let mut expected = 5;
    for (reward, name) in [7, -20, 5].into_iter().zip(names.iter().cycle().skip(1)) {
        expected += reward;
        let answer = cluster.via(name).rewarded("player1", reward);
        assert_eq!(answer.points, expected, "through {name}");
        assert_eq!(answer.node, first.node, "through {name}");
    }
    for name in &names {
        assert_eq!(cluster.via(name).points("player1"), expected, "through {name}");
    }
}

#[test]
fn people_read_the_total_and_nothing_else() {
    let cluster = Cluster::start(2);
    for name in cluster.names() {
        let via = cluster.via(&name).as_text();
        let player = format!("player of {name}");
        let ran = via.reward(&player, 5);
        assert_eq!((ran.code(), ran.stdout.as_str()), (Some(0), "5\n"), "{}", ran.all());
    }
}

#[test]
fn a_player_that_nobody_rewarded_has_no_points() {
    let cluster = Cluster::start(2);
    assert_eq!(cluster.via("app_node2").points("player1"), 0);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
}

#[test]
fn players_lists_what_runs_here_and_all() {
    let cluster = Cluster::start(3);
    let started = [
        ("player1", "app_node1", vec![1, 2]),
        ("player2", "app_node2", vec![10]),
        ("player3", "app_node3", vec![100, 200, 300]),
        ("player4", "app_node1", vec![-7]),
    ];
    for (player, name, rewards) in &started {
        for reward in rewards {
            assert_eq!(&cluster.via(name).rewarded(player, reward).node, name);
        }
    }
    for name in cluster.names() {
        let here: Vec<_> = cluster
            .via(&name)
            .players()
            .into_iter()
            .map(|listed| (listed.player, listed.owner, listed.points))
            .collect();
        let expected: Vec<_> = started
            .iter()
            .filter(|(_, owner, _)| *owner == name)
            .map(|(player, owner, rewards)| {
                (player.to_string(), owner.to_string(), Some(rewards.iter().sum()))
            })
            .collect();
        assert_eq!(here, expected, "on {name}");

        let all = cluster.via(&name).all_players();
        assert_eq!(all.len(), started.len(), "through {name}: {all:#?}");
        for (listed, (player, owner, rewards)) in all.iter().zip(&started) {
            assert_eq!((listed.player.as_str(), listed.owner.as_str()), (*player, *owner));
            assert!(listed.running && listed.generation >= 1, "{listed:?}");
            assert_eq!(listed.seq, Some(rewards.len() as u64), "{listed:?}");
            assert_eq!(listed.points, Some(rewards.iter().sum()), "{listed:?}");
            assert_eq!(listed.keepers.len(), 1, "{listed:?}");
            assert_ne!(&listed.keepers[0], owner, "a keeper is another node");
        }
    }
}
