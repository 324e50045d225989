//! The same promises over HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::{Value, json};
use tests::{
    Cluster, Http, PATIENCE, bag_component, doubling_component, eventually, host, not_tested,
};

/// Where each node speaks HTTP.
const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

fn http(cluster: &Cluster, node: &str) -> Http {
    Http::new(cluster.node(node).http())
}

#[test]
fn any_node_answers_over_http_for_any_player() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let [first, second, third] = ["app_node1", "app_node2", "app_node3"].map(|n| http(&cluster, n));
    let rewarded = first.reward("player1", 5).ok();
    assert_eq!(rewarded, json!({ "points": 5, "seq": 1, "node": "app_node1" }));
    let rewarded = second.reward("player1", 7).ok();
    assert_eq!(rewarded, json!({ "points": 12, "seq": 2, "node": "app_node1" }));
    assert_eq!(third.reward("player1", -2).ok()["points"], 10);

    let player = third.get("/v1/players/player1").ok();
    assert_eq!((&player["owner"], &player["points"]), (&json!("app_node1"), &json!(10)));
    assert_eq!((&player["seq"], &player["generation"]), (&json!(3), &json!(1)));
    let keeper = player["keepers"][0].as_str().unwrap().to_owned();
    assert!(["app_node2", "app_node3"].contains(&keeper.as_str()), "{player}");

    cluster.node_mut("app_node1").kill();
    assert_eq!(third.reward("player1", 1).ok()["points"], 11, "restored from its keeper");
    let spaces = second.reward("spieler%20%C3%BC%20%2F", 1).ok();
    assert_eq!(spaces["points"], 1);
    assert_eq!(third.get("/v1/players/spieler%20%C3%BC%20%2F").ok()["player"], "spieler ü /");
}

#[test]
fn a_trap_over_http_says_that_nothing_was_applied() {
    let cluster = Cluster::start_with(2, &HTTP);
    let node = http(&cluster, "app_node1");
    node.reward("player1", 5).ok();
    let trapped = node.reward("player1", "a").problem(422, "trapped");
    assert_eq!(trapped["applied"], false);
    assert_eq!(trapped["detail"], "not an integer: \"a\"");
    assert_eq!(trapped["restored"]["seq"], 1);
    assert_eq!(trapped["node"], "app_node1");
    assert_eq!(trapped["type"], "/v1/problems/trapped");
    assert_eq!(node.get("/v1/problems/trapped").ok()["status"], 422);
    assert_eq!(node.reward("player1", 2).ok()["points"], 7);
}

#[test]
fn the_same_idempotency_key_is_the_same_call() {
    let cluster = Cluster::start_with(2, &HTTP);
    let [first, second] = ["app_node1", "app_node2"].map(|name| http(&cluster, name));
    let key = first.ask("POST", "/v1/keys", b"").ok()["key"].as_str().unwrap().to_owned();
    let [plain, quoted] = [key.clone(), format!("\"{key}\"")];
    let once = first.clone().with("idempotency-key", plain).reward("player1", 5).ok();
    let again = second.clone().with("idempotency-key", quoted.as_str());
    assert_eq!(again.reward("player1", 5).ok(), once);
    again.reward("player1", 6).problem(422, "key_reused");
    assert_eq!(first.get("/v1/players/player1").ok()["points"], 5);
    let order = first.clone().with("idempotency-key", "919108f7-52d1-4320-9bac-f847db4148a8");
    let bad = order.reward("player1", 5).problem(400, "bad_key");
    assert!(bad["detail"].as_str().unwrap().contains("a UUID of version 7"), "{bad}");
    let ahead = first.with("idempotency-key", "ffff22e2-79b0-7cc3-98c4-dc0c0c07398f");
    ahead.reward("player1", 5).problem(409, "key_ahead");
}

#[test]
fn an_outcome_that_nobody_knows_comes_with_the_key_to_retry_with() {
    let mut cluster = Cluster::start_with(2, &HTTP);
    let node = http(&cluster, "app_node1");
    node.reward("player1", 5).ok();
    cluster.node_mut("app_node2").stop();
    let impatient = node.clone().with("prefer", "wait=1");
    let unknown = impatient.reward("player1", 2).problem(504, "unknown");
    assert_eq!(unknown["applied"], Value::Null);
    let key = unknown["key"].as_str().unwrap();
    cluster.node_mut("app_node2").cont();
    cluster.await_settled();
    let retried = node.clone().with("idempotency-key", key).reward("player1", 2).ok();
    assert_eq!(retried["points"], 7);
    assert_eq!(node.get("/v1/players/player1").ok()["points"], 7, "once");
}

#[test]
fn one_node_alone_says_when_to_ask_again() {
    let cluster = Cluster::start_with(1, &HTTP);
    let node = http(&cluster, "app_node1");
    let alone = node.reward("player1", 5);
    assert_eq!(alone.retry_after, Some(1));
    let alone = alone.problem(503, "single_node");
    assert_eq!(alone["applied"], false);
    node.get("/v1/players/player1").problem(404, "no_player");
    assert_eq!(node.get("/healthz").body, "ok\n");
    assert_eq!(node.get("/readyz").ok()["ready"], true);
}

#[test]
fn any_function_is_called_with_json_and_answers_in_json() {
    let flags = HTTP;
    let cluster = Cluster::start_with_guest_and(2, &bag_component(), &flags);
    let node = http(&cluster, "app_node2");
    let described = node.get("/v1/functions").ok();
    let names: Vec<&str> = described["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"points"), "{names:?}");
    let call = |function: &str, arguments: Value| {
        node.post(
            &format!("/v1/players/player1/call/{function}"),
            &json!({ "arguments": arguments }),
        )
    };
    let rewarded = call("reward", json!({ "points": { "integer": 5 } })).ok();
    assert_eq!(rewarded, json!({ "result": 5, "seq": 1, "node": "app_node2" }));
    assert_eq!(call("points", json!([])).ok()["result"], 5);
    let wrong = call("reward", json!([5])).problem(400, "bad_arguments");
    assert!(wrong["detail"].as_str().unwrap().contains("`5` is no variant"), "{wrong}");
    call("nothing", json!([])).problem(404, "no_function");
    let functions = node.get("/v1/players/player1/functions").ok();
    assert_eq!(functions["code"], described["code"]);
    assert_eq!(http(&cluster, "app_node1").get("/v1/players/player1").ok()["points"], 5);
}

#[test]
fn players_are_listed_by_pages_and_by_owner() {
    let cluster = Cluster::start_with(2, &HTTP);
    let [first, second] = ["app_node1", "app_node2"].map(|name| http(&cluster, name));
    for player in 0..5 {
        let node = if player % 2 == 0 { &first } else { &second };
        node.reward(&format!("player{player}"), player).ok();
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = first.get(&format!("/v1/players?limit=2{after}")).ok();
        assert!(page["players"].as_array().unwrap().len() <= 2);
        seen.extend(page["players"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let found: Vec<(&str, i64)> = seen
        .iter()
        .map(|p| (p["player"].as_str().unwrap(), p["points"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        found,
        [("player0", 0), ("player1", 1), ("player2", 2), ("player3", 3), ("player4", 4)]
    );
    let of_second = first.get("/v1/players?on=app_node2").ok();
    let names: Vec<&Value> =
        of_second["players"].as_array().unwrap().iter().map(|p| &p["player"]).collect();
    assert_eq!(names, ["player1", "player3"]);
    assert_eq!(of_second["next"], Value::Null);
    let unknown = first.get("/v1/players?on=app_node9").problem(404, "no_node");
    assert_eq!(unknown["detail"], "there is no such node; there are app_node1, app_node2");
    first.get("/v1/players?limit=0").problem(400, "bad_request");
    first.get("/v1/players?limit=many").problem(400, "bad_request");
    first.get("/v1/players?colour=red").problem(400, "bad_request");
    assert_eq!(first.ask("DELETE", "/v1/players/player0", b"").ok()["seq"], 1);
    second.get("/v1/players/player0").problem(404, "no_player");
}

#[test]
fn code_is_deployed_and_taken_back_over_http() {
    let cluster = Cluster::start_with(2, &HTTP);
    let node = http(&cluster, "app_node1");
    node.reward("player1", 5).ok();
    let doubling = doubling_component();
    let wasm = node.clone().with("content-type", "application/wasm");
    let refused = wasm.ask("POST", "/v1/deploy?name=doubling", &doubling).problem(409, "stranded");
    assert_eq!(refused["applied"], false);
    let checked = wasm.ask("POST", "/v1/deploy?name=doubling&pin=true&check=true", &doubling).ok();
    assert_eq!(
        (&checked["deployment"], &checked["players"][0]["fate"]),
        (&Value::Null, &json!("pinned"))
    );
    let deployed = wasm.ask("POST", "/v1/deploy?name=doubling&pin=true", &doubling).ok();
    assert_eq!(deployed["deployment"], 2);
    let new = http(&cluster, "app_node2").reward("player2", 5).ok();
    assert_eq!(
        (&new["points"], &node.reward("player1", 5).ok()["points"]),
        (&json!(10), &json!(10))
    );
    let list = node.get("/v1/deployments").ok();
    assert_eq!(
        (&list["deployments"][0]["name"], &list["deployments"][0]["crossing"]),
        (&json!("doubling"), &json!("pin"))
    );
    node.post("/v1/rollback", &json!({ "deployment": 7 })).problem(409, "conflict");
    assert_eq!(node.post("/v1/rollback", &json!({})).ok(), json!({ "withdrawn": 2 }));
    wasm.ask("POST", "/v1/deploy", b"no component").problem(422, "bad_code");
    wasm.ask("POST", "/v1/deploy?pin=true&reset=true", &doubling).problem(400, "bad_request");
    node.ask("POST", "/v1/deploy", &doubling).problem(415, "no_json");
}

#[test]
fn what_a_request_may_bring_is_bounded_and_told() {
    let cluster = Cluster::start_with(2, &[&HTTP[..], &["--http-rate", "40"]].concat());
    let node = http(&cluster, "app_node1");
    node.reward("player1", 1).ok();
    let long = "x".repeat(200_000);
    node.reward("player1", long.as_str()).problem(413, "body_too_large");
    node.ask("POST", "/v1/players/player1/reward", b"{}").problem(415, "no_json");
    for body in [json!({}), json!([5]), json!({ "points": 5, "more": 1 }), json!({ "points": 1.5 })]
    {
        node.post("/v1/players/player1/reward", &body).problem(400, "bad_request");
    }
    node.reward(&"x".repeat(129), 1).problem(400, "bad_player");
    node.get("/v1/nothing").problem(404, "not_found");
    node.ask("PUT", "/v1/nodes", b"").problem(405, "method_not_allowed");
    let foreign = node.clone().with("host", "evil.example");
    foreign.reward("player1", 1).problem(421, "bad_host");
    let page = node.clone().with("origin", "https://evil.example");
    page.ask("POST", "/v1/players/player1/release", b"").problem(421, "bad_host");
    let headers = node.clone().with("x-long", "x".repeat(20_000));
    assert_eq!(headers.get("/v1/nodes").status, 431);

    let too_many = eventually(PATIENCE, || {
        let answered = node.get("/v1/nodes");
        if answered.status == 429 { Ok(answered) } else { Err(format!("{answered:?}")) }
    });
    assert_eq!(too_many.retry_after, Some(1));
    too_many.problem(429, "too_many_requests");
    assert_eq!(node.get("/readyz").status, 200, "who looks after it is not counted");
    let total = eventually(PATIENCE, || match node.get("/v1/players/player1") {
        answered if answered.status == 200 => Ok(answered.ok()),
        answered => Err(format!("{answered:?}")),
    });
    assert_eq!(total["points"], 1, "nothing that was refused was applied");
}

#[test]
fn a_connection_that_sends_its_head_slowly_or_no_http_at_all_harms_nobody() {
    let cluster = Cluster::start_with(2, &HTTP);
    let addr = cluster.node("app_node1").http();
    let open: Vec<TcpStream> = (0..200)
        .map(|at| {
            let mut stream = TcpStream::connect(addr).unwrap();
            let text: &[u8] = if at % 2 == 0 { b"GET /v1/no" } else { b"\x16\x03\x01\x02" };
            stream.write_all(text).unwrap();
            stream
        })
        .collect();
    let node = http(&cluster, "app_node1");
    assert_eq!(node.reward("player1", 5).ok()["points"], 5);
    drop(open);
}

#[test]
fn who_is_one_connection_too_many_is_told_so() {
    let cluster = Cluster::start_with(1, &HTTP);
    let addr = cluster.node("app_node1").http();
    let open: Vec<TcpStream> = (0..host::limits::HTTP_CONNECTIONS_MAX)
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    let told = eventually(PATIENCE, || {
        let mut stream = TcpStream::connect(addr).map_err(|error| error.to_string())?;
        let mut told = String::new();
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        drop(stream.read_to_string(&mut told));
        if told.starts_with("HTTP/1.1 503") { Ok(told) } else { Err(format!("{told:?}")) }
    });
    assert!(told.contains("\"code\":\"overloaded\""), "{told}");
    drop(open);
    let node = http(&cluster, "app_node1");
    eventually(PATIENCE, || match node.try_ask("GET", "/readyz", b"") {
        Ok(answered) if answered.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// A token of the cluster's.
fn token(cluster: &Cluster, scope: &str) -> String {
    let secret = cluster.secret().display().to_string();
    let made = host(&["token", "new", "--scope", scope, "--secret-file", &secret]);
    assert!(made.status.success(), "{}", made.all());
    made.stdout.trim().to_owned()
}

#[test]
fn beyond_loopback_each_request_needs_a_token_that_allows_it() {
    let cluster = Cluster::start_with(2, &["--http", "0.0.0.0:0"]);
    let port = cluster.node("app_node1").http().port();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let stranger = Http::new(addr);
    assert_eq!(stranger.get("/healthz").status, 200);
    assert_eq!(stranger.get("/readyz").status, 200);
    stranger.get("/v1/nodes").problem(401, "no_token");
    stranger.reward("player1", 5).problem(401, "no_token");
    let with = |token: &str| stranger.clone().with("authorization", format!("Bearer {token}"));
    let [read, call, admin] = ["read", "call", "admin"].map(|scope| with(&token(&cluster, scope)));
    read.get("/v1/nodes").ok();
    read.reward("player1", 5).problem(403, "forbidden");
    assert_eq!(call.reward("player1", 5).ok()["points"], 5);
    assert_eq!(read.get("/v1/players/player1").ok()["points"], 5);
    call.ask("DELETE", "/v1/players/player1", b"").problem(403, "forbidden");
    let raised = token(&cluster, "read").replace("_read_", "_admin_");
    with(&raised).ask("DELETE", "/v1/players/player1", b"").problem(401, "bad_token");
    with("secret").get("/v1/nodes").problem(401, "bad_token");
    admin.ask("DELETE", "/v1/players/player1", b"").ok();
    let public = admin.with("host", "players.example");
    public.get("/v1/players/player1").problem(404, "no_player");
}

#[test]
fn a_token_ends_with_the_key_that_it_was_made_with() {
    let cluster = Cluster::start_with(1, &["--http", "0.0.0.0:0"]);
    let port = cluster.node("app_node1").http().port();
    let node = Http::new(SocketAddr::from(([127, 0, 0, 1], port)));
    let old = node.clone().with("authorization", format!("Bearer {}", token(&cluster, "read")));
    old.get("/v1/nodes").ok();
    let secret = cluster.secret().display().to_string();
    for step in ["accept", "issue", "drop"] {
        let rotated = host(&["secret", "rotate", &secret, step]);
        assert!(rotated.status.success(), "{}", rotated.all());
        let new = node.clone().with("authorization", format!("Bearer {}", token(&cluster, "read")));
        // Nodes read the file by themselves.
        eventually(PATIENCE, || match (new.get("/v1/nodes").status, old.get("/v1/nodes").status) {
            (200, 200) if step != "drop" => Ok(()),
            (200, 401) if step == "drop" => Ok(()),
            statuses => Err(format!("{step}: {statuses:?}")),
        });
    }
}

#[test]
fn a_node_that_leaves_says_so_before_it_is_gone() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let node = http(&cluster, "app_node1");
    for player in 0..200 {
        node.reward(&format!("player{player}"), 1).ok();
    }
    cluster.node_mut("app_node1").ask_to_end();
    let said = eventually(PATIENCE, || match node.try_ask("GET", "/readyz", b"") {
        Ok(answered) if answered.status == 503 => Ok(Some(answered)),
        Ok(answered) => Err(format!("{answered:?}")),
        // It was faster than we.
        Err(_) => Ok(None),
    });
    if let Some(said) = said {
        assert_eq!(said.body["reason"], "it is leaving", "{said:?}");
    }
    assert!(cluster.node_mut("app_node1").await_end().success());
    assert_eq!(http(&cluster, "app_node2").reward("player7", 1).ok()["points"], 2);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, "no certificate").unwrap();
    fs::write(&key, "no key").unwrap();
    let [cert, key] = [cert, key].map(|path| path.display().to_string());
    let node = ["--name", "app_node1", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let tls = ["--http", "127.0.0.1:0", "--http-cert", &cert, "--http-key", &key];
    let ran = host(&[&node[..], &tls].concat());
    assert_eq!(ran.status.code(), Some(1), "{}", ran.all());
    assert!(ran.stderr.contains(&format!("{cert} holds no certificate in PEM")), "{}", ran.all());
}

/// What is no question for a fuzzer: a stream that does not end, and ends of nodes.
const LEFT_OUT: [&str; 6] = [
    "--exclude-path",
    "/v1/events",
    "--exclude-path",
    "/v1/nodes/{node}/drain",
    "--exclude-path",
    "/v1/nodes/{node}/crash",
];

/// What each answer is held against.
const CHECKS: [&str; 4] = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"];

#[test]
fn a_fuzzer_finds_nothing_that_the_openapi_document_does_not_say() {
    let found = Command::new("st").arg("--version").output();
    if !found.is_ok_and(|ran| ran.status.success()) {
        return not_tested("`st` is not here: pip install schemathesis");
    }
    let cluster = Cluster::start_with(2, &HTTP);
    let addr = cluster.node("app_node2").http();
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/http/hooks.py");
    let document = format!("http://{addr}/v1/openapi.json");
    // Which texts a player may be called cannot be said in the document: one check is left out.
    let mut fuzzer = Command::new("st");
    fuzzer.args(["run", &document, "--max-examples", "30", "--seed", "7", "--no-color"]);
    fuzzer
        .args(LEFT_OUT)
        .args(CHECKS)
        .current_dir(cluster.folder())
        .env("SCHEMATHESIS_HOOKS", hooks);
    let ran = fuzzer.output().expect("run schemathesis");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("Fuzzing"), "{said}");
}

/// Follows what happens, from now on or from where `last` says. Returns what has been told so far, again
/// and again.
struct Followed {
    stream: TcpStream,
    text: String,
}

impl Followed {
    fn from(addr: SocketAddr, last: &str) -> Self {
        let mut stream = TcpStream::connect(addr).expect("connect");
        let head =
            format!("GET /v1/events HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("ask");
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(100)))
            .expect("set a timeout");
        let mut followed = Self { stream, text: String::new() };
        followed.await_text("what happens from now on");
        followed
    }

    /// Waits until these words were told.
    #[track_caller]
    fn await_text(&mut self, words: &str) {
        eventually(PATIENCE, || {
            let mut bytes = [0; 4096];
            // What times out is read at the next look.
            let read = self.stream.read(&mut bytes).unwrap_or(0);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            if self.text.contains(words) { Ok(()) } else { Err(format!("{words}: {}", self.text)) }
        });
    }

    /// The id of the last event.
    fn last_id(&self) -> &str {
        self.text.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id")
    }
}

#[test]
fn what_happens_is_told_through_any_node_and_goes_on_where_it_stopped() {
    let mut cluster = Cluster::start_with(3, &HTTP);
    let [first, third] = ["app_node1", "app_node3"].map(|name| http(&cluster, name));
    first.reward("player1", 5).ok();
    let addr = cluster.node("app_node3").http();
    let mut followed = Followed::from(addr, "");
    first.reward("player1", "a").problem(422, "trapped");
    followed
        .await_text("player1 trapped on app_node1: not an integer: \\\"a\\\"; restored at seq 1");
    let last = followed.last_id().to_owned();
    drop(followed);

    cluster.node_mut("app_node1").kill();
    assert_eq!(third.reward("player1", 1).ok()["points"], 6);
    let mut followed = Followed::from(addr, &last);
    for words in [
        "app_node1 is down",
        "takes player1 over from app_node1",
        "\"event\":\"restored\"",
        "\"event\":\"reseeded\"",
    ] {
        followed.await_text(words);
    }
    assert!(!followed.text.contains("trapped"), "it was told before: {}", followed.text);
    let downs = followed.text.matches("event: down").count();
    assert_eq!(downs, 1, "each node has seen it, and one tells: {}", followed.text);
    cluster.node_mut("app_node1").restart();
    followed.await_text("app_node1 is up");
    first.get("/v1/events?player=%07").problem(400, "bad_player");
}

#[test]
fn what_a_node_has_done_is_counted_for_prometheus_and_for_people() {
    let cluster = Cluster::start_with(2, &HTTP);
    let [first, second] = ["app_node1", "app_node2"].map(|name| http(&cluster, name));
    for _ in 0..3 {
        first.reward("player1", 5).ok();
    }
    first.reward("player1", "a").problem(422, "trapped");
    first.post("/v1/players/player1/call/nothing", &json!({})).problem(404, "no_function");
    let metrics = first.get("/metrics");
    assert!(metrics.kind.starts_with("application/openmetrics-text"), "{metrics:?}");
    let text = metrics.body.as_str().expect("no JSON").to_owned();
    for line in [
        "player_host_calls_total{outcome=\"returned\"} 3",
        "player_host_calls_total{outcome=\"trapped\"} 1",
        "player_host_calls_total{outcome=\"refused\"} 1",
        "player_host_calls_total{outcome=\"unknown\"} 0",
        "player_host_call_duration_seconds_count 5",
        "player_host_call_duration_seconds_bucket{le=\"+Inf\"} 5",
        "player_host_events_total{event=\"trapped\"} 1",
        "player_host_players{state=\"running\"} 1",
        "player_host_players{state=\"owned\"} 1",
        "player_host_players{state=\"short_of_copies\"} 0",
        "player_host_nodes{status=\"up\"} 2",
        "player_host_directory_has_leader 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    let replicated =
        text.lines().find_map(|line| line.strip_prefix("player_host_replicated_bytes_total "));
    assert!(replicated.expect("it is counted").parse::<u64>().expect("a number") > 0);
    assert!(text.ends_with("# EOF\n"));

    let stats = second.get("/v1/stats").ok();
    assert_eq!(stats["silent"], json!([]));
    let (mine, other) = (&stats["nodes"][1], &stats["nodes"][0]);
    assert_eq!((&mine["node"], &mine["calls"]["returned"]), (&json!("app_node2"), &json!(0)));
    assert_eq!((&other["node"], &other["calls"]["returned"]), (&json!("app_node1"), &json!(3)));
    let in_buckets: u64 =
        other["calls"]["buckets"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(in_buckets, 5);
    assert_eq!(other["running"], 1);
}
