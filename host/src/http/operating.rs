//! What people do to players and nodes that calls do not: move them, try what a failure does, take a
//! state out and in.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::calls::carry_out;
use super::desk::Desk;
use super::headers::{CallHeaders, Terms};
use super::intake::{Body, Named, Player, PlayerPath, Snapshot, node_name};
use super::names;
use super::problem::{CONTENT, Problem, ProblemJson, RestoredJson};
use crate::protocol::{
    Answer, CallReply, CallRequest, DrainReport, ExportFile, Handover, NodeCrash, Operation,
};

/// Where a player should be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "to": "app_node3" }))]
pub(super) struct Move {
    /// The node.
    to: String,
}

/// A player that is where it should be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Moved {
    /// The node that owned it; the same as `to` when there was nothing to do.
    from: String,
    /// The node that owns it.
    to: String,
    /// Its position.
    seq: u64,
    /// Its ownership number.
    generation: u64,
    /// The nodes that keep its copies.
    keepers: Vec<String>,
}

/// Move a player to another node
///
/// Its owner hands it over after its last acknowledgement. Nobody's call fails for it.
#[utoipa::path(
    post,
    path = "/v1/players/{player}/move",
    tag = "operating",
    params(
        PlayerPath,
        CallHeaders,
    ),
    request_body = Move,
    responses(
        (status = OK, description = "It is there.", body = Moved),
        (status = CONFLICT, description = "It cannot go there, or went elsewhere.",
            body = ProblemJson, content_type = CONTENT),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn move_player(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
    Body(Move { to }): Body<Move>,
) -> Result<Json<Moved>, Problem> {
    let to = node_name(&to)?;
    match carry_out(&desk, player, terms, Operation::Move(to)).await? {
        Answer::HandedOver(handover) => {
            let Handover { from, to, seq, generation, keepers } = *handover;
            Ok(Json(Moved {
                from: from.to_string(),
                to: to.to_string(),
                seq: seq.0,
                generation: generation.0,
                keepers: names(&keepers),
            }))
        }
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// Nothing has to be said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub(super) struct Nothing {}

/// A player that was restored in a drill.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drilled {
    /// The node that runs it.
    node: String,
    restored: RestoredJson,
}

/// Have a player crash, as a drill
///
/// Its instance is thrown away and restored as after a trap. Nothing is executed, and nothing counted.
#[utoipa::path(
    post,
    path = "/v1/players/{player}/crash",
    tag = "operating",
    params(
        PlayerPath,
        CallHeaders,
    ),
    request_body = Nothing,
    responses(
        (status = OK, description = "It was restored.", body = Drilled),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn crash_player(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<Drilled>, Problem> {
    match carry_out(&desk, player, terms, Operation::Crash).await? {
        Answer::Trapped(crash) => {
            let node = crash.node.to_string();
            Ok(Json(Drilled { node, restored: RestoredJson::from(&crash) }))
        }
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// Take a player's state to a file
///
/// It is all that the player knows, so it is as secret as the player.
#[utoipa::path(
    get,
    path = "/v1/players/{player}/export",
    tag = "operating",
    params(PlayerPath),
    responses(
        (status = OK, description = "The state at one acknowledged position.", body = String,
            content_type = "application/octet-stream"),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn export(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
) -> Result<Response, Problem> {
    match carry_out(&desk, player, terms, Operation::Export).await? {
        Answer::Exported(export) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CONTENT_DISPOSITION, "attachment; filename=\"player.snap\""),
            ];
            Ok((headers, export.encode()).into_response())
        }
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// A player that has begun with a state from a file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    /// Its position.
    seq: u64,
    /// The node that runs it.
    node: String,
    /// The nodes that keep its copies.
    keepers: Vec<String>,
}

/// Begin a player with a state from a file
#[utoipa::path(
    put,
    path = "/v1/players/{player}/import",
    tag = "operating",
    params(
        PlayerPath,
        CallHeaders,
    ),
    request_body(content = String, content_type = "application/octet-stream",
        description = "What an export has answered."),
    responses(
        (status = OK, description = "It has begun.", body = Imported),
        (status = CONFLICT, description = "There is such a player already.", body = ProblemJson,
            content_type = CONTENT),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn import(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
    Snapshot(file): Snapshot,
) -> Result<Json<Imported>, Problem> {
    let import = Operation::Import(ExportFile(file));
    match carry_out(&desk, player, terms, import).await? {
        Answer::Imported { seq, node, keepers } => {
            Ok(Json(Imported { seq: seq.0, node: node.to_string(), keepers: names(&keepers) }))
        }
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// What a node has handed over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drained {
    node: String,
    /// Players that other nodes own now.
    players: u64,
    /// Copies that other nodes keep now.
    copies: u64,
    /// What stays and why; `null` when nothing does.
    left: Option<String>,
}

/// Have a node hand over what it has, and stop
#[utoipa::path(
    post,
    path = "/v1/nodes/{node}/drain",
    tag = "operating",
    params(("node" = String, Path, description = "Its name.")),
    request_body = Nothing,
    responses(
        (status = OK, description = "It stops now.", body = Drained),
        (status = NOT_FOUND, description = "There is no such node.", body = ProblemJson,
            content_type = CONTENT),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn drain(
    State(desk): State<Desk>,
    Named(Node { node: name }): Named<Node>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<Drained>, Problem> {
    match desk.gateway()?.drain_node(&node_name(&name)?).await? {
        CallReply::Drained(DrainReport { node, players, copies, left }) => {
            Ok(Json(Drained { node: node.to_string(), players, copies, left }))
        }
        CallReply::Called(Err(error)) => Err(error.into()),
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// A node whose process was ended in a drill.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Crashed {
    node: String,
    /// Players that it owned.
    players: u64,
    /// Copies that it kept for other owners.
    copies: u64,
    /// Whether the directory calls it down by now.
    down: bool,
}

/// Have a node's process end at once, as a drill
///
/// As if somebody had killed it. The node that is asked does not answer if it is the one.
#[utoipa::path(
    post,
    path = "/v1/nodes/{node}/crash",
    tag = "operating",
    params(("node" = String, Path, description = "Its name.")),
    request_body = Nothing,
    responses(
        (status = OK, description = "It is gone.", body = Crashed),
        (status = NOT_FOUND, description = "There is no such node.", body = ProblemJson,
            content_type = CONTENT),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn crash_node(
    State(desk): State<Desk>,
    Named(Node { node: name }): Named<Node>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<Crashed>, Problem> {
    match desk.gateway()?.serve(CallRequest::Crash(node_name(&name)?)).await {
        CallReply::Crashed(crashed) => {
            let NodeCrash { node, players, copies, down } = crashed?;
            Ok(Json(Crashed { node: node.to_string(), players, copies, down }))
        }
        _ => Err(Problem::other_answer().unknown()),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    node: String,
}
