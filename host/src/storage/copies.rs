//! Copies of players and their fences, for `keeper`, which decides what they mean.
//!
//! A copy is a base, its whole state at some position, and one record for each call after it, so
//! that an append writes no more than its record. A floor is the highest generation that the
//! keeper has seen of a player.
//!
//! ```text
//! bases    copy, player -> header, state
//! records  copy, seq    -> record
//! floors   player       -> generation, writer
//! ```
//!
//! Numbers in keys are big-endian, so that the engine's order is theirs.

mod batch;

use std::sync::Arc;

use fjall::Keyspace;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use batch::Batch;

use super::error::Attempt;
use super::{Shared, StoreError, sealed};
use crate::protocol::{
    CopyId, Generation, Incarnation, PlayerId, PlayerState, Record, Seq, StateMismatch, Writer,
};

/// A copy as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCopy {
    /// The player.
    pub player: PlayerId,
    /// The copy.
    pub copy: CopyId,
    /// The generation under which its base was written.
    pub generation: Generation,
    /// The owner that wrote its base.
    pub writer: Writer,
    /// Its state, all records applied.
    pub state: PlayerState,
    /// Whether nothing that was acknowledged can be missing from it.
    pub trusted: bool,
}

/// The fence of a player as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFloor {
    /// The player.
    pub player: PlayerId,
    /// The highest generation seen.
    pub generation: Generation,
    /// The writer of that generation.
    pub writer: Writer,
}

/// What is wrong with a copy or a floor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// The key is not one that the store writes.
    #[error("its key cannot be read")]
    Key,
    /// The base does not match its checksum.
    #[error("its base does not match its checksum")]
    Base,
    /// A record does not match its checksum.
    #[error("its record {0} does not match its checksum")]
    Record(Seq),
    /// The records do not follow the base or each other.
    #[error("its records do not follow each other")]
    History(#[from] StateMismatch),
    /// The floor does not match its checksum.
    #[error("the fence does not match its checksum")]
    Floor,
}

/// A copy or a floor that cannot be used. It stays in the store until it is replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The player, if the key says it.
    pub player: Option<PlayerId>,
    /// The copy, or `None` if it is the player's floor.
    pub copy: Option<CopyId>,
    /// What is wrong.
    pub reason: Damage,
}

/// What the store holds about players besides the copies that can be read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Floors that can be read.
    pub floors: Vec<StoredFloor>,
    /// What cannot.
    pub damaged: Vec<Damaged>,
}

/// What stands before the state in a base, so that it can be read without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) seq: Seq,
    generation: Generation,
    writer: Writer,
    /// The session that wrote the base.
    session: Incarnation,
    trusted: bool,
}

/// Access to copies and floors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Copies {
    shared: Arc<Shared>,
}

impl Copies {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads everything, and hands over each copy that can be read: together they may not fit into
    /// memory as they are. Damage is reported in the result, one copy at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the engine cannot go on reading.
    pub fn load(&self, mut take: impl FnMut(StoredCopy)) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let untrusted_through = self.shared.session().untrusted_through;
        for entry in self.shared.bases.iter() {
            let (key, value) = entry.into_inner().attempt("read copies")?;
            match self.load_copy(&key, &value, untrusted_through)? {
                Ok(copy) => take(copy),
                Err(damaged) => loaded.damaged.push(damaged),
            }
        }
        for entry in self.shared.floors.iter() {
            let (key, value) = entry.into_inner().attempt("read fences")?;
            let player = parse_player(&key);
            let floor = sealed::unseal(&value);
            match (player, floor) {
                (Some(player), Some((generation, writer))) => {
                    loaded.floors.push(StoredFloor { player, generation, writer });
                }
                (player, floor) => {
                    let reason = if floor.is_some() { Damage::Key } else { Damage::Floor };
                    loaded.damaged.push(Damaged { player, copy: None, reason });
                }
            }
        }
        Ok(loaded)
    }

    /// Begins a batch of writes, which take effect together.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.shared))
    }

    /// Syncs everything that was committed with [`Durability::Buffered`](super::Durability): from
    /// then on a reboot of the machine takes nothing back, until the next such commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] or [`StoreError::Closed`]; the store then counts as not synced.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.shared.sync_copies()
    }

    fn load_copy(
        &self,
        key: &[u8],
        value: &[u8],
        untrusted_through: Incarnation,
    ) -> Result<Result<StoredCopy, Damaged>, StoreError> {
        let (copy, player) = parse_base_key(key);
        let damaged = |reason| Damaged { player: player.clone(), copy, reason };
        let (Some(copy), Some(player)) = (copy, player.clone()) else {
            return Ok(Err(damaged(Damage::Key)));
        };
        let Some((header, mut state)) = sealed::unseal::<(Header, PlayerState)>(value) else {
            return Ok(Err(damaged(Damage::Base)));
        };
        for record in records(&self.shared.records, copy, header.seq.next()) {
            let (seq, value) = record?;
            let Some(record) = sealed::unseal::<Record>(&value) else {
                return Ok(Err(damaged(Damage::Record(seq))));
            };
            if let Err(mismatch) = state.apply(&record) {
                return Ok(Err(damaged(mismatch.into())));
            }
        }
        let Header { generation, writer, session, trusted, .. } = header;
        let trusted = trusted && session > untrusted_through;
        Ok(Ok(StoredCopy { player, copy, generation, writer, state, trusted }))
    }
}

/// Returns the stored records of a copy from a position on, in order.
fn records(
    table: &Keyspace,
    copy: CopyId,
    from: Seq,
) -> impl Iterator<Item = Result<(Seq, fjall::Slice), StoreError>> {
    table.range(record_key(copy, from)..=record_key(copy, Seq(u64::MAX))).map(|entry| {
        let (key, value) = entry.into_inner().attempt("read records")?;
        let seq = key.last_chunk().map(|seq| Seq(u64::from_be_bytes(*seq)));
        let seq = seq.ok_or(StoreError::Corrupt { what: "a record's key", source: None })?;
        Ok((seq, value))
    })
}

fn base_key(copy: CopyId, player: &PlayerId) -> Vec<u8> {
    [&copy.0.to_be_bytes(), player.as_str().as_bytes()].concat()
}

fn record_key(copy: CopyId, seq: Seq) -> Vec<u8> {
    [copy.0.to_be_bytes(), seq.0.to_be_bytes()].concat()
}

pub(super) fn parse_base_key(key: &[u8]) -> (Option<CopyId>, Option<PlayerId>) {
    match key.split_first_chunk() {
        Some((copy, player)) => (Some(CopyId(u64::from_be_bytes(*copy))), parse_player(player)),
        None => (None, None),
    }
}

pub(super) fn parse_player(key: &[u8]) -> Option<PlayerId> {
    str::from_utf8(key).ok()?.parse().ok()
}
