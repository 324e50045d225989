//! What `--json` prints, as types.

use serde::Deserialize;

/// A call that returned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Returned {
    /// The total.
    pub points: i64,
    /// The player's position.
    pub seq: u64,
    /// The node that ran the call.
    pub node: String,
    /// The call's key.
    pub key: String,
}

/// A call of any function that returned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Called {
    /// What it returned, in WAVE.
    pub result: Option<String>,
    /// The player's position.
    pub seq: u64,
    /// The node that ran the call.
    pub node: String,
    /// The call's key.
    pub key: String,
}

/// The functions of a code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Described {
    /// The code's hash.
    pub code: String,
    /// The functions in order of their names.
    pub functions: Vec<Function>,
    /// How many more there are.
    pub left_out: u64,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its type in the syntax of WIT.
    #[serde(rename = "type")]
    pub shape: String,
    /// What its author says.
    pub docs: Option<String>,
    /// Why it cannot be called.
    pub refused: Option<String>,
}

/// A call whose guest trapped.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Trapped {
    /// Always `trapped`.
    pub error: String,
    /// The guest's own words.
    pub message: String,
    /// What the player was restored to.
    pub restored: Restored,
    /// The node that ran the call.
    pub node: String,
    /// The keepers, which were not touched.
    pub keepers: Vec<String>,
    /// Always `false`.
    pub applied: bool,
}

/// What a player was restored to after a trap.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Restored {
    /// Its position.
    pub seq: u64,
    /// Where its state came from.
    pub from: String,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// What a load has found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Measured {
    /// `own` or `running`.
    pub cluster: String,
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that were not.
    pub failed: u64,
    /// Calls that were due and not sent in time.
    pub unsent: u64,
    /// Answered calls that another node ran than the called one.
    pub forwarded: u64,
    /// Players that could not be forgotten.
    pub players_left: u64,
    /// Answered calls in a second.
    pub calls_per_second: f64,
    /// Half of the calls took at most so many microseconds.
    pub p50_us: Option<f64>,
    /// All of them.
    pub max_us: Option<f64>,
    /// Processor time of the owner for each call, if its process was seen.
    pub owner_cpu_us_per_call: Option<f64>,
    /// Processor time of the client for each call, unless its process is the owner's.
    pub client_cpu_us_per_call: Option<f64>,
    /// Bytes between the nodes for each call, if they are nobody else's.
    pub node_bytes_per_call: Option<f64>,
    /// Bytes between client and nodes for each call, if the calls crossed a network.
    pub client_bytes_per_call: Option<f64>,
    /// Players that began in a second before the load.
    pub players_begun_per_second: Option<f64>,
    /// A plain round trip.
    pub quinn_round_trip_us: f64,
}

/// A call that got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Failed {
    /// One word for programs.
    pub error: String,
    /// One sentence for people.
    pub message: String,
    /// Whether it was applied, if that is known.
    pub applied: Option<bool>,
    /// The call's key.
    pub key: Option<String>,
}

/// What was deployed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployed {
    /// Its number; `None` when it was only checked.
    pub deployment: Option<u64>,
    /// The code.
    pub code: String,
    /// What becomes of the players.
    pub players: Vec<Class>,
    /// Nodes that have not heard of it.
    pub silent: Vec<String>,
    /// Players that run it, when somebody has waited for them.
    pub arrived: Option<u64>,
    /// Players that are still on their way.
    pub due: Option<u64>,
    /// Players that failed on it.
    pub failed: Option<u64>,
    /// Why it was taken back, if it was.
    pub withdrawn: Option<String>,
}

/// Players of whom the same becomes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Class {
    /// The code that they run.
    pub code: String,
    /// One word.
    pub fate: String,
    /// How many there are.
    pub players: u64,
}

/// One deployment in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    /// Its number.
    pub deployment: u64,
    /// The code.
    pub code: String,
    /// `on_probation`, `settled` or `withdrawn`.
    pub status: String,
    /// Why it was taken back.
    pub reason: Option<String>,
    /// Players that run its code.
    pub players: u64,
    /// Players that are to come to it and have not yet.
    pub due: u64,
    /// Players that failed on it.
    pub failed: u64,
}

/// The deployments.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Deployments {
    pub(crate) deployments: Vec<Deployment>,
}

/// One player in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// The player.
    pub player: String,
    /// The node that owns it.
    pub owner: String,
    /// Whether it runs there now.
    pub running: bool,
    /// Whether its state could not be restored and is not tried any more.
    pub quarantined: bool,
    /// The nodes that keep its copies.
    pub keepers: Vec<String>,
    /// Its ownership number.
    pub generation: u64,
    /// Its position, where a running player says it.
    pub seq: Option<u64>,
    /// Its points, where a running player says them.
    pub points: Option<i64>,
}

/// A listing of players.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Players {
    pub(crate) players: Vec<Listed>,
    /// Nodes that did not answer.
    pub(crate) silent: Vec<String>,
}

/// What a player was when it was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Forgotten {
    /// Always `true`.
    pub forgotten: bool,
    /// Its position, if it could be read.
    pub seq: Option<u64>,
}

/// A player in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Quarantined {
    /// The player.
    pub player: String,
    /// How often it could not be restored, in a row.
    pub times: u32,
    /// The position of its state.
    pub seq: u64,
    /// The node that owns it.
    pub owner: String,
    /// The nodes that keep its state.
    pub copies: Vec<String>,
    /// Why it could not be restored.
    pub reason: String,
}

/// A player that somebody wanted on a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HandedOver {
    /// Whether it was on another one before.
    pub moved: bool,
    /// The node that owned it.
    pub from: String,
    /// The node that owns it.
    pub to: String,
    /// Its position.
    pub seq: u64,
    /// Its ownership number.
    pub generation: u64,
    /// The other nodes that keep its copies.
    pub keepers: Vec<String>,
    /// The key of the move.
    pub key: String,
}

/// A player whose instance was thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Drilled {
    /// The reason that is told.
    pub drill: String,
    /// What the player was restored to.
    pub restored: Restored,
    /// The node that runs it.
    pub node: String,
    /// The keepers, which were not touched.
    pub keepers: Vec<String>,
    /// Always `false`.
    pub applied: bool,
}

/// A player that begins with the state of another one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Imported {
    /// Always `true`.
    pub imported: bool,
    /// The player that was exported.
    pub from: String,
    /// Its position then.
    pub from_seq: u64,
    /// The code of both.
    pub code: String,
    /// The new player's position.
    pub seq: u64,
    /// The node that runs it.
    pub node: String,
    /// The other nodes that keep its copies.
    pub keepers: Vec<String>,
}

/// A node whose process was ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeCrashed {
    /// The node.
    pub node: String,
    /// Always `crashed`.
    pub state: String,
    /// Whether it was the node that was asked.
    pub asked: bool,
    /// Players that it owned.
    pub players: Option<u64>,
    /// Copies that it kept.
    pub copies: Option<u64>,
    /// Whether the directory calls it down.
    pub down: Option<bool>,
}

/// A listing of players in quarantine.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct InQuarantine {
    pub(crate) quarantined: Vec<Quarantined>,
}

/// A player that was released from quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Released {
    /// Always `true`.
    pub released: bool,
    /// How often it could not be restored.
    pub times: u32,
    /// The position of its state.
    pub seq: u64,
}

/// What came of doing again what is in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Replayed {
    /// Whether it failed as it did.
    pub reproduced: bool,
    /// `trap` or `restore`.
    pub bundle: String,
    /// The player.
    pub player: String,
    /// The position of its state.
    pub seq: u64,
    /// What happened then.
    pub failure: String,
    /// What happened now.
    pub here: String,
}

/// What a node that left has handed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Drained {
    /// The node.
    pub node: String,
    /// Players that other nodes own now.
    pub players: u64,
    /// Copies that other nodes keep now.
    pub copies: u64,
    /// What stays, and why.
    pub left: Option<String>,
}

/// One node in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// `up`, `draining` or `down`.
    pub status: String,
    /// Its latest start.
    pub incarnation: u64,
    /// Whether it votes in the directory.
    pub voter: bool,
    /// Whether it leads the directory.
    pub leader: bool,
}

/// What holds for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// Keepers of each player.
    pub keepers: u8,
    /// `memory` or `disk`.
    pub ack: String,
}

/// Nodes that have not said that they have heard of a change.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Silent {
    pub(crate) silent: Vec<String>,
}

/// A listing of nodes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<NodeSeen>,
}
