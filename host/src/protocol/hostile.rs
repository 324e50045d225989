//! Messages and states made of any bytes: see [`crate::hostile`] for what is promised of them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CallReply, KeyWindow, PlayerState, Record, Relayed, Reply, Request};
use crate::limits::{KEY_WINDOW_ANSWERS_BYTES_MAX, KEY_WINDOW_BYTES_MAX, KEY_WINDOW_CALLS_MAX};
use crate::snapshot::{Delta, Overlay, Snapshot};

/// What a snapshot takes on the wire beside its memories, and each memory beside its runs, at most.
const LENGTH_BYTES_MAX: usize = 10;

/// Decodes a value, which may be followed by others. One that is taken encodes to no more bytes than
/// it came from, and those decode to what encodes to the same.
pub(crate) fn survives<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let again = encoded(&value);
    let came = bytes.len() - rest.len();
    assert!(again.len() <= came, "{} bytes came, {} would leave", came, again.len());
    let back = postcard::from_bytes::<T>(&again).expect("what was taken is taken again");
    assert_eq!(encoded(&back), again);
    Some(value)
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("messages encode into memory")
}

/// Requests as they are on a lane and alone.
pub(crate) fn requests(bytes: &[u8]) {
    let on_a_lane = survives::<(u64, Request)>(bytes).map(|(_, request)| request);
    for request in on_a_lane.into_iter().chain(survives::<Request>(bytes)) {
        let lane = request.lane();
        if let Ok(relayed) = Relayed::new(request.clone()) {
            assert_eq!(relayed.lane(), lane);
            assert_eq!(Request::from(relayed), request);
        }
    }
}

/// Replies as they are on a lane and alone.
pub(crate) fn replies(bytes: &[u8]) {
    let on_a_lane = survives::<(u64, Reply)>(bytes).map(|(_, reply)| reply);
    for reply in on_a_lane.into_iter().chain(survives::<Reply>(bytes)) {
        if let Reply::Call(CallReply::Called(Err(error))) = reply {
            assert!(!error.to_string().is_empty() && !error.code().is_empty());
        }
    }
}

/// A snapshot, and deltas that follow it.
pub(crate) fn deltas(bytes: &[u8]) {
    let Some((mut snapshot, deltas)) = survives::<(Snapshot, Vec<Delta>)>(bytes) else { return };
    check(&snapshot);
    for delta in deltas {
        let before = snapshot.clone();
        if snapshot.apply(&delta).is_err() {
            assert_eq!(snapshot, before, "a refused delta changes nothing");
            continue;
        }
        check(&snapshot);
        let heads = LENGTH_BYTES_MAX * (1 + 2 * snapshot.memories.len());
        assert!(encoded(&snapshot).len() <= before.wire_bytes_after(&delta) + heads);
    }
}

fn check(snapshot: &Snapshot) {
    // Decoding refuses what is not sound.
    assert_eq!(survives::<Snapshot>(&encoded(snapshot)).as_ref(), Some(snapshot));
    let known: usize =
        snapshot.memories.iter().flat_map(Overlay::runs).map(|run| run.1.len()).sum();
    assert_eq!(snapshot.changed_bytes(), known);
    for memory in &snapshot.memories {
        for (offset, run) in memory.runs() {
            let mut window = vec![0; run.len()];
            memory.lay_over(offset, &mut window);
            assert_eq!(window, run);
        }
    }
}

/// A player's state, and records that follow it.
pub(crate) fn states(bytes: &[u8]) {
    let Some((mut state, records)) = survives::<(PlayerState, Vec<Record>)>(bytes) else { return };
    check_window(&state.window);
    for record in records {
        let before = state.clone();
        if state.apply(&record).is_err() {
            assert_eq!(state, before, "a refused record changes nothing");
            continue;
        }
        assert_eq!((state.seq, before.seq.next()), (record.seq, record.seq));
        assert!(state.window.horizon() >= before.window.horizon(), "the horizon never sinks");
        let key = record.effect.key;
        let remembered = state.window.calls().any(|(_, known, _)| known == key);
        assert!(remembered || state.window.horizon() >= Some(key), "{key} would be new");
        check_window(&state.window);
        check(&state.snapshot);
        // As a keeper packs and unpacks it.
        assert_eq!(survives::<PlayerState>(&encoded(&state)), Some(state.clone()));
    }
}

fn check_window(window: &KeyWindow) {
    assert!(window.calls().count() <= KEY_WINDOW_CALLS_MAX);
    assert!(window.bytes() <= KEY_WINDOW_BYTES_MAX + KEY_WINDOW_ANSWERS_BYTES_MAX);
}
