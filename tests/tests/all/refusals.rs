//! What is wrong is refused with one clear sentence that names it.

use std::fs;

use tempfile::TempDir;
use tests::{Cluster, Node, PATIENCE, Ran, eventually, host};

/// Exit code for a command that cannot be meant.
const USAGE: i32 = 2;

#[track_caller]
fn one_sentence(ran: &Ran, code: i32, named: &str) {
    assert_eq!(ran.code(), Some(code), "{}", ran.all());
    let lines: Vec<_> = ran.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "one sentence: {}", ran.all());
    assert!(lines[0].contains(named), "it names {named:?}: {}", ran.all());
    assert_eq!(ran.stdout, "", "{}", ran.all());
}

/// A node that started to work before it found out: its last line says why.
#[track_caller]
fn refused(ran: &Ran, named: &str) {
    assert!(ran.code().is_some_and(|code| code != 0), "{}", ran.all());
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(named), "its last line names {named:?}: {}", ran.all());
}

/// A folder with a secret, and the arguments of a node that would start.
struct Folder {
    folder: TempDir,
    secret: String,
}

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new().expect("create a folder");
        let secret = folder.path().join("secret").display().to_string();
        let made = host(&["secret", "new", &secret]);
        assert_eq!(made.code(), Some(0), "{}", made.all());
        Self { folder, secret }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    #[track_caller]
    fn node(&self, name: &str, more: &[&str]) -> Ran {
        let data = self.path("data");
        let mut args = vec!["--name", name, "--data-dir", &data, "--secret-file", &self.secret];
        args.extend(more);
        if !more.contains(&"--listen") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        host(&args)
    }
}

#[test]
fn a_wrong_player_id_is_refused() {
    let folder = Folder::new();
    let node = ["--node", "127.0.0.1:1", "--secret-file", &folder.secret];
    let too_long = "x".repeat(129);
    for (player, named) in [("", "player"), (&too_long, "129"), ("a\nb", "\\n")] {
        let mut args = vec!["reward", player, "5"];
        args.extend(node);
        one_sentence(&host(&args), USAGE, named);
    }
}

#[test]
fn a_wrong_node_name_is_refused() {
    let folder = Folder::new();
    for (name, named) in [("a/b", "'/'"), ("", "name"), ("knoten ü", "' '")] {
        one_sentence(&folder.node(name, &[]), USAGE, named);
    }
}

#[test]
fn a_wrong_address_is_refused() {
    let folder = Folder::new();
    for address in ["127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999"] {
        one_sentence(&folder.node("app_node1", &["--listen", address]), USAGE, address);
        let args = ["nodes", "--node", address, "--secret-file", &folder.secret];
        one_sentence(&host(&args), USAGE, address);
    }
}

#[test]
fn a_wrong_key_is_refused() {
    let folder = Folder::new();
    let node = ["--node", "127.0.0.1:1", "--secret-file", &folder.secret];
    let no_time = "919108f7-52d1-4320-9bac-f847db4148a8";
    for (key, named) in [("0123", "32 hexadecimal digits"), (no_time, no_time)] {
        let mut args = vec!["reward", "player1", "5", "--key", key];
        args.extend(node);
        one_sentence(&host(&args), USAGE, named);
        one_sentence(&host(&args), USAGE, "host key new");
    }
}

#[test]
fn a_guest_that_is_none_is_refused() {
    let folder = Folder::new();
    let missing = folder.path("missing.wasm");
    one_sentence(&folder.node("app_node1", &["--guest", &missing]), USAGE, &missing);

    let text = folder.path("text.wasm");
    fs::write(&text, "this is no wasm").unwrap();
    one_sentence(&folder.node("app_node1", &["--guest", &text]), USAGE, &text);

    // A module that is valid and has nothing to do with players.
    let other = folder.path("other.wasm");
    fs::write(&other, wat::parse_str("(module)").unwrap()).unwrap();
    refused(&folder.node("app_node1", &["--guest", &other]), &other);
}

#[test]
fn a_secret_that_is_none_is_refused() {
    let folder = Folder::new();
    let missing = folder.path("missing");
    let args = ["nodes", "--node", "127.0.0.1:1", "--secret-file", &missing];
    one_sentence(&host(&args), USAGE, &missing);

    let short = folder.path("short");
    fs::write(&short, "abc").unwrap();
    let args = ["nodes", "--node", "127.0.0.1:1", "--secret-file", &short];
    one_sentence(&host(&args), USAGE, &short);
}

#[test]
fn a_secret_is_never_overwritten() {
    let folder = Folder::new();
    let before = fs::read(&folder.secret).unwrap();
    let ran = host(&["secret", "new", &folder.secret]);
    assert_ne!(ran.code(), Some(0), "{}", ran.all());
    assert!(ran.stderr.contains(&folder.secret), "{}", ran.all());
    assert_eq!(fs::read(&folder.secret).unwrap(), before);
}

#[test]
fn without_a_secret_a_node_listens_on_loopback_only() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data").display().to_string();
    let args = ["--name", "app_node1", "--listen", "0.0.0.0:0", "--data-dir", &data];
    one_sentence(&host(&args), USAGE, "0.0.0.0:0");
}

#[test]
fn a_node_name_that_is_up_is_refused() {
    let cluster = Cluster::start(2);
    let (folder, member) = (Folder::new(), cluster.node("app_node1").addr().to_string());
    let (data, secret) = (folder.path("data"), cluster.secret().display().to_string());
    let mut args = vec!["--name", "app_node2", "--listen", "127.0.0.1:0", "--join", &member];
    args.extend(["--data-dir", &data, "--secret-file", &secret]);
    let ran = host(&args);
    refused(&ran, "app_node2");
    // The one that bears the name does not notice.
    assert_eq!(cluster.via("app_node2").rewarded("player1", 5).node, "app_node2");
}

#[test]
fn a_data_folder_serves_one_node_at_a_time() {
    let cluster = Cluster::start(1);
    let data = cluster.folder().join("app_node1").display().to_string();
    let secret = cluster.secret().display().to_string();
    let mut args = vec!["--name", "app_node1", "--listen", "127.0.0.1:0"];
    args.extend(["--data-dir", &data, "--secret-file", &secret]);
    refused(&host(&args), &data);
}

#[test]
fn nobody_without_the_secret_calls() {
    let cluster = Cluster::start(2);
    let (stranger, node) = (Folder::new(), cluster.node("app_node1").addr().to_string());
    let mut args = vec!["reward", "player1", "5", "--node", &node];
    args.extend(["--secret-file", &stranger.secret, "--deadline", "3s"]);
    let ran = host(&args);
    one_sentence(&ran, 1, &node);
    assert!(cluster.via("app_node1").all_players().is_empty());
}

#[test]
fn nobody_without_the_secret_joins() {
    let cluster = Cluster::start(2);
    let (stranger, member) = (Folder::new(), cluster.node("app_node1").addr().to_string());
    let mut node = Node::new(
        "stranger",
        stranger.folder.path(),
        &["--secret-file", &stranger.secret, "--join", &member],
    );
    node.spawn();
    eventually(PATIENCE, || {
        let log = node.log();
        if log.contains(&member) { Ok(()) } else { Err(format!("no word of {member}: {log}")) }
    });
    let names: Vec<_> =
        cluster.via("app_node1").try_nodes().unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["app_node1", "app_node2"]);
}

#[test]
fn a_node_that_is_not_there_is_named() {
    let folder = Folder::new();
    let mut args = vec!["reward", "player1", "5", "--node", "127.0.0.1:1"];
    args.extend(["--secret-file", &folder.secret, "--deadline", "2s"]);
    one_sentence(&host(&args), 1, "127.0.0.1:1");
}
