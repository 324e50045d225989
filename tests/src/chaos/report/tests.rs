use super::super::Until;
use super::super::history::Attempt;
use super::*;

const SETTINGS: Settings =
    Settings { seed: 1, nodes: 3, clients: 1, players: 1, until: Until::Episodes(0) };

fn record(at: u64, asked: Asked, ended: Ended) -> Record {
    let (began_us, ended_us) = (10 * at, 10 * at + 5);
    let attempts = vec![Attempt { node: 1, at_us: began_us, failed: None }];
    let key = at.to_string();
    Record { client: 0, player: 0, key, asked, began_us, ended_us, ended, attempts }
}

fn returned(at: u64, points: i64, total: i64) -> Record {
    let ended = Ended::Returned { total, seq: at, node: "app_node1".to_owned() };
    record(at, Asked::Reward(points), ended)
}

fn report(records: Vec<Record>) -> Report {
    Report::new(SETTINGS, Vec::new(), records, (0, 0), Path::new("folder"))
}

#[test]
fn a_good_history_is_good() {
    let unknown = record(2, Asked::Reward(100), Ended::Unknown);
    let report = report(vec![returned(1, 5, 5), unknown, returned(3, 2, 107)]);
    assert!(report.is_good(), "{report}");
    assert_eq!((report.lost, report.doubled, report.unknown), (0, 0, 1));
}

#[test]
fn a_lost_reward_is_named() {
    let report = report(vec![returned(1, 5, 5), returned(2, 7, 12), returned(3, 2, 7)]);
    assert!(!report.is_good());
    assert_eq!((report.lost, report.doubled), (1, 0), "{report}");
}

#[test]
fn a_doubled_reward_is_named() {
    let report = report(vec![returned(1, 5, 5), returned(2, 7, 12), returned(3, 2, 21)]);
    assert!(!report.is_good());
    assert_eq!((report.lost, report.doubled), (0, 1), "{report}");
}

#[test]
fn a_player_that_stays_silent_is_wrong() {
    let report = report(vec![returned(1, 5, 5), record(2, Asked::Points, Ended::NotApplied)]);
    assert!(!report.is_good());
    assert!(report.wrong[0].contains("does not answer"), "{report}");
}

#[test]
fn two_rewards_at_one_position_are_wrong() {
    let mut second = returned(2, 0, 5);
    second.ended = Ended::Returned { total: 5, seq: 1, node: "app_node2".to_owned() };
    let report = report(vec![returned(1, 5, 5), second]);
    assert!(report.wrong[0].contains("both have position 1"), "{report}");
}

#[test]
fn a_gap_begins_with_the_first_attempt_through_a_node_that_is_well() {
    let mut silent = record(2, Asked::Points, Ended::Unknown);
    // The first attempt went to the dead node, which says nothing about the player.
    silent.attempts.insert(0, Attempt { node: 0, at_us: 19, failed: None });
    let episode = Episode {
        kinds: vec!["kill -9".to_owned()],
        nodes: BTreeSet::from([0]),
        story: "kill -9 (app_node1)".to_owned(),
        began_us: 18,
        healed_us: 50,
        settled_us: 60,
    };
    let records = vec![returned(1, 5, 5), silent, returned(9, 1, 6)];
    let report = Report::new(SETTINGS, vec![episode], records, (0, 0), Path::new("folder"));
    let [longest] = &report.unavailable[..] else { panic!("one player: {report}") };
    assert!((longest.seconds - 75e-6).abs() < 1e-9, "from 20 to 95 µs: {longest:?}");
    assert_eq!(longest.during, "kill -9 (app_node1)");
}
