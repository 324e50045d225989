//! A whole cluster in one thread and one seed: the real machines in a world that fails.
//!
//! ```text
//!   clients ─► gateway model ─► host::player::Machine ─► network ─► host::keeper::Keeper ─► disk
//!                   │                    │                               (a tail is not synced)
//!                   └── each node's view ┴── changes ──► host::directory::DirectoryState
//!                                                        (one log; a majority; lagging views)
//! ```
//!
//! Real: the machines of players, keepers, directory and failure detector, and the choice of voters.
//! Modelled: Raft (one log, appended to only while a leader reaches a majority of the voters), QUIC
//! (ordered lanes, lost connections), the store (a synced part and a tail), the gateway (the rules of
//! `host::gateway`), the clients (the rules of `host::cli`, with clocks that are off), the guest (an
//! `i64` in a memory, a note of which calls made it, and sometimes a lot more). Each machine has clocks of its own:
//! monotonic ones that run at different rates, and times of day that are off and are set. In some
//! runs players remember only a few keys.
//!
//! A run has two parts. First everything may fail: processes are killed, stopped and restarted,
//! machines reboot and lose what was not synced, an owner fails together with those that keep its
//! player, or as soon as it has handed one over, all fail at once, disks are lost, are slow or refuse
//! writes, links are cut in one direction or both, an owner reaches nobody but its keepers and what it
//! sends comes right behind a new owner, connections break, replies and outcomes get lost, times of
//! day jump, and requests are done twice. People change the cluster's settings, take doubtful copies
//! of players that are unavailable, end players, have players on other nodes, see them crash, and deploy other code, some of it bad. In a few runs nobody calls for longer than a
//! player keeps its instance.
//! Then all of it heals, and every player must answer within a bound.
//!
//! What must hold stands in `invariants`, one file each. Each of the [`Bug`]s makes the drivers
//! around the machines wrong in one way, to show that the invariants would notice.
//!
//! Invariant: a run depends on nothing but its [`Settings`].

mod bugs;
mod client;
mod clock;
mod codes;
mod coverage;
mod directory;
mod disk;
mod faults;
mod gateway;
mod guest;
mod happening;
mod invariants;
mod keeper;
mod members;
mod net;
mod node;
mod operators;
mod repeats;
pub(crate) mod rng;
mod server;
mod spoiled;
mod strandings;
mod together;
mod voters;
mod wishes;
mod world;

use std::fmt;

pub use bugs::Bug;
pub use coverage::Coverage;

/// What a run depends on.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where every choice comes from.
    pub seed: u64,
    /// What the drivers do wrong.
    pub bug: Option<Bug>,
    /// Whether to write down everything that happens.
    pub trace: bool,
}

/// A promise that a run broke.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// What the drivers did wrong in it.
    pub bug: Option<Bug>,
    /// Which promise.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
    /// All that happened, if it was written down.
    pub log: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, bug, invariant, detail, .. } = self;
        writeln!(f, "{invariant}: {detail}")?;
        match bug {
            None => write!(f, "SIM_SEED={seed} cargo test -p tests sim"),
            Some(bug) => {
                write!(f, "cargo run -p tests -- sim --from {seed} --seeds 1 --bug {bug:?}")
            }
        }
    }
}

/// Runs one world to its end.
///
/// # Errors
///
/// The first promise that was broken.
pub fn run(settings: Settings) -> Result<Coverage, Box<Violation>> {
    let mut world = world::World::new(settings);
    world.run();
    world.finish()
}

/// Runs seeds until one breaks a promise.
///
/// # Errors
///
/// That seed's violation.
pub fn run_all(
    seeds: impl IntoIterator<Item = u64>,
    bug: Option<Bug>,
) -> Result<Coverage, Box<Violation>> {
    let mut coverage = Coverage::default();
    for seed in seeds {
        coverage += run(Settings { seed, bug, trace: false })?;
    }
    Ok(coverage)
}
