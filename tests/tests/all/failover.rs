//! A node that dies loses nothing that was acknowledged.

use tests::{Cluster, Failed, Listed, PATIENCE, eventually};

/// A player with 5 points on `app_node1`, its keeper, and the other nodes.
struct Placed {
    cluster: Cluster,
    before: Listed,
    keeper: String,
    others: Vec<String>,
}

#[track_caller]
fn place(nodes: usize) -> Placed {
    let cluster = Cluster::start(nodes);
    let answer = cluster.via("app_node1").rewarded("player1", 5);
    assert_eq!((answer.points, answer.node.as_str()), (5, "app_node1"));
    let before = cluster.via("app_node1").player("player1");
    let [keeper] = &before.keepers[..] else { panic!("one keeper: {before:?}") };
    let keeper = keeper.clone();
    let others = cluster.names_without(&["app_node1", &keeper]);
    Placed { cluster, before, keeper, others }
}

#[test]
fn an_acknowledged_call_survives_the_death_of_its_owner_through_its_keeper() {
    let Placed { mut cluster, before, keeper, others } = place(3);
    cluster.node_mut("app_node1").kill();
    let answer = cluster.via(&keeper).rewarded("player1", 3);
    assert_eq!((answer.points, answer.seq), (8, 2));
    assert_eq!(answer.node, keeper, "it is restored where its state is");

    let after = cluster.via(&keeper).player("player1");
    assert_eq!(after.owner, keeper);
    assert_eq!(after.keepers, others, "the copy moves to another node");
    assert!(after.generation > before.generation, "{before:?} then {after:?}");
    assert_eq!(cluster.via(&others[0]).rewarded("player1", 1).points, 9);
}

#[test]
fn an_acknowledged_call_survives_the_death_of_its_owner_through_a_third_node() {
    let Placed { mut cluster, before, keeper, others } = place(3);
    let third = &others[0];
    cluster.node_mut("app_node1").kill();
    let answer = cluster.via(third).rewarded("player1", 3);
    assert_eq!((answer.points, answer.seq), (8, 2));
    assert_eq!(&answer.node, third, "it starts on the node that was asked");

    let after = cluster.via(third).player("player1");
    assert_eq!((&after.owner, &after.keepers), (third, &vec![keeper.clone()]));
    assert!(after.generation > before.generation, "{before:?} then {after:?}");
    assert_eq!(cluster.via(&keeper).rewarded("player1", 1).points, 9);
}

#[test]
fn a_caller_with_two_nodes_does_not_notice_that_one_is_dead() {
    let Placed { mut cluster, keeper, .. } = place(3);
    cluster.node_mut("app_node1").kill();
    let via = cluster.via("app_node1").or(&cluster.via(&keeper));
    assert_eq!(via.rewarded("player1", 3).points, 8);
}

/// Kills the keeper and waits, without any call, until another one holds the player.
#[track_caller]
fn replace_keeper(cluster: &mut Cluster, before: &Listed) -> Listed {
    let keeper = &before.keepers[0];
    cluster.node_mut(keeper).kill();
    let via = cluster.via(&before.owner);
    let after = eventually(PATIENCE, || {
        let seen = via.try_player("player1")?;
        if seen.keepers.contains(keeper) { Err(format!("{seen:?}")) } else { Ok(seen) }
    });
    assert_eq!(after.owner, before.owner, "the player stays");
    assert_eq!(after.keepers.len(), 1, "it is never without a copy: {after:?}");
    assert!(after.generation > before.generation, "{before:?} then {after:?}");
    after
}

#[test]
fn a_dead_keeper_is_replaced_without_a_call() {
    let Placed { mut cluster, before, keeper, .. } = place(4);
    let after = replace_keeper(&mut cluster, &before);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 3).points, 8);

    // Three of four nodes can lose one more once the directory's voters are all alive.
    eventually(PATIENCE, || {
        let nodes = via.try_nodes()?;
        let dead = nodes.iter().any(|node| node.voter && node.status != "up");
        if dead { Err(format!("a dead node votes: {nodes:?}")) } else { Ok(()) }
    });
    cluster.node_mut("app_node1").kill();
    let rest = cluster.names_without(&["app_node1", &keeper]);
    assert!(rest.contains(&after.keepers[0]), "{after:?}");
    for (name, expected) in rest.iter().zip([9, 10]) {
        assert_eq!(cluster.via(name).rewarded("player1", 1).points, expected, "through {name}");
    }
}

#[test]
fn a_node_without_a_majority_refuses_and_forgets_nothing() {
    let Placed { mut cluster, before, keeper, others } = place(3);
    let last = &others[0];
    let after = replace_keeper(&mut cluster, &before);
    assert_eq!(&after.keepers[0], last);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 3).points, 8);
    cluster.node_mut("app_node1").kill();

    // It holds the state, but cannot know that nobody else owns the player. It says "unknown" if it
    // had forwarded the call before it noticed the owner's death, for then it cannot know more.
    let refused = cluster.via(last).within("3s").reward("player1", 100);
    let (code, applied) = match refused.code() {
        Some(3) => (3, None),
        _ => (1, Some(false)),
    };
    let failed: Failed = refused.ended(code).unwrap();
    assert_eq!(failed.applied, applied, "{}", refused.all());
    assert!(!failed.message.is_empty(), "{}", refused.all());

    // The former keeper returns with a copy that is too old to count.
    cluster.node_mut(&keeper).restart();
    assert_eq!(cluster.via(last).within("20s").rewarded("player1", 1).points, 9);
    assert_eq!(cluster.via(&keeper).rewarded("player1", 1).points, 10);
}
