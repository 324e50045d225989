//! A measurement is real, and leaves nothing behind.

use std::path::PathBuf;

use tests::{Bench, Cluster, Failed, Measured, Orphan, PATIENCE, Via, eventually};

/// The processes that a measurement has started, once there are as many.
#[track_caller]
fn await_processes(bench: &Bench, count: usize) -> Vec<Orphan> {
    eventually(PATIENCE, || {
        let processes = bench.processes();
        if processes.len() == count { Ok(processes) } else { Err(format!("{processes:?}")) }
    })
}

/// The players of measurements that a cluster has.
fn bench_players(via: &Via) -> Vec<String> {
    let names = via.all_players().into_iter().map(|listed| listed.player);
    names.filter(|name| name.starts_with("bench-")).collect()
}

#[test]
fn a_measurement_on_its_own_cluster_leaves_nothing() {
    let bench = Bench::start(&["--players", "10", "--callers", "4", "--seconds", "1"]);
    let processes = await_processes(&bench, 2);
    let (ran, left) = bench.finish();
    let measured: Measured = ran.done().unwrap();
    assert_eq!((measured.cluster.as_str(), measured.failed), ("own", 0), "{measured:?}");
    assert!(measured.calls > 0 && measured.calls_per_second > 0.0, "{measured:?}");
    assert!(measured.p50_us > Some(0.0) && measured.p50_us <= measured.max_us, "{measured:?}");
    assert!(measured.owner_cpu_us_per_call > Some(0.0), "{measured:?}");
    assert!(measured.client_bytes_per_call > Some(0.0), "{measured:?}");
    assert!(measured.node_bytes_per_call > Some(0.0), "{measured:?}");
    assert!(measured.quinn_round_trip_us > 0.0, "{measured:?}");
    assert_eq!(measured.forwarded, 0, "all calls went to the owner: {measured:?}");
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(!processes.iter().any(Orphan::is_alive), "{processes:?}");
}

#[test]
fn a_measurement_within_the_owner_calls_it_in_its_own_process_and_leaves_nothing() {
    let bench = Bench::start(&["--inside", "--players", "10", "--callers", "4", "--seconds", "1"]);
    // The keeper only.
    let processes = await_processes(&bench, 1);
    let (ran, left) = bench.finish();
    let measured: Measured = ran.done().unwrap();
    assert_eq!((measured.cluster.as_str(), measured.failed), ("own", 0), "{measured:?}");
    assert!(measured.calls > 0 && measured.forwarded == 0, "{measured:?}");
    assert!(measured.owner_cpu_us_per_call > Some(0.0), "{measured:?}");
    assert_eq!((measured.client_cpu_us_per_call, measured.client_bytes_per_call), (None, None));
    assert!(measured.node_bytes_per_call > Some(0.0), "it has a keeper: {measured:?}");
    assert!(measured.players_begun_per_second > Some(0.0), "{measured:?}");
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(!processes.iter().any(Orphan::is_alive), "{processes:?}");
}

#[test]
fn a_measurement_that_is_interrupted_leaves_nothing() {
    let bench = Bench::start(&["--players", "10", "--seconds", "3600"]);
    let processes = await_processes(&bench, 2);
    bench.interrupt();
    let (ran, left) = bench.finish();
    let failed: Failed = ran.ended(1).unwrap();
    assert!(failed.message.contains("stopped before the end"), "{failed:?}");
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(!processes.iter().any(Orphan::is_alive), "{processes:?}");
}

#[test]
fn the_players_of_a_measurement_are_forgotten() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    via.rewarded("player1", 5);
    let flags = ["--players", "10", "--callers", "4", "--seconds", "1", "--through", "wrong"];
    let measured: Measured = via.start_bench(&flags).finish().done().unwrap();
    assert_eq!((measured.cluster.as_str(), measured.failed), ("running", 0), "{measured:?}");
    assert!(measured.calls > 0 && measured.forwarded == measured.calls, "{measured:?}");
    assert_eq!((measured.owner_cpu_us_per_call, measured.node_bytes_per_call), (None, None));
    assert_eq!(measured.players_left, 0);
    assert_eq!(bench_players(&via), Vec::<String>::new());
    assert_eq!(via.points("player1"), 5, "nobody else's player was touched");
}

#[test]
fn the_players_of_an_interrupted_measurement_are_forgotten() {
    let cluster = Cluster::start(2);
    let via = cluster.via("app_node1");
    let running = via.start_bench(&["--players", "10", "--callers", "4", "--seconds", "3600"]);
    eventually(PATIENCE, || {
        let players = bench_players(&via);
        if players.len() == 10 { Ok(()) } else { Err(format!("{players:?}")) }
    });
    running.interrupt();
    let _failed: Failed = running.finish().ended(1).unwrap();
    assert_eq!(bench_players(&via), Vec::<String>::new());
}

#[test]
fn calls_of_an_open_loop_come_at_their_rate() {
    let args = ["--players", "5", "--seconds", "2", "--rate", "40", "--through", "any"];
    let (ran, _) = Bench::start(&args).finish();
    let measured: Measured = ran.done().unwrap();
    // What a busy machine has not sent in time is counted all the same.
    assert_eq!((measured.calls + measured.unsent, measured.failed), (80, 0), "{measured:?}");
    assert!(measured.forwarded > 0 && measured.forwarded < measured.calls, "{measured:?}");
}
