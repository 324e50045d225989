//! What people see of a cluster in a browser: the page of each node, in a real one.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Browser, Cluster, Http, PATIENCE, Scheme, eventually, host, not_tested, pause};

/// Where each node speaks HTTP.
const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

/// Players of a page's list.
const ROWS: usize = 50;

/// The key Enter, as the protocol names it.
const ENTER: &str = "\u{e007}";

/// The key Escape.
const ESCAPE: &str = "\u{e00c}";

fn browser(cluster: &Cluster) -> Option<Browser> {
    match Browser::start(cluster.folder()) {
        Ok(browser) => {
            browser.look(1280, 800, Scheme::Light);
            Some(browser)
        }
        Err(error) => {
            not_tested(&format!("{error:#}: apt-get install chromium chromium-driver"));
            None
        }
    }
}

#[test]
fn the_story_of_the_readme_works_in_a_browser() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let Some(browser) = browser(&cluster) else { return };
    let [first, third] = ["app_node1", "app_node3"].map(|name| cluster.node(name).http());
    browser.go(first, "/");
    browser.await_text("#summary", |text| text == "3 of 3 nodes up, 0 players");
    browser.fill("#search", "player1");
    browser.press(ENTER);
    browser.await_text("#result", |text| text.contains("no such player yet"));
    browser.click("#reward");
    browser.await_text("#card-points", |text| text == "5");
    browser.await_text("#result", |text| text.starts_with("5 points, at seq 1 on app_node1"));

    // Any node shows the same, and will when this one is gone.
    browser.go(third, "/#player1");
    browser.await_text("#card-owner", |text| text == "app_node1");
    browser.await_text("#picture .node[data-node=app_node1] .owned", |text| text == "1 player");
    browser.await_text("#picture .count text", |text| text == "1");
    browser.click("#reward-a");
    let told = browser.await_text("#result", |text| text.contains("trapped"));
    let words =
        "player1 trapped: not an integer: \"a\". Nothing was applied. It is restored at seq 1 in ";
    assert!(told.starts_with(words), "{told}");
    browser.await_text("#events li[data-event=trapped]", |text| text.contains("not an integer"));
    browser.await_text("#card-trap", |text| text.contains("restored at seq 1"));
    browser.fill("#reward-points", "2");
    browser.click("#reward");
    browser.await_text("#card-points", |text| text == "7");

    cluster.node_mut("app_node1").kill();
    browser.await_there("#picture .node[data-node=app_node1][data-status=down]");
    browser.await_text("#nodes tr[data-status=down]", |text| text.contains("app_node1"));
    browser.await_text("#events li[data-event=down]", |text| text.contains("app_node1 is down"));
    browser.await_text("#events li", |text| text.contains("player1 is restored on "));
    browser.click("#reward");
    browser.await_text("#card-points", |text| text == "9");
    browser.await_text("#card-owner", |text| ["app_node2", "app_node3"].contains(&text));
    cluster.node_mut("app_node1").restart();
    browser.await_there("#picture .node[data-node=app_node1][data-status=up]");
    browser.await_text("#events li", |text| text.contains("app_node1 is up"));

    browser.click("#end");
    browser.await_text("#confirm-title", |text| text == "End player1?");
    browser.click("#confirm-yes");
    browser.await_text("#result", |text| text.starts_with("player1 is no more"));
    Http::new(third).get("/v1/players/player1").problem(404, "no_player");
    // That it trapped, and that there was no player to look at.
    let expected = |text: &str| ["status of 422", "status of 404"].iter().any(|s| text.contains(s));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|text| expected(text)), "{complaints:#?}");
}

#[test]
fn players_and_nodes_are_operated_from_the_page() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let Some(browser) = browser(&cluster) else { return };
    Http::new(cluster.node("app_node1").http()).reward("player1", 5).ok();
    browser.go(cluster.node("app_node3").http(), "/#player1");
    browser.await_text("#card-owner", |text| text == "app_node1");
    browser.click("#crash");
    let words = "Its instance on app_node1 was thrown away. It is restored at seq 1 in ";
    browser.await_text("#result", |text| text.starts_with(words));
    browser.click("#move-to option[value=app_node2]");
    browser.click("#move");
    let words = "It went from app_node1 to app_node2 at seq 2";
    browser.await_text("#result", |text| text.starts_with(words));
    browser.await_text("#card-owner", |text| text == "app_node2");

    browser.click("#nodes tr[data-node=app_node2] .crash");
    browser.await_text("#confirm-title", |text| text == "Crash app_node2?");
    browser.press(ESCAPE);
    browser.click("#reward");
    browser.await_text("#result", |text| text.starts_with("10 points, at seq 3 on app_node2"));
    browser.click("#nodes tr[data-node=app_node2] .crash");
    browser.click("#confirm-yes");
    browser.await_text("#nodes-result", |text| text.starts_with("app_node2 is gone. It owned 1"));
    assert!(!cluster.node_mut("app_node2").await_end().success());
    browser.await_there("#nodes tr[data-node=app_node2][data-status=down]");
    browser.click("#reward");
    browser.await_text("#card-points", |text| text == "15");
    cluster.node_mut("app_node2").restart();
    cluster.await_settled();

    browser.await_there("#nodes tr[data-node=app_node1][data-status=up]");
    browser.click("#nodes tr[data-node=app_node1] .drain");
    browser.click("#confirm-yes");
    browser.await_text("#nodes-result", |text| text.starts_with("app_node1 has handed over "));
    assert!(cluster.node_mut("app_node1").await_end().success());
    browser.click("#reward");
    browser.await_text("#card-points", |text| text == "20");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_a_player_says_is_shown_as_text() {
    let cluster = Cluster::start_with(2, &HTTP);
    let Some(browser) = browser(&cluster) else { return };
    let node = Http::new(cluster.node("app_node1").http());
    let name = "<img src=x onerror=alert(1)>";
    let path = "/v1/players/%3Cimg%20src=x%20onerror=alert(1)%3E/reward";
    node.post(path, &json!({ "points": 9_007_199_254_740_993_i64 })).ok();
    node.post(path, &json!({ "points": "<b>no</b>" })).problem(422, "trapped");
    browser.go(cluster.node("app_node2").http(), "/");
    browser.await_text("#players th button", |text| text == name);
    browser.click("#players th button");
    browser.await_text("#card-name", |text| text == name);
    // More than a browser's numbers hold.
    browser.await_text("#card-points", |text| text == "9,007,199,254,740,993");
    browser.await_text("#events li", |text| text.contains(name) && text.contains("<b>no</b>"));
    browser.await_text("#card-trap", |text| text.contains("<b>no</b>"));
    let made =
        browser.script("return document.querySelectorAll('main img, main b').length", json!([]));
    assert_eq!(made, 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_asks_for_a_token_where_the_node_does() {
    let cluster = Cluster::start_with(2, &["--http", "0.0.0.0:0"]);
    let Some(browser) = browser(&cluster) else { return };
    let secret = cluster.secret().display().to_string();
    let token = |scope: &str| {
        let made = host(&["token", "new", "--scope", scope, "--secret-file", &secret]);
        assert!(made.status.success(), "{}", made.all());
        made.stdout.trim().to_owned()
    };
    let port = cluster.node("app_node1").http().port();
    browser.go(SocketAddr::from(([127, 0, 0, 1], port)), "/#player1");
    browser.await_text("#token-title", |text| text == "A token is needed");
    browser.fill("#token", "secret");
    browser.press(ENTER);
    browser.await_text("#token-problem", |text| !text.is_empty());
    browser.fill("#token", &token("read"));
    browser.press(ENTER);
    browser.await_text("#summary", |text| text.starts_with("2 of 2 nodes up"));
    browser.click("#reward");
    browser.await_text("#result", |text| text.contains("the token is for `read`"));
    browser.click("#change-token");
    browser.fill("#token", &token("call"));
    browser.press(ENTER);
    browser.await_text("#result", |text| text.contains("no such player yet"));
    browser.click("#reward");
    browser.await_text("#card-points", |text| text == "5");
    let kept = "return [localStorage.length, document.cookie.length, sessionStorage.length]";
    assert_eq!(browser.script(kept, json!([])), json!([0, 0, 1]), "for this tab only");
}

/// Runs a script that has a module of the page as `it`, and returns what it returns.
fn with_module(browser: &Browser, module: &str, script: &str) -> Value {
    let script = format!("return import('/page/{module}').then((it) => {{ {script} }})");
    browser.script(&script, json!([]))
}

#[test]
fn the_page_finds_names_and_differences_where_they_are() {
    let cluster = Cluster::start_with(1, &HTTP);
    let Some(browser) = browser(&cluster) else { return };
    browser.go(cluster.node("app_node1").http(), "/");
    browser.await_text("#summary", |text| text.starts_with("1 of 1 node up"));
    // In the order of bytes, which that of a browser's texts is not.
    let names = ["a", "ab", "b", "\u{ff5e}", "\u{1f3b2}"];
    let script =
        format!("return {}.sort(it.compare)", json!(["\u{1f3b2}", "b", "\u{ff5e}", "ab", "a"]));
    assert_eq!(with_module(&browser, "names.js", &script), json!(names));
    let script = "return ['player1', 'b', '!', ''].map(it.before)";
    let before = ["player0\u{2a6d6}", "a\u{2a6d6}", "", ""];
    assert_eq!(with_module(&browser, "names.js", script), json!(before));

    // Ten calls of up to 50 µs, ten of up to 100 µs, and one that took longer than any bucket.
    let script = "return [0.25, 0.5, 0.75, 1].map((share) => \
        it.quantile([10, 10, 0, 1], [50, 100, 200, null], share))";
    assert_eq!(with_module(&browser, "stats.js", script), json!([26.25, 52.5, 78.75, 200]));
    let script = "return it.quantile([0, 0], [50, null], 0.5)";
    assert_eq!(with_module(&browser, "stats.js", script), Value::Null);
    // One node has started anew, and one was not there before.
    let script = "
        const calls = (returned) => \
            ({ returned, trapped: 0, refused: 0, unknown: 0, buckets: [returned, 0] });
        const node = (node, up_millis, returned) => ({ node, up_millis, calls: calls(returned) });
        const look = (...nodes) => ({ nodes, bucket_micros: [50, null] });
        const before = look(node('a', 1000, 10), node('b', 9000, 500));
        const after = look(node('a', 3000, 30), node('b', 500, 4), node('c', 9000, 7000));
        const { rate, rates, p50 } = it.between(before, after, 2);
        return [rate, Object.fromEntries(rates), p50];";
    let expected = json!([12, { "a": 10, "b": 2 }, 25]);
    assert_eq!(with_module(&browser, "stats.js", script), expected);
}

/// Players of the large cluster.
const MANY: usize = 10_000;

/// Callers that make them, at the same time.
const CALLERS: usize = 48;

/// Time in which they are made: far more than a debug build on a busy machine needs.
const MADE_WITHIN: Duration = Duration::from_secs(180);

fn make_many(cluster: &Cluster) {
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let nodes: Vec<Http> =
        cluster.names().iter().map(|name| Http::new(cluster.node(name).http())).collect();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (node, next) = (&nodes[caller % nodes.len()], &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, SeqCst);
                    if at >= MANY {
                        break;
                    }
                    assert!(start.elapsed() < MADE_WITHIN, "{at} players in {MADE_WITHIN:?}");
                    node.reward(&format!("player{at:05}"), i64::try_from(at).expect("few")).ok();
                }
            });
        }
    });
}

#[test]
fn ten_thousand_players_are_counted_searched_and_paged_through() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let Some(browser) = browser(&cluster) else { return };
    make_many(&cluster);
    let third = cluster.node("app_node3").http();
    browser.go(third, "/");
    browser.await_text("#summary", |text| text == "3 of 3 nodes up, 10,000 players");
    eventually(PATIENCE, || {
        let number = |text: &String| text.replace(',', "").parse::<usize>().expect("a number");
        let counts = browser.texts("#picture .count text");
        let sum: usize = counts.iter().map(number).sum();
        if sum == MANY { Ok(()) } else { Err(format!("{counts:?}")) }
    });
    let rows = || browser.texts("#players th button");
    browser.await_text("#players-range", |text| text == "1 to 50");
    assert_eq!((rows().len(), rows()[0].as_str()), (ROWS, "player00000"));
    browser.click("#next");
    browser.await_text("#players-range", |text| text == "51 to 100");
    assert_eq!(rows()[0], "player00050");
    browser.click("#previous");
    browser.await_text("#players-range", |text| text == "1 to 50");
    browser.fill("#search", "player0742");
    browser.await_text("#players-range", |text| text == "1 to 10");
    let expected: Vec<String> = (7420..7430).map(|at| format!("player{at:05}")).collect();
    assert_eq!(rows(), expected);
    browser.click("#players tr[data-player=player07425] button");
    browser.await_text("#card-points", |text| text == "7,425");
    browser.click("#nodes tr[data-node=app_node2] button.link");
    browser.await_text("#players-range", |text| text == "1 to 50");
    eventually(PATIENCE, || {
        let owners = browser.texts("#players td:nth-child(3)");
        let all = owners.len() == ROWS && owners.iter().all(|owner| owner == "app_node2");
        if all { Ok(()) } else { Err(format!("{owners:?}")) }
    });
    let elements = browser.script("return document.querySelectorAll('*').length", json!([]));
    assert!(elements.as_u64().unwrap() < 2000, "{elements} elements");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    if let Some(folder) = std::env::var_os("PAGE_SCREENSHOTS") {
        photograph(&mut cluster, &browser, Path::new(&folder));
    }
}

/// Writes what the documents show: the page under load, with a trap, and after the death of a node.
fn photograph(cluster: &mut Cluster, browser: &Browser, folder: &Path) {
    let addrs = ["app_node2", "app_node3"].map(|name| cluster.node(name).http());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (node, stop) = (Http::new(addrs[caller % 2]), &stop);
            scope.spawn(move || {
                for at in (0..MANY).cycle().step_by(7) {
                    if stop.load(SeqCst) {
                        break;
                    }
                    let one = if at % 5 == 0 { 742 } else { at };
                    node.reward(&format!("player{one:05}"), 1);
                    std::thread::park_timeout(Duration::from_millis(
                        u64::try_from(at % 23).expect("few"),
                    ));
                }
            });
        }
        browser.go(addrs[0], "/#player00742");
        let shoot = |name: &str, scheme| {
            browser.look(1280, 800, scheme);
            let wait = Instant::now();
            while wait.elapsed() < Duration::from_secs(2) {
                pause();
            }
            fs::write(folder.join(name), browser.screenshot()).expect("write a picture");
        };
        let wait = Instant::now();
        while wait.elapsed() < Duration::from_secs(45) {
            pause();
        }
        browser.click("#reward-a");
        browser.await_text("#result", |text| text.contains("trapped"));
        shoot("page-light.png", Scheme::Light);
        cluster.node_mut("app_node1").kill();
        browser.await_there("#picture .node[data-node=app_node1][data-status=down]");
        browser.await_text("#events li[data-event=down]", |text| text.contains("is down"));
        browser.click("#reward");
        browser.await_text("#result", |text| text.contains("It is on every keeper"));
        shoot("page-dark.png", Scheme::Dark);
        stop.store(true, SeqCst);
    });
}
