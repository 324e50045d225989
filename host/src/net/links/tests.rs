use super::super::testing::*;
use super::*;
use crate::net::Secret;

struct World {
    secret: Secret,
    links: Links,
    _tasks: JoinSet<()>,
}

fn world() -> World {
    let secret = Secret::generate();
    let endpoint = Endpoint::bind(any_addr(), node_identity(&secret, "app_node9")).unwrap();
    let (links, driver) = Links::new(endpoint);
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run(CancellationToken::new()));
    World { secret, links, _tasks: tasks }
}

#[tokio::test]
async fn order_is_kept_across_the_dial() {
    let World { secret, links, _tasks } = world();
    let mut node = Node::start(&secret, "app_node1");
    links.update(std::slice::from_ref(&node.record));
    // The driver has not run yet: all of these wait for the dial.
    let pending: Vec<_> = (1..=100).map(|seq| links.send(node.record.id, append(seq))).collect();
    for (seq, pending) in (1..).zip(pending) {
        assert_eq!(soon(pending).await, Ok(acknowledged(seq)));
        let (_, request) = node.heard.recv().await.unwrap();
        assert_eq!(Request::Keeper(request), append(seq));
    }
}

#[tokio::test]
async fn an_unknown_and_a_missing_node_are_told_apart() {
    let World { secret, links, _tasks } = world();
    let record = Node::start(&secret, "app_node1").kill().await;
    assert_eq!(links.send(record.id, ping()).await, Err(AskError::UnknownNode));
    links.update(std::slice::from_ref(&record));
    assert_eq!(soon(links.send(record.id, ping())).await, Err(AskError::Unreachable));
    links.update(&[]);
    assert_eq!(links.send(record.id, ping()).await, Err(AskError::UnknownNode));
}

#[tokio::test]
async fn a_node_that_came_back_is_dialed_again() {
    let World { secret, links, _tasks } = world();
    let mut node = Node::start(&secret, "app_node1");
    let id = node.record.id;
    links.update(std::slice::from_ref(&node.record));
    let owed = links.send(id, never_answered());
    node.heard.recv().await.unwrap();
    let old = node.kill().await;
    assert_eq!(soon(owed).await, Err(AskError::Lost));
    assert_eq!(soon(links.send(id, ping())).await, Err(AskError::Unreachable));

    let node = Node::start_again(&secret, &old).await;
    // A new start is news: the pause after the failed dial does not hold for it.
    links.update(std::slice::from_ref(&node.record));
    assert_eq!(soon(links.send(id, append(1))).await, Ok(acknowledged(1)));
}

#[tokio::test]
async fn a_dropped_connection_loses_what_is_owed_and_is_made_again() {
    let World { secret, links, _tasks } = world();
    let mut node = Node::start(&secret, "app_node1");
    let id = node.record.id;
    links.update(std::slice::from_ref(&node.record));
    let owed = links.send(id, never_answered());
    node.heard.recv().await.unwrap();
    links.drop_connection(id);
    assert_eq!(soon(owed).await, Err(AskError::Lost));
    assert_eq!(soon(links.send(id, append(1))).await, Ok(acknowledged(1)));
}

#[tokio::test]
async fn another_node_at_the_address_gets_nothing() {
    let World { secret, links, _tasks } = world();
    let mut node = Node::start(&secret, "app_node1");
    let record = NodeRecord { name: name("app_node2"), ..node.record.clone() };
    links.update(std::slice::from_ref(&record));
    assert_eq!(soon(links.send(record.id, append(1))).await, Err(AskError::Unreachable));
    assert!(node.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let World { secret, links, _tasks } = world();
    let node = Node::start(&secret, "app_node1");
    links.update(std::slice::from_ref(&node.record));
    let waiting: Vec<_> =
        (0..LANE_REQUESTS_MAX).map(|_| links.send(node.record.id, ping())).collect();
    assert_eq!(links.send(node.record.id, ping()).await, Err(AskError::Full));
    for pending in waiting {
        assert!(soon(pending).await.is_ok());
    }
}

#[test]
fn pauses_grow_to_their_bound_and_end() {
    let target = Target { name: name("app_node1"), addr: any_addr(), incarnation: Incarnation(1) };
    let mut link = Link::new(target, true);
    let mut now = clock::now();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let (job, _pending) = Job::new(ping());
        assert!(link.send(job, Way::Any, now));
        assert!(link.start_dialing().is_some());
        let stranded = link.dialed(Err(DialError::NoAnswer { addr: any_addr() }), now);
        assert_eq!(stranded.len(), 1);
        let State::Paused(until) = link.state else { panic!("expected a pause") };
        let (early, _pending) = Job::new(ping());
        assert!(!link.send(early, Way::Any, now));
        pauses.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500]);
}
