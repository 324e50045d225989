//! A node, another one that it cannot reach, and a third one in between.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::testing::*;
use super::super::*;
use crate::limits::SUSPECT_AFTER;
use crate::protocol::{
    Announcement, KeeperReply, KeeperRequest, MemberRequest, NodeRecord, NodeStatus, Relay,
    Relayed, Reply, Request,
};

struct World {
    secret: Secret,
    links: Links,
    target: Node,
    relay: Node,
    _tasks: JoinSet<()>,
}

impl World {
    /// A world in which the way to the relay is open, both ways.
    async fn start() -> Self {
        let secret = Secret::generate();
        let endpoint = Endpoint::bind(any_addr(), node_identity(&secret, "app_node9")).unwrap();
        let (links, driver) = Links::new(endpoint);
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run(CancellationToken::new()));
        let (target, relay) =
            (Node::start(&secret, "app_node1"), Node::start(&secret, "app_node2"));
        relay.links.update(std::slice::from_ref(&target.record));
        let world = Self { secret, links, target, relay, _tasks: tasks };
        world.links.update(&[world.behind_a_broken_link(), world.relay.record.clone()]);
        assert!(soon(world.links.send(world.relay.record.id, ping())).await.is_ok());
        world
    }

    /// The target as this node sees it: nothing listens where it dials.
    fn behind_a_broken_link(&self) -> NodeRecord {
        NodeRecord { addr: ([127, 0, 0, 1], 1).into(), ..self.target.record.clone() }
    }

    async fn ask(&self, request: Request) -> Result<Reply, AskError> {
        soon(self.links.send(self.target.record.id, request)).await
    }
}

#[tokio::test]
async fn what_cannot_go_directly_goes_through_another_node_in_order() {
    let mut world = World::start().await;
    // The first ones wait for the dial that fails, the others find the link broken.
    for batch in [1..=50, 51..=100] {
        let ask = |seq| world.links.send(world.target.record.id, append(seq));
        let pending: Vec<_> = batch.clone().map(ask).collect();
        for (seq, pending) in batch.zip(pending) {
            assert_eq!(soon(pending).await, Ok(acknowledged(seq)));
        }
    }
    for seq in 1..=100 {
        let (from, request) = world.target.heard.recv().await.unwrap();
        assert_eq!(from, PeerIdentity::Node(name("app_node2")));
        assert_eq!(Request::Keeper(request), append(seq));
    }
    assert!(world.relay.heard.try_recv().is_err());
}

#[tokio::test]
async fn large_messages_go_around_too() {
    let world = World::start().await;
    let fetched = world.ask(fetch()).await;
    assert_eq!(fetched, Ok(Reply::Keeper(KeeperReply::Fetched(Box::new(state(STATE_BYTES))))));
    assert_eq!(world.ask(seed(STATE_BYTES)).await, Ok(acknowledged(0)));
}

#[tokio::test]
async fn what_must_not_be_passed_on_is_not() {
    let mut world = World::start().await;
    let NodeRecord { id, name, addr, incarnation, .. } = world.target.record.clone();
    let join = MemberRequest::Join(Announcement { id, name, addr, incarnation });
    assert_eq!(world.ask(Request::Member(join)).await, Err(AskError::Unreachable));
    assert_eq!(soon(world.links.send_directly(id, append(1))).await, Err(AskError::Unreachable));
    // A node that the directory calls down is not looked for.
    let down = NodeRecord { status: NodeStatus::Down, ..world.behind_a_broken_link() };
    world.links.update(&[down, world.relay.record.clone()]);
    assert_eq!(world.ask(append(1)).await, Err(AskError::Unreachable));
    assert!(world.target.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_relay_passes_on_over_its_own_link_or_not_at_all() {
    let mut world = World::start().await;
    world.relay.links.update(&[world.behind_a_broken_link()]);
    assert_eq!(world.ask(append(1)).await, Err(AskError::Unreachable));
    // A third node would get through, and that is where the next attempts go.
    let third = Node::start(&world.secret, "app_node3");
    third.links.update(std::slice::from_ref(&world.target.record));
    world.links.update(&[
        world.behind_a_broken_link(),
        world.relay.record.clone(),
        third.record.clone(),
    ]);
    assert!(soon(world.links.send(third.record.id, ping())).await.is_ok());
    let answered = soon(async {
        loop {
            match world.ask(append(1)).await {
                Err(AskError::Unreachable) => {}
                answered => break answered,
            }
        }
    });
    assert_eq!(answered.await, Ok(acknowledged(1)));
    assert_eq!(world.ask(append(2)).await, Ok(acknowledged(2)));
    for _ in 0..2 {
        let (from, _) = world.target.heard.recv().await.unwrap();
        assert_eq!(from, PeerIdentity::Node(name("app_node3")));
    }
}

#[tokio::test]
async fn what_was_passed_on_and_not_answered_is_lost() {
    let mut world = World::start().await;
    let owed = world.links.send(world.target.record.id, never_answered());
    world.target.heard.recv().await.unwrap();
    world.target.kill().await;
    assert_eq!(soon(owed).await, Err(AskError::Lost));
}

#[tokio::test]
async fn a_request_that_is_sent_around_takes_no_other_way() {
    let World { secret, links, mut target, relay, _tasks } = World::start().await;
    links.update(&[target.record.clone(), relay.record.clone()]);
    for send in [Links::send_around, Links::send] {
        assert_eq!(soon(send(&links, target.record.id, append(1))).await, Ok(acknowledged(1)));
    }
    for expected in ["app_node2", "app_node9"] {
        let (from, _) = target.heard.recv().await.unwrap();
        assert_eq!(from, PeerIdentity::Node(name(expected)));
    }
    let alone = Endpoint::bind(any_addr(), node_identity(&secret, "app_node8")).unwrap();
    let (alone, _driver) = Links::new(alone);
    alone.update(std::slice::from_ref(&target.record));
    let unreachable = soon(alone.send_around(target.record.id, append(1))).await;
    assert_eq!(unreachable, Err(AskError::Unreachable));
}

#[tokio::test]
async fn a_bypassed_link_loses_what_is_owed_and_is_made_again() {
    let World { links, mut target, relay, _tasks, .. } = World::start().await;
    let id = target.record.id;
    links.update(&[target.record.clone(), relay.record.clone()]);
    let owed = links.send(id, never_answered());
    target.heard.recv().await.unwrap();
    assert!(!links.bypass(id), "a new connection is given its time");
    tokio::time::sleep(SUSPECT_AFTER).await;
    assert!(links.bypass(id));
    assert_eq!(soon(owed).await, Err(AskError::Lost));
    // Around at once, and directly as soon as the dial in the background has succeeded.
    let mut seq = 0;
    let mut froms = Vec::new();
    let again = async {
        while froms.last() != Some(&PeerIdentity::Node(name("app_node9"))) {
            seq += 1;
            assert_eq!(links.send(id, append(seq)).await, Ok(acknowledged(seq)));
            froms.push(target.heard.recv().await.unwrap().0);
        }
    };
    soon(again).await;
    assert_eq!(froms.first(), Some(&PeerIdentity::Node(name("app_node2"))));
}

#[tokio::test]
async fn a_relay_passes_on_no_more_bytes_than_it_has_room_for() {
    let mut world = World::start().await;
    let small = Node::start_relaying(&world.secret, "app_node3", 10_000);
    // It holds what it is asked to pass on until its dial fails: nobody answers there.
    let silent = tokio::net::UdpSocket::bind(any_addr()).await.unwrap();
    let target = world.behind_a_broken_link();
    small.links.update(&[NodeRecord { addr: silent.local_addr().unwrap(), ..target.clone() }]);
    world.links.update(&[target.clone(), small.record.clone()]);
    assert!(soon(world.links.send(small.record.id, ping())).await.is_ok());

    let held: Vec<_> =
        (1..=2).map(|seq| world.links.send(target.id, append_of(seq, 4_000))).collect();
    assert_eq!(world.ask(append_of(3, 4_000)).await, Err(AskError::Full));
    for held in held {
        assert_eq!(soon(held).await, Err(AskError::Unreachable));
    }
    // What has ended makes room.
    small.links.update(std::slice::from_ref(&world.target.record));
    let passed = soon(async {
        loop {
            match world.ask(append_of(4, 9_000)).await {
                Err(AskError::Unreachable) => tokio::time::sleep(SUSPECT_AFTER).await,
                passed => break passed,
            }
        }
    });
    assert_eq!(passed.await, Ok(acknowledged(4)));
    let (_, request) = world.target.heard.recv().await.unwrap();
    assert_eq!(Request::Keeper(request), append_of(4, 9_000), "nothing else has arrived");
}

#[tokio::test]
async fn a_client_may_not_have_requests_passed_on() {
    let mut world = World::start().await;
    let client = Endpoint::client(Identity::client(&world.secret).unwrap()).unwrap();
    let connection = client.dial(world.relay.record.addr, None).await.unwrap();
    let Request::Keeper(request @ KeeperRequest::Append(_)) = append(1) else { unreachable!() };
    let relay = Relay { to: world.target.record.id, request: Relayed::Keeper(request) };
    assert_eq!(soon(connection.ask(Request::Relay(relay))).await, Err(AskError::Lost));
    assert!(world.target.heard.try_recv().is_err());
}
