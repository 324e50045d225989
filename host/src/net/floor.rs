//! The floor under every call: how fast this machine answers on a QUIC stream that is open already.
//!
//! Measured with two plain endpoints of the same TLS, sockets and windows as everybody's, and nothing
//! of this room between them. Their runtimes are in threads of their own, as if they were processes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::identity::NODE_DNS_NAME;
use super::{BindError, Endpoint, Identity, IdentityError, Secret};
use crate::clock;

/// Bytes of the message that goes there and back: about what a call and its answer have.
const MESSAGE_BYTES: usize = 64;
/// Round trips before those that count, so that the network's estimates and the caches are warm.
const WARM_UP_ROUNDS: usize = 500;
/// Longest wait for all of it. A debug build on a busy machine needs a second or two.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no floor.
#[derive(Debug, Error)]
pub enum FloorError {
    /// There is no certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no thread, or no runtime in it.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// The two endpoints did not understand each other.
    #[error("the connection to this process itself failed")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("this process does not answer itself")]
    Silent,
}

/// Sends a small message there and back so many times, one after the other, over the loopback
/// interface, and returns how long each took.
///
/// # Errors
///
/// `FloorError`.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn round_trips(rounds: usize) -> Result<Vec<Duration>, FloorError> {
    let secret = Secret::generate();
    let name = "floor".parse().expect("it has letters only");
    let (server, client) = (Identity::node(&secret, &name)?, Identity::client(&secret)?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (ready, addr) = oneshot::channel();
    // Ends with the connection, and that with this function.
    thread::Builder::new().name("echo".to_owned()).spawn(move || {
        runtime.block_on(async {
            let endpoint = Endpoint::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), server);
            match endpoint {
                Ok(endpoint) => {
                    ready.send(Ok(endpoint.local_addr())).ok();
                    // The other side says what went wrong.
                    timeout(DEADLINE, echo(&endpoint)).await.ok();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    })?;
    let addr = addr.await.map_err(|_| FloorError::Silent)??;
    let endpoint = Endpoint::client(client)?;
    let measured = timeout(DEADLINE, measure(&endpoint, addr, rounds)).await;
    endpoint.close().await;
    measured.map_err(|_| FloorError::Silent)?
}

async fn measure(
    endpoint: &Endpoint,
    addr: SocketAddr,
    rounds: usize,
) -> Result<Vec<Duration>, FloorError> {
    let dial = endpoint.quic().connect_with(endpoint.client_config().0, addr, NODE_DNS_NAME);
    let connection = dial.map_err(broken)?.await.map_err(broken)?;
    let (mut to, mut from) = connection.open_bi().await.map_err(broken)?;
    let mut message = [7; MESSAGE_BYTES];
    let mut durations = Vec::with_capacity(rounds);
    for round in 0..WARM_UP_ROUNDS + rounds {
        let sent = clock::now();
        to.write_all(&message).await.map_err(broken)?;
        from.read_exact(&mut message).await.map_err(broken)?;
        if round >= WARM_UP_ROUNDS {
            durations.push(sent.elapsed());
        }
    }
    Ok(durations)
}

/// Sends back what arrives on one stream of one connection, until that ends.
async fn echo(endpoint: &Endpoint) {
    let Some(incoming) = endpoint.quic().accept().await else { return };
    let Ok(connection) = incoming.await else { return };
    let Ok((mut to, mut from)) = connection.accept_bi().await else { return };
    let mut message = [0; MESSAGE_BYTES];
    while from.read_exact(&mut message).await.is_ok() {
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> FloorError {
    FloorError::Broken(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_comes_back_as_often_as_asked() {
        let durations = round_trips(20).await.unwrap();
        assert_eq!(durations.len(), 20);
        assert!(durations.iter().all(|duration| !duration.is_zero()));
    }
}
