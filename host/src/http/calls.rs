//! Calls of players.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json_;
use utoipa::ToSchema;

use super::desk::Desk;
use super::headers::{CallHeaders, Terms};
use super::intake::{Body, Named, Player, PlayerPath};
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::clock;
use crate::guest::in_json;
use crate::protocol::{
    Answer, Arguments, Call, CallKey, FunctionCall, Operation, PlayerId, Seq, Term,
};

/// A reward.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "points": 5 }))]
pub(super) struct Reward {
    /// How many; may be negative. A text is given to the player as it is.
    points: Points,
}

/// A whole number of 64 bits, or a text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Points {
    Number(i64),
    Text(String),
}

/// What came of a reward.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "points": 12, "seq": 3, "node": "app_node1" }))]
pub(super) struct Rewarded {
    /// The player's points.
    points: i64,
    /// Its position after the call.
    seq: u64,
    /// The node that ran it.
    node: String,
}

/// The arguments of a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "arguments": { "name": "sword", "count": 2 } }))]
pub(super) struct Given {
    /// An array of them in order, or an object of them by the names of the function's parameters.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    arguments: Option<Json_>,
}

/// What a function returned.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "result": ["sword", "shield"], "seq": 4, "node": "app_node1" }))]
pub(super) struct Returned {
    /// The value; `null` when the function returns nothing.
    #[schema(value_type = Value)]
    result: Json_,
    /// The player's position after the call.
    seq: u64,
    /// The node that ran it.
    node: String,
}

/// Reward a player
///
/// A player that nobody has called yet begins with this call. The answer leaves when every keeper has
/// the player's new state.
#[utoipa::path(
    post,
    path = "/v1/players/{player}/reward",
    tag = "players",
    params(
        PlayerPath,
        CallHeaders,
    ),
    request_body = Reward,
    responses(
        (status = OK, description = "It is on every keeper.", body = Rewarded),
        (status = UNPROCESSABLE_ENTITY, description = "The player trapped, and is what it was; or \
            the key was used for another call.", body = ProblemJson, content_type = CONTENT),
        (status = GATEWAY_TIMEOUT, description = "It may have been applied: send it again with the \
            `key` that is in the problem.", body = ProblemJson, content_type = CONTENT),
        (status = "default", description = "Nothing was applied.", body = ProblemJson,
            content_type = CONTENT),
    )
)]
pub(super) async fn reward(
    State(desk): State<Desk>,
    Player(player): Player,
    terms: Terms,
    Body(Reward { points }): Body<Reward>,
) -> Result<Json<Rewarded>, Problem> {
    let term = match points {
        Points::Number(points) => Term::Integer(points),
        Points::Text(text) => Term::Text(text),
    };
    let (value, seq, node) = call(&desk, player, terms, Operation::Reward(term)).await?;
    // The contract has no other type for it.
    let points = value.as_i64().unwrap_or_default();
    Ok(Json(Rewarded { points, seq: seq.0, node }))
}

/// Call any function of a player
///
/// The function is one that the player's code exports: `add-item`, or
/// `ns:pkg/inventory@1.0.0#add-item`. Arguments and results are JSON by the types of the component:
/// records are objects; lists and tuples are arrays; enums and cases without a value are their names;
/// cases with a value are `{"name": value}`; an option is `null` or the value; a result is
/// `{"ok": value}` or `{"err": value}`; flags are an array of names.
#[utoipa::path(
    post,
    path = "/v1/players/{player}/call/{function}",
    tag = "players",
    params(
        PlayerPath,
        ("function" = String, Path, description = "Its name; `/` in it is written `%2F`."),
        CallHeaders,
    ),
    request_body = Given,
    responses(
        (status = OK, description = "What it returned; its effect is on every keeper.",
            body = Returned),
        (status = UNPROCESSABLE_ENTITY, description = "The player trapped, and is what it was; or \
            the key was used for another call.", body = ProblemJson, content_type = CONTENT),
        (status = GATEWAY_TIMEOUT, description = "It may have been applied: send it again with the \
            `key` that is in the problem.", body = ProblemJson, content_type = CONTENT),
        (status = "default", description = "Nothing was applied.", body = ProblemJson,
            content_type = CONTENT),
    )
)]
pub(super) async fn call_function(
    State(desk): State<Desk>,
    Player(player): Player,
    Named(Function { function }): Named<Function>,
    terms: Terms,
    Body(Given { arguments }): Body<Given>,
) -> Result<Json<Returned>, Problem> {
    let arguments = match arguments {
        None => "[]".to_owned(),
        // Written anew, so that the same call is the same text however it was formatted.
        Some(arguments) => arguments.to_string(),
    };
    let arguments = Arguments::Json(arguments.into());
    let operation = Operation::Call(FunctionCall { function, arguments });
    let (result, seq, node) = call(&desk, player, terms, operation).await?;
    Ok(Json(Returned { result, seq: seq.0, node }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    function: String,
}

/// Asks something of a player, wherever it is.
pub(super) async fn carry_out(
    desk: &Desk,
    player: PlayerId,
    terms: Terms,
    operation: Operation,
) -> Result<Answer, Problem> {
    let Terms { key, deadline } = terms;
    let call = Call { player, key, operation };
    Ok(desk.gateway()?.call(call, deadline).await?)
}

async fn call(
    desk: &Desk,
    player: PlayerId,
    terms: Terms,
    operation: Operation,
) -> Result<(Json_, Seq, String), Problem> {
    match carry_out(desk, player, terms, operation).await? {
        Answer::Returned { value, seq, node } => Ok((in_json(&value), seq, node.to_string())),
        Answer::Trapped(crash) => Err(Problem::trapped(crash)),
        _ => Err(Problem::other_answer().unknown()),
    }
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewKey {
    /// A UUID of version 7.
    #[schema(example = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")]
    key: String,
}

/// Make a key for a call
///
/// Any UUID of version 7 is as good; this one has the node's clock in it.
#[utoipa::path(
    post,
    path = "/v1/keys",
    tag = "players",
    responses(
        (status = OK, description = "A key that nobody has used.", body = NewKey),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn new_key() -> Json<NewKey> {
    Json(NewKey { key: CallKey::random(clock::unix_millis()).to_string() })
}
