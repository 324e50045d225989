//! A cluster behind nginx, whose nodes are killed under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Instant;

use serde_json::Value;
use tests::{Cluster, Http, Nginx, PATIENCE, Spread, eventually, not_tested};

/// Callers, each with a player of its own.
const CALLERS: usize = 8;

/// Answers between two failures, of all callers together.
const ANSWERS: i64 = 400;

/// What callers have seen.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicI64,
    /// Responses that were none of a success, after which the caller has asked again.
    again: AtomicI64,
    stop: AtomicBool,
}

/// Adds 1 again and again, each time with a key of its own. Returns each total that is not the expected
/// one, and how many calls it has made.
fn reward_on(addr: SocketAddr, player: &str, seen: &Seen) -> (i64, Vec<String>) {
    let http = Http::new(addr);
    let mut wrong = Vec::new();
    let mut total = 0;
    while !seen.stop.load(SeqCst) && wrong.is_empty() {
        let made = call_until(|| http.try_ask("POST", "/v1/keys", b""), seen);
        let key = made["key"].as_str().expect("a key").to_owned();
        let call =
            http.clone().with("idempotency-key", key).with("content-type", "application/json");
        let path = format!("/v1/players/{player}/reward");
        let rewarded = call_until(|| call.try_ask("POST", &path, br#"{"points": 1}"#), seen);
        total += 1;
        seen.answered.fetch_add(1, SeqCst);
        if rewarded["points"] != total || rewarded["seq"] != total {
            wrong.push(format!("{player}: {rewarded} instead of {total}"));
        }
    }
    (total, wrong)
}

/// Asks until it is answered, as a client does that means it.
fn call_until(ask: impl Fn() -> Result<tests::Answered, ureq::Error>, seen: &Seen) -> Value {
    let start = Instant::now();
    loop {
        let failed = match ask() {
            Ok(answered) if answered.status == 200 => return answered.body,
            Ok(answered) => format!("{answered:?}"),
            Err(error) => error.to_string(),
        };
        seen.again.fetch_add(1, SeqCst);
        assert!(start.elapsed() < PATIENCE, "still no answer: {failed}");
        tests::pause();
    }
}

#[track_caller]
fn nobody_notices_behind(spread: Spread) {
    let mut cluster = Cluster::start_with(3, &["--http", "127.0.0.1:0"]);
    let nodes: Vec<SocketAddr> =
        cluster.names().iter().map(|name| cluster.node(name).http()).collect();
    let nginx = match Nginx::start(cluster.folder(), &nodes, spread) {
        Ok(nginx) => nginx,
        Err(error) => return not_tested(&format!("{error:#}: apt-get install nginx-light")),
    };
    let (seen, addr) = (Seen::default(), nginx.addr());
    let players: Vec<String> = (0..CALLERS).map(|at| format!("player{at}")).collect();
    let await_answers = |more: i64| {
        let until = seen.answered.load(SeqCst) + more;
        eventually(PATIENCE * 2, || match seen.answered.load(SeqCst) {
            have if have >= until => Ok(()),
            have => Err(format!("{have} answers of {until}")),
        });
    };
    let told = std::thread::scope(|scope| {
        let callers: Vec<_> =
            players.iter().map(|player| scope.spawn(|| reward_on(addr, player, &seen))).collect();
        // The callers must end even if the test fails here: the scope waits for them.
        let stop = StopAtEnd(&seen.stop);
        await_answers(ANSWERS);
        for name in ["app_node1", "app_node2", "app_node3"] {
            cluster.node_mut(name).kill();
            await_answers(ANSWERS);
            cluster.node_mut(name).restart();
            cluster.await_settled();
            await_answers(ANSWERS);
        }
        drop(stop);
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect::<Vec<_>>()
    });
    let answered = seen.answered.load(SeqCst);
    eprintln!(
        "{spread:?}: {answered} calls answered while each of three nodes was killed once, {} asked again",
        seen.again.load(SeqCst)
    );
    let http = Http::new(addr);
    for (player, (total, wrong)) in players.iter().zip(told) {
        assert_eq!(wrong, Vec::<String>::new());
        let player = http.get(&format!("/v1/players/{player}")).ok();
        assert_eq!(player["points"], total, "each answer was applied once: {player}");
    }
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn clients_behind_a_load_balancer_lose_and_double_nothing_when_nodes_are_killed() {
    nobody_notices_behind(Spread::RoundRobin);
}

#[test]
fn clients_behind_a_sticky_load_balancer_lose_and_double_nothing_when_nodes_are_killed() {
    nobody_notices_behind(Spread::Sticky);
}
