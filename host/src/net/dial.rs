//! Opening a connection: from a name to addresses, from an address to a node that is known.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ConnectError, ConnectionError};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time;

use super::connection::{Connection, Farewell};
use super::crew::Crew;
use super::identity::NODE_DNS_NAME;
use super::{Endpoint, PeerIdentity};
use crate::protocol::NodeName;

/// Time for the handshake. Handshakes take milliseconds; a packet lost on the way is repeated
/// after 60 and 180 ms, within this time.
const DIAL_DEADLINE: Duration = Duration::from_millis(500);
/// Time after which a dial that got no answer asks TCP whether anything listens there.
const PROBE_AFTER: Duration = Duration::from_millis(5);
/// Time a dial still gets after TCP said that nothing listens: a firewall may say so too.
const REFUSED_GRACE: Duration = Duration::from_millis(35);

/// TLS alerts (RFC 8446, section 6), as they appear in QUIC's error codes.
const ALERT_BAD_CERTIFICATE: u64 = 42;
const ALERT_CERTIFICATE_UNKNOWN: u64 = 46;
const ALERT_UNKNOWN_CA: u64 = 48;
const ALERT_DECRYPT_ERROR: u64 = 51;
const ALERT_CERTIFICATE_EXPIRED: u64 = 45;
const ALERT_NO_APPLICATION_PROTOCOL: u64 = 120;
/// Where TLS alerts begin among QUIC's error codes (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// Why a connection was not opened. Nothing was sent.
#[derive(Debug, Error)]
pub enum DialError {
    /// Nothing answered in time: no such machine, a stopped process or a firewall. Try again.
    #[error("{addr} does not answer")]
    NoAnswer {
        /// The dialed address.
        addr: SocketAddr,
    },
    /// The machine is there and nothing listens. Try again, or start a node.
    #[error("nothing listens at {addr}")]
    Refused {
        /// The dialed address.
        addr: SocketAddr,
    },
    /// The secrets differ.
    #[error("{addr} does not belong to this cluster: another secret?")]
    OtherCluster {
        /// The dialed address.
        addr: SocketAddr,
    },
    /// A certificate is not valid at this time.
    #[error("the certificate of {addr} or of this process has expired: do the clocks agree?")]
    Expired {
        /// The dialed address.
        addr: SocketAddr,
    },
    /// The other side speaks another version of the protocol.
    #[error("{addr} speaks another version of the protocol")]
    OtherVersion {
        /// The dialed address.
        addr: SocketAddr,
    },
    /// Another node answered.
    #[error("{addr} is {found}, not {expected}")]
    OtherNode {
        /// The dialed address.
        addr: SocketAddr,
        /// The node that should be there.
        expected: NodeName,
        /// What is there.
        found: PeerIdentity,
    },
    /// The other side closed the connection: it is full or stopping. Try again.
    #[error("{addr} closed the connection")]
    Closed {
        /// The dialed address.
        addr: SocketAddr,
        /// What was heard.
        source: ConnectionError,
    },
    /// This side cannot dial that address, or is closed.
    #[error("cannot dial {addr}")]
    Local {
        /// The dialed address.
        addr: SocketAddr,
        /// What is wrong.
        source: ConnectError,
    },
}

impl Endpoint {
    /// Opens a connection to a node, which must have the name `expect` if one is given.
    ///
    /// # Errors
    ///
    /// `DialError` says whether anything answered and what was wrong with it. Takes at most 0.5 s.
    pub async fn dial(
        &self,
        addr: SocketAddr,
        expect: Option<&NodeName>,
    ) -> Result<Connection, DialError> {
        let (config, identity) = self.client_config();
        let connect = || self.quic().connect_with(config, addr, NODE_DNS_NAME);
        let (connecting, crew) =
            Crew::open(connect).map_err(|source| DialError::Local { addr, source })?;
        let quic = tokio::select! {
            connected = connecting => connected.map_err(|error| failed(addr, error))?,
            () = nothing_listens(addr) => return Err(DialError::Refused { addr }),
            () = time::sleep(DIAL_DEADLINE) => return Err(DialError::NoAnswer { addr }),
        };
        match (PeerIdentity::of(&quic), expect) {
            (Some(peer @ PeerIdentity::Node(_)), None) => {
                Ok(Connection::new(quic, &crew, peer, identity))
            }
            (Some(PeerIdentity::Node(name)), Some(expected)) if name == *expected => {
                Ok(Connection::new(quic, &crew, PeerIdentity::Node(name), identity))
            }
            (Some(found), Some(expected)) => {
                Farewell::WrongPeer.close(&quic);
                Err(DialError::OtherNode { addr, expected: expected.clone(), found })
            }
            // A certificate of this cluster that names no node is one of another version.
            (Some(PeerIdentity::Client), None) | (None, _) => {
                Farewell::WrongPeer.close(&quic);
                Err(DialError::OtherVersion { addr })
            }
        }
    }
}

/// Returns once TCP has said that nothing listens at the address and the dial had its grace.
///
/// A node listens on TCP too, for the pulse. QUIC alone cannot tell a missing process from a slow
/// one, and waiting for the deadline would slow each failover and each mistyped port.
async fn nothing_listens(addr: SocketAddr) {
    time::sleep(PROBE_AFTER).await;
    match connect_tcp(addr).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            time::sleep(REFUSED_GRACE).await;
        }
        Ok(_) | Err(_) => std::future::pending().await,
    }
}

/// Connects, and is not fooled by itself: a socket that dials a free port of its own machine may
/// be given that very port and meet itself.
pub(super) async fn connect_tcp(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn failed(addr: SocketAddr, error: ConnectionError) -> DialError {
    let alert = |code: quinn::TransportErrorCode| u64::from(code).wrapping_sub(CRYPTO_ERROR);
    let alert = match &error {
        ConnectionError::TransportError(error) => alert(error.code),
        ConnectionError::ConnectionClosed(close) => alert(close.error_code),
        ConnectionError::TimedOut => return DialError::NoAnswer { addr },
        ConnectionError::VersionMismatch => return DialError::OtherVersion { addr },
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => return DialError::Closed { addr, source: error },
    };
    match alert {
        ALERT_CERTIFICATE_EXPIRED => DialError::Expired { addr },
        ALERT_BAD_CERTIFICATE..=ALERT_CERTIFICATE_UNKNOWN
        | ALERT_UNKNOWN_CA
        | ALERT_DECRYPT_ERROR => DialError::OtherCluster { addr },
        ALERT_NO_APPLICATION_PROTOCOL => DialError::OtherVersion { addr },
        _ => DialError::Closed { addr, source: error },
    }
}

/// Why a text is not an address.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// It has no port, or the port is not a number.
    #[error("{text:?} is not an address: expected a host and a port, as in app_node2:4433")]
    Form {
        /// What was written.
        text: String,
    },
    /// No machine has that name.
    #[error("no machine is called {host:?}")]
    NoSuchHost {
        /// The name.
        host: String,
        /// What the system said, if it said anything.
        source: Option<io::Error>,
    },
}

/// Finds the addresses behind `host:port` or `ip:port`.
///
/// # Errors
///
/// `Form` for a text that will never be an address, `NoSuchHost` for a name that may get one.
pub async fn resolve(text: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(addr) = text.parse() {
        return Ok(vec![addr]);
    }
    let form = || ResolveError::Form { text: text.to_owned() };
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    let port: u16 = port.parse().map_err(|_| form())?;
    // A colon in the host is an IPv6 address without its brackets, or with wrong ones.
    if host.is_empty() || host.contains([':', '/', '[', ']', ' ']) {
        return Err(form());
    }
    let unknown = |source| ResolveError::NoSuchHost { host: host.to_owned(), source };
    let found =
        tokio::net::lookup_host((host, port)).await.map_err(|error| unknown(Some(error)))?;
    let addrs: Vec<_> = found.collect();
    if addrs.is_empty() { Err(unknown(None)) } else { Ok(addrs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_or_said_to_be_wrong() {
        assert_eq!(resolve("127.0.0.1:4433").await.unwrap(), ["127.0.0.1:4433".parse().unwrap()]);
        assert_eq!(resolve("[::1]:4433").await.unwrap(), ["[::1]:4433".parse().unwrap()]);
        assert!(resolve("localhost:1").await.unwrap().iter().all(|addr| addr.ip().is_loopback()));
        for bad in ["", "app_node2", ":4433", "host:", "host:70000", "::1", "http://a:1", "a b:1"] {
            let error = resolve(bad).await.unwrap_err();
            assert!(matches!(error, ResolveError::Form { .. }), "{bad}: {error}");
        }
    }
}
