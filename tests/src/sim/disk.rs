//! The store of one machine: a synced part, and committed batches that a reboot may take.

use std::collections::{BTreeMap, BTreeSet};

use host::keeper::{Keeper, Write};
use host::protocol::{
    Ack, CopyId, Generation, Incarnation, KeeperRequest, NodeId, PlayerId, PlayerState, Record,
    Seed, StateMismatch, Writer,
};

use super::happening::Time;
use super::rng::Rng;

/// Batches that wait to be synced at most.
const TAIL_BATCHES_MAX: usize = 40;

/// A copy as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredCopy {
    pub(super) player: PlayerId,
    pub(super) seeded: Generation,
    pub(super) writer: Writer,
    pub(super) state: PlayerState,
    pub(super) trusted: bool,
    /// The session that wrote the base.
    pub(super) session: Incarnation,
}

#[derive(Debug, Clone)]
enum Entry {
    Base(CopyId, StoredCopy),
    Record(CopyId, Record),
    Floor(PlayerId, Generation, Writer),
    Remove(CopyId),
}

#[derive(Debug, Clone, Default)]
struct Tables {
    copies: BTreeMap<CopyId, StoredCopy>,
    floors: BTreeMap<PlayerId, (Generation, Writer)>,
}

impl Tables {
    fn apply(&mut self, batch: &[Entry]) -> Result<(), StateMismatch> {
        for entry in batch.iter().cloned() {
            match entry {
                Entry::Base(id, copy) => drop(self.copies.insert(id, copy)),
                Entry::Record(id, record) => {
                    if let Some(copy) = self.copies.get_mut(&id) {
                        copy.state.apply(&record)?;
                    }
                }
                Entry::Floor(player, generation, writer) => {
                    self.floors.insert(player, (generation, writer));
                }
                Entry::Remove(id) => drop(self.copies.remove(&id)),
            }
        }
        Ok(())
    }
}

/// A data folder.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// Refuses writes for now.
    pub(super) troubled: bool,
    /// Longest time that a write takes for now, beyond the usual one.
    pub(super) slow: Time,
    untrusted_through: Incarnation,
    /// Whether writes were acknowledged that are not synced, as the session notes it on disk.
    buffered: bool,
    all: Tables,
    synced: Tables,
    tail: Vec<Vec<Entry>>,
}

impl Disk {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            incarnation: Incarnation(0),
            troubled: false,
            slow: 0,
            untrusted_through: Incarnation(0),
            buffered: false,
            all: Tables::default(),
            synced: Tables::default(),
            tail: Vec::new(),
        }
    }

    /// The machine reboots. Returns how many batches are gone.
    pub(super) fn reboot(&mut self, rng: &mut Rng) -> usize {
        let kept = rng.index(self.tail.len() + 1);
        let lost = self.tail.len() - kept;
        self.tail.truncate(kept);
        self.all = self.synced.clone();
        for batch in std::mem::take(&mut self.tail) {
            // What could be applied once can be applied again.
            self.all.apply(&batch).ok();
        }
        self.synced = self.all.clone();
        if std::mem::take(&mut self.buffered) {
            self.untrusted_through = self.incarnation;
        }
        lost
    }

    /// A stored copy does not match its checksum any more: whoever opens the folder leaves it out, as
    /// the store does. It is missing then, and never stale. Returns which one it is.
    pub(super) fn damage(&mut self, rng: &mut Rng) -> Option<CopyId> {
        let ids: Vec<CopyId> = self.ids().into_iter().collect();
        if ids.is_empty() {
            return None;
        }
        let id = ids[rng.index(ids.len())];
        self.all.copies.remove(&id);
        self.synced.copies.remove(&id);
        Some(id)
    }

    /// Whether a reboot may take something that was acknowledged.
    pub(super) fn is_buffered(&self) -> bool {
        self.buffered
    }

    /// A process opens the folder.
    pub(super) fn open(&mut self) -> Writer {
        self.incarnation = self.incarnation.next();
        Writer { node: self.node, incarnation: self.incarnation }
    }

    /// A process closes it in order.
    pub(super) fn close(&mut self) {
        self.synced = self.all.clone();
        self.tail.clear();
        self.buffered = false;
    }

    /// Commits a batch, on disk when it returns or in the kernel. `Err` when a record does not follow its copy.
    pub(super) fn commit(
        &mut self,
        keeper: &Keeper,
        writes: Vec<Write>,
        ack: Ack,
    ) -> Result<(), StateMismatch> {
        let session = self.incarnation;
        let mut batch = Vec::new();
        for write in writes {
            match write {
                Write::Base { player, copy: id } => {
                    // The batch holds the last word: later records of it are in the base already.
                    batch.retain(|entry| !matches!(entry, Entry::Record(of, _) if *of == id));
                    if let Some(copy) = keeper.copy(&player, id) {
                        let (seeded, writer) = (copy.seeded, copy.writer);
                        let (state, trusted) = (copy.state.state().into_owned(), copy.trusted);
                        let stored = StoredCopy { player, seeded, writer, state, trusted, session };
                        batch.push(Entry::Base(id, stored));
                    }
                }
                Write::Record { copy, record } => {
                    let in_base = batch.iter().any(|entry| {
                        matches!(entry, Entry::Base(id, base)
                            if *id == copy && base.state.seq >= record.seq)
                    });
                    if !in_base {
                        batch.push(Entry::Record(copy, record));
                    }
                }
                Write::Floor { player, generation, writer } => {
                    batch.push(Entry::Floor(player, generation, writer));
                }
                Write::Remove { copy } => {
                    // What came before in the batch has no base any more.
                    batch.retain(|entry| !matches!(entry, Entry::Record(of, _) if *of == copy));
                    batch.push(Entry::Remove(copy));
                }
            }
        }
        self.all.apply(&batch)?;
        self.tail.push(batch);
        match ack {
            Ack::Memory => self.buffered = true,
            // One journal: what was only buffered before is on disk with it.
            Ack::Disk => {
                for batch in std::mem::take(&mut self.tail) {
                    self.synced.apply(&batch)?;
                }
            }
        }
        if self.tail.len() > TAIL_BATCHES_MAX {
            self.synced.apply(&self.tail.remove(0))?;
        }
        Ok(())
    }

    /// Everything so far is synced, and noted to be.
    pub(super) fn sync(&mut self) {
        self.close();
    }

    /// [`Bug::AnswerBeforeSync`](super::Bug::AnswerBeforeSync).
    pub(super) fn claim_synced(&mut self) {
        self.buffered = false;
    }

    /// Returns a keeper with what is stored.
    pub(super) fn load(&self) -> Keeper {
        let mut keeper = Keeper::default();
        for (id, copy) in &self.all.copies {
            load_copy(&mut keeper, *id, copy, self.is_trusted(copy));
        }
        for (player, (generation, writer)) in &self.all.floors {
            keeper.load_floor(player.clone(), *generation, *writer);
        }
        keeper
    }

    /// Returns a keeper that remembers no fence and trusts what `trust` says.
    pub(super) fn load_copies(&self, trust: impl Fn(bool) -> bool) -> Keeper {
        let mut keeper = Keeper::default();
        for (id, copy) in &self.all.copies {
            load_copy(&mut keeper, *id, copy, trust(self.is_trusted(copy)));
        }
        keeper
    }

    /// Returns a stored copy and whether it is trusted.
    pub(super) fn copy(&self, id: CopyId) -> Option<(&StoredCopy, bool)> {
        self.all.copies.get(&id).map(|copy| (copy, self.is_trusted(copy)))
    }

    pub(super) fn floors(&self) -> &BTreeMap<PlayerId, (Generation, Writer)> {
        &self.all.floors
    }

    pub(super) fn ids(&self) -> BTreeSet<CopyId> {
        self.all.copies.keys().copied().collect()
    }

    fn is_trusted(&self, copy: &StoredCopy) -> bool {
        copy.trusted && copy.session > self.untrusted_through
    }
}

/// The keeper's own way to make a copy is to be seeded; what else a copy knows is put in after.
fn load_copy(keeper: &mut Keeper, id: CopyId, stored: &StoredCopy, trusted: bool) {
    let mut press = Keeper::default();
    let StoredCopy { player, seeded, writer, state, .. } = stored.clone();
    let seed = Seed { player: player.clone(), copy: id, generation: seeded, writer, state };
    press.handle(KeeperRequest::Seed(seed), &mut Vec::new());
    let copy = press.copy(&player, id).cloned();
    if let Some(mut copy) = copy {
        copy.trusted = trusted;
        keeper.load_copy(player, copy);
    }
}
