//! Nothing acknowledged is lost and nothing is applied twice, in simulated clusters that fail.
//!
//! A failing seed prints the line that runs it alone; then the whole story is printed, too. Longer:
//! `cargo run -p tests --release -- sim --seeds 10000`.

use tests::sim::{Bug, Coverage, Settings, Violation, run, run_all};

/// Seeds that every test run looks at.
const SEEDS: u64 = 300;

/// Seeds in which each planted bug must show.
const BUG_SEEDS: u64 = 200;

/// The one seed to run, if a person asks for one.
fn asked_seed() -> Option<u64> {
    let seed = std::env::var("SIM_SEED").ok()?;
    Some(seed.parse().expect("SIM_SEED is a number"))
}

fn fail(violation: &Violation) -> ! {
    for line in &violation.log {
        eprintln!("{line}");
    }
    panic!("{violation}");
}

fn check(seeds: impl IntoIterator<Item = u64>) -> Coverage {
    let seeds: Vec<u64> = asked_seed().map_or_else(|| seeds.into_iter().collect(), |s| vec![s]);
    let mut coverage = Coverage::default();
    for seed in seeds {
        let trace = asked_seed().is_some();
        match run(Settings { seed, bug: None, trace }) {
            Ok(seen) => coverage += seen,
            Err(violation) => fail(&violation),
        }
    }
    coverage
}

#[test]
fn the_simulation_finds_no_lost_and_no_doubled_reward() {
    let seen = check(0..SEEDS);
    eprintln!("{seen}");
    if asked_seed().is_some() {
        return;
    }
    assert!(seen.expired > 0 && seen.renewed > 0, "keys expire");
    assert!(seen.outages > 0 && seen.kills_of_all > 0, "all fail at once");
    let groups =
        [seen.groups_of_one_keeper, seen.groups_of_two_keepers, seen.groups_of_three_keepers];
    assert!(!groups.contains(&0), "owners fail together with one, two and three keepers");
    assert!(seen.slow_disks > 0 && seen.slow_commits > 0, "keepers wait for their disks");
    assert!(seen.shunned > 0 && seen.trusted > 0, "nodes take no copies for a while");
    assert!(seen.copies_damaged > 0, "copies are damaged");
    assert!(seen.clock_steps > 0 && seen.ahead > 0, "clocks are wrong");
    assert!(seen.voter_changes > 0 && seen.voter_replacements > 0, "voters change");
    assert!(seen.strandings > 0 && seen.late_appends > 0, "owners reach nobody but their keepers");
    let repeats = [seen.repeats_to_keepers, seen.repeats_to_owners, seen.repeats_to_leaders];
    assert!(!repeats.contains(&0), "requests are done twice");
    assert!(seen.recoveries > 0 && seen.calls_given_up > 0, "doubtful copies are taken");
    assert!(seen.ends > 0, "players are ended");
    assert!(seen.deployments > 0 && seen.migrations > 0, "players come to other code");
    assert!(seen.withdrawals > 0 && seen.returns > 0, "and go back");
    assert!(seen.steps_failed > 0, "some of it is bad");
    assert!(seen.restores_failed > 0 && seen.restores_without_memory > 0, "restores fail");
    assert!(seen.quarantines_taken_over > 0, "owners of players in quarantine change");
    assert!(seen.releases > 0, "players are released");
    assert!(seen.rests > 0 && seen.wakes > 0, "players rest and are called again");
    assert!(seen.changes_alone > 0, "changes are too large for a frame");
    assert!(seen.moves > 0, "people have players on other nodes");
    assert!(seen.drills > 0, "and see them crash");
    assert!(seen.deaths_after_handover > 0, "nodes die in the middle of a handover");
    assert!(seen.groups_that_return_in_part > 0, "one returns without the other");
}

#[test]
fn the_same_seed_is_the_same_world() {
    let settings = Settings { seed: 7, bug: None, trace: false };
    let (one, other) = (run(settings), run(settings));
    assert_eq!(one.map_err(|v| v.to_string()), other.map_err(|v| v.to_string()));
}

/// Some seed must break a promise when the drivers have this bug.
fn is_found(bug: Bug) {
    let Err(violation) = run_all(0..BUG_SEEDS, Some(bug)) else {
        panic!("{bug:?} is not noticed within {BUG_SEEDS} seeds")
    };
    eprintln!("{bug:?}: {violation}");
}

/// Some seed must break this promise when the drivers have this bug.
fn is_found_by(bug: Bug, invariant: &str) {
    let mut found = (0..BUG_SEEDS)
        .filter_map(|seed| run(Settings { seed, bug: Some(bug), trace: false }).err());
    let violation = found.find(|violation| violation.invariant == invariant);
    let violation = violation
        .unwrap_or_else(|| panic!("{bug:?} breaks no {invariant:?} within {BUG_SEEDS} seeds"));
    eprintln!("{bug:?}: {violation}");
}

#[test]
fn an_answer_before_the_acknowledgement_is_noticed() {
    is_found(Bug::AnswerBeforeAcknowledgement);
}

#[test]
fn a_keeper_without_fences_is_noticed() {
    is_found(Bug::NoGenerationCheck);
}

#[test]
fn a_stale_copy_that_is_restored_is_noticed() {
    is_found(Bug::RestoreStale);
}

#[test]
fn keys_that_are_lost_in_a_failover_are_noticed() {
    is_found(Bug::LoseKeys);
}

#[test]
fn an_expired_key_that_is_taken_for_a_new_one_is_noticed() {
    is_found_by(Bug::ForgetHorizon, "each key is applied at most once");
}

#[test]
fn a_key_that_is_replaced_although_it_may_have_been_used_is_noticed() {
    is_found_by(Bug::RenewUsedKey, "each key is applied at most once");
}

#[test]
fn an_owner_that_keeps_the_generation_of_the_one_before_is_noticed() {
    is_found(Bug::KeepGeneration);
}

#[test]
fn an_eviction_on_suspicion_is_noticed() {
    is_found(Bug::EvictOnSuspicion);
}

#[test]
fn an_acknowledgement_before_the_sync_is_noticed() {
    is_found(Bug::AnswerBeforeSync);
}

#[test]
fn a_handover_before_the_last_acknowledgement_is_noticed() {
    is_found(Bug::HandOverUnacknowledged);
}

#[test]
fn a_doubtful_copy_that_is_trusted_at_any_position_is_noticed() {
    is_found(Bug::RecoverAnyPosition);
}

#[test]
fn a_player_that_returns_after_its_end_is_noticed() {
    is_found_by(Bug::ReturnEnded, "nothing of a player that was ended returns");
}

#[test]
fn memory_that_comes_to_other_code_is_noticed() {
    is_found_by(Bug::KeepMemory, "no code gets the memory of other code");
}

#[test]
fn a_player_that_goes_back_too_far_is_noticed() {
    is_found(Bug::GoBackTooFar);
}

#[test]
fn failed_restores_that_an_owner_forgets_are_noticed() {
    is_found_by(Bug::ForgetFailures, "only a person's word ends a quarantine");
}
