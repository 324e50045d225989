//! Players of every language behave like the built-in one, from `guests`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tests::{Cluster, Trapped, WorldInC, component_type_in_c, not_tested};

/// `all`: a tool that is missing fails the tests. `commit`: what is generated is written.
const ASK: &str = "GUESTS";
/// How `guests/build` ends when a tool is missing.
const TOOL_IS_MISSING: i32 = 2;

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests")
}

/// Builds a guest. Returns its code, or none where it cannot be built and need not be.
#[track_caller]
fn built(name: &str) -> Option<Vec<u8>> {
    let output = Command::new(guests().join("build")).arg(name).output().expect("run guests/build");
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(TOOL_IS_MISSING) && env::var_os(ASK).is_none() {
        not_tested(words.trim());
        return None;
    }
    assert!(output.status.success(), "guests/build {name}: {words}");
    Some(fs::read(guests().join(format!("built/{name}.wasm"))).expect("read what was built"))
}

/// How long a call may take while other tests compile guests of tens of MiB.
const LONG: &str = "50s";

/// Rewards a player of this guest, lets it trap and kills its owner. Each reward counts `times`.
#[track_caller]
fn counts_traps_and_survives(name: &str, times: i64) {
    let Some(code) = built(name) else { return };
    let mut cluster = Cluster::start_with_guest(3, &code);
    let via = cluster.via("app_node1").within(LONG);
    assert_eq!(via.rewarded("player1", 5).points, 5 * times);
    let trapped: Trapped = via.reward("player1", "a").ended(1).expect("a trap");
    assert_eq!(trapped.message, r#"not an integer: "a""#);
    assert_eq!(via.rewarded("player1", -2).points, 3 * times, "what was acknowledged is kept");
    let overflow: Trapped = via.reward("player1", i64::MAX).ended(1).expect("a trap");
    assert!(overflow.message.starts_with("points overflow"), "{}", overflow.message);
    cluster.node_mut("app_node1").kill();
    let others = cluster.via("app_node2").or(&cluster.via("app_node3")).within(LONG);
    assert_eq!(others.rewarded("player1", 1).points, 4 * times);
    let trapped: Trapped = others.reward("player1", "b").ended(1).expect("a trap");
    assert_eq!(trapped.message, r#"not an integer: "b""#, "it is the same player there");
    assert_eq!(others.points("player1"), 4 * times);
}

#[test]
fn a_player_in_rust_that_doubles_survives() {
    counts_traps_and_survives("double-points", 2);
}

#[test]
fn a_player_in_c_survives() {
    counts_traps_and_survives("c-player", 1);
}

#[test]
fn a_player_in_javascript_survives() {
    counts_traps_and_survives("js-player", 1);
}

#[test]
fn a_player_in_python_survives() {
    counts_traps_and_survives("py-player", 1);
}

#[test]
fn the_player_in_c_says_that_it_is_for_this_world() {
    says_its_world("guests/c-player", WorldInC::Contract);
}

#[test]
fn a_new_player_in_c_says_that_it_is_for_its_world() {
    says_its_world("host/templates/c", WorldInC::Template);
}

#[track_caller]
fn says_its_world(folder: &str, world: WorldInC) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(folder).join("component_type.c");
    let generated = component_type_in_c(world);
    if env::var(ASK).as_deref() == Ok("commit") {
        fs::write(&path, &generated).expect("write what was generated");
    }
    let committed = fs::read_to_string(&path).expect("read what was generated");
    let how = "GUESTS=commit cargo test -p tests player_in_c_says";
    assert!(committed == generated, "the contract has changed; write {path:?} again: {how}");
}
