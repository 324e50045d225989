//! Who takes part in the directory: a new cluster, a node that starts, the voters.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EmptyNode;
use openraft::error::{InitializeError, RaftError};

use super::error::Members;
use super::{AnnounceError, Command, Directory, DirectoryError, Outcome, within_deadline};
use crate::protocol::{Announcement, DeploymentChange, NodeId, NodeRecord, Plan, SettingsChange};

impl Directory {
    /// Begins a new cluster with this node as its only member, these settings, and this code.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Initialized`] when the data folder knows a cluster already.
    pub async fn initialize(
        &self,
        me: Announcement,
        settings: SettingsChange,
        plan: Plan,
    ) -> Result<(), DirectoryError> {
        let voter = BTreeMap::from([(self.0.me.0, EmptyNode::new())]);
        self.0.raft.initialize(voter).await.map_err(|error| match error {
            RaftError::Fatal(fatal) => fatal.into(),
            RaftError::APIError(
                InitializeError::NotAllowed(_) | InitializeError::NotInMembers(_),
            ) => DirectoryError::Initialized,
        })?;
        within_deadline(async {
            let mut metrics = self.0.metrics.clone();
            let elected = metrics.wait_for(|now| now.current_leader == Some(now.id)).await;
            elected.map(drop).map_err(|_| DirectoryError::Stopping)
        })
        .await?;
        // Before the node is up, and so before any player: none is ever kept otherwise.
        if !settings.is_empty() {
            self.commit(Command::Configure(settings)).await?;
        }
        self.commit(Command::Deploy(DeploymentChange::Deploy { after: 0, plan })).await?;
        self.commit(Command::NodeUp(me)).await.map(drop)
    }

    /// Takes a node's start into the directory and lets the node follow it. For the leader; doing
    /// it twice does no harm. Returns all nodes.
    ///
    /// # Errors
    ///
    /// [`AnnounceError::NotLeader`]: ask that node. [`AnnounceError::Refused`].
    pub async fn announce(
        &self,
        announcement: Announcement,
    ) -> Result<Vec<NodeRecord>, AnnounceError> {
        let id = announcement.id;
        let (outcome, _) = self.commit(Command::NodeUp(announcement)).await?;
        if let Outcome::NodeUp(Err(refusal)) = outcome {
            return Err(AnnounceError::Refused(refusal));
        }
        if !self.members().contains(&id) {
            let learner = BTreeMap::from([(id.0, EmptyNode::new())]);
            self.change_members(Members::AddNodes(learner)).await?;
        }
        self.drop_replaced_members().await?;
        Ok(self.nodes().to_vec())
    }

    /// Makes these nodes the voters; the others go on following. For the leader, one change at a
    /// time. Returns when a majority of the old and one of the new voters have agreed.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotLeader`], [`DirectoryError::InProgress`],
    /// [`DirectoryError::UnknownNode`]; [`DirectoryError::Late`] leaves the change under way.
    pub async fn set_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), DirectoryError> {
        let voters = voters.into_iter().map(|node| node.0).collect();
        self.change_members(Members::ReplaceAllVoters(voters)).await?;
        self.drop_replaced_members().await
    }

    /// Ends the membership of nodes that the directory does not know any more: nodes that lost
    /// their disk and came back under a new number. One that still votes goes when it does not.
    async fn drop_replaced_members(&self) -> Result<(), DirectoryError> {
        let voters: BTreeSet<_> = self.voters().into_iter().collect();
        let replaced: BTreeSet<u64> = self
            .members()
            .difference(&voters)
            .filter(|id| self.node(**id).is_none())
            .map(|id| id.0)
            .collect();
        if replaced.is_empty() {
            return Ok(());
        }
        self.change_members(Members::RemoveNodes(replaced)).await
    }

    async fn change_members(&self, change: Members) -> Result<(), DirectoryError> {
        let retain = true; // a voter that votes no more still follows
        within_deadline(async {
            self.0.raft.change_membership(change, retain).await?;
            Ok(())
        })
        .await
    }

    /// Returns the nodes that follow the directory, voters or not.
    fn members(&self) -> BTreeSet<NodeId> {
        let metrics = self.0.metrics.borrow();
        metrics.membership_config.nodes().map(|(id, _)| NodeId(*id)).collect()
    }
}
