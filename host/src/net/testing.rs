//! Nodes for tests: real endpoints on the loopback interface with rooms that answer by rote.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::serve::Bounds;
use super::{
    CallInbound, Calls, Endpoint, Identity, Inbound, Inboxes, Links, PeerIdentity, Relayer, Secret,
    Serving,
};
use crate::limits::{GUEST_MESSAGE_BYTES_MAX, RELAYED_BYTES_MAX};
use crate::protocol::{
    Answer, Append, Call, CallKey, CallReply, CallRequest, CodeHash, Confirm, CopyId, Crash,
    DirectoryReply, DirectoryRequest, Effect, Fetch, Generation, Incarnation, KeeperReply,
    KeeperRequest, MemberReply, MemberRequest, NodeId, NodeName, NodeRecord, NodeStatus, Operation,
    PlayerId, PlayerState, Record, Reply, Request, Seed, Seq, Writer,
};
use crate::snapshot::{Delta, MemoryDelta, RUN_BYTES_MAX, Run, Snapshot};

/// Bytes of the state that `Fetch` is answered with.
pub(super) const STATE_BYTES: usize = 5 * 1024 * 1024;

pub(super) fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

pub(super) fn node_identity(secret: &Secret, text: &str) -> Identity {
    Identity::node(secret, &name(text)).unwrap()
}

pub(super) fn any_addr() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// What a directory says of a node of this name that is nowhere yet.
pub(super) fn record(text: &str) -> NodeRecord {
    let hash = blake3::hash(text.as_bytes());
    NodeRecord {
        id: NodeId(u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())),
        name: name(text),
        addr: any_addr(),
        incarnation: Incarnation(1),
        status: NodeStatus::Up,
    }
}

/// Waits, but not for ever.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(20), future).await.expect("it should have happened by now")
}

/// A node that serves.
pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    pub(super) record: NodeRecord,
    pub(super) cancel: CancellationToken,
    /// What arrived at the keeper's inbox, and which process has brought it.
    pub(super) heard: mpsc::Receiver<(PeerIdentity, KeeperRequest)>,
    /// How many calls it has answered.
    pub(super) calls: Arc<AtomicUsize>,
    /// Which nodes there are, for all that it knows.
    pub(super) known: watch::Sender<Arc<Vec<NodeRecord>>>,
    /// Its way to others, for what it passes on.
    pub(super) links: Links,
    tasks: JoinSet<()>,
}

impl Node {
    pub(super) fn start(secret: &Secret, text: &str) -> Self {
        Self::start_relaying(secret, text, RELAYED_BYTES_MAX)
    }

    /// Starts one that passes on no more than this many bytes at the same time.
    pub(super) fn start_relaying(secret: &Secret, text: &str, bytes_max: usize) -> Self {
        let endpoint = Endpoint::bind(any_addr(), node_identity(secret, text)).unwrap();
        Self::serve(endpoint, text, 1, bytes_max)
    }

    /// Starts it at a place that another start has just left.
    pub(super) async fn start_again(secret: &Secret, old: &NodeRecord) -> Self {
        let identity = node_identity(secret, old.name.as_str());
        let endpoint = soon(async {
            loop {
                // The old socket is closed by a task of its own, which tells nobody.
                match Endpoint::bind(old.addr, identity.clone()) {
                    Ok(endpoint) => break endpoint,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let incarnation = old.incarnation.0 + 1;
        Self::serve(endpoint.await, old.name.as_str(), incarnation, RELAYED_BYTES_MAX)
    }

    /// Starts one that shows this.
    pub(super) fn start_as(identity: Identity, text: &str) -> Self {
        Self::serve(Endpoint::bind(any_addr(), identity).unwrap(), text, 1, RELAYED_BYTES_MAX)
    }

    /// Starts one that others may take so much of.
    pub(super) fn start_within(secret: &Secret, text: &str, bounds: Bounds) -> Self {
        let endpoint = Endpoint::bind(any_addr(), node_identity(secret, text)).unwrap();
        Self::serve_within(endpoint, text, 1, RELAYED_BYTES_MAX, bounds)
    }

    fn serve(endpoint: Endpoint, text: &str, incarnation: u64, bytes_max: usize) -> Self {
        Self::serve_within(endpoint, text, incarnation, bytes_max, Bounds::default())
    }

    fn serve_within(
        endpoint: Endpoint,
        text: &str,
        incarnation: u64,
        bytes_max: usize,
        bounds: Bounds,
    ) -> Self {
        let incarnation = Incarnation(incarnation);
        let record = NodeRecord { addr: endpoint.local_addr(), incarnation, ..record(text) };
        let (member, members) = mpsc::channel(16);
        let (directory, directories) = mpsc::channel(16);
        let (keeper, keepers) = mpsc::channel(16);
        let (hear, heard) = mpsc::channel(32 * 1024);
        let cancel = CancellationToken::new();
        let (links, links_driver) = Links::new(endpoint.clone());
        let (relayer, relay) = Relayer::bounded(links.clone(), bytes_max);
        let calls = Arc::new(AtomicUsize::new(0));
        let call = Arc::new(Rote(record.clone(), calls.clone()));
        let (known, nodes) = watch::channel(Arc::default());
        let inboxes = Inboxes { member, directory, keeper, call, relay, nodes };
        let mut tasks = JoinSet::new();
        tasks.spawn(endpoint.serve_within(inboxes, cancel.clone(), bounds));
        tasks.spawn(links_driver.run(CancellationToken::new()));
        tasks.spawn(relayer.run(CancellationToken::new()));
        tasks.spawn(answer_members(
            members,
            Writer { node: record.id, incarnation: record.incarnation },
        ));
        tasks.spawn(answer_directory(directories));
        tasks.spawn(answer_keepers(keepers, hear));
        Self { endpoint, record, cancel, heard, calls, links, known, tasks }
    }

    /// Ends it without waiting for anything that it owes.
    pub(super) async fn kill(self) -> NodeRecord {
        let Self { endpoint, record, mut tasks, .. } = self;
        // Its connections first: a room that ends says that it did nothing, a dead process says nothing.
        tokio::join!(biased; endpoint.close(), tasks.shutdown());
        record
    }

    /// Ends it in good order.
    pub(super) async fn stop(mut self) {
        self.cancel.cancel();
        self.tasks.join_next().await.unwrap().unwrap();
        self.endpoint.close().await;
    }
}

async fn answer_members(
    mut inbox: mpsc::Receiver<Inbound<MemberRequest, MemberReply>>,
    own: Writer,
) {
    while let Some(inbound) = inbox.recv().await {
        inbound.responder.send(match inbound.request {
            MemberRequest::Ping { .. } => MemberReply::Pong { from: own },
            MemberRequest::Join(_) => MemberReply::Joined { nodes: Vec::new() },
            MemberRequest::Drain { .. }
            | MemberRequest::Leave { .. }
            | MemberRequest::Muster(_) => MemberReply::Noted,
        });
    }
}

async fn answer_directory(mut inbox: mpsc::Receiver<Inbound<DirectoryRequest, DirectoryReply>>) {
    while let Some(inbound) = inbox.recv().await {
        inbound.responder.send(match inbound.request {
            DirectoryRequest::AppendEntries(bytes) => DirectoryReply::Raft(bytes),
            _ => DirectoryReply::ReadIndex(7),
        });
    }
}

/// Appends and seeds are acknowledged, `Confirm` is never answered, `Release` is dropped.
async fn answer_keepers(
    mut inbox: mpsc::Receiver<Inbound<KeeperRequest, KeeperReply>>,
    hear: mpsc::Sender<(PeerIdentity, KeeperRequest)>,
) {
    let mut unanswered = Vec::new();
    while let Some(Inbound { from, through, request, responder }) = inbox.recv().await {
        match &request {
            KeeperRequest::Append(append) => {
                responder.send(KeeperReply::Acknowledged { seq: append.record.seq });
            }
            KeeperRequest::Seed(seed) => {
                responder.send(KeeperReply::Acknowledged { seq: seed.state.seq });
            }
            KeeperRequest::Fetch(_) => {
                responder.send(KeeperReply::Fetched(Box::new(state(STATE_BYTES))));
            }
            KeeperRequest::Confirm(_) => unanswered.push(responder),
            KeeperRequest::Release(_) => drop(responder),
        }
        let brought_by = through.map_or(from, PeerIdentity::Node);
        hear.send((brought_by, request)).await.unwrap();
    }
}

/// Answers who asks for the nodes, and every call with a long trap.
#[derive(Debug)]
struct Rote(NodeRecord, Arc<AtomicUsize>);

impl Calls for Rote {
    fn open(&self) -> (mpsc::Sender<CallInbound>, Serving) {
        let (calls, inbox) = mpsc::channel(16);
        (calls, Box::pin(answer_calls(inbox, self.0.clone(), self.1.clone())))
    }
}

async fn answer_calls(
    mut inbox: mpsc::Receiver<CallInbound>,
    record: NodeRecord,
    calls: Arc<AtomicUsize>,
) {
    while let Some(inbound) = inbox.recv().await {
        match inbound.request {
            CallRequest::Nodes => {
                let nodes = vec![record.clone()];
                let asked = record.name.clone();
                let reply = CallReply::Nodes { nodes, asked, leader: None, voters: Vec::new() };
                inbound.responder.send(reply);
            }
            CallRequest::Call { .. } => {
                calls.fetch_add(1, Ordering::Relaxed);
                let crash = Crash {
                    message: "x".repeat(GUEST_MESSAGE_BYTES_MAX),
                    restored_seq: Seq(0),
                    restore_micros: 0,
                    node: record.name.clone(),
                    keepers: Vec::new(),
                };
                inbound.responder.send(CallReply::Called(Ok(Answer::Trapped(crash))));
            }
            _ => drop(inbound),
        }
    }
}

fn player() -> PlayerId {
    "player1".parse().unwrap()
}

pub(super) fn ping() -> Request {
    Request::Member(MemberRequest::Ping { from: Writer::default() })
}

pub(super) fn nodes() -> Request {
    Request::Call(CallRequest::Nodes)
}

pub(super) fn call() -> Call {
    Call { player: player(), key: CallKey(1), operation: Operation::Points }
}

pub(super) fn append(seq: u64) -> Request {
    append_of(seq, 64)
}

/// An append that changes this many bytes.
pub(super) fn append_of(seq: u64, bytes: usize) -> Request {
    Request::Keeper(KeeperRequest::Append(Append {
        player: player(),
        copy: CopyId(1),
        generation: Generation(1),
        writer: Writer::default(),
        record: Record {
            seq: Seq(seq),
            effect: Effect::new(CallKey(seq.into()), &Operation::Points, 1),
            delta: Delta { memories: vec![MemoryDelta { len: 1 << 30, runs: runs(bytes) }] },
        },
    }))
}

pub(super) fn acknowledged(seq: u64) -> Reply {
    Reply::Keeper(KeeperReply::Acknowledged { seq: Seq(seq) })
}

/// A request that a [`Node`] never answers.
pub(super) fn never_answered() -> Request {
    Request::Keeper(KeeperRequest::Confirm(Confirm {
        player: player(),
        copy: CopyId(1),
        generation: Generation(1),
        writer: Writer::default(),
        seq: Seq(1),
    }))
}

pub(super) fn seed(bytes: usize) -> Request {
    Request::Keeper(KeeperRequest::Seed(Seed {
        player: player(),
        copy: CopyId(1),
        generation: Generation(1),
        writer: Writer::default(),
        state: state(bytes),
    }))
}

pub(super) fn fetch() -> Request {
    Request::Keeper(KeeperRequest::Fetch(Fetch {
        player: player(),
        copy: CopyId(1),
        generation: Generation(1),
        writer: Writer::default(),
        accept: None,
    }))
}

/// A state with this many changed bytes.
pub(super) fn state(bytes: usize) -> PlayerState {
    let mut snapshot = Snapshot::initial([1 << 30]);
    let delta = Delta { memories: vec![MemoryDelta { len: 1 << 30, runs: runs(bytes) }] };
    snapshot.apply(&delta).unwrap();
    PlayerState::new(CodeHash([7; 32]), snapshot)
}

fn runs(bytes: usize) -> Vec<Run> {
    let starts = (0..bytes).step_by(RUN_BYTES_MAX);
    starts
        .map(|start| Run { offset: start as u64, bytes: vec![1; RUN_BYTES_MAX.min(bytes - start)] })
        .collect()
}
