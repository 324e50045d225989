//! What a request says of its sender is held against the certificate of its connection.

use std::sync::Arc;

use super::super::testing::*;
use super::super::*;
use crate::protocol::{
    Announcement, CallRequest, Candidacy, CodeHash, CopyId, DirectoryRequest, Generation,
    Incarnation, KeeperReply, KeeperRequest, MemberRequest, Muster, NodeRecord, Passed,
    PlayerChange, Relay, Relayed, Release, Reply, Request, Writer,
};

/// A node, and what it knows of itself and two others.
fn knowing(secret: &Secret) -> (Node, Writer, Writer) {
    let server = Node::start(secret, "app_node1");
    let (own, other) = (record("app_node2"), record("app_node3"));
    let writer = |record: &NodeRecord| Writer { node: record.id, incarnation: record.incarnation };
    let (own_writer, other_writer) = (writer(&own), writer(&other));
    server.known.send_replace(Arc::new(vec![server.record.clone(), own, other]));
    (server, own_writer, other_writer)
}

/// Every request that names its sender, as this one sends it.
fn requests_of(writer: Writer, text: &str) -> Vec<Request> {
    let keeper = |request: Request| {
        let Request::Keeper(mut request) = request else { unreachable!() };
        match &mut request {
            KeeperRequest::Append(append) => append.writer = writer,
            KeeperRequest::Confirm(confirm) => confirm.writer = writer,
            KeeperRequest::Seed(seed) => seed.writer = writer,
            KeeperRequest::Fetch(fetch) => fetch.writer = writer,
            KeeperRequest::Release(release) => release.writer = writer,
        }
        Request::Keeper(request)
    };
    let player = "player1".parse().unwrap();
    let (copy, generation) = (CopyId(1), Generation(1));
    let release = Release { player, copy, generation, writer };
    let change = PlayerChange {
        player: "player1".parse().unwrap(),
        expect: Generation(1),
        by: writer,
        owner: writer,
        keepers: Vec::new(),
        code: CodeHash([0; 32]),
        failed: None,
    };
    let member = |request| Request::Member(request);
    vec![
        member(MemberRequest::Ping { from: writer }),
        member(MemberRequest::Leave { from: writer }),
        member(MemberRequest::Drain { from: writer }),
        member(MemberRequest::Join(announcement(writer, text))),
        member(MemberRequest::Muster(muster(writer))),
        Request::Directory(DirectoryRequest::Change(vec![change])),
        keeper(append(1)),
        keeper(seed(10)),
        keeper(seed(STATE_BYTES)),
        keeper(fetch()),
        Request::Keeper(KeeperRequest::Release(release)),
        keeper(never_answered()),
    ]
}

fn muster(writer: Writer) -> Muster {
    let (node, incarnation) = (writer.node, writer.incarnation);
    Muster { from: Candidacy { node, incarnation, attempt: 1 }, list: 1, asks: true }
}

fn announcement(writer: Writer, text: &str) -> Announcement {
    let (id, incarnation) = (writer.node, writer.incarnation);
    Announcement { id, name: name(text), addr: any_addr(), incarnation }
}

#[tokio::test]
async fn a_node_never_asks_as_another_one() {
    let secret = Secret::generate();
    let (mut server, own, other) = knowing(&secret);
    let dialer = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    for request in requests_of(own, "app_node2") {
        let connection = dialer.dial(server.record.addr, None).await.unwrap();
        let pending = connection.ask(request.clone());
        if request == never_answered_by(own) {
            server.heard.recv().await.unwrap();
        } else {
            assert!(soon(pending).await.is_ok(), "{request:?}");
        }
    }
    while server.heard.try_recv().is_ok() {}
    for request in requests_of(other, "app_node2") {
        let connection = dialer.dial(server.record.addr, None).await.unwrap();
        let shown = format!("{request:?}");
        assert_eq!(soon(connection.ask(request)).await, Err(AskError::Lost), "{shown:.80}");
        assert_eq!(soon(connection.ask(nodes())).await, Err(AskError::Unreachable), "it is closed");
    }
    // Its own number, and another one's name.
    let join = Request::Member(MemberRequest::Join(announcement(own, "app_node3")));
    let connection = dialer.dial(server.record.addr, None).await.unwrap();
    assert_eq!(soon(connection.ask(join)).await, Err(AskError::Lost));
    assert!(server.heard.try_recv().is_err(), "nothing has arrived");
}

fn never_answered_by(writer: Writer) -> Request {
    requests_of(writer, "app_node2").pop().unwrap()
}

#[tokio::test]
async fn a_number_that_nobody_has_yet_may_be_anybodys() {
    let secret = Secret::generate();
    let (server, _, other) = knowing(&secret);
    let newcomer = Endpoint::bind(any_addr(), node_identity(&secret, "app_node4")).unwrap();
    let connection = newcomer.dial(server.record.addr, None).await.unwrap();
    let unknown = Writer { node: record("app_node4").id, incarnation: Incarnation(1) };
    for request in requests_of(unknown, "app_node4").into_iter().take(7) {
        assert!(soon(connection.ask(request)).await.is_ok());
    }
    let request = requests_of(other, "app_node4").swap_remove(0);
    assert_eq!(soon(connection.ask(request)).await, Err(AskError::Lost));
}

#[tokio::test]
async fn what_is_passed_on_is_held_against_the_one_it_is_passed_on_for() {
    let secret = Secret::generate();
    let (mut server, own, other) = knowing(&secret);
    let relay = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let connection = relay.dial(server.record.addr, None).await.unwrap();
    let pass = |from: &str, request: Request| {
        let request = match Relayed::new(request) {
            Ok(request) => request,
            Err(Request::Member(MemberRequest::Join(join))) => Relayed::Join(join),
            Err(other) => panic!("{other:?}"),
        };
        connection.ask(Request::Passed(Passed { from: name(from), request }))
    };
    let is_passed_on =
        |request: &Request| !matches!(request, Request::Member(MemberRequest::Muster(_)));
    for request in requests_of(other, "app_node3").into_iter().filter(is_passed_on) {
        if request != never_answered_by(other) {
            assert!(soon(pass("app_node3", request)).await.is_ok());
        }
    }
    while server.heard.try_recv().is_ok() {}
    // The relay is not to blame: it may know less. The connection stays.
    for request in requests_of(own, "app_node2").into_iter().filter(is_passed_on) {
        assert_eq!(soon(pass("app_node3", request)).await, Ok(Reply::Busy));
    }
    assert!(server.heard.try_recv().is_err());
    assert!(connection.is_open());
}

#[tokio::test]
async fn a_client_asks_nothing_that_is_for_nodes() {
    let secret = Secret::generate();
    let (mut server, own, _) = knowing(&secret);
    let client = Endpoint::client(Identity::client(&secret).unwrap()).unwrap();
    let mut requests = requests_of(own, "app_node2");
    let Request::Keeper(fetched) = fetch() else { unreachable!() };
    let (to, request) = (server.record.id, Relayed::Keeper(fetched));
    let from = name("app_node2");
    requests.extend([
        Request::Directory(DirectoryRequest::AppendEntries(Vec::new())),
        Request::Directory(DirectoryRequest::Vote(Vec::new())),
        Request::Directory(DirectoryRequest::InstallSnapshot(Vec::new())),
        Request::Directory(DirectoryRequest::ReadIndex),
        Request::Directory(DirectoryRequest::Configure(Default::default())),
        Request::Call(CallRequest::Code(CodeHash([0; 32]))),
        Request::Call(CallRequest::Forward { call: call(), deadline_ms: 1 }),
        Request::Relay(Relay { to, request: request.clone() }),
        Request::Passed(Passed { from, request }),
    ]);
    for request in requests {
        let connection = client.dial(server.record.addr, None).await.unwrap();
        let shown = format!("{request:?}");
        assert_eq!(soon(connection.ask(request)).await, Err(AskError::Lost), "{shown:.80}");
        assert!(!connection.is_open(), "{shown:.80}");
    }
    assert!(server.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_relay_says_for_whom_it_passes_on() {
    let secret = Secret::generate();
    let (mut server, own, _) = knowing(&secret);
    let relay = Node::start(&secret, "app_node3");
    relay.links.update(std::slice::from_ref(&server.record));
    let dialer = Endpoint::bind(any_addr(), node_identity(&secret, "app_node2")).unwrap();
    let connection = dialer.dial(relay.record.addr, None).await.unwrap();
    let append = requests_of(own, "app_node2").swap_remove(6);
    let Ok(request) = Relayed::new(append.clone()) else { unreachable!() };
    let relayed = Request::Relay(Relay { to: server.record.id, request });
    // The target would refuse the append as the relay's own.
    let reply = soon(connection.ask(relayed)).await;
    assert!(matches!(reply, Ok(Reply::Keeper(KeeperReply::Acknowledged { .. }))), "{reply:?}");
    let (brought_by, request) = server.heard.recv().await.unwrap();
    assert_eq!(brought_by, PeerIdentity::Node(name("app_node3")));
    assert_eq!(Request::Keeper(request), append);
}
