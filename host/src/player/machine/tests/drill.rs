//! Instances that are thrown away although nothing is wrong with them.

use super::*;

fn crash(world: &mut World, ticket: Ticket) -> Vec<String> {
    world.ask(ticket, Operation::Crash, u128::from(ticket))
}

#[test]
fn a_drill_restores_what_was_executed_and_applies_nothing() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 5), ["execute"]);
    assert!(crash(&mut world, 3).is_empty());
    assert!(world.call(4, 1).is_empty());
    assert_eq!(world.returned(), ["append 2 #2 seq2", "give up", "restore"]);
    assert_eq!(world.restored(), ["confirm 2 #3", "execute"]);
    assert_eq!(world.acknowledged(2), ["answer 2: 5"]);
    assert_eq!(world.acknowledged(3), ["answer 3: crash at 2"]);
    assert_eq!(world.returned(), ["append 2 #4 seq3"]);
    assert!(world.machine.record.as_ref().unwrap().failed.is_none());
}

#[test]
fn a_drill_of_nobody_creates_nobody() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    assert_eq!(crash(&mut world, 1), ["answer 1: error no_player", "close"]);
}

#[test]
fn a_player_in_quarantine_has_no_instance_to_crash() {
    let mut world = quarantine::opened_again();
    assert_eq!(crash(&mut world, 2), ["fetch 1 under 10"]);
    assert_eq!(world.fetched(), ["answer 2: error quarantined", "rest at 0 under 10"]);
}
