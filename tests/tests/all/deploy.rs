//! Other code comes to players while they play, and goes back.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use host::guest::built_in;
use host::limits::COMPONENT_BYTES_MAX;
use tests::{
    Cluster, Deployed, Failed, Flaw, Measured, PATIENCE, Trapped, Via, doubling_module, eventually,
    migrating_module, padded, renamed,
};

/// Writes code to a file of the cluster.
fn file(cluster: &Cluster, name: &str, code: &[u8]) -> PathBuf {
    let file = cluster.folder().join(name);
    fs::write(&file, code).expect("write the code");
    file
}

/// Rewards `player1` to `player{count}` with their numbers, and returns the cluster's way.
#[track_caller]
fn with_players(cluster: &Cluster, count: i64) -> Via {
    let via = cluster.via("app_node1");
    for number in 1..=count {
        assert_eq!(via.rewarded(&format!("player{number}"), number).points, number);
    }
    via
}

#[track_caller]
fn expect_points(via: &Via, count: i64) {
    for number in 1..=count {
        assert_eq!(via.points(&format!("player{number}")), number);
    }
}

/// Returns what became of a deployment, once nobody is on the way any more.
#[track_caller]
fn settled(via: &Via, number: u64) -> tests::Deployment {
    eventually(PATIENCE, || {
        let list = via.try_deployments()?;
        let due: u64 = list.iter().map(|deployment| deployment.due).sum();
        let found = list.iter().find(|deployment| deployment.deployment == number).cloned();
        found.filter(|_| due == 0).ok_or(format!("{list:?}"))
    })
}

#[test]
fn players_go_over_with_their_state_and_come_back_with_it() {
    const PLAYERS: i64 = 20;
    let mut cluster = Cluster::start_with(3, &["--idle-after", "200ms"]);
    let via = with_players(&cluster, PLAYERS);
    // Some of them rest by now.
    let double = file(&cluster, "double.wasm", &migrating_module(2, Flaw::None));
    let deployed = via.deployed(&double, &[]);
    assert_eq!((deployed.deployment, deployed.arrived), (Some(2), Some(20)), "{deployed:?}");
    let fates: Vec<_> = deployed.players.iter().map(|class| class.fate.as_str()).collect();
    assert_eq!((fates, deployed.due, deployed.failed), (vec!["migrates"], Some(0), Some(0)));
    expect_points(&via, PLAYERS);
    let answer = via.rewarded("player5", 3);
    assert_eq!((answer.points, answer.seq), (11, 3), "the step has a position of its own");
    assert_eq!(via.rewarded("new", 3).points, 6, "a new player begins with it");

    // What it is now survives its owner, as it would have before.
    let owner = via.player("player5").owner;
    cluster.node_mut(&owner).kill();
    let other = cluster.via(&cluster.names_without(&[&owner])[0]);
    assert_eq!(other.rewarded("player5", 1).points, 13);
    cluster.node_mut(&owner).restart();

    let rolled_back = other.roll_back();
    assert_eq!(rolled_back.code(), Some(0), "{}", rolled_back.all());
    let list = other.try_deployments().expect("the deployments");
    let seen: Vec<_> = list.iter().map(|d| (d.status.as_str(), d.players)).collect();
    assert_eq!(seen, [("withdrawn", 0), ("settled", 21)]);
    assert_eq!(other.rewarded("player5", 1).points, 14, "with all that was acknowledged meanwhile");
    assert_eq!(other.points("player6"), 6);
}

#[test]
fn code_that_takes_over_no_state_is_taken_back_by_itself_and_changes_nothing() {
    const PLAYERS: i64 = 8;
    let cluster = Cluster::start(3);
    let via = with_players(&cluster, PLAYERS);
    let flaws = [
        (Flaw::RefusesState, "not a state of mine"),
        (Flaw::TrapsInLoad, "`load` of the new code trapped: unreachable"),
        (Flaw::NeverLoads, "`load` of the new code trapped: ran longer than 1000 ms"),
    ];
    for (flaw, words) in flaws {
        let bad = file(&cluster, "bad.wasm", &migrating_module(1, flaw));
        let ran = via.start_deploy(&bad, &["--max-failures", "2"]).finish();
        let deployed: Deployed = ran.ended(1).expect("it is taken back");
        let withdrawn = deployed.withdrawn.as_deref().unwrap_or_default();
        assert!(withdrawn.contains(words), "{flaw:?}: {deployed:?}");
        let list = via.try_deployments().expect("the deployments");
        assert_eq!((list[0].status.as_str(), list[0].players), ("withdrawn", 0), "{list:?}");
        expect_points(&via, PLAYERS);
    }
    let answer = via.rewarded("player1", 1);
    assert_eq!((answer.points, answer.seq), (2, 2), "no step was made");
}

#[test]
fn one_that_cannot_come_stays_where_it_is_and_the_others_come() {
    let cluster = Cluster::start_with_guest(2, &migrating_module(1, Flaw::TrapsInSave));
    let via = with_players(&cluster, 1);
    let good = file(&cluster, "good.wasm", &migrating_module(3, Flaw::None));
    let deployed = via.deployed(&good, &[]);
    assert_eq!((deployed.arrived, deployed.failed), (Some(0), Some(1)), "{deployed:?}");
    assert_eq!(via.rewarded("player1", 1).points, 2, "with the code that it has");
    assert_eq!(via.rewarded("player2", 1).points, 3);
}

#[test]
fn code_whose_first_calls_trap_is_taken_back_and_players_are_what_they_were() {
    let cluster = Cluster::start(3);
    let via = with_players(&cluster, 3);
    let bad = file(&cluster, "bad.wasm", &migrating_module(1, Flaw::TrapsInCalls));
    let deployed = via.deployed(&bad, &["--max-failures", "0", "--max-traps", "1"]);
    assert_eq!((deployed.arrived, deployed.withdrawn), (Some(3), None));
    for _ in 0..2 {
        let trapped: Trapped = via.reward("player1", 5).ended(1).expect("a trap");
        assert!(!trapped.applied);
    }
    let found = settled(&via, 2);
    assert_eq!((found.status.as_str(), found.players), ("withdrawn", 0), "{found:?}");
    let reason = found.reason.unwrap_or_default();
    assert!(reason.contains("player1: trapped in 2 of its first 2 calls"), "{reason}");
    expect_points(&via, 3);
    assert_eq!(via.rewarded("player1", 5).points, 6);
}

#[test]
fn players_that_fail_with_very_long_words_take_it_back_and_harm_no_node() {
    const PLAYERS: i64 = 6;
    let cluster = Cluster::start(3);
    // Through the node that knows each of them: some of their owners lead, others do not.
    let ways: Vec<Via> = cluster.names().iter().map(|name| cluster.via(name)).collect();
    let via = with_players(&cluster, PLAYERS);
    let bad = file(&cluster, "bad.wasm", &renamed(built_in(), "bad"));
    let deployed = via.deployed(&bad, &["--max-failures", "5", "--max-traps", "1"]);
    assert_eq!(deployed.arrived, Some(6), "{deployed:?}");
    let words = "ü".repeat(700);
    for number in 1..=PLAYERS {
        for way in &ways[..2] {
            let ran = way.reward(&format!("player{number}"), &words);
            let trapped: Trapped = ran.ended(1).expect("a trap");
            assert!(!trapped.applied);
        }
    }
    let found = settled(&via, 2);
    assert_eq!((found.status.as_str(), found.players), ("withdrawn", 0), "{found:?}");
    let reason = found.reason.unwrap_or_default();
    assert!(reason.contains("6 players failed on it") && reason.ends_with('ü'), "{reason}");
    for way in &ways {
        expect_points(way, PLAYERS);
        let nodes = way.try_nodes().expect("the nodes");
        assert!(nodes.iter().all(|node| node.status == "up"), "{nodes:?}");
    }
}

#[test]
fn players_without_a_way_are_left_or_reset_only_when_a_person_says_so() {
    let cluster = Cluster::start_with_guest(3, &doubling_module());
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).points, 10);
    let other = file(&cluster, "other.wasm", &migrating_module(1, Flaw::None));
    let refused: Failed = via.start_deploy(&other, &[]).finish().ended(1).expect("a refusal");
    assert_eq!(refused.error, "stranded");
    for words in ["1 on code", "does not export `migrate`", "`--pin`", "`--reset`"] {
        assert!(refused.message.contains(words), "{}", refused.message);
    }
    let checked = via.start_deploy(&other, &["--check"]).finish();
    let checked: Deployed = checked.ended(1).expect("what would become of them");
    assert_eq!((checked.deployment, checked.players[0].fate.as_str()), (None, "stranded"));
    assert_eq!(via.try_deployments().expect("the deployments").len(), 1, "nothing was changed");

    let pinned = via.deployed(&other, &["--pin"]);
    assert_eq!(pinned.players[0].fate, "pinned");
    assert_eq!(via.rewarded("player1", 1).points, 12, "the old one stays with its code");
    assert_eq!(via.rewarded("player2", 1).points, 1, "a new one begins with the new code");

    let renamed = file(&cluster, "third.wasm", &renamed(&migrating_module(1, Flaw::None), "third"));
    let reset = via.deployed(&renamed, &["--reset"]);
    assert_eq!(reset.due, Some(0), "{reset:?}");
    assert_eq!((via.points("player1"), via.points("player2")), (0, 0));
    assert_eq!(via.rewarded("player1", 4).points, 4);
    // Only what no call has changed since comes back.
    via.roll_back();
    settled(&via, 3);
    assert_eq!((via.points("player1"), via.points("player2")), (4, 1));
}

#[test]
fn some_players_are_first() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    for player in ["vip-1", "vip-2", "other"] {
        assert_eq!(via.rewarded(player, 1).points, 1);
    }
    let triple = file(&cluster, "triple.wasm", &migrating_module(3, Flaw::None));
    let deployed = via.deployed(&triple, &["--players", "vip-*"]);
    assert_eq!((deployed.arrived, deployed.due), (Some(2), Some(0)), "{deployed:?}");
    assert_eq!((via.rewarded("vip-1", 1).points, via.rewarded("other", 1).points), (4, 2));
    assert_eq!((via.rewarded("vip-3", 1).points, via.rewarded("new", 1).points), (3, 1));
    let all = via.deployed(&triple, &[]);
    let mut fates: Vec<_> = all.players.iter().map(|c| (c.fate.as_str(), c.players)).collect();
    fates.sort_unstable();
    assert_eq!((fates, all.arrived), (vec![("has", 3), ("migrates", 2)], Some(5)));
    assert_eq!((via.rewarded("vip-1", 1).points, via.rewarded("other", 1).points), (7, 5));
    let again: Failed = via.start_deploy(&triple, &[]).finish().ended(1).expect("a refusal");
    assert_eq!(again.error, "current");

    let canary = file(&cluster, "canary.wasm", &migrating_module(5, Flaw::None));
    let few = via.deployed(&canary, &["--canary", "50%"]);
    let meant = few.players.iter().filter(|c| c.fate == "migrates").map(|c| c.players).sum();
    assert_eq!(few.arrived, Some(meant), "{few:?}");
}

#[test]
fn a_node_that_was_down_catches_up() {
    let mut cluster = Cluster::start(3);
    let via = with_players(&cluster, 1);
    cluster.node_mut("app_node3").kill();
    let double = file(&cluster, "double.wasm", &migrating_module(2, Flaw::None));
    eventually(PATIENCE, || {
        let seen = via.try_nodes()?;
        let down = seen.iter().any(|node| node.name == "app_node3" && node.status == "down");
        if down { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let deployed = via.deployed(&double, &[]);
    assert_eq!((deployed.silent, deployed.arrived), (vec!["app_node3".to_owned()], Some(1)));
    cluster.node_mut("app_node3").restart();
    let answer = cluster.via("app_node3").rewarded("player3", 1);
    assert_eq!((answer.node.as_str(), answer.points), ("app_node3", 2));
}

#[test]
fn nobody_notices_a_deployment() {
    let cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    let load = via.start_bench(&["--players", "60", "--callers", "20", "--seconds", "6"]);
    for name in ["one", "two", "three"] {
        let code = file(&cluster, name, &renamed(built_in(), name));
        let deployed = via.deployed(&code, &[]);
        assert_eq!((deployed.failed, deployed.withdrawn), (Some(0), None));
    }
    let measured: Measured = load.finish().done().expect("a measurement");
    assert_eq!((measured.failed, measured.unsent), (0, 0), "{measured:?}");
    assert!(measured.calls > 100, "{measured:?}");
}

#[test]
fn a_deployment_survives_the_death_of_any_node() {
    const PLAYERS: i64 = 30;
    let mut cluster = Cluster::start(4);
    with_players(&cluster, PLAYERS);
    for (round, victim) in ["app_node1", "app_node2", "app_node3"].into_iter().enumerate() {
        let name = format!("code{round}");
        let code = file(&cluster, &name, &renamed(built_in(), &name));
        let via = cluster.via("app_node4");
        let before = via.try_deployments().expect("the deployments").len();
        let deploying = via.start_deploy(&code, &["--no-wait"]);
        cluster.node_mut(victim).kill();
        let ran = deploying.finish();
        // It was deployed, or it was not: a node that dies while the code is brought to it ends that.
        let list = via.try_deployments().expect("the deployments");
        assert_eq!(list.len() > before, ran.code() == Some(0), "{}\n{list:?}", ran.all());
        cluster.node_mut(victim).restart();
        let newest = list[0].deployment;
        let found = settled(&via, newest);
        assert_eq!(found.players, 30, "{found:?}");
        expect_points(&via, PLAYERS);
    }
}

#[test]
fn code_that_nobody_runs_goes_and_code_that_somebody_runs_stays() {
    let cluster = Cluster::start(2);
    let via = with_players(&cluster, 2);
    let kept = |node: &str| -> BTreeSet<String> {
        let folder = fs::read_dir(cluster.folder().join(node).join("code")).expect("the code");
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let first = kept("app_node1");
    assert_eq!(first.len(), 1);
    for name in ["one", "two", "three"] {
        let code = file(&cluster, name, &renamed(built_in(), name));
        via.deployed(&code, &["--pin"]);
    }
    assert!(first.is_subset(&kept("app_node1")), "the players run it");
    let last = file(&cluster, "last", &renamed(built_in(), "last"));
    via.deployed(&last, &[]);
    eventually(PATIENCE, || {
        let (one, two) = (kept("app_node1"), kept("app_node2"));
        // The newest one, and the one that a rollback would bring back.
        let gone = first.is_disjoint(&one) && first.is_disjoint(&two) && one.len() == 2;
        if gone { Ok(()) } else { Err(format!("{one:?} {two:?}")) }
    });
    expect_points(&via, 2);
}

#[test]
fn code_of_any_size_is_deployed() {
    let cluster = Cluster::start(3);
    let via = with_players(&cluster, 3);
    let large = file(&cluster, "large.wasm", &padded(built_in(), 20_000_000));
    let deployed = via.deployed(&large, &[]);
    assert_eq!((deployed.arrived, deployed.silent), (Some(3), Vec::<String>::new()));
    expect_points(&via, 3);
    let too_large = file(&cluster, "too_large.wasm", &padded(built_in(), COMPONENT_BYTES_MAX));
    let ran = via.start_deploy(&too_large, &[]).finish();
    assert!(ran.code() == Some(2) && ran.all().contains("more than"), "{}", ran.all());
}

#[test]
fn what_is_no_players_code_is_refused_and_says_why() {
    let cluster = Cluster::start(2);
    let via = with_players(&cluster, 1);
    let module = file(&cluster, "module.wasm", &wat("(module)"));
    let refused: Failed = via.start_deploy(&module, &[]).finish().ended(1).expect("a refusal");
    assert_eq!((refused.error.as_str(), refused.applied), ("bad_code", Some(false)));
    assert!(refused.message.contains("without a component type"), "{}", refused.message);
    let text = file(&cluster, "text.wasm", b"no code");
    for (words, flags) in [
        ("not WebAssembly", vec![]),
        ("5% or 0.5%", vec!["--canary", "5"]),
        ("cannot be used with", vec!["--pin", "--reset"]),
    ] {
        let ran = via.start_deploy(&text, &flags).finish();
        assert!(ran.code() == Some(2) && ran.all().contains(words), "{}", ran.all());
    }
    let nothing: Failed = via.roll_back().ended(1).expect("a refusal");
    assert_eq!(nothing.error, "conflict");
    assert!(nothing.message.contains("nothing to go back to"), "{}", nothing.message);
    assert_eq!(via.points("player1"), 1);
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid WAT")
}
