//! Whom a request names as its sender.

use super::{DirectoryRequest, KeeperRequest, MemberRequest, NodeId, NodeName, Request};
use crate::protocol::NodeRecord;

impl Request {
    /// Whether all that the request says of its sender fits the node called `name`: the name itself,
    /// and numbers that may be that node's. Raft's own requests are opaque here, and what is to be
    /// passed on is held against its sender where it is answered.
    pub fn is_from(&self, name: &NodeName, nodes: &[NodeRecord]) -> bool {
        let right = |id| may_be_number_of(nodes, id, name);
        match self {
            Self::Member(request) => match request {
                MemberRequest::Ping { from }
                | MemberRequest::Leave { from }
                | MemberRequest::Drain { from } => right(from.node),
                MemberRequest::Join(announcement) => {
                    announcement.name == *name && right(announcement.id)
                }
                MemberRequest::Muster(muster) => right(muster.from.node),
            },
            Self::Directory(request) => match request {
                DirectoryRequest::Change(changes) => {
                    changes.iter().all(|change| right(change.by.node))
                }
                DirectoryRequest::AppendEntries(_)
                | DirectoryRequest::Vote(_)
                | DirectoryRequest::InstallSnapshot(_)
                | DirectoryRequest::ReadIndex
                | DirectoryRequest::Configure(_)
                | DirectoryRequest::Deploy(_) => true,
            },
            Self::Keeper(request) => right(match request {
                KeeperRequest::Append(append) => append.writer.node,
                KeeperRequest::Confirm(confirm) => confirm.writer.node,
                KeeperRequest::Seed(seed) => seed.writer.node,
                KeeperRequest::Fetch(fetch) => fetch.writer.node,
                KeeperRequest::Release(release) => release.writer.node,
            }),
            Self::Call(_) | Self::Relay(_) | Self::Passed(_) => true,
        }
    }
}

/// Whether a number may be that of the node which has proved to be called `name`. A number that the
/// directory does not know yet may be anybody's: a node that has just joined is heard before it is
/// heard of, and who invents a number takes nobody's.
pub fn may_be_number_of(nodes: &[NodeRecord], id: NodeId, name: &NodeName) -> bool {
    nodes.iter().find(|node| node.id == id).is_none_or(|node| node.name == *name)
}
