//! The rules of deployments.

use super::*;

const A: CodeHash = CodeHash([1; 32]);
const B: CodeHash = CodeHash([2; 32]);
const C: CodeHash = CodeHash([3; 32]);

fn player(n: u32) -> PlayerId {
    format!("player{n}").parse().unwrap()
}

fn plan(code: CodeHash) -> Plan {
    let (crossing, nonce) = (Crossing::Migrate, u64::from(code.0[0]));
    Plan { crossing, failures_max: 1, traps_max: 3, nonce, ..Plan::founding(code, "it.wasm") }
}

impl Deployments {
    fn deployed(mut self, plan: Plan) -> Self {
        let after = self.last;
        // Each is a wish of its own.
        let plan = Plan { nonce: after, ..plan };
        assert_eq!(self.apply(&DeploymentChange::Deploy { after, plan }), Ok(after + 1));
        self
    }

    fn fails(&mut self, number: u64, n: u32) {
        let reason = "it trapped".to_owned();
        let failed = DeploymentChange::Failed { number, player: player(n), reason };
        assert_eq!(self.apply(&failed), Ok(number));
    }

    fn withdrawn(&mut self, number: u64) -> Result<u64, DeploymentConflict> {
        self.apply(&DeploymentChange::Withdraw { number, reason: "by hand".to_owned() })
    }

    fn step(&self, n: u32, code: CodeHash) -> Option<CodeHash> {
        self.step_for(&player(n), code).map(|step| step.code)
    }
}

fn founded() -> Deployments {
    Deployments::default().deployed(Plan::founding(A, "a"))
}

#[test]
fn players_go_to_the_newest_code() {
    let deployments = founded();
    assert_eq!((deployments.step(1, A), deployments.code_for(&player(1))), (None, Some(A)));
    let deployments = deployments.deployed(plan(B)).deployed(plan(C));
    let step = Step { deployment: 3, code: C, resets: false };
    assert_eq!(deployments.step_for(&player(1), A), Some(step));
    assert_eq!(deployments.step_for(&player(1), B), Some(step), "none of them is left out");
    assert_eq!((deployments.step(1, C), deployments.code_for(&player(1))), (None, Some(C)));
    assert_eq!(deployments.current(), Some(C));
}

#[test]
fn a_player_that_failed_goes_back_alone_and_too_many_take_all_back() {
    let mut deployments = founded().deployed(plan(B));
    deployments.fails(2, 1);
    deployments.fails(2, 1);
    assert_eq!(deployments.step(1, A), None, "it is not tried again");
    assert_eq!(deployments.step(1, B), Some(A), "it goes back from where it may be");
    assert_eq!(deployments.code_for(&player(1)), Some(A), "one that begins anew, too");
    assert_eq!(deployments.step(2, A), Some(B), "the others do not");
    deployments.fails(2, 2);
    assert_eq!(deployments.current(), Some(A));
    assert_eq!((deployments.step(3, A), deployments.step(3, B)), (None, Some(A)));
    let status = &deployments.get(2).unwrap().status;
    let reason = "2 players failed on it; player2: it trapped".to_owned();
    assert_eq!(*status, DeploymentStatus::Withdrawn { reason });
    assert_eq!(deployments.probation_of(&player(3), B), None);
}

#[test]
fn only_one_on_probation_is_taken_back_by_itself() {
    let mut deployments = founded().deployed(plan(B));
    assert_eq!(deployments.probation_of(&player(1), B).map(|found| found.deployment), Some(2));
    assert_eq!(deployments.probation_of(&player(1), A), None, "the first one has nothing to prove");
    assert_eq!(deployments.apply(&DeploymentChange::Settle { number: 2 }), Ok(2));
    assert_eq!(deployments.probation_of(&player(1), B), None);
    (1..9).for_each(|n| deployments.fails(2, n));
    assert_eq!(deployments.current(), Some(B));
    let mut deployments = deployments.deployed(plan(C));
    deployments.fails(2, 9);
    assert_eq!(deployments.get(2).unwrap().status, DeploymentStatus::Settled);
    (1..9).for_each(|n| deployments.fails(1, n));
    assert_eq!(deployments.get(1).unwrap().status, DeploymentStatus::Settled);
}

#[test]
fn a_rollback_brings_back_the_one_before_and_never_leaves_players_without_code() {
    let mut deployments = founded().deployed(plan(B));
    let newer = Err(DeploymentConflict::Newer { newest: 2 });
    assert_eq!(deployments.withdrawn(1), newer, "the newest one goes first");
    assert_eq!(deployments.withdrawn(2), Ok(2));
    assert_eq!((deployments.step(1, B), deployments.current()), (Some(A), Some(A)));
    let once = deployments.clone();
    assert_eq!(deployments.withdrawn(2), Ok(2), "asked for twice on its way");
    assert_eq!(deployments, once);
    assert_eq!(deployments.withdrawn(1), Err(DeploymentConflict::Last { number: 1 }));
    assert_eq!(deployments.withdrawn(7), Err(DeploymentConflict::NotInForce { number: 7 }));
    let deployments = deployments.deployed(plan(B));
    assert_eq!(deployments.step(1, A), Some(B), "it may be deployed again");
}

#[test]
fn pinned_players_stay_and_new_ones_begin_with_the_new_code() {
    let pinned = Plan { crossing: Crossing::Pin, ..plan(B) };
    let mut deployments = founded().deployed(pinned);
    assert_eq!((deployments.step(1, A), deployments.step(1, B)), (None, None));
    assert_eq!(deployments.code_for(&player(1)), Some(B));
    deployments.withdrawn(2).unwrap();
    assert_eq!(deployments.step(1, B), Some(A), "what it gave, it takes back");
    let deployments = deployments.deployed(plan(C));
    assert_eq!((deployments.step(1, A), deployments.step(1, B)), (Some(C), Some(C)));
}

#[test]
fn one_that_pins_does_not_end_what_an_older_one_has_begun() {
    let pinned = Plan { crossing: Crossing::Pin, ..plan(C) };
    let deployments = founded().deployed(plan(B)).deployed(pinned);
    assert_eq!(deployments.step(1, A), Some(B), "it has not come that far yet");
    assert_eq!((deployments.step(1, B), deployments.step(1, C)), (None, None));
}

#[test]
fn nobody_is_reset_on_the_way_back() {
    let resets = |deployments: &Deployments, code| {
        deployments.step_for(&player(1), code).map(|step| step.resets)
    };
    let reset = Plan { crossing: Crossing::Reset, ..plan(B) };
    let mut deployments = founded().deployed(reset.clone()).deployed(plan(C));
    assert_eq!(resets(&deployments, B), Some(false));
    deployments.withdrawn(3).unwrap();
    assert_eq!(resets(&deployments, C), Some(false), "it has been further");
    assert_eq!(resets(&deployments, A), Some(true), "it goes there for the first time");
}

#[test]
fn a_canary_is_for_its_players_until_it_is_for_all() {
    let vip = Plan { audience: Audience::Like("player1".parse().unwrap()), ..plan(B) };
    let mut deployments = founded().deployed(vip);
    assert_eq!((deployments.step(1, A), deployments.step(2, A)), (Some(B), None));
    assert_eq!(deployments.current(), Some(A));
    assert_eq!(deployments.withdrawn(1), Err(DeploymentConflict::Newer { newest: 2 }));
    let deployments = deployments.deployed(plan(B));
    assert_eq!((deployments.step(1, B), deployments.step(2, A)), (None, Some(B)));
}

#[test]
fn asking_twice_deploys_once_and_another_persons_newer_one_is_not_overtaken() {
    let mut deployments = founded();
    let change = DeploymentChange::Deploy { after: 1, plan: plan(B) };
    assert_eq!(deployments.apply(&change), Ok(2));
    let once = deployments.clone();
    assert_eq!(deployments.apply(&change), Ok(2));
    let after_all = DeploymentChange::Deploy { after: 2, plan: plan(B) };
    assert_eq!(deployments.apply(&after_all), Ok(2), "whatever is newest meanwhile");
    assert_eq!(deployments, once);
    let late = DeploymentChange::Deploy { after: 1, plan: plan(C) };
    assert_eq!(deployments.apply(&late), Err(DeploymentConflict::Newer { newest: 2 }));
    assert_eq!(deployments, once);
}

#[test]
fn code_that_a_rollback_needs_is_kept() {
    let mut deployments = founded().deployed(plan(B)).deployed(plan(C));
    assert_eq!(deployments.kept_code(), BTreeSet::from([B, C]));
    let mut failed = deployments.clone();
    failed.fails(3, 1);
    assert_eq!(failed.kept_code(), BTreeSet::from([A, B, C]), "it may fail on the next one, too");
    deployments.withdrawn(3).unwrap();
    assert_eq!(deployments.kept_code(), BTreeSet::from([A, B]));
}

#[test]
fn the_history_is_bounded_and_keeps_what_holds() {
    let mut deployments = founded();
    let vip = |n: u8| {
        let code = CodeHash([n; 32]);
        Plan { audience: Audience::Like("vip".parse().unwrap()), nonce: n.into(), ..plan(code) }
    };
    for n in 2..200 {
        deployments = deployments.deployed(vip(n));
        deployments.withdrawn(deployments.last_number()).unwrap();
    }
    assert_eq!(deployments.newest_first().count(), DEPLOYMENTS_MAX);
    assert_eq!(deployments.current(), Some(A), "the one for all players is not forgotten");
    for _ in 0..200 {
        deployments = deployments.deployed(plan(B)).deployed(plan(A));
    }
    assert_eq!(deployments.newest_first().count(), DEPLOYMENTS_MAX);
    assert_eq!((deployments.step(1, B), deployments.current()), (Some(A), Some(A)));
}

#[test]
fn more_deployments_than_are_remembered_are_refused_before_one_is_forgotten_that_holds() {
    let mut deployments = founded().deployed(plan(B));
    let vip = || Plan { audience: Audience::Like("vip".parse().unwrap()), ..plan(C) };
    for _ in 2..DEPLOYMENTS_MAX {
        deployments = deployments.deployed(vip());
    }
    let after = deployments.last_number();
    let plan = Plan { nonce: 1000, ..vip() };
    let one_more = DeploymentChange::Deploy { after, plan };
    assert_eq!(deployments.apply(&one_more), Err(DeploymentConflict::Full));
    deployments.withdrawn(after).unwrap();
    assert_eq!(deployments.apply(&one_more), Ok(after + 1));
    assert_eq!(deployments.kept_code(), BTreeSet::from([A, B, C]), "what goes back is kept");
}

#[test]
fn code_that_failed_for_all_is_no_canary_any_more() {
    let few = Plan { audience: Audience::Like("player1".parse().unwrap()), ..plan(B) };
    let mut deployments = founded().deployed(few).deployed(plan(B));
    let mut one = deployments.clone();
    one.fails(3, 1);
    assert_eq!((1..3).map(|n| one.minds(3, &player(n))).collect::<Vec<_>>(), [false, true]);
    assert_eq!(one.step(1, B), Some(A), "for a player that failed on it, neither");
    let mut by_hand = deployments.clone();
    by_hand.withdrawn(3).unwrap();
    assert_eq!((by_hand.step(1, B), by_hand.step(2, B)), (None, Some(A)), "it still is one");
    (2..4).for_each(|n| deployments.fails(3, n));
    assert_eq!((deployments.step(1, B), deployments.code_for(&player(1))), (Some(A), Some(A)));
    let deployments = deployments.deployed(plan(C)).deployed(plan(B));
    assert_eq!(deployments.step(1, C), Some(B), "another time is another time");

    // What holds for all is ended by nothing but a newer one.
    let few = Plan { audience: Audience::Like("player?".parse().unwrap()), ..plan(B) };
    let mut again = founded().deployed(plan(B));
    again.apply(&DeploymentChange::Settle { number: 2 }).unwrap();
    let mut again = again.deployed(few);
    (1..3).for_each(|n| again.fails(3, n));
    assert!(!again.get(3).unwrap().is_in_force());
    assert!(!again.minds(3, &player(9)), "it is taken back already");
    assert_eq!(
        (again.step(1, B), again.step(20, B), again.code_for(&player(5))),
        (None, None, Some(B))
    );
}

#[test]
fn a_player_that_cannot_go_back_stays() {
    let mut deployments = founded().deployed(plan(B)).deployed(plan(C));
    deployments.withdrawn(3).unwrap();
    assert_eq!(deployments.step(1, C), Some(B));
    deployments.fails(2, 1);
    assert_eq!(deployments.step(1, C), None, "and not further back than anybody meant");
    assert_eq!(deployments.step(2, C), Some(B));
}

#[test]
fn whoever_was_left_by_a_pin_is_not_moved_by_others() {
    let pinned = Plan { crossing: Crossing::Pin, ..plan(B) };
    let vip = Plan { audience: Audience::Like("vip-*".parse().unwrap()), ..plan(A) };
    let deployments = founded().deployed(pinned).deployed(vip);
    assert_eq!(deployments.step(1, A), None, "that others come to its code is nothing to it");
}

#[test]
fn when_nobody_more_can_be_named_nobody_more_comes() {
    let mut deployments = founded().deployed(plan(B)).deployed(plan(C));
    deployments.withdrawn(3).unwrap();
    let most = u32::try_from(FAILED_PLAYERS_MAX).unwrap();
    (0..most).for_each(|n| deployments.fails(2, n));
    assert_eq!((deployments.step(most + 1, C), deployments.step(most + 1, B)), (None, None));
}

#[test]
fn texts_that_are_too_long_are_cut_wherever_they_come_from() {
    let long = || "ü".repeat(100_000);
    let plan = Plan { name: long(), ..plan(B) };
    for change in [
        DeploymentChange::Withdraw { number: 2, reason: long() },
        DeploymentChange::Failed { number: 2, player: player(1), reason: long() },
        DeploymentChange::Deploy { after: 1, plan },
    ] {
        let wire = postcard::to_stdvec(&change).unwrap();
        let read: DeploymentChange = postcard::from_bytes(&wire).unwrap();
        assert_eq!(read, change.cut());
        let bytes = postcard::to_stdvec(&read).unwrap();
        assert!(bytes.len() < 600, "{}", bytes.len());
        assert_eq!(postcard::from_bytes::<DeploymentChange>(&bytes), Ok(read));
    }
}

#[test]
fn reasons_and_failed_players_are_bounded() {
    let unlimited = Plan { failures_max: u32::MAX, ..plan(B) };
    let mut deployments = founded().deployed(unlimited);
    assert_eq!(deployments.get(2).unwrap().plan.failures_max, 999, "as many as are remembered");
    deployments.apply(&DeploymentChange::Settle { number: 2 }).unwrap();
    for n in 0..2 * u32::try_from(FAILED_PLAYERS_MAX).unwrap() {
        let reason = "ü".repeat(FAILURE_REASON_BYTES_MAX);
        let failed = DeploymentChange::Failed { number: 2, player: player(n), reason };
        deployments.apply(&failed).unwrap();
    }
    let failed = &deployments.get(2).unwrap().failed;
    assert_eq!(failed.len(), FAILED_PLAYERS_MAX);
    assert!(failed.values().all(|reason| reason.len() <= FAILURE_REASON_BYTES_MAX));
}
