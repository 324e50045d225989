//! What a request brings: bodies, queries and parts of the path, bounded, and with clear words where
//! they mean nothing.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::limits::{
    BUNDLE_BYTES_MAX, CLIENT_LONG_TIME_MAX, COMPONENT_BYTES_MAX, HTTP_BODY_BYTES_MAX,
};
use crate::protocol::{NodeName, PlayerId, harmless};

/// Time in which a small body arrives.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// A body in JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // What a form of a foreign page can send has another type.
        if !is_json(request.headers()) {
            let detail = "send JSON, with the header Content-Type: application/json";
            return Err(Problem::new("no_json", detail));
        }
        let bytes = collect(request, HTTP_BODY_BYTES_MAX, BODY_TIME_MAX).await?;
        let bad = |error: serde_json::Error| {
            Problem::new("bad_request", format!("the body: {}", harmless(&error.to_string())))
        };
        let object: Map<String, Value> = serde_json::from_slice(&bytes).map_err(bad)?;
        // An array of its fields would be read, too.
        T::deserialize(Value::Object(object)).map(Self).map_err(bad)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// A player's state, as an export has answered it.
pub(super) struct Snapshot(pub(super) Vec<u8>);

impl<S: Sync> FromRequest<S> for Snapshot {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = bytes(request, "application/octet-stream", "file", BUNDLE_BYTES_MAX).await?;
        Ok(Self(bytes))
    }
}

/// A component.
pub(super) struct Component(pub(super) Vec<u8>);

impl<S: Sync> FromRequest<S> for Component {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = bytes(request, "application/wasm", "component", COMPONENT_BYTES_MAX).await?;
        Ok(Self(bytes))
    }
}

/// A long body of one kind.
async fn bytes(request: Request, kind: &str, what: &str, most: usize) -> Result<Vec<u8>, Problem> {
    let given = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !given.is_some_and(|given| given.eq_ignore_ascii_case(kind.as_bytes())) {
        let detail = format!("send the {what}, with the header Content-Type: {kind}");
        return Err(Problem::new("no_json", detail));
    }
    Ok(collect(request, most, CLIENT_LONG_TIME_MAX).await?.into())
}

async fn collect(request: Request, most: usize, within: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body has more than {most} bytes; nothing was done");
        Problem::new("body_too_large", detail)
    };
    let body = Limited::new(request.into_body(), most);
    match timeout(within, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new("bad_request", format!("the body broke off: {error}"))),
        Err(_) => {
            let seconds = within.as_secs();
            let detail = format!("the body did not arrive within {seconds} s; nothing was done");
            Err(Problem::new("body_late", detail))
        }
    }
}

/// What stands behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Problem::new("bad_request", harmless(&error.body_text())))
    }
}

/// The player in the path, as it is described.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PlayerPath {
    /// 1 to 128 bytes of printable text.
    player: String,
}

/// The player in the path.
pub(super) struct Player(pub(super) PlayerId);

impl<S: Send + Sync> FromRequestParts<S> for Player {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Named(PlayerPath { player }) = Named::from_request_parts(parts, state).await?;
        player_id(&player).map(Self)
    }
}

/// Reads the name of a player.
pub(super) fn player_id(text: &str) -> Result<PlayerId, Problem> {
    text.parse::<PlayerId>().map_err(|error| Problem::new("bad_player", error.to_string()))
}

/// Reads the name of a node. What cannot be one is the name of none.
pub(super) fn node_name(text: &str) -> Result<NodeName, Problem> {
    text.parse::<NodeName>().map_err(|error| Problem::new("no_node", error.to_string()))
}

/// Parts of the path by their names.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(parts)| Self(parts))
            .map_err(|error| Problem::new("bad_request", harmless(&error.body_text())))
    }
}
