//! A cluster of fake nodes: each hands out the replies it was given, one an attempt.

use std::collections::VecDeque;

use super::*;
use crate::protocol::{CallError, CallKey, Generation, Operation, Outcome, Recovery, Seq, Value};

type Attempt = Result<CallReply, Problem>;

#[derive(Default)]
struct Fake {
    /// What each attempt meets; the last one is repeated.
    script: VecDeque<Attempt>,
    asked: Vec<(String, Request)>,
}

impl Ask for Fake {
    async fn ask(&mut self, targets: &[String], request: Request, _within: Duration) -> Asked {
        let mut passed = Vec::new();
        loop {
            let target = &targets[passed.len()];
            self.asked.push((target.clone(), request.clone()));
            let next = if self.script.len() > 1 {
                self.script.pop_front()
            } else {
                self.script.front().cloned()
            };
            match next.expect("a script has an end") {
                Err(problem @ Problem::NotReached(_)) if passed.len() + 1 < targets.len() => {
                    passed.push(problem);
                }
                reply => return Asked { passed, reply: reply.map(Reply::Call) },
            }
        }
    }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn returned(value: i64) -> Attempt {
    let answer = Answer::Returned { value: value.into(), seq: Seq(1), node: name("a") };
    Ok(CallReply::Called(Ok(answer)))
}

fn error(error: CallError) -> Attempt {
    Ok(CallReply::Called(Err(error)))
}

fn not_reached() -> Attempt {
    Err(Problem::NotReached("nothing listens at a:1".into()))
}

fn reach(targets: &[&str], patience: Patience) -> Reach {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    Reach { targets, patience, deadline: Duration::from_millis(300) }
}

async fn ask(
    script: impl IntoIterator<Item = Attempt>,
    reach: &Reach,
) -> (Result<Answer, Failed>, Vec<String>) {
    let (end, asked) = ask_with(Some(CallKey(7)), script, reach).await;
    let keys = asked.iter().all(|(_, key)| *key == CallKey(7));
    assert!(keys, "each attempt bears the same key");
    (end.1, asked.into_iter().map(|(target, _)| target).collect())
}

/// Calls with this key, or with one of the client's own. Returns the key that counts, the end, and
/// who was asked with which key.
async fn ask_with(
    key: Option<CallKey>,
    script: impl IntoIterator<Item = Attempt>,
    reach: &Reach,
) -> ((CallKey, Result<Answer, Failed>), Vec<(String, CallKey)>) {
    let mut client = Client::new(Fake { script: script.into_iter().collect(), asked: Vec::new() });
    let end = client.call(reach, &"p".parse().unwrap(), &Operation::Points, key).await;
    let asked = client.way.asked.into_iter().map(|(target, request)| match request {
        Request::Call(CallRequest::Call { call, .. }) => (target, call.key),
        other => panic!("{other:?}"),
    });
    (end, asked.collect())
}

fn expired(horizon: CallKey) -> Attempt {
    error(CallError::KeyExpired { player: "p".parse().unwrap(), key: CallKey(7), horizon })
}

const NAMED: Patience = Patience::UntilDeadline;

#[tokio::test]
async fn nodes_are_tried_in_turn_with_the_same_key() {
    let script = [
        not_reached(),
        error(CallError::Stopping { node: name("b") }),
        error(CallError::Overloaded { node: name("c") }),
        not_reached(),
        returned(5),
    ];
    let (end, asked) = ask(script, &reach(&["a", "b", "c"], NAMED)).await;
    assert!(matches!(end, Ok(Answer::Returned { value: Value::Points(5), .. })), "{end:?}");
    assert_eq!(asked, ["a", "b", "c", "a", "b"]);
}

#[tokio::test]
async fn an_error_that_no_other_node_changes_ends_it() {
    for last in [
        CallError::SingleNode { node: name("a") },
        CallError::Unavailable { player: "p".parse().unwrap(), holders: vec![] },
        CallError::KeyReused { key: CallKey(7) },
    ] {
        let (end, asked) = ask([error(last)], &reach(&["a", "b"], NAMED)).await;
        assert_eq!(end.unwrap_err().outcome, Outcome::NotApplied);
        assert_eq!(asked, ["a"]);
    }
}

#[tokio::test]
async fn a_request_that_left_makes_the_outcome_unknown_until_an_answer_comes() {
    let lost = || Err(Problem::Unanswered("connection lost".into()));
    let (end, asked) = ask([lost(), not_reached()], &reach(&["a", "b"], NAMED)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("unknown", Outcome::Unknown));
    assert!(failed.message.contains("00000007"), "{}", failed.message);
    assert!(asked.len() > 2, "asked again until the deadline");

    let alone = error(CallError::SingleNode { node: name("b") });
    let (end, _) = ask([lost(), alone], &reach(&["a", "b"], NAMED)).await;
    assert_eq!(end.unwrap_err().outcome, Outcome::Unknown);

    let (end, _) = ask([lost(), returned(7)], &reach(&["a", "b"], NAMED)).await;
    assert!(end.is_ok());
}

#[tokio::test]
async fn an_expired_key_that_was_given_ends_it_as_unknown() {
    let horizon = CallKey::new(1, 0);
    let (end, asked) = ask([expired(horizon), returned(5)], &reach(&["a", "b"], NAMED)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("key_expired", Outcome::Unknown));
    assert!(!failed.message.contains("same key"), "it would not help: {}", failed.message);
    assert_eq!(asked, ["a"]);
}

#[tokio::test]
async fn a_key_of_a_slow_clock_is_replaced_while_nothing_can_have_been_applied() {
    let horizon = CallKey::new(clock::unix_millis() + 5000, 0);
    let script = [not_reached(), expired(horizon), returned(5)];
    let ((key, end), asked) = ask_with(None, script, &reach(&["a", "b"], NAMED)).await;
    assert!(matches!(end, Ok(Answer::Returned { value: Value::Points(5), .. })), "{end:?}");
    let [(_, first), (b, second), (again, third)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((first, b, again), (second, &"b".to_owned(), b), "the same node, at once");
    assert!(*second < horizon && horizon < *third);
    assert_eq!(key, *third, "the key that counts is the one to repeat");
}

#[tokio::test]
async fn a_key_that_may_have_been_applied_is_never_replaced() {
    let lost = Err(Problem::Unanswered("connection lost".into()));
    let script = [lost, expired(CallKey::new(clock::unix_millis() + 5000, 0)), returned(5)];
    let ((key, end), asked) = ask_with(None, script, &reach(&["a", "b"], NAMED)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("key_expired", Outcome::Unknown));
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|(_, asked)| *asked == key));
}

#[tokio::test]
async fn keys_are_not_replaced_for_ever() {
    let late = expired(CallKey::new(u64::MAX, u128::MAX));
    let ((_, end), asked) = ask_with(None, [late], &reach(&["a", "b"], NAMED)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("key_expired", Outcome::NotApplied));
    assert!(failed.message.contains("clock"), "{}", failed.message);
    assert!((2..10).contains(&asked.len()), "{asked:?}");
}

#[tokio::test]
async fn a_key_of_the_future_is_tried_once_on_each_node() {
    let ahead =
        |node| error(CallError::KeyAhead { key: CallKey(7), node: name(node), ahead_ms: 90_000 });
    let (end, asked) = ask([ahead("a"), ahead("b")], &reach(&["a", "b"], NAMED)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("key_ahead", Outcome::NotApplied));
    assert!(failed.message.contains("90 s") && failed.message.contains('b'), "{}", failed.message);
    assert_eq!(asked, ["a", "b"]);
    let (end, _) = ask([ahead("a"), returned(5)], &reach(&["a", "b"], NAMED)).await;
    assert!(end.is_ok(), "the other node's clock is right");
}

#[tokio::test]
async fn nodes_that_nobody_named_are_tried_once() {
    let (end, asked) = ask([not_reached()], &reach(&["a", "b"], Patience::OneRound)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("unreachable", Outcome::NotApplied));
    assert!(failed.message.contains("no node found"), "{}", failed.message);
    assert_eq!(asked, ["a", "b"]);
}

#[tokio::test]
async fn named_nodes_are_tried_until_the_deadline() {
    let (end, asked) = ask([not_reached()], &reach(&["a:1"], NAMED)).await;
    assert_eq!(end.unwrap_err().message, "nothing listens at a:1");
    assert!(asked.len() > 1);
}

#[tokio::test]
async fn a_node_that_lets_nobody_in_is_not_asked_again() {
    let rejected = Err(Problem::Rejected("wrong secret".into()));
    let (end, asked) = ask([rejected], &reach(&["a", "b"], NAMED)).await;
    assert_eq!(end.unwrap_err().code, "rejected");
    assert_eq!(asked, ["a", "b"]);
}

#[tokio::test]
async fn the_most_telling_problem_is_reported() {
    let rejected = Err(Problem::Rejected("wrong secret".into()));
    let script = [rejected, not_reached()];
    let (end, _) = ask(script, &reach(&["a", "b"], Patience::OneRound)).await;
    assert_eq!(end.unwrap_err().message, "wrong secret");
    let script = [not_reached(), Err(Problem::CutShort)];
    let (end, _) = ask(script, &reach(&["a:1"], NAMED)).await;
    assert_eq!(end.unwrap_err().message, "nothing listens at a:1");
}

#[tokio::test]
async fn the_nodes_own_account_of_an_unknown_outcome_is_kept() {
    let unknown = CallError::Unknown { reason: "the owner is silent".into(), key: CallKey(7) };
    let message = unknown.to_string();
    let (end, _) = ask([error(unknown)], &reach(&["a"], NAMED)).await;
    let failed = end.unwrap_err();
    assert_eq!((failed.code, failed.outcome), ("unknown", Outcome::Unknown));
    assert_eq!(failed.message, message);
}

#[tokio::test]
async fn pages_of_a_listing_come_from_one_node() {
    let listing = |player: &str| PlayerListing {
        player: player.parse().unwrap(),
        owner: name("b"),
        running: true,
        quarantined: false,
        keepers: vec![],
        generation: Generation(1),
        seq: None,
        points: None,
    };
    let page = |player, more, silent: &[&str]| {
        let silent = silent.iter().map(|node| name(node)).collect();
        Ok(CallReply::Players { players: vec![listing(player)], more, silent })
    };
    let script = [not_reached(), page("p1", true, &["c"]), page("p2", false, &["c"])];
    let mut client = Client::new(Fake { script: script.into(), asked: Vec::new() });
    let list = client.players(&reach(&["a", "b"], NAMED), false).await.unwrap();
    assert_eq!(list.players, [listing("p1"), listing("p2")]);
    assert_eq!(list.silent, [name("c")]);
    let asked: Vec<&str> = client.way.asked.iter().map(|(target, _)| target.as_str()).collect();
    assert_eq!(asked, ["a", "b", "b"]);
    let after = CallRequest::Players { all: false, after: Some("p1".parse().unwrap()) };
    assert_eq!(client.way.asked[2].1, Request::Call(after));
}

#[test]
fn any_node_may_answer_a_call_and_one_node_what_is_asked_of_it() {
    let now = clock::now();
    let reach = reach(&["a", "b", "c"], NAMED);
    let targets = |attempts: &mut Attempts| match attempts.step(now) {
        Step::Try { targets, .. } => targets,
        other => panic!("{other:?}"),
    };
    let mut call = Attempts::of_call(&reach, now, Key::Given(CallKey(7)));
    assert_eq!(targets(&mut call), 0..3);
    call.failed("a", Problem::Busy);
    assert_eq!(targets(&mut call), 1..3);
    // Whose players, and who drains, is not all the same.
    let mut reading = Attempts::of_reading(&reach, now);
    assert_eq!(targets(&mut reading), 0..1);
    reading.failed("a", Problem::Busy);
    assert_eq!(targets(&mut reading), 1..2);
}

#[test]
fn one_node_gets_all_the_time_and_several_share_it() {
    let now = clock::now();
    let long = |targets| Reach { deadline: Duration::from_secs(10), ..reach(targets, NAMED) };
    let within =
        |targets| match Attempts::of_call(&long(targets), now, Key::Given(CallKey(7))).step(now) {
            Step::Try { within, .. } => within,
            other => panic!("{other:?}"),
        };
    assert_eq!(within(&["a"]), Duration::from_secs(10));
    assert!(within(&["a", "b"]) < Duration::from_secs(5));
}

#[tokio::test]
async fn a_recovery_of_which_nobody_knows_says_what_to_do() {
    let recovery = Recovery { from: name("a"), accept: Seq(1) };
    let unknown = CallError::Unknown { reason: "its reply was lost".into(), key: CallKey(7) };
    let player: PlayerId = "p".parse().unwrap();
    let available = CallError::Available { player: player.clone(), seq: Seq(1), node: name("a") };
    for script in [
        vec![error(unknown.clone())],
        vec![error(unknown), error(available.clone())],
        vec![Err(Problem::Unanswered("lost".into())), error(available)],
    ] {
        let way = Fake { script: script.into(), asked: Vec::new() };
        let operation = Operation::Recover(recovery.clone());
        let reach = reach(&["a:1"], Patience::OneRound);
        let (_, end) = Client::new(way).call(&reach, &player, &operation, None).await;
        let failed = end.unwrap_err();
        assert_eq!((failed.code, failed.outcome), ("unknown", Outcome::Unknown));
        let says = &failed.message;
        assert!(says.contains("host points") && says.contains("host recover"), "{says}");
        assert!(!says.contains("same key"), "no key can be given to it: {says}");
    }
}

#[tokio::test]
async fn a_player_that_may_be_forgotten_is_to_be_looked_at_and_not_forgotten_again() {
    let unknown = CallError::Unknown { reason: "its reply was lost".into(), key: CallKey(7) };
    for lost in [error(unknown), Err(Problem::Unanswered("lost".into()))] {
        let way = Fake { script: vec![lost].into(), asked: Vec::new() };
        let reach = reach(&["a:1"], Patience::OneRound);
        let player = "p".parse().unwrap();
        let (_, end) = Client::new(way).call(&reach, &player, &Operation::Forget, None).await;
        let failed = end.unwrap_err();
        assert_eq!((failed.code, failed.outcome), ("unknown", Outcome::Unknown));
        let says = &failed.message;
        assert!(says.contains("look at it") && !says.contains("same key"), "{says}");
    }
}
