//! Nothing acknowledged is lost and nothing is applied twice, on real processes that fail.
//!
//! Longer: `cargo run -p tests --release -- chaos --minutes 20`.

use tests::chaos::{Kind, Settings, Until, obstacle, run};
use tests::not_tested;

/// A seed whose first faults are short ones.
const SEED: u64 = 8931;

/// Nodes, few enough to leave something of two cores to the other tests.
const NODES: usize = 3;

#[test]
fn chaos_loses_no_and_doubles_no_reward() {
    if let Some(obstacle) = obstacle() {
        return not_tested(&format!("there is no chaos on this machine: {obstacle}"));
    }
    // Each kind of fault once.
    let until = Until::Episodes(Kind::count(NODES));
    let report = run(Settings::new(SEED, NODES, until)).unwrap_or_else(|error| panic!("{error:#}"));
    eprintln!("{report}");
    assert_eq!(report.faults(), Kind::count(NODES), "{report}");
    assert!(report.returned() > 0, "no call was answered: {report}");
    assert!(report.deployments() > 0, "nothing was deployed: {report}");
}
