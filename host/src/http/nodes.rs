//! Nodes, and what holds for all of them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::desk::Desk;
use super::intake::Body;
use super::names;
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::protocol::{
    CallReply, CallRequest, NodeId, NodeName, NodeRecord, SettingsChange, SettingsReport,
};

/// The nodes of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodesJson {
    nodes: Vec<NodeJson>,
    /// The node that was asked.
    asked: String,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
struct NodeJson {
    name: String,
    /// Where other nodes reach it.
    addr: String,
    /// `up`, `draining` or `down`.
    status: &'static str,
    /// How often it has started.
    incarnation: u64,
    /// Its number, which stays the same.
    id: String,
    /// Whether it votes on the directory.
    voter: bool,
    /// Whether it leads the directory.
    leader: bool,
}

impl NodesJson {
    /// Says which nodes there are, and who votes and leads.
    pub fn new(
        nodes: &[NodeRecord],
        asked: &NodeName,
        leader: Option<NodeId>,
        voters: &[NodeId],
    ) -> Self {
        let node = |node: &NodeRecord| NodeJson {
            name: node.name.to_string(),
            addr: node.addr.to_string(),
            status: node.status.word(),
            incarnation: node.incarnation.0,
            id: node.id.to_string(),
            voter: voters.contains(&node.id),
            leader: leader == Some(node.id),
        };
        Self { nodes: nodes.iter().map(node).collect(), asked: asked.to_string() }
    }
}

/// Says that there is no such node, and which ones there are.
pub(super) fn unknown(known: &[NodeName]) -> Problem {
    let known = names(known).join(", ");
    Problem::new("no_node", format!("there is no such node; there are {known}"))
}

/// List the nodes
#[utoipa::path(
    get,
    path = "/v1/nodes",
    tag = "nodes",
    responses(
        (status = OK, description = "All that the directory knows.", body = NodesJson),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn list(State(desk): State<Desk>) -> Result<Json<NodesJson>, Problem> {
    match desk.gateway()?.serve(CallRequest::Nodes).await {
        CallReply::Nodes { nodes, asked, leader, voters } => {
            Ok(Json(NodesJson::new(&nodes, &asked, leader, &voters)))
        }
        _ => Err(Problem::other_answer()),
    }
}

/// What holds for the whole cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Settings {
    /// Copies of each player besides its owner's.
    keepers: u8,
    /// When an answer leaves: `memory` or `disk`.
    ack: &'static str,
    /// Nodes that have not said in time that they have heard of a change.
    silent: Vec<String>,
}

impl From<SettingsReport> for Settings {
    fn from(report: SettingsReport) -> Self {
        let SettingsReport { settings, silent, .. } = report;
        let silent = names(&silent);
        Self { keepers: settings.keepers, ack: settings.ack.word(), silent }
    }
}

/// Show the settings of the cluster
#[utoipa::path(
    get,
    path = "/v1/settings",
    tag = "nodes",
    responses(
        (status = OK, description = "What holds.", body = Settings),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn settings(State(desk): State<Desk>) -> Result<Json<Settings>, Problem> {
    configured(&desk, SettingsChange::default()).await
}

/// A change of some settings; the others stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "keepers": 2 }))]
pub(super) struct Change {
    /// Copies of each player besides its owner's.
    #[schema(minimum = 1, maximum = 8)]
    keepers: Option<u8>,
    /// When an answer leaves: `memory` or `disk`.
    #[schema(pattern = "^(memory|disk)$")]
    ack: Option<String>,
}

/// Change the settings of the cluster
///
/// What is called after the answer is kept so, unless it names nodes that have not heard of it yet.
#[utoipa::path(
    patch,
    path = "/v1/settings",
    tag = "operating",
    request_body = Change,
    responses(
        (status = OK, description = "What holds now.", body = Settings),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn change_settings(
    State(desk): State<Desk>,
    Body(Change { keepers, ack }): Body<Change>,
) -> Result<Json<Settings>, Problem> {
    let keepers = keepers.map(|keepers| keepers.to_string());
    let change = SettingsChange::parse(keepers.as_deref(), ack.as_deref());
    let change = change.map_err(|error| Problem::new("bad_request", error.to_string()))?;
    configured(&desk, change).await
}

async fn configured(desk: &Desk, change: SettingsChange) -> Result<Json<Settings>, Problem> {
    match desk.gateway()?.serve(CallRequest::Configure(change)).await {
        CallReply::Settings(Ok(report)) => Ok(Json(Settings::from(report))),
        CallReply::Settings(Err(reason)) => Err(Problem::new("undecided", reason).unknown()),
        _ => Err(Problem::other_answer().unknown()),
    }
}
