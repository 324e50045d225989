//! How the cluster does, in numbers.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::desk::Desk;
use super::names;
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::protocol::{CallStats, NodeStats};

/// How the cluster does. Numbers only grow while a node runs: who asks twice knows what happened
/// between.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsJson {
    nodes: Vec<NodeStatsJson>,
    /// Nodes that did not answer in time.
    silent: Vec<String>,
    /// The longest time of each bucket, in microseconds; `null` for the last one, which has none.
    bucket_micros: Vec<Option<u64>>,
}

/// What a node has done since it started, and how things stand there.
#[derive(Debug, Serialize, ToSchema)]
struct NodeStatsJson {
    node: String,
    /// For how long it has run, in milliseconds.
    up_millis: u64,
    /// Calls that came in there, whichever node has carried them out.
    calls: CallsJson,
    /// Bytes of players' states that went to keepers on other nodes.
    replicated_bytes: u64,
    /// Players that run.
    running: u64,
    /// Players that rest, about.
    resting: u64,
}

/// How calls ended, and how long they took.
#[derive(Debug, Serialize, ToSchema)]
struct CallsJson {
    returned: u64,
    trapped: u64,
    refused: u64,
    unknown: u64,
    /// Time that they took together, in microseconds.
    micros: u64,
    /// How many took so long that they are in each bucket.
    buckets: Vec<u64>,
}

impl From<NodeStats> for NodeStatsJson {
    fn from(stats: NodeStats) -> Self {
        let NodeStats { node, up_millis, calls, replicated_bytes, running, resting } = stats;
        let CallStats { returned, trapped, refused, unknown, micros, buckets } = calls;
        let calls = CallsJson { returned, trapped, refused, unknown, micros, buckets };
        Self { node: node.to_string(), up_millis, calls, replicated_bytes, running, resting }
    }
}

/// Say how the cluster does
#[utoipa::path(
    get,
    path = "/v1/stats",
    tag = "nodes",
    responses(
        (status = OK, description = "What each node has done.", body = StatsJson),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn read(State(desk): State<Desk>) -> Result<Json<StatsJson>, Problem> {
    let (nodes, silent) = desk.gateway()?.stats_everywhere().await;
    Ok(Json(StatsJson {
        nodes: nodes.into_iter().map(NodeStatsJson::from).collect(),
        silent: names(&silent),
        bucket_micros: (0..CallStats::BUCKETS).map(CallStats::longest_of).collect(),
    }))
}
