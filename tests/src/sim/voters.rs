//! Who votes: the real rule, carried out by the leader one change after the other.
//!
//! A change needs a majority of the voters before it and of those after it, as Raft's joint
//! consensus does. A voter is a data folder: a machine that lost its disk votes again only when it
//! was chosen anew.

use std::collections::BTreeSet;

use host::membership::better_voters;
use host::protocol::NodeId;

use super::happening::Slot;
use super::world::World;

impl World {
    /// The first voters: all equals of a new cluster, as many as the rule wants, or the one that
    /// the others have joined.
    pub(super) fn found_voters(&mut self) {
        let first = self.machines[0].disk.node;
        let one = BTreeSet::from([first]);
        let all: BTreeSet<NodeId> = self.machines.iter().map(|m| m.disk.node).collect();
        let equals = better_voters(&one, &all);
        let alone = self.rng.percent(30);
        self.log.voters = equals.filter(|_| !alone).unwrap_or(one);
    }

    fn is_voter(&self, slot: Slot) -> bool {
        self.log.voters.contains(&self.machines[slot].disk.node)
    }

    /// Machines with a running process that votes.
    pub(super) fn running_voters(&self) -> Vec<Slot> {
        self.running().into_iter().filter(|slot| self.is_voter(*slot)).collect()
    }

    /// Whether a voter reaches a majority of all voters.
    pub(super) fn has_majority(&self, leader: Slot) -> bool {
        self.is_voter(leader) && self.has_majority_of(leader, &self.log.voters)
    }

    fn has_majority_of(&self, leader: Slot, voters: &BTreeSet<NodeId>) -> bool {
        let running = self.running();
        let votes = |slot: &&Slot| {
            voters.contains(&self.machines[**slot].disk.node) && self.reach(**slot, leader)
        };
        running.contains(&leader) && running.iter().filter(votes).count() * 2 > voters.len()
    }

    /// Whether enough voters would be left if one of them lost its disk.
    pub(super) fn can_spare(&self, slot: Slot) -> bool {
        !self.is_voter(slot) || self.log.voters.len() > 2
    }

    /// The leader chooses other voters if that makes the cluster safer.
    pub(super) fn improve_voters(&mut self, leader: Slot) {
        let Some(process) = &self.machines[leader].process else { return };
        let up = process.nodes.iter().filter(|node| node.status.is_alive());
        let up: BTreeSet<NodeId> = up.map(|node| node.id).collect();
        let Some(voters) = better_voters(&self.log.voters, &up) else { return };
        if !self.has_majority(leader) || !self.has_majority_of(leader, &voters) {
            return;
        }
        self.coverage.voter_changes += 1;
        self.coverage.voter_replacements += u64::from(!voters.is_superset(&self.log.voters));
        self.tell(|| format!("voters: {voters:?}"));
        self.log.voters = voters;
    }
}
