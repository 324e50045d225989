//! What is in `deploy` fits the program that it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Cluster, Http, not_tested};

/// Labels whose values the program chooses. All others come from whoever scrapes.
const OWN_LABELS: [&str; 4] = ["outcome", "state", "status", "event"];

fn deployed(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(deployed(file)).unwrap_or_else(|error| panic!("read {file}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn alerts() -> Vec<Value> {
    let file = yaml("prometheus/alerts.yml");
    let groups = file["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/player-host.json")).expect("the dashboard is JSON")
}

/// Returns what the dashboard asks Prometheus for, with the values that a person may choose.
fn dashboard_expressions() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations").clone();
    let asks = targets.chain(annotations);
    let texts = asks.filter_map(|ask| ask["expr"].as_str().map(str::to_owned));
    let chosen = [("$__rate_interval", "5m"), ("$job", "player-host"), ("$instance", ".*")];
    texts
        .map(|text| chosen.iter().fold(text, |text, (name, value)| text.replace(name, value)))
        .collect()
}

fn expressions() -> Vec<String> {
    let alerts = alerts();
    let of_alerts = alerts.iter().map(|rule| rule["expr"].as_str().expect("a text").to_owned());
    of_alerts.chain(dashboard_expressions()).collect()
}

/// Returns the metrics that an expression names, each with what it demands of the program's labels.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let starts = expression.match_indices("player_host_");
    starts
        .map(|(at, _)| {
            let rest = &expression[at..];
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
            let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let matchers = braces.map_or("", |(matchers, _)| matchers).split(',').map(str::trim);
            let own = matchers.filter(|matcher| {
                OWN_LABELS.iter().any(|label| matcher.starts_with(&format!("{label}=\"")))
            });
            (name.to_owned(), own.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn selectors_are_found_in_expressions() {
    let found = selectors(r#"max(player_host_a{job="x", state="b"}) > player_host_c - 1"#);
    let expected = [
        ("player_host_a".to_owned(), vec![r#"state="b""#.to_owned()]),
        ("player_host_c".to_owned(), vec![]),
    ];
    assert_eq!(found, expected);
}

/// Says which selectors select nothing of what a node exports.
fn missing(expressions: &[String], exported: &str) -> BTreeSet<String> {
    let samples: Vec<&str> = exported.lines().filter(|line| !line.starts_with('#')).collect();
    let exists = |name: &str, own: &[String]| {
        samples.iter().any(|sample| {
            let end = sample.find(['{', ' ']).unwrap_or(sample.len());
            sample[..end] == *name && own.iter().all(|label| sample[end..].contains(label))
        })
    };
    let selectors = expressions.iter().flat_map(|expression| selectors(expression));
    let lacking = selectors.filter(|(name, own)| !exists(name, own));
    lacking.map(|(name, own)| format!("{name}{own:?}")).collect()
}

#[test]
fn each_metric_that_alerts_and_the_dashboard_name_is_exported() {
    let cluster = Cluster::start_with(1, &["--http", "127.0.0.1:0"]);
    let metrics = Http::new(cluster.node("app_node1").http()).get("/metrics").ok();
    let exported = metrics.as_str().expect("a text");
    let expressions = expressions();
    assert!(expressions.len() > 30, "only {}", expressions.len());
    assert_eq!(missing(&expressions, exported), BTreeSet::new());

    let wrong = [r#"player_host_players{state="lost"} + player_host_calls"#.to_owned()];
    let expected = [r#"player_host_calls[]"#, r#"player_host_players["state=\"lost\""]"#];
    assert_eq!(missing(&wrong, exported), expected.map(str::to_owned).into());
}

#[test]
fn each_expression_closes_what_it_opens() {
    let pairs = [('(', ')'), ('{', '}'), ('[', ']')];
    let balanced = |text: &str| {
        let mut open = Vec::new();
        let mut quoted = false;
        for c in text.chars() {
            if c == '"' {
                quoted = !quoted;
            } else if let Some((_, end)) = pairs.iter().find(|(start, _)| *start == c && !quoted) {
                open.push(*end);
            } else if pairs.iter().any(|(_, end)| *end == c && !quoted) && open.pop() != Some(c) {
                return false;
            }
        }
        open.is_empty() && !quoted
    };
    assert!(
        !balanced("a(b{c)}") && !balanced("a)") && !balanced("a{b=\"c}") && balanced("(a[5m])")
    );
    let wrong: Vec<_> = expressions().into_iter().filter(|text| !balanced(text)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn each_alert_says_what_happened_and_what_to_do() {
    let alerts = alerts();
    let mut names = BTreeSet::new();
    for alert in &alerts {
        let name = alert["alert"].as_str().expect("a name");
        assert!(names.insert(name), "{name} stands there twice");
        let annotation = |key: &str| alert["annotations"][key].as_str().unwrap_or_default();
        assert!(!annotation("summary").is_empty(), "{name} has no summary");
        assert!(annotation("description").len() > 100, "{name} does not say what to do");
        let severity = alert["labels"]["severity"].as_str().expect("a severity");
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
    }
    assert!(names.len() >= 7, "{names:?}");
}

#[test]
fn the_panels_of_the_dashboard_are_told_apart_and_do_not_overlap() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        let of = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(of("x") + of("w") <= 24, "{title} does not fit");
        for (x, y) in (of("x")..of("x") + of("w"))
            .flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{title} overlaps another one");
        }
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn prometheus_itself_takes_the_rules_and_the_dashboards_questions() {
    let promtool = |args: &[&str], file: &PathBuf| {
        Command::new("promtool").args(args).arg(file).output().expect("run promtool")
    };
    if Command::new("promtool").arg("--version").output().is_err() {
        return not_tested("there is no promtool: it is in Debian's package prometheus");
    }
    for (args, file) in [
        (["check", "rules"], deployed("prometheus/alerts.yml")),
        (["test", "rules"], deployed("prometheus/alerts.test.yml")),
    ] {
        let ran = promtool(&args, &file);
        assert!(ran.status.success(), "{args:?}: {ran:?}");
    }
    // It has no command for an expression alone, so each becomes a rule.
    let rules: Vec<_> = dashboard_expressions()
        .into_iter()
        .enumerate()
        .map(|(at, expr)| json!({ "record": format!("dashboard:{at}"), "expr": expr }))
        .collect();
    let folder = tempfile::tempdir().expect("create a folder");
    let file = folder.path().join("dashboard.json");
    // JSON is YAML, too.
    let group = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(&file, group.to_string()).expect("write the rules");
    let ran = promtool(&["check", "rules"], &file);
    assert!(ran.status.success(), "{ran:?}");
}
