//! Measures a cluster of this build: `cargo run -p tests --release -- failover --runs 20`.
#![expect(clippy::print_stdout, reason = "it is a command: its answer goes to standard output")]

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum as _};
use serde::Serialize;
use tests::measure::{
    Attack, DeploysSettings, ExodusSettings, Failure, NeighboursSettings, deploys, exodus,
    failovers, neighbours, rolling,
};
use tests::sim::{self, Bug, Coverage, Settings};
use tests::{chaos, fuzz, large_module};

/// Measures a cluster of this build.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Answers in JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Time from an owner's failure to the next answered reward, through another node of three.
    Failover {
        /// Failures of each kind.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
        runs: u16,
    },
    /// What callers feel while one node of three after the other is restarted in order.
    Rolling {
        /// How often each node is restarted.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
    },
    /// What becomes of very many players whose owner is killed, and what callers of others feel.
    Exodus {
        /// Players of the node that dies.
        #[arg(long, default_value_t = 100_000)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        players: u32,
    },
    /// What callers feel while other code is deployed, good, bad and in other languages, and how long
    /// players that rest take.
    Deploys {
        /// Players that are called.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        players: u32,
        /// Players that nobody calls.
        #[arg(long, default_value_t = 100_000)]
        #[arg(value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
        idle: u32,
        /// Components that are deployed in the end, one after the other; see `guests/build`.
        guests: Vec<PathBuf>,
    },
    /// What callers of players feel while others of the same node do their worst.
    Neighbours {
        /// What they do; everything, one after the other, if it is not given.
        attack: Option<Attack>,
        /// How many do it at the same time.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
        attackers: u16,
        /// Memory that the node may take, in MiB.
        #[arg(long, default_value_t = 2048)]
        memory_mib: u64,
        /// For how long, in seconds, and for how long others are called before.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
        seconds: u16,
    },
    /// Real processes in a network and on disks that fail, under load: looks for broken promises.
    Chaos {
        /// For how long faults are brought.
        #[arg(long, default_value_t = 20.0)]
        minutes: f64,
        /// Where faults and calls come from; drawn, if it is not given.
        #[arg(long)]
        seed: Option<u64>,
        /// How many nodes; with five, two may fail at the same time.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=9))]
        nodes: u8,
    },
    /// Gives each decoder of the host bytes that a fuzzer chooses: looks for one that breaks it.
    Fuzz {
        /// For how long each decoder is tried, in seconds.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// The decoders, by the names of their folders in `host/fuzz/seeds`; all, if none is given.
        targets: Vec<String>,
    },
    /// Writes a player with a large memory to a file, for `host bench --guest`.
    Guest {
        /// How much of its memory it writes before its first call, in MiB.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
        image_mib: u32,
        /// How large its memory is, in MiB.
        #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=256))]
        memory_mib: u32,
        /// The file.
        file: PathBuf,
    },
    /// Simulated clusters that fail: looks for broken promises, one world a seed.
    Sim {
        /// How many worlds.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// A known mistake to plant, to see that it is noticed.
        #[arg(long)]
        bug: Option<Bug>,
    },
}

fn main() -> Result<()> {
    let Arguments { what, json } = Arguments::parse();
    if !matches!(what, What::Sim { .. } | What::Guest { .. } | What::Fuzz { .. }) {
        build_host()?;
    }
    match what {
        What::Failover { runs } => [Failure::Killed, Failure::Stopped]
            .into_iter()
            .try_for_each(|failure| print(&failovers(failure, runs.into())?, json)),
        What::Fuzz { seconds, targets } => {
            print(&fuzz::fuzz(&fuzz::Settings { seconds, targets })?, json)
        }
        What::Guest { image_mib, memory_mib, file } => {
            ensure!(image_mib <= memory_mib, "the image does not fit the memory");
            fs::write(&file, large_module(image_mib, memory_mib))
                .with_context(|| format!("cannot write {}", file.display()))
        }
        What::Rolling { rounds } => print(&rolling(rounds.into())?, json),
        What::Exodus { players } => {
            let settings = ExodusSettings {
                players: usize::try_from(players)?,
                before: Duration::from_secs(10),
            };
            print(&exodus(settings)?, json)
        }
        What::Deploys { players, idle, guests } => {
            let (players, idle) = (usize::try_from(players)?, usize::try_from(idle)?);
            print(&deploys(&DeploysSettings { players, idle, guests })?, json)
        }
        What::Neighbours { attack, attackers, memory_mib, seconds } => {
            let attacks = attack.map_or_else(|| Attack::value_variants().to_vec(), |one| vec![one]);
            let time = Duration::from_secs(seconds.into());
            let settings = NeighboursSettings { attackers: attackers.into(), memory_mib, time };
            attacks.into_iter().try_for_each(|attack| print(&neighbours(attack, settings)?, json))
        }
        What::Chaos { minutes, seed, nodes } => {
            if let Some(obstacle) = chaos::obstacle() {
                bail!("there is no chaos on this machine: {obstacle}");
            }
            let time = Duration::try_from_secs_f64(minutes * 60.0).context("--minutes")?;
            let until = chaos::Until::Time(time);
            let seed = seed.unwrap_or_else(drawn_seed);
            eprintln!("seed {seed}");
            print(&chaos::run(chaos::Settings::new(seed, nodes.into(), until))?, json)
        }
        What::Sim { seeds, from, bug } => simulate(from..from.saturating_add(seeds), bug),
    }
}

/// Runs all seeds, says which broke a promise, and what happened in the others.
fn simulate(seeds: Range<u64>, bug: Option<Bug>) -> Result<()> {
    let began = Instant::now();
    let (mut coverage, mut broken) = (Coverage::default(), 0);
    for seed in seeds {
        match sim::run(Settings { seed, bug, trace: false }) {
            Ok(seen) => coverage += seen,
            Err(violation) => {
                broken += 1;
                println!("{violation}");
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{coverage}in {seconds:.1} s");
    ensure!(broken == 0, "{broken} seeds broke a promise");
    Ok(())
}

fn drawn_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn print(result: &(impl Serialize + ToString), json: bool) -> Result<()> {
    println!("{}", if json { serde_json::to_string(result)? } else { result.to_string() });
    Ok(())
}

/// `cargo run` builds only this binary; the host that it starts must be as new.
fn build_host() -> Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "tests", "--bin", "host-under-test"]);
    build.args((!cfg!(debug_assertions)).then_some("--release"));
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("run cargo")?;
    ensure!(status.success(), "the host does not build");
    Ok(())
}
