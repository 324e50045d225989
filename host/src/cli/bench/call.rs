//! One call over a way that is open, and one word for how it ended.

use std::time::Duration;

use tokio::time::timeout;

use crate::clock;
use crate::gateway::Gateway;
use crate::limits::CALL_DEADLINE;
use crate::net::{AskError, Connection};
use crate::protocol::{
    Answer, Call, CallError, CallKey, CallReply, CallRequest, NodeName, Operation, PlayerId, Reply,
    Request,
};

/// Time beyond a call's own deadline after which the node is taken for silent.
const GRACE: Duration = Duration::from_secs(1);

/// How a call gets to a node.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Over the network, as the calls of all clients do.
    Network(Connection),
    /// From within the node's own process.
    Inside(Gateway),
}

/// Calls a player once. Returns the node that ran it, or one word for why there is no answer: a
/// load tries nothing again, for what is slow has to show.
pub(super) async fn call(
    way: &Way,
    player: PlayerId,
    operation: Operation,
) -> Result<NodeName, &'static str> {
    let key = CallKey::random(clock::unix_millis());
    let call = Call { player, key, operation };
    let called = match way {
        Way::Network(connection) => call_over(connection, call).await?,
        Way::Inside(gateway) => gateway.call(call, clock::now() + CALL_DEADLINE).await,
    };
    match called {
        Ok(Answer::Returned { node, .. } | Answer::Forgotten { node, .. }) => Ok(node),
        Ok(Answer::Trapped(_)) => Err("trapped"),
        Ok(
            Answer::Released { .. }
            | Answer::Bundled(_)
            | Answer::HandedOver(_)
            | Answer::Exported(_)
            | Answer::Imported { .. },
        ) => Err("alien"),
        Err(error) => Err(error.code()),
    }
}

async fn call_over(
    connection: &Connection,
    call: Call,
) -> Result<Result<Answer, CallError>, &'static str> {
    let deadline_ms = u64::try_from(CALL_DEADLINE.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Call(CallRequest::Call { call, deadline_ms });
    match timeout(CALL_DEADLINE + GRACE, connection.ask(request)).await {
        Ok(Ok(Reply::Call(CallReply::Called(called)))) => Ok(called),
        Ok(Ok(Reply::Busy)) => Err("busy"),
        Ok(Ok(
            Reply::Call(_)
            | Reply::Member(_)
            | Reply::Directory(_)
            | Reply::Keeper(_)
            | Reply::Unrelayed(_),
        )) => Err("alien"),
        Ok(Err(AskError::Lost)) => Err("lost"),
        Ok(Err(AskError::Unreachable | AskError::UnknownNode)) => Err("unreachable"),
        Ok(Err(AskError::Full)) => Err("full"),
        Err(_) => Err("silent"),
    }
}
