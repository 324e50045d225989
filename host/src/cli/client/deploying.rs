//! Deploying code, and watching players come to it.

use std::time::Duration;

use super::{Ask, Attempts, Client, Failed, Problem, Reach};
use crate::clock;
use crate::protocol::{
    CallReply, CallRequest, DeployRefusal, DeployReport, DeployRequest, DeploymentListing,
    DeploymentStatus,
};

/// What to do when nobody knows whether something was deployed.
const DEPLOY_AGAIN: &str = "look at `host code list` before you deploy it again";

/// Pause between the first two looks at how far the players are; each looks at all of them.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Pause between later ones.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Time without any progress after which nobody waits any more: a player whose copies cannot be
/// reached may never come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far players have come to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Progress {
    /// The deployment.
    pub(in crate::cli) listing: DeploymentListing,
    /// Players that are to go anywhere and have not yet.
    pub(in crate::cli) due: u64,
}

impl Progress {
    /// Why it was taken back, if it was.
    pub(in crate::cli) fn withdrawn(&self) -> Option<&str> {
        match &self.listing.status {
            DeploymentStatus::Withdrawn { reason } => Some(reason),
            DeploymentStatus::OnProbation | DeploymentStatus::Settled => None,
        }
    }
}

impl<A: Ask> Client<A> {
    /// Deploys code, or only asks what would come of it.
    ///
    /// # Errors
    ///
    /// `Failed`, which says whether it may have been deployed.
    pub(in crate::cli) async fn deploy(
        &mut self,
        reach: &Reach,
        request: &DeployRequest,
    ) -> Result<Result<DeployReport, DeployRefusal>, Failed> {
        let mut attempts =
            Attempts::of_setting(reach, clock::now()).patient().advising(DEPLOY_AGAIN);
        let ask = |_, _| CallRequest::Deploy(Box::new(request.clone()));
        let asked = self.exchange(&mut attempts, reach, ask, |reply| {
            let CallReply::Deployed(decided) = reply else { return Err(Problem::Alien) };
            decided.map_err(Problem::Unanswered)
        });
        Ok(Box::pin(asked).await?.0)
    }

    /// Takes the newest deployment back, or that one only.
    ///
    /// # Errors
    ///
    /// `Failed`, which says whether it may have been done.
    pub(in crate::cli) async fn roll_back(
        &mut self,
        reach: &Reach,
        number: Option<u64>,
    ) -> Result<Result<u64, DeployRefusal>, Failed> {
        // Without its number, asking twice could take two of them back.
        let number = match number {
            Some(number) => Some(number),
            None => {
                let in_force = |listing: &DeploymentListing| {
                    !matches!(listing.status, DeploymentStatus::Withdrawn { .. })
                };
                let deployments = self.deployments(reach).await?;
                deployments.into_iter().find(in_force).map(|listing| listing.number)
            }
        };
        let mut attempts =
            Attempts::of_setting(reach, clock::now()).patient().advising(DEPLOY_AGAIN);
        let ask = |_, _| {
            let reason = "by hand".to_owned();
            CallRequest::RollBack { number, reason }
        };
        let asked = self.exchange(&mut attempts, reach, ask, |reply| {
            let CallReply::RolledBack(decided) = reply else { return Err(Problem::Alien) };
            decided.map_err(Problem::Unanswered)
        });
        Ok(Box::pin(asked).await?.0)
    }

    /// Lists the deployments, newest first.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub(in crate::cli) async fn deployments(
        &mut self,
        reach: &Reach,
    ) -> Result<Vec<DeploymentListing>, Failed> {
        let mut attempts = Attempts::of_reading(reach, clock::now());
        let asked = self.exchange(
            &mut attempts,
            reach,
            |_, _| CallRequest::Deployments,
            |reply| {
                let CallReply::Deployments(list) = reply else { return Err(Problem::Alien) };
                Ok(list)
            },
        );
        Ok(Box::pin(asked).await?.0)
    }

    /// Watches until no player is on its way any more, or for as long as `reach` says. `None` when
    /// nobody remembers the deployment.
    ///
    /// # Errors
    ///
    /// `Failed`, when nobody says how far it is.
    pub(in crate::cli) async fn watch(
        &mut self,
        reach: &Reach,
        number: u64,
    ) -> Result<Option<Progress>, Failed> {
        let until = clock::now() + reach.deadline;
        let (mut least, mut since, mut pause) = (u64::MAX, clock::now(), LOOK_PAUSE);
        loop {
            let list = self.deployments(reach).await?;
            let (now, due) = (clock::now(), list.iter().map(|listing| listing.due).sum());
            if due < least {
                (least, since) = (due, now);
            }
            let listing = list.into_iter().find(|listing| listing.number == number);
            let Some(listing) = listing else { return Ok(None) };
            let tired = now.duration_since(since) > PATIENCE || now + pause >= until;
            if due == 0 || tired {
                return Ok(Some(Progress { listing, due }));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_PAUSE_MAX);
        }
    }
}
