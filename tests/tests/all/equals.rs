//! Nodes that are all started with the same command begin one cluster, never two.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use tests::{Cluster, Node, PATIENCE, eventually};

/// Returns addresses that are free for both UDP and TCP.
fn free(count: usize) -> Vec<SocketAddr> {
    let both = || loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = tcp.local_addr().expect("it has an address");
        if let Ok(udp) = UdpSocket::bind(addr) {
            return (addr, tcp, udp);
        }
    };
    // All are held until all are found, so that none is found twice.
    let found: Vec<_> = (0..count).map(|_| both()).collect();
    found.iter().map(|(addr, ..)| *addr).collect()
}

fn equals(count: usize, expect: usize) -> Cluster {
    let addrs = free(count);
    let list: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
    Cluster::of_equals(&addrs, &list, expect)
}

/// Starts all nodes at once, the one of this order first.
#[track_caller]
fn start(cluster: &mut Cluster, order: &[&str]) {
    order.iter().for_each(|name| cluster.node_mut(name).spawn());
    order.iter().for_each(|name| cluster.node_mut(name).await_ready());
    cluster.await_settled();
}

#[track_caller]
fn await_words(cluster: &Cluster, name: &str, words: &str) {
    eventually(PATIENCE, || {
        let log = cluster.node(name).log();
        if log.contains(words) { Ok(()) } else { Err(format!("no {words:?} in {log}")) }
    });
}

/// Returns how often any node began a cluster.
fn begun(cluster: &Cluster) -> usize {
    let logs = cluster.names().into_iter().map(|name| cluster.node(&name).log());
    logs.map(|log| log.matches("beginning a new cluster").count()).sum()
}

#[test]
fn equals_that_start_at_once_in_any_order_begin_one_cluster_and_come_back_to_it() {
    let orders = [
        ["app_node1", "app_node2", "app_node3"],
        ["app_node3", "app_node2", "app_node1"],
        ["app_node2", "app_node3", "app_node1"],
    ];
    for order in orders {
        let mut cluster = equals(3, 3);
        start(&mut cluster, &order);
        assert_eq!(begun(&cluster), 1);
        for (at, name) in order.iter().enumerate() {
            assert_eq!(cluster.via(name).rewarded("player1", 5).points, 5 * (at as i64 + 1));
        }
        cluster.kill_all();
        start(&mut cluster, &[order[1], order[2], order[0]]);
        assert_eq!(cluster.via(order[1]).rewarded("player1", 5).points, 20);
        cluster.terminate_all();
        start(&mut cluster, &[order[2], order[0], order[1]]);
        assert_eq!(cluster.via(order[2]).rewarded("player1", 5).points, 25);
        assert_eq!(begun(&cluster), 1, "with their data they begin none");
    }
}

#[test]
fn equals_wait_for_as_many_as_they_were_told_and_say_for_whom() {
    let mut cluster = equals(3, 3);
    let third = cluster.node("app_node3").addr().to_string();
    cluster.node_mut("app_node1").spawn();
    cluster.node_mut("app_node2").spawn();
    await_words(&cluster, "app_node1", "also waiting: app_node2");
    await_words(&cluster, "app_node2", &format!("nothing listens at {third}"));
    // One of them is killed meanwhile, and the other two do not begin without it.
    cluster.node_mut("app_node1").kill();
    cluster.node_mut("app_node3").spawn();
    await_words(&cluster, "app_node3", "also waiting: app_node2");
    assert_eq!(begun(&cluster), 0);
    cluster.node_mut("app_node1").spawn();
    cluster.names().iter().for_each(|name| cluster.node_mut(name).await_ready());
    cluster.await_settled();
    assert_eq!(begun(&cluster), 1);
    assert_eq!(cluster.via("app_node3").rewarded("player1", 5).points, 5);
}

#[test]
fn an_equal_that_is_killed_while_it_begins_comes_back_and_there_is_one_cluster() {
    for _ in 0..2 {
        let mut cluster = equals(3, 3);
        cluster.names().iter().for_each(|name| cluster.node_mut(name).spawn());
        await_words(&cluster, "app_node1", "beginning a new cluster");
        cluster.node_mut("app_node1").kill();
        cluster.node_mut("app_node1").spawn();
        cluster.names().iter().for_each(|name| cluster.node_mut(name).await_ready());
        cluster.await_settled();
        assert_eq!(cluster.via("app_node2").rewarded("player1", 5).points, 5);
    }
}

#[test]
fn a_majority_of_equals_begins_without_a_slow_one_which_joins_them() {
    let mut cluster = equals(3, 2);
    cluster.node_mut("app_node1").spawn();
    await_words(&cluster, "app_node1", "no other node waits");
    cluster.node_mut("app_node1").stop();
    cluster.node_mut("app_node3").spawn();
    cluster.node_mut("app_node2").spawn();
    cluster.node_mut("app_node2").await_ready();
    cluster.node_mut("app_node3").await_ready();
    cluster.node_mut("app_node1").cont();
    cluster.node_mut("app_node1").await_ready();
    cluster.await_settled();
    assert_eq!(begun(&cluster), 1);
    assert!(cluster.node("app_node2").log().contains("beginning a new cluster"));
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
}

#[test]
fn equals_join_the_one_that_has_a_cluster_from_before() {
    let mut cluster = equals(3, 3);
    // It began one alone, and the same folder is the equal's.
    let secret = cluster.secret().to_str().expect("a path of the harness").to_owned();
    let mut alone = Node::new("app_node3", cluster.folder(), &["--secret-file", &secret]);
    alone.restart();
    alone.terminate();
    start(&mut cluster, &["app_node1", "app_node3", "app_node2"]);
    assert_eq!(begun(&cluster), 1, "only the one from before");
    let nodes = cluster.via("app_node1").try_nodes().expect("it answers");
    let before = nodes.iter().find(|node| node.name == "app_node3").expect("it is a member");
    assert_eq!(before.incarnation, 2, "{nodes:?}");
    assert_eq!(cluster.via("app_node2").rewarded("player1", 5).points, 5);
}

/// Where a translated address leads to.
type Target = Arc<Mutex<SocketAddr>>;

/// Listens on an address and passes datagrams on to a node, as a router does that translates
/// addresses. It lives as long as the process.
fn translate(at: SocketAddr, to: SocketAddr) -> Target {
    let target = Arc::new(Mutex::new(to));
    let leads_to = target.clone();
    let outside = Arc::new(UdpSocket::bind(at).expect("the address is free"));
    // Who dials asks TCP whether anything listens.
    let tcp = TcpListener::bind(at).expect("the address is free for TCP, too");
    thread::spawn(move || {
        let mut inside: HashMap<_, Arc<UdpSocket>> = HashMap::new();
        let mut datagram = [0; 65_535];
        while let Ok((bytes, from)) = outside.recv_from(&mut datagram) {
            let to = *leads_to.lock().expect("nobody panics");
            let socket = inside.entry((from, to)).or_insert_with(|| {
                let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
                socket.connect(to).expect("a way to the node");
                let (back, outside) = (socket.clone(), outside.clone());
                thread::spawn(move || {
                    let mut datagram = [0; 65_535];
                    // It is refused while the node does not run.
                    loop {
                        if let Ok(bytes) = back.recv(&mut datagram) {
                            outside.send_to(&datagram[..bytes], from).ok();
                        }
                    }
                });
                socket
            });
            socket.send(&datagram[..bytes]).ok();
        }
        drop(tcp);
    });
    target
}

#[test]
fn an_equal_that_is_named_by_another_address_finds_itself() {
    let addrs = free(4);
    let (addrs, named) = addrs.split_at(3);
    translate(named[0], addrs[0]);
    let list: Vec<_> = [named[0], addrs[1], addrs[2]].iter().map(SocketAddr::to_string).collect();
    let mut cluster = Cluster::of_equals(addrs, &list, 3);
    start(&mut cluster, &["app_node3", "app_node1", "app_node2"]);
    assert_eq!(begun(&cluster), 1);
    assert!(cluster.node("app_node1").log().contains("beginning a new cluster"), "it is smallest");
    cluster.terminate_all();
    start(&mut cluster, &["app_node1", "app_node2", "app_node3"]);
    let log = cluster.node("app_node2").log();
    assert!(!log.contains("is not in the cluster"), "nobody is warned of a member: {log}");
}

#[test]
fn equals_that_all_come_back_on_other_addresses_find_each_other_by_name() {
    let addrs = free(9);
    let (named, before) = addrs.split_at(3);
    let (before, after) = before.split_at(3);
    let targets: Vec<_> = named.iter().zip(before).map(|(at, to)| translate(*at, *to)).collect();
    let list: Vec<_> = named.iter().map(SocketAddr::to_string).collect();
    let mut cluster = Cluster::of_equals(before, &list, 3);
    start(&mut cluster, &["app_node1", "app_node2", "app_node3"]);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    cluster.kill_all();
    for ((name, target), addr) in cluster.names().iter().zip(&targets).zip(after) {
        *target.lock().expect("nobody panics") = *addr;
        cluster.node_mut(name).move_to(*addr);
    }
    start(&mut cluster, &["app_node2", "app_node3", "app_node1"]);
    assert_eq!(cluster.via("app_node3").rewarded("player1", 5).points, 10);
    assert_eq!(begun(&cluster), 1);
}

#[test]
fn nodes_of_different_lists_begin_nothing_and_say_so() {
    let addrs = free(3);
    let list: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
    let mut cluster = Cluster::of_equals(&addrs[..2], &list, 2);
    let secret = cluster.secret().to_str().expect("a path of the harness").to_owned();
    let joins = list.join(",");
    let args = ["--secret-file", &secret, "--join", &joins, "--bootstrap-expect", "3"];
    let mut other = Node::new("app_node3", cluster.folder(), &args).at(addrs[2]);
    other.spawn();
    cluster.node_mut("app_node1").spawn();
    await_words(&cluster, "app_node1", "app_node3 was started with other --join or another");
    assert_eq!(begun(&cluster), 0);
    // Those with the same begin, and the other one joins them.
    cluster.node_mut("app_node2").spawn();
    cluster.node_mut("app_node1").await_ready();
    cluster.node_mut("app_node2").await_ready();
    other.await_ready();
    assert_eq!(begun(&cluster), 1);
    assert_eq!(cluster.via("app_node2").rewarded("player1", 5).points, 5);
}
