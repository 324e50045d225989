//! What went wrong, as a problem document: RFC 9457.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::names;
use crate::protocol::{CallError, Crash, DeployRefusal, Outcome};

/// The kind of text that a problem is.
pub(super) const CONTENT: &str = "application/problem+json";

/// Time after which it is worth asking again, where nobody knows better: an owner is replaced in less.
const SOON: Duration = Duration::from_secs(1);

/// What went wrong.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<ProblemJson>);

/// What went wrong. Its `type` is where this interface explains the kind of problem.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemJson {
    /// The kind, as a reference to its explanation.
    #[serde(rename = "type")]
    #[schema(example = "/v1/problems/single_node")]
    kind: String,
    /// The kind in a few words.
    title: &'static str,
    /// The response's status.
    status: u16,
    /// The kind as one word, which never changes.
    #[schema(value_type = String, example = "single_node")]
    code: &'static str,
    /// What happened here, and what to do.
    detail: String,
    /// Whether anything was applied; `null` when nobody knows.
    applied: Option<bool>,
    /// The key of the call: sent again with it, it is applied once at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The node that ran the call, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// What the player was restored to.
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<RestoredJson>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// What a player was restored to after it trapped.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Restored)]
pub(super) struct RestoredJson {
    /// Its position: that before the call.
    seq: u64,
    /// Time from the trap until it could be called again, in microseconds.
    micros: u64,
    /// The nodes that keep its copies, which were not touched.
    keepers: Vec<String>,
}

impl From<&Crash> for RestoredJson {
    fn from(crash: &Crash) -> Self {
        let Crash { restored_seq, restore_micros, keepers, .. } = crash;
        Self { seq: restored_seq.0, micros: *restore_micros, keepers: names(keepers) }
    }
}

/// The kinds of problems: word, status, title.
const KINDS: [(&str, StatusCode, &str); 48] = {
    use StatusCode as S;
    [
        // Of calls.
        ("trapped", S::UNPROCESSABLE_ENTITY, "The player's code trapped; its state is kept"),
        ("single_node", S::SERVICE_UNAVAILABLE, "No second node could keep a copy"),
        ("unavailable", S::SERVICE_UNAVAILABLE, "No trustworthy copy can be reached"),
        ("no_code", S::SERVICE_UNAVAILABLE, "No reachable node has the player's code"),
        ("broken", S::INTERNAL_SERVER_ERROR, "The player could not be restored"),
        ("moved", S::SERVICE_UNAVAILABLE, "The player is moving"),
        ("overloaded", S::SERVICE_UNAVAILABLE, "Too many calls wait"),
        ("key_reused", S::UNPROCESSABLE_ENTITY, "The key was used for another call"),
        ("key_expired", S::CONFLICT, "The key is too old to know its call"),
        ("key_ahead", S::CONFLICT, "The key is from the future"),
        ("answer_gone", S::CONFLICT, "Executed before, and its answer is not kept any more"),
        ("available", S::CONFLICT, "The player needs no recovery"),
        ("stopping", S::SERVICE_UNAVAILABLE, "The node is stopping"),
        ("late", S::SERVICE_UNAVAILABLE, "The player was not reached in time"),
        ("unknown", S::GATEWAY_TIMEOUT, "Nobody knows whether the call was applied"),
        ("quarantined", S::CONFLICT, "The player is in quarantine"),
        ("not_quarantined", S::CONFLICT, "The player is in no quarantine"),
        ("no_bundle", S::NOT_FOUND, "No trap is remembered"),
        ("no_function", S::NOT_FOUND, "No such function can be called"),
        ("bad_arguments", S::BAD_REQUEST, "The arguments do not fit the function"),
        ("no_player", S::NOT_FOUND, "There is no such player"),
        ("not_moved", S::CONFLICT, "The player cannot go there"),
        ("not_there", S::CONFLICT, "The player went elsewhere"),
        ("player_exists", S::CONFLICT, "There is such a player already"),
        ("not_imported", S::UNPROCESSABLE_ENTITY, "No player can begin with this file"),
        // Of deployments.
        ("bad_code", S::UNPROCESSABLE_ENTITY, "The code cannot be run"),
        ("stranded", S::CONFLICT, "Players could not go over with their state"),
        ("current", S::CONFLICT, "It holds already"),
        ("node_refused", S::CONFLICT, "A node cannot run the code"),
        ("busy", S::SERVICE_UNAVAILABLE, "The node is about to deploy other code"),
        ("conflict", S::CONFLICT, "Something else was deployed meanwhile"),
        ("code_gone", S::CONFLICT, "No node has that code any more"),
        ("undecided", S::GATEWAY_TIMEOUT, "Nobody could decide it; it may still be done"),
        // Of requests.
        ("bad_request", S::BAD_REQUEST, "The request means nothing"),
        ("bad_key", S::BAD_REQUEST, "The idempotency key is none"),
        ("bad_player", S::BAD_REQUEST, "No player can have that name"),
        ("bad_host", S::MISDIRECTED_REQUEST, "The host is not one that this node answers for"),
        ("no_token", S::UNAUTHORIZED, "A bearer token is needed"),
        ("bad_token", S::UNAUTHORIZED, "The bearer token is worth nothing"),
        ("forbidden", S::FORBIDDEN, "The token does not allow that"),
        ("no_node", S::NOT_FOUND, "There is no such node"),
        ("not_found", S::NOT_FOUND, "There is nothing of that name"),
        ("method_not_allowed", S::METHOD_NOT_ALLOWED, "That cannot be done with it"),
        ("body_late", S::REQUEST_TIMEOUT, "The body took too long"),
        ("body_too_large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
        ("no_json", S::UNSUPPORTED_MEDIA_TYPE, "The body is of another kind"),
        ("too_many_requests", S::TOO_MANY_REQUESTS, "Too many requests in a second"),
        ("starting", S::SERVICE_UNAVAILABLE, "The node does not serve yet"),
    ]
};

/// What went wrong within the node: a mistake of its own.
const INTERNAL: (&str, StatusCode, &str) =
    ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The node made a mistake");

fn kind(code: &str) -> (&'static str, StatusCode, &'static str) {
    KINDS.into_iter().find(|(known, ..)| *known == code).unwrap_or(INTERNAL)
}

impl Problem {
    /// Returns a problem of a kind, that has changed nothing.
    pub(super) fn new(code: &str, detail: impl Into<String>) -> Self {
        let (code, status, title) = kind(code);
        Self(Box::new(ProblemJson {
            kind: format!("/v1/problems/{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: detail.into(),
            applied: Some(false),
            key: None,
            node: None,
            restored: None,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(SOON),
        }))
    }

    /// Says that the node, or a player, has answered another question than was asked.
    pub(super) fn other_answer() -> Self {
        Self::new("internal", "another question was answered")
    }

    /// Returns the kind as one word.
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// Says that nobody knows whether anything was applied.
    pub(super) fn unknown(mut self) -> Self {
        self.0.applied = None;
        self
    }

    /// Says when to ask again.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Says that a guest trapped.
    pub(super) fn trapped(crash: Crash) -> Self {
        let restored = RestoredJson::from(&crash);
        let mut problem = Self::new("trapped", crash.message);
        problem.0.node = Some(crash.node.to_string());
        problem.0.restored = Some(restored);
        problem
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let mut problem = Self::new(error.code(), error.to_string());
        if error.outcome() == Outcome::Unknown {
            problem = problem.unknown();
        }
        if let CallError::Unknown { key, .. } = &error {
            problem.0.key = Some(key.to_string());
        }
        problem
    }
}

impl From<DeployRefusal> for Problem {
    fn from(refusal: DeployRefusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(said) = self;
        let status = kind(said.code).1;
        let mut response = (status, Json(&said)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        if let Some(wait) = said.retry_after {
            // In whole seconds, and not before it is worth it.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"player-host\"");
            headers.insert(axum::http::header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// A kind of problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Kind {
    /// The kind as one word.
    code: &'static str,
    /// The status of responses that have it.
    status: u16,
    /// The kind in a few words.
    title: &'static str,
}

/// Explain a kind of problem
#[utoipa::path(
    get,
    path = "/v1/problems/{code}",
    tag = "about",
    params(("code" = String, Path, description = "The kind, as one word.")),
    responses(
        (status = OK, description = "What it means.", body = Kind),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn explain(Path(code): Path<String>) -> Result<Json<Kind>, Problem> {
    let known = KINDS.into_iter().chain([INTERNAL]).find(|(known, ..)| *known == code);
    match known {
        Some((code, status, title)) => Ok(Json(Kind { code, status: status.as_u16(), title })),
        None => Err(Problem::new("not_found", "there is no such kind of problem")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words behind each `=>` of the functions that give errors their codes.
    fn codes(source: &str) -> Vec<&str> {
        let arms = source.lines().filter_map(|line| line.trim().split_once("=> \""));
        let arms = arms.filter(|(pattern, _)| pattern.starts_with("Self::"));
        arms.filter_map(|(_, rest)| rest.strip_suffix("\",")).collect()
    }

    #[test]
    fn each_error_that_a_node_answers_has_its_status() {
        let calls = codes(include_str!("../protocol/call.rs"));
        assert!(calls.contains(&"single_node") && calls.contains(&"no_player"), "{calls:?}");
        let report = include_str!("../protocol/deployment/report.rs");
        let refusals = report.split_once("impl DeployRefusal").map_or("", |(_, after)| after);
        let refusals = codes(refusals);
        assert!(refusals.contains(&"stranded"), "{refusals:?}");
        for code in calls.into_iter().chain(refusals) {
            assert_eq!(kind(code).0, code, "it would be called a mistake of the node's");
        }
    }

    #[test]
    fn each_kind_is_there_once_and_says_when_to_ask_again() {
        for (at, (code, status, title)) in KINDS.into_iter().enumerate() {
            assert!(!KINDS[..at].iter().any(|(before, ..)| *before == code), "{code}");
            assert!(!title.is_empty() && status.as_u16() >= 400);
            let response = Problem::new(code, "why").into_response();
            assert_eq!(response.status(), status);
            let again = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(again, status == StatusCode::SERVICE_UNAVAILABLE, "{code}");
        }
    }
}
