//! The keeper's rules, without IO: a request in, a reply and the writes that must precede it out.
//!
//! A copy is known by its [`CopyId`]. It is *seeded* under some generation `g` of its writer, and
//! the directory can name it only in the change that makes `g` into `g + 1`. That gives exact rules
//! instead of timeouts:
//!
//! - a copy that the directory does not name is *dead* as soon as the player's generation there is
//!   above the one it was seeded under;
//! - an owner that speaks for a named copy under a later generation proves all its siblings dead.
//!
//! Invariants: the floor of a player never sinks; nothing is applied below it; a copy's records have
//! no gap; a copy that may still be named is never dropped.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::kept::Kept;
use crate::limits::{COPIES_PER_PLAYER_MAX, RECORDS_PER_BASE};
use crate::protocol::{
    Append, Confirm, CopyId, Fetch, Generation, KeeperReply, KeeperRequest, PlayerId, PlayerState,
    Record, Refusal, Release, Seed, Seq, Writer,
};

/// What a record costs in the store besides the bytes that changed, roughly.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// What must be in the store before the reply leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A whole copy; its older records may go.
    Base {
        /// The player.
        player: PlayerId,
        /// The copy.
        copy: CopyId,
    },
    /// One more call on a copy.
    Record {
        /// The copy.
        copy: CopyId,
        /// The call.
        record: Record,
    },
    /// The player's newest owner.
    Floor {
        /// The player.
        player: PlayerId,
        /// Its generation.
        generation: Generation,
        /// Its owner.
        writer: Writer,
    },
    /// A copy is gone.
    Remove {
        /// The copy.
        copy: CopyId,
    },
}

/// One copy of a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Which one.
    pub id: CopyId,
    /// The generation its writer held when it was seeded.
    pub seeded: Generation,
    /// Who seeded it.
    pub writer: Writer,
    /// The state.
    pub state: Kept,
    /// Whether everything that was ever acknowledged is in it. False after a restart of the
    /// machine that may have lost what was not synced.
    pub trusted: bool,
    /// What the store holds of it beyond its base.
    pub tail: Tail,
}

/// Records that follow a copy's base in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    records: u64,
    bytes: usize,
}

impl Tail {
    /// Adds a record. Returns whether a new base should replace all of them: when there are many,
    /// and together they are as large as the state itself.
    fn push(&mut self, record: &Record, state: &PlayerState) -> bool {
        self.records += 1;
        self.bytes += record.delta.changed_bytes() + RECORD_OVERHEAD_BYTES;
        let long = self.records >= RECORDS_PER_BASE;
        let fold = long && self.bytes >= state.bytes();
        if fold {
            *self = Self::default();
        }
        fold
    }
}

#[derive(Debug, Default)]
struct Held {
    floor: Option<(Generation, Writer)>,
    copies: Vec<Copy>,
}

/// All copies on one node.
#[derive(Debug, Default)]
pub struct Keeper {
    players: BTreeMap<PlayerId, Held>,
    /// Copies that are not packed, in the order in which they are looked at.
    open: VecDeque<(PlayerId, CopyId)>,
    /// Looks at them that are due, in parts of one.
    looks: usize,
}

impl Keeper {
    /// Takes in a copy that the store had.
    pub fn load_copy(&mut self, player: PlayerId, copy: Copy) {
        self.players.entry(player).or_default().add(copy);
    }

    /// Takes in a floor that the store had.
    pub fn load_floor(&mut self, player: PlayerId, generation: Generation, writer: Writer) {
        self.players.entry(player).or_default().floor = Some((generation, writer));
    }

    /// Fences everything below a generation that the directory has given out. After a restart of
    /// the machine the store may have forgotten a fence; the directory never does.
    pub fn raise_floor(
        &mut self,
        player: &PlayerId,
        generation: Generation,
        writer: Writer,
        writes: &mut Vec<Write>,
    ) {
        if let Some(held) = self.players.get_mut(player)
            && held.floor.is_none_or(|(floor, _)| floor < generation)
        {
            held.floor = Some((generation, writer));
            writes.push(Write::Floor { player: player.clone(), generation, writer });
        }
    }

    /// Returns a copy.
    pub fn copy(&self, player: &PlayerId, id: CopyId) -> Option<&Copy> {
        self.players.get(player)?.copies.iter().find(|copy| copy.id == id)
    }

    /// Returns all copies, for the sweep.
    pub fn copies(&self) -> impl Iterator<Item = (&PlayerId, &Copy)> {
        self.players.iter().flat_map(|(player, held)| held.copies.iter().map(move |c| (player, c)))
    }

    /// Drops the copies of the next `count` players after `after` that can never be named again, as
    /// the caller knows. Returns the last of these players, or `None` when there are no more.
    pub fn collect(
        &mut self,
        after: Option<&PlayerId>,
        count: usize,
        is_dead: impl Fn(&PlayerId, &Copy) -> bool,
        writes: &mut Vec<Write>,
    ) -> Option<PlayerId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (player, held) in self.players.range_mut((from, Bound::Unbounded)).take(count) {
            last = Some(player);
            held.drop_copies(|copy| is_dead(player, copy), writes);
        }
        last.cloned()
    }

    /// Packs copies that were not written to since this looked at them last. Each time it looks at one
    /// part in `part` of those that are not packed, and stops when it has packed `bytes`.
    pub fn pack(&mut self, part: usize, mut bytes: usize) {
        self.looks += self.open.len();
        while self.looks >= part && bytes > 0 {
            self.looks -= part;
            let Some((player, id)) = self.open.pop_front() else { break };
            let held = self.players.get_mut(&player);
            match held.and_then(|held| held.copy_mut(id)).map(|copy| copy.state.pack_if_unused()) {
                Some(None) => self.open.push_back((player, id)),
                Some(Some(packed)) => bytes = bytes.saturating_sub(packed),
                None => {}
            }
        }
        // What was not looked at now is not made up for: there may be ever more of it.
        self.looks = self.looks.min(part);
    }

    /// Decides one request. The reply may leave once `writes` are in the store.
    pub fn handle(&mut self, request: KeeperRequest, writes: &mut Vec<Write>) -> KeeperReply {
        let done = match request {
            KeeperRequest::Append(append) => self.handle_append(append, writes),
            KeeperRequest::Confirm(confirm) => self.handle_confirm(&confirm, writes),
            KeeperRequest::Seed(seed) => self.handle_seed(seed, writes),
            KeeperRequest::Fetch(fetch) => self.handle_fetch(&fetch, writes),
            KeeperRequest::Release(release) => self.handle_release(&release, writes),
        };
        done.unwrap_or_else(KeeperReply::Refused)
    }

    fn handle_append(
        &mut self,
        append: Append,
        writes: &mut Vec<Write>,
    ) -> Result<KeeperReply, Refusal> {
        let Append { player, copy: id, generation, writer, record } = append;
        let held = fenced(&mut self.players, &player, generation, writer)?;
        let copy = held.copy_mut(id).ok_or(Refusal::Gap { have: None })?;
        if copy.state.is_packed() {
            self.open.push_back((player.clone(), id));
        }
        let state = copy.state.open();
        let have = state.seq;
        state.apply(&record).map_err(|_| Refusal::Gap { have: Some(have) })?;
        let seq = state.seq;
        // The owner holds the whole state and this copy just followed it, so nothing is missing.
        let proven = !std::mem::replace(&mut copy.trusted, true);
        let fold = copy.tail.push(&record, state);
        if proven || fold {
            writes.push(Write::Base { player: player.clone(), copy: id });
        } else {
            writes.push(Write::Record { copy: id, record });
        }
        held.speak(&player, id, generation, writer, writes);
        Ok(KeeperReply::Acknowledged { seq })
    }

    fn handle_confirm(
        &mut self,
        confirm: &Confirm,
        writes: &mut Vec<Write>,
    ) -> Result<KeeperReply, Refusal> {
        let Confirm { player, copy: id, generation, writer, seq } = confirm;
        let held = fenced(&mut self.players, player, *generation, *writer)?;
        let copy = held.copy_mut(*id).ok_or(Refusal::Gap { have: None })?;
        if copy.state.seq() != *seq {
            return Err(Refusal::Gap { have: Some(copy.state.seq()) });
        }
        if !std::mem::replace(&mut copy.trusted, true) {
            writes.push(Write::Base { player: player.clone(), copy: *id });
        }
        held.speak(player, *id, *generation, *writer, writes);
        Ok(KeeperReply::Acknowledged { seq: *seq })
    }

    fn handle_seed(&mut self, seed: Seed, writes: &mut Vec<Write>) -> Result<KeeperReply, Refusal> {
        let Seed { player, copy: id, generation, writer, state } = seed;
        let held = fenced(&mut self.players, &player, generation, writer)?;
        let seq = state.seq;
        let (state, tail) = (Kept::from(state), Tail::default());
        let copy = Copy { id, seeded: generation, writer, state, trusted: true, tail };
        let full = held.copies.len() >= COPIES_PER_PLAYER_MAX;
        let copies = held.copies.len() as u64;
        let mut was_packed = true;
        match held.copy_mut(id) {
            // Another attempt of the same writer under the same generation. One that was overtaken
            // by a later attempt, or by calls since, brings nothing that is not here.
            Some(same) if same.seeded == generation && same.writer == writer => {
                if seq < same.state.seq() {
                    return Ok(KeeperReply::Acknowledged { seq: same.state.seq() });
                }
                was_packed = same.state.is_packed();
                *same = copy;
            }
            Some(other) => return Err(Refusal::Gap { have: Some(other.state.seq()) }),
            None if full => return Err(Refusal::Full { copies }),
            None => held.add(copy),
        }
        if was_packed {
            self.open.push_back((player.clone(), id));
        }
        writes.push(Write::Base { player, copy: id });
        Ok(KeeperReply::Acknowledged { seq })
    }

    fn handle_fetch(
        &mut self,
        fetch: &Fetch,
        writes: &mut Vec<Write>,
    ) -> Result<KeeperReply, Refusal> {
        let Fetch { player, copy: id, generation, writer, accept } = fetch;
        let held = fenced(&mut self.players, player, *generation, *writer)?;
        held.speak(player, *id, *generation, *writer, writes);
        let copy = held.copy_mut(*id).ok_or(Refusal::Gap { have: None })?;
        if !copy.trusted {
            if *accept != Some(copy.state.seq()) {
                return Err(Refusal::Stale { seq: copy.state.seq() });
            }
            // From now on this is what was acknowledged.
            copy.trusted = true;
            writes.push(Write::Base { player: player.clone(), copy: *id });
        }
        let state = copy.state.state().into_owned();
        Ok(KeeperReply::Fetched(Box::new(state)))
    }

    fn handle_release(
        &mut self,
        release: &Release,
        writes: &mut Vec<Write>,
    ) -> Result<KeeperReply, Refusal> {
        let Release { player, copy: id, generation, writer } = release;
        let held = fenced(&mut self.players, player, *generation, *writer)?;
        held.drop_copies(|copy| copy.id == *id, writes);
        Ok(KeeperReply::Acknowledged { seq: Seq(0) })
    }
}

/// Returns what is held of a player, unless a newer owner is known.
fn fenced<'a>(
    players: &'a mut BTreeMap<PlayerId, Held>,
    player: &PlayerId,
    generation: Generation,
    writer: Writer,
) -> Result<&'a mut Held, Refusal> {
    let floor = players.get(player).and_then(|held| held.floor);
    match floor {
        Some((newest, owner))
            if generation < newest || (generation == newest && writer != owner) =>
        {
            Err(Refusal::Fenced { generation: newest })
        }
        Some(_) | None => Ok(players.entry(player.clone()).or_default()),
    }
}

impl Held {
    fn add(&mut self, copy: Copy) {
        // Nearly all players have one copy here.
        self.copies.reserve_exact(1);
        self.copies.push(copy);
    }

    fn copy_mut(&mut self, id: CopyId) -> Option<&mut Copy> {
        self.copies.iter_mut().find(|copy| copy.id == id)
    }

    /// The owner of `generation` speaks for copy `id`, which the directory named to it.
    fn speak(
        &mut self,
        player: &PlayerId,
        id: CopyId,
        generation: Generation,
        writer: Writer,
        writes: &mut Vec<Write>,
    ) {
        if self.floor != Some((generation, writer)) {
            self.floor = Some((generation, writer));
            writes.push(Write::Floor { player: player.clone(), generation, writer });
        }
        if self.copies.len() > 1 {
            self.drop_copies(|copy| copy.id != id && copy.seeded < generation, writes);
        }
    }

    fn drop_copies(&mut self, dead: impl Fn(&Copy) -> bool, writes: &mut Vec<Write>) {
        self.copies.retain(|copy| {
            let dead = dead(copy);
            if dead {
                writes.push(Write::Remove { copy: copy.id });
            }
            !dead
        });
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
