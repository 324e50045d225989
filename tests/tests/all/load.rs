//! Failures in the middle of calls, not between them.
//!
//! One caller adds 1 again and again, so the answers must be 1, 2, 3, …: an answer that is missing
//! was lost, one that comes twice was applied and not acknowledged.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use tests::{Client, Cluster, PATIENCE, eventually};
use tokio::runtime::Builder;

/// Rewards before and after the failure.
const REWARDS: i64 = 300;

/// Rewards until `stop_at` answers have come. Returns each answer that is not the expected one.
fn reward_on(
    secret: &Path,
    nodes: &[SocketAddr],
    answered: &AtomicI64,
    stop_at: &AtomicI64,
) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("start a runtime");
    runtime.block_on(async {
        let mut client = Client::new(secret).expect("make a client");
        let mut wrong = Vec::new();
        while answered.load(SeqCst) < stop_at.load(SeqCst) && wrong.len() < 10 {
            let expected = answered.load(SeqCst) + 1;
            match client.reward(nodes, "player1", 1, PATIENCE).await {
                Ok(total) if total == expected => {}
                Ok(total) => wrong.push(format!("{total} instead of {expected}")),
                Err(error) => wrong.push(format!("no answer instead of {expected}: {error:#}")),
            }
            answered.store(expected, SeqCst);
        }
        // A failed loop must not leave the test waiting for its progress.
        if !wrong.is_empty() {
            answered.store(i64::MAX, SeqCst);
        }
        wrong
    })
}

/// Runs `fail` while a caller rewards through the nodes named by `through`.
#[track_caller]
fn under_load(cluster: &mut Cluster, through: &[String], fail: impl FnOnce(&mut Cluster)) {
    let nodes: Vec<_> = through.iter().map(|name| cluster.node(name).addr()).collect();
    let secret = cluster.secret().to_owned();
    let (answered, stop_at) = (AtomicI64::new(0), AtomicI64::new(i64::MAX));
    let await_answers = |count: i64| {
        eventually(PATIENCE, || {
            let have = answered.load(SeqCst);
            if have >= count { Ok(have) } else { Err(format!("{have} answers of {count}")) }
        })
    };
    let wrong = std::thread::scope(|scope| {
        let caller = scope.spawn(|| reward_on(&secret, &nodes, &answered, &stop_at));
        // The caller must end even if the test fails here: the scope waits for it.
        let stop = StopAtOnce(&stop_at);
        await_answers(REWARDS);
        fail(cluster);
        let at_failure = answered.load(SeqCst);
        stop_at.store(at_failure.saturating_add(REWARDS), SeqCst);
        await_answers(at_failure.saturating_add(REWARDS));
        drop(stop);
        caller.join().expect("the caller does not panic")
    });
    assert_eq!(wrong, Vec::<String>::new());
    let total = cluster.via(&through[0]).points("player1");
    assert_eq!(total, answered.load(SeqCst), "each answer was applied once");
}

struct StopAtOnce<'a>(&'a AtomicI64);

impl Drop for StopAtOnce<'_> {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

#[test]
fn no_acknowledged_call_is_lost_while_the_owner_dies() {
    let mut cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 0);
    let rest = cluster.names_without(&["app_node1"]);
    under_load(&mut cluster, &rest, |cluster| cluster.node_mut("app_node1").kill());
}

#[test]
fn no_acknowledged_call_is_lost_while_the_keeper_dies() {
    let mut cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 0);
    let keeper = cluster.via("app_node1").player("player1").keepers.remove(0);
    let rest = cluster.names_without(&[&keeper]);
    under_load(&mut cluster, &rest, |cluster| cluster.node_mut(&keeper).kill());
}

#[test]
fn no_acknowledged_call_is_lost_while_the_owner_stands_still() {
    let mut cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 0);
    let rest = cluster.names_without(&["app_node1"]);
    under_load(&mut cluster, &rest, |cluster| {
        cluster.node_mut("app_node1").stop();
        let via = cluster.via(&rest[0]);
        // It wakes when it owns nothing any more, with calls in its hands.
        eventually(PATIENCE, || {
            let player = via.try_player("player1")?;
            if player.owner == "app_node1" { Err(format!("{player:?}")) } else { Ok(()) }
        });
        cluster.node_mut("app_node1").cont();
    });
}

#[test]
fn callers_of_many_nodes_at_once_are_all_counted() {
    const CALLERS: usize = 6;
    const REWARDS_EACH: usize = 50;
    let cluster = Cluster::start(3);
    let names = cluster.names();
    let total: i64 = (CALLERS * REWARDS_EACH).try_into().unwrap();
    let mut answers = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let node = [cluster.node(&names[caller % names.len()]).addr()];
                let secret = cluster.secret();
                scope.spawn(move || {
                    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let mut client = Client::new(secret).unwrap();
                        let mut answers = Vec::new();
                        for _ in 0..REWARDS_EACH {
                            let reward = client.reward(&node, "player1", 1, PATIENCE);
                            answers.push(reward.await.unwrap());
                        }
                        answers
                    })
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
    });
    answers.sort_unstable();
    assert!(answers.into_iter().eq(1..=total), "each total is answered once");
    assert_eq!(cluster.via("app_node2").points("player1"), total);
}
