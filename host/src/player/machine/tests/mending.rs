//! What an operator decides, and what he is told when the last word on it is lost.

use super::*;

fn recover(seq: u64) -> Operation {
    Operation::Recover(Recovery { from: "node2".parse().unwrap(), accept: Seq(seq) })
}

/// A machine that has asked for the doubtful copy that the operator accepts at `seq`.
fn asking(seq: u64) -> World {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
    assert_eq!(world.ask(1, recover(seq), 1), ["change 5 -> [2]"]);
    assert_eq!(world.changed(6), ["fetch 2 under 6"]);
    let asked = world.refused(0, Refusal::Stale { seq: Seq(0) });
    assert_eq!(asked, [format!("fetch 2 doubtful at {seq}")]);
    world
}

#[test]
fn a_doubtful_copy_is_taken_only_when_an_operator_says_so() {
    let mut world = asking(0);
    assert_eq!(world.fetched(), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["restore"]);
    assert_eq!(world.restored(), ["serving 0", "execute"]);
}

#[test]
fn a_doubtful_copy_at_another_position_is_not_taken() {
    let refused = asking(7).refused(0, Refusal::Stale { seq: Seq(0) });
    assert_eq!(refused, ["answer 1: error unavailable", "close"]);
}

#[test]
fn a_player_that_has_a_good_copy_is_not_recovered() {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
    world.ask(1, recover(0), 1);
    world.changed(6);
    assert_eq!(world.fetched(), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["restore"]);
    assert_eq!(world.restored(), ["serving 0", "answer 1: error available"]);
}

#[test]
fn a_player_is_forgotten_after_its_last_acknowledgement() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 5), ["execute"]);
    assert_eq!(world.returned(), ["append 2 #2 seq2"]);
    assert!(world.ask(3, Operation::Forget, 3).is_empty());
    assert!(world.call(4, 1).is_empty(), "who comes after it waits for the new player");
    assert_eq!(world.acknowledged(2), ["answer 2: 5", "change 1 -> []"]);
    let end = ["release 2", "answer 3: forgotten at 2", "answer 4: error moved", "close"];
    assert_eq!(world.changed(2), end);
}

#[test]
fn a_player_without_a_readable_copy_can_be_forgotten() {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 3]);
    assert_eq!(world.ask(1, Operation::Forget, 1), ["change 5 -> []"]);
    assert_eq!(world.changed(6), ["release 2", "answer 1: forgotten", "close"]);
    let mut none = World::new(Origin::New(fresh()), &[1, 2]);
    assert_eq!(none.ask(1, Operation::Forget, 1), ["answer 1: forgotten", "close"]);
}

#[test]
fn a_forgotten_player_begins_anew_above_its_old_generation() {
    let forgotten = PlayerRecord { keepers: Vec::new(), ..record(4, 2) };
    let mut world = World::new(Origin::Again(forgotten, fresh()), &[1, 2]);
    assert_eq!(world.call(1, 5), ["change 5 -> []"], "claimed, so that keepers listen");
    assert_eq!(world.changed(6), ["seed 2 at 0 under 6"]);
    assert_eq!(world.seeded(Ok(())), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["restore"]);
}

#[test]
fn a_recovery_whose_last_reply_is_lost_is_unknown() {
    let unknown = ["answer 1: error unknown", "close"];
    assert_eq!(asking(0).kept(0, Err(AskError::Lost)), unknown);
    let failed = Refusal::Disk { reason: "full".to_owned() };
    assert_eq!(asking(0).refused(0, failed), unknown);
    let mut down = asking(0);
    down.set_up(&[1, 3]);
    assert_eq!(down.feed(Event::Nodes), unknown);
}

#[test]
fn a_recovery_that_fails_after_the_copy_came_is_unknown() {
    let mut world = asking(0);
    assert_eq!(world.fetched(), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["restore"]);
    let player = "player1".parse().unwrap();
    let failed = CallError::Broken { player, reason: "no memory".to_owned() };
    let end = world.feed(Event::RestoreFailed(RestoreFailure::Here(failed)));
    assert!(end.contains(&"answer 1: error unknown".to_owned()), "{end:?}");
}

#[test]
fn a_recovery_that_was_never_carried_out_is_not_unknown() {
    let unavailable = ["answer 1: error unavailable", "close"];
    assert_eq!(asking(0).kept(0, Err(AskError::Unreachable)), unavailable);
    assert_eq!(asking(0).refused(0, Refusal::Stale { seq: Seq(3) }), unavailable);
}

#[test]
fn only_the_one_who_recovers_is_told_of_it() {
    let mut world = asking(0);
    assert!(world.call(2, 5).is_empty());
    let end = world.kept(0, Err(AskError::Lost));
    assert_eq!(end, ["answer 1: error unknown", "answer 2: error unavailable", "close"]);
}
