use super::super::keys::{Key, Then};
use super::super::sample::{board, event, id, listing, name, overview, page, record, show};
use super::*;
use crate::protocol::{News, NodeStatus};

const NOW: Duration = Duration::from_secs(3);

fn press(board: &mut Board, keys: &[Key]) {
    for key in keys {
        assert_eq!(board.press(*key), Then::Stay, "{key:?}");
    }
}

fn typed(words: &str) -> Vec<Key> {
    words.chars().map(Key::Char).collect()
}

fn chosen(board: &Board) -> &str {
    board.players().get(board.player).map_or("", |listing| listing.player.as_str())
}

#[test]
fn rates_are_those_of_the_last_two_looks_and_a_first_look_makes_no_bar() {
    let mut board = Board::new();
    board.apply(Heard::Overview(overview(10)), NOW);
    assert_eq!(board.total().calls, 300.0);
    assert!(board.history.columns(NOW, 1, |point| Some(point.calls))[0].is_none());
    let mut next = overview(11);
    next.stats[0].calls.returned += 50;
    board.apply(Heard::Overview(next), NOW);
    assert_eq!(board.total().calls, 350.0);
    assert_eq!(board.history.columns(NOW, 1, |point| Some(point.calls)), [Some(350)]);
}

#[test]
fn events_are_in_order_of_their_time_and_bounded() {
    let mut board = board();
    let tell = |board: &mut Board, times: &[u64]| {
        let mut seen = overview(12);
        let news = |at: &u64| event(*at, News::Joined { node: name(1) });
        seen.news = times.iter().map(news).collect();
        board.apply(Heard::Overview(seen), NOW);
    };
    let times = |board: &Board| board.events.iter().map(|item| item.millis).collect::<Vec<_>>();
    tell(&mut board, &[10, 20, 40]);
    (board.panel, board.event) = (Panel::Events, 1);
    tell(&mut board, &[30, 50]);
    assert_eq!(times(&board), [50, 40, 30, 20, 10]);
    assert_eq!(board.event, 3, "the chosen one is still 20");
    tell(&mut board, &(100..500).collect::<Vec<_>>());
    assert_eq!((times(&board).len(), times(&board)[0]), (EVENTS_MAX, 499));
    assert!(board.event < EVENTS_MAX);
}

#[test]
fn a_chosen_node_shows_its_players_and_stays_chosen() {
    let mut board = board();
    press(&mut board, &[Key::Down, Key::Char('j'), Key::Down]);
    assert_eq!((board.node.clone(), board.players().len()), (Some(name(3)), 0));
    assert_eq!(board.wanted().page.unwrap().node, name(3));
    let mut seen = overview(12);
    seen.nodes.insert(0, record(0, NodeStatus::Up));
    board.apply(Heard::Overview(seen), NOW);
    assert_eq!((board.node_at(), board.node.clone()), (3, Some(name(3))));
    press(&mut board, &[Key::Char('k'), Key::Up, Key::Up, Key::Up]);
    assert_eq!(board.node, Some(name(0)));
    board.apply(Heard::Overview(overview(13)), NOW);
    assert_eq!(board.node, Some(name(1)), "it is gone: another one is chosen");
}

#[test]
fn players_are_paged_in_both_directions() {
    let mut board = board();
    press(&mut board, &[Key::Tab]);
    show(&mut board, page(&["a", "b"], Some("b")));
    press(&mut board, &[Key::Down, Key::Down]);
    let wanted = board.wanted().page.unwrap();
    assert_eq!((wanted.after.clone(), board.page_number()), (Some(id("b")), 2));
    board.apply(Heard::Players(PageWanted { after: None, ..wanted }, page(&["a"], None)), NOW);
    assert!(board.page.is_none(), "an answer to what was wanted before");
    show(&mut board, page(&["c", "d"], None));
    press(&mut board, &[Key::Down, Key::Down]);
    assert_eq!((chosen(&board), board.page_number()), ("d", 2), "there is no next page");
    press(&mut board, &[Key::Up, Key::Up]);
    show(&mut board, page(&["a", "b"], Some("b")));
    assert_eq!((chosen(&board), board.page_number()), ("b", 1));
    press(&mut board, &[Key::PageDown, Key::PageUp]);
    show(&mut board, page(&["a", "b"], Some("b")));
    assert_eq!(chosen(&board), "a");
    show(&mut board, page(&[], Some("x")));
    assert_eq!(board.wanted().page.unwrap().after, Some(id("x")), "its players come later");
    show(&mut board, None);
    assert!(board.page.is_some() && board.players().is_empty(), "the node is gone");
}

#[test]
fn a_player_is_looked_for_by_its_id() {
    let mut board = board();
    press(&mut board, &[Key::Char('/')]);
    press(&mut board, &typed("qj?xy"));
    press(&mut board, &[Key::Backspace, Key::Enter]);
    assert_eq!(board.wanted().player, Some(id("qj?x")), "keys are letters then");
    board.apply(Heard::Player(id("other"), None), NOW);
    let front = |seen| Front::Player { player: id("qj?x"), seen };
    assert_eq!(board.front, front(Sight::Asked));
    board.apply(Heard::Player(id("qj?x"), None), NOW);
    assert_eq!(board.front, front(Sight::Missing));
    let seen = Box::new(listing("qj?x", 1));
    board.apply(Heard::Player(id("qj?x"), Some(seen.clone())), NOW);
    assert_eq!(board.front, front(Sight::Seen(seen)));
    press(&mut board, &[Key::Escape, Key::Char('/'), Key::Enter]);
    assert!(matches!(&board.front, Front::Search { wrong: Some(_), .. }), "{:?}", board.front);
    press(&mut board, &typed(&"x".repeat(300)));
    assert!(matches!(&board.front, Front::Search { typed, wrong: None } if typed.len() == 128));
    press(&mut board, &[Key::Escape]);
    assert_eq!((&board.front, board.wanted().player), (&Front::Nothing, None));
}

#[test]
fn enter_shows_more_of_what_is_chosen() {
    let mut board = board();
    press(&mut board, &[Key::Enter]);
    assert_eq!(board.front, Front::Node(name(1)));
    press(&mut board, &[Key::Down, Key::Tab]);
    assert_eq!((board.node_at(), board.panel), (0, Panel::Nodes), "it is hidden");
    press(&mut board, &[Key::Enter, Key::Tab, Key::Down, Key::Enter]);
    assert_eq!(board.wanted().player, Some(id("player2")));
    let mut seen = overview(12);
    let released = |player: &str| News::Released { player: id(player) };
    seen.news = vec![event(1, released("player9")), event(2, News::Down { node: name(2) })];
    board.apply(Heard::Overview(seen), NOW);
    press(&mut board, &[Key::Escape, Key::Tab, Key::Enter]);
    assert_eq!(board.front, Front::Nothing, "the newest event is about no player");
    press(&mut board, &[Key::Down, Key::Enter]);
    assert_eq!(board.wanted().player, Some(id("player9")));
}

#[test]
fn q_and_ctrl_c_end_it_and_help_does_not() {
    let mut board = board();
    press(&mut board, &[Key::Char('?')]);
    assert_eq!(board.front, Front::Help);
    assert_eq!(board.press(Key::Char('q')), Then::Quit);
    press(&mut board, &[Key::Char('?'), Key::Char('/'), Key::Char('q')]);
    assert_eq!(board.press(Key::Interrupt), Then::Quit);
    let mut empty = Board::new();
    let keys = [Key::Down, Key::Up, Key::Enter, Key::PageDown, Key::PageUp, Key::Home];
    for _ in 0..3 {
        press(&mut empty, &keys);
        press(&mut empty, &[Key::Tab, Key::Backspace, Key::Resized]);
    }
    assert_eq!(empty.wanted(), Wanted::default());
}
