//! A whole cluster with one command, and nothing left of it afterwards.

use std::net::{SocketAddr, TcpListener};

use tests::{Dev, End, Http, Orphan, PATIENCE, eventually};

const NAMES: [&str; 3] = ["app_node1", "app_node2", "app_node3"];

/// Waits until all three nodes are up and vote, so that the cluster can lose any one of them.
#[track_caller]
fn await_up(dev: &mut Dev) {
    eventually(PATIENCE, || {
        let nodes = dev.ask_lines("nodes", "player1");
        let counts = |name: &&str| {
            nodes.iter().any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let votes = words.contains(&"voter") || words.contains(&"leader");
                words.contains(name) && words.contains(&"up") && votes
            })
        };
        if NAMES.iter().all(counts) { Ok(()) } else { Err(nodes.join("\n")) }
    });
}

#[track_caller]
fn all_gone(processes: &[Orphan]) {
    eventually(PATIENCE, || {
        let left: Vec<_> = processes.iter().filter(|process| process.is_alive()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    });
}

#[test]
fn the_walk_through_of_the_readme_works() {
    let mut dev = Dev::start(3);
    assert_eq!(dev.ask_number("reward player1 5"), 5);
    dev.say("reward player1 a");
    dev.say("reward player1 2");
    let (crash, total) = dev.hear_number();
    assert_eq!(total, 7);
    let crash = crash.join("\n");
    assert!(crash.contains("CRASH!! player1 trapped: not an integer: \"a\""), "{crash}");
    assert!(crash.contains("restored at seq 1 from memory in"), "{crash}");

    // Whichever owns the player and whichever keeps it: each of them dies once.
    let mut total = 7;
    await_up(&mut dev);
    for name in NAMES {
        dev.say(&format!("kill {name}"));
        total += 1;
        assert_eq!(dev.ask_number("reward player1 1"), total, "without {name}");
        dev.say(&format!("start {name}"));
        await_up(&mut dev);
    }
    let players = dev.ask_lines("players --all", "player1").join("\n");
    assert!(players.contains("player1"), "{players}");
    assert_eq!(dev.ask_number("points player1"), total);

    let processes = dev.processes();
    dev.say("quit");
    assert!(dev.await_end().success());
    all_gone(&processes);
}

#[test]
fn each_node_speaks_http_on_a_port_of_its_own() {
    // Three ports in a row that are free for a moment.
    let first = eventually(PATIENCE, || {
        let free = |port| TcpListener::bind(("127.0.0.1", port)).map_err(|error| error.to_string());
        let listener = free(0)?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let next = (port.checked_add(1), port.checked_add(2));
        let (Some(second), Some(third)) = next else { return Err(format!("{port} is the last")) };
        drop((free(second)?, free(third)?));
        Ok(port)
    });
    let mut dev = Dev::start_with(3, &["--http", &format!("127.0.0.1:{first}")]);
    assert_eq!(dev.ask_number("reward player1 5"), 5);
    for port in first..first + 3 {
        let node = Http::new(SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(node.get("/v1/players/player1").ok()["points"], 5);
    }
}

#[test]
fn a_node_that_stands_still_is_passed_over() {
    let mut dev = Dev::start(3);
    let mut total = 0;
    for name in NAMES {
        total += 1;
        assert_eq!(dev.ask_number("reward player1 1"), total);
        await_up(&mut dev);
        dev.say(&format!("stop {name}"));
        total += 1;
        assert_eq!(dev.ask_number("reward player1 1"), total, "while {name} stands still");
        dev.say(&format!("continue {name}"));
    }
    assert_eq!(dev.ask_number("points player1"), total);
}

#[track_caller]
fn leaves_nothing(how: End) {
    let mut dev = Dev::start(3);
    assert_eq!(dev.ask_number("reward player1 5"), 5);
    let processes = dev.processes();
    assert!(processes.len() >= NAMES.len(), "{processes:?}");
    assert!(processes.iter().all(Orphan::is_alive));
    let status = dev.end(how);
    all_gone(&processes);
    if how == End::Input {
        assert!(status.success(), "{status}");
    }
    if how != End::Kill {
        assert_eq!(dev.left_files(), Vec::<std::path::PathBuf>::new(), "the folder is thrown away");
    }
}

#[test]
fn nothing_is_left_when_its_input_ends() {
    leaves_nothing(End::Input);
}

#[test]
fn nothing_is_left_when_it_is_terminated() {
    leaves_nothing(End::Terminate);
}

#[test]
fn nothing_is_left_when_it_is_interrupted() {
    leaves_nothing(End::Interrupt);
}

#[test]
fn no_process_is_left_when_it_is_killed() {
    leaves_nothing(End::Kill);
}

#[test]
fn a_node_that_stands_still_is_not_left_either() {
    for how in [End::Terminate, End::Kill] {
        let mut dev = Dev::start(3);
        assert_eq!(dev.ask_number("reward player1 5"), 5);
        await_up(&mut dev);
        let processes = dev.processes();
        dev.say("stop app_node2");
        assert_eq!(dev.ask_number("reward player1 1"), 6);
        dev.end(how);
        all_gone(&processes);
    }
}
