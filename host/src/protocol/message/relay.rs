//! Asking a node through another one, around a link that is broken.

use serde::{Deserialize, Serialize};

use super::{
    Announcement, CallRequest, DirectoryRequest, KeeperRequest, Lane, MemberRequest, NodeId,
    NodeName, Request, Writer,
};

/// A request for a third node, which the asking one cannot reach itself. The reply is the third
/// node's own, or [`Reply::Unrelayed`](super::Reply::Unrelayed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// The node that is to answer.
    pub to: NodeId,
    /// What is asked of it.
    pub request: Relayed,
}

/// A request that the sending node passes on for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Who asks, as its certificate has proved it to the node that passes on. That one is believed.
    pub from: NodeName,
    /// What is asked.
    pub request: Relayed,
}

/// What may be asked through another node.
///
/// The certificate that the answering node sees is the relay's, so a relay says for whom it passes
/// on ([`Passed`]). A relay is not among them: nothing is passed on twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relayed {
    /// As [`MemberRequest::Ping`]. The answer proves that the process lives, whoever brings it.
    Ping {
        /// The sender's number and start.
        from: Writer,
    },
    /// As [`MemberRequest::Leave`].
    Leave {
        /// The sender's number and start.
        from: Writer,
    },
    /// As [`MemberRequest::Drain`].
    Drain {
        /// The sender's number and start.
        from: Writer,
    },
    /// About the directory.
    Directory(DirectoryRequest),
    /// About copies.
    Keeper(KeeperRequest),
    /// About players.
    Call(CallRequest),
    /// As [`MemberRequest::Join`]. Not for a relay: the member that is asked passes it on to the
    /// leader itself.
    Join(Announcement),
}

impl Relayed {
    /// Returns the request as one that another node can pass on.
    ///
    /// # Errors
    ///
    /// Gives back what must not be passed on.
    #[expect(clippy::result_large_err, reason = "the request is handed back to be sent directly")]
    pub fn new(request: Request) -> Result<Self, Request> {
        match request {
            Request::Member(MemberRequest::Ping { from }) => Ok(Self::Ping { from }),
            Request::Member(MemberRequest::Leave { from }) => Ok(Self::Leave { from }),
            Request::Member(MemberRequest::Drain { from }) => Ok(Self::Drain { from }),
            Request::Directory(request) => Ok(Self::Directory(request)),
            Request::Keeper(request) => Ok(Self::Keeper(request)),
            Request::Call(request) => Ok(Self::Call(request)),
            Request::Member(MemberRequest::Join(_) | MemberRequest::Muster(_))
            | Request::Relay(_)
            | Request::Passed(_) => Err(request),
        }
    }

    /// Returns the lane that carries the request.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Ping { .. } | Self::Leave { .. } | Self::Drain { .. } | Self::Join(_) => {
                Lane::Member
            }
            Self::Directory(_) => Lane::Directory,
            Self::Keeper(_) => Lane::Keeper,
            Self::Call(_) => Lane::Call,
        }
    }
}

impl From<Relayed> for Request {
    fn from(relayed: Relayed) -> Self {
        match relayed {
            Relayed::Ping { from } => Self::Member(MemberRequest::Ping { from }),
            Relayed::Leave { from } => Self::Member(MemberRequest::Leave { from }),
            Relayed::Drain { from } => Self::Member(MemberRequest::Drain { from }),
            Relayed::Join(announcement) => Self::Member(MemberRequest::Join(announcement)),
            Relayed::Directory(request) => Self::Directory(request),
            Relayed::Keeper(request) => Self::Keeper(request),
            Relayed::Call(request) => Self::Call(request),
        }
    }
}

/// Why a relay has no reply of the third node. Each variant says what is known of the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unrelayed {
    /// The relay cannot reach it either. Nothing was done.
    Unreachable,
    /// The connection was lost after the relay had sent the request: it may have been done.
    Lost,
    /// Too much waits at the relay. Nothing was done.
    Full,
}
