//! Guests that do their worst cost their own callers those calls, and nobody anything else.

use std::time::Duration;

use tests::measure::{Attack, NeighboursSettings, neighbours};
use tests::{Cluster, Trapped, hostile_module};

/// Memory that the node may take. A node that runs some players has a few dozen.
const MEMORY_MIB: u64 = 400;

/// What a call may be told that gets no thread, on a machine that has others to do.
const NO_TIME: &str = "did not get enough time within 10 s beside other long calls";

/// Has players attack their node, whose other players are called meanwhile. Each of those calls is
/// answered, each attacker is as it was before, and what their callers are told is this.
#[track_caller]
fn are_told(attack: Attack, attackers: usize, expected: &[&str]) -> Vec<String> {
    let time = Duration::from_secs(2);
    let settings = NeighboursSettings { attackers, memory_mib: MEMORY_MIB, time };
    let seen = neighbours(attack, settings).unwrap_or_else(|error| panic!("{error:#}"));
    let (_, most) = seen.memory_mib;
    // What is written until a tick of the guests' clock notices it, in each of their lanes.
    assert!(most < MEMORY_MIB + 300, "{seen}");
    assert!(seen.told.values().sum::<usize>() >= attackers, "{seen}");
    let known = |message: &str| expected.contains(&message) || message == NO_TIME;
    assert!(seen.told.keys().all(|message| known(message)), "{seen}");
    assert!(seen.told.keys().any(|message| message != NO_TIME), "{seen}");
    seen.told.into_keys().collect()
}

const FULL: &str = "its node has no memory left for it";
const TOO_LONG: &str = "ran longer than 1000 ms";

#[test]
fn a_guest_that_never_returns_is_stopped() {
    are_told(Attack::Loop, 4, &[TOO_LONG]);
}

#[test]
fn guests_that_take_all_memory_do_not_get_that_of_their_node() {
    // One that has got all that it may have, while there was some, ends by itself.
    let told = are_told(Attack::Memory, 8, &[FULL, "unreachable"]);
    assert!(told.contains(&FULL.to_owned()), "{told:?}");
}

#[test]
fn a_guest_that_calls_itself_without_end_is_stopped() {
    are_told(Attack::Stack, 8, &["out of stack"]);
}

#[test]
fn a_guest_that_changes_a_table_is_stopped() {
    let refused = "used `table.grow`, which changes state outside of linear memory that no \
                   snapshot can hold";
    are_told(Attack::Table, 8, &[refused]);
}

#[test]
fn a_guest_that_changes_more_than_it_may_keep_is_stopped() {
    let too_much = "wrote to more memory than a player may keep";
    are_told(Attack::Changes, 2, &[too_much, FULL, TOO_LONG]);
}

#[test]
fn a_guest_that_logs_without_end_is_stopped() {
    are_told(Attack::Log, 4, &[TOO_LONG]);
}

#[test]
fn guests_that_trap_all_the_time_are_heard_all_the_time() {
    are_told(Attack::Trap, 8, &["unreachable"]);
}

#[test]
fn the_memory_of_an_instance_is_what_its_node_allows() {
    // The hostile guest grows until it gets no more and writes to all of it, which is less here than
    // a player may keep: then it traps by itself.
    let flags = ["--guest-memory", "16MiB"];
    let cluster = Cluster::start_with_guest_and(2, &hostile_module(), &flags);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 1).points, 1);
    let trapped: Trapped = via.reward("player1", "memory").ended(1).expect("a trap");
    assert_eq!(trapped.message, "unreachable");
    assert_eq!(via.rewarded("player1", 1).points, 2);
}
