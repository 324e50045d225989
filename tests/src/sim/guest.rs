//! The guest: it counts.
//!
//! Its memory is the total, the number of the code that wrote it, behind it how often each reward was
//! applied, one byte for each call, and on the pages after these what large calls have written. It goes
//! wherever the total goes, so it says what a key window has forgotten.

use host::limits::FRAME_BYTES_MAX;
use host::player::Event;
use host::protocol::{Call, CodeHash, KeyBounds, KeyWindow, Operation, PlayerState, Term};
use host::snapshot::{Delta, MemoryDelta, RUN_BYTES_MAX, Run, Snapshot};

use super::client::op_of;

/// What the total takes.
const TOTAL_BYTES: usize = 8;
/// What stands before the calls: the total, and the number of the code.
const HEAD_BYTES: usize = TOTAL_BYTES + 1;
/// Where large calls write: behind more calls than a run has.
const BULK_AT: usize = RUN_BYTES_MAX;
/// Points of which one of so many are a large call.
const LARGE_ONE_OF: i64 = 64;

/// Returns the code with this number.
pub(super) fn code_of(number: u8) -> CodeHash {
    CodeHash([number; 32])
}

/// Returns the number of code.
pub(super) fn number_of(code: CodeHash) -> u8 {
    code.0[0]
}

/// Returns the number of the code that wrote to a memory; `None` if none has.
pub(super) fn mark_in(memory: &[u8]) -> Option<u8> {
    memory[TOTAL_BYTES].checked_sub(1)
}

/// Returns a memory as code with this number has it.
pub(super) fn marked(mut memory: Vec<u8>, number: u8) -> Vec<u8> {
    memory[TOTAL_BYTES] = number + 1;
    memory
}

/// Returns a memory as it lies over the one that every code begins with.
pub(super) fn snapshot_of(memory: &[u8]) -> Snapshot {
    let mut snapshot = Snapshot::initial([HEAD_BYTES as u64]);
    if !memory.is_empty() {
        let pages = memory.chunks(RUN_BYTES_MAX).enumerate();
        let runs = pages.map(|(page, bytes)| {
            let offset = (page * RUN_BYTES_MAX) as u64;
            Run { offset, bytes: bytes.to_vec() }
        });
        let memories = vec![MemoryDelta { len: memory.len() as u64, runs: runs.collect() }];
        snapshot.apply(&Delta { memories }).expect("a memory fits itself");
    }
    snapshot
}

/// Returns the state of a player that was never called and begins with this code.
pub(super) fn fresh(bounds: KeyBounds, code: CodeHash) -> PlayerState {
    let mut state = PlayerState::new(code, snapshot_of(&[]));
    state.window = KeyWindow::new(bounds);
    state
}

/// Returns the memory of a state.
pub(super) fn memory_of(state: &PlayerState) -> Vec<u8> {
    memory_in(&state.snapshot)
}

/// Returns the memory of a snapshot.
pub(super) fn memory_in(snapshot: &Snapshot) -> Vec<u8> {
    let overlay = &snapshot.memories[0];
    let mut memory = vec![0; usize::try_from(overlay.len()).expect("a few pages")];
    overlay.lay_over(0, &mut memory);
    memory
}

/// Returns how often each call was applied in a memory.
pub(super) fn times_applied(memory: &[u8]) -> &[u8] {
    &memory[HEAD_BYTES..memory.len().min(BULK_AT)]
}

/// Returns the total in a memory.
pub(super) fn total_of(memory: &[u8]) -> i64 {
    let mut bytes = [0; TOTAL_BYTES];
    bytes.copy_from_slice(&memory[..TOTAL_BYTES]);
    i64::from_le_bytes(bytes)
}

/// Returns what large calls have written.
pub(super) fn bulk_of(memory: &[u8]) -> &[u8] {
    memory.get(BULK_AT..).unwrap_or_default()
}

/// The byte that a large call writes everywhere; never that of an initial image.
pub(super) fn mark_of(op: usize) -> u8 {
    u8::try_from(op % 255).expect("below 255") + 1
}

/// Makes an amount that is worth a large call, or one that is not.
pub(super) fn amount(points: i64, large: bool) -> i64 {
    points - points.rem_euclid(LARGE_ONE_OF) + i64::from(!large)
}

/// Returns how many bytes a reward writes besides the total, if that is much: more than may share a
/// stream, and sometimes more than a frame.
pub(super) fn bulk_bytes(points: i64) -> Option<usize> {
    let sizes = points.checked_div(LARGE_ONE_OF)?.rem_euclid(8);
    let bytes = FRAME_BYTES_MAX / 2 + 1 + usize::try_from(sizes).ok()? * FRAME_BYTES_MAX / 8;
    (points.rem_euclid(LARGE_ONE_OF) == 0).then_some(bytes)
}

/// Adds rewards and notes whose they are, traps on texts.
pub(super) fn call_guest(memory: &mut Vec<u8>, call: &Call, code: CodeHash) -> Event {
    let before = total_of(memory);
    let points = match &call.operation {
        // Nobody calls another function here: it would be a read whose answer is kept.
        Operation::Points
        | Operation::Call(_)
        | Operation::Recover(_)
        | Operation::Forget
        | Operation::Release
        | Operation::Bundle(_)
        | Operation::Move(_)
        | Operation::Crash
        | Operation::Export
        | Operation::Import(_) => {
            return Event::Returned { value: before.into(), delta: Delta::default() };
        }
        Operation::Reward(Term::Integer(points)) => *points,
        Operation::Reward(Term::Text(text)) => {
            // What it has written by then must not be seen by anybody.
            memory[..TOTAL_BYTES].copy_from_slice(&i64::MIN.to_le_bytes());
            let message = format!("not an integer: {text}");
            return Event::Trapped { message, lacked: false };
        }
    };
    let value = before + points;
    memory[..TOTAL_BYTES].copy_from_slice(&value.to_le_bytes());
    let op = op_of(call.key);
    let at = HEAD_BYTES + op;
    memory[TOTAL_BYTES] = number_of(code) + 1;
    assert!(at < BULK_AT, "a run has fewer calls");
    memory.resize(memory.len().max(at + 1), 0);
    memory[at] = memory[at].saturating_add(1);
    let mut runs = vec![
        Run { offset: 0, bytes: memory[..HEAD_BYTES].to_vec() },
        Run { offset: at as u64, bytes: vec![memory[at]] },
    ];
    if let Some(bytes) = bulk_bytes(points) {
        let end = BULK_AT + bytes;
        memory.resize(memory.len().max(end), 0);
        memory[BULK_AT..end].fill(mark_of(op));
        let pages = memory[BULK_AT..end].chunks(RUN_BYTES_MAX).enumerate();
        runs.extend(pages.map(|(page, bytes)| {
            let offset = (BULK_AT + page * RUN_BYTES_MAX) as u64;
            Run { offset, bytes: bytes.to_vec() }
        }));
    }
    let memories = vec![MemoryDelta { len: memory.len() as u64, runs }];
    Event::Returned { value: value.into(), delta: Delta { memories } }
}
