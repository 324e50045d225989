//! Players as people look at them, and what is done with a player as a whole.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::calls::carry_out;
use super::desk::Desk;
use super::headers::Terms;
use super::intake::{Asked, Player, PlayerPath, node_name, player_id};
use super::names;
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::gateway::{Listing, Look};
use crate::limits::LISTING_PAGE_PLAYERS;
use crate::protocol::{
    Answer, CallReply, CallRequest, Description, FunctionShape, Operation, PlayerListing, Subject,
};

/// A player.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlayerJson {
    player: String,
    /// The node that runs it, or would.
    owner: String,
    /// Whether it runs there now; otherwise its next call restores it.
    running: bool,
    /// Whether no call restores it: its state could not be restored again and again.
    quarantined: bool,
    /// The nodes that keep its copies.
    keepers: Vec<String>,
    /// Its ownership number.
    generation: u64,
    /// Its position, where a running player says it.
    seq: Option<u64>,
    /// Its points, where a running player says them.
    points: Option<i64>,
    /// The hash of its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

impl From<PlayerListing> for PlayerJson {
    fn from(listing: PlayerListing) -> Self {
        let PlayerListing { player, owner, running, quarantined, .. } = listing;
        Self {
            player: player.as_str().to_owned(),
            owner: owner.to_string(),
            running,
            quarantined,
            keepers: names(&listing.keepers),
            generation: listing.generation.0,
            seq: listing.seq.map(|seq| seq.0),
            points: listing.points,
            code: None,
        }
    }
}

/// Look at a player
///
/// It is asked itself, which wakes it up if it rests.
#[utoipa::path(
    get,
    path = "/v1/players/{player}",
    tag = "players",
    params(PlayerPath),
    responses(
        (status = OK, description = "The player.", body = PlayerJson),
        (status = NOT_FOUND, description = "There is none; none begins.", body = ProblemJson,
            content_type = CONTENT),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn look(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
) -> Result<Json<PlayerJson>, Problem> {
    let Look { code, listing } = desk.gateway()?.inspect(player, terms.deadline).await?;
    Ok(Json(PlayerJson { code: Some(code.to_string()), ..PlayerJson::from(listing) }))
}

/// Which players are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those that this node owns.
    on: Option<String>,
    /// Only those after this one, in the order of their names' bytes.
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
}

/// Some players.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlayersJson {
    players: Vec<PlayerJson>,
    /// What to ask `after` for the next page; `null` when this is the last one.
    next: Option<String>,
    /// Nodes that did not say in time what runs on them.
    silent: Vec<String>,
}

/// Players of a page where nobody says how many.
const LIMIT: u16 = 100;

/// List players
///
/// Players that rest are listed without points. A page may have fewer players than `limit`, even none,
/// although there are more: `next` says so.
#[utoipa::path(
    get,
    path = "/v1/players",
    tag = "players",
    params(Wanted),
    responses(
        (status = OK, description = "A page of them.", body = PlayersJson),
        (status = NOT_FOUND, description = "There is no such node.", body = ProblemJson,
            content_type = CONTENT),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Asked(Wanted { on, after, limit }): Asked<Wanted>,
) -> Result<Json<PlayersJson>, Problem> {
    let after = after.as_deref().map(player_id).transpose()?;
    let on = on.as_deref().map(node_name).transpose()?;
    let limit = usize::from(limit.unwrap_or(LIMIT));
    if !(1..=LISTING_PAGE_PLAYERS).contains(&limit) {
        let detail = format!("a page has 1 to {LISTING_PAGE_PLAYERS} players, not {limit}");
        return Err(Problem::new("bad_request", detail));
    }
    let page = desk.gateway()?.list_players(&Listing { on, after, limit }).await;
    let page = page.map_err(|known| super::nodes::unknown(&known))?;
    Ok(Json(PlayersJson {
        players: page.players.into_iter().map(PlayerJson::from).collect(),
        next: page.next.map(|next| next.as_str().to_owned()),
        silent: names(&page.silent),
    }))
}

/// What became of a player that ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Forgotten {
    /// The position it had; `null` when there was none, or none that could be read.
    seq: Option<u64>,
    /// The node that has ended it.
    node: String,
}

/// End a player
///
/// Its copies are dropped, and the next call begins a new one.
#[utoipa::path(
    delete,
    path = "/v1/players/{player}",
    tag = "operating",
    params(PlayerPath),
    responses(
        (status = OK, description = "It is no more.", body = Forgotten),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn forget(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
) -> Result<Json<Forgotten>, Problem> {
    match carry_out(&desk, player, terms, Operation::Forget).await? {
        Answer::Forgotten { seq, node } => {
            Ok(Json(Forgotten { seq: seq.map(|seq| seq.0), node: node.to_string() }))
        }
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// What had become of a player that was in quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Released {
    /// How many restores had failed in a row.
    times: u32,
    /// The position that it is restored to.
    seq: u64,
    /// Why the last one failed.
    reason: String,
    /// Its owner.
    node: String,
}

/// Release a player from quarantine
///
/// Its next call tries to restore it again.
#[utoipa::path(
    post,
    path = "/v1/players/{player}/release",
    tag = "operating",
    params(PlayerPath),
    responses(
        (status = OK, description = "It is in quarantine no more.", body = Released),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn release(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
) -> Result<Json<Released>, Problem> {
    match carry_out(&desk, player, terms, Operation::Release).await? {
        Answer::Released { failed, node } => Ok(Json(Released {
            times: failed.times,
            seq: failed.seq.0,
            reason: failed.reason,
            node: node.to_string(),
        })),
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// A code's functions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Functions {
    /// The hash of the code.
    code: String,
    functions: Vec<Function>,
    /// How many more there are: too many to be sent.
    left_out: u64,
}

/// One function.
#[derive(Debug, Serialize, ToSchema)]
struct Function {
    /// Its name, with its interface if it is in one.
    name: String,
    /// Its type in the syntax of WIT.
    shape: String,
    /// What its author says of it.
    docs: Option<String>,
    /// Why it cannot be called from outside, if so.
    refused: Option<String>,
}

impl From<Description> for Functions {
    fn from(description: Description) -> Self {
        let function = |function| {
            let FunctionShape { name, shape, docs, refused } = function;
            Function { name, shape, docs, refused }
        };
        Self {
            code: description.code.to_string(),
            functions: description.functions.into_iter().map(function).collect(),
            left_out: description.left_out,
        }
    }
}

/// Describe the functions of a player
#[utoipa::path(
    get,
    path = "/v1/players/{player}/functions",
    tag = "players",
    params(PlayerPath),
    responses(
        (status = OK, description = "What can be called.", body = Functions),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn functions(
    State(desk): State<Desk>,
    Player(player): Player,
) -> Result<Json<Functions>, Problem> {
    describe(&desk, Subject::Player(player)).await
}

/// Describe the functions that a new player would have
#[utoipa::path(
    get,
    path = "/v1/functions",
    tag = "players",
    responses(
        (status = OK, description = "What can be called.", body = Functions),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn functions_of_new(State(desk): State<Desk>) -> Result<Json<Functions>, Problem> {
    describe(&desk, Subject::New).await
}

async fn describe(desk: &Desk, subject: Subject) -> Result<Json<Functions>, Problem> {
    match desk.gateway()?.serve(CallRequest::Describe(subject)).await {
        CallReply::Described(described) => Ok(Json(Functions::from(*described?))),
        _ => Err(Problem::other_answer()),
    }
}
