//! Requests and replies between nodes, and between a client and a node.

#[cfg(test)]
mod golden;
mod muster;
mod relay;
mod sender;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use muster::{Candidacy, Muster, Mustered, Stance};
pub use relay::{Passed, Relay, Relayed, Unrelayed};
pub use sender::may_be_number_of;

use super::deployment::cut;
use super::{
    Answer, Call, CallError, ChangeOutcome, CodeHash, CopyId, DeployRefusal, DeployReport,
    DeployRequest, DeploymentChange, DeploymentConflict, DeploymentListing, Description,
    DrainReport, Generation, Incarnation, NewsItem, NodeCrash, NodeId, NodeName, NodeRecord,
    NodeStats, Overview, PlayerChange, PlayerId, PlayerListing, PlayerState, PlayersPage,
    Quarantine, Record, Seq, Settings, SettingsChange, SettingsReport, Subject, Traffic, Writer,
};
use crate::limits::WITHDRAWAL_BYTES_MAX;

/// Versions of the wire, newest first. A connection speaks one; its ALPN names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Calls, appends, seeds, the directory, joining, relays, traffic, quarantine, bundles,
    /// deployments and calls of any function, moves, drills, exports, looks and overviews.
    V1 = 1,
}

impl Version {
    /// The version this build speaks.
    pub const CURRENT: Self = Self::V1;

    /// Returns the protocol name that TLS negotiates.
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Self::V1 => b"player-host/1",
        }
    }
}

/// A stream between two nodes. Traffic of different lanes does not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Heartbeats and joining.
    Member,
    /// Raft and changes of the directory.
    Directory,
    /// Appends and confirmations.
    Keeper,
    /// Calls and listings.
    Call,
}

/// Anything that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// About membership.
    Member(MemberRequest),
    /// About the directory.
    Directory(DirectoryRequest),
    /// About copies.
    Keeper(KeeperRequest),
    /// About players.
    Call(CallRequest),
    /// Any of these for another node.
    Relay(Relay),
    /// Any of these from another node.
    Passed(Passed),
}

impl Request {
    /// Returns the lane that carries the request.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Member(_) => Lane::Member,
            Self::Directory(_) => Lane::Directory,
            Self::Keeper(_) => Lane::Keeper,
            Self::Call(_) => Lane::Call,
            Self::Relay(relay) => relay.request.lane(),
            Self::Passed(passed) => passed.request.lane(),
        }
    }
}

/// Anything that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// About membership.
    Member(MemberReply),
    /// About the directory.
    Directory(DirectoryReply),
    /// About copies.
    Keeper(KeeperReply),
    /// About players.
    Call(CallReply),
    /// The room that should answer is gone or full; nothing was done.
    Busy,
    /// The node that should pass the request on has no reply.
    Unrelayed(Unrelayed),
}

/// A node that tells the cluster about its new start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// Its start.
    pub incarnation: Incarnation,
}

/// About membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRequest {
    /// "I am alive."
    Ping {
        /// The sender's number and start.
        from: Writer,
    },
    /// "Take me in", asked of any member.
    Join(Announcement),
    /// "I am leaving."
    Leave {
        /// The sender's number and start.
        from: Writer,
    },
    /// "I am going to leave: give me nothing new."
    Drain {
        /// The sender's number and start.
        from: Writer,
    },
    /// "I wait for a cluster to begin."
    Muster(Muster),
}

/// About membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberReply {
    /// "So am I."
    Pong {
        /// The answering node's number and start.
        from: Writer,
    },
    /// The node is in the directory.
    Joined {
        /// All nodes, the new one included.
        nodes: Vec<NodeRecord>,
    },
    /// The node was not taken in.
    Refused(JoinRefusal),
    /// Heard.
    Noted,
    /// How the node stands to a cluster.
    Mustered(Mustered),
}

/// Why a node was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinRefusal {
    /// Another node of that name is up.
    NameTaken {
        /// The name.
        name: NodeName,
        /// Where the other one is.
        addr: SocketAddr,
    },
    /// The cluster is full.
    Full {
        /// Its size.
        nodes: u64,
    },
    /// The member that was asked cannot say yes or no now: ask again.
    NotNow {
        /// What is missing.
        reason: String,
    },
}

/// About the directory. Raft's own messages are opaque here: `directory` encodes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryRequest {
    /// Raft's AppendEntries.
    AppendEntries(Vec<u8>),
    /// Raft's RequestVote.
    Vote(Vec<u8>),
    /// Raft's InstallSnapshot.
    InstallSnapshot(Vec<u8>),
    /// Changes of players, for the leader.
    Change(Vec<PlayerChange>),
    /// "How far must I have applied to see all that was acknowledged?", for the leader.
    ReadIndex,
    /// A change of the cluster's settings, for the leader.
    Configure(SettingsChange),
    /// A change of which code players run, for the leader.
    Deploy(DeploymentChange),
}

/// About the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryReply {
    /// Raft's answer.
    Raft(Vec<u8>),
    /// How each change ended, in order, and the log index that holds them.
    Changed {
        /// One outcome for each change.
        outcomes: Vec<ChangeOutcome>,
        /// Log index of the entry.
        index: u64,
    },
    /// The log index to wait for.
    ReadIndex(u64),
    /// Not the leader; this one may be.
    NotLeader(Option<NodeId>),
    /// What holds in the cluster now, and the log index that says so.
    Configured {
        /// The settings.
        settings: Settings,
        /// Log index of the entry.
        index: u64,
    },
    /// The number of the deployment that was changed, and the log index that says so.
    Deployed {
        /// The number.
        outcome: Result<u64, DeploymentConflict>,
        /// Log index of the entry.
        index: u64,
    },
}

/// One call's record, for a keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The player.
    pub player: PlayerId,
    /// The copy that the directory names.
    pub copy: CopyId,
    /// The owner's generation.
    pub generation: Generation,
    /// The owner.
    pub writer: Writer,
    /// The record. Its position says which one it must follow.
    pub record: Record,
}

/// "Am I still the owner?", for a keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// The player.
    pub player: PlayerId,
    /// The copy that the directory names.
    pub copy: CopyId,
    /// The owner's generation.
    pub generation: Generation,
    /// The owner.
    pub writer: Writer,
    /// The position that the owner believes the copy has.
    pub seq: Seq,
}

/// A full copy, for a node that is to become a keeper. It counts once the directory names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The player.
    pub player: PlayerId,
    /// The new copy.
    pub copy: CopyId,
    /// The generation that the owner holds now; 0 for a player that does not exist yet.
    pub generation: Generation,
    /// The owner.
    pub writer: Writer,
    /// The whole state.
    pub state: PlayerState,
}

/// "I own it from this generation on; give me your copy", for a keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The player.
    pub player: PlayerId,
    /// The copy that the directory names.
    pub copy: CopyId,
    /// The new owner's generation.
    pub generation: Generation,
    /// The new owner.
    pub writer: Writer,
    /// Hand it over although it may miss acknowledged calls, if this is its position: an operator
    /// gives up on what came after.
    pub accept: Option<Seq>,
}

/// "The directory does not name this copy any more", for a former keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The player.
    pub player: PlayerId,
    /// The copy that may go.
    pub copy: CopyId,
    /// The generation that does not name it.
    pub generation: Generation,
    /// The owner.
    pub writer: Writer,
}

/// About copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeeperRequest {
    /// Add a call.
    Append(Append),
    /// Confirm the generation.
    Confirm(Confirm),
    /// Hold a new copy.
    Seed(Seed),
    /// Fence older owners and hand over a copy.
    Fetch(Fetch),
    /// Drop a copy.
    Release(Release),
}

impl KeeperRequest {
    /// Returns how many bytes of a player's state it carries, about.
    pub fn state_bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.record.delta.changed_bytes(),
            Self::Seed(seed) => seed.state.bytes(),
            Self::Confirm(_) | Self::Fetch(_) | Self::Release(_) => 0,
        }
    }
}

/// About copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeeperReply {
    /// The copy is at this position, in the store as the cluster's `--ack` asks.
    Acknowledged {
        /// Position of the copy.
        seq: Seq,
    },
    /// The fenced copy.
    Fetched(Box<PlayerState>),
    /// Not done.
    Refused(Refusal),
}

/// Why a keeper did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A newer owner is known: the asking one has lost the player.
    Fenced {
        /// The newest generation the keeper has seen.
        generation: Generation,
    },
    /// The copy is missing or at another position: it needs a full one.
    Gap {
        /// The copy's position, if there is one.
        have: Option<Seq>,
    },
    /// The copy may miss acknowledged calls: this machine restarted before it was synced.
    Stale {
        /// Its position.
        seq: Seq,
    },
    /// Too many copies of the player wait to be named or collected here.
    Full {
        /// How many.
        copies: u64,
    },
    /// The keeper's disk does not take it.
    Disk {
        /// What the store said.
        reason: String,
    },
}

/// About players.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallRequest {
    /// A call by a client: the node finds the owner.
    Call {
        /// The call.
        call: Call,
        /// Time left until the caller gives up, in milliseconds.
        deadline_ms: u64,
    },
    /// A call that another node forwards to the owner it knows: not forwarded again.
    Forward {
        /// The call.
        call: Call,
        /// Time left until the caller gives up, in milliseconds.
        deadline_ms: u64,
    },
    /// Players that run on the asked node, or all players, after this one in order.
    Players {
        /// All of the cluster instead of those of the asked node.
        all: bool,
        /// The last id of the previous page.
        after: Option<PlayerId>,
    },
    /// All nodes.
    Nodes,
    /// A component's bytes.
    Code(CodeHash),
    /// "Hand over what you have, and stop."
    Drain,
    /// A change of the cluster's settings; an empty one only asks for them.
    Configure(SettingsChange),
    /// "How much has gone over the connections to other nodes that you have dialed and that are
    /// open?"
    Traffic,
    /// The cluster's players that are in quarantine, after this one in order.
    Quarantined {
        /// The last id of the previous page.
        after: Option<PlayerId>,
    },
    /// "Deploy this, or say what would come of it."
    Deploy(Box<DeployRequest>),
    /// "Take the newest deployment back."
    RollBack {
        /// That one and no newer one.
        number: Option<u64>,
        /// Why, in words.
        #[serde(deserialize_with = "cut::<{ WITHDRAWAL_BYTES_MAX }, _>")]
        reason: String,
    },
    /// The deployments.
    Deployments,
    /// "Get this code and compile it: it is about to be deployed."
    Prepare(CodeHash),
    /// The functions of a code. Who has it tells; the owner of a player has the player's.
    Describe(Subject),
    /// What has happened on the asked node after that number; without one, where to begin.
    News {
        /// The number that the last reply said.
        after: Option<u64>,
        /// How long to wait for something, in milliseconds.
        wait_ms: u64,
    },
    /// What the asked node has done.
    Stats,
    /// "Let the process of this node end at once, as if it was killed": a drill.
    Crash(NodeName),
    /// What is known of one player, without a call to it.
    Look {
        /// The player.
        player: PlayerId,
        /// Whether its owner is asked, too, if that is another node.
        everywhere: bool,
    },
    /// How the whole cluster stands, with what has happened.
    Overview {
        /// Where the reader is in what each node tells; without any, all that is remembered is new.
        after: Vec<(NodeId, u64)>,
    },
    /// Players that a node owns, after this one in order.
    PlayersOf {
        /// The node.
        node: NodeName,
        /// The last id of the previous page.
        after: Option<PlayerId>,
        /// This many at most; the node has a limit of its own, too.
        limit: u16,
    },
}

/// About players.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallReply {
    /// How the call ended.
    Called(Result<Answer, CallError>),
    /// A page of players in order of their ids.
    Players {
        /// The players.
        players: Vec<PlayerListing>,
        /// Whether there are more after the last one.
        more: bool,
        /// Nodes that did not answer; their players lack points and position.
        silent: Vec<NodeName>,
    },
    /// All nodes, and what the directory says of the asked one.
    Nodes {
        /// The nodes by name.
        nodes: Vec<NodeRecord>,
        /// The asked node.
        asked: NodeName,
        /// The directory's leader.
        leader: Option<NodeId>,
        /// The directory's voters.
        voters: Vec<NodeId>,
    },
    /// The component, if the node has it.
    Code(Option<Vec<u8>>),
    /// What the node has handed over; it stops now.
    Drained(DrainReport),
    /// What holds in the cluster, or why nobody could decide the change yet; then it may still
    /// be done.
    Settings(Result<SettingsReport, String>),
    /// What has gone over those connections.
    Traffic(Traffic),
    /// A page of players in quarantine, in order of their ids.
    Quarantined {
        /// The players.
        players: Vec<Quarantine>,
        /// Where the next page begins, if there are more.
        next: Option<PlayerId>,
    },
    /// What was deployed, or why nobody could decide it yet; then it may still be done.
    Deployed(Result<Result<DeployReport, DeployRefusal>, String>),
    /// The number of the deployment that was taken back, or as above.
    RolledBack(Result<Result<u64, DeployRefusal>, String>),
    /// The deployments, newest first.
    Deployments(Vec<DeploymentListing>),
    /// The code is there and can be run, or why not.
    Prepared(Result<(), String>),
    /// The functions of a code, or why they are not known.
    Described(Result<Box<Description>, CallError>),
    /// What has happened on the node.
    News {
        /// In its order.
        items: Vec<NewsItem>,
        /// The number to ask for next.
        next: u64,
    },
    /// What the node has done.
    Stats(Box<NodeStats>),
    /// What the node had that is gone, or why it was not ended. It does not answer itself.
    Crashed(Result<NodeCrash, CallError>),
    /// The player, if there is one.
    Looked(Option<Box<PlayerListing>>),
    /// How the cluster stands.
    Overview(Box<Overview>),
    /// The players, or the names of the nodes that there are when there is none of that name.
    PlayersOf(Result<PlayersPage, Vec<NodeName>>),
}
