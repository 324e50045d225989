//! Rest and what comes after it.

use super::*;

const RESTED: Rested = Rested { generation: Generation(1), seq: Seq(1), first_calls: None };

/// The record of a player that rests on this node with a keeper on node 2.
fn resting() -> PlayerRecord {
    let mut record = record(1, 2);
    record.generation = RESTED.generation;
    record.keepers.push(KeeperCopy { node: NodeId(1), copy: CopyId(98) });
    record
}

fn woken(record: PlayerRecord, up: &[u64]) -> World {
    let mut world = World::new(Origin::Rested(record, RESTED), up);
    world.quiet = false;
    world
}

/// The state at which it stopped.
fn stopped() -> PlayerState {
    let mut state = fresh();
    let effect = Effect::new(CallKey(1), &Operation::Reward(Term::Integer(0)), 0);
    state.apply(&Record { seq: Seq(1), effect, delta: Delta::default() }).unwrap();
    state
}

fn at(seq: u64) -> Result<KeeperReply, AskError> {
    Ok(KeeperReply::Acknowledged { seq: Seq(seq) })
}

fn read(state: PlayerState) -> Result<KeeperReply, AskError> {
    Ok(KeeperReply::Fetched(Box::new(state)))
}

#[test]
fn a_player_that_nobody_calls_rests() {
    let mut world = World::serving();
    assert_eq!(world.wait(), ["rest at 1 under 1"]);
    assert_eq!(world.machine.next_wake(), None);
    assert!(!world.machine.is_active());
}

#[test]
fn a_player_rests_when_asked_but_not_before_its_last_acknowledgement() {
    let mut world = World::serving();
    world.call(2, 5);
    assert_eq!(world.feed(Event::Rest), Vec::<String>::new(), "it executes");
    world.returned();
    assert_eq!(world.feed(Event::Rest), Vec::<String>::new(), "nobody has acknowledged it");
    assert_eq!(world.acknowledged(2), ["answer 2: 5"]);
    assert_eq!(world.feed(Event::Rest), ["rest at 2 under 1"]);
}

#[test]
fn a_player_whose_keeper_is_being_replaced_does_not_rest() {
    let mut world = World::serving();
    world.set_up(&[1, 3]);
    assert_eq!(world.feed(Event::Nodes), ["seed 3 at 1 under 1"]);
    assert_eq!(world.feed(Event::Rest), Vec::<String>::new());
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [3]"]);
    assert_eq!(world.feed(Event::Rest), Vec::<String>::new());
    assert_eq!(world.changed(2), ["release 2"]);
    assert_eq!(world.feed(Event::Rest), ["rest at 1 under 2"]);
}

#[test]
fn a_player_without_a_copy_of_its_own_gives_up_no_more_than_the_instance() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    world.quiet = false;
    world.call(1, 5);
    let copy = world.copy_on(1);
    world.feed(Event::Kept { copy, number: 0, reply: Err(AskError::Lost) });
    assert_eq!(world.acknowledged_by(2, 0), ["change 0 -> [2]"]);
    world.changed(1);
    world.restored();
    world.returned();
    assert_eq!(world.acknowledged_by(2, 1), ["answer 1: 5"]);
    assert_eq!(world.feed(Event::Rest), ["give up"]);
    assert!(world.machine.next_wake().is_some(), "it goes on trying");
    assert_eq!(world.call(2, 5), ["restore"]);
    assert_eq!(world.restored(), ["execute"]);
    world.returned();
    world.acknowledged_by(2, 2);
    let mut told = Vec::new();
    while !told.iter().any(|told| told == "give up") {
        told = world.wait();
        assert!(!told.iter().any(|told| told.starts_with("rest")), "{told:?}");
    }
}

#[test]
fn a_player_that_is_alone_rests_until_there_is_somebody() {
    let mut world = woken(resting(), &[1]);
    assert_eq!(world.call(2, 5), ["fetch 1 under 1"]);
    let told = world.kept(0, read(stopped()));
    assert_eq!(told, ["answer 2: error single_node", "rest at 1 under 1"]);
}

#[test]
fn a_player_wakes_from_its_own_copy_and_nothing_else_is_asked() {
    let mut world = woken(resting(), &[1, 2, 3]);
    assert_eq!(world.call(2, 5), ["fetch 1 under 1"]);
    assert_eq!(world.kept(0, read(stopped())), ["restore"]);
    assert_eq!(world.restored(), ["serving 1", "execute"]);
    assert_eq!(world.returned(), ["append 1 #1 seq2", "append 2 #1 seq2"]);
}

#[test]
fn a_player_that_wakes_is_fenced_like_any_other() {
    let mut world = woken(resting(), &[1, 2, 3]);
    world.call(2, 5);
    let fenced = Refusal::Fenced { generation: Generation(2) };
    assert_eq!(world.refused(0, fenced), ["answer 2: error moved", "close"]);
}

#[test]
fn an_own_copy_that_is_not_what_it_was_is_not_trusted() {
    for reply in [
        read(fresh()),
        Err(AskError::Lost),
        Ok(KeeperReply::Refused(Refusal::Gap { have: None })),
        Ok(KeeperReply::Refused(Refusal::Stale { seq: Seq(1) })),
    ] {
        let mut world = woken(resting(), &[1, 2, 3]);
        world.call(2, 5);
        assert_eq!(world.kept(0, reply), ["change 1 -> [2, 1]"]);
        assert_eq!(world.changed(2), ["fetch 2 under 2", "fetch 1 under 2"]);
    }
    let mut world = woken(resting(), &[1, 2, 3]);
    assert_eq!(world.call(2, 5), ["fetch 1 under 1"]);
    assert_eq!(world.wait(), ["change 1 -> [2, 1]"], "nor is one that does not come");
}

#[test]
fn a_player_that_had_another_owner_meanwhile_is_claimed() {
    let changed = PlayerRecord { generation: Generation(3), ..resting() };
    assert_eq!(woken(changed, &[1, 2, 3]).call(2, 5), ["change 3 -> [2, 1]"]);
    let other = PlayerRecord { owner: Writer { node: NodeId(3), ..ME }, ..resting() };
    assert_eq!(woken(other, &[1, 2]).call(2, 5), ["change 1 -> [2, 1]"]);
}

#[test]
fn a_keeper_that_went_down_during_the_rest_is_replaced_without_an_instance() {
    let mut world = woken(resting(), &[1, 3]);
    assert_eq!(world.feed(Event::Open), ["fetch 1 under 1"]);
    assert_eq!(world.kept(0, read(stopped())), ["seed 3 at 1 under 1"]);
    assert_eq!(world.seed_ends(3, at(1)), ["change 1 -> [1, 3]"]);
    assert_eq!(world.changed(2), ["release 2", "serving 1", "rest at 1 under 2"]);
}

#[test]
fn a_player_that_nobody_calls_rests_again_when_the_others_have_all_of_it() {
    let mut world = woken(resting(), &[1, 2, 3]);
    world.feed(Event::Open);
    assert_eq!(world.kept(0, read(stopped())), ["confirm 2 #1", "serving 1"]);
    let copy = resting().keepers[0];
    let there = Event::Kept { copy, number: 1, reply: at(1) };
    assert_eq!(world.feed(there), ["rest at 1 under 1"]);
}

#[test]
fn a_keeper_that_has_lost_its_copy_during_the_rest_gets_it_anew_without_a_call() {
    let lost = [
        Ok(KeeperReply::Refused(Refusal::Gap { have: None })),
        Ok(KeeperReply::Refused(Refusal::Gap { have: Some(Seq(0)) })),
        Err(AskError::Lost),
    ];
    for reply in lost {
        let mut world = woken(resting(), &[1, 2]);
        world.feed(Event::Open);
        assert_eq!(world.kept(0, read(stopped())), ["confirm 2 #1", "serving 1"]);
        let copy = resting().keepers[0];
        assert_eq!(world.feed(Event::Kept { copy, number: 1, reply }), ["seed 2 at 1 under 1"]);
        assert_eq!(world.seed_ends(2, at(1)), ["change 1 -> [1, 2]"]);
        assert_eq!(world.changed(2), ["release 2", "rest at 1 under 2"]);
    }
}

#[test]
fn a_keeper_with_too_much_to_do_is_asked_again() {
    let mut world = woken(resting(), &[1, 2, 3]);
    world.call(2, 5);
    assert_eq!(world.kept(0, Err(AskError::Full)), Vec::<String>::new());
    assert_eq!(world.wait(), ["fetch 1 under 1"]);
}

#[test]
fn a_player_of_a_node_that_leaves_wakes_up_to_be_handed_over() {
    let mut world = woken(resting(), &[1, 2, 3]);
    world.set_draining(1);
    world.feed(Event::Open);
    let told = world.kept(0, read(stopped()));
    assert_eq!(told, ["confirm 2 #1", "serving 1", "change 1 -> [2, 1]"]);
}

#[test]
fn a_look_does_not_keep_a_player_from_resting() {
    let mut world = World::serving();
    let due = world.machine.next_wake();
    world.now += IDLE_AFTER / 2;
    let (player, key) = ("player1".parse().unwrap(), CallKey(2));
    let call = Call { player, key, operation: Operation::Points };
    let deadline = world.now + Duration::from_secs(10);
    world.feed(Event::Call { ticket: 2, call, deadline, counts: false });
    world.feed(Event::Returned { value: 0.into(), delta: Delta::default() });
    assert_eq!(world.acknowledged_by(2, 2), ["answer 2: 0"]);
    assert_eq!(world.machine.next_wake(), due);
    assert_eq!(world.wait(), ["rest at 1 under 1"]);
}

#[test]
fn a_look_makes_no_instance() {
    let mut world = woken(resting(), &[1, 2, 3]);
    let (player, key) = ("player1".parse().unwrap(), CallKey(2));
    let call = Call { player, key, operation: Operation::Points };
    let deadline = world.now + Duration::from_secs(10);
    let look = Event::Call { ticket: 2, call, deadline, counts: false };
    assert_eq!(world.feed(look), ["answer 2: error timed"]);
}
