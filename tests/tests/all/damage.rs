//! A damaged file is found and named, and the good copy is used.

use std::fs;
use std::path::{Path, PathBuf};

use tests::{Cluster, Failed, PATIENCE, eventually};

/// Where a node keeps the copies.
fn copies(cluster: &Cluster, node: &str) -> PathBuf {
    cluster.folder().join(node).join("store/copies")
}

/// Flips a byte in the middle of what was written to the newest journal in a folder.
fn flip_in_journal(folder: &Path) {
    let entries = fs::read_dir(folder).expect("list the journals");
    let entries = entries.map(|entry| entry.expect("read the folder").path());
    let journal = entries.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max();
    let journal = journal.expect("a journal");
    let mut bytes = fs::read(&journal).expect("read the journal");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    bytes[used / 2] ^= 0x10;
    fs::write(&journal, bytes).expect("write the journal");
}

#[test]
fn a_damaged_copy_is_named_and_the_good_one_is_used() {
    let mut cluster = Cluster::start_with(3, &["--keepers", "2"]);
    for number in 1..=20 {
        assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, number);
    }
    cluster.kill_all();
    flip_in_journal(&copies(&cluster, "app_node2"));
    for name in ["app_node2", "app_node3"] {
        cluster.node_mut(name).spawn();
    }
    for name in ["app_node2", "app_node3"] {
        cluster.node_mut(name).await_ready();
    }
    let answer = cluster.via("app_node2").within("20s").rewarded("player1", 1);
    assert_eq!((answer.points, answer.seq), (21, 21));
    let log = cluster.node("app_node2").log();
    let aside = copies(&cluster, "app_node2").with_file_name("copies.damaged-1");
    assert!(aside.is_dir(), "{log}");
    for told in [&aside.display().to_string(), ".jnl does not match its checksum", "player1"] {
        assert!(log.contains(told), "{told}: {log}");
    }

    // The damaged copy is replaced as soon as there is a node for it.
    cluster.node_mut("app_node1").restart();
    let via = cluster.via("app_node3");
    let healed = eventually(PATIENCE, || {
        let seen = via.try_player("player1")?;
        if seen.keepers.len() == 2 { Ok(seen) } else { Err(format!("{seen:?}")) }
    });
    cluster.node_mut(&healed.owner).kill();
    assert_eq!(cluster.via(&healed.keepers[0]).within("20s").rewarded("player1", 1).points, 22);
}

#[test]
fn a_player_whose_only_copy_is_damaged_is_refused_and_not_reset() {
    let mut cluster = Cluster::start(3);
    for number in 1..=20 {
        assert_eq!(cluster.via("app_node1").rewarded("player1", 1).points, number);
    }
    let keeper = cluster.via("app_node1").player("player1").keepers[0].clone();
    cluster.kill_all();
    flip_in_journal(&copies(&cluster, &keeper));
    let rest = cluster.names_without(&["app_node1"]);
    rest.iter().for_each(|name| cluster.node_mut(name).spawn());
    rest.iter().for_each(|name| cluster.node_mut(name).await_ready());
    for name in &rest {
        let failed: Failed = cluster.via(name).within("8s").reward("player1", 1).ended(1).unwrap();
        assert_eq!(failed.error, "unavailable", "{failed:?}");
        assert!(failed.message.contains(&keeper), "{failed:?}");
    }
}

#[test]
fn a_node_with_a_damaged_directory_refuses_to_start_and_rejoins_with_an_empty_folder() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.via("app_node1").rewarded("player1", 5).points, 5);
    cluster.node_mut("app_node3").kill();
    let folder = cluster.folder().join("app_node3");
    flip_in_journal(&folder.join("store/directory"));
    cluster.node_mut("app_node3").spawn();
    let status = cluster.node_mut("app_node3").await_end();
    assert_eq!(status.code(), Some(1));
    let said = cluster.node("app_node3").output();
    for told in ["store/directory is damaged", "how it voted", "move the data folder"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(cluster.via("app_node2").rewarded("player1", 1).points, 6);

    fs::rename(&folder, folder.with_file_name("away")).unwrap();
    cluster.node_mut("app_node3").restart();
    cluster.await_settled();
    assert_eq!(cluster.via("app_node3").rewarded("player1", 1).points, 7);
}
