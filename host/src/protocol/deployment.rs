//! Which code players run: a cluster's deployments, and the rules by which a player goes from one to
//! the next.
//!
//! ```text
//!   newest ──► older ──► … ──► the one that the cluster began with
//!      │ for this player, not withdrawn, and the player did not fail on it?
//!      ├─ no, or it pins players that exist ──► look at the next older one
//!      └─ yes ──► its code is the player's code: nothing to do; another one: a step to it
//! ```
//!
//! Deterministic: every node comes to the same decision from the same list, so no node tells another
//! one what a player should run. Taking a deployment back is no special case: it is withdrawn, and the
//! next older one is where its players should be.

mod audience;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

pub use audience::{Audience, InvalidAudience, Pattern, Share};
pub use report::{CodeClass, DeployRefusal, DeployReport, DeployRequest, DeploymentListing, Fate};

use super::{CodeHash, PlayerId, at_most};
use crate::limits::{
    DEPLOYMENT_NAME_BYTES_MAX, DEPLOYMENTS_MAX, FAILED_PLAYERS_MAX, FAILURE_REASON_BYTES_MAX,
    WITHDRAWAL_BYTES_MAX,
};

/// How players that run other code come to a deployment's code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crossing {
    /// The old code saves, the new code loads.
    #[default]
    Migrate,
    /// They do not: they stay with the code that they have. New players begin with the new code.
    Pin,
    /// They begin anew, and what they were is given up.
    Reset,
}

impl Crossing {
    /// Returns what somebody has asked for: to leave players where they are, to have them begin anew, or
    /// neither.
    pub fn chosen(pins: bool, resets: bool) -> Self {
        match (pins, resets) {
            (true, _) => Self::Pin,
            (false, true) => Self::Reset,
            (false, false) => Self::Migrate,
        }
    }
}

/// What somebody wants deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The code.
    pub code: CodeHash,
    /// What people call it; the name of its file.
    #[serde(deserialize_with = "cut::<{ DEPLOYMENT_NAME_BYTES_MAX }, _>")]
    pub name: String,
    /// Which players it is for.
    pub audience: Audience,
    /// How players on other code come to it.
    pub crossing: Crossing,
    /// It is withdrawn when more players than this fail on it. The directory remembers no more than
    /// [`FAILED_PLAYERS_MAX`] of them.
    pub failures_max: u32,
    /// A player fails on it when more than this of its first calls trap.
    pub traps_max: u32,
    /// Tells this wish from all others, so that asking twice deploys once.
    pub nonce: u64,
}

impl Plan {
    /// Returns what a cluster begins with.
    pub fn founding(code: CodeHash, name: &str) -> Self {
        Self {
            code,
            name: at_most(name, DEPLOYMENT_NAME_BYTES_MAX).to_owned(),
            audience: Audience::All,
            crossing: Crossing::Pin,
            failures_max: u32::MAX,
            traps_max: u32::MAX,
            nonce: 0,
        }
    }
}

/// What has become of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentStatus {
    /// Too many players that fail withdraw it.
    OnProbation,
    /// It has proved itself, or another one was deployed after it: only a person withdraws it.
    Settled,
    /// It holds for nobody any more.
    Withdrawn {
        /// Why, in words.
        #[serde(deserialize_with = "cut::<{ WITHDRAWAL_BYTES_MAX }, _>")]
        reason: String,
    },
}

/// One deployment in the cluster's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its place in the history; the first one is 1.
    pub number: u64,
    /// What was wanted.
    pub plan: Plan,
    /// What has become of it.
    pub status: DeploymentStatus,
    /// Players that failed on it and are not brought to it again, and why.
    pub failed: BTreeMap<PlayerId, String>,
}

impl Deployment {
    /// Whether it holds for anybody.
    pub fn is_in_force(&self) -> bool {
        !matches!(self.status, DeploymentStatus::Withdrawn { .. })
    }

    /// Whether it was taken back because too many players failed on it, and not by a person.
    fn was_found_bad(&self) -> bool {
        let most = usize::try_from(self.plan.failures_max).unwrap_or(usize::MAX);
        !self.is_in_force() && self.failed.len() > most
    }

    fn is_for(&self, player: &PlayerId) -> bool {
        self.is_in_force()
            && !self.failed.contains_key(player)
            && self.plan.audience.includes(self.plan.code, player)
    }

    fn is_full(&self) -> bool {
        self.is_in_force() && self.plan.audience == Audience::All
    }
}

/// What is known of each deployment, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployments {
    list: Vec<Deployment>,
    last: u64,
}

/// A change of the deployments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentChange {
    /// Another one, after the one that the asking person knows as the newest.
    Deploy {
        /// That one's number; 0 when there is none.
        after: u64,
        /// What is wanted.
        plan: Plan,
    },
    /// A player has failed on one.
    Failed {
        /// The deployment.
        number: u64,
        /// The player.
        player: PlayerId,
        /// Why, in words.
        #[serde(deserialize_with = "cut::<{ FAILURE_REASON_BYTES_MAX }, _>")]
        reason: String,
    },
    /// The newest one is taken back.
    Withdraw {
        /// Its number.
        number: u64,
        /// Why, in words.
        #[serde(deserialize_with = "cut::<{ WITHDRAWAL_BYTES_MAX }, _>")]
        reason: String,
    },
    /// One has proved itself.
    Settle {
        /// Its number.
        number: u64,
    },
}

/// Why a change of the deployments was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum DeploymentConflict {
    /// Somebody else was faster.
    #[error("deployment {newest} has been made meanwhile; look at `host code list` and ask again")]
    Newer {
        /// The newest deployment.
        newest: u64,
    },
    /// There is no such deployment that could be changed.
    #[error("deployment {number} is not in force")]
    NotInForce {
        /// The deployment that was named.
        number: u64,
    },
    /// There is no room in the history.
    #[error(
        "{DEPLOYMENTS_MAX} deployments for some players are in force; deploy one for all of them, or \
         take some back, before there is another one"
    )]
    Full,
    /// Without it players would have no code.
    #[error(
        "deployment {number} is the only one for all players, so there is nothing to go back to"
    )]
    Last {
        /// The deployment that was named.
        number: u64,
    },
}

/// What a player has to do to come to the code that it should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The deployment that says so.
    pub deployment: u64,
    /// Its code.
    pub code: CodeHash,
    /// Whether the player begins anew there.
    pub resets: bool,
}

/// What is watched of a player whose code has not proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probation {
    /// The deployment.
    pub deployment: u64,
    /// Traps of its first calls that are not too many yet.
    pub traps_max: u32,
}

impl DeploymentChange {
    /// Returns the same with texts as long as the directory keeps them.
    pub fn cut(mut self) -> Self {
        let (text, most) = match &mut self {
            Self::Deploy { plan, .. } => (&mut plan.name, DEPLOYMENT_NAME_BYTES_MAX),
            Self::Failed { reason, .. } => (reason, FAILURE_REASON_BYTES_MAX),
            Self::Withdraw { reason, .. } => (reason, WITHDRAWAL_BYTES_MAX),
            Self::Settle { .. } => return self,
        };
        text.truncate(at_most(text, most).len());
        self
    }
}

impl Deployments {
    /// Returns the deployments, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Deployment> {
        self.list.iter().rev()
    }

    /// Returns the number of the latest one; 0 when there is none.
    pub fn last_number(&self) -> u64 {
        self.last
    }

    /// Returns a deployment.
    pub fn get(&self, number: u64) -> Option<&Deployment> {
        self.list.iter().find(|deployment| deployment.number == number)
    }

    /// Returns the newest one that holds for anybody.
    pub fn newest(&self) -> Option<&Deployment> {
        self.newest_first().find(|deployment| deployment.is_in_force())
    }

    /// Returns the code that most players run: that of the newest one for all of them.
    pub fn current(&self) -> Option<CodeHash> {
        self.newest_first().find(|deployment| deployment.is_full()).map(|found| found.plan.code)
    }

    /// Returns the code with which a player begins.
    pub fn code_for(&self, player: &PlayerId) -> Option<CodeHash> {
        let found = self.newest_first().find(|deployment| self.holds_for(deployment, player));
        found.map(|found| found.plan.code)
    }

    /// Returns what a player that runs `code` has to do; `None` if that is nothing.
    pub fn step_for(&self, player: &PlayerId, code: CodeHash) -> Option<Step> {
        for deployment in self.newest_first().filter(|deployment| deployment.is_in_force()) {
            let (number, failed) = (deployment.number, &deployment.failed);
            let Plan { code: wanted, crossing, .. } = deployment.plan;
            if !self.holds_for(deployment, player) {
                // Whoever could not go back stays, and does not go back further.
                let newer = |it: &Deployment| it.plan.code == code && it.number > number;
                if failed.contains_key(player) && self.list.iter().any(newer) {
                    return None;
                }
                continue;
            }
            // When nobody could be told any more who failed, nobody else comes.
            if wanted == code || failed.len() >= FAILED_PLAYERS_MAX {
                return None;
            }
            let returns = self.returns(player, code, number);
            if crossing == Crossing::Pin && !returns {
                continue;
            }
            let resets = crossing == Crossing::Reset && !returns;
            return Some(Step { deployment: number, code: wanted, resets });
        }
        None
    }

    /// Whether a player comes from a newer deployment that does not hold for it any more. Whoever goes
    /// back gives up nothing by that, and is not left where it is.
    fn returns(&self, player: &PlayerId, code: CodeHash, number: u64) -> bool {
        self.list.iter().any(|newer| {
            newer.number > number
                && newer.plan.code == code
                && newer.plan.audience.includes(code, player)
                && (!newer.is_in_force() || newer.failed.contains_key(player))
        })
    }

    /// Whether a deployment is for a player, and its code did not fail when it was deployed for more
    /// players right after that. What holds for all of them only a newer one ends.
    fn holds_for(&self, deployment: &Deployment, player: &PlayerId) -> bool {
        if deployment.is_full() {
            return deployment.is_for(player);
        }
        let newer = self.list.iter().skip_while(|newer| newer.number <= deployment.number);
        let mut same = newer.take_while(|newer| newer.plan.code == deployment.plan.code);
        let failed = same.any(|it| it.was_found_bad() || it.failed.contains_key(player));
        deployment.is_for(player) && !failed
    }

    /// Returns what is watched of a player that runs `code`, if that has not proved itself.
    pub fn probation_of(&self, player: &PlayerId, code: CodeHash) -> Option<Probation> {
        let found = self.newest_first().find(|deployment| {
            deployment.plan.code == code && deployment.status == DeploymentStatus::OnProbation
        })?;
        let (deployment, traps_max) = (found.number, found.plan.traps_max);
        found.is_for(player).then_some(Probation { deployment, traps_max })
    }

    /// Whether it changes anything that a player fails on a deployment.
    pub fn minds(&self, number: u64, player: &PlayerId) -> bool {
        let found = self.get(number).filter(|deployment| deployment.is_in_force());
        found.is_some_and(|Deployment { failed, .. }| {
            failed.len() < FAILED_PLAYERS_MAX && !failed.contains_key(player)
        })
    }

    /// Returns the code that is kept although no player may run it: what holds, what a rollback would
    /// bring back, and what players go back to that failed.
    pub fn kept_code(&self) -> BTreeSet<CodeHash> {
        let (mut kept, mut full) = (BTreeSet::new(), BTreeSet::new());
        for deployment in self.newest_first().filter(|deployment| deployment.is_in_force()) {
            kept.insert(deployment.plan.code);
            if deployment.is_full() && deployment.failed.is_empty() {
                full.insert(deployment.plan.code);
            }
            if full.len() == 2 {
                break;
            }
        }
        kept
    }

    /// Makes a change. Returns the number of the deployment that was changed.
    ///
    /// # Errors
    ///
    /// [`DeploymentConflict`]; nothing is changed then.
    pub fn apply(&mut self, change: &DeploymentChange) -> Result<u64, DeploymentConflict> {
        match change {
            DeploymentChange::Deploy { after, plan } => self.deploy(*after, plan),
            DeploymentChange::Failed { number, player, reason } => {
                self.fail(*number, player, reason)
            }
            DeploymentChange::Withdraw { number, reason } => self.withdraw(*number, reason),
            DeploymentChange::Settle { number } => {
                let deployment = self.in_force(*number)?;
                deployment.status = DeploymentStatus::Settled;
                Ok(*number)
            }
        }
    }

    fn deploy(&mut self, after: u64, plan: &Plan) -> Result<u64, DeploymentConflict> {
        if let Some(made) = self.made(plan.code, plan.nonce) {
            return Ok(made.number);
        }
        if after != self.last {
            return Err(DeploymentConflict::Newer { newest: self.last });
        }
        if self.list.len() >= DEPLOYMENTS_MAX && !self.forget_one() {
            return Err(DeploymentConflict::Full);
        }
        for older in &mut self.list {
            if older.status == DeploymentStatus::OnProbation {
                older.status = DeploymentStatus::Settled;
            }
        }
        self.last += 1;
        let status = match self.last {
            1 => DeploymentStatus::Settled,
            _ => DeploymentStatus::OnProbation,
        };
        let (number, failed) = (self.last, BTreeMap::new());
        let named = u32::try_from(FAILED_PLAYERS_MAX - 1).unwrap_or(u32::MAX);
        let plan = Plan { failures_max: plan.failures_max.min(named), ..plan.clone() };
        self.list.push(Deployment { number, plan, status, failed });
        Ok(number)
    }

    /// Returns the deployment that this wish has made, if it has: it may have been told twice on its
    /// way.
    pub fn made(&self, code: CodeHash, nonce: u64) -> Option<&Deployment> {
        self.list.iter().find(|made| made.plan.nonce == nonce && made.plan.code == code)
    }

    /// Forgets the oldest one that nobody goes back to: one that was withdrawn, or else one that is
    /// older than what a rollback brings back. Returns whether there is one.
    fn forget_one(&mut self) -> bool {
        let withdrawn = self.list.iter().position(|deployment| !deployment.is_in_force());
        let full = self.list.iter().enumerate().rev().filter(|(_, it)| it.is_full());
        let before = full.map(|(at, _)| at).nth(1).filter(|at| *at > 0);
        let at = withdrawn.or(before.map(|_| 0));
        at.map(|at| self.list.remove(at)).is_some()
    }

    fn fail(
        &mut self,
        number: u64,
        player: &PlayerId,
        reason: &str,
    ) -> Result<u64, DeploymentConflict> {
        let may_withdraw = self.is_withdrawable(number);
        let deployment = self.in_force(number)?;
        let reason = at_most(reason, FAILURE_REASON_BYTES_MAX);
        if deployment.failed.len() < FAILED_PLAYERS_MAX {
            deployment.failed.entry(player.clone()).or_insert_with(|| reason.to_owned());
        }
        let failed = deployment.failed.len();
        let too_many = failed > usize::try_from(deployment.plan.failures_max).unwrap_or(usize::MAX);
        if too_many && may_withdraw && deployment.status == DeploymentStatus::OnProbation {
            let reason = format!("{failed} players failed on it; {player}: {reason}");
            debug_assert!(reason.len() <= WITHDRAWAL_BYTES_MAX, "its parts are bounded");
            deployment.status = DeploymentStatus::Withdrawn { reason };
        }
        Ok(number)
    }

    fn withdraw(&mut self, number: u64, reason: &str) -> Result<u64, DeploymentConflict> {
        if self.get(number).is_some_and(|deployment| !deployment.is_in_force()) {
            return Ok(number);
        }
        if self.in_force(number).is_ok() && self.newest().is_none_or(|d| d.number != number) {
            return Err(DeploymentConflict::Newer { newest: self.last });
        }
        if !self.is_withdrawable(number) {
            self.in_force(number)?;
            return Err(DeploymentConflict::Last { number });
        }
        let deployment = self.in_force(number)?;
        let reason = at_most(reason, WITHDRAWAL_BYTES_MAX).to_owned();
        deployment.status = DeploymentStatus::Withdrawn { reason };
        Ok(number)
    }

    /// Whether there is another one for all players.
    fn is_withdrawable(&self, number: u64) -> bool {
        self.list.iter().any(|deployment| deployment.is_full() && deployment.number != number)
    }

    fn in_force(&mut self, number: u64) -> Result<&mut Deployment, DeploymentConflict> {
        let found = self.list.iter_mut().find(|deployment| deployment.number == number);
        let in_force = found.filter(|deployment| deployment.is_in_force());
        in_force.ok_or(DeploymentConflict::NotInForce { number })
    }
}

/// Reads a text, and cuts what is longer than this, in bytes: the directory keeps it on every node. To
/// refuse it would be to refuse what another node has written to the log already.
pub(super) fn cut<'de, const MAX: usize, D>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    let mut text = String::deserialize(deserializer)?;
    text.truncate(at_most(&text, MAX).len());
    Ok(text)
}

#[cfg(test)]
mod tests;
