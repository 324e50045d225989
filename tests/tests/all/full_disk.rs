//! A node whose disk is full ends with a clear message, and the others go on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Cluster, PATIENCE, eventually};

const PLAYERS: i64 = 12;

/// A small disk in memory, mounted on a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it, or returns `None` where that is not allowed.
    fn mount(folder: &Path) -> Option<Self> {
        fs::create_dir(folder).expect("make the folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"])
            .arg(folder)
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(folder.to_owned()))
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("make the ballast");
        while ballast.write_all(&[7; 512]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("remove the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a node may still run on it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// Rewards each player through the first node and checks its total.
#[track_caller]
fn reward_all(cluster: &Cluster, total: i64) {
    for number in 1..=PLAYERS {
        let via = cluster.via("app_node1").within("20s");
        let answer = via.rewarded(&format!("player{number}"), 1);
        assert_eq!(answer.points, total, "player{number}");
    }
}

#[test]
fn a_node_with_a_full_disk_ends_and_comes_back_when_there_is_room() {
    let mut cluster = Cluster::start(2);
    let Some(disk) = SmallDisk::mount(&cluster.folder().join("app_node3")) else {
        return eprintln!("skipped: this user cannot mount a small disk");
    };
    let full = cluster.add_node();
    cluster.await_settled();
    reward_all(&cluster, 1);
    let kept = |cluster: &Cluster| {
        let players = cluster.via("app_node1").all_players();
        players.iter().filter(|player| player.keepers.contains(&full)).count()
    };
    assert!(kept(&cluster) > 0, "no player is kept on {full}");

    disk.fill();
    // Its kernel may have some room left in a page that was begun.
    let mut total = 1;
    eventually(PATIENCE, || {
        total += 1;
        reward_all(&cluster, total);
        if cluster.node_mut(&full).is_alive() { Err("it runs".to_owned()) } else { Ok(()) }
    });
    assert_eq!(cluster.node_mut(&full).await_end().code(), Some(1));
    let said = cluster.node(&full).output();
    assert!(said.contains("make room") && said.contains("No space left"), "{said}");
    reward_all(&cluster, total + 1);
    assert_eq!(kept(&cluster), 0);

    disk.make_room();
    cluster.node_mut(&full).restart();
    cluster.await_settled();
    let log = cluster.node(&full).log();
    assert!(!log.contains("copies.damaged"), "{log}");
    let answer = cluster.via(&full).within("20s").rewarded("player1", 1);
    assert_eq!(answer.points, total + 2);
    cluster.node_mut("app_node1").kill();
    assert_eq!(cluster.via(&full).within("20s").rewarded("player1", 1).points, total + 3);
}

#[test]
fn a_node_whose_directory_does_not_fit_any_more_ends_and_the_others_decide() {
    let mut cluster = Cluster::start(2);
    let Some(disk) = SmallDisk::mount(&cluster.folder().join("app_node3")) else {
        return eprintln!("skipped: this user cannot mount a small disk");
    };
    let full = cluster.add_node();
    cluster.await_settled();
    disk.fill();
    eventually(PATIENCE, || {
        for keepers in ["2", "1"] {
            cluster.via("app_node1").set(&["--keepers", keepers]);
        }
        if cluster.node_mut(&full).is_alive() { Err("it runs".to_owned()) } else { Ok(()) }
    });
    assert_eq!(cluster.node_mut(&full).await_end().code(), Some(1));
    let said = cluster.node(&full).output();
    assert!(said.contains("make room") && said.contains("No space left"), "{said}");
    assert_eq!(cluster.via("app_node1").within("20s").rewarded("player1", 1).points, 1);
    disk.make_room();
    cluster.node_mut(&full).restart();
    cluster.await_settled();
    assert_eq!(cluster.via(&full).within("20s").rewarded("player1", 1).points, 2);
}
