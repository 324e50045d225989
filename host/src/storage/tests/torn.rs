//! The directory after a power loss: what was not synced is cut off, whatever it looks like, and
//! damage to what was synced is refused.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use super::damage::{copy_of, flip};
use super::*;

/// What is on disk after a write that was synced.
struct Synced {
    journal_len: usize,
    mark: Vec<u8>,
    entries: u64,
}

/// A folder, and what was on disk after each of its synced writes.
struct History {
    dir: TempDir,
    synced: Vec<Synced>,
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("store/directory/0.jnl")
}

fn mark(dir: &Path) -> PathBuf {
    dir.join("store/synced")
}

fn entry(index: u64) -> (u64, Vec<u8>) {
    (index, vec![u8::try_from(index % 256).unwrap(); 300])
}

static HISTORY: LazyLock<History> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    // The journal of a store that is opened again is as long as what was written.
    drop(Store::open_on(dir.path(), boot("monday")).unwrap());
    let store = Store::open_on(dir.path(), boot("monday")).unwrap();
    let raft = store.raft();
    let mut synced = Vec::new();
    raft.put(Slot::Vote, b"me", Durability::Synced).unwrap();
    for index in 0..6_u64 {
        // What is said of the log in between is not synced.
        for _ in 0..index {
            let committed = index.to_be_bytes();
            raft.put(Slot::Committed, &committed, Durability::Buffered).unwrap();
        }
        raft.append(&[entry(index * 2), entry(index * 2 + 1)]).unwrap();
        synced.push(Synced {
            journal_len: fs::read(journal(dir.path())).unwrap().len(),
            mark: fs::read(mark(dir.path())).unwrap(),
            entries: index * 2 + 2,
        });
    }
    History { dir, synced }
});

/// What a power loss does to the bytes that were not synced.
#[derive(Debug, Clone)]
enum Loss {
    /// Only the beginning was written, and something else stands behind it.
    Cut { at: prop::sample::Index, behind: Vec<u8> },
    /// A block was not written, although one behind it was.
    Hole { from: prop::sample::Index, len: usize, holds: u8 },
    /// Old batches of this file stand behind the beginning.
    Stale { at: prop::sample::Index },
}

fn behind() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        (1_usize..5000).prop_map(|len| vec![0; len]),
        vec(any::<u8>(), 1..600),
        (vec(any::<u8>(), 1..600), 1_usize..5000).prop_map(|(garbage, zeros)| [
            garbage,
            vec![0; zeros]
        ]
        .concat()),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        (any::<prop::sample::Index>(), behind()).prop_map(|(at, behind)| Loss::Cut { at, behind }),
        (any::<prop::sample::Index>(), 1_usize..600, any::<u8>())
            .prop_map(|(from, len, holds)| Loss::Hole { from, len, holds }),
        any::<prop::sample::Index>().prop_map(|at| Loss::Stale { at }),
    ]
}

impl Loss {
    fn of(&self, whole: &[u8], unsynced: Range<usize>) -> Vec<u8> {
        let Range { start, end } = unsynced;
        let place = |index: &prop::sample::Index, places: usize| start + index.index(places);
        match self {
            Self::Cut { at, behind } => [&whole[..place(at, end - start + 1)], behind].concat(),
            Self::Hole { from, len, holds } => {
                let from = place(from, end - start);
                let mut left = whole[..end].to_vec();
                left[from..end.min(from + len)].fill(*holds);
                left
            }
            Self::Stale { at } => [&whole[..place(at, end - start + 1)], &whole[..start]].concat(),
        }
    }
}

fn assert_has_all(store: &Store, entries: u64) -> Result<u64, TestCaseError> {
    let raft = store.raft();
    prop_assert_eq!(raft.get(Slot::Vote).unwrap().unwrap(), b"me");
    let found = raft.entries(..).unwrap();
    prop_assert!(found.len() as u64 >= entries, "{} of {entries}", found.len());
    for (index, bytes) in (0..).zip(&found) {
        prop_assert_eq!(bytes, &entry(index).1);
    }
    Ok(found.len() as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_power_loss_leaves_every_synced_write_and_the_node_starts(
        (nth, loss) in (0_usize..5, loss()),
    ) {
        let Synced { journal_len, mark: noted, entries } = &HISTORY.synced[nth];
        let torn = copy_of(&HISTORY.dir);
        let whole = fs::read(journal(torn.path())).unwrap();
        let left = loss.of(&whole, *journal_len..HISTORY.synced[nth + 1].journal_len);
        fs::write(journal(torn.path()), left).unwrap();
        fs::write(mark(torn.path()), noted).unwrap();

        let store = Store::open_on(torn.path(), boot("tuesday"));
        prop_assert!(store.is_ok(), "{}", store.unwrap_err());
        let store = store.unwrap();
        let found = assert_has_all(&store, *entries)?;
        // It goes on as if nothing had been there.
        store.raft().append(&[entry(found)]).unwrap();
        drop(store);
        let store = Store::open_on(torn.path(), boot("wednesday")).unwrap();
        assert_has_all(&store, found + 1)?;
    }

    #[test]
    fn a_wrong_byte_in_what_was_synced_is_refused_after_a_power_loss(
        (nth, at) in (0_usize..5, any::<prop::sample::Index>()),
        loss in loss(),
    ) {
        let Synced { journal_len, mark: noted, entries } = &HISTORY.synced[nth];
        let torn = copy_of(&HISTORY.dir);
        let whole = fs::read(journal(torn.path())).unwrap();
        let left = loss.of(&whole, *journal_len..HISTORY.synced[nth + 1].journal_len);
        fs::write(journal(torn.path()), &left).unwrap();
        fs::write(mark(torn.path()), noted).unwrap();
        // The last synced write is the one that nothing behind it tells of.
        let first = if nth == 0 { 0 } else { HISTORY.synced[nth - 1].journal_len };
        flip(&journal(torn.path()), first + at.index(journal_len - first));

        for _ in 0..2 {
            match Store::open_on(torn.path(), boot("tuesday")) {
                // The engine's number of a write is under no checksum, and means nothing.
                Ok(store) => drop(assert_has_all(&store, *entries)?),
                Err(StoreError::Directory { reason, .. }) => {
                    prop_assert!(reason.contains("0.jnl"), "{reason}");
                    prop_assert!(fs::read(journal(torn.path())).unwrap().len() == left.len());
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}

#[test]
fn a_wrong_byte_in_the_last_synced_write_is_refused_after_a_power_loss() {
    let [.., before, last] = &HISTORY.synced[..] else { unreachable!("six writes") };
    let mut refusals = 0;
    for at in (before.journal_len..last.journal_len).step_by(16) {
        let flipped = copy_of(&HISTORY.dir);
        flip(&journal(flipped.path()), at);
        match Store::open_on(flipped.path(), boot("tuesday")) {
            Ok(store) => drop(assert_has_all(&store, last.entries).unwrap()),
            Err(error) => {
                assert!(error.to_string().contains("directory/0.jnl"), "{error}");
                refusals += 1;
            }
        }
    }
    let places = (last.journal_len - before.journal_len) / 16;
    assert!(refusals >= places - 2, "{refusals} of {places} refused");
}

#[test]
fn a_directory_that_ends_before_what_was_synced_is_refused() {
    let [.., before, _] = &HISTORY.synced[..] else { unreachable!("six writes") };
    // At the end of a write nothing is torn, and yet something is gone.
    let short = copy_of(&HISTORY.dir);
    let whole = fs::read(journal(short.path())).unwrap();
    fs::write(journal(short.path()), &whole[..before.journal_len]).unwrap();
    for _ in 0..2 {
        let refused = Store::open_on(short.path(), boot("tuesday")).unwrap_err();
        assert!(matches!(refused, StoreError::Directory { .. }), "{refused}");
        assert!(refused.to_string().contains("directory/0.jnl"), "{refused}");
    }
    for damage in [None, Some(&[7; 5000][..])] {
        let dir = copy_of(&HISTORY.dir);
        match damage {
            None => fs::remove_file(mark(dir.path())).unwrap(),
            Some(bytes) => fs::write(mark(dir.path()), bytes).unwrap(),
        }
        let refused = Store::open_on(dir.path(), boot("monday")).unwrap_err();
        assert!(refused.to_string().contains("store/synced"), "{refused}");
    }
}
