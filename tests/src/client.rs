//! A client that keeps its connections, for loops that are too fast for a process each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use host::clock;
use host::net::{Connection, Endpoint, Identity, Raced, Secret, race};
use host::protocol::{
    Answer, Call, CallError, CallKey, CallReply, CallRequest, Operation, Outcome, Reply, Request,
    Term, Value,
};

/// Time a client waits beyond a call's own deadline before it takes the node for silent.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after an attempt without an answer: a node that refuses at once must not be asked in a
/// tight loop.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// A node said so.
    Said(CallError),
    /// No node said anything.
    Silence(String),
}

/// A client of a cluster.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    connections: HashMap<SocketAddr, Connection>,
}

impl Client {
    /// Makes a client. It belongs to the runtime that is current.
    ///
    /// # Errors
    ///
    /// When the secret is no secret or there is no socket.
    pub fn new(secret: &Path) -> Result<Self> {
        let secret = Secret::load(secret).context("load the secret")?;
        let identity = Identity::client(&secret).context("issue a certificate")?;
        let endpoint = Endpoint::client(identity).context("open a socket")?;
        Ok(Self { endpoint, connections: HashMap::new() })
    }

    /// Calls a player through a node, once.
    ///
    /// # Errors
    ///
    /// When the answer is not a player's.
    pub async fn call(
        &mut self,
        node: SocketAddr,
        call: Call,
        deadline: Duration,
    ) -> Result<Answer, NoAnswer> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Call(CallRequest::Call { call, deadline_ms });
        let asked = tokio::time::timeout(deadline + GRACE, self.ask(node, request)).await;
        let reply = asked.unwrap_or_else(|_| Err(format!("{node} says nothing")));
        match reply {
            Ok(Reply::Call(CallReply::Called(result))) => result.map_err(NoAnswer::Said),
            Ok(other) => Err(NoAnswer::Silence(format!("{node} answers {other:?}"))),
            Err(reason) => {
                // The next call dials anew.
                self.connections.remove(&node);
                Err(NoAnswer::Silence(reason))
            }
        }
    }

    /// Rewards a player through these nodes in turn, always with the same key, until one answers;
    /// those that are not reached are passed over. Returns the total.
    ///
    /// # Errors
    ///
    /// When none has answered in `patience`, when the guest trapped, or when a node says that the
    /// call cannot succeed.
    pub async fn reward(
        &mut self,
        nodes: &[SocketAddr],
        player: &str,
        points: i64,
        patience: Duration,
    ) -> Result<i64> {
        let operation = Operation::Reward(Term::Integer(points));
        let call =
            Call { player: player.parse()?, key: CallKey::random(clock::unix_millis()), operation };
        let start = Instant::now();
        let mut last = None;
        let mut order = nodes.to_vec();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let Some(place) = self.reach(&order).await else {
                last = Some(NoAnswer::Silence("no node is reached".to_owned()));
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            order.rotate_left(place);
            let result = self.call(order[0], call.clone(), left).await;
            order.rotate_left(1);
            match result {
                Ok(Answer::Returned { value: Value::Points(total), .. }) => return Ok(total),
                Ok(Answer::Forgotten { .. }) => bail!("{player} was forgotten, not rewarded"),
                Ok(
                    Answer::Returned { .. }
                    | Answer::Released { .. }
                    | Answer::Bundled(_)
                    | Answer::HandedOver(_)
                    | Answer::Exported(_)
                    | Answer::Imported { .. },
                ) => bail!("{player} was asked for something else"),
                Ok(Answer::Trapped(crash)) => bail!("{player} trapped: {}", crash.message),
                Err(NoAnswer::Said(
                    error @ (CallError::KeyReused { .. } | CallError::KeyExpired { .. }),
                )) => {
                    return Err(error.into());
                }
                Err(no_answer) => last = Some(no_answer),
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{player} was not rewarded in {patience:?}: {last:?}")
    }

    /// Returns the place of the first of these nodes that is reached. A kept connection is one
    /// already: what it is worth is known when it is used.
    async fn reach(&mut self, nodes: &[SocketAddr]) -> Option<usize> {
        let dials = nodes.iter().map(|node| {
            let (kept, endpoint) = (self.connections.get(node).cloned(), &self.endpoint);
            async move {
                match kept {
                    Some(connection) => Ok(connection),
                    None => endpoint.dial(*node, None).await,
                }
            }
        });
        let Raced { winner, .. } = race(dials).await;
        let (place, connection) = winner?;
        self.connections.insert(nodes[place], connection);
        Some(place)
    }

    /// Returns a connection to a node, to be used by many callers at the same time.
    pub(crate) async fn connection(&mut self, node: SocketAddr) -> Result<Connection, String> {
        if let Some(kept) = self.connections.get(&node) {
            return Ok(kept.clone());
        }
        let dialed = self.endpoint.dial(node, None).await;
        let connection = dialed.map_err(|error| format!("cannot dial {node}: {error}"))?;
        self.connections.insert(node, connection.clone());
        Ok(connection)
    }

    async fn ask(&mut self, node: SocketAddr, request: Request) -> Result<Reply, String> {
        let asked = self.connection(node).await?.ask(request);
        asked.await.map_err(|error| format!("{node} was lost: {error}"))
    }
}

impl NoAnswer {
    /// Whether nothing was and nothing will be applied.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Said(error) if error.outcome() == Outcome::NotApplied)
    }
}
