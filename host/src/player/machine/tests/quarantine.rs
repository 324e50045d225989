//! Restores that fail: what counts, what is tried again, and what becomes of a player in quarantine.

use super::*;
use crate::limits::{FAILED_RESTORES_MAX, RESTORE_REASON_BYTES_MAX, RESTORE_RETRY};
use crate::protocol::{Effect, Exhibit, FailedRestores, Record};
use crate::snapshot::Delta;

fn fails(world: &mut World) -> Vec<String> {
    world.feed(Event::RestoreFailed(RestoreFailure::State("no".to_owned())))
}

fn failed(times: u32) -> Option<Box<FailedRestores>> {
    Some(Box::new(FailedRestores { times, seq: Seq(0), reason: "no".to_owned() }))
}

/// A record of a player that node 4 ran, whose restores have failed so often.
fn record_after(times: u32) -> PlayerRecord {
    PlayerRecord { failed: failed(times), ..record(4, 2) }
}

/// A player of a dead owner that was brought into quarantine by a call.
fn in_quarantine() -> World {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
    assert_eq!(world.call(1, 5), ["change 5 -> [2]"]);
    assert_eq!(world.changed(6), ["fetch 2 under 6"]);
    assert_eq!(world.fetched(), ["change 6 -> [2]"]);
    assert_eq!(world.changed(7), ["restore"]);
    assert_eq!(fails(&mut world), ["change 7 -> [2] failed 1"]);
    assert!(world.changed(8).is_empty(), "it pauses");
    assert_eq!(world.wait(), ["restore"]);
    assert_eq!(fails(&mut world), ["change 8 -> [2] failed 2"]);
    assert!(world.changed(9).is_empty());
    assert_eq!(world.wait(), ["restore"]);
    assert_eq!(fails(&mut world), ["change 9 -> [2] failed 3"]);
    assert_eq!(world.changed(10), ["answer 1: error quarantined", "rest at 0 under 10"]);
    world
}

/// The same, opened again by a call or an operator.
pub(super) fn opened_again() -> World {
    let mut world = in_quarantine();
    let record = world.machine.record.clone().unwrap();
    let rested = Rested { generation: Generation(10), seq: Seq(0), first_calls: None };
    let player = "player1".parse().unwrap();
    world.machine = Machine::new(player, ME, Origin::Rested(record, rested), 7, IDLE_AFTER);
    world
}

#[test]
fn a_state_that_is_never_restored_ends_in_quarantine() {
    assert_eq!(FAILED_RESTORES_MAX, 3, "as often as `in_quarantine` tries");
    let world = in_quarantine();
    let failed = world.machine.record.unwrap().failed.unwrap();
    assert_eq!((failed.times, failed.seq, failed.reason.as_str()), (3, Seq(0), "no"));
}

#[test]
fn pauses_between_restores_grow_and_no_change_of_the_nodes_shortens_them() {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
    world.call(1, 5);
    world.changed(6);
    world.fetched();
    world.changed(7);
    let mut pauses = Vec::new();
    for generation in [8, 9] {
        fails(&mut world);
        world.changed(generation);
        let began = world.now;
        world.now += Duration::from_millis(1);
        assert!(world.feed(Event::Nodes).is_empty());
        assert_eq!(world.wait(), ["restore"]);
        pauses.push(world.now - began);
    }
    assert_eq!(pauses, [RESTORE_RETRY, 4 * RESTORE_RETRY]);
}

#[test]
fn a_pause_is_kept_although_nobody_waits_when_it_begins() {
    for called in [true, false] {
        let mut world = World::serving();
        world.call(2, 0);
        let message = "not an integer".to_owned();
        world.feed(Event::Trapped { message, lacked: false });
        let told = fails(&mut world);
        assert_eq!(told, ["answer 2: error cannot", "change 1 -> [2] failed 1"]);
        assert_eq!(
            world.changed(2),
            ["serving 1"],
            "it does not rest, or it would forget the pause"
        );
        assert!(world.feed(Event::Rest).is_empty());
        let began = world.now;
        if called {
            assert!(world.call(3, 1).is_empty());
            assert_eq!(world.wait(), ["restore"]);
        } else {
            assert_eq!(world.wait(), ["rest at 1 under 2"]);
        }
        assert_eq!(world.now - began, RESTORE_RETRY);
    }
}

#[test]
fn the_count_goes_on_with_the_next_owner() {
    let mut world = World::new(Origin::Known(record_after(2)), &[1, 2, 3]);
    assert_eq!(world.call(1, 5), ["change 5 -> [2] failed 2"], "a claim repeats it");
    world.changed(6);
    assert_eq!(world.fetched(), ["change 6 -> [2] failed 2"]);
    assert_eq!(world.changed(7), ["restore"]);
    assert_eq!(fails(&mut world), ["change 7 -> [2] failed 3"]);
    assert_eq!(world.changed(8), ["answer 1: error quarantined", "rest at 0 under 8"]);
}

#[test]
fn a_player_in_quarantine_is_taken_over_and_refused_without_a_restore() {
    let mut world = World::new(Origin::Known(record_after(3)), &[1, 2, 3]);
    assert_eq!(world.call(1, 5), ["change 5 -> [2] failed 3"]);
    world.changed(6);
    assert_eq!(world.fetched(), ["change 6 -> [2] failed 3"]);
    assert_eq!(world.changed(7), ["answer 1: error quarantined", "rest at 0 under 7"]);
}

#[test]
fn a_restore_that_succeeds_ends_the_row_before_a_call_is_executed() {
    let mut world = World::new(Origin::Known(record_after(2)), &[1, 2, 3]);
    world.call(1, 5);
    world.changed(6);
    world.fetched();
    assert_eq!(world.changed(7), ["restore"]);
    assert_eq!(world.restored(), ["serving 0", "change 7 -> [2]"]);
    assert_eq!(world.changed(8), ["execute"]);
    assert_eq!(world.machine.record.as_ref().unwrap().failed, None);
    assert_eq!(world.returned(), ["append 2 #1 seq1"]);
}

#[test]
fn what_the_machine_lacks_does_not_count() {
    for error in ["no memory", "no code"] {
        let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
        world.call(1, 5);
        world.changed(6);
        world.fetched();
        world.changed(7);
        let player = "player1".parse().unwrap();
        let error = CallError::Broken { player, reason: error.to_owned() };
        let told = world.feed(Event::RestoreFailed(RestoreFailure::Here(error)));
        assert_eq!(told, ["answer 1: error cannot", "close"]);
    }
}

#[test]
fn a_failure_after_a_trap_is_counted_when_what_was_executed_is_acknowledged() {
    let mut world = World::serving();
    world.call(2, 5);
    assert_eq!(world.returned(), ["append 2 #2 seq2"]);
    world.call(3, 0);
    let message = "not an integer".to_owned();
    assert_eq!(world.feed(Event::Trapped { message, lacked: false }), ["restore"]);
    assert_eq!(fails(&mut world), ["answer 3: error cannot"], "who trapped is told at once");
    assert!(world.call(4, 1).is_empty());
    assert_eq!(world.acknowledged(2), ["answer 2: 5", "change 1 -> [2] failed 1"]);
    let counted = world.change.clone().unwrap().failed.unwrap();
    assert_eq!(counted.seq, Seq(2), "each keeper has it");
    assert!(world.changed(2).is_empty());
    assert_eq!(world.wait(), ["restore"]);
    assert_eq!(world.restored(), ["serving 2", "change 2 -> [2]"]);
    assert_eq!(world.changed(3), ["execute"]);
}

#[test]
fn a_failure_whose_count_is_not_confirmed_is_counted_once() {
    let mut world = World::new(Origin::Known(record_after(1)), &[1, 2, 3]);
    world.call(1, 5);
    world.changed(6);
    world.fetched();
    world.changed(7);
    assert_eq!(fails(&mut world), ["change 7 -> [2] failed 2"]);
    assert!(world.feed(Event::Changed(None)).is_empty());
    assert_eq!(world.wait(), ["change 7 -> [2] failed 2"], "the same change again");
    assert!(world.changed(8).is_empty());
    assert_eq!(world.wait(), ["restore"]);
    assert_eq!(world.restored(), ["serving 0", "change 8 -> [2]"]);
}

#[test]
fn a_lost_keeper_of_a_player_in_quarantine_is_replaced_without_an_instance() {
    let mut world = opened_again();
    world.set_up(&[1, 3]);
    assert_eq!(world.feed(Event::Open), ["fetch 1 under 10"]);
    assert_eq!(world.fetched(), ["seed 3 at 0 under 10"]);
    assert_eq!(world.seeded(Ok(())), ["change 10 -> [3] failed 3"]);
    assert_eq!(world.changed(11), ["release 2", "rest at 0 under 11"]);
}

#[test]
fn a_player_in_quarantine_is_handed_over_with_its_count() {
    let mut world = opened_again();
    world.set_draining(1);
    assert_eq!(world.feed(Event::Open), ["fetch 1 under 10"]);
    let told = world.fetched();
    assert_eq!(told, ["confirm 2 #1", "change 10 -> [2] failed 3"]);
    assert_ne!(world.change.clone().unwrap().owner, ME);
    assert_eq!(world.changed(11), ["close"]);
}

#[test]
fn a_call_that_was_applied_before_the_quarantine_gets_its_answer_in_it() {
    let mut state = fresh();
    let operation = Operation::Reward(Term::Integer(5));
    let effect = Effect::new(CallKey(42), &operation, 5);
    let delta = Delta::default();
    state.apply(&Record { seq: Seq(1), effect, delta }).unwrap();
    // Its owner died before it answered, and the caller asks again.
    let mut world = World::new(Origin::Known(record_after(3)), &[1, 2, 3]);
    assert_eq!(world.call_with_key(2, 5, 42), ["change 5 -> [2] failed 3"]);
    world.changed(6);
    let fetched = KeeperReply::Fetched(Box::new(state));
    assert_eq!(world.kept(0, Ok(fetched)), ["change 6 -> [2] failed 3"]);
    assert_eq!(world.changed(7), ["confirm 2 #1"]);
    let copy = world.machine.keepers[0].copy;
    let reply = Ok(KeeperReply::Acknowledged { seq: Seq(1) });
    let told = world.feed(Event::Kept { copy, number: 1, reply });
    assert_eq!(told, ["answer 2: 5", "rest at 1 under 7"]);
}

#[test]
fn an_operator_releases_a_player_and_the_next_call_restores_it() {
    let mut world = opened_again();
    assert_eq!(world.ask(2, Operation::Release, 2), ["fetch 1 under 10"]);
    assert_eq!(world.fetched(), ["change 10 -> [2]"]);
    assert!(world.call(3, 7).is_empty(), "who comes after it waits for its end");
    let told = world.changed(11);
    assert_eq!(told, ["answer 2: released after 3", "serving 0", "restore"]);
    assert_eq!(world.restored(), ["execute"]);
    // It counts from the beginning.
    world.returned();
    let message = "not an integer".to_owned();
    world.acknowledged_by(2, 1);
    world.call(4, 0);
    world.feed(Event::Trapped { message, lacked: false });
    assert_eq!(fails(&mut world), ["answer 4: error cannot", "change 11 -> [2] failed 1"]);
}

#[test]
fn a_release_whose_end_is_not_known_is_unknown() {
    let mut world = opened_again();
    world.ask(2, Operation::Release, 2);
    assert_eq!(world.fetched(), ["change 10 -> [2]"]);
    let rival = PlayerRecord { generation: Generation(11), ..record_after(3) };
    let told = world.feed(Event::Changed(Some(ChangeOutcome::Conflict(Some(rival)))));
    assert_eq!(told, ["answer 2: error unknown", "close"]);
}

#[test]
fn what_is_in_quarantine_can_be_exported_and_forgotten() {
    let mut world = opened_again();
    let export = Operation::Bundle(Exhibit::Quarantine);
    assert_eq!(world.ask(2, export, 2), ["fetch 1 under 10"]);
    assert_eq!(world.fetched(), ["confirm 2 #1"], "an old owner exports nothing");
    world.copies = vec![KeeperCopy { node: NodeId(2), copy: CopyId(99) }];
    assert!(world.ask(3, Operation::Forget, 3).is_empty(), "not before the answer");
    let told = world.acknowledged(1);
    assert_eq!(told, ["answer 2: bundle at 0", "change 10 -> []"]);
    assert_eq!(world.changed(11), ["release 2", "answer 3: forgotten at 0", "close"]);
}

#[test]
fn nothing_is_opened_for_an_operator_who_is_mistaken() {
    for operation in [Operation::Release, Operation::Bundle(Exhibit::Quarantine)] {
        let refused = ["answer 1: error not_quarantined", "close"];
        let mut none = World::new(Origin::New(fresh()), &[1, 2]);
        assert_eq!(none.ask(1, operation.clone(), 1), refused);
        let mut well = World::new(Origin::Known(record(1, 2)), &[1, 2]);
        assert_eq!(well.ask(1, operation.clone(), 1), refused);
        let rested = Rested { generation: Generation(5), seq: Seq(0), first_calls: None };
        let mut resting = World::new(Origin::Rested(record(1, 2), rested), &[1, 2]);
        let told = resting.ask(1, operation.clone(), 1);
        assert_eq!(told, ["answer 1: error not_quarantined", "rest at 0 under 5"]);
        assert_eq!(World::serving().ask(2, operation, 2), ["answer 2: error not_quarantined"]);
    }
}

#[test]
fn a_reason_is_cut_between_two_letters() {
    let long = "ä".repeat(RESTORE_REASON_BYTES_MAX);
    let cut = FailedRestores::cut(&long);
    assert!(cut.len() <= RESTORE_REASON_BYTES_MAX && cut.len() > RESTORE_REASON_BYTES_MAX - 2);
    assert_eq!(FailedRestores::cut("short"), "short");
}
