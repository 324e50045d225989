//! Asking a cluster: several nodes in turn, the same key each time, until one answers.
//!
//! `attempts` decides whom to ask next and what a failure says about the call's effect; this file
//! only asks, waits and reads replies.

mod attempts;
mod crashing;
mod deploying;
mod dialer;
mod overlooking;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::attempts::{Attempts, Key, Step};
pub(super) use self::attempts::{Failed, Patience, Problem, Reach};
pub(super) use self::crashing::Crashed;
pub(super) use self::deploying::Progress;
pub(super) use self::dialer::{Dialer, DialerError};
use crate::clock;
use crate::protocol::{
    Answer, Bundle, Call, CallKey, CallReply, CallRequest, Description, DrainReport, Exhibit,
    Export, NodeId, NodeName, NodeRecord, Operation, Outcome, PlayerId, PlayerListing, Quarantine,
    Reply, Request, SettingsChange, SettingsReport, Subject,
};

/// What to do when nobody knows whether a player was forgotten: not the same again, for the next one
/// of its name may be another player.
const FORGET_AGAIN: &str =
    "it may have been forgotten: look at it with `host players --all` before you ask again";

/// What to do when nobody knows whether a copy was taken.
const RECOVER_AGAIN: &str = "look at the player with `host points`; if it is still unavailable, run \
                             `host recover` again";

/// What to do when nobody knows whether a player was released.
const RELEASE_AGAIN: &str = "look at `host quarantine list`; if the player is still there, run `host \
                             quarantine release` again";

/// The way to nodes.
pub(super) trait Ask {
    /// Asks the first of `targets` that is reached, and no other; they are at least one, those to be
    /// preferred first. Takes at most `within`.
    async fn ask(&mut self, targets: &[String], request: Request, within: Duration) -> Asked;
}

/// What came of asking.
#[derive(Debug)]
pub(super) struct Asked {
    /// Why each target before the one that was asked, in order, was not: nothing was sent to them.
    pub(super) passed: Vec<Problem>,
    /// What the target after those said, or why it said nothing: that tells whether the request may
    /// have been done.
    pub(super) reply: Result<Reply, Problem>,
}

/// All players that were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Players {
    /// The players in order of their ids.
    pub(super) players: Vec<PlayerListing>,
    /// Nodes that did not answer; their players lack points and position.
    pub(super) silent: Vec<NodeName>,
}

/// The nodes and what the directory says of the asked one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    /// The nodes by name.
    pub(super) nodes: Vec<NodeRecord>,
    /// The asked node.
    pub(super) asked: NodeName,
    /// The directory's leader.
    pub(super) leader: Option<NodeId>,
    /// The directory's voters.
    pub(super) voters: Vec<NodeId>,
}

/// One caller.
#[derive(Debug)]
pub(super) struct Client<A> {
    way: A,
}

impl<A: Ask> Client<A> {
    /// Returns a caller that reaches nodes this way.
    pub(super) fn new(way: A) -> Self {
        Self { way }
    }

    /// Returns the way to nodes.
    pub(super) fn way(&self) -> &A {
        &self.way
    }

    /// Returns the way to nodes, to end it.
    pub(super) fn into_way(self) -> A {
        self.way
    }

    /// Calls a player. Every attempt bears the call's key, so it is applied at most once. Without
    /// a key it makes one, and another one if that proves too old before anything can have been
    /// applied. Returns the key that counts, and the answer or why there is none: `Failed` says
    /// whether the call may have been applied.
    pub(super) async fn call(
        &mut self,
        reach: &Reach,
        player: &PlayerId,
        operation: &Operation,
        key: Option<CallKey>,
    ) -> (CallKey, Result<Answer, Failed>) {
        let made = || Key::Made(CallKey::random(clock::unix_millis()));
        let key = key.map_or_else(made, Key::Given);
        let (Key::Given(first) | Key::Made(first)) = key;
        let request = |within: Duration, key: Option<CallKey>| {
            // The node gives up a little earlier, so that its own account of it still arrives.
            let spare = (within / 4).min(Duration::from_millis(250));
            let deadline_ms = u64::try_from((within - spare).as_millis()).unwrap_or(u64::MAX);
            let (player, operation) = (player.clone(), operation.clone());
            let call = Call { player, key: key.unwrap_or(first), operation };
            CallRequest::Call { call, deadline_ms: deadline_ms.max(1) }
        };
        let mut attempts = Attempts::of_call(reach, clock::now(), key);
        if *operation == Operation::Forget {
            // The next one of this name may be another player.
            attempts = attempts.once().advising(FORGET_AGAIN);
        }
        if matches!(operation, Operation::Recover(_)) {
            attempts = attempts.advising(RECOVER_AGAIN);
        }
        if *operation == Operation::Release {
            attempts = attempts.advising(RELEASE_AGAIN);
        }
        let end = self
            .exchange(&mut attempts, reach, request, |reply| {
                let CallReply::Called(called) = reply else { return Err(Problem::Alien) };
                called.map_err(Problem::Call)
            })
            .await;
        (attempts.key().unwrap_or(first), end.map(|(answer, _)| answer))
    }

    /// Lists players: those of the asked node, or all.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn players(&mut self, reach: &Reach, all: bool) -> Result<Players, Failed> {
        let mut list = Players::default();
        let mut reach = reach.clone();
        loop {
            let after = list.players.last().map(|listing| listing.player.clone());
            let request = |_, _| CallRequest::Players { all, after: after.clone() };
            let mut attempts = Attempts::of_reading(&reach, clock::now());
            let ((mut page, more, silent), target) = self
                .exchange(&mut attempts, &reach, request, |reply| {
                    let CallReply::Players { players, more, silent } = reply else {
                        return Err(Problem::Alien);
                    };
                    Ok((players, more, silent))
                })
                .await?;
            // The next page has to come from the node that gave this one.
            reach.targets = vec![target];
            let last = page.is_empty() || !more;
            list.players.append(&mut page);
            list.silent.extend(silent);
            if last {
                list.silent.sort();
                list.silent.dedup();
                return Ok(list);
            }
        }
    }

    /// Lists the nodes.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn nodes(&mut self, reach: &Reach) -> Result<Nodes, Failed> {
        Ok(self.nodes_and_target(reach).await?.0)
    }

    /// Lists the nodes, and says which target has told.
    async fn nodes_and_target(&mut self, reach: &Reach) -> Result<(Nodes, String), Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now());
        let request = |_, _| CallRequest::Nodes;
        self.exchange(&mut attempts, reach, request, |reply| {
            let CallReply::Nodes { nodes, asked, leader, voters } = reply else {
                return Err(Problem::Alien);
            };
            Ok(Nodes { nodes, asked, leader, voters })
        })
        .await
    }

    /// Lists the players in quarantine.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn quarantined(&mut self, reach: &Reach) -> Result<Vec<Quarantine>, Failed> {
        let (mut list, mut after) = (Vec::new(), None);
        let mut reach = reach.clone();
        loop {
            let request = |_, _| CallRequest::Quarantined { after: after.clone() };
            let mut attempts = Attempts::of_reading(&reach, clock::now());
            let ((mut page, next), target) = self
                .exchange(&mut attempts, &reach, request, |reply| {
                    let CallReply::Quarantined { players, next } = reply else {
                        return Err(Problem::Alien);
                    };
                    Ok((players, next))
                })
                .await?;
            // The next page has to come from the node that gave this one.
            reach.targets = vec![target];
            list.append(&mut page);
            if next.is_none() {
                return Ok(list);
            }
            after = next;
        }
    }

    /// Asks for the functions of a code.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn describe(
        &mut self,
        reach: &Reach,
        subject: &Subject,
    ) -> Result<Box<Description>, Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now());
        let request = |_, _| CallRequest::Describe(subject.clone());
        let (description, _) = self
            .exchange(&mut attempts, reach, request, |reply| {
                let CallReply::Described(described) = reply else { return Err(Problem::Alien) };
                described.map_err(Problem::Call)
            })
            .await?;
        Ok(description)
    }

    /// Asks for what is needed to look at a failure of a player.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn bundle(
        &mut self,
        reach: &Reach,
        player: &PlayerId,
        exhibit: Exhibit,
    ) -> Result<Box<Bundle>, Failed> {
        let (_, end) = self.call(reach, player, &Operation::Bundle(exhibit), None).await;
        match end? {
            Answer::Bundled(bundle) => Ok(bundle),
            Answer::Returned { .. }
            | Answer::Trapped(_)
            | Answer::Forgotten { .. }
            | Answer::Released { .. }
            | Answer::HandedOver(_)
            | Answer::Exported(_)
            | Answer::Imported { .. } => Err(alien()),
        }
    }

    /// Looks at one player; `None` when there is none.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn look(
        &mut self,
        reach: &Reach,
        player: &PlayerId,
    ) -> Result<Option<Box<PlayerListing>>, Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now());
        let request = |_, _| CallRequest::Look { player: player.clone(), everywhere: true };
        let (seen, _) = self
            .exchange(&mut attempts, reach, request, |reply| {
                let CallReply::Looked(seen) = reply else { return Err(Problem::Alien) };
                Ok(seen)
            })
            .await?;
        Ok(seen)
    }

    /// Asks for a player's state.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(super) async fn export(
        &mut self,
        reach: &Reach,
        player: &PlayerId,
    ) -> Result<Box<Export>, Failed> {
        let (_, end) = self.call(reach, player, &Operation::Export, None).await;
        match end? {
            Answer::Exported(export) => Ok(export),
            _ => Err(alien()),
        }
    }

    /// Has a node hand over what it has and stop.
    ///
    /// # Errors
    ///
    /// `Failed`; the node may drain nevertheless.
    pub(super) async fn drain(&mut self, reach: &Reach) -> Result<DrainReport, Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now());
        let request = |_, _| CallRequest::Drain;
        let (report, _) = self
            .exchange(&mut attempts, reach, request, |reply| match reply {
                CallReply::Drained(report) => Ok(report),
                CallReply::Called(Err(error)) => Err(Problem::Call(error)),
                CallReply::Called(Ok(_))
                | CallReply::Players { .. }
                | CallReply::Nodes { .. }
                | CallReply::Settings(_)
                | CallReply::Traffic(_)
                | CallReply::Quarantined { .. }
                | CallReply::Deployed(_)
                | CallReply::RolledBack(_)
                | CallReply::Deployments(_)
                | CallReply::Prepared(_)
                | CallReply::Described(_)
                | CallReply::News { .. }
                | CallReply::Stats(_)
                | CallReply::Crashed(_)
                | CallReply::Looked(_)
                | CallReply::Overview(_)
                | CallReply::PlayersOf(_)
                | CallReply::Code(_) => Err(Problem::Alien),
            })
            .await?;
        Ok(report)
    }

    /// Changes what holds for the whole cluster, or asks for it with an empty change. Returns what
    /// holds now.
    ///
    /// # Errors
    ///
    /// `Failed`, which says whether the change may have been made.
    pub(super) async fn set(
        &mut self,
        reach: &Reach,
        change: SettingsChange,
    ) -> Result<SettingsReport, Failed> {
        let mut attempts = if change.is_empty() {
            Attempts::of_reading(reach, clock::now())
        } else {
            Attempts::of_setting(reach, clock::now())
        };
        let request = |_, _| CallRequest::Configure(change);
        let (report, _) = self
            .exchange(&mut attempts, reach, request, |reply| {
                let CallReply::Settings(report) = reply else { return Err(Problem::Alien) };
                report.map_err(Problem::Unanswered)
            })
            .await?;
        Ok(report)
    }

    /// Asks until `read` finds an answer; returns it and the node that gave it.
    async fn exchange<T>(
        &mut self,
        attempts: &mut Attempts,
        reach: &Reach,
        request: impl Fn(Duration, Option<CallKey>) -> CallRequest,
        read: impl Fn(CallReply) -> Result<T, Problem>,
    ) -> Result<(T, String), Failed> {
        loop {
            match attempts.step(clock::now()) {
                Step::Try { targets, within } => {
                    let targets = &reach.targets[targets];
                    let request = Request::Call(request(within, attempts.key()));
                    let Asked { passed, reply } = self.way.ask(targets, request, within).await;
                    let target = &targets[passed.len()];
                    for (target, problem) in targets.iter().zip(passed) {
                        tracing::debug!(%target, ?problem, "the node was not reached");
                        attempts.failed(target, problem);
                    }
                    let read = match reply {
                        Ok(Reply::Call(reply)) => read(reply),
                        Ok(Reply::Busy) => Err(Problem::Busy),
                        Ok(
                            Reply::Member(_)
                            | Reply::Directory(_)
                            | Reply::Keeper(_)
                            | Reply::Unrelayed(_),
                        ) => Err(Problem::Alien),
                        Err(problem) => Err(problem),
                    };
                    match read {
                        Ok(answer) => return Ok((answer, target.clone())),
                        Err(problem) => {
                            tracing::debug!(%target, ?problem, "the node gave no answer");
                            attempts.failed(target, problem);
                        }
                    }
                }
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::GiveUp => return Err(attempts.verdict()),
            }
        }
    }
}

fn alien() -> Failed {
    let message = "the node answered another question; is it of another version?".to_owned();
    Failed { code: "alien", message, outcome: Outcome::NotApplied }
}
