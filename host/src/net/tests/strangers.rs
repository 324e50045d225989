//! Who holds nothing, something old, or something recorded gets no stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::ConnectionError;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::super::identity::{NODE_DNS_NAME, Validity};
use super::super::testing::*;
use super::super::*;
use super::pair;
use crate::clock;
use crate::protocol::Version;

const HOUR: u64 = 60 * 60 * 1000;

/// A member's certificate for another time.
fn valid(secret: &Secret, text: &str, from: u64, until: u64) -> Identity {
    let own = PeerIdentity::Node(name(text));
    let validity = Validity { from, until };
    let alpn = Version::CURRENT.alpn();
    Identity::issue_for(secret, own, alpn, clock::unix_millis(), validity).unwrap()
}

#[tokio::test]
async fn a_certificate_is_good_at_its_time_only() {
    let (secret, mut server, dialer) = pair();
    let now = clock::unix_millis();
    for (from, until) in [(now - 2 * HOUR, now - HOUR), (now + HOUR, now + 2 * HOUR)] {
        let identity = valid(&secret, "app_node2", from, until);
        let late = Endpoint::client(identity.clone()).unwrap();
        // To the dialer the handshake may look done before the node has refused it.
        match late.dial(server.record.addr, None).await {
            Ok(connection) => assert!(soon(connection.ask(append(1))).await.is_err()),
            Err(error) => assert!(matches!(error, DialError::Expired { .. }), "{error}"),
        }
        // And the other way round.
        let serving = Node::start_as(identity, "app_node2");
        let error = dialer.dial(serving.record.addr, None).await.unwrap_err();
        assert!(matches!(error, DialError::Expired { .. }), "{error}");
    }
    assert!(server.heard.try_recv().is_err());
    let good = Endpoint::client(valid(&secret, "app_node2", now - HOUR, now + HOUR)).unwrap();
    let connection = good.dial(server.record.addr, None).await.unwrap();
    assert_eq!(soon(connection.ask(append(1))).await, Ok(acknowledged(1)));
}

#[tokio::test]
async fn drafts_of_quic_and_connections_of_no_protocol_are_refused() {
    let (secret, server, _dialer) = pair();
    let identity = node_identity(&secret, "app_node2");
    let mut socket = quinn::Endpoint::client(any_addr()).unwrap();
    let mut draft = quinn::ClientConfig::new(identity.client.clone());
    draft.version(0xff00_001d);
    socket.set_default_client_config(draft);
    let end = soon(socket.connect(server.record.addr, NODE_DNS_NAME).unwrap()).await.unwrap_err();
    assert!(matches!(end, ConnectionError::VersionMismatch), "{end}");

    let mut config = identity.tls_client.clone();
    config.alpn_protocols = Vec::new();
    let config = QuicClientConfig::try_from(config).unwrap();
    socket.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let end = soon(socket.connect(server.record.addr, NODE_DNS_NAME).unwrap()).await.unwrap_err();
    assert!(matches!(end, ConnectionError::ConnectionClosed(_)), "{end}");
}

/// Keeps what would let a session be resumed, and counts it.
#[derive(Debug)]
struct Tickets(ClientSessionMemoryCache, AtomicUsize);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(server, group);
    }
    fn kx_hint(&self, server: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(server)
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.insert_tls13_ticket(server, ticket);
    }
    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server)
    }
}

#[tokio::test]
async fn nothing_is_sent_before_a_handshake_is_done() {
    let (secret, server, _dialer) = pair();
    let tickets = Arc::new(Tickets(ClientSessionMemoryCache::new(8), AtomicUsize::new(0)));
    let mut identity = node_identity(&secret, "app_node2");
    let mut config = identity.tls_client.clone();
    config.enable_early_data = true;
    config.resumption = Resumption::store(tickets.clone());
    identity.client = Arc::new(QuicClientConfig::try_from(config).unwrap());
    let eager = Endpoint::client(identity).unwrap();
    let connection = eager.dial(server.record.addr, None).await.unwrap();
    assert_eq!(soon(connection.ask(append(1))).await, Ok(acknowledged(1)));
    connection.close();
    let (config, _) = eager.client_config();
    let again = eager.quic().connect_with(config, server.record.addr, NODE_DNS_NAME).unwrap();
    assert!(again.into_0rtt().is_err(), "early data can be recorded and sent again");
    assert_eq!(tickets.1.load(Ordering::Relaxed), 0, "a session can be resumed");
}

#[tokio::test]
async fn recorded_packets_of_a_member_open_nothing() {
    let (secret, mut server, _dialer) = pair();
    let between = UdpSocket::bind(any_addr()).await.unwrap();
    let addr = between.local_addr().unwrap();
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    let (node, record) = (server.record.addr, recorded.clone());
    tasks.spawn(async move {
        let (mut buffer, mut member) = (vec![0; 65_536], None);
        loop {
            let (len, from) = between.recv_from(&mut buffer).await.unwrap();
            if from == node {
                if let Some(member) = member {
                    between.send_to(&buffer[..len], member).await.unwrap();
                }
            } else {
                member = Some(from);
                record.lock().unwrap().push(buffer[..len].to_vec());
                between.send_to(&buffer[..len], node).await.unwrap();
            }
        }
    });
    let member = Endpoint::client(node_identity(&secret, "app_node2")).unwrap();
    let connection = soon(async {
        loop {
            // TCP says that nothing listens there, which a fast handshake overtakes.
            if let Ok(connection) = member.dial(addr, None).await {
                break connection;
            }
        }
    });
    let connection = connection.await;
    assert_eq!(soon(connection.ask(append(1))).await, Ok(acknowledged(1)));
    server.heard.recv().await.unwrap();
    connection.close();
    // The node has forgotten it: what comes now is a stranger's.
    soon(async {
        while server.endpoint.quic().open_connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tasks.shutdown().await;

    let replay = UdpSocket::bind(any_addr()).await.unwrap();
    let packets = recorded.lock().unwrap().clone();
    assert!(packets.len() > 2, "a handshake and a request");
    for packet in packets.iter().chain(&packets) {
        replay.send_to(packet, server.record.addr).await.unwrap();
    }
    // It speaks to whoever sent them, and hears no request.
    let mut answer = vec![0; 65_536];
    soon(replay.recv_from(&mut answer)).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_millis(300), server.heard.recv());
    assert!(heard.await.is_err(), "a request was heard twice");
}
