//! The rules of the directory: a plain state machine that every node runs on the same commands.
//!
//! Deterministic: no clock, no IO, no random numbers. A command that is not allowed changes nothing
//! and says what holds instead.
//!
//! Invariants, whatever the commands:
//! - a player's generation rises by one with each change and never falls, so each generation has
//!   one owner;
//! - a player is taken from an owner only when that start of its node is not alive any more, or by
//!   that owner itself;
//! - what is known of a player's failed restores goes with it from owner to owner;
//! - a player's code changes only together with all its copies, and by its owner;
//! - at most one node of a name is up;
//! - the settings are ones that a cluster can have.

mod players;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::players::Players;
use crate::limits::NODES_MAX;
use crate::protocol::{
    Announcement, ChangeOutcome, CopyId, DeploymentChange, DeploymentConflict, Deployments,
    Generation, JoinRefusal, NodeId, NodeRecord, NodeStatus, PlayerChange, PlayerId, PlayerRecord,
    Settings, SettingsChange, Writer,
};

/// A change of the directory, as it stands in Raft's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A node has started.
    NodeUp(Announcement),
    /// A start of a node is going to leave: it gets nothing new.
    NodeDraining(Writer),
    /// A start of a node has ended or cannot be reached.
    NodeDown(Writer),
    /// Nodes that left have stayed away for long: others may take their places.
    PlacesFree(Vec<NodeId>),
    /// Changes of players, applied in order, each for itself.
    Players(Vec<PlayerChange>),
    /// A change of what holds for the whole cluster.
    Configure(SettingsChange),
    /// A change of which code players run.
    Deploy(DeploymentChange),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// There was nothing to do: the entry was Raft's own.
    Nothing,
    /// Whether the node was taken in.
    NodeUp(Result<(), JoinRefusal>),
    /// Whether that start of the node was up until now.
    NodeDraining(bool),
    /// Whether that start of the node was alive until now.
    NodeDown(bool),
    /// How many of the nodes had kept their places until now.
    PlacesFree(usize),
    /// One outcome for each change, in order.
    Players(Vec<ChangeOutcome>),
    /// What holds now, changed or not.
    Configured(Settings),
    /// The number of the deployment that was changed.
    Deployed(Result<u64, DeploymentConflict>),
}

/// Who owns and who keeps what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryState {
    nodes: BTreeMap<NodeId, NodeRecord>,
    players: Players,
    settings: Settings,
    deployments: Deployments,
    /// Nodes that are down because they left on purpose, and will come back.
    left: BTreeSet<NodeId>,
}

impl DirectoryState {
    /// Applies a command.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::NodeUp(announcement) => Outcome::NodeUp(self.node_up(announcement)),
            Command::NodeDraining(writer) => {
                let was_up = self.status(*writer) == NodeStatus::Up;
                Outcome::NodeDraining(was_up && self.set_status(*writer, NodeStatus::Draining))
            }
            Command::NodeDown(writer) => {
                let was_leaving = self.status(*writer) == NodeStatus::Draining;
                if was_leaving {
                    self.left.insert(writer.node);
                }
                Outcome::NodeDown(self.set_status(*writer, NodeStatus::Down))
            }
            Command::PlacesFree(nodes) => {
                Outcome::PlacesFree(nodes.iter().filter(|node| self.left.remove(node)).count())
            }
            Command::Players(changes) => {
                Outcome::Players(changes.iter().map(|change| self.change(change)).collect())
            }
            Command::Configure(change) => {
                self.settings = change.applied_to(self.settings).unwrap_or(self.settings);
                Outcome::Configured(self.settings)
            }
            Command::Deploy(change) => Outcome::Deployed(self.deployments.apply(change)),
        }
    }

    /// Returns what holds for the whole cluster.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Returns which code players run.
    pub fn deployments(&self) -> &Deployments {
        &self.deployments
    }

    /// Returns the nodes, up and down, in order of their numbers.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// Whether a node is down and nobody else gets its place, for it left on purpose.
    pub fn keeps_place(&self, id: NodeId) -> bool {
        self.left.contains(&id)
    }

    /// Returns a node.
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// Returns a player.
    pub fn player(&self, player: &PlayerId) -> Option<&PlayerRecord> {
        self.players.get(player)
    }

    /// Returns the players whose ids follow `after`, or all, in order, without those that were
    /// forgotten.
    pub fn players_after(
        &self,
        after: Option<&PlayerId>,
    ) -> impl Iterator<Item = (&PlayerId, &PlayerRecord)> {
        self.players.after(after).filter(|(_, record)| !record.is_forgotten())
    }

    /// Whether the player's record names this copy.
    pub fn is_named(&self, player: &PlayerId, copy: CopyId) -> bool {
        let record = self.players.get(player);
        record.is_some_and(|record| record.keepers.iter().any(|keeper| keeper.copy == copy))
    }

    /// Returns what holds of this very start of a node.
    fn status(&self, writer: Writer) -> NodeStatus {
        match self.nodes.get(&writer.node) {
            Some(node) if node.incarnation == writer.incarnation => node.status,
            Some(_) | None => NodeStatus::Down,
        }
    }

    fn node_up(&mut self, announcement: &Announcement) -> Result<(), JoinRefusal> {
        let Announcement { id, name, addr, incarnation } = announcement.clone();
        let namesake = self.nodes.values().find(|node| node.name == name && node.id != id);
        let mut replaced = namesake.map(|node| node.id);
        if let Some(node) = namesake.filter(|node| node.status.is_alive()) {
            return Err(JoinRefusal::NameTaken { name, addr: node.addr });
        }
        match self.nodes.get(&id) {
            Some(node) if node.incarnation > incarnation => {
                let reason = format!("{name} has been started again since");
                return Err(JoinRefusal::NotNow { reason });
            }
            Some(_) => {}
            None if replaced.is_none() && self.nodes.len() >= NODES_MAX => {
                replaced = self.dispensable();
                if replaced.is_none() {
                    return Err(JoinRefusal::Full { nodes: self.nodes.len() as u64 });
                }
            }
            None => {}
        }
        // A node that lost its disk has a new number and its old name; the old number is gone.
        if let Some(old) = replaced {
            self.nodes.remove(&old);
            self.left.remove(&old);
        }
        self.left.remove(&id);
        let status = NodeStatus::Up;
        self.nodes.insert(id, NodeRecord { id, name, addr, incarnation, status });
        Ok(())
    }

    /// Returns a node that is down and keeps no copy: it makes room for one that comes. One that left
    /// on purpose does not, or an update would cost it its place.
    fn dispensable(&self) -> Option<NodeId> {
        let keepers: BTreeSet<NodeId> = self
            .players
            .records()
            .flat_map(|record| record.keepers.iter().map(|keeper| keeper.node))
            .collect();
        let down = self.nodes.values().filter(|node| node.status == NodeStatus::Down);
        down.map(|node| node.id).find(|id| !keepers.contains(id) && !self.left.contains(id))
    }

    /// Sets what holds of a start of a node, if it is alive. Returns whether it was.
    fn set_status(&mut self, writer: Writer, status: NodeStatus) -> bool {
        let was_alive = self.status(writer).is_alive();
        if was_alive && let Some(node) = self.nodes.get_mut(&writer.node) {
            node.status = status;
        }
        was_alive
    }

    fn change(&mut self, change: &PlayerChange) -> ChangeOutcome {
        let current = self.players.get(&change.player);
        if !self.allows(change, current) {
            return ChangeOutcome::Conflict(current.cloned());
        }
        let PlayerChange { player, expect, by: _, owner, keepers, code, failed } = change.clone();
        let generation = expect.next();
        self.players.insert(player, PlayerRecord { generation, owner, keepers, code, failed });
        ChangeOutcome::Changed(generation)
    }

    fn allows(&self, change: &PlayerChange, current: Option<&PlayerRecord>) -> bool {
        let seen = current.map_or(Generation(0), |record| record.generation);
        let living = current.filter(|record| !record.is_forgotten());
        // Other code comes with memory of its own: no copy has it that was there before.
        let same_code = living.is_none_or(|record| {
            let kept = |keeper| record.keepers.contains(keeper);
            record.code == change.code
                || (record.owner == change.owner && !change.keepers.iter().any(kept))
        });
        change.expect == seen
            && same_code
            && allows_failed(change, living)
            && self.allows_owner(change, current)
            && if change.keepers.is_empty() {
                // A player that exists is forgotten, or one that was forgotten is claimed.
                current.is_some()
            } else {
                self.allows_keepers(change, living)
            }
    }

    /// Whether the one who asks may do so: an owner that is alive, for itself or to hand the player
    /// over to a node that is up; without such an owner, a node that is alive, for itself.
    fn allows_owner(&self, change: &PlayerChange, current: Option<&PlayerRecord>) -> bool {
        let owner = current.map(|record| record.owner);
        let owner = owner.filter(|owner| self.status(*owner).is_alive());
        let may_ask = owner.unwrap_or(change.owner) == change.by;
        may_ask
            && if change.owner == change.by {
                self.status(change.owner).is_alive()
            } else {
                self.status(change.owner) == NodeStatus::Up
            }
    }

    /// Whether the keepers are one copy on each of some nodes, and whether those that are new are
    /// up. A new one needs a remote one beside it, for the owner's own copy alone is none. One that
    /// was a keeper before stays allowed whatever became of its node: a claim repeats the record,
    /// and the other copies in it are good.
    fn allows_keepers(&self, change: &PlayerChange, current: Option<&PlayerRecord>) -> bool {
        let nodes: BTreeSet<_> = change.keepers.iter().map(|keeper| keeper.node).collect();
        let remote = nodes.iter().any(|node| *node != change.owner.node);
        let known = change.keepers.iter().all(|keeper| {
            let kept_before = current.is_some_and(|record| record.keepers.contains(keeper));
            let node = self.nodes.get(&keeper.node);
            kept_before || (remote && node.is_some_and(|node| node.status == NodeStatus::Up))
        });
        nodes.len() == change.keepers.len() && known
    }
}

/// Whether what a change says of failed restores may be said: only an owner that has the player already
/// counts, or begins anew.
fn allows_failed(change: &PlayerChange, living: Option<&PlayerRecord>) -> bool {
    match living {
        // A player that ends has nothing that could be restored.
        _ if change.keepers.is_empty() => change.failed.is_none(),
        Some(record) => record.owner == change.owner || record.failed == change.failed,
        None => change.failed.is_none(),
    }
}

#[cfg(test)]
mod tests;
