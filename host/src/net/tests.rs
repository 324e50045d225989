//! What two real endpoints do to each other.

mod bounds;
mod claims;
mod relays;
mod strangers;
mod violations;

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::Farewell;
use super::frame::{Opening, put};
use super::identity::NODE_DNS_NAME;
use super::testing::*;
use super::*;
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::{
    CallReply, DirectoryReply, DirectoryRequest, KeeperReply, KeeperRequest, Lane, MemberReply,
    Release, Reply, Request, Traffic,
};

/// Two members of one cluster: one that serves, and one that dials.
fn pair() -> (Secret, Node, Endpoint) {
    let secret = Secret::generate();
    let server = Node::start(&secret, "app_node1");
    let dialer = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    (secret, server, dialer)
}

#[tokio::test]
async fn requests_of_all_lanes_are_answered() {
    let (_secret, server, dialer) = pair();
    let connection = dialer.dial(server.record.addr, Some(&server.record.name)).await.unwrap();
    assert_eq!(*connection.peer(), PeerIdentity::Node(name("app_node1")));
    let pong = connection.ask(ping()).await.unwrap();
    assert!(matches!(pong, Reply::Member(MemberReply::Pong { .. })));
    let index = connection.ask(Request::Directory(DirectoryRequest::ReadIndex)).await;
    assert_eq!(index, Ok(Reply::Directory(DirectoryReply::ReadIndex(7))));
    assert_eq!(connection.ask(append(1)).await, Ok(acknowledged(1)));
    let nodes = connection.ask(nodes()).await.unwrap();
    assert!(matches!(nodes, Reply::Call(CallReply::Nodes { .. })));
}

#[tokio::test]
async fn traffic_is_what_went_over_open_connections() {
    let (_secret, server, dialer) = pair();
    let (links, driver) = Links::new(dialer);
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run(cancel.clone()));
    links.update(std::slice::from_ref(&server.record));
    assert_eq!(links.traffic(), Traffic::default());
    soon(links.send(server.record.id, ping())).await.unwrap();
    let before = links.traffic();
    assert!(before.sent > 0 && before.received > 0, "{before:?}");
    let bytes = u64::try_from(STATE_BYTES).unwrap();
    soon(links.send(server.record.id, seed(STATE_BYTES))).await.unwrap();
    let after = links.traffic();
    assert!(after.sent - before.sent > bytes, "{before:?} {after:?}");
    links.drop_connection(server.record.id);
    assert_eq!(links.traffic(), Traffic::default(), "it is not open any more");
}

#[tokio::test]
async fn appends_arrive_in_order_and_say_who_sent_them() {
    const APPENDS: u64 = 10_000;
    let (_secret, mut server, dialer) = pair();
    let connection = dialer.dial(server.record.addr, None).await.unwrap();
    let pending: Vec<_> = (1..=APPENDS).map(|seq| connection.ask(append(seq))).collect();
    for (seq, pending) in (1..).zip(pending) {
        assert_eq!(soon(pending).await, Ok(acknowledged(seq)));
    }
    for seq in 1..=APPENDS {
        let (from, request) = server.heard.recv().await.unwrap();
        assert_eq!(from, PeerIdentity::Node(name("app_node2")));
        let KeeperRequest::Append(append) = request else { panic!("expected an append") };
        assert_eq!(append.record.seq.0, seq);
    }
}

#[tokio::test]
async fn large_messages_travel_alone_both_ways() {
    let (_secret, server, dialer) = pair();
    let connection = dialer.dial(server.record.addr, None).await.unwrap();
    let seeded = connection.ask(seed(STATE_BYTES));
    let long_append = connection.ask(append_of(9, 2 * FRAME_BYTES_MAX));
    let fetched = connection.ask(fetch());
    // The lane is free meanwhile.
    assert_eq!(soon(connection.ask(append(1))).await, Ok(acknowledged(1)));
    assert_eq!(soon(seeded).await, Ok(acknowledged(0)));
    assert_eq!(soon(long_append).await, Ok(acknowledged(9)));
    let state = Box::new(state(STATE_BYTES));
    assert_eq!(soon(fetched).await, Ok(Reply::Keeper(KeeperReply::Fetched(state))));
}

#[tokio::test]
async fn a_dropped_responder_answers_busy() {
    let (_secret, server, dialer) = pair();
    let connection = dialer.dial(server.record.addr, None).await.unwrap();
    let Request::Keeper(KeeperRequest::Fetch(fetch)) = fetch() else { unreachable!() };
    let release = Release {
        player: fetch.player,
        copy: fetch.copy,
        generation: fetch.generation,
        writer: fetch.writer,
    };
    let reply = connection.ask(Request::Keeper(KeeperRequest::Release(release))).await;
    assert_eq!(reply, Ok(Reply::Busy));
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let (_secret, server, _dialer) = pair();
    let stranger = Secret::generate();
    for identity in [node_identity(&stranger, "app_node1"), Identity::client(&stranger).unwrap()] {
        let endpoint = Endpoint::client(identity).unwrap();
        let error = endpoint.dial(server.record.addr, None).await.unwrap_err();
        assert!(matches!(error, DialError::OtherCluster { .. }), "{error}");
    }
}

/// What a stranger would use who does not care whom it talks to.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[tokio::test]
async fn a_stranger_that_trusts_anybody_gets_no_stream() {
    let (_secret, mut server, _dialer) = pair();
    let stranger = node_identity(&Secret::generate(), "app_node1");
    for with_certificate in [true, false] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = if with_certificate {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let params = rcgen::CertificateParams::default();
            let chain = vec![params.self_signed(&key).unwrap().der().clone()];
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
            builder.with_client_auth_cert(chain, key.into()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![crate::protocol::Version::CURRENT.alpn().to_vec()];
        let mut identity = stranger.clone();
        identity.client = Arc::new(QuicClientConfig::try_from(config).unwrap());
        let endpoint = Endpoint::client(identity).unwrap();
        // To the stranger the handshake may look done before the node has refused it.
        if let Ok(connection) = endpoint.dial(server.record.addr, None).await {
            assert!(soon(connection.ask(append(1))).await.is_err());
        }
        assert!(server.heard.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_member_cannot_pass_for_another_node() {
    let (secret, server, dialer) = pair();
    let error = dialer.dial(server.record.addr, Some(&name("app_node3"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is app_node1, not app_node3", server.record.addr));

    // A client's certificate does not serve, whatever the dialer expects.
    let client = Endpoint::bind(any_addr(), Identity::client(&secret).unwrap()).unwrap();
    assert!(dialer.dial(client.local_addr(), None).await.is_err());
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused() {
    let (secret, server, _dialer) = pair();
    let own = PeerIdentity::Node(name("app_node2"));
    let old = Identity::issue(&secret, own, b"player-host/0").unwrap();
    let error = Endpoint::client(old).unwrap().dial(server.record.addr, None).await.unwrap_err();
    assert!(matches!(error, DialError::OtherVersion { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_process_is_noticed_before_the_deadline() {
    let (_secret, server, dialer) = pair();
    let gone = server.kill().await;
    let error = dialer.dial(gone.addr, None).await.unwrap_err();
    assert!(matches!(error, DialError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_client_may_ask_and_may_not_append() {
    let (secret, mut server, _dialer) = pair();
    let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let connection = client.dial(server.record.addr, None).await.unwrap();
    assert!(connection.ask(nodes()).await.is_ok());
    assert_eq!(soon(connection.ask(append(1))).await, Err(AskError::Lost));
    assert_eq!(soon(connection.ask(nodes())).await, Err(AskError::Unreachable));
    assert!(server.heard.try_recv().is_err());

    let connection = client.dial(server.record.addr, None).await.unwrap();
    assert_eq!(soon(connection.ask(seed(100))).await, Err(AskError::Lost));
    assert!(server.heard.try_recv().is_err());
}

/// Sends bytes on a stream of a member's connection and returns how the connection ends.
async fn answer_to(bytes: &[u8]) -> ConnectionError {
    let (_secret, server, dialer) = pair();
    let connecting = dialer
        .quic()
        .connect_with(dialer.client_config().0, server.record.addr, NODE_DNS_NAME)
        .unwrap();
    let connection = connecting.await.unwrap();
    let (mut stream, _replies) = connection.open_bi().await.unwrap();
    stream.write_all(bytes).await.unwrap();
    soon(connection.closed()).await
}

fn is_violation(error: &ConnectionError) -> bool {
    let code: VarInt = Farewell::Violation.code();
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == code)
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_dropped() {
    let mut lane = Vec::new();
    put(&mut lane, &Opening::Lane(Lane::Keeper), 64).unwrap();

    let mut malformed = lane.clone();
    put(&mut malformed, &(0u64, 200u8), 64).unwrap();
    let mut wrong_lane = lane.clone();
    put(&mut wrong_lane, &(0u64, ping()), 64).unwrap();
    let mut too_long = lane.clone();
    let len = u32::try_from(FRAME_BYTES_MAX).unwrap() + 1;
    too_long.extend_from_slice(&len.to_le_bytes());
    let no_opening = [1, 0, 0, 0, 9];

    for bytes in [&malformed[..], &wrong_lane, &too_long, &no_opening] {
        let end = answer_to(bytes).await;
        assert!(is_violation(&end), "{bytes:?}: {end}");
    }
}

#[tokio::test]
async fn a_closed_peer_leaves_what_it_owes_lost_and_what_waits_unreachable() {
    let (_secret, mut server, dialer) = pair();
    let connection = dialer.dial(server.record.addr, None).await.unwrap();
    let pending = connection.ask(never_answered());
    server.heard.recv().await.unwrap();
    server.kill().await;
    assert_eq!(soon(pending).await, Err(AskError::Lost));
    assert_eq!(soon(connection.ask(append(1))).await, Err(AskError::Unreachable));
}

#[tokio::test]
async fn a_stopping_node_answers_what_it_took() {
    let (_secret, server, dialer) = pair();
    let connection = dialer.dial(server.record.addr, None).await.unwrap();
    assert!(connection.ask(append(1)).await.is_ok());
    let fetched = connection.ask(fetch());
    let mut server = server;
    // Heard: the append, then the fetch, whose answer is on its way by then.
    server.heard.recv().await.unwrap();
    server.heard.recv().await.unwrap();
    let ((), fetched) = tokio::join!(server.stop(), soon(fetched));
    assert!(matches!(fetched, Ok(Reply::Keeper(KeeperReply::Fetched(_)))));
}
