//! What can go wrong with the directory, by what the caller can do about it.

use openraft::error::{ClientWriteError, Fatal, RaftError};
use openraft::{ChangeMembers, EmptyNode};
use thiserror::Error;

use crate::protocol::{JoinRefusal, NodeId};
use crate::storage::StoreError;

/// Why the directory did not do what it was asked.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// This node does not lead. Nothing was done: ask the one that does.
    #[error("this node does not lead the directory")]
    NotLeader(Option<NodeId>),
    /// No majority answered in time. It may still be done: look before asking again.
    #[error("no majority of the directory's voters answered in time")]
    Late,
    /// Another change of the voters is under way. Nothing was done: ask again.
    #[error("another change of the voters is under way")]
    InProgress,
    /// A node that should vote does not take part yet. Nothing was done.
    #[error("node {0} does not take part yet")]
    UnknownNode(NodeId),
    /// A cluster without voters cannot decide anything. Nothing was done.
    #[error("there must be a voter")]
    NoVoters,
    /// The data folder knows a cluster already. Nothing was done.
    #[error("the data folder knows a cluster already")]
    Initialized,
    /// The directory was shut down.
    #[error("the directory is stopping")]
    Stopping,
    /// The store failed while it was opened.
    #[error("cannot read the directory")]
    Store(#[from] StoreError),
    /// Raft cannot go on on this node, most likely for its disk: stop the node.
    #[error("the directory failed")]
    Failed(#[source] Box<Fatal<u64>>),
}

/// Why a node's start was not announced.
#[derive(Debug, Error)]
pub enum AnnounceError {
    /// This node does not lead. Nothing was done: ask the one that does.
    #[error("this node does not lead the directory")]
    NotLeader(Option<NodeId>),
    /// The cluster does not take the node, or not now.
    #[error("the node was not taken in: {0:?}")]
    Refused(JoinRefusal),
}

pub(super) type WriteError = RaftError<u64, ClientWriteError<u64, EmptyNode>>;
pub(super) type Members = ChangeMembers<u64, EmptyNode>;

impl From<Fatal<u64>> for DirectoryError {
    fn from(fatal: Fatal<u64>) -> Self {
        match fatal {
            Fatal::Stopped => Self::Stopping,
            fatal @ (Fatal::StorageError(_) | Fatal::Panicked) => Self::Failed(fatal.into()),
        }
    }
}

impl From<WriteError> for DirectoryError {
    fn from(error: WriteError) -> Self {
        use openraft::error::ChangeMembershipError::{
            EmptyMembership, InProgress, LearnerNotFound,
        };
        match error {
            RaftError::Fatal(fatal) => fatal.into(),
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
                Self::NotLeader(to.leader_id.map(NodeId))
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
                InProgress(_) => Self::InProgress,
                LearnerNotFound(node) => Self::UnknownNode(NodeId(node.node_id)),
                EmptyMembership(_) => Self::NoVoters,
            },
        }
    }
}

impl From<DirectoryError> for AnnounceError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotLeader(leader) => Self::NotLeader(leader),
            error @ (DirectoryError::Late
            | DirectoryError::InProgress
            | DirectoryError::UnknownNode(_)
            | DirectoryError::NoVoters
            | DirectoryError::Initialized
            | DirectoryError::Stopping
            | DirectoryError::Store(_)
            | DirectoryError::Failed(_)) => {
                Self::Refused(JoinRefusal::NotNow { reason: error.to_string() })
            }
        }
    }
}
