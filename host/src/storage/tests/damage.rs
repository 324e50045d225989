//! Files that were cut, flipped or lost: what was acknowledged is there, or its loss is known.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use super::*;

const CALLS: u64 = 12;

/// Where bytes are changed in a file of some length.
fn places(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by((len / count).max(1))
}

fn commit_synced(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = store.copies().batch();
    fill(&mut batch);
    batch.commit(Durability::Synced).unwrap();
}

/// A folder whose process was killed after some synced calls, and the journal's length after each
/// of them: the base first.
fn killed() -> (TempDir, Vec<usize>) {
    let dir = TempDir::new().unwrap();
    // The journal of a store that is opened again is as long as what was written.
    drop(Store::open_on(dir.path(), boot("monday")).unwrap());
    let store = Store::open_on(dir.path(), boot("monday")).unwrap();
    let mut lens = Vec::new();
    for seq in 0..=CALLS {
        commit_synced(&store, |batch| match seq {
            0 => put_base(batch, "player1", COPY, 0),
            seq => batch.put_record(COPY, &record(seq)),
        });
        lens.push(fs::read(journal(dir.path())).unwrap().len());
    }
    store.raft().append(&[(0, b"zero".to_vec()), (1, b"one".to_vec())]).unwrap();
    store.raft().put(Slot::Vote, b"me", Durability::Synced).unwrap();
    (dir, lens)
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("store/copies/0.jnl")
}

pub(super) fn copy_of(dir: &TempDir) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let to = TempDir::new().unwrap();
    copy(dir.path(), to.path());
    to
}

fn cut(file: &Path, len: usize) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(len as u64).unwrap();
}

pub(super) fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Returns what is left of the copy after the machine restarted, if there is a trusted one.
fn trusted_seq(store: &Store) -> Option<u64> {
    let loaded = load(store);
    let copy = loaded.copies.iter().find(|copy| copy.trusted)?;
    assert_eq!(copy.state, state(copy.state.seq.0));
    Some(copy.state.seq.0)
}

fn is_set_aside(dir: &TempDir) -> bool {
    dir.path().join("store/copies.damaged-1").is_dir()
}

#[test]
fn a_torn_journal_keeps_every_synced_call() {
    let (dir, lens) = killed();
    for (calls, pair) in (0..).zip(lens.windows(2)).step_by(3) {
        for (len, day) in [
            (pair[0], "monday"),
            (pair[0] + 1, "tuesday"),
            (pair[0] + 14, "monday"),
            (pair[1] - 4, "monday"),
            (pair[1] - 1, "tuesday"),
            (pair[1] - 1, "monday"),
        ] {
            let torn = copy_of(&dir);
            cut(&journal(torn.path()), len);
            let store = Store::open_on(torn.path(), boot(day)).unwrap();
            assert_eq!(trusted_seq(&store), Some(calls), "cut at {len}");
        }
    }
}

#[test]
fn what_a_power_loss_left_behind_the_last_synced_call_does_no_harm() {
    let (dir, lens) = killed();
    let (before, end) = (lens[lens.len() - 2], lens[lens.len() - 1]);
    let whole = fs::read(journal(dir.path())).unwrap();
    let last = &whole[before..end];
    let mut holed = last.to_vec();
    holed[30..40].fill(0);
    for garbage in [&[7; 100][..], &[0; 5000], &last[..last.len() / 2], &holed, &[1; 40], &[3; 13]]
    {
        for zeros in [0, 3000] {
            let torn = copy_of(&dir);
            fs::write(journal(torn.path()), [&whole, garbage, &vec![0; zeros]].concat()).unwrap();
            let store = Store::open_on(torn.path(), boot("tuesday")).unwrap();
            assert_eq!(trusted_seq(&store), Some(CALLS), "{garbage:?}");
            // It goes on as if nothing had been there.
            commit_synced(&store, |batch| batch.put_record(COPY, &record(CALLS + 1)));
            drop(store);
            let store = Store::open_on(torn.path(), boot("wednesday")).unwrap();
            assert_eq!(trusted_seq(&store), Some(CALLS + 1));
        }
    }
}

#[test]
fn a_wrong_byte_in_a_journal_is_found_and_loses_nothing_silently() {
    let (dir, lens) = killed();
    let (last, end) = (lens[lens.len() - 2], lens[lens.len() - 1]);
    let mut found = 0;
    // Most of all the last batch, which nothing follows that would tell.
    for at in places(last, 16).chain((last..end).step_by(4)).chain(end - 6..end) {
        let flipped = copy_of(&dir);
        flip(&journal(flipped.path()), at);
        let store = Store::open_on(flipped.path(), boot("monday")).unwrap();
        let aside = is_set_aside(&flipped);
        assert_eq!(trusted_seq(&store), (!aside).then_some(CALLS), "byte {at}");
        assert_eq!((store.has_lost_copies(), store.trust() == Trust::Doubtful), (aside, aside));
        found += usize::from(aside);
    }
    assert!(found > 20, "{found} found");
}

#[test]
fn a_wrong_byte_before_the_last_call_is_found_after_a_power_loss_too() {
    let (dir, lens) = killed();
    for at in places(lens[lens.len() - 2], 12) {
        let flipped = copy_of(&dir);
        flip(&journal(flipped.path()), at);
        let store = Store::open_on(flipped.path(), boot("tuesday")).unwrap();
        let expected = (!is_set_aside(&flipped)).then_some(CALLS);
        assert_eq!(trusted_seq(&store), expected, "byte {at}");
    }
}

#[test]
fn a_wrong_byte_in_any_other_file_of_the_copies_is_found_and_loses_nothing_silently() {
    let (dir, _) = killed();
    {
        let store = Store::open_on(dir.path(), boot("monday")).unwrap();
        for table in [&store.shared.bases, &store.shared.records, &store.shared.floors] {
            table.rotate_memtable_and_wait().unwrap();
        }
    }
    let copies = dir.path().join("store/copies");
    for file in files_below(&copies) {
        let len = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
        let name = file.strip_prefix(dir.path()).unwrap();
        for at in places(len, 4) {
            let flipped = copy_of(&dir);
            flip(&flipped.path().join(name), at);
            let store = Store::open_on(flipped.path(), boot("monday")).unwrap();
            let expected = (!is_set_aside(&flipped)).then_some(CALLS);
            assert_eq!(trusted_seq(&store), expected, "{} byte {at}", name.display());
        }
        let without = copy_of(&dir);
        fs::remove_file(without.path().join(name)).unwrap();
        let store = Store::open_on(without.path(), boot("monday")).unwrap();
        let expected = (!is_set_aside(&without)).then_some(CALLS);
        assert_eq!(trusted_seq(&store), expected, "without {}", name.display());
    }
}

#[test]
fn copies_that_are_set_aside_once_more_get_another_name_and_new_ones_are_kept() {
    let (dir, lens) = killed();
    for round in 1..=2 {
        flip(&journal(dir.path()), lens[0] + 20);
        let store = Store::open_on(dir.path(), boot("monday")).unwrap();
        assert!(dir.path().join(format!("store/copies.damaged-{round}")).is_dir());
        assert!(load(&store).copies.iter().all(|copy| !copy.trusted));
        commit_synced(&store, |batch| put_base(batch, "player1", COPY, 0));
        for seq in 1..=CALLS {
            commit_synced(&store, |batch| batch.put_record(COPY, &record(seq)));
        }
        drop(store);
        let store = Store::open_on(dir.path(), boot("tuesday")).unwrap();
        assert_eq!((trusted_seq(&store), store.has_lost_copies()), (Some(CALLS), false));
        drop(store);
        drop(Store::open_on(dir.path(), boot("monday")).unwrap());
    }
}

#[test]
fn what_was_written_before_the_damage_is_saved_and_never_trusted() {
    let (dir, lens) = killed();
    for (calls, pair) in (0..).zip(lens.windows(2)).step_by(4) {
        for day in ["monday", "tuesday"] {
            let flipped = copy_of(&dir);
            let damaged = fs::read(journal(flipped.path())).unwrap();
            flip(&journal(flipped.path()), pair[0] + 30);
            {
                let store = Store::open_on(flipped.path(), boot(day)).unwrap();
                assert_eq!((store.has_lost_copies(), trusted_seq(&store)), (true, None));
                let loaded = load(&store);
                assert_eq!((loaded.copies.len(), loaded.damaged.len()), (1, 0));
                assert_eq!(loaded.copies[0].state, state(calls));
                // A fresh seed is trusted, next to what is not.
                commit_synced(&store, |batch| put_base(batch, "player2", CopyId(2), 1));
            }
            let aside = flipped.path().join("store/copies.damaged-1/0.jnl");
            assert_eq!(fs::read(aside).unwrap().len(), damaged.len(), "it was changed");
            let store = Store::open_on(flipped.path(), boot("wednesday")).unwrap();
            assert!(!store.has_lost_copies());
            let trusted: Vec<_> =
                load(&store).copies.into_iter().map(|copy| (copy.copy, copy.trusted)).collect();
            assert_eq!(trusted, [(CopyId(2), true), (COPY, false)]);
        }
    }
}

#[test]
fn saved_copies_are_not_trusted_even_if_nobody_lived_to_note_it() {
    let (dir, lens) = killed();
    let before = copy_of(&dir);
    flip(&journal(dir.path()), lens[3] + 30);
    drop(Store::open_on(dir.path(), boot("monday")).unwrap());
    // As a crash right after the salvage leaves it: the directory is the one of before.
    let store = dir.path().join("store");
    for old in ["directory", "synced", "boot"] {
        let (from, to) = (before.path().join("store").join(old), store.join(old));
        if to.is_dir() {
            fs::remove_dir_all(&to).unwrap();
        } else {
            fs::remove_file(&to).unwrap();
        }
        fs::rename(from, to).unwrap();
    }
    assert!(!store.join("copies.doubtful").exists(), "it was noted");
    fs::write(store.join("copies.doubtful"), "").unwrap();
    let store = Store::open_on(dir.path(), boot("monday")).unwrap();
    assert_eq!((store.has_lost_copies(), trusted_seq(&store)), (true, None));
}

#[test]
fn a_damaged_directory_is_refused_and_a_vote_is_never_lost_silently() {
    let (dir, _) = killed();
    let directory = dir.path().join("store/directory");
    let mut refusals = 0;
    for file in files_below(&directory) {
        let len = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
        let used = if file.ends_with("0.jnl") { used(&file) } else { len };
        let name = file.strip_prefix(dir.path()).unwrap();
        for at in places(used, 10) {
            let flipped = copy_of(&dir);
            flip(&flipped.path().join(name), at);
            match Store::open_on(flipped.path(), boot("monday")) {
                Ok(store) => {
                    assert_eq!(store.raft().get(Slot::Vote).unwrap().unwrap(), b"me");
                    assert_eq!(store.raft().entries(..).unwrap().len(), 2);
                }
                Err(error) => {
                    let says = error.to_string();
                    assert!(says.contains("move the data folder"), "{says}");
                    assert!(matches!(error, StoreError::Directory { .. }), "{says}");
                    refusals += 1;
                }
            }
        }
    }
    assert!(refusals > 10, "{refusals} refused");
}

fn used(file: &Path) -> usize {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
