//! What must hold, one file each.

mod acknowledged_stays;
mod gaps;
mod given_up;
mod keys_once;
mod linearizable;
mod liveness;
mod moves;
mod one_owner;
mod order;
mod quarantine;
mod restored;

use std::collections::{BTreeMap, BTreeSet};

use host::protocol::{CallKey, CopyId, Generation, NodeId, PlayerId, PlayerState, Seq, Writer};

pub(super) use self::order::Flight;

use self::given_up::GivenUp;
use super::client::op_of;
use super::guest::{memory_of, times_applied};
use super::world::World;

/// One call in a state's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    seq: u64,
    key: CallKey,
    value: i64,
}

/// What a server has told a caller: position, value and its generation.
type Told = (Seq, i64, Generation);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Copies that were on a disk that was lost or that lost its tail.
    pub(super) damaged: BTreeSet<CopyId>,
    /// What servers have told callers: player and key, to position, value and the generation that
    /// told it first.
    acknowledged: BTreeMap<(PlayerId, CallKey), Told>,
    /// Everything that servers have told callers, also what others had told before.
    told: BTreeMap<(PlayerId, CallKey), Vec<Told>>,
    /// The newest generation under which each call was executed.
    executed: BTreeMap<(PlayerId, usize), Generation>,
    /// What people gave up, in order of generations.
    given_up: BTreeMap<PlayerId, Vec<GivenUp>>,
    /// Who has acknowledged under which generation.
    owners: BTreeMap<(PlayerId, Generation), Writer>,
    /// The newest generation that each keeper has acknowledged.
    newest: BTreeMap<(NodeId, PlayerId), Generation>,
    /// The positions at which players came to other code, or keepers were told the key of a move.
    pub(super) steps: BTreeSet<(PlayerId, u64)>,
    /// The keys of moves that were made.
    moved: BTreeSet<(PlayerId, CallKey)>,
    /// The state from which the newest owner began to serve.
    restored: BTreeMap<PlayerId, (Generation, PlayerState)>,
}

/// Returns a state's history, as far as its window goes back.
fn history(state: &PlayerState) -> Vec<Entry> {
    let calls = state.window.calls();
    // What has no points is the key of a move, which changes nothing of the player.
    let mut entries: Vec<Entry> = calls
        .filter_map(|(seq, key, value)| {
            let value = value.and_then(|value| value.points())?;
            Some(Entry { seq: seq.0, key, value })
        })
        .collect();
    entries.sort_by_key(|entry| entry.seq);
    entries
}

/// Returns how often a call was applied in a state's history.
fn applied(state: &PlayerState, op: usize) -> u8 {
    times_applied(&memory_of(state)).get(op).copied().unwrap_or(0)
}

/// Whether a call is in a state's history, in its place and with its value as far as the window
/// goes back.
fn has(state: &PlayerState, entry: &Entry) -> bool {
    let forgotten = state.window.horizon().is_some_and(|horizon| entry.key <= horizon);
    let remembered = history(state).contains(entry);
    applied(state, op_of(entry.key)) == 1 && (remembered || forgotten)
}

impl World {
    /// Everything that is judged when a run is over.
    pub(super) fn check_end(&mut self) {
        self.check_final_states();
        self.check_linearizable();
    }
}
