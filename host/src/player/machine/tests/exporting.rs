//! Players that are exported, and players that begin with what was.

use super::*;
use crate::protocol::{Export, ExportFile};

const KEY: u128 = 77;

fn export(seq: u64) -> Export {
    let (player, node) = ("player9".parse().unwrap(), "node9".parse().unwrap());
    let mut snapshot = Snapshot::initial([64]);
    let runs = vec![Run { offset: 0, bytes: vec![9] }];
    snapshot.apply(&Delta { memories: vec![MemoryDelta { len: 64, runs }] }).unwrap();
    Export { player, node, code: CodeHash([3; 32]), seq: Seq(seq), snapshot }
}

fn import() -> Operation {
    Operation::Import(ExportFile(export(6).encode()))
}

/// Nobody knows the player; somebody has sent a state, and a full copy is on its way.
fn begun() -> World {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    assert_eq!(world.ask(1, import(), KEY), ["seed 2 at 7 under 0"]);
    world
}

#[test]
fn a_state_is_given_away_once_all_of_it_is_acknowledged() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 5), ["execute"]);
    assert!(world.ask(3, Operation::Export, 3).is_empty());
    assert_eq!(world.returned(), ["append 2 #2 seq2", "confirm 2 #3"]);
    assert!(world.acknowledged(1).is_empty());
    assert_eq!(world.acknowledged(2), ["answer 2: 5"]);
    assert_eq!(world.acknowledged(3), ["answer 3: exported at 2"]);
    let mut nobody = World::new(Origin::New(fresh()), &[1, 2]);
    let told = nobody.ask(1, Operation::Export, 1);
    assert_eq!(told, ["answer 1: error no_player", "close"]);
}

#[test]
fn a_player_begins_with_a_state_that_is_seeded_before_it_is_named() {
    let mut world = begun();
    assert_eq!(world.seeded(Ok(())), ["change 0 -> [2]"]);
    let change = world.change.clone().unwrap();
    assert_eq!((change.code, change.owner), (CodeHash([3; 32]), ME));
    assert!(world.call(2, 5).is_empty());
    assert_eq!(world.changed(1), ["restore"]);
    assert_eq!(world.machine.state().unwrap().snapshot, export(6).snapshot);
    assert_eq!(world.restored(), ["serving 7", "confirm 2 #1", "execute"]);
    assert_eq!(world.acknowledged_by(2, 1), ["answer 1: imported at 7"]);
    // The reply was lost.
    world.returned();
    world.acknowledged_by(2, 2);
    assert_eq!(world.ask(3, import(), KEY), ["confirm 2 #3"]);
    assert_eq!(world.acknowledged_by(2, 3), ["answer 3: imported at 7"]);
    assert_eq!(world.ask(4, import(), 4), ["answer 4: error player_exists"]);
}

#[test]
fn a_player_that_exists_or_is_just_beginning_keeps_its_own_state() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, import(), KEY), ["answer 2: error player_exists"]);
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    assert_eq!(world.call(1, 5), ["seed 2 at 0 under 0"]);
    assert!(world.ask(2, import(), KEY).is_empty());
    world.seeded(Ok(()));
    world.changed(1);
    world.restored();
    assert_eq!(world.returned(), ["append 2 #1 seq1", "answer 2: error player_exists"]);
}

#[test]
fn a_player_that_was_forgotten_begins_with_a_state_above_its_old_generation() {
    let ended = PlayerRecord { keepers: Vec::new(), ..record(4, 2) };
    let mut world = World::new(Origin::Again(ended, fresh()), &[1, 2]);
    assert_eq!(world.ask(1, import(), KEY), ["change 5 -> []"]);
    assert_eq!(world.changed(6), ["seed 2 at 7 under 6"]);
}

#[test]
fn a_file_that_is_none_creates_nobody() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    let file = Operation::Import(ExportFile(vec![1, 2, 3]));
    assert_eq!(world.ask(1, file, KEY), ["answer 1: error not_imported", "close"]);
    let mut world = World::new(Origin::New(fresh()), &[1]);
    assert_eq!(world.ask(1, import(), KEY), ["answer 1: error single_node", "close"]);
}

#[test]
fn whoever_is_told_that_nothing_was_imported_can_rely_on_it() {
    let mut world = begun();
    assert!(world.call(2, 5).is_empty());
    world.now += Duration::from_secs(11);
    let told = world.feed(Event::Tick);
    assert_eq!(told[0], "answer 1: error timed");
    assert!(told.contains(&"close".to_owned()), "nothing is named later: {told:?}");
    let seeded = world.seeded(Ok(()));
    assert!(seeded.is_empty(), "{seeded:?}");
}

#[test]
fn an_import_that_the_directory_may_have_named_is_unknown() {
    let mut world = begun();
    assert_eq!(world.seeded(Ok(())), ["change 0 -> [2]"]);
    world.now += Duration::from_secs(11);
    assert_eq!(world.feed(Event::Tick), ["answer 1: error unknown"]);
    // A rival was first: its owner knows whether the key was used.
    let mut world = begun();
    world.seeded(Ok(()));
    let rival = ChangeOutcome::Conflict(Some(record(3, 2)));
    let told = world.feed(Event::Changed(Some(rival)));
    assert_eq!(told, ["release 2", "answer 1: error unknown", "close"]);
}
