//! A guest that traps costs the caller who caused it that call, and nobody anything else.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use host::clock;
use host::net::{Endpoint, Identity, Secret};
use host::protocol::{
    Answer, Call, CallKey, CallReply, CallRequest, Operation, Reply, Request, Term,
};
use tests::{Cluster, Ran, Trapped, endless_module};
use tokio::runtime::Builder;

#[track_caller]
fn trapped(ran: &Ran) -> Trapped {
    let trapped: Trapped = ran.ended(1).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!((trapped.error.as_str(), trapped.applied), ("trapped", false), "{}", ran.all());
    trapped
}

#[test]
fn a_trap_costs_only_its_caller() {
    let mut cluster = Cluster::start(3);
    let via = cluster.via("app_node1");
    let pid = cluster.node("app_node1").pid();
    let others = ["player2", "player3", "player4", "player5"];
    assert_eq!(via.rewarded("player1", 5).points, 5);
    for player in others {
        assert_eq!(via.rewarded(player, 1).node, "app_node1");
    }
    let before = via.player("player1");

    for crash in 1..=100 {
        let trapped = trapped(&via.reward("player1", "a"));
        assert_eq!(trapped.message, "not an integer: \"a\"", "crash {crash}");
        assert_eq!((trapped.restored.seq, trapped.restored.from.as_str()), (1, "memory"));
        assert_eq!((&trapped.node, &trapped.keepers), (&before.owner, &before.keepers));
        if crash % 10 == 0 {
            for player in others {
                let answer = via.rewarded(player, 1);
                assert_eq!((answer.points, answer.seq), (1 + crash / 10, 1 + crash as u64 / 10));
                assert_eq!(answer.node, "app_node1");
            }
        }
    }

    assert_eq!(via.player("player1"), before, "a hundred crashes changed nothing");
    assert_eq!(via.rewarded("player1", 2).points, 7);
    assert!(cluster.node_mut("app_node1").is_alive());
    assert_eq!(cluster.node("app_node1").pid(), pid, "the process is the same");
    assert!(via.try_nodes().unwrap().iter().all(|node| node.incarnation == 1));
}

#[test]
fn a_trap_tells_its_caller_what_happened_and_what_was_kept() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1").as_text();
    assert_eq!(via.reward("player1", 5).code(), Some(0));
    let crash = via.reward("player1", "a");
    assert_eq!((crash.code(), crash.stdout.as_str()), (Some(1), ""), "{}", crash.all());
    let lines: Vec<_> = crash.stderr.lines().collect();
    let [what, kept] = lines[..] else { panic!("expected two lines: {}", crash.all()) };
    assert_eq!(what, "CRASH!! player1 trapped: not an integer: \"a\"");
    assert!(kept.starts_with("        restored at seq 1 from memory in "), "{kept}");
    assert!(kept.ends_with(" µs; keeper app_node2 unchanged"), "{kept}");
    let next = via.reward("player1", 2);
    assert_eq!(next.stdout, "7\n", "{}", next.all());
}

#[test]
fn a_trap_is_the_same_through_every_node() {
    let cluster = Cluster::start(3);
    cluster.via("app_node1").rewarded("player1", 5);
    for name in cluster.names() {
        let trapped = trapped(&cluster.via(&name).reward("player1", "5x"));
        assert_eq!(trapped.message, "not an integer: \"5x\"", "through {name}");
        assert_eq!(trapped.node, "app_node1", "through {name}");
    }
    assert_eq!(cluster.via("app_node3").points("player1"), 5);
}

#[test]
fn an_overflow_traps_and_keeps_the_total() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", i64::MAX).points, i64::MAX);
    let trapped = trapped(&via.reward("player1", 1));
    assert!(!trapped.message.is_empty());
    assert_eq!(via.points("player1"), i64::MAX);
    assert_eq!(via.rewarded("player1", i64::MIN).points, -1);
}

#[test]
fn a_player_whose_first_call_traps_starts_at_zero() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    assert_eq!(trapped(&via.reward("player1", "a")).restored.seq, 0);
    assert_eq!(via.rewarded("player1", 5).points, 5);
}

#[test]
fn endless_calls_hold_up_neither_other_players_nor_their_node() {
    let cluster = Cluster::start_with_guest(3, &endless_module());
    let via = cluster.via("app_node1");
    let before: Vec<_> = (1..=9).map(|number| format!("player{number}")).collect();
    for player in &before {
        assert_eq!(via.rewarded(player, 1).node, "app_node1");
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let endless: Vec<_> = before[1..]
            .iter()
            .map(|player| {
                scope.spawn(|| {
                    let mut messages = Vec::new();
                    while !done.load(SeqCst) {
                        messages.push(trapped(&via.reward(player, "a")).message);
                    }
                    messages
                })
            })
            .collect();
        for total in 2..=30 {
            assert_eq!(via.rewarded("player1", 1).points, total);
        }
        done.store(true, SeqCst);
        for calls in endless {
            let messages = calls.join().expect("the caller ends");
            assert!(messages.iter().all(|message| message == "ran longer than 1000 ms"));
        }
    });
    for player in &before[1..] {
        assert_eq!(via.rewarded(player, 1).points, 2, "{player} is as before its endless calls");
    }
    for player in &before {
        let player = via.player(player);
        assert_eq!((player.owner.as_str(), player.generation), ("app_node1", 1), "{player:?}");
    }
    assert!(via.try_nodes().unwrap().iter().all(|node| node.incarnation == 1));
}

/// A reward as a client sends it.
fn reward(player: &str, word: &str) -> Request {
    let operation = Operation::Reward(Term::from_word(word));
    let key = CallKey::random(clock::unix_millis());
    let call = Call { player: player.parse().expect("a name"), key, operation };
    Request::Call(CallRequest::Call { call, deadline_ms: 0 })
}

#[test]
fn an_endless_call_holds_up_no_other_call_of_its_connection() {
    let cluster = Cluster::start_with_guest(2, &endless_module());
    let via = cluster.via("app_node1");
    for player in ["player1", "player2"] {
        assert_eq!(via.rewarded(player, 1).points, 1);
    }
    let identity = Identity::client(&Secret::load(cluster.secret()).unwrap()).unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let endpoint = Endpoint::client(identity).unwrap();
        let connection = endpoint.dial(cluster.node("app_node1").addr(), None).await.unwrap();
        let mut endless = connection.ask(reward("player1", "a"));
        for total in 2..=20 {
            let reply = tokio::select! {
                biased;
                reply = &mut endless => panic!("{reply:?} came first"),
                reply = connection.ask(reward("player2", "1")) => reply,
            };
            let Ok(Reply::Call(CallReply::Called(Ok(answer)))) = reply else { panic!("{reply:?}") };
            assert!(
                matches!(&answer, Answer::Returned { value, .. } if value.points() == Some(total)),
                "{answer:?}"
            );
        }
        let reply = endless.await;
        let Ok(Reply::Call(CallReply::Called(Ok(answer)))) = reply else { panic!("{reply:?}") };
        assert!(matches!(answer, Answer::Trapped(_)), "{answer:?}");
    });
}
