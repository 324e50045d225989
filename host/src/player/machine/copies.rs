//! Keeping enough copies: which nodes should hold one, and sending it to them before the directory
//! names them (design rule 5).

use std::time::{Duration, Instant};

use super::opening::is_reachable;
use super::{Acking, Action, Machine, Phase, Retry, Story, View};
use crate::limits::{APPEND_DEADLINE, STEP_DEADLINE};
use crate::membership::keepers_for;
use crate::net::AskError;
use crate::protocol::{
    CallError, CopyId, KeeperCopy, KeeperReply, KeeperRequest, NodeId, NodeRecord, NodeStatus,
    PlayerState, Seed,
};

/// Shortest time for a seed, and what each million bytes of state adds: a slow network moves ten
/// million bytes in a second.
const SEED_DEADLINE_MIN: Duration = STEP_DEADLINE;
const SEED_BYTES_TIME: Duration = Duration::from_millis(100);

/// Copies that are being sent, none of which the directory names yet.
#[derive(Debug)]
pub(super) struct Seeding {
    new: Vec<(KeeperCopy, bool)>,
    pub(super) until: Instant,
}

impl Seeding {
    fn copies(&self) -> Vec<KeeperCopy> {
        self.new.iter().map(|(copy, _)| *copy).collect()
    }
}

impl Machine {
    /// Goes on from `keepers`, those that hold the state: seeds what is missing, has the directory
    /// name what differs, or serves.
    pub(super) fn settle(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let targets = self.targets(view);
        if !targets.is_empty() {
            return self.seed(&targets, view, out);
        }
        if !self.is_safe_with(&[]) {
            out.push(Action::Tell(Story::Alone));
            self.phase = Phase::Alone;
            return;
        }
        // What an earlier change would still name misses what is executed from here on. Naming the
        // same copies once more raises the generation, and that change can never be made.
        if self.is_named() && self.spare(&[], view).is_empty() && !self.unsure {
            self.revive(view, out);
        } else {
            self.name_with(Vec::new(), view, out);
        }
    }

    /// Returns the nodes of the copies that survive this one.
    fn remote(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self.keepers.iter().map(|keeper| keeper.copy.node);
        nodes.filter(|node| *node != self.me.node)
    }

    /// Whether this node holds the state in a copy of its own.
    pub(super) fn has_own_copy(&self) -> bool {
        self.keepers.iter().any(|keeper| keeper.copy.node == self.me.node)
    }

    /// Whether another node holds the state, those of these new copies included: a copy of its own
    /// alone is none.
    fn is_safe_with(&self, new: &[KeeperCopy]) -> bool {
        let own = self.me.node;
        self.remote().next().is_some() || new.iter().any(|copy| copy.node != own)
    }

    /// Returns nodes that should get a copy now: other ones, and then this one for its own copy.
    fn targets(&mut self, view: View<'_>) -> Vec<NodeId> {
        self.avoid.retain(|(_, until)| *until > view.now);
        let ids = view.nodes.iter().map(|node| node.id);
        let doubtful: Vec<NodeId> = ids.filter(|id| self.retry_at(*id, view).is_some()).collect();
        let taken: Vec<NodeId> = self.remote().collect();
        // A keeper that is going to leave is good, but another one must take its place.
        let staying = taken.iter().filter(|node| !view.is_draining(**node)).count();
        let missing = view.keepers_wanted.saturating_sub(staying);
        let mut targets =
            keepers_for(&self.player, self.me.node, &taken, &doubtful, view.nodes, missing);
        // With a good keeper, there or to be, callers do not wait for a node that took no copy.
        if !taken.is_empty() || targets.iter().any(|node| !doubtful.contains(node)) {
            targets.retain(|node| !doubtful.contains(node));
        }
        let remote_missing = targets.len() < missing && !taken.is_empty();
        // Its own copy is no use alone, and a node that is going to leave is about to lose it.
        let own = self.me.node;
        let alone = taken.is_empty() && targets.is_empty();
        let wants_own = !alone && !self.has_own_copy() && !view.is_draining(own);
        if wants_own && !doubtful.contains(&own) {
            targets.push(own);
        }
        self.plan_trial(remote_missing, wants_own && !taken.is_empty(), &taken, view);
        targets
    }

    /// Returns the other nodes whose copies are not wanted any more once these new ones are there:
    /// those beyond what the cluster wants, and those that are going to leave when enough others
    /// hold the state.
    pub(super) fn spare(&self, new: &[KeeperCopy], view: View<'_>) -> Vec<NodeId> {
        // Its new owner decides which copies are too many, once it has its own.
        if self.moving.is_some() {
            return Vec::new();
        }
        let wanted = view.keepers_wanted.max(1);
        let holders: Vec<NodeId> = self.remote().chain(new.iter().map(|copy| copy.node)).collect();
        let stays =
            |node: &&NodeRecord| node.status == NodeStatus::Up && holders.contains(&node.id);
        let staying: Vec<NodeRecord> = view.nodes.iter().filter(stays).cloned().collect();
        // Its own copy among the new ones does not count: no keeper is on the owner's node.
        let best = keepers_for(&self.player, self.me.node, &[], &[], &staying, wanted);
        if best.len() < wanted {
            return Vec::new();
        }
        self.remote().filter(|keeper| !best.contains(keeper)).collect()
    }

    /// Sends full copies to these nodes, and has the directory name them then.
    pub(super) fn seed(&mut self, targets: &[NodeId], view: View<'_>, out: &mut Vec<Action>) {
        let Some(state) = self.state.clone() else { return };
        let new: Vec<KeeperCopy> = targets.iter().map(|node| self.new_copy(*node)).collect();
        out.push(Action::Tell(Story::Seeding { to: self.remote_names(&new, view) }));
        out.extend(new.iter().map(|copy| self.seed_of(*copy, state.clone())));
        let until = seed_deadline(&state, view.now);
        let new = new.into_iter().map(|copy| (copy, false)).collect();
        "no other node has taken a copy yet".clone_into(&mut self.trouble);
        // Whatever it shows, callers wait for this now.
        self.trial = None;
        self.phase = Phase::Seeding(Seeding { new, until });
    }

    /// Sends a full copy.
    pub(super) fn seed_of(&self, copy: KeeperCopy, state: PlayerState) -> Action {
        let seed = Seed {
            player: self.player.clone(),
            copy: copy.copy,
            generation: self.generation(),
            writer: self.me,
            state,
        };
        Action::Ask { copy, number: 0, request: KeeperRequest::Seed(seed) }
    }

    /// Does not wait for a target that went down or is going to leave: the directory would not name
    /// it. Without another one it begins anew at once, for the nodes have just changed.
    pub(super) fn check_targets(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let Phase::Seeding(seeding) = &mut self.phase else { return };
        seeding.new.retain(|(copy, _)| view.is_up(copy.node));
        let left = seeding.copies();
        if left.is_empty() || !self.is_safe_with(&left) {
            return self.settle(view, out);
        }
        self.end_seeding(|_| false, view, out);
    }

    pub(super) fn is_being_seeded(&self, copy: CopyId) -> bool {
        match &self.phase {
            Phase::Seeding(seeding) => seeding.new.iter().any(|(new, _)| new.copy == copy),
            _ => false,
        }
    }

    pub(super) fn handle_seed_reply(
        &mut self,
        copy: KeeperCopy,
        reply: Result<KeeperReply, AskError>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let now_at = self.seq();
        let Phase::Seeding(seeding) = &mut self.phase else { return };
        // An earlier attempt that arrived late: this one is still on its way.
        if matches!(reply, Ok(KeeperReply::Acknowledged { seq }) if seq != now_at) {
            return;
        }
        if !matches!(reply, Ok(KeeperReply::Acknowledged { .. })) {
            let reason = super::opening::problem(reply);
            let keeper = view.name(copy.node);
            out.push(Action::Tell(Story::KeeperLost { keeper, reason }));
            return self.end_seeding(|new| *new == copy, view, out);
        }
        for (new, done) in &mut seeding.new {
            *done |= *new == copy;
        }
        self.trust(copy.node, view, out);
        self.end_seeding(|_| false, view, out);
    }

    /// Gives up targets that have not taken their copy, and goes on once none is waited for: with
    /// those that have taken one, be they fewer than wanted, or else with other targets. What was
    /// sent to the others stays where it is: a later attempt under this generation replaces it, and
    /// once the generation has moved it is dead.
    pub(super) fn end_seeding(
        &mut self,
        given_up: impl Fn(&KeeperCopy) -> bool,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Phase::Seeding(seeding) = &mut self.phase else { return };
        let fails = |(copy, done): &(KeeperCopy, bool)| !done && given_up(copy);
        let failed: Vec<_> = seeding.new.extract_if(.., |new| fails(new)).collect();
        let waits = seeding.new.iter().any(|(_, done)| !done);
        let seeded = seeding.copies();
        for (copy, _) in failed {
            self.shun(copy.node, view, out);
        }
        if waits {
            return;
        }
        if !self.is_safe_with(&seeded) {
            return self.pause(Retry::Settle, "no other node has taken a copy yet", view.now);
        }
        if seeded.is_empty() {
            // Nobody has taken one: there may be nothing to tell the directory.
            return self.settle(view, out);
        }
        self.name_with(seeded, view, out);
    }

    /// Replaces keepers that the directory calls down or that are going to leave, and adds missing
    /// ones.
    pub(super) fn check_keepers(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let me = self.me.node;
        let lost = self.copies().into_iter().filter(|copy| !is_reachable(copy, me, view));
        for copy in lost.collect::<Vec<_>>() {
            self.lose(copy, "the node is down".to_owned(), view, out);
        }
        if !self.spare(&[], view).is_empty() || !self.is_named() || !self.targets(view).is_empty() {
            self.settle(view, out);
        } else {
            self.begin_trial(view, out);
        }
    }

    /// Replaces keepers that have not acknowledged within the deadline, whatever others think of
    /// them.
    pub(super) fn replace_silent_keepers(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let Some(first) = self.unanswered.front() else { return };
        if view.now < first.sent + APPEND_DEADLINE {
            return;
        }
        let number = first.number;
        let silent = |keeper: &&Acking| keeper.acknowledged < number;
        let silent: Vec<KeeperCopy> =
            self.keepers.iter().filter(silent).map(|keeper| keeper.copy).collect();
        for copy in silent {
            self.lose(copy, "no acknowledgement in time".to_owned(), view, out);
            self.shun(copy.node, view, out);
        }
        self.settle(view, out);
    }

    /// Takes a keeper off the list of those that hold the state. The directory names it until its
    /// successor is complete.
    pub(super) fn lose(
        &mut self,
        copy: KeeperCopy,
        reason: String,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        self.keepers.retain(|keeper| keeper.copy != copy);
        out.push(Action::Tell(Story::KeeperLost { keeper: view.name(copy.node), reason }));
    }

    pub(super) fn refuse_while_alone(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let node = view.name(self.me.node);
        for waiting in std::mem::take(&mut self.queue) {
            let alone = CallError::SingleNode { node: node.clone() };
            out.push(self.refuse(&waiting, alone));
        }
        // A player that does not exist leaves nothing behind.
        if !self.exists() {
            self.phase = Phase::Closed;
            out.push(Action::Close);
        }
    }

    /// The copy that this server seeds on a node under its present generation. A second attempt is
    /// the same copy, so that attempts do not pile up there.
    pub(super) fn new_copy(&self, node: NodeId) -> KeeperCopy {
        let mut copy = self.copy_seed;
        for part in [node.0, self.generation().0] {
            copy = mixed(copy ^ mixed(part));
        }
        KeeperCopy { node, copy: CopyId(copy) }
    }
}

/// Returns until when a node may take in a full copy.
pub(super) fn seed_deadline(state: &PlayerState, now: Instant) -> Instant {
    now + SEED_DEADLINE_MIN + SEED_BYTES_TIME * megabytes(state)
}

fn megabytes(state: &PlayerState) -> u32 {
    u32::try_from(state.bytes() / 1_000_000).unwrap_or(u32::MAX / 1000)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): one to one, and every bit counts.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
