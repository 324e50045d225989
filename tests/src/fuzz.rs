//! Fuzzers, one after the other: the targets of `host::hostile` on bytes that libFuzzer chooses.
//!
//! What they learn stays in `target/fuzz/corpus`, what breaks a promise in `target/fuzz/artifacts`.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

/// Longest input, in bytes: all that a decoder does with more, it does with so many, and a fuzzer is
/// slow with long ones.
const INPUT_BYTES_MAX: usize = 32 * 1024;
/// Most that a target may allocate at once, and that its process may have, in MiB. The targets count
/// for themselves, too, and closer: see `host/fuzz/src/lib.rs`.
const MALLOC_MIB_MAX: usize = 256;
const RSS_MIB_MAX: usize = 2048;
/// Time that one input may take, in seconds: what takes longer goes on without an end.
const INPUT_SECONDS_MAX: usize = 10;

/// What is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For how long each target is run, in seconds.
    pub seconds: u32,
    /// The targets; none: all of them.
    pub targets: Vec<String>,
}

/// What the fuzzers did. None has found anything, or there is no such result.
#[derive(Debug, Clone, Serialize)]
pub struct Fuzzed {
    /// Each target and how often it was run.
    pub targets: Vec<(String, u64)>,
    /// For how long each was run, in seconds.
    pub seconds: u32,
}

impl fmt::Display for Fuzzed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (target, runs) in &self.targets {
            writeln!(f, "{target}: {runs} inputs")?;
        }
        write!(f, "{} s each, nothing found", self.seconds)
    }
}

/// Builds the fuzzers and runs them.
///
/// # Errors
///
/// When one finds an input that breaks a promise, which the error names, or when they do not build:
/// that takes `cargo install cargo-fuzz` and a nightly compiler.
pub fn fuzz(settings: &Settings) -> Result<Fuzzed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("there is a workspace")?;
    let all = names(&root.join("host/fuzz/seeds"))?;
    if let Some(unknown) = settings.targets.iter().find(|target| !all.contains(target)) {
        bail!("there is no target `{unknown}`; there are {}", all.join(", "));
    }
    let chosen = if settings.targets.is_empty() { &all } else { &settings.targets };
    let built = cargo_fuzz(root, "build").status().context(MISSING)?;
    ensure!(built.success(), "the fuzzers do not build; {MISSING}");
    let mut targets = Vec::new();
    for target in chosen {
        let runs = run(root, target, settings.seconds)?;
        eprintln!("{target}: {runs} inputs");
        targets.push((target.clone(), runs));
    }
    Ok(Fuzzed { targets, seconds: settings.seconds })
}

const MISSING: &str =
    "it takes `cargo install --locked cargo-fuzz` and `rustup toolchain install nightly`";

/// Returns the names of the targets: each has a folder of seeds.
fn names(seeds: &Path) -> Result<Vec<String>> {
    let folders = fs::read_dir(seeds).with_context(|| seeds.display().to_string())?;
    let mut names = Vec::new();
    for folder in folders {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn cargo_fuzz(root: &Path, what: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", what, "--fuzz-dir", "fuzz"]);
    command.arg("--target-dir").arg(root.join("target/fuzz")).current_dir(root.join("host"));
    command
}

/// Runs one target and returns how many inputs it took.
fn run(root: &Path, target: &str, seconds: u32) -> Result<u64> {
    let (corpus, artifacts) = (folder(root, "corpus", target)?, folder(root, "artifacts", target)?);
    let mut command = cargo_fuzz(root, "run");
    command.arg(target).arg(corpus).arg(root.join("host/fuzz/seeds").join(target)).arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    command.arg(format!("-malloc_limit_mb={MALLOC_MIB_MAX}"));
    command.arg(format!("-rss_limit_mb={RSS_MIB_MAX}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg("-print_final_stats=1");
    let mut running = command.stderr(Stdio::piped()).spawn().context(MISSING)?;
    let mut runs = 0;
    for line in BufReader::new(running.stderr.take().context("it has a stderr")?).lines() {
        let line = line?;
        if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            runs = number.trim().parse()?;
        }
        eprintln!("{line}");
    }
    let found = artifacts.display();
    ensure!(running.wait()?.success(), "{target} found something; the input is in {found}");
    Ok(runs)
}

fn folder(root: &Path, what: &str, target: &str) -> Result<PathBuf> {
    let folder = root.join("target/fuzz").join(what).join(target);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
