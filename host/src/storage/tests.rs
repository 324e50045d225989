//! The store as its callers see it: reopened, killed, damaged, in use.

mod damage;
mod torn;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::limits::RECORDS_PER_BASE;
use crate::protocol::{
    CallKey, CodeHash, CopyId, Effect, Generation, Operation, PlayerId, PlayerState, Record, Seq,
    Writer,
};
use crate::snapshot::{Delta, MemoryDelta, Run, Snapshot};

const GENERATION: Generation = Generation(3);
const WRITER: Writer = Writer { node: NodeId(7), incarnation: Incarnation(2) };
const COPY: CopyId = CopyId(0xc0);

fn player(name: &str) -> PlayerId {
    name.parse().unwrap()
}

fn record(seq: u64) -> Record {
    let byte = u8::try_from(seq % 256).unwrap();
    let runs = vec![Run { offset: seq % 64, bytes: vec![byte] }];
    Record {
        seq: Seq(seq),
        effect: Effect::new(CallKey(u128::from(seq)), &Operation::Points, i64::from(byte)),
        delta: Delta { memories: vec![MemoryDelta { len: 64, runs }] },
    }
}

/// The state after this many calls.
fn state(calls: u64) -> PlayerState {
    let mut state = PlayerState::new(CodeHash([1; 32]), Snapshot::initial([64]));
    (1..=calls).for_each(|seq| state.apply(&record(seq)).unwrap());
    state
}

fn put_base(batch: &mut Batch, name: &str, copy: CopyId, calls: u64) {
    batch.put_base(&player(name), copy, GENERATION, WRITER, &state(calls), true);
}

fn write(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = store.copies().batch();
    fill(&mut batch);
    batch.commit(Durability::Buffered).unwrap();
}

/// Everything that the store holds about players.
struct All {
    copies: Vec<StoredCopy>,
    floors: Vec<StoredFloor>,
    damaged: Vec<Damaged>,
}

fn load(store: &Store) -> All {
    let mut copies = Vec::new();
    let Loaded { floors, damaged } = store.copies().load(|copy| copies.push(copy)).unwrap();
    All { copies, floors, damaged }
}

fn stored_records(store: &Store) -> usize {
    store.shared.records.len().unwrap()
}

fn boot(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn a_copy_is_its_base_and_the_records_after_it() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, |batch| {
        put_base(batch, "player1", COPY, 2);
        batch.put_record(COPY, &record(3));
        batch.put_floor(&player("player1"), GENERATION, WRITER);
    });
    write(&store, |batch| batch.put_record(COPY, &record(4)));
    drop(store);

    let loaded = load(&Store::open(dir.path()).unwrap());
    let expected = StoredCopy {
        player: player("player1"),
        copy: COPY,
        generation: GENERATION,
        writer: WRITER,
        state: state(4),
        trusted: true,
    };
    assert_eq!(loaded.copies, [expected]);
    let floor = StoredFloor { player: player("player1"), generation: GENERATION, writer: WRITER };
    assert_eq!(loaded.floors, [floor]);
    assert_eq!(loaded.damaged, []);
}

#[test]
fn a_new_base_and_a_removal_leave_no_records_behind() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, |batch| {
        put_base(batch, "player1", COPY, 0);
        put_base(batch, "player2", CopyId(COPY.0 + 1), 0);
        batch.put_record(CopyId(COPY.0 + 1), &record(1));
    });
    for seq in 1..=10 {
        write(&store, |batch| batch.put_record(COPY, &record(seq)));
    }
    write(&store, |batch| put_base(batch, "player1", COPY, 8));
    assert_eq!(stored_records(&store), 3);
    assert_eq!(load(&store).copies[0].state, state(10));

    // Records of the same batch are no exception.
    write(&store, |batch| {
        batch.put_record(COPY, &record(11));
        put_base(batch, "player1", COPY, 11);
        batch.put_record(COPY, &record(12));
    });
    assert_eq!(stored_records(&store), 2);
    assert_eq!(load(&store).copies[0].state, state(12));

    write(&store, |batch| {
        batch.put_record(COPY, &record(13));
        batch.remove_copy(COPY);
        batch.put_floor(&player("player1"), GENERATION, WRITER);
        batch.remove_floor(&player("player1"));
    });
    assert_eq!(stored_records(&store), 1);
    let loaded = load(&store);
    assert_eq!(loaded.copies.len(), 1);
    assert_eq!(loaded.copies[0].player, player("player2"));
    assert_eq!(loaded.floors, []);
}

#[test]
fn a_damaged_value_is_named_and_harms_no_other() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let copies = [CopyId(1), CopyId(2), CopyId(3), CopyId(4)];
    write(&store, |batch| {
        for (copy, name) in copies.into_iter().zip(["base", "record", "gap", "sound"]) {
            put_base(batch, name, copy, 0);
            batch.put_record(copy, &record(1));
            batch.put_record(copy, &record(2));
        }
        batch.put_floor(&player("floor"), GENERATION, WRITER);
    });
    let flip = |keyspace: &Keyspace, nth: usize| {
        let (key, value) = keyspace.iter().nth(nth).unwrap().into_inner().unwrap();
        let mut value = value.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 0x10;
        keyspace.insert(key, value).unwrap();
    };
    flip(&store.shared.bases, 0);
    flip(&store.shared.records, 3);
    flip(&store.shared.floors, 0);
    let first_of_gap = store.shared.records.iter().nth(4).unwrap().key().unwrap();
    store.shared.records.remove(first_of_gap).unwrap();
    store.shared.bases.insert(b"short", b"").unwrap();

    let loaded = load(&store);
    let sound: Vec<_> = loaded.copies.iter().map(|copy| copy.player.as_str()).collect();
    assert_eq!(sound, ["sound"]);
    assert_eq!(loaded.floors, []);
    let gap = crate::protocol::StateMismatch::Gap { state: Seq(0), record: Seq(2) };
    let damaged = |name: &str, copy, reason| Damaged { player: Some(player(name)), copy, reason };
    assert_eq!(
        loaded.damaged,
        [
            damaged("base", Some(CopyId(1)), Damage::Base),
            damaged("record", Some(CopyId(2)), Damage::Record(Seq(2))),
            damaged("gap", Some(CopyId(3)), Damage::History(gap)),
            Damaged { player: None, copy: None, reason: Damage::Key },
            damaged("floor", None, Damage::Floor),
        ]
    );
}

#[test]
fn a_reboot_takes_the_trust_from_copies_until_they_are_seeded_anew() {
    let dir = TempDir::new().unwrap();
    let open = |name| Store::open_on(dir.path(), boot(name)).unwrap();
    write(&open("monday"), |batch| {
        put_base(batch, "player1", COPY, 0);
        put_base(batch, "player2", CopyId(2), 0);
    });
    // A killed process on a running machine has lost nothing.
    let store = open("monday");
    assert_eq!(store.trust(), Trust::Complete);
    assert!(load(&store).copies.iter().all(|copy| copy.trusted));
    write(&store, |batch| batch.put_record(COPY, &record(1)));
    drop(store);

    let store = open("tuesday");
    assert_eq!(store.trust(), Trust::Doubtful);
    assert!(load(&store).copies.iter().all(|copy| !copy.trusted));
    write(&store, |batch| {
        // A base made from an untrusted copy is no fresh seed.
        batch.put_base(&player("player1"), COPY, GENERATION, WRITER, &state(1), false);
        put_base(batch, "player3", CopyId(3), 0);
    });
    drop(store);

    let store = open("tuesday");
    assert_eq!(store.trust(), Trust::Complete);
    let trusted = |store: &Store| -> Vec<_> {
        let trusted = load(store).copies.into_iter().filter(|copy| copy.trusted);
        trusted.map(|copy| copy.player.as_str().to_owned()).collect()
    };
    assert_eq!(trusted(&store), ["player3"]);
    store.close().unwrap();
    drop(store);

    let store = open("wednesday");
    assert_eq!(store.trust(), Trust::Complete);
    write(&store, |batch| put_base(batch, "player2", CopyId(2), 0));
    assert_eq!(trusted(&store), ["player2", "player3"]);
    drop(store);
    // The mark of the clean close counted once.
    assert_eq!(open("thursday").trust(), Trust::Doubtful);
}

#[test]
fn a_session_that_synced_all_it_wrote_survives_a_reboot() {
    let dir = TempDir::new().unwrap();
    let store = Store::open_on(dir.path(), boot("monday")).unwrap();
    let mut batch = store.copies().batch();
    put_base(&mut batch, "player1", COPY, 0);
    batch.commit(Durability::Synced).unwrap();
    drop(store);
    let store = Store::open_on(dir.path(), boot("tuesday")).unwrap();
    assert_eq!(store.trust(), Trust::Complete);
    assert!(load(&store).copies[0].trusted);
}

#[test]
fn a_switch_to_synced_writes_vouches_for_what_was_buffered_before() {
    let dir = TempDir::new().unwrap();
    let open = |name| Store::open_on(dir.path(), boot(name)).unwrap();
    let store = open("monday");
    write(&store, |batch| put_base(batch, "player1", COPY, 0));
    store.copies().sync().unwrap();
    let mut batch = store.copies().batch();
    batch.put_record(COPY, &record(1));
    batch.commit(Durability::Synced).unwrap();
    drop(store);

    let store = open("tuesday");
    assert_eq!(store.trust(), Trust::Complete);
    assert_eq!((load(&store).copies[0].state.seq, load(&store).copies[0].trusted), (Seq(1), true));
    // And back: the first buffered write is in doubt again, with all before it.
    store.copies().sync().unwrap();
    write(&store, |batch| batch.put_record(COPY, &record(2)));
    drop(store);
    let store = open("wednesday");
    assert_eq!(store.trust(), Trust::Doubtful);
    assert!(!load(&store).copies[0].trusted);
}

#[test]
fn one_synced_write_does_not_vouch_for_its_session() {
    let dir = TempDir::new().unwrap();
    let store = Store::open_on(dir.path(), boot("monday")).unwrap();
    write(&store, |batch| put_base(batch, "player1", COPY, 0));
    let mut batch = store.copies().batch();
    batch.put_record(COPY, &record(1));
    batch.commit(Durability::Synced).unwrap();
    drop(store);
    assert_eq!(Store::open_on(dir.path(), boot("tuesday")).unwrap().trust(), Trust::Doubtful);
}

#[test]
fn a_closed_store_takes_no_writes() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    let mut batch = store.copies().batch();
    put_base(&mut batch, "player1", COPY, 0);
    assert!(matches!(batch.commit(Durability::Buffered), Err(StoreError::Closed)));
    assert!(matches!(store.raft().append(&[(0, vec![])]), Err(StoreError::Closed)));
    assert!(matches!(store.copies().sync(), Err(StoreError::Closed)));
}

#[test]
fn a_folder_remembers_its_node_and_counts_its_starts() {
    let dir = TempDir::new().unwrap();
    let (one, two): (NodeName, NodeName) = ("one".parse().unwrap(), "two".parse().unwrap());
    let store = Store::open(dir.path()).unwrap();
    let id = store.node_id();
    assert_eq!(store.incarnation(), Incarnation(1));
    store.bind_name(&one).unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.node_id(), id);
    assert_eq!(store.incarnation(), Incarnation(2));
    store.bind_name(&one).unwrap();
    let refused = store.bind_name(&two).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the data folder belongs to one, not to two; choose another --data-dir"
    );
}

#[test]
fn a_folder_in_use_is_refused_and_named() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let refused = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&refused, StoreError::InUse { dir: used } if used == dir.path()));
    assert!(refused.to_string().contains(&dir.path().display().to_string()));
    // A handle keeps the folder, not only the store itself.
    let copies = store.copies();
    drop(store);
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse { .. })));
    drop(copies);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Store::open(&file).unwrap_err();
    assert!(matches!(&refused, StoreError::Folder { path, .. } if *path == file));
}

#[test]
fn a_store_that_was_never_finished_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let half_made = dir.path().join("store.new").join("directory");
    std::fs::create_dir_all(&half_made).unwrap();
    std::fs::write(half_made.join("0.jnl"), "half").unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().incarnation(), Incarnation(1));
}

#[cfg(unix)]
#[test]
fn the_data_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("a").join("b");
    Store::open(&folder).unwrap();
    assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn raft_finds_its_log_and_values_again() {
    let dir = TempDir::new().unwrap();
    let raft = Store::open(dir.path()).unwrap().raft();
    let entry = |index: u64| (index, index.to_string().into_bytes());
    raft.append(&(0..=300).map(entry).collect::<Vec<_>>()).unwrap();
    raft.truncate(299).unwrap();
    raft.purge(2, b"two").unwrap();
    raft.put(Slot::Vote, b"me", Durability::Synced).unwrap();
    drop(raft);

    let raft = Store::open(dir.path()).unwrap().raft();
    assert_eq!(raft.entries(..5).unwrap(), [b"3", b"4"]);
    assert_eq!(raft.entries(297..).unwrap(), [b"297", b"298"]);
    assert_eq!(raft.last_entry().unwrap().unwrap(), b"298");
    assert_eq!(raft.get(Slot::Purged).unwrap().unwrap(), b"two");
    assert_eq!(raft.get(Slot::Vote).unwrap().unwrap(), b"me");
    assert_eq!(raft.get(Slot::Snapshot).unwrap(), None);
}

/// Names the data folder to the process that is to be killed.
const VICTIM_DIR: &str = "STORAGE_TEST_VICTIM_DIR";
const VICTIM_CALLS: u64 = RECORDS_PER_BASE * 20;

#[test]
fn a_killed_process_loses_no_buffered_write() {
    if let Ok(dir) = std::env::var(VICTIM_DIR) {
        return be_killed(&dir);
    }
    let dir = TempDir::new().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("storage::tests::a_killed_process_loses_no_buffered_write")
        .env(VICTIM_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("written")));
    // The folder is taken as long as the process lives, and free as soon as it is dead.
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse { .. })));
    victim.kill().unwrap();
    victim.wait().unwrap();

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.trust(), Trust::Complete);
    let loaded = load(&store);
    assert_eq!(loaded.damaged, []);
    assert_eq!(loaded.copies.len(), 1);
    assert_eq!(loaded.copies[0].state, state(VICTIM_CALLS));
    assert!(loaded.copies[0].trusted);
}

#[expect(clippy::print_stdout, reason = "tells the process that kills this one")]
fn be_killed(dir: &str) {
    let store = Store::open(Path::new(dir)).unwrap();
    write(&store, |batch| put_base(batch, "player1", COPY, 0));
    let mut state = state(0);
    for seq in 1..=VICTIM_CALLS {
        state.apply(&record(seq)).unwrap();
        write(&store, |batch| {
            batch.put_record(COPY, &record(seq));
            if seq % RECORDS_PER_BASE == 100 {
                batch.put_base(&player("player1"), COPY, GENERATION, WRITER, &state, true);
            }
        });
    }
    println!("written");
    loop {
        std::thread::park();
    }
}
