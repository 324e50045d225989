//! The targets on the seeds that are committed, on mutations of them, and on a cluster's own bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{TARGETS, Target, recorder};

/// Names a folder to write seeds to, one folder within for each target.
const RECORD_TO: &str = "PLAYER_HOST_SEEDS";

fn fuzz_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Returns the seeds of a target with the names of their files.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz_folder().join("seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn each_target_has_seeds_and_a_fuzzer() {
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(!seeds(name).is_empty(), "{name} has no seeds");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no fuzzer");
    }
    let folders = fs::read_dir(fuzz_folder().join("seeds")).unwrap();
    assert_eq!(folders.count(), TARGETS.len(), "each folder of seeds has a target");
}

#[test]
fn every_seed_is_survived() {
    for (name, target) in TARGETS {
        for (file, bytes) in seeds(name) {
            eprintln!("{name}/{file}");
            target(&bytes);
        }
    }
}

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    /// A part is there once more.
    Repeat(Index, Index),
    Swap(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![vec(any::<u8>(), 1..12), vec(Just(0xff), 1..12)];
    prop_oneof![
        4 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (any::<Index>(), prop_oneof![any::<u8>(), Just(0x7f), Just(0xff)])
            .prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
        2 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let len = bytes.len().max(1);
    bytes.resize(len, 0);
    match change {
        Change::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Change::Set(at, byte) => bytes[at.index(len)] = *byte,
        Change::Cut(at) => bytes.truncate(at.index(len)),
        Change::Insert(at, new) => drop(bytes.splice(at.index(len)..at.index(len), new.clone())),
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            drop(bytes.splice(from..from, part));
        }
        Change::Swap(one, other) => bytes.swap(one.index(len), other.index(len)),
    }
}

fn survives_mutations(name: &str, target: Target, cases: u32) {
    let seeds: Vec<_> = seeds(name).into_iter().map(|(_, bytes)| bytes).collect();
    let mutated = (any::<Index>(), vec(change(), 0..6)).prop_map(|(seed, changes)| {
        let mut bytes = seed.get(&seeds).clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        bytes
    });
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let survived = TestRunner::new(config).run(&mutated, |bytes| {
        // A panic is a failure, too: proptest shrinks it.
        target(&bytes);
        Ok::<_, TestCaseError>(())
    });
    survived.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn mutations_of_seeds_are_survived() {
    for (name, target) in TARGETS {
        // Some take longer: a store is a folder, a component is encoded anew.
        let cases = match name {
            "store" => 16,
            "component" => 64,
            _ => 400,
        };
        survives_mutations(name, target, cases);
    }
}

/// What is recorded here is also what `host/fuzz/seeds` was made of: the variable [`RECORD_TO`] names
/// a folder for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cluster_says_and_writes_is_survived() {
    let recorded = recorder::record().await;
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    // Changes of files in a folder are said by nobody.
    let all = names.iter().filter(|name| recorded.contains_key(*name) || **name == "store");
    assert_eq!(all.count(), TARGETS.len(), "{:?}", recorded.keys());
    let folder = std::env::var_os(RECORD_TO).map(PathBuf::from);
    for (name, target) in TARGETS {
        for seed in recorded.get(name).into_iter().flatten() {
            if let Some(folder) = &folder {
                let file = blake3::hash(seed).to_hex();
                let folder = folder.join(name);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(&file[..16]), seed).unwrap();
            }
            target(seed);
        }
    }
}
