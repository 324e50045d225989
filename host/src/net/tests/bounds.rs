//! What others may take of a node, whoever they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{ConnectionError, VarInt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::connection::Farewell;
use super::super::frame::{Opening, put};
use super::super::identity::NODE_DNS_NAME;
use super::super::serve::Bounds;
use super::super::testing::*;
use super::super::*;
use crate::limits::{
    CLIENT_WINDOW_BYTES, FRAME_BYTES_MAX, GUEST_MESSAGE_BYTES_MAX, HANDSHAKES_MAX,
};
use crate::protocol::{
    Audience, Call, CallRequest, Crossing, DeployRequest, Lane, Operation, Reply, Request, Term,
};

const SHORT: Duration = Duration::from_millis(200);
/// Longer than a test.
const LONG: Duration = Duration::from_secs(600);

/// First packets of so many handshakes that go no further.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let stranger = Endpoint::client(node_identity(&Secret::generate(), "app_node1")).unwrap();
    let nowhere = UdpSocket::bind(any_addr()).await.unwrap();
    let mut buffer = vec![0; 65_536];
    for _ in 0..count {
        let (config, _) = stranger.client_config();
        let addr = nowhere.local_addr().unwrap();
        let dial = stranger.quic().connect_with(config, addr, NODE_DNS_NAME).unwrap();
        let (len, _) = soon(nowhere.recv_from(&mut buffer)).await.unwrap();
        packets.push(buffer[..len].to_vec());
        drop(dial);
        // Its farewell, and whatever it repeats.
        while tokio::time::timeout(Duration::from_millis(1), nowhere.recv_from(&mut buffer))
            .await
            .is_ok()
        {}
    }
    packets
}

/// Sends each packet to a node from a socket of its own; the sockets hear nothing.
async fn send_each(packets: &[Vec<u8>], node: &Node) -> Vec<UdpSocket> {
    let mut sockets = Vec::new();
    for packet in packets {
        let socket = UdpSocket::bind(any_addr()).await.unwrap();
        socket.send_to(packet, node.record.addr).await.unwrap();
        sockets.push(socket);
    }
    sockets
}

async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_dropped() {
    let secret = Secret::generate();
    let bounds = Bounds { handshake_time: SHORT, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let open = || node.endpoint.quic().open_connections();
    let _sockets = send_each(&first_packets(3).await, &node).await;
    until(|| open() == 3).await;
    until(|| open() == 0).await;
}

#[tokio::test]
async fn silent_strangers_are_given_no_more_than_their_share() {
    let secret = Secret::generate();
    let bounds = Bounds { handshake_time: LONG, ..Bounds::default() };
    let trusted = bounds.handshakes_trusted;
    let node = Node::start_within(&secret, "app_node1", bounds);
    let packets = first_packets(3 * HANDSHAKES_MAX).await;
    let sockets = send_each(&packets, &node).await;
    let open = || node.endpoint.quic().open_connections();
    until(|| open() == trusted).await;
    // The last one was told to show where it is, and has not.
    let mut buffer = vec![0; 2048];
    soon(sockets.last().unwrap().recv_from(&mut buffer)).await.unwrap();
    let member = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let connection = member.dial(node.record.addr, None).await.unwrap();
    assert_eq!(soon(connection.ask(append(1))).await, Ok(acknowledged(1)));
    // All that came before it has been looked at by now.
    assert_eq!(open(), trusted + 1);
}

#[tokio::test]
async fn the_oldest_handshake_gives_way_when_there_are_too_many() {
    let secret = Secret::generate();
    let (handshakes, handshakes_trusted) = (4, usize::MAX);
    let bounds =
        Bounds { handshake_time: LONG, handshakes, handshakes_trusted, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let open = || node.endpoint.quic().open_connections();
    let _sockets = send_each(&first_packets(20).await, &node).await;
    until(|| open() >= handshakes).await;
    // Those that gave way are forgotten when nothing of them can be on its way any more.
    until(|| open() == handshakes).await;
    let member = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let connection = member.dial(node.record.addr, None).await.unwrap();
    assert_eq!(soon(connection.ask(append(1))).await, Ok(acknowledged(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_leaves_members_calls_answered() {
    let (secret, stranger) = (Secret::generate(), Secret::generate());
    let mut node = Node::start(&secret, "app_node1");
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut flood = JoinSet::new();
    for _ in 0..16 {
        let (addr, stop, refused) = (node.record.addr, stop.clone(), refused.clone());
        let endpoint = Endpoint::client(Identity::client(&stranger).unwrap()).unwrap();
        flood.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert!(endpoint.dial(addr, None).await.is_err());
                refused.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let member = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let kept = soon(dial_until_done(&member, node.record.addr)).await;
    let (stopped, newcomers) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
    let (addr, came) = (node.record.addr, newcomers.clone());
    let clients = Identity::client(&secret).unwrap();
    flood.spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            let client = Endpoint::client(clients.clone()).unwrap();
            let connection = dial_until_done(&client, addr).await;
            assert!(connection.ask(nodes()).await.is_ok(), "a new client");
            came.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut seq = 0;
    soon(async {
        let counts = || (refused.load(Ordering::Relaxed), newcomers.load(Ordering::Relaxed));
        while counts().0 < 300 || counts().1 < 3 || seq < 20 {
            seq += 1;
            assert_eq!(kept.ask(append(seq)).await, Ok(acknowledged(seq)));
            node.heard.recv().await.unwrap();
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
}

/// Dials until a connection is open: a busy machine takes longer than a dial.
async fn dial_until_done(endpoint: &Endpoint, addr: std::net::SocketAddr) -> Connection {
    loop {
        if let Ok(connection) = endpoint.dial(addr, None).await {
            return connection;
        }
    }
}

#[tokio::test]
async fn too_many_connections_of_a_kind_are_told_so_and_harm_no_other_kind() {
    let secret = Secret::generate();
    let bounds = Bounds { clients: 2, each_node: 1, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let addr = node.record.addr;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let connection = client.dial(addr, None).await.unwrap();
        assert!(soon(connection.ask(nodes())).await.is_ok());
        clients.push(connection);
    }
    // On a stream of its own, and on a lane.
    for request in [nodes(), Request::Call(CallRequest::Traffic)] {
        let third = client.dial(addr, None).await.unwrap();
        assert_eq!(soon(third.ask(request)).await, Err(AskError::Full));
    }
    let member = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let first = member.dial(addr, None).await.unwrap();
    assert_eq!(soon(first.ask(append(1))).await, Ok(acknowledged(1)));
    let second = member.dial(addr, None).await.unwrap();
    assert_eq!(soon(second.ask(append(2))).await, Err(AskError::Full));
    let other = Endpoint::bind(any_addr(), node_identity(&secret, "app_node3")).unwrap();
    let other = other.dial(addr, None).await.unwrap();
    assert_eq!(soon(other.ask(append(3))).await, Ok(acknowledged(3)));

    drop(clients.pop());
    let again = soon(async {
        loop {
            let connection = client.dial(addr, None).await.unwrap();
            if connection.ask(nodes()).await.is_ok() {
                break;
            }
        }
    });
    again.await;
}

/// A client that reads nothing: it asks with calls on its lane, as often as it can.
async fn deaf_client(secret: &Secret, node: &Node) -> (quinn::Connection, JoinSet<()>) {
    let client = Endpoint::client(Identity::client(secret).unwrap()).unwrap();
    let (mut config, _) = client.client_config();
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(16 * 1024));
    transport.keep_alive_interval(Some(SHORT));
    config.transport_config(Arc::new(transport));
    let dial = client.quic().connect_with(config, node.record.addr, NODE_DNS_NAME).unwrap();
    let connection = dial.await.unwrap();
    let (mut send, receive) = connection.open_bi().await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut bytes = Vec::new();
        put(&mut bytes, &Opening::Lane(Lane::Call), 64).unwrap();
        send.write_all(&bytes).await.unwrap();
        let mut number = 0_u64;
        loop {
            bytes.clear();
            for _ in 0..100 {
                let request = CallRequest::Call { call: call(), deadline_ms: 1_000 };
                put(&mut bytes, &(number, Request::Call(request)), 1024).unwrap();
                number += 1;
            }
            if send.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop((receive, client));
    });
    (connection, tasks)
}

#[tokio::test]
async fn a_client_that_reads_no_answer_costs_no_more_than_its_window() {
    let secret = Secret::generate();
    let client_requests = 64;
    let bounds = Bounds { client_requests, client_write_time: LONG, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let (connection, _tasks) = deaf_client(&secret, &node).await;
    // What was answered and not read: the client's own window, what is on the way, a batch that is
    // being written, and the places of its lane.
    let most = (16 * 1024 + CLIENT_WINDOW_BYTES as usize + 256 * 1024) / GUEST_MESSAGE_BYTES_MAX
        + 2 * client_requests;
    let (mut before, mut still) = (usize::MAX, 0);
    soon(async {
        while still < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = node.calls.load(Ordering::Relaxed);
            still = if now == before && now > 0 { still + 1 } else { 0 };
            before = now;
        }
    })
    .await;
    assert!(before > client_requests && before <= most, "{before} answers, {most} at most");
    let other = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let other = other.dial(node.record.addr, None).await.unwrap();
    for _ in 0..10 {
        assert!(soon(other.ask(nodes())).await.is_ok(), "others do not notice");
    }
    assert!(connection.close_reason().is_none());
}

#[tokio::test]
async fn a_client_that_reads_no_answer_for_long_is_closed() {
    let secret = Secret::generate();
    let bounds = Bounds { client_write_time: SHORT, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let (connection, _tasks) = deaf_client(&secret, &node).await;
    let end = soon(connection.closed()).await;
    let code = Farewell::Violation.code();
    assert!(
        matches!(&end, ConnectionError::ApplicationClosed(close) if close.error_code == code),
        "{end}"
    );
}

#[tokio::test]
async fn a_client_that_asks_nothing_for_long_is_let_go_and_a_node_is_not() {
    let secret = Secret::generate();
    let bounds = Bounds { client_idle: SHORT, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let member = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let member = member.dial(node.record.addr, None).await.unwrap();
    let [silent, busy] =
        [client.dial(node.record.addr, None).await, client.dial(node.record.addr, None).await]
            .map(Result::unwrap);
    while silent.is_open() {
        assert!(soon(busy.ask(nodes())).await.is_ok());
        tokio::time::sleep(SHORT / 10).await;
    }
    assert!(busy.is_open());
    until(|| !busy.is_open()).await;
    assert_eq!(soon(member.ask(append(1))).await, Ok(acknowledged(1)));
}

#[tokio::test]
async fn a_client_has_one_lane_and_lists_travel_alone() {
    let mut lane = Vec::new();
    put(&mut lane, &Opening::Lane(Lane::Call), 64).unwrap();
    let mut listed = lane.clone();
    put(&mut listed, &(0_u64, nodes()), 64).unwrap();
    // A list on the lane, and the lane twice.
    for streams in [vec![listed], vec![lane.clone(), lane]] {
        let secret = Secret::generate();
        let node = Node::start(&secret, "app_node1");
        let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
        let (config, _) = client.client_config();
        let dial = client.quic().connect_with(config, node.record.addr, NODE_DNS_NAME).unwrap();
        let connection = dial.await.unwrap();
        let mut open = Vec::new();
        for bytes in &streams {
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(bytes).await.unwrap();
            open.push((send, receive));
        }
        let end = soon(connection.closed()).await;
        assert!(super::is_violation(&end), "{end}");
    }
}

/// A client's request to deploy code of this many bytes.
fn deploy(bytes: usize) -> Request {
    Request::Call(CallRequest::Deploy(Box::new(DeployRequest {
        component: vec![0; bytes],
        name: "a.wasm".to_owned(),
        audience: Audience::All,
        crossing: Crossing::Migrate,
        failures_max: 3,
        traps_max: 3,
        nonce: 1,
        check: true,
    })))
}

#[tokio::test]
async fn a_long_request_of_a_client_is_code_or_the_end_of_its_connection() {
    let secret = Secret::generate();
    let node = Node::start(&secret, "app_node1");
    let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let connection = client.dial(node.record.addr, None).await.unwrap();
    // This node has nobody who deploys.
    assert_eq!(soon(connection.ask(deploy(8 * FRAME_BYTES_MAX))).await, Ok(Reply::Busy));
    let operation = Operation::Reward(Term::Text("x".repeat(2 * FRAME_BYTES_MAX)));
    let call = Call { operation, ..call() };
    let long = Request::Call(CallRequest::Call { call, deadline_ms: 100 });
    assert!(soon(connection.ask(long)).await.is_err());
    until(|| !connection.is_open()).await;
}

#[tokio::test]
async fn a_long_request_that_does_not_arrive_holds_up_others_for_a_while_only() {
    let secret = Secret::generate();
    let bounds = Bounds { client_long_time: SHORT, ..Bounds::default() };
    let node = Node::start_within(&secret, "app_node1", bounds);
    let slow = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let (config, _) = slow.client_config();
    let dial = slow.quic().connect_with(config, node.record.addr, NODE_DNS_NAME).unwrap();
    let connection = dial.await.unwrap();
    let mut bytes = Vec::new();
    put(&mut bytes, &Opening::Alone, 64).unwrap();
    bytes.extend_from_slice(&u32::try_from(2 * FRAME_BYTES_MAX).unwrap().to_le_bytes());
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&bytes).await.unwrap();
    let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let other = client.dial(node.record.addr, None).await.unwrap();
    assert_eq!(soon(other.ask(deploy(2 * FRAME_BYTES_MAX))).await, Ok(Reply::Busy));
    let end = soon(connection.closed()).await;
    assert!(super::is_violation(&end), "{end}");
}

#[tokio::test]
async fn a_connection_of_a_dropped_secret_is_closed_from_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let old = Secret::create(&path).unwrap();
    let bounds = Bounds { locked_out_after: SHORT, ..Bounds::default() };
    let node = Node::start_within(&old, "app_node1", bounds);
    let dialer = Endpoint::bind(any_addr(), node_identity(&old, "app_node2")).unwrap();
    let client = Endpoint::client(Identity::client(&old).unwrap()).unwrap();
    let (links, driver) = Links::new(dialer.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run(CancellationToken::new()));
    links.update(std::slice::from_ref(&node.record));
    let id = node.record.id;
    assert_eq!(soon(links.send(id, append(1))).await, Ok(acknowledged(1)));
    let outsider = client.dial(node.record.addr, None).await.unwrap();
    for _ in 0..3 {
        let secret = Secret::rotate(&path, None).unwrap();
        assert!(soon(outsider.ask(nodes())).await.is_ok(), "until the last step");
        node.endpoint.renew(node_identity(&secret, "app_node1"));
        dialer.renew(node_identity(&secret, "app_node2"));
        // Its connection is replaced; nothing that is asked meanwhile is lost.
        for seq in 2..50 {
            assert_eq!(soon(links.send(id, append(seq))).await, Ok(acknowledged(seq)));
        }
    }
    until(|| !outsider.is_open()).await;
    let error = client.dial(node.record.addr, None).await.unwrap_err();
    assert!(matches!(error, DialError::OtherCluster { .. }), "{error}");
    assert_eq!(soon(links.send(id, append(50))).await, Ok(acknowledged(50)));

    // A node that did not come along is left by those that did.
    let stranger = Secret::generate();
    dialer.renew(node_identity(&stranger, "app_node2"));
    soon(async { while links.send(id, append(51)).await.is_ok() {} }).await;
}
