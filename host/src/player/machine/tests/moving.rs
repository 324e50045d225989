//! Players that somebody wants on another node.

use super::*;
use crate::protocol::Value;

fn to(node: u64) -> Operation {
    Operation::Move(format!("node{node}").parse().unwrap())
}

/// The key of the moves here.
const KEY: u128 = 77;

/// A state of a player that node 4 has moved to this node, or begun to.
fn moved_to(node: u64) -> PlayerState {
    let mut state = fresh();
    let effect = Effect::new(CallKey(KEY), &to(node), Value::Wave("node4".to_owned()));
    state.apply(&Record { seq: Seq(1), effect, delta: Delta::default() }).unwrap();
    state
}

/// A player of dead node 4 that comes to this node with a state, because somebody moves it.
fn opened_with(state: PlayerState, operation: Operation) -> World {
    let mut world = World::new(Origin::Known(record(4, 2)), &[1, 2, 3]);
    assert_eq!(world.ask(1, operation, KEY), ["change 5 -> [2]"]);
    assert_eq!(world.changed(6), ["fetch 2 under 6"]);
    world.kept(0, Ok(KeeperReply::Fetched(Box::new(state))));
    assert_eq!(world.changed(7), ["restore"]);
    world
}

fn owner_and_keepers(world: &World) -> (u64, Vec<u64>) {
    let change = world.change.as_ref().unwrap();
    let mut keepers: Vec<u64> = change.keepers.iter().map(|keeper| keeper.node.0).collect();
    keepers.sort_unstable();
    (change.owner.node.0, keepers)
}

#[test]
fn a_player_is_moved_after_its_last_acknowledgement_and_all_who_wait_are_sent_on() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 5), ["execute"]);
    assert!(world.ask(3, to(3), KEY).is_empty());
    assert_eq!(world.returned(), ["append 2 #2 seq2"]);
    assert!(world.call(4, 5).is_empty(), "nothing is executed any more");
    assert_eq!(world.acknowledged(2), ["answer 2: 5", "append 2 #3 seq3"], "the key is kept");
    assert_eq!(world.acknowledged(3), ["change 1 -> [2]"]);
    assert_eq!(owner_and_keepers(&world), (3, vec![1, 2]), "with the copies that there are");
    let sent_on = ["answer 4: error moved", "answer 3: error moved", "close"];
    assert_eq!(world.changed(2), sent_on);
}

#[test]
fn the_new_owner_answers_for_the_move_and_the_same_key_moves_nothing_again() {
    let mut world = opened_with(moved_to(1), to(1));
    assert_eq!(world.restored(), ["serving 1", "confirm 2 #1"]);
    assert_eq!(world.acknowledged_by(2, 1), ["answer 1: from node4 to node1 at 1"]);
    // It was moved on since, or never came there.
    let mut world = opened_with(moved_to(3), to(3));
    assert_eq!(world.restored(), ["serving 1", "answer 1: error not_there"]);
    assert_eq!(world.machine.seq(), Seq(1));
    assert_eq!(world.ask(2, to(2), KEY), ["answer 2: error key_reused"]);
}

#[test]
fn a_move_that_cannot_be_made_changes_nothing() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, to(9), 2), ["answer 2: error not_moved"]);
    assert_eq!(world.ask(3, to(4), 3), ["answer 3: error not_moved"], "it is down");
    world.set_draining(3);
    assert_eq!(world.ask(4, to(3), 4), ["answer 4: error not_moved"]);
    assert_eq!(world.ask(5, to(1), 5), ["confirm 2 #2"], "it is here already");
    assert_eq!(world.acknowledged(2), ["answer 5: from node1 to node1 at 1"]);
    assert_eq!((world.machine.seq(), world.machine.generation()), (Seq(1), Generation(1)));
    assert_eq!(world.call(6, 5), ["execute"]);
}

#[test]
fn the_nodes_that_there_are_are_named_to_who_names_another() {
    let mut world = World::serving();
    world.set_draining(3);
    let call = Call { player: "player1".parse().unwrap(), key: CallKey(2), operation: to(9) };
    let (deadline, mut out) = (world.now + Duration::from_secs(10), Vec::new());
    let view = View {
        now: world.now,
        nodes: &world.nodes,
        keepers_wanted: 1,
        shunned: &world.shunned,
        rollout: &world.rollout,
        has_leader: true,
    };
    let event = Event::Call { ticket: 2, call, deadline, counts: true };
    world.machine.handle(event, view, &mut out);
    let [Action::Answer { result: Err(error), .. }] = &out[..] else { panic!("{out:?}") };
    let expected = "not_moved: there is no node node9; there are node1, node2, node3 (draining), \
                    node4 (down); player1 stays on node1";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_player_that_does_not_exist_is_not_created_by_a_move() {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    assert_eq!(world.ask(1, to(2), KEY), ["answer 1: error no_player", "close"]);
    let ended = PlayerRecord { keepers: Vec::new(), ..record(4, 2) };
    let mut world = World::new(Origin::Again(ended, fresh()), &[1, 2]);
    assert_eq!(world.ask(1, to(2), KEY), ["answer 1: error no_player", "close"]);
}

#[test]
fn a_keeper_becomes_owner_while_the_old_owners_copy_stays() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, to(2), KEY), ["append 2 #2 seq2"]);
    assert_eq!(world.acknowledged(2), ["change 1 -> [2]"]);
    assert_eq!(owner_and_keepers(&world), (2, vec![1, 2]));
}

/// A player of this node whose disk takes no copy, kept by node 2 alone.
fn without_own_copy() -> World {
    let mut world = World::new(Origin::New(fresh()), &[1, 2]);
    world.quiet = false;
    assert_eq!(world.call(1, 0), ["seed 2 at 0 under 0", "seed 1 at 0 under 0"]);
    let full = || KeeperReply::Refused(Refusal::Disk { reason: "full".to_owned() });
    world.seed_ends(1, Ok(full()));
    let seeded = KeeperReply::Acknowledged { seq: Seq(0) };
    assert_eq!(world.seed_ends(2, Ok(seeded)), ["change 0 -> [2]"]);
    world.changed(1);
    world.restored();
    world.returned();
    assert_eq!(world.acknowledged_by(2, 1), ["answer 1: 0"]);
    world
}

#[test]
fn the_only_keeper_becomes_owner_after_another_one_was_found() {
    let mut world = without_own_copy();
    world.set_up(&[1, 2, 3]);
    assert_eq!(world.ask(2, to(2), KEY), ["append 2 #2 seq2"]);
    assert_eq!(world.acknowledged_by(2, 2), ["seed 3 at 2 under 1"]);
    let seeded = KeeperReply::Acknowledged { seq: Seq(2) };
    assert_eq!(world.seed_ends(3, Ok(seeded)), ["change 1 -> [2, 3]"]);
    assert_eq!(owner_and_keepers(&world), (1, vec![2, 3]), "seed first, then name");
    assert_eq!(world.changed(2), ["change 2 -> [2, 3]"]);
    assert_eq!(owner_and_keepers(&world), (2, vec![2, 3]));
}

#[test]
fn the_only_keeper_does_not_become_owner_where_nobody_else_can_keep_a_copy() {
    let mut world = without_own_copy();
    assert_eq!(world.ask(2, to(2), KEY), ["append 2 #2 seq2"]);
    assert!(world.call(3, 5).is_empty());
    assert_eq!(world.acknowledged_by(2, 2), ["answer 2: error not_moved", "execute"]);
}

#[test]
fn a_move_is_given_up_when_its_node_does_not_stay_and_calls_go_on() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, to(3), KEY), ["append 2 #2 seq2"]);
    assert!(world.call(3, 5).is_empty());
    world.set_draining(3);
    assert!(world.feed(Event::Nodes).is_empty(), "the key is on its way");
    assert_eq!(world.acknowledged(2), ["answer 2: error not_moved", "execute"]);
}

#[test]
fn nobody_waits_for_a_move_that_nobody_could_decide() {
    let mut world = World::serving();
    world.has_leader = false;
    assert_eq!(world.ask(2, to(3), KEY), ["answer 2: error not_moved"]);
    world.has_leader = true;
    assert_eq!(world.ask(3, to(3), KEY), ["append 2 #2 seq2"]);
    assert!(world.call(4, 5).is_empty());
    world.has_leader = false;
    assert_eq!(world.acknowledged(2), ["answer 3: error not_moved", "execute"]);
}

#[test]
fn a_move_that_the_directory_refused_is_fenced_before_calls_go_on() {
    let mut world = World::serving();
    world.ask(2, to(3), KEY);
    assert_eq!(world.acknowledged(2), ["change 1 -> [2]"]);
    world.call(3, 5);
    world.set_up(&[1, 2]);
    let current = world.machine.record.clone();
    let refused = world.feed(Event::Changed(Some(ChangeOutcome::Conflict(current))));
    assert_eq!(refused, ["change 1 -> [2]"]);
    assert_eq!(owner_and_keepers(&world), (1, vec![1, 2]), "the same once more, to fence it");
    assert_eq!(world.changed(2), ["answer 2: error not_moved", "execute"]);
}

#[test]
fn a_keeper_that_is_lost_on_the_way_is_replaced_first() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, to(3), KEY), ["append 2 #2 seq2"]);
    world.set_up(&[1, 3, 4]);
    assert_eq!(world.feed(Event::Nodes), ["seed 4 at 2 under 1"]);
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [4]"]);
    // The full copy has the key, too.
    assert_eq!(world.changed(2), ["release 2", "change 2 -> [4]"]);
    assert_eq!(owner_and_keepers(&world), (3, vec![1, 4]));
}

#[test]
fn a_server_that_ends_does_not_know_what_became_of_the_move() {
    let mut world = World::serving();
    world.ask(2, to(3), KEY);
    assert_eq!(world.acknowledged(2), ["change 1 -> [2]"]);
    assert_eq!(world.feed(Event::Stop), ["answer 2: error unknown", "close"]);
}

#[test]
fn a_player_that_rests_is_moved_too() {
    let state = moved_to(4);
    let kept = PlayerRecord {
        keepers: vec![
            KeeperCopy { node: NodeId(2), copy: CopyId(99) },
            KeeperCopy { node: NodeId(1), copy: CopyId(98) },
        ],
        ..record(1, 2)
    };
    let rested = Rested { generation: Generation(5), seq: Seq(1), first_calls: None };
    let mut world = World::new(Origin::Rested(kept, rested), &[1, 2, 3]);
    assert_eq!(world.ask(1, to(3), 5), ["fetch 1 under 5"]);
    assert_eq!(world.kept(0, Ok(KeeperReply::Fetched(Box::new(state)))), ["restore"]);
    assert_eq!(world.restored(), ["serving 1", "append 2 #1 seq2"]);
    let copy = KeeperCopy { node: NodeId(2), copy: CopyId(99) };
    let reply = Ok(KeeperReply::Acknowledged { seq: Seq(2) });
    assert_eq!(world.feed(Event::Kept { copy, number: 1, reply }), ["change 5 -> [2]"]);
    assert_eq!(owner_and_keepers(&world), (3, vec![1, 2]));
}

#[test]
fn a_player_in_quarantine_is_moved_as_it_is() {
    let mut world = super::quarantine::opened_again();
    assert_eq!(world.ask(2, to(3), KEY), ["fetch 1 under 10"]);
    let told = world.fetched();
    assert_eq!(told, ["append 2 #1 seq1"]);
    assert_eq!(world.acknowledged_by(2, 1), ["change 10 -> [2] failed 3"]);
    assert_eq!(owner_and_keepers(&world).0, 3);
    assert_eq!(world.changed(11), ["answer 2: error moved", "close"]);
}
