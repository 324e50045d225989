//! The copy on the owner's own node, which survives when the keepers' machines do not.

use super::*;

/// A new player's world that mentions its own copy, with nodes 1 and 2.
fn spoken() -> World {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    world.quiet = false;
    world
}

#[test]
fn an_owner_names_and_waits_for_a_copy_of_its_own() {
    let mut world = spoken();
    assert_eq!(world.call(1, 5), ["seed 2 at 0 under 0", "seed 1 at 0 under 0"]);
    assert_eq!(world.acknowledged_by(1, 0), Vec::<String>::new());
    assert_eq!(world.acknowledged_by(2, 0), ["change 0 -> [2, 1]"]);
    assert_eq!(world.changed(1), ["restore"]);
    world.restored();
    assert_eq!(world.returned(), ["append 1 #1 seq1", "append 2 #1 seq1"]);
    assert_eq!(world.acknowledged_by(2, 1), Vec::<String>::new(), "both are named, so both count");
    assert_eq!(world.acknowledged_by(1, 1), ["answer 1: 5"]);
}

#[test]
fn a_copy_of_its_own_alone_is_none() {
    let mut world = spoken();
    world.call(1, 5);
    assert_eq!(world.acknowledged_by(1, 0), Vec::<String>::new());
    let copy = world.copy_on(2);
    let lost = Event::Kept { copy, number: 0, reply: Err(AskError::Lost) };
    assert_eq!(world.feed(lost), Vec::<String>::new(), "it is not named alone");
    assert!(!world.machine.is_active());
    assert_eq!(world.wait(), ["seed 2 at 0 under 0", "seed 1 at 0 under 0"]);
}

#[test]
fn an_owner_whose_node_comes_back_before_its_keeper_goes_on_from_its_own_copy() {
    let mut record = record(1, 2);
    record.keepers.push(KeeperCopy { node: NodeId(1), copy: CopyId(98) });
    let mut world = World::new(Origin::Known(record), &[1, 3]);
    world.quiet = false;
    assert_eq!(world.call(1, 5), ["change 5 -> [2, 1]"]);
    assert_eq!(world.changed(6), ["fetch 2 under 6", "fetch 1 under 6"][1..]);
    assert_eq!(world.fetched(), ["seed 3 at 0 under 6"]);
    assert_eq!(world.acknowledged_by(3, 0), ["change 6 -> [1, 3]"]);
    assert_eq!(world.changed(7), ["release 2", "restore"]);
}

#[test]
fn an_owner_whose_own_copy_fails_goes_on_without_it_and_tries_again() {
    let mut world = spoken();
    world.call(1, 5);
    world.acknowledged_by(1, 0);
    world.acknowledged_by(2, 0);
    world.changed(1);
    world.restored();
    world.returned();
    assert_eq!(world.acknowledged_by(2, 1), Vec::<String>::new());
    let copy = world.copy_on(1);
    let lost = Event::Kept { copy, number: 1, reply: Err(AskError::Full) };
    assert_eq!(world.feed(lost), ["change 1 -> [2]"]);
    assert_eq!(world.changed(2), ["release 1", "answer 1: 5"]);
    assert_eq!(world.wait(), ["seed 1 at 1 under 2"], "a copy is missing, so it is tried again");
}

#[test]
fn an_owner_that_leaves_keeps_its_copy_until_its_successor_has_one() {
    let mut world = World::serving();
    world.quiet = false;
    world.set_draining(1);
    assert_eq!(world.feed(Event::Nodes), ["change 1 -> [2, 1]"]);
    let change = world.change.clone().unwrap();
    assert_eq!(change.owner.node, NodeId(3));
    let copies = change.keepers;
    let (generation, code) = (Generation(2), change.code);
    let handed =
        PlayerRecord { generation, owner: change.owner, keepers: copies, code, failed: None };
    assert_eq!(handed.remote_keepers().count(), 2);
}
