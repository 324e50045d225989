//! A node that others reach is reached, whatever link to it is broken.

use tests::{Cut, Islands, Listed, NodeSeen, PATIENCE, Via, eventually};

/// A player with 5 points on `app_node1`, its keeper, and the other nodes.
struct Placed {
    islands: Islands,
    keeper: String,
    others: Vec<String>,
}

const OWNER: &str = "app_node1";

fn place(nodes: usize) -> Option<Placed> {
    let islands = Islands::start(nodes)?;
    let answer = islands.ask(OWNER, |via| via.rewarded("player1", 5));
    assert_eq!((answer.points, answer.node.as_str()), (5, OWNER));
    let before = islands.ask(OWNER, |via| via.player("player1"));
    let [keeper] = &before.keepers[..] else { panic!("one keeper: {before:?}") };
    let keeper = keeper.clone();
    let others = islands.names_without(&[OWNER, &keeper]);
    Some(Placed { islands, keeper, others })
}

impl Placed {
    fn seen(&self, name: &str) -> Vec<NodeSeen> {
        eventually(PATIENCE, || self.islands.ask(name, Via::try_nodes))
    }

    fn leader(&self) -> String {
        eventually(PATIENCE, || {
            let seen = self.islands.ask(OWNER, Via::try_nodes)?;
            let leader = seen.iter().find(|node| node.leader);
            leader.map(|node| node.name.clone()).ok_or_else(|| format!("no leader: {seen:?}"))
        })
    }

    fn player(&self, name: &str) -> Listed {
        self.islands.ask(name, |via| via.player("player1"))
    }

    /// Nobody was called down, not even for a moment.
    #[track_caller]
    fn assert_all_stayed_up(&self) {
        for name in self.islands.names() {
            let seen = self.seen(&name);
            assert!(seen.iter().all(|node| node.status == "up"), "{name}: {seen:?}");
            let log = self.islands.log(&name);
            let down = log.lines().find(|line| line.contains(" down") || line.contains("dead"));
            assert_eq!(down, None, "{name}");
        }
    }
}

/// Cuts a link between the asked node and the owner, and rewards before, during and after it.
fn calls_work_across(cut: Cut, reversed: bool) {
    let Some(placed) = place(3) else { return };
    let Placed { islands, others, .. } = &placed;
    let asked = others[0].as_str();
    let (from, to) = if reversed { (OWNER, asked) } else { (asked, OWNER) };
    assert_eq!(islands.ask(asked, |via| via.rewarded("player1", 1)).points, 6);

    islands.cut(from, to, cut);
    for points in 7..=16 {
        let answer = islands.ask(asked, |via| via.rewarded("player1", 1));
        assert_eq!((answer.points, answer.node.as_str()), (points, OWNER), "it stays there");
    }
    assert_eq!(islands.ask(OWNER, |via| via.points("player1")), 16);
    assert!(islands.log(asked).contains("asked through others"), "{}", islands.log(asked));

    islands.heal(from, to, cut);
    eventually(PATIENCE, || {
        let log = islands.log(asked);
        let again = log.lines().any(|line| line.contains("connected again"));
        if again { Ok(()) } else { Err(log) }
    });
    assert_eq!(islands.ask(asked, |via| via.rewarded("player1", 1)).points, 17);
    placed.assert_all_stayed_up();
}

#[test]
fn a_call_reaches_an_owner_that_the_asked_node_cannot_reach() {
    calls_work_across(Cut::BothWays, false);
}

#[test]
fn a_call_reaches_an_owner_that_does_not_hear_the_asked_node() {
    calls_work_across(Cut::OneWay, false);
}

#[test]
fn a_call_reaches_an_owner_that_the_asked_node_does_not_hear() {
    calls_work_across(Cut::OneWay, true);
}

#[test]
fn an_owner_that_loses_touch_with_its_keeper_goes_on() {
    let Some(placed) = place(3) else { return };
    let Placed { islands, keeper, .. } = &placed;
    islands.cut(OWNER, keeper, Cut::BothWays);
    for points in 6..=10 {
        let answer = islands.ask(OWNER, |via| via.rewarded("player1", 1));
        assert_eq!((answer.points, answer.node.as_str()), (points, OWNER));
    }
    assert_eq!(islands.ask(keeper, |via| via.rewarded("player1", 1)).points, 11);
    assert_eq!(placed.player(keeper).owner, OWNER);
    placed.assert_all_stayed_up();
}

#[test]
fn a_player_is_restored_from_a_keeper_that_the_new_owner_cannot_reach() {
    let Some(mut placed) = place(4) else { return };
    let claimant = placed.others[0].clone();
    let keeper = placed.keeper.clone();
    placed.islands.cut(&claimant, &keeper, Cut::BothWays);
    placed.islands.kill(OWNER);
    let answer = placed.islands.ask(&claimant, |via| via.rewarded("player1", 3));
    assert_eq!((answer.points, answer.node.as_str()), (8, claimant.as_str()));
    assert_eq!(placed.islands.ask(&keeper, |via| via.rewarded("player1", 1)).points, 9);
    let seen = placed.seen(&claimant);
    let up = seen.iter().filter(|node| node.status == "up").count();
    assert_eq!(up, 3, "{seen:?}");
}

/// Cuts a link between a follower and the leader; the follower goes on to change the directory.
fn the_directory_works_across(cut: Cut, reversed: bool) {
    let Some(placed) = place(3) else { return };
    let leader = placed.leader();
    let follower = placed.islands.names_without(&[&leader]).remove(0);
    let (from, to) = if reversed { (&leader, &follower) } else { (&follower, &leader) };
    placed.islands.cut(from, to, cut);
    for number in 2..=6 {
        // Each new player is a change of the directory, and is placed where it was asked for.
        let player = format!("player{number}");
        let answer = placed.islands.ask(&follower, |via| via.rewarded(&player, number));
        assert_eq!((answer.points, &answer.node), (number, &follower));
        assert_eq!(placed.islands.ask(&leader, |via| via.points(&player)), number);
    }
    placed.assert_all_stayed_up();
}

#[test]
fn a_follower_that_loses_touch_with_the_leader_goes_on() {
    the_directory_works_across(Cut::BothWays, false);
}

#[test]
fn a_follower_that_the_leader_does_not_hear_goes_on() {
    the_directory_works_across(Cut::OneWay, false);
}

#[test]
fn a_follower_that_does_not_hear_the_leader_goes_on() {
    the_directory_works_across(Cut::OneWay, true);
}

#[test]
fn a_dead_node_behind_a_cut_link_is_called_down_and_starts_again_behind_it() {
    let Some(mut placed) = place(3) else { return };
    let leader = placed.leader();
    let cut_off = placed.islands.names_without(&[&leader]).remove(0);
    placed.islands.cut(&cut_off, &leader, Cut::BothWays);
    // The leader hears of it through the third node, and then of its death through nobody.
    assert_eq!(placed.islands.ask(&cut_off, |via| via.rewarded("player2", 1)).points, 1);
    placed.islands.kill(&cut_off);
    eventually(PATIENCE, || {
        let seen = placed.islands.ask(&leader, Via::try_nodes)?;
        let down = seen.iter().any(|node| node.name == cut_off && node.status == "down");
        if down { Ok(()) } else { Err(format!("{cut_off} is not down: {seen:?}")) }
    });
    assert_eq!(placed.islands.ask(&leader, |via| via.rewarded("player2", 1)).points, 2);

    placed.islands.restart(&cut_off);
    assert_eq!(placed.islands.ask(&cut_off, |via| via.rewarded("player2", 1)).points, 3);
    assert_eq!(placed.islands.ask(&cut_off, |via| via.rewarded("player3", 1)).points, 1);
}

#[test]
fn a_node_that_nobody_reaches_is_called_down_and_comes_back() {
    let Some(placed) = place(4) else { return };
    let leader = placed.leader();
    let lost = placed.islands.names_without(&[&leader, OWNER, &placed.keeper]);
    let Some(lost) = lost.first() else { return placed.assert_all_stayed_up() };
    let others = placed.islands.names_without(&[lost]);
    let status = |expected: &str| {
        eventually(PATIENCE, || {
            let seen = placed.islands.ask(&leader, Via::try_nodes)?;
            let is = seen.iter().any(|node| node.name == *lost && node.status == expected);
            if is { Ok(()) } else { Err(format!("{lost} is not {expected}: {seen:?}")) }
        });
    };
    for other in &others {
        placed.islands.cut(lost, other, Cut::BothWays);
    }
    status("down");
    // One link that is not the leader's is enough to come back.
    let friend = others.iter().find(|name| **name != leader).expect("there are three others");
    placed.islands.heal(lost, friend, Cut::BothWays);
    status("up");
    assert_eq!(placed.islands.ask(lost, |via| via.rewarded("player1", 1)).points, 6);
}
