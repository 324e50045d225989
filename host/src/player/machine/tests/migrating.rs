//! Going over to other code.

use std::sync::Arc;

use super::*;
use crate::protocol::{Audience, Crossing, DeploymentChange, Deployments, Plan, Step, Value};

const OLD: CodeHash = CodeHash([0; 32]);
const NEW: CodeHash = CodeHash([1; 32]);

fn plan(code: CodeHash) -> Plan {
    let (crossing, traps_max, nonce) = (Crossing::Migrate, 1, u64::from(code.0[0]));
    Plan { crossing, traps_max, nonce, ..Plan::founding(code, "it.wasm") }
}

impl World {
    fn deploy(&mut self, change: DeploymentChange) -> Vec<String> {
        let mut deployments = Deployments::clone(&self.rollout.deployments);
        deployments.apply(&change).unwrap();
        self.rollout.deployments = Arc::new(deployments);
        self.feed(Event::Nodes)
    }

    /// The code that the player runs, and another one after it, which is here.
    fn deploy_new(&mut self, plan: Plan) -> Vec<String> {
        let founding = Plan::founding(OLD, "old.wasm");
        self.deploy(DeploymentChange::Deploy { after: 0, plan: founding });
        self.rollout.loaded = [OLD, NEW].into();
        self.deploy(DeploymentChange::Deploy { after: 1, plan })
    }

    fn migrated(&mut self) -> Vec<String> {
        self.feed(Event::Migrated { snapshot: Snapshot::initial([64]) })
    }

    fn not_migrated(&mut self, failure: StepFailure) -> Vec<String> {
        self.feed(Event::NotMigrated(failure))
    }

    fn code(&self) -> CodeHash {
        self.machine.state().unwrap().code
    }

    fn trapped(&mut self) -> Vec<String> {
        self.feed(Event::Trapped { message: "boom".to_owned(), lacked: false })
    }
}

#[test]
fn a_call_sees_the_old_code_or_the_new_and_nothing_between() {
    let mut world = World::serving();
    assert_eq!(world.call(2, 5), ["execute"]);
    assert_eq!(world.deploy_new(plan(NEW)), NOTHING, "a call is under way");
    assert_eq!(world.call(3, 1), NOTHING);
    assert_eq!(world.returned(), ["append 2 #2 seq2"], "the next one waits for the step");
    assert_eq!(world.acknowledged(2), ["answer 2: 5", "migrate 1"]);
    assert_eq!(world.migrated(), ["seed 2 at 3 under 1"], "a full copy, one position later");
    assert_eq!(world.call(4, 1), NOTHING);
    assert_eq!(world.code(), NEW);
    assert_eq!(world.seeded(Ok(())), ["change 1 -> [2]"], "nothing is executed before it is named");
    assert_eq!(world.change.as_ref().unwrap().code, NEW);
    let before = world.copies[0];
    assert!(!world.change.as_ref().unwrap().keepers.contains(&before), "all copies are new");
    assert_eq!(world.changed(2), ["release 2", "execute"]);
    assert_eq!(world.returned(), ["append 2 #3 seq4", "execute"]);
}

const NOTHING: [&str; 0] = [];

#[test]
fn code_that_is_not_here_yet_makes_nobody_wait() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.rollout.loaded = [OLD].into();
    assert_eq!(world.call(2, 5), ["execute"]);
    world.returned();
    world.acknowledged(2);
    world.rollout.loaded = [OLD, NEW].into();
    assert_eq!(world.feed(Event::Nodes), NOTHING, "nobody calls, and nobody urges it");
    assert_eq!(world.feed(Event::Open), ["migrate 1"]);
}

#[test]
fn a_step_that_fails_leaves_the_player_on_its_old_code_and_is_reported_once() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    assert_eq!(world.call(2, 5), ["migrate 1"]);
    let failure = StepFailure::Code("it refused".to_owned());
    assert_eq!(world.not_migrated(failure), ["report 2: it refused", "execute"]);
    assert_eq!(world.code(), OLD);
    world.returned();
    world.acknowledged(2);
    assert_eq!(world.call(3, 5), ["execute"], "it is not tried again");
    let reason = "it refused".to_owned();
    let player = "player1".parse().unwrap();
    world.deploy(DeploymentChange::Failed { number: 2, player, reason });
    world.returned();
    world.acknowledged(3);
    assert_eq!(world.call(4, 5), ["execute"]);
    assert_eq!(world.code(), OLD);
}

#[test]
fn a_machine_without_memory_says_nothing_about_the_code() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    assert_eq!(world.call(2, 5), ["migrate 1"]);
    assert_eq!(world.not_migrated(StepFailure::Here("no memory".to_owned())), ["execute"]);
    world.returned();
    world.acknowledged(2);
    assert_eq!(world.call(3, 5), ["execute"], "not at once");
    world.returned();
    world.acknowledged(3);
    world.now += Duration::from_secs(2);
    assert_eq!(world.call(4, 5), ["migrate 1"]);
}

#[test]
fn a_player_that_rests_goes_over_and_rests_again() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    assert_eq!(world.feed(Event::Rest), ["rest at 1 under 1"]);

    // Its guardian opens it, and nobody calls.
    let owner = ME;
    let keepers = vec![
        KeeperCopy { node: NodeId(2), copy: CopyId(99) },
        KeeperCopy { node: ME.node, copy: CopyId(98) },
    ];
    let record =
        PlayerRecord { generation: Generation(1), owner, keepers, code: OLD, failed: None };
    let rested = Rested { generation: Generation(1), seq: Seq(0), first_calls: None };
    let mut woken = World::new(Origin::Rested(record, rested), &[1, 2, 3]);
    woken.deploy_new(plan(NEW));
    assert_eq!(woken.feed(Event::Open), ["fetch 1 under 1"]);
    assert_eq!(woken.fetched(), ["confirm 2 #1", "serving 0", "restore"]);
    woken.copies.push(KeeperCopy { node: NodeId(2), copy: CopyId(99) });
    assert_eq!(woken.acknowledged(1), NOTHING);
    assert_eq!(woken.restored(), ["migrate 1"], "an instance of the old code saves");
    assert_eq!(woken.migrated(), ["give up", "seed 2 at 1 under 1"]);
    assert_eq!(woken.seeded(Ok(())), ["change 1 -> [2]"]);
    assert_eq!(woken.changed(2), ["release 2", "rest at 1 under 2"]);
}

#[test]
fn too_many_traps_of_the_first_calls_are_reported() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    assert_eq!(world.changed(2), ["release 2", "execute"]);
    assert_eq!(world.trapped(), ["restore"], "one may trap");
    assert_eq!(world.restored(), ["confirm 2 #2"]);
    world.call(3, 1);
    let report = "report 2: trapped in 2 of its first 2 calls: boom";
    assert_eq!(world.trapped(), [report, "restore"]);
    world.restored();
    world.call(4, 1);
    assert_eq!(world.trapped(), ["restore"], "it was said");
}

#[test]
fn a_drill_is_no_trap_of_new_code() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    world.changed(2);
    world.returned();
    for ticket in 3..=5 {
        let drill = world.ask(ticket, Operation::Crash, u128::from(ticket));
        assert_eq!(drill, ["give up", "restore"], "nothing is reported");
        world.restored();
    }
    world.call(6, 1);
    assert_eq!(world.trapped(), ["restore"], "the first one that counts");
    world.restored();
    world.call(7, 1);
    assert_eq!(world.trapped(), ["report 2: trapped in 2 of its first 3 calls: boom", "restore"]);
}

#[test]
fn traps_of_later_calls_are_nobodys_fault() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    world.changed(2);
    for ticket in 3..=12 {
        assert!(!world.returned().is_empty());
        world.call(ticket, 1);
    }
    for ticket in 13..=20 {
        assert_eq!(world.trapped(), ["restore"], "{ticket}");
        world.restored();
        world.call(ticket, 1);
    }
}

#[test]
fn whoever_fails_becomes_what_it_was() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    let before = world.machine.state().unwrap().clone();
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    world.changed(2);
    world.trapped();
    world.restored();
    let kept = world.machine.state().unwrap().before.clone().unwrap();
    assert_eq!((kept.code, &kept.snapshot), (OLD, &before.snapshot));
    let (reason, player) = ("it trapped".to_owned(), "player1".parse().unwrap());
    world.deploy(DeploymentChange::Failed { number: 2, player, reason });
    assert_eq!(world.call(3, 1), NOTHING, "the trap is not answered yet");
    assert_eq!(world.acknowledged(2), ["answer 2: crash at 2", "migrate 0"]);
    let state = world.machine.state().unwrap().clone();
    let step = world.rollout.step_for(&"player1".parse().unwrap(), NEW).unwrap();
    assert_eq!(Way::of(&state, step), Way::Back(&kept));
    world.feed(Event::Migrated { snapshot: kept.snapshot.clone() });
    world.seeded(Ok(()));
    assert_eq!(world.changed(3), ["release 2", "execute"]);
    let after = world.machine.state().unwrap();
    assert_eq!((after.code, &after.snapshot, after.seq), (OLD, &before.snapshot, Seq(3)));
    assert_eq!(after.before, None);
}

#[test]
fn the_way_is_the_one_that_loses_nothing() {
    let step = |resets| Step { deployment: 2, code: NEW, resets };
    let mut state = fresh();
    assert_eq!(Way::of(&state, step(false)), Way::Anew, "there is nothing to lose");
    state.seq = Seq(1);
    assert_eq!(Way::of(&state, step(false)), Way::SaveAndLoad);
    assert_eq!(Way::of(&state, step(true)), Way::Anew);
    let there = state.with_code(NEW, Snapshot::initial([128]));
    let back = |resets| Step { deployment: 1, code: OLD, resets };
    assert!(matches!(Way::of(&there, back(false)), Way::Back(_)), "however it came there");
    assert_eq!(Way::of(&there, back(true)), Way::Anew, "as somebody said");
}

#[test]
fn an_owner_that_loses_the_player_in_the_middle_of_a_step_leaves_the_old_copies() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 5);
    world.migrated();
    world.seeded(Ok(()));
    let rival = ChangeOutcome::Conflict(Some(record(3, 2)));
    let told = world.feed(Event::Changed(Some(rival)));
    assert_eq!(told, ["release 2", "answer 2: error moved", "close"], "its own new copy goes");
}

#[test]
fn players_on_a_node_that_leaves_go_over_elsewhere() {
    let mut world = World::serving();
    world.set_draining(1);
    let told = world.deploy_new(Plan { audience: Audience::All, ..plan(NEW) });
    assert!(!told.iter().any(|what| what.starts_with("migrate")), "{told:?}");
}

#[test]
fn a_player_does_not_rest_before_the_directory_has_heard_of_its_failure() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    assert_eq!(world.feed(Event::Open), ["migrate 1"]);
    let failure = StepFailure::Code("it refused".to_owned());
    assert_eq!(world.not_migrated(failure), ["report 2: it refused"]);
    assert_eq!(world.feed(Event::Rest), NOTHING);
    assert_eq!(world.feed(Event::Reported), NOTHING);
    assert_eq!(world.feed(Event::Rest), ["rest at 1 under 1"]);
}

#[test]
fn what_a_machine_lacks_and_who_only_looks_says_nothing_about_new_code() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    world.changed(2);
    for ticket in 3..=9 {
        let message = "no memory".to_owned();
        assert_eq!(world.feed(Event::Trapped { message, lacked: true }), ["restore"]);
        world.restored();
        world.call(ticket, 1);
    }
    world.returned();
    for ticket in 20..=40 {
        let player = "player1".parse().unwrap();
        let call = Call { player, key: CallKey(ticket.into()), operation: Operation::Points };
        let deadline = world.now + Duration::from_secs(10);
        world.feed(Event::Call { ticket, call, deadline, counts: false });
        world.feed(Event::Returned { value: Value::Points(0), delta: Delta::default() });
    }
    world.call(50, 1);
    assert_eq!(world.trapped(), ["restore"]);
    world.restored();
    world.call(51, 1);
    assert_eq!(world.trapped()[0], "report 2: trapped in 2 of its first 3 calls: boom");
}

#[test]
fn first_calls_are_counted_on_after_a_rest() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    world.changed(2);
    world.trapped();
    world.restored();
    world.acknowledged(2);
    let mut out = Vec::new();
    let (now, nodes) = (world.now, &world.nodes[..]);
    let (shunned, rollout) = (&world.shunned, &world.rollout);
    let (keepers_wanted, has_leader) = (1, true);
    let view = View { now, nodes, keepers_wanted, shunned, rollout, has_leader };
    world.machine.handle(Event::Rest, view, &mut out);
    let Some(Action::Rest(rested)) = out.pop() else { panic!("{out:?}") };

    let record = world.machine.record.clone().unwrap();
    let state = world.machine.state().unwrap().clone();
    let mut woken = World::new(Origin::Rested(record, rested), &[1, 2, 3]);
    woken.rollout = world.rollout.clone();
    woken.call(3, 1);
    let own = KeeperReply::Fetched(Box::new(state));
    woken.kept(0, Ok(own));
    assert_eq!(woken.restored(), ["serving 2", "execute"]);
    assert_eq!(woken.trapped()[0], "report 2: trapped in 2 of its first 2 calls: boom");
}

#[test]
fn nothing_is_begun_that_nobody_could_name() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.has_leader = false;
    assert_eq!(world.call(2, 5), ["execute"], "without a leader calls go on");
    world.returned();
    world.acknowledged(2);
    world.has_leader = true;
    assert_eq!(world.call(3, 5), ["migrate 1"]);
}

#[test]
fn a_player_in_quarantine_becomes_what_it_was_before_it_came_there() {
    let mut world = World::serving();
    world.deploy_new(plan(NEW));
    world.call(2, 1);
    world.migrated();
    world.seeded(Ok(()));
    world.changed(2);
    world.trapped();
    let spoiled = || Event::RestoreFailed(RestoreFailure::State("spoiled".to_owned()));
    let mut told = world.feed(spoiled());
    for generation in 3..=5 {
        assert!(told.iter().any(|what| what.contains("failed")), "{told:?}");
        told = world.changed(generation);
        if generation < 5 {
            world.call(generation, 1);
            world.wait();
            told = world.feed(spoiled());
        }
    }
    let report = "report 2: its state could not be restored: spoiled".to_owned();
    assert!(told.contains(&report), "{told:?}");
    let (reason, player) = ("spoiled".to_owned(), "player1".parse().unwrap());
    let told = world.deploy(DeploymentChange::Failed { number: 2, player, reason });
    assert_eq!(told, ["migrate 0"], "without an instance of what cannot be restored");
    assert_eq!(world.call(9, 1), NOTHING, "callers wait for it");
    assert_eq!(world.migrated(), ["seed 2 at 3 under 5"]);
    let told = world.seeded(Ok(()));
    assert!(told.iter().all(|what| !what.contains("failed")), "{told:?}");
    let told = world.changed(6);
    assert!(told.contains(&"execute".to_owned()), "{told:?}");
    assert_eq!(world.code(), OLD);
}
