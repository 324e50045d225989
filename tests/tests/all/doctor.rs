//! `host doctor` says what a machine is to a node, and leaves it as it was.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tests::{Cluster, Ran, host};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn said(ran: &Ran, code: i32) -> Vec<Value> {
    assert_eq!(ran.code(), Some(code), "{ran:?}");
    let diagnosed: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let findings = diagnosed["findings"].as_array().expect("a list").clone();
    let problems = findings.iter().filter(|finding| finding["level"] == "problem").count();
    assert_eq!(diagnosed["problems"], problems);
    for finding in &findings {
        // Whatever is not as it should be has a way out.
        assert_eq!(finding["advice"].is_null(), finding["level"] == "ok", "{finding}");
    }
    findings
}

#[track_caller]
fn level<'a>(findings: &'a [Value], about: &str) -> &'a str {
    let found = findings.iter().find(|finding| finding["about"] == about);
    found.and_then(|found| found["level"].as_str()).unwrap_or_else(|| panic!("no {about}"))
}

#[test]
fn a_machine_on_which_nodes_run_has_no_problem_and_is_left_as_it_was() {
    let folder = TempDir::with_prefix("doctor-").expect("create a folder");
    let secret = folder.path().join("secret");
    assert_eq!(host(&["secret", "new", text(&secret)]).code(), Some(0));
    let data = folder.path().join("data");
    let file = folder.path().join("host.toml");
    let lines = "name = 'app_node1'\ndata-dir = 'data'\nsecret-file = 'secret'\nack = 'disk'\n";
    fs::write(&file, lines).expect("write a file");
    let args = ["doctor", "--config", text(&file), "--listen", "127.0.0.1:0"];
    let findings = said(&host(&[&args[..], &["--json"]].concat()), 0);
    let expected = [
        "configuration",
        "name",
        "kernel",
        "tracker",
        "clock",
        "guest",
        "open files",
        "memory",
        "secret",
        "certificate",
        "folder",
        "space",
        "disk",
        "buffers",
        "port",
    ];
    for about in expected {
        assert_ne!(level(&findings, about), "problem");
    }
    let tracker =
        findings.iter().find(|finding| finding["about"] == "tracker").expect("it is there");
    let works = tracker["text"].as_str().expect("a text").starts_with("PAGEMAP_SCAN");
    assert_eq!(works, tracker["level"] == "ok", "{tracker}");
    assert!(!data.exists() && fs::read_dir(folder.path()).expect("read it").count() == 2);

    let plain = host(&args);
    assert_eq!((plain.code(), plain.stderr.as_str()), (Some(0), ""));
    assert!(plain.stdout.contains("\nok       disk: a sync takes "), "{}", plain.stdout);
    assert!(plain.stdout.contains("\n0 problems, "), "{}", plain.stdout);
}

#[test]
fn a_member_answers_and_one_with_another_secret_or_the_same_port_is_a_problem() {
    let cluster = Cluster::start(1);
    let node = cluster.node("app_node1");
    let (addr, folder) = (node.addr().to_string(), TempDir::new().expect("create a folder"));
    let data = folder.path().join("data");
    let with = |secret: &Path, listen: &str| {
        let flags = ["--name", "app_node2", "--data-dir", text(&data), "--join", &addr, "--json"];
        host(&[&["doctor", "--secret-file", text(secret), "--listen", listen], &flags[..]].concat())
    };
    let findings = said(&with(cluster.secret(), "127.0.0.1:0"), 0);
    let join = findings.iter().find(|finding| finding["about"] == "join").expect("it is asked");
    assert_eq!(join["text"], format!("{addr} answers as app_node1"));

    let alien = folder.path().join("secret");
    assert_eq!(host(&["secret", "new", text(&alien)]).code(), Some(0));
    let findings = said(&with(&alien, "127.0.0.1:0"), 1);
    assert_eq!(level(&findings, "join"), "problem");
    let findings = said(&with(cluster.secret(), &addr), 1);
    assert_eq!(level(&findings, "port"), "problem");
    let join = findings.iter().find(|finding| finding["about"] == "join").expect("it is told");
    assert_eq!(join["text"], format!("{addr} is where this node listens"));

    // The running node's own folder is taken, and stays its own.
    let taken = cluster.folder().join("app_node1");
    let args = ["doctor", "--name", "app_node1", "--data-dir", text(&taken), "--json"];
    let findings = said(&host(&[&args[..], &["--listen", "127.0.0.1:0"]].concat()), 1);
    assert_eq!(level(&findings, "folder"), "problem");
    assert_eq!(cluster.via("app_node1").try_nodes().expect("it goes on").len(), 1);
}

#[test]
fn flags_that_mean_nothing_are_told_as_those_of_a_node() {
    let ran = host(&["doctor", "--name", "n", "--listen", "here"]);
    assert_eq!(ran.code(), Some(2));
    assert!(ran.stderr.starts_with("`here` is not an address to listen on"), "{}", ran.stderr);
}
