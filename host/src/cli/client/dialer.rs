//! The way to a node over the network: a fresh connection for each question.
//!
//! Nodes of which any may answer are dialed as a race, so that one that is gone or about to come back
//! costs a moment. Nothing is sent before a connection has won.
//!
//! A person's questions need no kept connection, and one to a node that was killed in between
//! would only look alive.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Ask, Asked, Problem};
use crate::cli::render::sentence;
use crate::net::{
    self, AskError, BindError, Connection, DialError, Endpoint, Identity, IdentityError, Raced,
    Secret,
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

    /// Proves with another secret from now on that it is a member's.
    ///
    /// # Errors
    ///
    /// When the secret makes no identity; then it goes on with the one that it has.
    pub(in crate::cli) fn renew(&self, secret: &Secret) -> Result<(), IdentityError> {
        self.endpoint.renew(Identity::client(secret)?);
        Ok(())
    }

    /// Lets the nodes that were asked know that nobody asks any more. Without it they would hold the
    /// connections until these have been idle for seconds.
    pub(in crate::cli) async fn close(self) {
        drop(timeout(FAREWELL, self.endpoint.close()).await);
    }

    async fn dial(&self, target: &str) -> Result<Connection, Problem> {
        let addrs =
            net::resolve(target).await.map_err(|error| Problem::NotReached(sentence(&error)))?;
        let Raced { winner, failed } =
            net::race(addrs.iter().map(|addr| self.endpoint.dial(*addr, None))).await;
        let latest = || match failed.last() {
            Some((_, error)) => problem(error),
            None => Problem::NotReached("the name has no address".to_owned()),
        };
        winner.map(|(_, connection)| connection).ok_or_else(latest)
    }

    /// Asks over an open connection.
    async fn exchange(
        connection: &Connection,
        request: Request,
        end: Instant,
    ) -> Result<Reply, Problem> {
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

impl Ask for Dialer {
    async fn ask(&mut self, targets: &[String], request: Request, within: Duration) -> Asked {
        let end = Instant::now() + within;
        let dials = targets.iter().map(|target| self.dial(target));
        let Ok(Raced { winner, failed }) = timeout_at(end, net::race(dials)).await else {
            return Asked { passed: Vec::new(), reply: Err(Problem::CutShort) };
        };
        let mut failed: BTreeMap<usize, Problem> = failed.into_iter().collect();
        let mut passed = |place: usize| {
            let slow = || Problem::NotReached(format!("{} does not answer", targets[place]));
            failed.remove(&place).unwrap_or_else(slow)
        };
        match winner {
            Some((place, connection)) => Asked {
                passed: (0..place).map(&mut passed).collect(),
                reply: Self::exchange(&connection, request, end).await,
            },
            None => {
                let last = targets.len().saturating_sub(1);
                Asked { passed: (0..last).map(&mut passed).collect(), reply: Err(passed(last)) }
            }
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
