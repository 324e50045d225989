//! Nothing acknowledged is lost and nothing is applied twice, on real processes that fail.
//!
//! Longer: `cargo run -p tests --release -- chaos --minutes 20`.

use std::io::{Write as _, stderr};

use tests::chaos::{Kind, Settings, Until, obstacle, run};

/// A seed whose first faults are short ones.
const SEED: u64 = 8931;

/// Nodes, few enough to leave something of two cores to the other tests.
const NODES: usize = 3;

#[test]
fn chaos_loses_no_and_doubles_no_reward() {
    if let Some(obstacle) = obstacle() {
        // Past the capture of the test's output: nobody should take this for a success.
        let line = format!("NOT TESTED: there is no chaos on this machine: {obstacle}\n");
        return stderr().write_all(line.as_bytes()).expect("say that nothing was tested");
    }
    // Each kind of fault once.
    let until = Until::Episodes(Kind::count(NODES));
    let report = run(Settings::new(SEED, NODES, until)).unwrap_or_else(|error| panic!("{error:#}"));
    eprintln!("{report}");
    assert_eq!(report.faults(), Kind::count(NODES), "{report}");
    assert!(report.returned() > 0, "no call was answered: {report}");
}
