//! Journals, values and whole data folders of any bytes: see [`crate::hostile`].

use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::copies::{Header, parse_base_key, parse_player};
use super::identity::{Session, judge};
use super::journal::{Last, contains_batch, was_finished, whole_batches};
use super::{Durability, Slot, Store, Trust, marked, sealed};
use crate::protocol::hostile::survives;
use crate::protocol::{
    CallKey, CodeHash, CopyId, Effect, Generation, Incarnation, NodeId, NodeName, Operation,
    PlayerId, PlayerState, Record, Seq, Writer,
};
use crate::snapshot::{Delta, MemoryDelta, Run, Snapshot};

/// A journal: what is whole at its beginning, and what the rest is taken for.
pub(crate) fn journal(bytes: &[u8]) {
    let mut last = Last::default();
    let at = whole_batches(bytes, &mut last);
    let rest = &bytes[at..];
    // Cut there, all of it is whole.
    let (mut again, cut) = (Last::default(), &bytes[..at]);
    assert_eq!(whole_batches(cut, &mut again), at);
    assert_eq!(again, last);
    if contains_batch(rest, last.number) {
        assert!(!rest.is_empty());
    }
    if was_finished(rest) {
        assert!(!rest.is_empty());
    }
}

/// A value: the first byte says what it should be. It is read as it is, and with a checksum that fits.
pub(crate) fn values(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let sealed = sealed::seal_bytes(bytes);
    assert_eq!(sealed::unseal_bytes(&sealed), Some(bytes));
    match kind % 8 {
        0 => copy(&sealed),
        1 => drop(survives::<Record>(bytes)),
        2 => drop(survives::<(Generation, Writer)>(bytes)),
        3 => session(&sealed),
        4 => drop(survives::<(NodeId, NodeName)>(bytes)),
        5 => assert_eq!(marked::number(&sealed).is_some(), bytes.len() == 8),
        6 => {
            if let (Some(_), Some(player)) = parse_base_key(bytes) {
                assert!(parse_player(player.as_str().as_bytes()) == Some(player));
            }
        }
        // Nothing says that the checksum fits.
        _ => {
            if let Some(inside) = sealed::unseal_bytes(bytes) {
                assert_eq!(sealed::seal_bytes(inside), bytes);
            }
        }
    }
}

fn copy(sealed: &[u8]) {
    let Some((header, state)) = sealed::unseal::<(Header, PlayerState)>(sealed) else { return };
    // Where its records would begin.
    assert!(header.seq.next() > header.seq);
    let bytes = postcard::to_stdvec(&(header, state)).expect("it encodes into memory");
    assert!(survives::<(Header, PlayerState)>(&bytes).is_some());
}

fn session(sealed: &[u8]) {
    let Some(session) = sealed::unseal::<Session>(sealed) else { return };
    for trust in [judge(Some(&session), None), judge(Some(&session), Some("boot"))] {
        let next = Session::after(Some(&session), trust, None);
        assert!(next.incarnation > session.incarnation);
    }
}

/// A data folder in which some files are not what they were. Whatever is in it, it is opened or
/// refused, and what is read from it is whole or named as damaged.
///
/// The bytes are changes, one after the other: a file's number, what is done, where, how many bytes
/// follow, and those.
pub(crate) fn store(bytes: &[u8]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = Folder(scratch().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string()));
    let mut files = template().clone();
    let mut rest = bytes;
    while let [file, what, high, low, len, more @ ..] = rest {
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        let (new, more) = more.split_at(usize::from(*len).min(more.len()));
        let nth = usize::from(*file) % files.len();
        change(&mut files, nth, *what, at, new);
        rest = more;
    }
    write(&folder.0, &files);
    let boot = if bytes.len().is_multiple_of(2) { BOOT } else { "another" };
    silently(|| look(&folder.0, boot));
}

const BOOT: &str = "this";

fn change(files: &mut [File], nth: usize, what: u8, at: usize, new: &[u8]) {
    let Some(content) = &mut files[nth].1 else { return };
    let at = if content.is_empty() { 0 } else { at % content.len() };
    match what % 5 {
        0 => {
            let end = (at + new.len()).min(content.len());
            content[at..end].copy_from_slice(&new[..end - at]);
        }
        1 => content.truncate(at),
        2 => files[nth].1 = None,
        3 => content.extend_from_slice(new),
        _ => *content = new.to_vec(),
    }
}

/// Reads all that a node reads when it starts.
fn look(dir: &Path, boot: &str) {
    let Ok(store) = Store::open_on(dir, Some(boot.to_owned())) else { return };
    let mut copies = 0;
    let loaded = store.copies().load(|copy| {
        copies += 1;
        assert!(!copy.trusted || store.trust() == Trust::Complete || !store.has_lost_copies());
    });
    assert!(loaded.is_err() || copies <= 2, "there were two");
    // Damaged or not, reading ends.
    let slots = [Slot::Vote, Slot::Committed, Slot::Purged, Slot::Snapshot];
    let read = slots.iter().filter(|slot| store.raft().get(**slot).is_ok()).count();
    assert!(read <= slots.len());
    let entries = store.raft().entries(..);
    assert!(entries.is_err() || store.raft().last_entry().is_ok());
}

/// Runs what may panic and catch that itself, as the opening of a damaged store does. A fuzzer's hook
/// ends the process at any panic; what is not caught goes on from here.
fn silently(work: impl FnOnce()) {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    if let Err(panic) = done {
        resume_unwind(panic);
    }
}

/// A file's path in the folder, and what is in it unless it is gone.
type File = (PathBuf, Option<Vec<u8>>);

/// A small data folder as a node leaves it.
fn template() -> &'static Vec<File> {
    static TEMPLATE: OnceLock<Vec<File>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = Folder(scratch().join("template"));
        fill(&folder.0);
        let mut files = Vec::new();
        read(&folder.0, Path::new(""), &mut files);
        files.sort();
        files
    })
}

fn fill(dir: &Path) {
    let store = Store::open_on(dir, Some(BOOT.to_owned())).expect("an empty folder opens");
    store.bind_name(&"one".parse().expect("a name")).expect("it has no name yet");
    let raft = store.raft();
    raft.append(&[(0, b"zero".to_vec()), (1, b"one".to_vec())]).expect("it is open");
    raft.put(Slot::Vote, b"me", Durability::Synced).expect("it is open");
    let writer = Writer { node: NodeId(1), incarnation: Incarnation(1) };
    let mut batch = store.copies().batch();
    for (copy, name) in [(CopyId(1), "player1"), (CopyId(2), "player2")] {
        let player: PlayerId = name.parse().expect("an id");
        let state = PlayerState::new(CodeHash([7; 32]), Snapshot::initial([65_536]));
        batch.put_base(&player, copy, Generation(1), writer, &state, true);
        let runs = vec![Run { offset: 9, bytes: vec![1, 2, 3] }];
        let delta = Delta { memories: vec![MemoryDelta { len: 65_536, runs }] };
        let effect = Effect::new(CallKey(5), &Operation::Points, 5);
        batch.put_record(copy, &Record { seq: Seq(1), effect, delta });
        batch.put_floor(&player, Generation(1), writer);
    }
    batch.commit(Durability::Synced).expect("it is open");
}

/// Reads files without the zeros at their ends, of which journals have many.
fn read(dir: &Path, inside: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(dir.join(inside)).expect("it was just written") {
        let path = inside.join(entry.expect("an entry").file_name());
        if dir.join(&path).is_dir() {
            read(dir, &path, files);
        } else if path != Path::new("lock") {
            let mut content = fs::read(dir.join(&path)).expect("it was just written");
            let written = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            // The marks of the directory and small files end in zeros that count.
            if content.len() > 1024 * 1024 {
                content.truncate(written);
            }
            files.push((path, Some(content)));
        }
    }
}

fn write(dir: &Path, files: &[File]) {
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("there is room");
        if let Some(content) = content {
            fs::write(path, content).expect("there is room");
        }
    }
}

/// A place for folders that nobody else uses, in memory if the system has one.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    place.join(format!("hostile-{}", std::process::id()))
}

/// Removed with all that is in it when it is not needed any more.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
        // The last one takes the place for them with it.
        fs::remove_dir(scratch()).ok();
    }
}

/// Values and journals of a store that nobody uses, each for its target.
#[cfg(test)]
pub(crate) fn seeds(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for database in ["directory", "copies"] {
        for entry in fs::read_dir(folder.join("store").join(database)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "jnl") {
                let mut bytes = fs::read(path).unwrap();
                bytes.truncate(12 * 1024);
                let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                seeds.push(("journal", bytes[..written].to_vec()));
                seeds.push(("journal", bytes[..written / 3].to_vec()));
            }
        }
    }
    let store = Store::open(folder).unwrap();
    let shared = &store.shared;
    for (kind, table) in [(0, &shared.bases), (1, &shared.records), (2, &shared.floors)] {
        for entry in table.iter().take(6) {
            let (key, value) = entry.into_inner().unwrap();
            let inside = sealed::unseal_bytes(&value).unwrap();
            seeds.push(("values", [&[kind], inside].concat()));
            seeds.push(("values", [&[7], &value[..]].concat()));
            seeds.push(("values", [&[6], &key[..]].concat()));
        }
    }
    let session = sealed::seal(&*shared.session());
    seeds.push(("values", [&[3], sealed::unseal_bytes(&session).unwrap()].concat()));
    let node: (NodeId, NodeName) = (store.node_id(), "two".parse().unwrap());
    seeds.push(("values", [&[4], &postcard::to_stdvec(&node).unwrap()[..]].concat()));
    seeds.push(("values", [&[5][..], &9u64.to_le_bytes()].concat()));
    seeds
}

/// Raft's log in a store that nobody uses.
#[cfg(test)]
pub(crate) fn log(folder: &Path) -> Vec<Vec<u8>> {
    Store::open(folder).unwrap().raft().entries(..).unwrap()
}
