//! What a node writes is its user's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tests::{PATIENCE, Via, eventually, host_binary};

/// Ids that would lead elsewhere if they were names of files.
const IDS: [&str; 5] = ["../../escaped", "..", "/escaped", "a/escaped", "escaped $(id) `id`"];

/// A process that ends with its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a node in a shell whose umask takes nothing away.
fn start(state: &Path, name: &str, join: Option<&str>) -> (Killed, String) {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(host_binary());
    command.args(["--name", name, "--listen", "127.0.0.1:0", "--json"]);
    command.args(join.iter().flat_map(|addr| ["--join", addr]));
    command.env("XDG_STATE_HOME", state).env_remove("RUST_LOG");
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let node = Killed(quiet.spawn().expect("start a node"));
    let file = state.join("player-host").join(name).join("node.addr");
    let addr = eventually(PATIENCE, || fs::read_to_string(&file).map_err(|e| e.to_string()));
    (node, addr.trim().to_owned())
}

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read a folder") {
        let path = entry.expect("read an entry").path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn what_a_node_writes_is_its_users_own_whatever_the_umask() {
    let folder = TempDir::with_prefix("modes-").expect("create a folder");
    let state = folder.path().join("deep/state");
    let (_first, addr) = start(&state, "app_node1", None);
    let (_second, _) = start(&state, "app_node2", Some(&addr));
    let secret = state.join("player-host/local.secret");
    let via = Via::new(vec![addr.parse().expect("an address")], secret.clone());
    for id in IDS {
        assert_eq!(via.rewarded(id, 5).points, 5, "{id}");
    }
    let listed = via.all_players();
    assert_eq!(listed.len(), IDS.len(), "{listed:?}");

    let written = everything_in(folder.path());
    assert!(written.contains(&secret) && written.len() > 10, "{written:?}");
    for path in written {
        let mode = fs::metadata(&path).expect("look at a file").permissions().mode() & 0o777;
        // The test's own folder is as private.
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:03o}", path.display());
        let name = path.file_name().expect("it has a name").to_string_lossy();
        let named_after = IDS.iter().any(|id| name.contains(id)) || name.contains("escaped");
        assert!(!named_after, "{} is named after a player", path.display());
    }
}
