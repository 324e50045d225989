//! Which code players run, and changing it.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::desk::Desk;
use super::intake::{Asked, Body, Component};
use super::names;
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::limits::{FAILURES_BORNE, TRAPS_BORNE};
use crate::protocol::{
    Audience, CallReply, CallRequest, CodeClass, Crossing, DeployReport, DeployRequest,
    DeploymentListing, DeploymentStatus, Fate, PlayerId,
};

/// How the code is to be deployed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wish {
    /// What people call it.
    name: Option<String>,
    /// For a part of the players only, for example `5%`.
    canary: Option<String>,
    /// For players whose names are like this only: `*` stands for any characters, `?` for one.
    players: Option<String>,
    /// Leave players that exist on the code that they have.
    #[serde(default)]
    pin: bool,
    /// Have players begin anew, and give up what they were.
    #[serde(default)]
    reset: bool,
    /// Take it back when more players than this fail on it (3).
    max_failures: Option<u32>,
    /// Let a player fail when more than this of its first calls trap (3).
    max_traps: Option<u32>,
    /// Only say what would happen.
    #[serde(default)]
    check: bool,
}

/// What was deployed, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeployedJson {
    /// Its number; `null` when it was only checked.
    deployment: Option<u64>,
    /// The hash of the code.
    code: String,
    /// What becomes of the players.
    players: Vec<Class>,
    /// Nodes that do not have it yet. They catch up.
    silent: Vec<String>,
}

/// Players of whom the same becomes.
#[derive(Debug, Serialize, ToSchema)]
struct Class {
    /// The code that they run.
    code: String,
    /// What people call it, if the directory remembers.
    name: Option<String>,
    /// `has`, `migrates`, `resets`, `pinned`, `not_meant`, `quarantined` or `stranded`.
    fate: &'static str,
    /// Why they are stranded.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How many there are.
    players: u64,
}

impl From<&DeployReport> for DeployedJson {
    fn from(report: &DeployReport) -> Self {
        let DeployReport { number, code, classes, silent } = report;
        Self {
            deployment: *number,
            code: code.to_string(),
            players: classes.iter().map(Class::from).collect(),
            silent: names(silent),
        }
    }
}

impl From<&CodeClass> for Class {
    fn from(class: &CodeClass) -> Self {
        let CodeClass { code, name, fate, players } = class;
        let reason = match fate {
            Fate::Stranded { reason } => Some(reason.clone()),
            _ => None,
        };
        let (code, name) = (code.to_string(), name.clone());
        Self { code, name, fate: fate.word(), reason, players: *players }
    }
}

/// Deploy code
///
/// The component is checked, brought to every node and compiled there; then each player goes over
/// between two of its calls, with its state.
#[utoipa::path(
    post,
    path = "/v1/deploy",
    tag = "operating",
    params(Wish),
    request_body(content = String, content_type = "application/wasm",
        description = "The component, or a core module with its component type."),
    responses(
        (status = OK, description = "It is deployed, or could be.", body = DeployedJson),
        (status = GATEWAY_TIMEOUT, description = "It may have been deployed: look at \
            `/v1/deployments`.", body = ProblemJson, content_type = CONTENT),
        (status = "default", description = "Nothing was changed.", body = ProblemJson,
            content_type = CONTENT),
    )
)]
pub(super) async fn deploy(
    State(desk): State<Desk>,
    Asked(wish): Asked<Wish>,
    Component(component): Component,
) -> Result<Json<DeployedJson>, Problem> {
    let bad = |reason: &str| Problem::new("bad_request", reason);
    if wish.canary.is_some() && wish.players.is_some() {
        return Err(bad("a canary or a pattern, not both"));
    }
    if wish.pin && wish.reset {
        return Err(bad("pin or reset, not both"));
    }
    let audience = Audience::parse(wish.canary.as_deref(), wish.players.as_deref());
    let request = DeployRequest {
        component,
        name: wish.name.unwrap_or_else(|| "uploaded".to_owned()),
        audience: audience.map_err(|error| bad(&error.to_string()))?,
        crossing: Crossing::chosen(wish.pin, wish.reset),
        failures_max: wish.max_failures.unwrap_or(FAILURES_BORNE),
        traps_max: wish.max_traps.unwrap_or(TRAPS_BORNE),
        nonce: rand::random(),
        check: wish.check,
    };
    match desk.gateway()?.serve(CallRequest::Deploy(Box::new(request))).await {
        CallReply::Deployed(Ok(Ok(report))) => Ok(Json(DeployedJson::from(&report))),
        CallReply::Deployed(Ok(Err(refusal))) => Err(refusal.into()),
        CallReply::Deployed(Err(reason)) => Err(Problem::new("undecided", reason).unknown()),
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// The deployments, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeploymentsJson {
    deployments: Vec<DeploymentJson>,
}

/// One deployment.
#[derive(Debug, Serialize, ToSchema)]
struct DeploymentJson {
    /// Its number.
    deployment: u64,
    /// The hash of the code.
    code: String,
    /// What people call it.
    name: String,
    /// `all`, a share such as `5%`, or what the players' names are like.
    audience: String,
    /// `migrate`, `pin` or `reset`.
    crossing: &'static str,
    /// `on_probation`, `settled` or `withdrawn`.
    status: &'static str,
    /// Why it was taken back, if it was.
    reason: Option<String>,
    /// Players that run its code.
    players: u64,
    /// Players that are to come to it and have not yet.
    due: u64,
    /// Players that failed on it.
    failed: u64,
    /// Some of those, and why.
    failures: Vec<Failure>,
}

/// A player that failed on other code.
#[derive(Debug, Serialize, ToSchema)]
struct Failure {
    player: String,
    reason: String,
}

impl From<&[DeploymentListing]> for DeploymentsJson {
    fn from(list: &[DeploymentListing]) -> Self {
        Self { deployments: list.iter().map(DeploymentJson::from).collect() }
    }
}

impl From<&DeploymentListing> for DeploymentJson {
    fn from(listing: &DeploymentListing) -> Self {
        let (status, reason) = match &listing.status {
            DeploymentStatus::OnProbation => ("on_probation", None),
            DeploymentStatus::Settled => ("settled", None),
            DeploymentStatus::Withdrawn { reason } => ("withdrawn", Some(reason.clone())),
        };
        let failure = |(player, reason): &(PlayerId, String)| Failure {
            player: player.as_str().to_owned(),
            reason: reason.clone(),
        };
        Self {
            deployment: listing.number,
            code: listing.code.to_string(),
            name: listing.name.clone(),
            audience: listing.audience.to_string(),
            crossing: match listing.crossing {
                Crossing::Migrate => "migrate",
                Crossing::Pin => "pin",
                Crossing::Reset => "reset",
            },
            status,
            reason,
            players: listing.players,
            due: listing.due,
            failed: listing.failed,
            failures: listing.failures.iter().map(failure).collect(),
        }
    }
}

/// List the deployments
#[utoipa::path(
    get,
    path = "/v1/deployments",
    tag = "nodes",
    responses(
        (status = OK, description = "Newest first.", body = DeploymentsJson),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn list(State(desk): State<Desk>) -> Result<Json<DeploymentsJson>, Problem> {
    match desk.gateway()?.serve(CallRequest::Deployments).await {
        CallReply::Deployments(list) => Ok(Json(list.as_slice().into())),
        _ => Err(Problem::other_answer()),
    }
}

/// Which deployment is to be taken back, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "deployment": 2, "reason": "too generous" }))]
pub(super) struct Back {
    /// Its number; without one, the newest.
    deployment: Option<u64>,
    /// Why, in words.
    reason: Option<String>,
}

/// What was taken back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TakenBack {
    /// The number of the deployment.
    withdrawn: u64,
}

/// Take a deployment back
///
/// Its players go to where they would be without it.
#[utoipa::path(
    post,
    path = "/v1/rollback",
    tag = "operating",
    request_body = Back,
    responses(
        (status = OK, description = "It holds no more.", body = TakenBack),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn roll_back(
    State(desk): State<Desk>,
    Body(Back { deployment: number, reason }): Body<Back>,
) -> Result<Json<TakenBack>, Problem> {
    let reason = reason.unwrap_or_else(|| BY_HAND.to_owned());
    match desk.gateway()?.serve(CallRequest::RollBack { number, reason }).await {
        CallReply::RolledBack(Ok(Ok(withdrawn))) => Ok(Json(TakenBack { withdrawn })),
        CallReply::RolledBack(Ok(Err(refusal))) => Err(refusal.into()),
        CallReply::RolledBack(Err(reason)) => Err(Problem::new("undecided", reason).unknown()),
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// Why a deployment was taken back where nobody says.
const BY_HAND: &str = "by hand";
