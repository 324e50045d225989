//! Having the directory name the copies that hold the state (design rule 5), and what its word means:
//! those named before are released only then.

use super::{Acking, Action, Machine, NO_MAJORITY, Phase, Retry, Story, View};
use crate::protocol::{
    ChangeOutcome, KeeperCopy, KeeperRequest, NodeName, PlayerChange, PlayerRecord, Release,
};

/// A change that the directory was asked for, and which of its copies were seeded for it.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    pub(super) change: PlayerChange,
    pub(super) seeded: Vec<KeeperCopy>,
    /// Whether the change counts a restore, or begins to count anew.
    pub(super) counts: bool,
}

impl Machine {
    /// Has the directory name those that hold the state and are wanted, and those that were just
    /// seeded. One that is not wanted any more counts until the directory has said so.
    pub(super) fn name_with(
        &mut self,
        seeded: Vec<KeeperCopy>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(code) = self.state.as_ref().map(|state| state.code) else { return };
        let spare = self.spare(&seeded, view);
        let held = self.copies().into_iter().filter(|copy| !spare.contains(&copy.node));
        let keepers = held.chain(seeded.iter().copied()).collect();
        let (player, expect) = (self.player.clone(), self.generation());
        let (by, owner) = (self.me, self.me);
        let (failed, counts) = self.failed_restores();
        let change = PlayerChange { player, expect, by, owner, keepers, code, failed };
        self.name(Naming { change, seeded, counts }, out);
    }

    pub(super) fn name(&mut self, naming: Naming, out: &mut Vec<Action>) {
        "the directory has not named the new keeper".clone_into(&mut self.trouble);
        out.push(Action::Change(naming.change.clone()));
        self.phase = Phase::Naming(naming);
    }

    pub(super) fn handle_named(
        &mut self,
        naming: Naming,
        outcome: Option<ChangeOutcome>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        match outcome {
            // The generation has moved: no other attempt can be made any more.
            Some(ChangeOutcome::Changed(_)) => self.unsure = false,
            // A change that was refused may have been asked for more than once on its way.
            Some(ChangeOutcome::Conflict(_)) | None => self.unsure = true,
        }
        match outcome {
            Some(ChangeOutcome::Changed(generation)) if naming.change.keepers.is_empty() => {
                let seq = self.state.as_ref().map(|state| state.seq);
                let old = self.record.as_mut().map(|record| {
                    record.generation = generation;
                    std::mem::take(&mut record.keepers)
                });
                self.release_copies(old.into_iter().flatten(), out);
                self.answer_forgotten(seq, view, out);
            }
            Some(ChangeOutcome::Changed(_)) if naming.change.owner != self.me => {
                out.push(Action::Tell(Story::HandedOver {
                    to: view.name(naming.change.owner.node),
                }));
                self.phase = Phase::New;
                self.close_moved(out);
            }
            Some(ChangeOutcome::Changed(generation)) => {
                let Naming { change, seeded, counts } = naming;
                let PlayerChange { owner, keepers, code, failed, .. } = change;
                let names = self.remote_names(&keepers, view);
                out.push(Action::Tell(Story::Named { keepers: names }));
                let record = PlayerRecord { generation, owner, keepers, code, failed };
                let before = self.record.as_mut().and_then(|record| record.failed.take());
                self.adopt(record, &seeded, out);
                self.retries = 0;
                if counts {
                    self.counted(before, view, out);
                }
                self.revive(view, out);
            }
            Some(ChangeOutcome::Conflict(current)) => {
                // The directory still says what it said: it only disliked the nodes. An earlier
                // attempt of the same change may still win, so the copies stay.
                if current == self.record && self.deciding.is_none() {
                    // What it disliked is known here by now: others are chosen at once.
                    if !self.may_still_name(&naming, view) {
                        return self.settle(view, out);
                    }
                    return self.pause(Retry::Settle, "the directory refused the keeper", view.now);
                }
                // An earlier attempt may have won, and a rival after it: what the directory names
                // is the rival's now.
                let named = current.as_ref().map_or(&[][..], |record| &record.keepers);
                self.release_copies(naming.seeded.into_iter().filter(|c| !named.contains(c)), out);
                self.phase = Phase::New;
                self.close_moved(out);
            }
            // Not known: the same change again tells, for it can be made only once.
            None => self.pause(Retry::Name(naming), NO_MAJORITY, view.now),
        }
    }

    /// Whether the nodes that a change brings in may still get something new.
    fn may_still_name(&self, naming: &Naming, view: View<'_>) -> bool {
        let owner = naming.change.owner;
        naming.seeded.iter().all(|copy| view.is_up(copy.node))
            && (owner == self.me || view.is_up(owner.node))
    }

    /// The directory names these keepers: new ones hold all that was executed.
    fn adopt(&mut self, record: PlayerRecord, seeded: &[KeeperCopy], out: &mut Vec<Action>) {
        self.keepers.retain(|keeper| record.keepers.contains(&keeper.copy));
        let new = seeded.iter().map(|copy| Acking { copy: *copy, acknowledged: self.sent });
        self.keepers.extend(new);
        let named = record.keepers.clone();
        let old = self.record.replace(record);
        let gone = old.into_iter().flat_map(|record| record.keepers);
        self.release_copies(gone.filter(|copy| !named.contains(copy)), out);
    }

    /// Whether the directory names exactly the keepers that hold the state.
    pub(super) fn is_named(&self) -> bool {
        // In whatever order: copies arrive as the network brings them.
        self.record.as_ref().is_some_and(|record| {
            let named = |keeper: &Acking| record.keepers.contains(&keeper.copy);
            record.keepers.len() == self.keepers.len() && self.keepers.iter().all(named)
        })
    }

    /// Tells keepers that copies can never be named again.
    fn release_copies(&self, copies: impl IntoIterator<Item = KeeperCopy>, out: &mut Vec<Action>) {
        let (generation, writer) = (self.generation(), self.me);
        for copy in copies {
            let player = self.player.clone();
            let release = Release { player, copy: copy.copy, generation, writer };
            out.push(Action::Ask { copy, number: 0, request: KeeperRequest::Release(release) });
        }
    }

    /// Returns the names of the copies' nodes but this one, which needs no mention.
    pub(super) fn remote_names(&self, copies: &[KeeperCopy], view: View<'_>) -> Vec<NodeName> {
        let remote = copies.iter().filter(|copy| copy.node != self.me.node);
        remote.map(|copy| view.name(copy.node)).collect()
    }
}
