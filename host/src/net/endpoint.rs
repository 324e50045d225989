//! One UDP socket, with a TCP listener on the same port for the pulse.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time;
use tracing::{debug, warn};

use super::Identity;
use super::connection::Farewell;
use super::crew::Runtime;
use super::token::Tokens;
use crate::limits::{
    CLIENT_STREAMS_MAX, CLIENT_WINDOW_BYTES, INCOMING_BYTES_MAX, INCOMING_MAX, NODE_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
};

/// Silence after which a connection is given up. A killed process is felt by the pulse and a hung
/// one by heartbeats; this is for what is left, and it must outlast a pause of a busy machine.
const IDLE_TIMEOUT_MS: u32 = 5_000;
/// Time between two signs of life on a connection that is not used.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Round trip assumed before one is measured. It sets when a lost handshake packet is repeated:
/// after three times this. QUIC's own 333 ms would outlast a dial; a network that is slower than
/// this costs one packet sent twice.
const INITIAL_RTT: Duration = Duration::from_millis(20);
/// Wished size of the kernel's buffers for the socket, in bytes. The default (208 KiB) overflows
/// when several peers send at once; the kernel gives less if its own limit is lower.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Connections of pulses that may wait to be accepted: all nodes at once, some of them twice.
const TCP_BACKLOG: i32 = 64;
/// QUIC's own version, as RFC 9000 numbers it.
const QUIC_1: u32 = 1;
/// Ports tried until one is free for both UDP and TCP.
const PORT_ATTEMPTS: usize = 16;
/// How long closing waits for peers to hear of it.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// Why an endpoint cannot listen. Nothing is open.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("{addr} is in use: does another node run there?")]
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// This machine does not have the address.
    #[error("{} is not an address of this machine", .addr.ip())]
    NotLocal {
        /// The address.
        addr: SocketAddr,
    },
    /// The system said no.
    #[error("cannot listen on {addr}")]
    Socket {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// How much a socket's kernel buffers hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketBuffers {
    /// What a node asks for.
    pub wished: usize,
    /// What it gets for what arrives.
    pub receive: usize,
    /// What it gets for what it sends.
    pub send: usize,
}

impl SocketBuffers {
    /// Asks for the buffers of a node's socket, and for nothing else.
    ///
    /// # Errors
    ///
    /// When the system gives no socket.
    pub fn try_out() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        ask_for_buffers(&socket);
        // Linux doubles what is asked for, for what it notes beside each datagram.
        let doubled = if cfg!(target_os = "linux") { 2 } else { 1 };
        Ok(Self {
            wished: SOCKET_BUFFER_BYTES,
            receive: socket.recv_buffer_size()? / doubled,
            send: socket.send_buffer_size()? / doubled,
        })
    }
}

/// Finds out whether a node could listen on an address now. Nobody is listened to meanwhile.
///
/// # Errors
///
/// As [`Endpoint::bind`].
pub fn could_listen(addr: SocketAddr) -> Result<(), BindError> {
    let udp = bind_udp(addr).map_err(|error| refused(addr, error))?;
    drop((bind_tcp(addr).map_err(|error| refused(addr, error))?, udp));
    Ok(())
}

/// Dials and serves. Cheap to clone; all clones are one socket.
#[derive(Debug, Clone)]
pub struct Endpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    quic: quinn::Endpoint,
    /// What this process shows and demands in handshakes that begin now.
    identity: watch::Sender<Issued>,
    /// Whether others may dial it.
    serves: bool,
    local: SocketAddr,
    /// Kept until `serve` takes it. Until then the kernel answers pulses by itself.
    listener: Mutex<Option<TcpListener>>,
}

/// An identity, and how many there were before it.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    pub(super) identity: Identity,
    pub(super) number: u64,
}

impl Endpoint {
    /// Listens on `addr`, on UDP for messages and on TCP for the pulse. Port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// `BindError` says whether the port is taken, the address is another machine's, or what else.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(addr: SocketAddr, identity: Identity) -> Result<Self, BindError> {
        let mut attempts = if addr.port() == 0 { PORT_ATTEMPTS } else { 1 };
        loop {
            attempts -= 1;
            match Self::try_bind(addr, identity.clone()) {
                // A port that is free for UDP may be taken for TCP.
                Err(error) if attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound.map_err(|error| refused(addr, error)),
            }
        }
    }

    /// Opens a socket that only dials.
    ///
    /// # Errors
    ///
    /// `BindError::Socket` when the system gives no socket.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn client(identity: Identity) -> Result<Self, BindError> {
        // One IPv6 socket reaches both kinds of addresses, where the system knows IPv6.
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let (addr, udp) = match bind_udp(any) {
            Ok(udp) => (any, udp),
            Err(_) => {
                let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                (any, bind_udp(any).map_err(|error| refused(any, error))?)
            }
        };
        Self::new(udp, None, identity).map_err(|error| refused(addr, error))
    }

    /// Returns the address that the endpoint listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// Closes all connections, tells their peers, and waits 0.5 s at most until they know.
    pub async fn close(&self) {
        self.0.quic.close(Farewell::Done.code(), b"done");
        drop(self.drop_listener());
        if time::timeout(CLOSE_DEADLINE, self.0.quic.wait_idle()).await.is_err() {
            debug!("not every peer heard of the end");
        }
    }

    pub(super) fn quic(&self) -> &quinn::Endpoint {
        &self.0.quic
    }

    /// Shows and demands something else in all handshakes that begin from now on. What is open is
    /// looked at anew: [`Endpoint::serve`] closes within seconds what is not accepted any more, and
    /// [`Links`](super::Links) replaces what they have dialed.
    pub fn renew(&self, identity: Identity) {
        if self.0.serves {
            self.0.quic.set_server_config(Some(server_config(&identity)));
        }
        self.0.identity.send_modify(|issued| {
            *issued = Issued { identity, number: issued.number + 1 };
        });
    }

    /// Returns what this process shows and demands, now and after each renewal.
    pub(super) fn watch_identity(&self) -> watch::Receiver<Issued> {
        self.0.identity.subscribe()
    }

    /// Returns what judges bearer tokens by the secret that the endpoint's identity is from.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(self.watch_identity())
    }

    /// Returns how to dial, and the number of the identity that is shown.
    pub(super) fn client_config(&self) -> (quinn::ClientConfig, u64) {
        let issued = self.0.identity.borrow();
        let mut config = quinn::ClientConfig::new(issued.identity.client.clone());
        // A dialed node asks nothing back: it dials itself when it wants something.
        config.transport_config(Arc::new(transport(0, NODE_WINDOW_BYTES)));
        (config, issued.number)
    }

    /// Returns the listener for the pulse, which listens from now on: who finds that nobody does is
    /// told at once that the node does not serve.
    pub(super) fn take_listener(&self) -> Option<TcpListener> {
        let listener = self.drop_listener()?;
        match SockRef::from(&listener).listen(TCP_BACKLOG) {
            Ok(()) => Some(listener),
            Err(error) => {
                warn!(%error, "no pulse: killed processes are noticed late");
                None
            }
        }
    }

    fn drop_listener(&self) -> Option<TcpListener> {
        // An `Option` is whole whoever panicked.
        self.0.listener.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn try_bind(addr: SocketAddr, identity: Identity) -> io::Result<Self> {
        let udp = bind_udp(addr)?;
        let tcp = bind_tcp(udp.local_addr()?)?;
        Self::new(udp, Some(tcp), identity)
    }

    fn new(udp: UdpSocket, tcp: Option<TcpListener>, identity: Identity) -> io::Result<Self> {
        let local = udp.local_addr()?;
        // Only who listens for pulses serves.
        let serves = tcp.is_some();
        let server = serves.then(|| server_config(&identity));
        let runtime = Arc::new(Runtime);
        let mut config = quinn::EndpointConfig::default();
        // No draft of it: a version that nobody here speaks is nobody's way in.
        config.supported_versions(vec![QUIC_1]);
        let quic = quinn::Endpoint::new(config, server, udp, runtime)?;
        let identity = watch::Sender::new(Issued { identity, number: 0 });
        Ok(Self(Arc::new(Inner { quic, identity, serves, local, listener: Mutex::new(tcp) })))
    }
}

fn server_config(identity: &Identity) -> quinn::ServerConfig {
    let mut config = quinn::ServerConfig::with_crypto(identity.server.clone());
    // Until the handshake has told that the peer is a node: then it gets more.
    config.transport_config(Arc::new(transport(CLIENT_STREAMS_MAX, CLIENT_WINDOW_BYTES)));
    config
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64);
    config
}

fn transport(peer_streams: u32, window: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(peer_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window));
    config
}

fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    ask_for_buffers(&socket);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn ask_for_buffers(socket: &Socket) {
    for raised in [
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES),
    ] {
        if let Err(error) = raised {
            debug!(%error, "the socket keeps its default buffers");
        }
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A node that starts again finds its port although old pulses linger in the kernel.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn refused(addr: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { addr },
        _ => BindError::Socket { addr, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Secret;

    fn identity() -> Identity {
        Identity::node(&Secret::generate(), &"app_node1".parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_taken_port_and_a_foreign_address_are_said() {
        let first = Endpoint::bind("127.0.0.1:0".parse().unwrap(), identity()).unwrap();
        assert_ne!(first.local_addr().port(), 0);
        let taken = Endpoint::bind(first.local_addr(), identity()).unwrap_err();
        assert!(matches!(taken, BindError::InUse { addr } if addr == first.local_addr()));
        let foreign = Endpoint::bind("192.0.2.1:0".parse().unwrap(), identity()).unwrap_err();
        assert!(matches!(foreign, BindError::NotLocal { .. }), "{foreign}");
    }

    #[tokio::test]
    async fn a_port_is_picked_for_udp_and_tcp_together() {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), identity()).unwrap();
        let connect = || super::super::dial::connect_tcp(endpoint.local_addr());
        connect().await.expect_err("nobody serves yet");
        let _listener = endpoint.take_listener().unwrap();
        connect().await.unwrap();
    }
}
