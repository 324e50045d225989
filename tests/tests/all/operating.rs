//! What people do to a cluster that is well: they have players on other nodes, let
//! players and nodes crash, and take players from one cluster to another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use host::protocol::Export;
use tests::{
    Cluster, Drilled, Failed, Imported, Listed, NodeCrashed, PATIENCE, Ran, Replayed, Running,
    doubling_module, eventually, host,
};

#[track_caller]
fn refused(ran: &Ran, error: &str) -> String {
    let failed: Failed = ran.ended(1).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!((failed.error.as_str(), failed.applied), (error, Some(false)), "{failed:?}");
    failed.message
}

#[test]
fn a_player_is_moved_under_calls_and_none_of_them_fails() {
    let cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).node, "app_node1");
    let over = AtomicBool::new(false);
    let (over, callers) = (&over, cluster.names());
    let made = thread::scope(|scope| {
        let calls: Vec<_> = callers
            .iter()
            .map(|name| {
                let via = cluster.via(name);
                scope.spawn(move || {
                    let mut made = 0;
                    while !over.load(Ordering::Relaxed) {
                        via.rewarded("player1", 1);
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        let mut before = "app_node1";
        let mut generation = 0;
        // To a keeper, too: of three nodes it is one of the two.
        for to in ["app_node2", "app_node3", "app_node1", "app_node3"] {
            let moved = cluster.via("app_node2").moved("player1", to);
            assert_eq!((moved.from.as_str(), moved.to.as_str()), (before, to), "{moved:?}");
            assert!(moved.moved && moved.generation > generation, "{moved:?}");
            assert!(!moved.keepers.is_empty() && !moved.keepers.contains(&to.to_owned()));
            assert_eq!(cluster.via("app_node1").player("player1").owner, to);
            (before, generation) = (to, moved.generation);
        }
        over.store(true, Ordering::Relaxed);
        calls.into_iter().map(|call| call.join().expect("every call is answered")).sum::<i64>()
    });
    assert!(made > 10, "there were calls all the time: {made}");
    assert_eq!(via.points("player1"), 5 + made);
    let logs: Vec<_> = callers.iter().map(|name| cluster.node(name).log()).collect();
    assert!(!logs.iter().any(|log| log.contains("taken for dead")), "nobody had to die");
}

#[test]
fn a_player_that_was_moved_has_its_copies_and_survives_its_new_owner() {
    let mut cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 5);
    let keeper = cluster.via("app_node1").player("player1").keepers.remove(0);
    let moved = cluster.via("app_node1").moved("player1", &keeper);
    assert_eq!((moved.seq, moved.to.as_str()), (2, keeper.as_str()), "its key is in the history");
    let seen = cluster.via("app_node1").player("player1");
    assert_eq!((seen.generation, &seen.keepers), (moved.generation, &moved.keepers));
    cluster.node_mut(&keeper).kill();
    let other = cluster.names_without(&[&keeper]).remove(0);
    assert_eq!(cluster.via(&other).within("20s").rewarded("player1", 1).points, 6);
}

#[test]
fn the_same_key_moves_a_player_once_and_never_back() {
    let cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 5);
    let key = host(&["key", "new"]).stdout.trim().to_owned();
    let first = cluster.via("app_node1").with_key(&key).moved("player1", "app_node3");
    // The reply was lost, perhaps.
    let again = cluster.via("app_node2").with_key(&key).moved("player1", "app_node3");
    assert_eq!(again, first, "the recorded answer");
    cluster.via("app_node1").moved("player1", "app_node2");
    let late = cluster.via("app_node1").with_key(&key).move_to("player1", "app_node3");
    let late: Failed = late.ended(3).unwrap();
    assert_eq!((late.error.as_str(), late.applied), ("not_there", None));
    assert!(late.message.contains("player1 is on app_node2 now"), "{}", late.message);
    assert_eq!(cluster.via("app_node1").player("player1").owner, "app_node2");
    let reused: Ran = cluster.via("app_node1").with_key(&key).reward("player1", 1);
    refused(&reused, "key_reused");
}

#[test]
fn a_move_that_cannot_be_made_says_why_and_changes_nothing() {
    let mut cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    via.rewarded("player1", 5);
    let before = via.player("player1");
    let unknown = refused(&via.move_to("player1", "app_node9"), "not_moved");
    let nodes = "there is no node app_node9; there are app_node1, app_node2, app_node3";
    assert!(unknown.contains(nodes) && unknown.contains("stays on app_node1"), "{unknown}");
    let text = via.clone().as_text().move_to("player1", "app_node9");
    assert!(text.stderr.contains("; nothing was applied"), "{}", text.all());
    let here = via.moved("player1", "app_node1");
    assert_eq!((here.moved, here.to.as_str(), here.seq), (false, "app_node1", 1));
    refused(&via.move_to("player2", "app_node2"), "no_player");
    assert!(via.try_player("player2").is_err(), "it does not come about by that");

    let keeper = before.keepers[0].clone();
    let other = cluster.names_without(&["app_node1", &keeper]).remove(0);
    cluster.node_mut(&other).kill();
    eventually(PATIENCE, || {
        let nodes = cluster.via("app_node1").try_nodes()?;
        let down = nodes.iter().any(|node| node.name == other && node.status == "down");
        if down { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    let down = refused(&via.move_to("player1", &other), "not_moved");
    assert!(down.contains(&format!("{other} is down")), "{down}");
    let seen = via.player("player1");
    assert_eq!((seen.owner, seen.seq), (before.owner, before.seq));
    // Two nodes are enough: the old owner keeps what the keeper had.
    assert_eq!(via.moved("player1", &keeper).keepers, ["app_node1"]);
    assert_eq!(via.rewarded("player1", 1).points, 6);
}

#[test]
fn players_that_rest_or_are_in_quarantine_are_moved_as_they_are() {
    let cluster = Cluster::start_with(3, &["--idle-after", "300ms"]);
    let via = cluster.via("app_node1");
    for player in ["player1", "player2"] {
        assert_eq!(via.rewarded(player, 5).node, "app_node1");
    }
    cluster.sabotage("player2", Some("spoiled by a test"));
    via.reward("player2", "a");
    eventually(PATIENCE, || {
        let [rests, quarantined] = ["player1", "player2"].map(|player| via.try_player(player));
        let (rests, quarantined) = (rests?, quarantined?);
        via.reward("player2", 1);
        if !rests.running && quarantined.quarantined {
            Ok(())
        } else {
            Err(format!("{rests:?} {quarantined:?}"))
        }
    });
    for player in ["player1", "player2"] {
        let moved = via.moved(player, "app_node3");
        assert_eq!((moved.from.as_str(), moved.to.as_str()), ("app_node1", "app_node3"));
    }
    assert!(via.player("player2").quarantined, "a move is no cure");
    cluster.sabotage("player2", None);
    via.release("player2").ended::<tests::Released>(0).unwrap();
    for player in ["player1", "player2"] {
        let seen = cluster.via("app_node2").rewarded(player, 1);
        assert_eq!((seen.points, seen.node.as_str()), (6, "app_node3"), "{player}");
    }
}

#[test]
fn a_drill_restores_a_player_as_a_trap_does_and_counts_for_nothing() {
    let cluster = Cluster::start(3);
    let (via, other) = (cluster.via("app_node1"), cluster.via("app_node2"));
    via.rewarded("player1", 5);
    // A real trap, which must stay the last one.
    assert_eq!(via.reward("player1", "a").code(), Some(1));
    let before = via.player("player1");
    for _ in 0..5 {
        let drilled: Drilled = other.crash("player1").ended(0).unwrap();
        assert_eq!((drilled.drill.as_str(), drilled.restored.seq), ("crash drill", 1));
        assert_eq!((drilled.node.as_str(), &drilled.keepers), ("app_node1", &before.keepers));
    }
    let text = other.clone().as_text().crash("player1");
    assert_eq!(text.code(), Some(0), "{}", text.all());
    let expected =
        "CRASH!! player1 trapped: crash drill\n        restored at seq 1 from memory in ";
    assert!(text.stdout.starts_with(expected), "{}", text.all());
    let after = via.player("player1");
    assert_eq!((after.seq, after.quarantined), (Some(1), false));
    assert_eq!((after.generation, after.points), (before.generation, Some(5)));
    let file = cluster.folder().join("b.poison");
    assert_eq!(via.bundle("player1", &file).code(), Some(0));
    let trap: Replayed = host(&["replay", file.to_str().unwrap(), "--json"]).ended(0).unwrap();
    assert!(trap.failure.starts_with("trapped in `reward \"a\"`"), "{trap:?}");
    assert_eq!(other.rewarded("player1", 2).points, 7);
    refused(&via.crash("player2"), "no_player");
    assert!(via.try_player("player2").is_err(), "it does not come about by that");
}

#[test]
fn a_node_ends_at_once_when_somebody_wants_to_see_that() {
    let mut cluster = Cluster::start(3);
    cluster.via("app_node2").rewarded("player1", 5);
    let unknown = refused(&cluster.via("app_node1").crash_node("app_node"), "no_node");
    assert!(unknown.contains("there are app_node1, app_node2, app_node3"), "{unknown}");
    let crashed: NodeCrashed = cluster.via("app_node1").crash_node("app_node2").ended(0).unwrap();
    let seen = (crashed.node.as_str(), crashed.asked, crashed.players, crashed.down);
    assert_eq!(seen, ("app_node2", false, Some(1), Some(true)));
    let status = cluster.node_mut("app_node2").await_end();
    assert_eq!(status.code(), None, "no exit code, for it was killed");
    let again = refused(&cluster.via("app_node1").crash_node("app_node2"), "no_node");
    assert!(again.contains("app_node2 is down already"), "{again}");
    assert_eq!(cluster.via("app_node1").within("20s").rewarded("player1", 1).points, 6);
    cluster.node_mut("app_node2").restart();
    cluster.await_settled();

    // The one that is asked can be the one that ends.
    let text = cluster.via("app_node3").as_text().crash_node("app_node3");
    assert_eq!(text.code(), Some(0), "{}", text.all());
    assert!(text.stdout.starts_with("app_node3 is gone: "), "{}", text.all());
    cluster.node_mut("app_node3").await_end();
    assert_eq!(cluster.via("app_node1").within("20s").rewarded("player1", 1).points, 7);
}

#[test]
fn a_player_goes_from_one_cluster_to_another_with_all_its_points() {
    let (mut here, mut there) = (Cluster::start(3), Cluster::start(3));
    let via = here.via("app_node1");
    via.rewarded("player1", 5);
    assert_eq!(via.rewarded("player1", 2).points, 7);
    let file = here.folder().join("p.snap");
    let written = here.via("app_node2").export_player("player1", &file);
    assert_eq!(written.code(), Some(0), "{}", written.all());
    assert!(written.stderr.contains(r#""exported":"player1","seq":2"#), "{}", written.all());
    let export = Export::decode(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((export.player.as_str(), export.seq.0), ("player1", 2));

    let key = host(&["key", "new"]).stdout.trim().to_owned();
    let keyed = |node: &str| there.via(node).with_key(&key);
    let imported: Imported = keyed("app_node1").import("player2", &file).ended(0).unwrap();
    assert_eq!((imported.from.as_str(), imported.from_seq, imported.seq), ("player1", 2, 3));
    let keeper = there.via("app_node1").player("player2").keepers;
    assert_eq!((imported.node.as_str(), &imported.keepers), ("app_node1", &keeper));
    // The reply was lost, perhaps; and another file, or another key, changes nothing.
    let again: Imported = keyed("app_node2").import("player2", &file).ended(0).unwrap();
    assert_eq!(again.seq, 3);
    let exists = refused(&there.via("app_node3").import("player2", &file), "player_exists");
    assert!(exists.contains("player2 runs on app_node1 at seq 3"), "{exists}");
    assert_eq!(there.via("app_node3").points("player2"), 7);

    here.node_mut("app_node1").kill();
    there.node_mut("app_node1").kill();
    for (cluster, player) in [(&here, "player1"), (&there, "player2")] {
        assert_eq!(cluster.via("app_node2").within("20s").rewarded(player, 1).points, 8);
    }
}

#[test]
fn what_cannot_be_imported_creates_no_player() {
    let here = Cluster::start_with_guest(2, &doubling_module());
    let there = Cluster::start(2);
    here.via("app_node1").rewarded("player1", 5);
    let file = here.folder().join("p.snap");
    assert_eq!(here.via("app_node1").export_player("player1", &file).code(), Some(0));
    refused(&there.via("app_node1").import("player1", &file), "not_imported");
    let bytes = std::fs::read(&file).unwrap();
    let code = Export::decode(&bytes).unwrap().code;
    let unknown = refused(&there.via("app_node2").import("player1", &file), "not_imported");
    let why = format!("exported from the code {code}, which this cluster does not have");
    assert!(unknown.contains(&why), "{unknown}");

    // A state that is none of the code's, under a right checksum.
    let spoiled = Export { snapshot: host::snapshot::Snapshot::initial([0]), ..export(&bytes) };
    std::fs::write(&file, spoiled.encode()).unwrap();
    refused(&here.via("app_node1").import("player2", &file), "not_imported");
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let cut: Failed = here.via("app_node1").import("player2", &file).ended(2).unwrap();
    assert!(cut.message.contains("it is not whole"), "{}", cut.message);
    let none: Failed = here.via("app_node1").import("player2", &file.join("no")).ended(2).unwrap();
    assert!(none.message.starts_with("cannot read"), "{}", none.message);
    assert!(here.via("app_node1").try_player("player2").is_err());
    assert!(there.via("app_node1").try_player("player1").is_err(), "no half a player");

    let nobody = here.via("app_node1").export_player("player3", &here.folder().join("none"));
    assert_eq!(nobody.code(), Some(1), "{}", nobody.all());
    assert!(nobody.stderr.contains("no_player"), "{}", nobody.all());
}

fn export(bytes: &[u8]) -> Export {
    Export::decode(bytes).expect("it was written by `host export`")
}

/// Waits until the last line of a watch shows this.
#[track_caller]
fn await_seen(watch: &Running, fits: impl Fn(&Listed) -> bool) {
    eventually(PATIENCE, || {
        let lines = watch.lines();
        let last = lines.last().and_then(|line| serde_json::from_str(line).ok());
        if last.is_some_and(|last| fits(&last)) { Ok(()) } else { Err(format!("{lines:?}")) }
    });
}

#[test]
fn who_watches_a_player_reads_a_line_for_each_change() {
    let mut cluster = Cluster::start_with(3, &["--idle-after", "1s"]);
    let via = cluster.via("app_node1");
    let watch = cluster.via("app_node2").start_watch("player1");
    eventually(PATIENCE, || match &watch.lines()[..] {
        [line] if line.contains(r#""exists":false"#) => Ok(()),
        lines => Err(format!("{lines:?}")),
    });
    via.rewarded("player1", 5);
    await_seen(&watch, |seen| (seen.seq, seen.points) == (Some(1), Some(5)) && seen.running);
    via.moved("player1", "app_node3");
    await_seen(&watch, |seen| seen.owner == "app_node3" && seen.seq == Some(2));
    await_seen(&watch, |seen| !seen.running && seen.seq.is_none());
    assert!(!via.player("player1").running, "to watch wakes nobody");
    let lines = watch.lines().len();
    cluster.node_mut("app_node3").kill();
    await_seen(&watch, |seen| seen.owner != "app_node3");
    assert!(watch.lines().len() > lines && lines < 20, "no line without a change");
    watch.interrupt();
    let ended = watch.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.all());
    let distinct = ended.stdout.lines().zip(ended.stdout.lines().skip(1));
    assert!(distinct.into_iter().all(|(one, other)| one != other), "{}", ended.all());
}
