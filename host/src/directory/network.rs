//! Raft's messages between nodes.
//!
//! Raft knows nodes by number only. Where a node is says the directory itself: `node` tells the
//! links about each change of it, and a node that is to join learns the addresses in the reply that
//! takes it in.
//!
//! Each of Raft's requests names the node that it is for. A node that lost its disk comes back with
//! the name and the address of the one it was, but with another number and an empty log: if it
//! answered for the old one, it would take back what that one had promised, and vote twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch,
    Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, Raft, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::TypeConfig;
use super::arriving::Arriving;
use super::sound::Sound;
use crate::net::{AskError, Links};
use crate::protocol::{DirectoryReply, DirectoryRequest, NodeId, Reply, Request};

/// Pause before the leader tries a node again that it could not reach.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(100);

/// Why a node's directory gave no reply. Whatever was asked may be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransportError {
    /// The node cannot be reached. Nothing was done.
    #[error("the node cannot be reached")]
    Unreachable,
    /// It was sent, and the reply was lost. It may have been done.
    #[error("the reply was lost")]
    Lost,
    /// Too much is waiting, here or there. Nothing was done.
    #[error("too much is waiting for the node")]
    Full,
    /// The reply is none to what was asked.
    #[error("the node does not speak our language")]
    Violation,
}

/// What carries the directory's requests to other nodes.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Asks a node. Dropping the future gives up waiting for the reply.
    ///
    /// # Errors
    ///
    /// See [`TransportError`].
    fn ask(
        &self,
        to: NodeId,
        request: DirectoryRequest,
    ) -> impl Future<Output = Result<DirectoryReply, TransportError>> + Send;
}

impl Transport for Links {
    async fn ask(
        &self,
        to: NodeId,
        request: DirectoryRequest,
    ) -> Result<DirectoryReply, TransportError> {
        match self.send(to, Request::Directory(request)).await {
            Ok(Reply::Directory(reply)) => Ok(reply),
            Ok(Reply::Busy) => Err(TransportError::Full),
            Ok(Reply::Member(_) | Reply::Keeper(_) | Reply::Call(_) | Reply::Unrelayed(_)) => {
                Err(TransportError::Violation)
            }
            Err(AskError::Unreachable | AskError::UnknownNode) => Err(TransportError::Unreachable),
            Err(AskError::Lost) => Err(TransportError::Lost),
            Err(AskError::Full) => Err(TransportError::Full),
        }
    }
}

/// A transport of any kind.
#[derive(Clone)]
pub(super) struct Peers(Arc<dyn Ask>);

trait Ask: Send + Sync {
    fn ask(
        &self,
        to: NodeId,
        request: DirectoryRequest,
    ) -> BoxFuture<'_, Result<DirectoryReply, TransportError>>;
}

impl<T: Transport> Ask for T {
    fn ask(
        &self,
        to: NodeId,
        request: DirectoryRequest,
    ) -> BoxFuture<'_, Result<DirectoryReply, TransportError>> {
        Box::pin(Transport::ask(self, to, request))
    }
}

impl Peers {
    pub(super) fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }

    pub(super) async fn ask(
        &self,
        to: NodeId,
        request: DirectoryRequest,
    ) -> Result<DirectoryReply, TransportError> {
        self.0.ask(to, request).await
    }
}

/// Why a node did not do what Raft asked of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Declined {
    /// The pieces of a snapshot do not follow each other; the sender begins anew.
    SnapshotMismatch(SnapshotMismatch),
    /// It is not the node that was meant.
    OtherNode,
    /// Who asks is not the node in whose name it asks.
    OtherSender,
    /// It is stopping.
    Stopped,
    /// It cannot read what was asked, or that cannot be.
    Malformed,
}

/// Does what Raft on another node asks of Raft on this one, which is `me`. Each of Raft's requests
/// bears a vote, which names the node that sends it: as a leader, or to become one.
pub(super) async fn serve(
    raft: &Raft<TypeConfig>,
    me: NodeId,
    request: RaftRequest,
    is_from: impl Fn(NodeId) -> bool,
    better: &AtomicU64,
    arriving: &Arriving,
) -> DirectoryReply {
    let check = |vote: &Vote<u64>| match is_from(NodeId(vote.leader_id().node_id)) {
        true => Ok(()),
        false => Err(Declined::OtherSender),
    };
    match request {
        RaftRequest::AppendEntries(bytes) => {
            answer(me, &bytes, async |rpc: AppendEntriesRequest<TypeConfig>| {
                check(&rpc.vote)?;
                raft.append_entries(rpc).await.map_err(stopped)
            })
            .await
        }
        RaftRequest::Vote(bytes) => {
            answer(me, &bytes, async |rpc: VoteRequest<u64>| {
                check(&rpc.vote)?;
                let theirs = rpc.last_log_id;
                let response = raft.vote(rpc).await.map_err(stopped)?;
                if theirs > response.last_log_id {
                    better.fetch_add(1, Ordering::Relaxed);
                }
                Ok(response)
            })
            .await
        }
        RaftRequest::InstallSnapshot(bytes) => {
            answer(me, &bytes, async |piece: InstallSnapshotRequest<TypeConfig>| {
                check(&piece.vote)?;
                arriving.take(raft, piece).await
            })
            .await
        }
    }
}

/// One of Raft's own requests, encoded.
pub(super) enum RaftRequest {
    AppendEntries(Vec<u8>),
    Vote(Vec<u8>),
    InstallSnapshot(Vec<u8>),
}

/// All that Raft says about an error here is that it has stopped.
fn stopped<E>(_: E) -> Declined {
    Declined::Stopped
}

async fn answer<Q: DeserializeOwned + Sound, R: Serialize>(
    me: NodeId,
    bytes: &[u8],
    ask: impl AsyncFnOnce(Q) -> Result<R, Declined>,
) -> DirectoryReply {
    let result = match postcard::from_bytes::<(NodeId, Q)>(bytes) {
        Ok((to, _)) if to != me => Err(Declined::OtherNode),
        Ok((_, rpc)) if !rpc.is_sound() => Err(Declined::Malformed),
        Ok((_, rpc)) => ask(rpc).await,
        Err(_) => Err(Declined::Malformed),
    };
    DirectoryReply::Raft(encode(&result))
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("Raft's types encode into memory")
}

/// Makes connections for Raft.
pub(super) struct Network {
    pub(super) peers: Peers,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer { peers: self.peers.clone(), target }
    }
}

/// Raft on another node.
pub(super) struct Peer {
    peers: Peers,
    target: u64,
}

type Failure<E> = RPCError<u64, EmptyNode, RaftError<u64, E>>;

impl Peer {
    fn encode(&self, rpc: &impl Serialize) -> Vec<u8> {
        encode(&(NodeId(self.target), rpc))
    }

    async fn ask<R: DeserializeOwned + Sound, E: std::error::Error>(
        &self,
        request: DirectoryRequest,
        mismatch: impl FnOnce(SnapshotMismatch) -> Option<E>,
    ) -> Result<R, Failure<E>> {
        let bytes = match self.peers.ask(NodeId(self.target), request).await {
            Ok(DirectoryReply::Raft(bytes)) => bytes,
            Ok(
                DirectoryReply::Changed { .. }
                | DirectoryReply::ReadIndex(_)
                | DirectoryReply::NotLeader(_)
                | DirectoryReply::Configured { .. }
                | DirectoryReply::Deployed { .. },
            ) => return Err(NetworkError::new(&TransportError::Violation).into()),
            Err(error @ TransportError::Unreachable) => return Err(Unreachable::new(&error).into()),
            Err(error) => return Err(NetworkError::new(&error).into()),
        };
        match postcard::from_bytes::<Result<R, Declined>>(&bytes) {
            Ok(Ok(response)) if response.is_sound() => Ok(response),
            Ok(Err(Declined::SnapshotMismatch(at))) => Err(match mismatch(at) {
                Some(error) => RemoteError::new(self.target, RaftError::APIError(error)).into(),
                None => NetworkError::new(&TransportError::Violation).into(),
            }),
            Ok(Err(Declined::OtherNode | Declined::OtherSender | Declined::Stopped)) => {
                Err(Unreachable::new(&TransportError::Unreachable).into())
            }
            Ok(Ok(_) | Err(Declined::Malformed)) | Err(_) => {
                Err(NetworkError::new(&TransportError::Violation).into())
            }
        }
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, EmptyNode, RaftError<u64>>> {
        let request = DirectoryRequest::AppendEntries(self.encode(&rpc));
        let last = rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id);
        match self.ask(request, |_| None).await? {
            // Raft would not survive a follower that has more than it was sent.
            AppendEntriesResponse::PartialSuccess(matching) if matching > last => {
                Err(NetworkError::new(&TransportError::Violation).into())
            }
            response => Ok(response),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        let request = DirectoryRequest::InstallSnapshot(self.encode(&rpc));
        self.ask(request, |at| Some(InstallSnapshotError::SnapshotMismatch(at))).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, EmptyNode, RaftError<u64>>> {
        self.ask(DirectoryRequest::Vote(self.encode(&rpc)), |_| None).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}
