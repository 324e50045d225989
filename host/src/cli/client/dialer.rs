//! The way to a node over the network: a fresh connection for each question.
//!
//! A person's questions need no kept connection, and one to a node that was killed in between
//! would only look alive.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Ask, Problem};
use crate::cli::render::sentence;
use crate::net::{
    self, AskError, BindError, Connection, DialError, Endpoint, Identity, IdentityError, Secret,
};
use crate::protocol::{Reply, Request};

/// Time for a farewell to leave. Nobody waits for it to arrive.
const FAREWELL: Duration = Duration::from_millis(5);

/// Why no node can be dialled at all.
#[derive(Debug, Error)]
pub(in crate::cli) enum DialerError {
    /// The secret makes no identity.
    #[error("cannot make an identity from the secret")]
    Identity(#[from] IdentityError),
    /// There is no socket.
    #[error("cannot open a socket to ask nodes")]
    Socket(#[from] BindError),
}

/// Reaches nodes over the network.
#[derive(Debug)]
pub(in crate::cli) struct Dialer {
    endpoint: Endpoint,
}

impl Dialer {
    /// Opens a socket for a client that knows the secret. Needs a running tokio runtime.
    ///
    /// # Errors
    ///
    /// `DialerError`.
    pub(in crate::cli) fn new(secret: &Secret) -> Result<Self, DialerError> {
        let endpoint = Endpoint::client(Identity::client(secret)?)?;
        Ok(Self { endpoint })
    }

    /// Lets the nodes that were asked know that nobody asks any more. Without it they would hold the
    /// connections until these have been idle for seconds.
    pub(in crate::cli) async fn close(self) {
        drop(timeout(FAREWELL, self.endpoint.close()).await);
    }

    async fn dial(&self, target: &str) -> Result<Connection, Problem> {
        let addrs =
            net::resolve(target).await.map_err(|error| Problem::NotReached(sentence(&error)))?;
        let mut latest = Problem::NotReached("the name has no address".to_owned());
        for addr in addrs {
            match self.endpoint.dial(addr, None).await {
                Ok(connection) => return Ok(connection),
                Err(error) => latest = problem(&error),
            }
        }
        Err(latest)
    }
}

impl Ask for Dialer {
    async fn ask(
        &mut self,
        target: &str,
        request: Request,
        within: Duration,
    ) -> Result<Reply, Problem> {
        let end = Instant::now() + within;
        let connection =
            timeout_at(end, self.dial(target)).await.unwrap_or(Err(Problem::CutShort))?;
        match timeout_at(end, connection.ask(request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error @ AskError::Lost)) => Err(Problem::Unanswered(sentence(&error))),
            Ok(Err(error @ (AskError::Unreachable | AskError::Full | AskError::UnknownNode))) => {
                Err(Problem::NotReached(sentence(&error)))
            }
            Err(_) => Err(Problem::Unanswered("no answer in time".to_owned())),
        }
    }
}

fn problem(error: &DialError) -> Problem {
    let reason = sentence(error);
    match error {
        DialError::NoAnswer { .. }
        | DialError::Refused { .. }
        | DialError::Closed { .. }
        | DialError::Local { .. } => Problem::NotReached(reason),
        DialError::OtherCluster { .. }
        | DialError::Expired { .. }
        | DialError::OtherVersion { .. }
        | DialError::OtherNode { .. } => Problem::Rejected(reason),
    }
}
