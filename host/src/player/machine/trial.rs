//! Trying again, ever more rarely, a node that took no copy, without letting callers wait for it.
//!
//! While a player has a good keeper, a full copy goes to such a node beside the calls. It is no
//! keeper by that: calls go on meanwhile, and the copy may be old when it is there. But the node
//! takes copies again, so all players of this node may choose it as any other.

use std::time::Instant;

use super::{Action, Machine, Phase, Story, View};
use crate::net::AskError;
use crate::player::shunned::PAUSE_MIN;
use crate::protocol::{KeeperCopy, KeeperReply, NodeId, NodeStatus, Refusal};

/// A copy that is only to show whether its node takes any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    copy: KeeperCopy,
    pub(super) until: Instant,
}

impl Machine {
    /// Remembers that a node took no copy: here at once, and for all players of this node.
    pub(super) fn shun(&mut self, node: NodeId, view: View<'_>, out: &mut Vec<Action>) {
        self.avoid.push((node, view.now + PAUSE_MIN));
        out.extend(view.writer(node).map(Action::Shun));
    }

    /// A node has taken a copy. The others are told if they shun it.
    pub(super) fn trust(&mut self, node: NodeId, view: View<'_>, out: &mut Vec<Action>) {
        self.avoid.retain(|(avoided, _)| *avoided != node);
        let shunned =
            view.writer(node).filter(|node| view.shunned.retry_at(*node, view.now).is_some());
        out.extend(shunned.map(Action::Trust));
    }

    /// Returns when a node that took no copy may be tried again. `None` for any other one.
    pub(super) fn retry_at(&self, node: NodeId, view: View<'_>) -> Option<Instant> {
        let here = self.avoid.iter().filter(|(avoided, _)| *avoided == node);
        let shunned = view.writer(node).and_then(|node| view.shunned.retry_at(node, view.now));
        here.map(|(_, until)| *until).chain(shunned).max()
    }

    /// Chooses the node that is tried next: the first that may be of those that could have one of
    /// the player's copies.
    pub(super) fn plan_trial(
        &mut self,
        remote_missing: bool,
        own_missing: bool,
        taken: &[NodeId],
        view: View<'_>,
    ) {
        let own = self.me.node;
        let could = |node: NodeId| {
            if node == own { own_missing } else { remote_missing && !taken.contains(&node) }
        };
        let up = view.nodes.iter().filter(|node| node.status == NodeStatus::Up);
        let nodes = up.map(|node| node.id).filter(|node| could(*node));
        self.next_trial =
            nodes.filter_map(|node| self.retry_at(node, view).map(|at| (at, node))).min();
    }

    /// Returns when something about trials is due.
    pub(super) fn trial_due(&self) -> Option<Instant> {
        match self.trial {
            Some(trial) => Some(trial.until),
            None => self.next_trial.map(|(at, _)| at),
        }
    }

    /// Sends a copy to the node whose turn it is.
    pub(super) fn begin_trial(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let due = self.next_trial.filter(|(at, _)| *at <= view.now && self.trial.is_none());
        let (Some((_, node)), Some(state)) = (due, self.state.clone()) else { return };
        let (copy, until) = (self.new_copy(node), super::copies::seed_deadline(&state, view.now));
        self.trial = Some(Trial { copy, until });
        // No other player tries it until it is known how this ends.
        self.shun(node, view, out);
        out.push(Action::Tell(Story::Trying { node: view.name(node) }));
        out.push(self.seed_of(copy, state));
    }

    pub(super) fn is_tried(&self, copy: KeeperCopy) -> bool {
        self.trial.is_some_and(|trial| trial.copy == copy)
    }

    pub(super) fn handle_trial_reply(
        &mut self,
        copy: KeeperCopy,
        reply: Result<KeeperReply, AskError>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        self.trial = None;
        match reply {
            Ok(KeeperReply::Acknowledged { .. }) => self.trust(copy.node, view, out),
            Ok(KeeperReply::Refused(Refusal::Fenced { generation }))
                if generation > self.generation() =>
            {
                return self.close_moved(out);
            }
            other => self.tell_of_failure(copy.node, super::opening::problem(other), view, out),
        }
        if matches!(self.phase, Phase::Active) {
            self.check_keepers(view, out);
        }
    }

    /// Gives up a trial whose time is over, and begins the one that is due.
    pub(super) fn try_again_when_short(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Active) || self.trial_due().is_none_or(|at| at > view.now) {
            return;
        }
        if let Some(Trial { copy, .. }) = self.trial.take() {
            self.tell_of_failure(copy.node, "silent".to_owned(), view, out);
        }
        self.check_keepers(view, out);
    }

    fn tell_of_failure(&self, node: NodeId, reason: String, view: View<'_>, out: &mut Vec<Action>) {
        out.push(Action::Tell(Story::TookNone { node: view.name(node), reason }));
    }
}
