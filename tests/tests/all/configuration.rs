//! A node's configuration file.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tests::host_binary;

/// Runs the host in a folder that is its home, too.
fn host_in(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(host_binary());
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.args(args).current_dir(folder).env_clear().env("PATH", path).env("HOME", folder);
    command.envs(variables.iter().copied()).output().expect("run the host")
}

fn origin(output: &Output, flag: &str) -> (Value, Value) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let checked: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let mut values = checked["values"].as_array().expect("a list").iter();
    let found = values.find(|value| value["flag"] == flag).expect("the flag is listed");
    (found["value"].clone(), found["from"].clone())
}

#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    let folder = TempDir::with_prefix("configuration-").expect("create a folder");
    let text = "name = 'in_file'\nlisten = '127.0.0.1:1'\nkeepers = 2\njoin = ['a:1']\n";
    fs::write(folder.path().join("host.toml"), text).expect("write a file");
    let variables = [("PLAYER_HOST_NAME", "in_environment"), ("PLAYER_HOST_LISTEN", "127.0.0.1:2")];
    let args = ["config", "check", "host.toml", "--json", "--listen", "127.0.0.1:3"];
    let checked = host_in(folder.path(), &args, &variables);
    for (flag, value, from) in [
        ("listen", Value::from("127.0.0.1:3"), "flag"),
        ("name", "in_environment".into(), "environment"),
        ("keepers", "2".into(), "file"),
        ("join", vec!["a:1"].into(), "file"),
        ("idle-after", "60s".into(), "default"),
    ] {
        assert_eq!(origin(&checked, flag), (value, from.into()), "{flag}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("read the folder").count(), 1, "nothing is made");
}

#[test]
fn a_wrong_file_starts_nothing_and_is_told_with_its_line() {
    let folder = TempDir::with_prefix("configuration-").expect("create a folder");
    fs::write(folder.path().join("host.toml"), "name = 'n'\nlisten = 'here'\n").expect("write");
    let variables = [("PLAYER_HOST_CONFIG", "host.toml")];
    for args in [&["--stop-with-stdin"][..], &["config", "check", "host.toml"]] {
        let ended = host_in(folder.path(), args, &variables);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        let sentence = "`here` is not an address to listen on; expected one like 127.0.0.1:4433 \
                        (host.toml, line 2)\n";
        assert_eq!(said, sentence);
    }
    let unknown = host_in(folder.path(), &["config", "check", "none.toml", "--json"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
    let said: Value = serde_json::from_slice(&unknown.stdout).expect("it is JSON");
    assert_eq!(said["error"], "usage");
    assert_eq!(fs::read_dir(folder.path()).expect("read the folder").count(), 1, "nothing is made");
}
