//! Opening a player: claim it, then read it from its keepers.

use std::time::{Duration, Instant};

use super::mending::is_untouched;
use super::{Acking, Action, Life, Machine, NO_MAJORITY, Phase, Retry, Story, View};
use crate::net::AskError;
use crate::protocol::{
    CallError, ChangeOutcome, Fetch, KeeperCopy, KeeperReply, KeeperRequest, NodeId, PlayerChange,
    PlayerState, Refusal, Seq,
};

/// Time for a keeper to send its copy, the largest one over a slow network. One that goes down is not
/// waited for.
const FETCH_DEADLINE: Duration = Duration::from_secs(10);

/// Copies that were asked for, and what came.
#[derive(Debug)]
pub(super) struct Fetching {
    waiting: Vec<KeeperCopy>,
    got: Vec<(KeeperCopy, PlayerState)>,
    failed: Vec<String>,
    pub(super) until: Instant,
}

impl Fetching {
    /// Waits for one copy.
    pub(super) fn one(copy: KeeperCopy, now: Instant) -> Self {
        let until = now + FETCH_DEADLINE;
        Self { waiting: vec![copy], got: Vec::new(), failed: Vec::new(), until }
    }
}

impl Machine {
    /// Begins: a new player is seeded, a known one is claimed first.
    pub(super) fn open(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let Some(record) = self.record.clone() else {
            return self.settle(view, out);
        };
        if self.wake(view, out) {
            return;
        }
        let mut copies = record.keepers.iter();
        if !record.is_forgotten() && !copies.any(|copy| is_reachable(copy, self.me.node, view)) {
            let down = record.keepers.iter().map(|copy| down(copy, view)).collect();
            return self.fail_unavailable(down, out);
        }
        if record.owner != self.me {
            out.push(Action::Tell(Story::Claiming { from: view.name(record.owner.node) }));
        }
        "the directory has not confirmed the claim".clone_into(&mut self.trouble);
        self.phase = Phase::Claiming;
        out.push(Action::Change(PlayerChange {
            player: self.player.clone(),
            expect: record.generation,
            by: self.me,
            owner: self.me,
            keepers: record.keepers,
            code: record.code,
            failed: record.failed,
        }));
    }

    /// Opens a player that nobody calls. One that does not exist is not created by that.
    pub(super) fn handle_open(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        // One that runs is only urged to go over to other code.
        self.urge();
        if !matches!(self.phase, Phase::New) || self.stopping {
            return;
        }
        if self.exists() {
            return self.open(view, out);
        }
        self.phase = Phase::Closed;
        out.push(Action::Close);
    }

    pub(super) fn handle_claimed(
        &mut self,
        outcome: Option<ChangeOutcome>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        match (outcome, &mut self.record) {
            (Some(ChangeOutcome::Changed(generation)), Some(record)) => {
                record.generation = generation;
                record.owner = self.me;
                if record.is_forgotten() {
                    return self.settle(view, out);
                }
                out.push(Action::Tell(Story::Claimed));
                self.fetch(view, out);
            }
            (Some(ChangeOutcome::Changed(_) | ChangeOutcome::Conflict(_)), _) => {
                self.phase = Phase::New;
                self.close_moved(out);
            }
            (None, _) => self.pause(Retry::Claim, NO_MAJORITY, view.now),
        }
    }

    /// Asks every keeper that can be reached for its copy.
    fn fetch(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        let waiting = record.keepers.clone();
        let (got, failed, until) = (Vec::new(), Vec::new(), view.now + FETCH_DEADLINE);
        "no keeper has sent its copy".clone_into(&mut self.trouble);
        self.phase = Phase::Fetching(Fetching { waiting, got, failed, until });
        self.check_sources(view, out);
        let Phase::Fetching(fetching) = &self.phase else { return };
        for copy in &fetching.waiting {
            out.push(self.fetch_of(*copy, None));
        }
    }

    /// Asks for a copy under the present generation. `accept` is the position at which it is taken
    /// although it may miss acknowledged calls.
    pub(super) fn fetch_of(&self, copy: KeeperCopy, accept: Option<Seq>) -> Action {
        let fetch = Fetch {
            player: self.player.clone(),
            copy: copy.copy,
            generation: self.generation(),
            writer: self.me,
            accept,
        };
        Action::Ask { copy, number: 0, request: KeeperRequest::Fetch(fetch) }
    }

    pub(super) fn handle_fetch_reply(
        &mut self,
        copy: KeeperCopy,
        reply: Result<KeeperReply, AskError>,
        view: View<'_>,
        out: &mut Vec<Action>,
    ) {
        let Phase::Fetching(fetching) = &mut self.phase else { return };
        if !fetching.waiting.contains(&copy) {
            return;
        }
        fetching.waiting.retain(|waiting| *waiting != copy);
        match reply {
            Ok(KeeperReply::Fetched(state)) => fetching.got.push((copy, *state)),
            other => {
                if self.accepted == Some(copy) && is_untouched(&other) {
                    self.may_be_recovered = false;
                }
                let problem = problem(other);
                fetching.failed.push(format!("{} ({problem})", view.name(copy.node)));
            }
        }
        if fetching.waiting.is_empty() {
            self.finish_fetching(view, out);
        }
    }

    /// Does not wait for a keeper that went down.
    pub(super) fn check_sources(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let me = self.me.node;
        let Phase::Fetching(fetching) = &mut self.phase else { return };
        let (waiting, lost): (Vec<_>, Vec<_>) =
            fetching.waiting.iter().copied().partition(|copy| is_reachable(copy, me, view));
        fetching.waiting = waiting;
        fetching.failed.extend(lost.iter().map(|copy| down(copy, view)));
        if fetching.waiting.is_empty() {
            self.finish_fetching(view, out);
        }
    }

    /// Takes the copy that got furthest: every acknowledged call is on each of them, so the others
    /// lack at most calls that nobody was told about. Those are given full copies anew.
    pub(super) fn finish_fetching(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        let Phase::Fetching(fetching) = std::mem::replace(&mut self.phase, Phase::New) else {
            return;
        };
        let Fetching { waiting, got, mut failed, .. } = fetching;
        failed.extend(waiting.iter().map(|copy| format!("{} (silent)", view.name(copy.node))));
        let Some(furthest) = got.iter().map(|(_, state)| state.seq).max() else {
            return match self.acceptable(view) {
                Some((copy, seq)) => self.fetch_accepted(copy, seq, view, out),
                None => self.fail_unavailable(failed, out),
            };
        };
        for (copy, state) in got {
            if state.seq != furthest {
                continue;
            }
            self.keepers.push(Acking { copy, acknowledged: self.sent });
            if self.state.is_none() {
                let from = view.name(copy.node);
                out.push(Action::Tell(Story::Fetched { from, seq: state.seq }));
                self.state = Some(state);
            }
        }
        self.settle(view, out);
    }

    pub(super) fn fail_unavailable(&mut self, holders: Vec<String>, out: &mut Vec<Action>) {
        if let Some(waiting) = self.take_forgetter() {
            return self.forget(waiting, out);
        }
        out.push(Action::Tell(Story::Unavailable { holders: holders.clone() }));
        let player = self.player.clone();
        self.fail_all(&CallError::Unavailable { player, holders }, out);
    }

    /// Makes an instance of what was settled, if anybody waits for one.
    pub(super) fn revive(&mut self, view: View<'_>, out: &mut Vec<Action>) {
        if self.is_held_back(view, out) {
            return;
        }
        if self.life == Life::None && self.queue.is_empty() {
            self.life = Life::Unasked;
            out.push(Action::Tell(Story::Serving { seq: self.seq() }));
        }
        if self.life == Life::None {
            self.phase = Phase::Reviving;
            self.life = Life::Coming;
            out.push(Action::Restore);
        } else {
            self.phase = Phase::Active;
            self.check_keepers(view, out);
        }
    }

    /// An instance holds the state: a new one, one after a trap, or one after a rest.
    pub(super) fn handle_restored(&mut self, micros: u64, view: View<'_>, out: &mut Vec<Action>) {
        self.life = Life::Live;
        self.used = Some(view.now);
        let reviving = matches!(self.phase, Phase::Reviving);
        if let Some((waiting, message)) = self.crashed.take() {
            self.answer_crash(waiting, message, micros, view, out);
        } else if reviving {
            out.push(Action::Tell(Story::Serving { seq: self.seq() }));
            self.phase = Phase::Active;
        }
        if self.begins_anew() {
            if matches!(self.phase, Phase::Active) {
                self.settle(view, out);
            }
        } else if reviving {
            self.check_keepers(view, out);
        }
    }
}

/// Whether node `me` may reach this copy now.
pub(super) fn is_reachable(copy: &KeeperCopy, me: NodeId, view: View<'_>) -> bool {
    copy.node == me || view.is_alive(copy.node)
}

fn down(copy: &KeeperCopy, view: View<'_>) -> String {
    format!("{} (down)", view.name(copy.node))
}

/// Says in a few words what is wrong with a copy.
pub(super) fn problem(reply: Result<KeeperReply, AskError>) -> String {
    match reply {
        Ok(KeeperReply::Refused(Refusal::Stale { seq })) => {
            format!(
                "not trusted: its machine restarted or its disk was damaged; it is at seq {seq}"
            )
        }
        Ok(KeeperReply::Refused(Refusal::Gap { have: None })) => "has no such copy".to_owned(),
        Ok(KeeperReply::Refused(Refusal::Gap { have: Some(seq) })) => {
            format!("its copy is at seq {seq}")
        }
        Ok(KeeperReply::Refused(Refusal::Full { copies })) => {
            format!("has {copies} copies waiting already")
        }
        Ok(KeeperReply::Refused(Refusal::Disk { reason })) => format!("its disk failed: {reason}"),
        Ok(KeeperReply::Refused(Refusal::Fenced { generation })) => {
            format!("knows generation {generation}")
        }
        Ok(KeeperReply::Acknowledged { .. } | KeeperReply::Fetched(_)) => {
            "answered something else".to_owned()
        }
        Err(error) => error.to_string(),
    }
}
