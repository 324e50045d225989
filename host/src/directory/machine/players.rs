//! The players of the directory, in order: a map that is cloned at once, however large it is.
//!
//! ```text
//!   first id ──► Arc ──► at most so many players, in order
//!   first id ──► Arc ──► …            a clone shares them; who writes to one copies that one first
//! ```
//!
//! A snapshot of a million players takes long to encode. Nobody who looks something up may wait for
//! that, so it is made of a clone.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::{PlayerId, PlayerRecord};

/// Players in one piece at most. A change after a clone copies one piece: tens of microseconds.
const PIECE_PLAYERS_MAX: usize = 512;

type Piece = BTreeMap<PlayerId, PlayerRecord>;

/// Players and what the directory says of each.
///
/// Invariant: no piece is empty; each lies under an id that none of its players is below, and that
/// all players of the pieces before it are below.
#[derive(Debug, Clone, Default)]
pub(super) struct Players {
    pieces: BTreeMap<PlayerId, Arc<Piece>>,
    len: usize,
}

impl Players {
    /// Returns what is known of a player.
    pub(super) fn get(&self, player: &PlayerId) -> Option<&PlayerRecord> {
        let (_, piece) = self.pieces.range(..=player).next_back()?;
        piece.get(player)
    }

    /// Sets what is known of a player.
    pub(super) fn insert(&mut self, player: PlayerId, record: PlayerRecord) {
        // One below all others belongs to the first piece, which gets its id.
        let below = self.pieces.range(..=&player).next_back().is_none();
        if below {
            let piece = self.pieces.pop_first().map(|(_, piece)| piece).unwrap_or_default();
            self.pieces.insert(player.clone(), piece);
        }
        let Some((_, piece)) = self.pieces.range_mut(..=&player).next_back() else { return };
        let piece = Arc::make_mut(piece);
        self.len += usize::from(piece.insert(player, record).is_none());
        if piece.len() > PIECE_PLAYERS_MAX {
            let middle = piece.keys().nth(PIECE_PLAYERS_MAX / 2).cloned();
            if let Some(middle) = middle {
                let upper = piece.split_off(&middle);
                self.pieces.insert(middle, Arc::new(upper));
            }
        }
    }

    /// Returns the players whose ids follow `after`, or all, in order.
    pub(super) fn after(
        &self,
        after: Option<&PlayerId>,
    ) -> impl Iterator<Item = (&PlayerId, &PlayerRecord)> {
        // The piece that `after` would be in, and all that follow.
        let first = after.and_then(|after| self.pieces.range(..=after).next_back());
        let from = first.map_or(Unbounded, |(id, _)| Included(id));
        let within = after.map_or(Unbounded, Excluded);
        let pieces = self.pieces.range::<PlayerId, _>((from, Unbounded));
        pieces.flat_map(move |(_, piece)| piece.range::<PlayerId, _>((within, Unbounded)))
    }

    /// Returns what is known of all players, in their order.
    pub(super) fn records(&self) -> impl Iterator<Item = &PlayerRecord> {
        self.pieces.values().flat_map(|piece| piece.values())
    }
}

impl PartialEq for Players {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.after(None).eq(other.after(None))
    }
}

impl Eq for Players {}

/// As a map: how it is cut into pieces is nobody's business.
impl Serialize for Players {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(self.len))?;
        for (player, record) in self.after(None) {
            map.serialize_entry(player, record)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Players {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Players;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of players")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Players, A::Error> {
                let mut players = Players::default();
                while let Some((player, record)) = map.next_entry()? {
                    players.insert(player, record);
                }
                Ok(players)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{CodeHash, Generation, Incarnation, NodeId, Writer};

    fn id(n: u32) -> PlayerId {
        format!("player{n}").parse().unwrap()
    }

    fn record(generation: u64) -> PlayerRecord {
        let owner = Writer { node: NodeId(1), incarnation: Incarnation(1) };
        let (generation, keepers) = (Generation(generation), Vec::new());
        PlayerRecord { generation, owner, keepers, code: CodeHash([0; 32]), failed: None }
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            writes in vec((0u32..4000, 0u64..9), 0..3000),
            looks in vec(0u32..4000, 1..20),
        ) {
            let (mut players, mut model) = (Players::default(), BTreeMap::new());
            let mut before = Vec::new();
            for (at, (n, generation)) in writes.into_iter().enumerate() {
                if at % 700 == 0 {
                    before.push((players.clone(), model.clone()));
                }
                players.insert(id(n), record(generation));
                model.insert(id(n), record(generation));
            }
            before.push((players, model));
            // Each clone is what it was, whatever was written afterwards.
            for (players, model) in &before {
                prop_assert!(players.after(None).eq(model.iter()));
                prop_assert!(players.records().eq(model.values()));
                for look in &looks {
                    let look = id(*look);
                    prop_assert_eq!(players.get(&look), model.get(&look));
                    let after = model.range((Excluded(&look), Unbounded));
                    prop_assert!(players.after(Some(&look)).eq(after));
                }
                // One that knows nothing of pieces reads the same.
                let bytes = postcard::to_stdvec(players).unwrap();
                prop_assert_eq!(&bytes, &postcard::to_stdvec(model).unwrap());
                prop_assert_eq!(&postcard::from_bytes::<Players>(&bytes).unwrap(), players);
            }
        }
    }

    #[test]
    fn a_clone_copies_no_player_and_a_change_copies_few() {
        let mut players = Players::default();
        (0..10_000).for_each(|n| players.insert(id(n), record(1)));
        let clone = players.clone();
        let shared = |players: &Players| {
            let pieces = players.pieces.iter();
            let same = |(id, piece): &(&PlayerId, &Arc<Piece>)| {
                clone.pieces.get(*id).is_some_and(|other| Arc::ptr_eq(piece, other))
            };
            pieces.filter(same).count()
        };
        let pieces = players.pieces.len();
        assert!(pieces >= 10_000 / PIECE_PLAYERS_MAX);
        assert_eq!(shared(&players), pieces);
        players.insert(id(77), record(2));
        assert_eq!(shared(&players), pieces - 1);
    }
}
