//! A player whose state cannot be restored is left alone and loses nothing; and a failure can be seen
//! again elsewhere.

use std::path::{Path, PathBuf};

use host::limits::FAILED_RESTORES_MAX;
use host::protocol::{Bundle, Ending};
use host::snapshot::Snapshot;
use tests::{
    Cluster, Drained, Failed, Forgotten, PATIENCE, Quarantined, Ran, Released, Replayed,
    doubling_module, eventually, host,
};

const REASON: &str = "spoiled by a test";

/// A cluster of three with a player that `app_node1` owns and that has 7 points at position 2. It is
/// in quarantine.
#[track_caller]
fn in_quarantine() -> Cluster {
    in_quarantine_with(&[])
}

/// The same, on nodes with these flags.
#[track_caller]
fn in_quarantine_with(flags: &[&str]) -> Cluster {
    let cluster = Cluster::start_with(3, flags);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).node, "app_node1");
    assert_eq!(via.rewarded("player1", 2).points, 7);
    cluster.sabotage("player1", Some(REASON));
    // The instance dies, and no other one can be made.
    let trapped: Failed = ended(&via.reward("player1", "a"));
    assert_eq!((trapped.error.as_str(), trapped.applied), ("broken", Some(false)));
    for words in ["it trapped (not an integer: \"a\")", REASON] {
        assert!(trapped.message.contains(words), "{}", trapped.message);
    }
    let refused = refusal(&via.reward("player1", 100));
    let kept = format!("{FAILED_RESTORES_MAX} times in a row ({REASON})");
    for words in [&kept, "its state at seq 2 is kept on", "`host quarantine release player1`"] {
        assert!(refused.contains(words), "{refused}");
    }
    cluster
}

#[track_caller]
fn ended(ran: &Ran) -> Failed {
    ran.ended(1).unwrap_or_else(|reason| panic!("{reason}"))
}

/// Returns what a caller of a player in quarantine is told.
#[track_caller]
fn refusal(ran: &Ran) -> String {
    let failed: Failed = ended(ran);
    assert_eq!((failed.error.as_str(), failed.applied), ("quarantined", Some(false)));
    failed.message
}

/// Waits until the one player in quarantine is as this says.
#[track_caller]
fn await_quarantined(
    cluster: &Cluster,
    via: &str,
    fits: impl Fn(&Quarantined) -> bool,
) -> Quarantined {
    let via = cluster.via(via);
    eventually(PATIENCE, || match &via.try_quarantined()?[..] {
        [one] if fits(one) => Ok(one.clone()),
        other => Err(format!("{other:?}")),
    })
}

/// Does again what is in a bundle, without a cluster.
fn replay(file: &Path, flags: &[&str]) -> Ran {
    let file = file.to_str().expect("a path of the test's own");
    host(&[&["replay", file, "--json"], flags].concat())
}

fn file(cluster: &Cluster) -> PathBuf {
    cluster.folder().join("b.poison")
}

#[test]
fn a_player_in_quarantine_loses_nothing_and_stays_there_when_its_owner_dies() {
    let mut cluster = in_quarantine();
    let listed = await_quarantined(&cluster, "app_node3", |_| true);
    assert_eq!((listed.player.as_str(), listed.times, listed.seq), ("player1", 3, 2));
    assert_eq!((listed.owner.as_str(), listed.reason.as_str()), ("app_node1", REASON));
    assert_eq!(listed.copies.len(), 2, "its keeper's and its owner's own");

    cluster.node_mut("app_node1").kill();
    let moved = await_quarantined(&cluster, "app_node2", |one| one.owner != "app_node1");
    assert_eq!((moved.times, moved.seq, moved.reason.as_str()), (3, 2, REASON));
    let whole = |one: &Quarantined| one.copies.len() == 2 && !one.copies.contains(&listed.owner);
    await_quarantined(&cluster, "app_node3", whole);
    for name in ["app_node2", "app_node3"] {
        refusal(&cluster.via(name).reward("player1", 100));
        let log = cluster.node(name).log();
        assert!(!log.contains("could not be restored"), "nobody tries again: {log}");
    }

    // Well as it is now, nobody knows before a person says so.
    cluster.sabotage("player1", None);
    refusal(&cluster.via("app_node3").reward("player1", 100));
    let released: Released = cluster.via("app_node3").release("player1").ended(0).unwrap();
    assert_eq!(released, Released { released: true, times: 3, seq: 2 });
    let answer = cluster.via("app_node2").rewarded("player1", 1);
    assert_eq!((answer.points, answer.seq), (8, 3));
    assert_eq!(cluster.via("app_node2").try_quarantined().unwrap(), []);
    let again: Failed = cluster.via("app_node2").release("player1").ended(1).unwrap();
    assert_eq!((again.error.as_str(), again.applied), ("not_quarantined", Some(false)));
}

#[test]
fn calls_of_a_player_in_quarantine_cost_no_restore_and_no_change_and_others_are_served() {
    // There is room for one player: each that is opened has the other one rest.
    let cluster = in_quarantine_with(&["--instances-max", "1"]);
    let via = cluster.via("app_node1");
    let before = via.player("player1");
    assert!(before.quarantined && !before.running, "{before:?}");
    let failures = |cluster: &Cluster| {
        cluster.node("app_node1").log().matches("could not be restored").count()
    };
    assert_eq!(failures(&cluster), 3, "as often as it was tried");
    for round in 1..=10 {
        for name in cluster.names() {
            refusal(&cluster.via(&name).reward("player1", 100));
        }
        assert_eq!(via.rewarded("player2", 1).points, round);
    }
    let after = via.player("player1");
    assert_eq!((after.generation, after.keepers), (before.generation, before.keepers));
    assert_eq!(failures(&cluster), 3);

    // Released and no better than before, it is there again after as many tries.
    let released: Released = via.release("player1").ended(0).unwrap();
    assert_eq!(released.times, 3);
    refusal(&via.reward("player1", 100));
    assert_eq!(failures(&cluster), 6);
}

#[test]
fn a_restore_that_succeeds_in_time_ends_the_row() {
    let cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 0).points, 0);
    for round in 1..=2 * i64::from(FAILED_RESTORES_MAX) {
        cluster.sabotage("player1", Some(REASON));
        let trapped: Failed = via.reward("player1", "a").ended(1).unwrap();
        assert_eq!(trapped.error, "broken");
        cluster.sabotage("player1", None);
        assert_eq!(via.rewarded("player1", 1).points, round);
    }
    assert_eq!(via.try_quarantined().unwrap(), []);
}

#[test]
fn a_player_in_quarantine_is_handed_over() {
    let mut cluster = in_quarantine();
    let drained: Drained = cluster.via("app_node1").drain().ended(0).unwrap();
    assert_eq!((drained.players, drained.left), (1, None));
    cluster.node_mut("app_node1").await_end();
    let moved = await_quarantined(&cluster, "app_node2", |one| one.owner != "app_node1");
    assert_eq!((moved.times, moved.seq), (3, 2));
    cluster.sabotage("player1", None);
    let released: Released = cluster.via("app_node2").release("player1").ended(0).unwrap();
    assert_eq!(released.seq, 2);
    assert_eq!(cluster.via("app_node3").rewarded("player1", 1).points, 8);
}

#[test]
fn what_is_in_quarantine_is_exported_and_tried_elsewhere() {
    let cluster = in_quarantine();
    let file = file(&cluster);
    let exported = cluster.via("app_node2").export("player1", &file);
    assert_eq!(exported.code(), Some(0), "{}", exported.all());
    let bundle = Bundle::decode(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((bundle.player.as_str(), bundle.seq.0), ("player1", 2));
    let expected = Ending::Restore { times: 3, reason: REASON.to_owned() };
    assert_eq!(bundle.ending, expected);
    // Nothing is wrong with the state itself.
    let well: Replayed = replay(&file, &[]).ended(1).unwrap();
    assert_eq!((well.reproduced, well.here.as_str()), (false, "it is restored"));

    let mut spoiled = bundle;
    spoiled.snapshot = Snapshot::initial([0]);
    let reason = "the snapshot's memory 0 has 0 bytes, which the code's memory cannot have (at \
                  most 1073741824 together)";
    let reason = reason.to_owned();
    spoiled.ending = Ending::Restore { times: 3, reason: reason.clone() };
    std::fs::write(&file, spoiled.encode()).unwrap();
    let same: Replayed = replay(&file, &[]).ended(0).unwrap();
    assert_eq!((same.reproduced, same.here), (true, reason));

    // To end it is the last resort, and needs no restore.
    let forgotten: Forgotten = cluster.via("app_node3").forget("player1").ended(0).unwrap();
    assert_eq!(forgotten.seq, Some(2));
    cluster.sabotage("player1", None);
    assert_eq!(cluster.via("app_node2").rewarded("player1", 1).points, 1);
}

#[test]
fn a_trap_leaves_a_bundle_that_fails_alike_without_a_cluster() {
    let mut cluster = Cluster::start(3);
    let via = cluster.via("app_node2");
    assert_eq!(cluster.via("app_node1").rewarded("player1", i64::MAX).node, "app_node1");
    let trapped = via.reward("player1", 5);
    assert_eq!(trapped.code(), Some(1), "{}", trapped.all());
    // The player goes on; what is in the bundle is what it was.
    assert_eq!(via.rewarded("player1", -7).points, i64::MAX - 7);
    let file = file(&cluster);
    let written = via.bundle("player1", &file);
    assert_eq!(written.code(), Some(0), "{}", written.all());
    assert!(written.stderr.contains(r#""bundle":"trap""#), "{}", written.all());

    let same: Replayed = replay(&file, &[]).ended(0).unwrap();
    assert_eq!((same.reproduced, same.player.as_str(), same.seq), (true, "player1", 1));
    assert!(same.failure.starts_with("trapped in `reward 5`: "), "{same:?}");
    assert!(same.failure.ends_with(&same.here), "{same:?}");

    let guest = cluster.folder().join("other.wasm");
    std::fs::write(&guest, doubling_module()).unwrap();
    let other: Failed = replay(&file, &["--guest", guest.to_str().unwrap()]).ended(2).unwrap();
    assert!(other.message.contains("the bundle is of the code"), "{}", other.message);

    // It was in the owner's memory.
    cluster.node_mut("app_node1").kill();
    assert_eq!(via.rewarded("player1", 1).points, i64::MAX - 6);
    let gone: Failed = failed(&via.bundle("player1", &file), &file);
    assert_eq!((gone.error.as_str(), gone.applied), ("no_bundle", Some(false)));
    assert!(gone.message.contains("it is gone when the player has moved"), "{}", gone.message);
    let none: Failed = failed(&via.bundle("player2", &file), &file);
    assert_eq!(none.error, "no_bundle");
    assert!(via.try_player("player2").is_err(), "it does not come about by that");
}

/// Returns why a command wrote no bundle.
#[track_caller]
fn failed(ran: &Ran, file: &Path) -> Failed {
    assert_eq!(ran.code(), Some(1), "{}", ran.all());
    let written = std::fs::metadata(file).expect("the file is there").len();
    assert_eq!(written, 0, "no words in the place of a bundle");
    let failed = serde_json::from_str(&ran.stderr);
    failed.unwrap_or_else(|error| panic!("{error}: {}", ran.all()))
}
