//! What the directory knows: nodes, players, and how a change of them ended.

use std::fmt;
use std::iter::Sum;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    CodeHash, CopyId, Generation, Incarnation, NodeId, NodeName, PlayerId, Seq, Writer, at_most,
};
use crate::limits::{FAILED_RESTORES_MAX, RESTORE_REASON_BYTES_MAX};

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeStatus {
    /// It serves.
    Up,
    /// It serves what it has, hands that over to other nodes, and will leave.
    Draining,
    /// It stopped or cannot be reached.
    Down,
}

impl NodeStatus {
    /// Returns the word that a person reads.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }

    /// Whether the node serves what it has: only a node that does not may lose a player to another.
    pub fn is_alive(self) -> bool {
        match self {
            Self::Up | Self::Draining => true,
            Self::Down => false,
        }
    }
}

/// A node as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its number.
    pub id: NodeId,
    /// Its name; one node at a time bears it.
    pub name: NodeName,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// Its latest start.
    pub incarnation: Incarnation,
    /// Whether it takes part.
    pub status: NodeStatus,
}

/// Returns a node's name, or one made of its number if it is not among `nodes` any more.
pub fn name_of(id: NodeId, nodes: &[NodeRecord]) -> NodeName {
    nodes.iter().find(|node| node.id == id).map_or_else(
        || format!("node-{id}").parse().expect("hexadecimal digits are a valid node name"),
        |node| node.name.clone(),
    )
}

/// Returns the nodes that are alive, without one of them.
pub fn others_alive(me: NodeId, nodes: &[NodeRecord]) -> Vec<NodeId> {
    let alive = nodes.iter().filter(|node| node.status.is_alive()).map(|node| node.id);
    alive.filter(|id| *id != me).collect()
}

/// One keeper of a player and the copy on it that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeeperCopy {
    /// The keeper's node.
    pub node: NodeId,
    /// The copy that holds the promised state.
    pub copy: CopyId,
}

/// Restores of a player's state that failed one after the other, on whichever nodes.
///
/// They stand in the player's record, which is replicated and changes only by compare-and-set, so they
/// outlive every owner, and no two of them are counted as one. One restore that succeeds ends the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRestores {
    /// How many.
    pub times: u32,
    /// The position of the state.
    pub seq: Seq,
    /// Why the latest one failed.
    pub reason: String,
}

impl FailedRestores {
    /// Returns as much of a reason as is kept.
    pub fn cut(reason: &str) -> &str {
        at_most(reason, RESTORE_REASON_BYTES_MAX)
    }
}

/// A player that nobody tries to restore any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The player.
    pub player: PlayerId,
    /// The node that owns it.
    pub owner: NodeName,
    /// The nodes that keep its state.
    pub copies: Vec<NodeName>,
    /// What became of its restores.
    pub failed: FailedRestores,
}

impl Quarantine {
    /// Returns what there is to say of a player that is in quarantine by its record.
    pub fn of(player: &PlayerId, record: &PlayerRecord, nodes: &[NodeRecord]) -> Option<Self> {
        let failed = record.quarantine()?.clone();
        let copies = record.keepers.iter().map(|copy| name_of(copy.node, nodes)).collect();
        let owner = name_of(record.owner.node, nodes);
        Some(Self { player: player.clone(), owner, copies, failed })
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { player, copies, failed: FailedRestores { times, seq, reason }, .. } = self;
        let copies = copies.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "{player} could not be restored {times} times in a row ({reason}) and is not tried any \
             more; its state at seq {seq} is kept on {copies}"
        )
    }
}

/// A player as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerRecord {
    /// Ownership number; each change raises it.
    pub generation: Generation,
    /// The start of the node that runs the player.
    pub owner: Writer,
    /// The copies: the keepers', and one on the owner's own node, which may survive them. None when
    /// the player was forgotten.
    pub keepers: Vec<KeeperCopy>,
    /// The component that the player's memory belongs to.
    pub code: CodeHash,
    /// What became of the latest restores, if they failed.
    pub failed: Option<Box<FailedRestores>>,
}

impl PlayerRecord {
    /// Returns why nobody tries to restore the player any more, if that is so.
    pub fn quarantine(&self) -> Option<&FailedRestores> {
        self.failed.as_deref().filter(|failed| failed.times >= FAILED_RESTORES_MAX)
    }

    /// Whether the player is no more. Its number stays, so that old owners and copies of it are
    /// fenced when it begins anew.
    pub fn is_forgotten(&self) -> bool {
        self.keepers.is_empty()
    }

    /// Returns the copies on other nodes than the owner's.
    pub fn remote_keepers(&self) -> impl Iterator<Item = &KeeperCopy> {
        self.keepers.iter().filter(|keeper| keeper.node != self.owner.node)
    }
}

/// A compare-and-set on one player's generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerChange {
    /// The player.
    pub player: PlayerId,
    /// The generation that the writer saw; 0 for a player that does not exist.
    pub expect: Generation,
    /// Who asks: the owner that is, or the one who takes over from an owner that is not alive.
    pub by: Writer,
    /// The new owner: the one who asks, or another one to whom the owner hands the player over.
    pub owner: Writer,
    /// The new copies, each of which holds the state already; none to forget the player.
    pub keepers: Vec<KeeperCopy>,
    /// The component that the player's memory belongs to.
    pub code: CodeHash,
    /// What became of the latest restores, if they failed. A new owner repeats what the one before
    /// has said.
    pub failed: Option<Box<FailedRestores>>,
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeOutcome {
    /// It is in force, under this generation.
    Changed(Generation),
    /// Somebody was faster or the change is not allowed now; this is what holds.
    Conflict(Option<PlayerRecord>),
}

/// What a node that is going to leave has handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReport {
    /// The node.
    pub node: NodeName,
    /// Players that other nodes own now.
    pub players: u64,
    /// Copies that other nodes keep now.
    pub copies: u64,
    /// Players and copies that no other node could take, and why.
    pub left: Option<String>,
}

/// Bytes that connections have moved, as they are on the wire below UDP: retries, signs of life and
/// acknowledgements of packets included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// From the side that tells.
    pub sent: u64,
    /// To it.
    pub received: u64,
}

impl Traffic {
    /// Returns the bytes in both directions.
    pub fn bytes(self) -> u64 {
        self.sent.saturating_add(self.received)
    }
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, each| Self {
            sent: sum.sent.saturating_add(each.sent),
            received: sum.received.saturating_add(each.received),
        })
    }
}

/// One player in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerListing {
    /// The player.
    pub player: PlayerId,
    /// The node that runs it.
    pub owner: NodeName,
    /// Whether it runs there now; otherwise its next call restores it.
    pub running: bool,
    /// Whether it is in quarantine, so that no call restores it.
    pub quarantined: bool,
    /// The nodes that keep its copies.
    pub keepers: Vec<NodeName>,
    /// Its ownership number.
    pub generation: Generation,
    /// Its position, where a running player says it.
    pub seq: Option<Seq>,
    /// Its points, where a running player says them.
    pub points: Option<i64>,
}
