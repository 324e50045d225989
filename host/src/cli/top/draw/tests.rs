use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::cli::top::board::{Front, Heard, Panel, Sight};
use crate::cli::top::plain;
use crate::cli::top::sample::{
    board, event, id, listing, name, overview, page, record, show, stats,
};
use crate::protocol::{News, NodeStatus, Seq};

const PLAIN: Manner = Manner { colours: false, keys: true };

fn terminal(board: &Board, size: (u16, u16), manner: Manner) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let now = Duration::from_secs(2);
    terminal.draw(|frame| draw(board, now, manner, frame.buffer_mut())).unwrap();
    terminal.backend().clone()
}

fn lines(board: &Board, size: (u16, u16)) -> Vec<String> {
    let text = plain::text(terminal(board, size, PLAIN).buffer());
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn line<'a>(lines: &'a [String], words: &str) -> &'a str {
    let found = lines.iter().find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("no `{words}` in\n{}", lines.join("\n")))
}

#[test]
fn a_small_screen_has_all_of_it() {
    let mut board = board();
    let trapped = News::Trapped {
        player: id("player1"),
        seq: Seq(7),
        message: "not an integer: \"a\"\nnode is down".to_owned(),
        micros: 41,
    };
    let mut later = overview(12);
    later.news = vec![event(3_723_000, trapped), event(3_724_000, News::Down { node: name(3) })];
    board.apply(Heard::Overview(later), Duration::from_secs(2));
    let shown = lines(&board, (80, 24));
    let expected = "\
host top  3 of 3 nodes up  300 calls/s  p50 100 µs  p99 1.6 ms    ? help  q quit

calls/s 300, highest of 2 minutes 300    p99 1.6 ms, highest of 2 minutes 1.6 ms
                                      █                                        █
                                      █                                        █

> Nodes, * leads the directory
node            status   calls/s     p50     p99 running resting copied/s up for
app_node1       up           100  100 µs  1.6 ms      12       3  5.0 KiB    12s
app_node2 *     up           100  100 µs  1.6 ms      12       3  5.0 KiB    12s
app_node3       up           100  100 µs  1.6 ms      12       3  5.0 KiB    12s

Players of app_node1
player                  points     seq state       owner        keepers
player1                      5       7 running     app_node1    app_node3
player2                      5       7 running     app_node1    app_node3


Events, newest first, in UTC
01:02:04  app_node3 is down
01:02:03  player1 trapped on app_node1: not an integer: \"a\"\\nnode is down; rest…";
    assert_eq!(shown.join("\n"), expected);
}

#[test]
fn a_wide_screen_cuts_less() {
    let shown = lines(&board(), (160, 50));
    assert!(line(&shown, "host top").contains("told by app_node1"));
    assert!(line(&shown, "host top").ends_with("? help  q quit"));
    let (bars, panels) = shown.split_at(8);
    assert_eq!(bars.iter().filter(|line| line.ends_with('█')).count(), 4, "{bars:#?}");
    assert!(panels[0].starts_with("> Nodes"), "{panels:#?}");
}

#[test]
fn long_names_are_cut_and_nothing_else_moves() {
    let long = "a-node-whose-name-is-as-long-as-names-can-be-and-then-some";
    let mut seen = overview(12);
    seen.nodes[1].name = long.parse().unwrap();
    seen.stats[1].node = long.parse().unwrap();
    let mut board = board();
    board.apply(Heard::Overview(seen), Duration::from_secs(2));
    let player = format!("漢字{}", "x".repeat(100));
    show(&mut board, page(&[&player], None));
    for width in [80, 100] {
        let shown = lines(&board, (width, 24));
        let cut = line(&shown, "a-node-whose");
        assert!(cut.contains("… *") && cut.ends_with("5.0 KiB    12s"), "{cut}");
        let cut = line(&shown, "漢字xxx");
        assert!(cut.contains('…') && cut.ends_with("running     app_node1    app_node3"), "{cut}");
        assert!(shown.iter().all(|line| words::width(line) <= usize::from(width)));
    }
}

#[test]
fn a_silent_node_and_a_dead_one_have_no_numbers() {
    let mut seen = overview(12);
    seen.silent = vec![name(2)];
    seen.nodes[2] = record(3, NodeStatus::Down);
    seen.stats = vec![stats(name(1), 12)];
    let mut board = board();
    board.apply(Heard::Overview(seen), Duration::from_secs(3));
    let shown = lines(&board, (80, 24));
    assert!(line(&shown, "host top").contains("1 of 3 nodes up  100 calls/s"));
    for (node, status) in [("app_node2 *", "silent"), ("app_node3", "down")] {
        let words: Vec<_> = line(&shown, node).split_whitespace().collect();
        let at = words.iter().position(|word| *word == status).unwrap();
        assert_eq!(words[at + 1..], ["-"; 7], "{words:?}");
    }
}

#[test]
fn when_no_node_answers_it_says_so_and_goes_on() {
    let mut none = Board::new();
    assert_eq!(lines(&none, (80, 24))[2], "asking …");
    none.apply(Heard::Silence("127.0.0.1:4433 does not answer".to_owned()), Duration::ZERO);
    let shown = lines(&none, (80, 24));
    assert_eq!(shown[2], "No node answers; asking again.");
    assert_eq!(shown[4], "127.0.0.1:4433 does not answer");
    let mut board = board();
    let silence = Heard::Silence("127.0.0.1:4433 does not answer".to_owned());
    board.apply(silence, Duration::from_secs(2));
    let shown = lines(&board, (100, 24));
    let why = "no node answers, this is 0s old; asking again. 127.0.0.1:4433 does not answer";
    assert_eq!(shown[1], why);
    assert!(line(&shown, "player1").contains("running"), "what was known stays");
    board.apply(Heard::Overview(overview(12)), Duration::from_secs(2));
    assert_eq!(lines(&board, (100, 24))[1], "");
    let leaderless = crate::protocol::Overview { leader: None, ..overview(13) };
    board.apply(Heard::Overview(leaderless), Duration::from_secs(2));
    assert!(lines(&board, (80, 24))[1].starts_with("the directory has no leader now"));
}

#[test]
fn a_screen_that_is_too_small_says_what_it_takes() {
    let shown = lines(&board(), (60, 20)).join(" ");
    assert!(shown.starts_with("This takes 80 columns and 24 lines; there are 60 and"), "{shown}");
    terminal(&board(), (1, 1), PLAIN);
}

#[test]
fn without_colours_there_are_none() {
    for front in [Front::Nothing, Front::Help, Front::Node(name(1))] {
        let mut board = board();
        board.front = front;
        let colours = |manner| {
            let backend = terminal(&board, (80, 24), manner);
            let cells = backend.buffer().content.iter();
            cells.filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert_eq!(colours(PLAIN), 0);
        assert!(colours(Manner { colours: true, ..PLAIN }) > 0);
    }
}

#[test]
fn what_is_chosen_can_be_seen_also_far_down() {
    let names: Vec<String> = (0..30).map(|n| format!("player{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut board = board();
    show(&mut board, page(&names, Some("player29")));
    (board.panel, board.player) = (Panel::Players, 29);
    let backend = terminal(&board, (80, 24), PLAIN);
    let buffer = backend.buffer();
    let chosen = (0..24).find(|y| buffer[(0, *y)].modifier.contains(Modifier::REVERSED)).unwrap();
    let words: String = (0..8).map(|x| buffer[(x, chosen)].symbol()).collect();
    assert_eq!(words, "player29");
    let shown = lines(&board, (80, 24));
    line(&shown, "> Players of app_node1, page 1, PageDown for more");
}

#[test]
fn details_stand_in_front() {
    let mut board = board();
    board.front = Front::Node(name(2));
    let shown = lines(&board, (80, 24));
    assert!(line(&shown, "status ").contains("up, leads the directory"));
    line(&shown, "1100 returned, 0 trapped, 0 refused, 0 unknown");
    board.front = Front::Player { player: id("player1"), seen: Sight::Missing };
    line(&lines(&board, (80, 24)), "player1 does not exist");
    let seen = Sight::Seen(Box::new(listing("player1", -3)));
    board.front = Front::Player { player: id("player1"), seen };
    let shown = lines(&board, (80, 24));
    assert!(line(&shown, "points  ").contains("-3") && line(&shown, "generation").contains('4'));
    board.front = Front::Search { typed: "play".to_owned(), wrong: Some("no".to_owned()) };
    line(&lines(&board, (80, 24)), "id: play_");
    board.front = Front::Help;
    let shown = lines(&board, (80, 24));
    line(&shown, "look for a player by its id");
    line(&shown, "At first all of it is");
    assert!(!shown[4..20].join("").contains('…'), "the help fits: {shown:#?}");
}
