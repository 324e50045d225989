//! Whether the process lives, and whether it can serve: what load balancers and supervisors ask.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::desk::Desk;
use super::problem::Problem;
use crate::gateway::Readiness;

/// Say whether the process lives
///
/// It answers, so it does. Needs no token.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "about",
    responses((status = OK, description = "It lives.", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether a node can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether calls should be sent here.
    ready: bool,
    node: String,
    /// Why not, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Say whether calls should be sent here
///
/// A node that leaves says no while it still serves, so that a load balancer stops in time. Needs no
/// token.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "about",
    responses(
        (status = OK, description = "It serves.", body = Ready),
        (status = SERVICE_UNAVAILABLE, description = "It does not, or not for long.", body = Ready),
    )
)]
pub(super) async fn readyz(State(desk): State<Desk>) -> Response {
    let reason = match desk.gateway().map(|gateway| gateway.readiness()) {
        Ok(Readiness::Ready) => None,
        Ok(Readiness::Draining) => Some("it is leaving"),
        Ok(Readiness::Down) => Some("the others take it for down"),
        Ok(Readiness::Leaderless) => Some("it knows of no leader of the directory"),
        Err(_) => Some("it is not a member of its cluster yet"),
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let ready = Ready { ready: reason.is_none(), node: desk.node().to_string(), reason };
    (status, Json(ready)).into_response()
}

/// Whatever else is asked.
pub(super) async fn not_found() -> Problem {
    let detail = "there is nothing here; GET /v1/openapi.json says what there is";
    Problem::new("not_found", detail)
}

/// What there is, asked in a way that it does not know.
pub(super) async fn method_not_allowed() -> Problem {
    let detail = "this path takes other methods, which the header Allow names";
    Problem::new("method_not_allowed", detail)
}
