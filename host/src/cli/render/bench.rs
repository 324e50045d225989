//! What a measurement has found, as a table or as one object.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::table::{Align, Table};
use super::{Exit, Format, Rendered, json};
use crate::cli::args::{Payload, Through};
use crate::cli::bench::{CostOfCall, Latency, Report};
use crate::protocol::NodeName;

/// Renders what a measurement has found. It ends well if each call was answered and no player is
/// left.
pub(in crate::cli) fn measured(format: Format, report: &Report) -> Rendered {
    let text = match format {
        Format::Json => object(report),
        Format::Text => table(report),
    };
    let well = report.failed() == 0 && report.left == 0;
    Rendered { text, exit: if well { Exit::Done } else { Exit::NotApplied } }
}

fn table(report: &Report) -> String {
    let mut table = Table::new(&[("what", Align::Left), ("figure", Align::Left)]);
    let mut row = |what: &str, figure: String| table.row([what.to_owned(), figure]);
    row("calls", calls(report));
    row("calls/s", format!("{:.0}", report.calls_per_second()));
    if let Some(Latency { p50, p99, p999, max }) = report.latency {
        for (what, time) in [("p50", p50), ("p99", p99), ("p99.9", p999), ("max", max)] {
            row(what, duration(time));
        }
    }
    let CostOfCall { owner_us, others_us, client_us, client_bytes, node_bytes } = report.cost;
    let owner = match report.load.through {
        Through::Inside => "owner with the callers in it",
        Through::Owner | Through::Any | Through::Wrong => "owner",
    };
    let times = [(owner, owner_us), ("other nodes", others_us), ("client", client_us)];
    let known = times.iter().filter_map(|(who, us)| Some(format!("{:.1} µs {who}", (*us)?)));
    let times: Vec<_> = known.collect();
    if !times.is_empty() {
        row("processor time", format!("{} (each call)", times.join(", ")));
    }
    let bytes = [("client and nodes", client_bytes), ("nodes", node_bytes)];
    let known =
        bytes.iter().filter_map(|(who, bytes)| Some(format!("{:.0} between {who}", (*bytes)?)));
    let bytes: Vec<_> = known.collect();
    if !bytes.is_empty() {
        row("bytes", format!("{} (each call)", bytes.join(", ")));
    }
    if let Some(players) = report.begun_per_second {
        row("players/s", format!("{players:.0} begun before the load"));
    }
    if let Some(bytes) = report.memory_per_player {
        let kib = bytes as f64 / 1024.0;
        row("memory", format!("{kib:.1} KiB a player in the owner's process"));
    }
    row("quinn", format!("{} a plain round trip on this machine", duration(report.floor)));
    if report.load.callers == 1
        && let Some(times) = report.round_trips_of_p50()
    {
        row("p50 / quinn", format!("{times:.1}"));
    }
    format!("{}\n\n{table}", head(report))
}

/// What was measured, in two lines.
fn head(report: &Report) -> String {
    let Report { own, nodes, settings, owner, load, .. } = report;
    let origin = if *own { "started for this" } else { "up" };
    let hot = if load.hot { ", one of them hot" } else { "" };
    let players = match load.players {
        1 => format!("1 player on {owner}"),
        players => format!("{players} players on {owner}{hot}"),
    };
    let call = match load.payload {
        Payload::Reward => "reward",
        Payload::Points => "points",
    };
    let through = match load.through {
        Through::Owner => "through the owner",
        Through::Any => "through all nodes in turn",
        Through::Wrong => "through a node that is not the owner",
        Through::Inside => "within the owner's process",
    };
    let pace = match load.rate {
        Some(rate) => format!("open loop: {rate} calls/s due, at most {} under way", load.callers),
        None if load.callers == 1 => "closed loop: 1 caller, which waits for its answer".to_owned(),
        None => format!("closed loop: {} callers, each waits for its answer", load.callers),
    };
    let seconds = load.time.as_secs();
    format!(
        "{nodes} nodes {origin}, {settings}; {players}\n\
         {call} {through}; {pace}; {seconds} s"
    )
}

fn calls(report: &Report) -> String {
    let mut words = vec![format!("{} answered", report.calls)];
    match report.failed() {
        0 => words.push("none failed".to_owned()),
        failed => {
            let reasons = report.failures.iter().map(|(code, count)| format!("{code} {count}"));
            words.push(format!("{failed} FAILED ({})", reasons.collect::<Vec<_>>().join(", ")));
        }
    }
    if report.forwarded > 0 {
        words.push(format!("{} forwarded", report.forwarded));
    }
    if report.unsent > 0 {
        words.push(format!("{} were due and NOT SENT in time", report.unsent));
    }
    if report.left > 0 {
        words.push(format!("{} players are LEFT", report.left));
    }
    words.join(", ")
}

/// A duration with three digits or so.
fn duration(time: Duration) -> String {
    let micros = micros(time);
    match micros {
        ..100.0 => format!("{micros:.1} µs"),
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// The names are an interface: they are only ever added to. Units are in them; what could not be
/// seen is `null`.
#[derive(Serialize)]
struct Object<'a> {
    cluster: &'static str,
    nodes: usize,
    keepers: u8,
    ack: &'static str,
    owner: &'a NodeName,
    players: u32,
    callers: u32,
    seconds: u64,
    hot: bool,
    payload: &'static str,
    through: &'static str,
    #[serde(rename = "loop")]
    pace: &'static str,
    rate: Option<u32>,
    calls: u64,
    failed: u64,
    failures: &'a BTreeMap<&'static str, u64>,
    unsent: u64,
    forwarded: u64,
    players_left: u64,
    calls_per_second: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    max_us: Option<f64>,
    owner_cpu_us_per_call: Option<f64>,
    other_nodes_cpu_us_per_call: Option<f64>,
    client_cpu_us_per_call: Option<f64>,
    client_bytes_per_call: Option<f64>,
    node_bytes_per_call: Option<f64>,
    players_begun_per_second: Option<f64>,
    memory_bytes_per_player: Option<u64>,
    quinn_round_trip_us: f64,
    p50_in_quinn_round_trips: Option<f64>,
}

fn object(report: &Report) -> String {
    let Report { own, nodes, settings, owner, load, latency, cost, failures, .. } = report;
    let micros_of = |read: fn(&Latency) -> Duration| latency.as_ref().map(read).map(micros);
    json::line(&Object {
        cluster: if *own { "own" } else { "running" },
        nodes: *nodes,
        keepers: settings.keepers,
        ack: settings.ack.word(),
        owner,
        players: load.players,
        callers: load.callers,
        seconds: load.time.as_secs(),
        hot: load.hot,
        payload: match load.payload {
            Payload::Reward => "reward",
            Payload::Points => "points",
        },
        through: match load.through {
            Through::Owner => "owner",
            Through::Any => "any",
            Through::Wrong => "wrong",
            Through::Inside => "inside",
        },
        pace: if load.rate.is_some() { "open" } else { "closed" },
        rate: load.rate,
        calls: report.calls,
        failed: report.failed(),
        failures,
        unsent: report.unsent,
        forwarded: report.forwarded,
        players_left: report.left,
        calls_per_second: tenths(report.calls_per_second()),
        p50_us: micros_of(|latency| latency.p50),
        p99_us: micros_of(|latency| latency.p99),
        p999_us: micros_of(|latency| latency.p999),
        max_us: micros_of(|latency| latency.max),
        owner_cpu_us_per_call: cost.owner_us.map(tenths),
        other_nodes_cpu_us_per_call: cost.others_us.map(tenths),
        client_cpu_us_per_call: cost.client_us.map(tenths),
        client_bytes_per_call: cost.client_bytes.map(tenths),
        node_bytes_per_call: cost.node_bytes.map(tenths),
        players_begun_per_second: report.begun_per_second.map(tenths),
        memory_bytes_per_player: report.memory_per_player,
        quinn_round_trip_us: micros(report.floor),
        p50_in_quinn_round_trips: report.round_trips_of_p50().map(tenths),
    })
}

fn micros(time: Duration) -> f64 {
    tenths(time.as_secs_f64() * 1e6)
}

fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::Load;
    use crate::protocol::Settings;

    fn report() -> Report {
        let micros = Duration::from_micros;
        Report {
            own: true,
            nodes: 2,
            settings: Settings::default(),
            owner: "app_node1".parse().unwrap(),
            load: Load {
                players: 1000,
                callers: 256,
                time: Duration::from_secs(5),
                hot: false,
                payload: Payload::Reward,
                rate: None,
                through: Through::Owner,
            },
            latency: Some(Latency {
                p50: micros(404),
                p99: micros(7_214),
                p999: micros(26_100),
                max: micros(1_250_000),
            }),
            calls: 121_550,
            failures: BTreeMap::new(),
            unsent: 0,
            forwarded: 0,
            cost: CostOfCall {
                owner_us: Some(38.24),
                others_us: Some(12.0),
                client_us: Some(4.06),
                client_bytes: Some(210.4),
                node_bytes: Some(401.0),
            },
            begun_per_second: Some(12_345.6),
            memory_per_player: Some(42_000),
            floor: Duration::from_nanos(28_960),
            left: 0,
        }
    }

    #[test]
    fn a_person_reads_a_table() {
        let Rendered { text, exit } = measured(Format::Text, &report());
        let expected = "\
2 nodes started for this, --keepers 1 --ack memory; 1000 players on app_node1
reward through the owner; closed loop: 256 callers, each waits for its answer; 5 s

what            figure
calls           121550 answered, none failed
calls/s         24310
p50             404 µs
p99             7.21 ms
p99.9           26.10 ms
max             1.25 s
processor time  38.2 µs owner, 12.0 µs other nodes, 4.1 µs client (each call)
bytes           210 between client and nodes, 401 between nodes (each call)
players/s       12346 begun before the load
memory          41.0 KiB a player in the owner's process
quinn           29.0 µs a plain round trip on this machine";
        assert_eq!(text, expected);
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn a_program_reads_an_object() {
        let Rendered { text, exit } = measured(Format::Json, &report());
        let expected = r#"{"cluster":"own","nodes":2,"keepers":1,"ack":"memory","#.to_owned()
            + r#""owner":"app_node1","players":1000,"callers":256,"seconds":5,"hot":false,"#
            + r#""payload":"reward","through":"owner","loop":"closed","rate":null,"#
            + r#""calls":121550,"failed":0,"failures":{},"unsent":0,"forwarded":0,"#
            + r#""players_left":0,"calls_per_second":24310.0,"p50_us":404.0,"p99_us":7214.0,"#
            + r#""p999_us":26100.0,"max_us":1250000.0,"owner_cpu_us_per_call":38.2,"#
            + r#""other_nodes_cpu_us_per_call":12.0,"client_cpu_us_per_call":4.1,"#
            + r#""client_bytes_per_call":210.4,"node_bytes_per_call":401.0,"players_begun_per_second":12345.6,"#
            + r#""memory_bytes_per_player":42000,"#
            + r#""quinn_round_trip_us":29.0,"p50_in_quinn_round_trips":14.0}"#;
        assert_eq!(text, expected);
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn one_caller_is_compared_with_the_plain_round_trip() {
        let mut one = report();
        one.load.callers = 1;
        one.load.players = 1;
        let text = measured(Format::Text, &one).text;
        assert!(text.contains("; 1 player on app_node1\n"), "{text}");
        assert!(text.contains("; closed loop: 1 caller, which waits for its answer; "), "{text}");
        assert!(text.ends_with("\np50 / quinn     14.0"), "{text}");
    }

    #[test]
    fn callers_within_the_owner_have_no_time_of_their_own() {
        let mut inside = report();
        inside.load.through = Through::Inside;
        inside.cost = CostOfCall { client_us: None, client_bytes: None, ..inside.cost };
        let text = measured(Format::Text, &inside).text;
        assert!(text.contains("\nreward within the owner's process; closed loop"), "{text}");
        let times = "38.2 µs owner with the callers in it, 12.0 µs other nodes (each call)";
        assert!(text.contains(times), "{text}");
        assert!(text.contains("\nbytes           401 between nodes (each call)"), "{text}");
        let object = measured(Format::Json, &inside).text;
        let expected = r#""owner_cpu_us_per_call":38.2,"other_nodes_cpu_us_per_call":12.0,"client_cpu_us_per_call":null,"client_bytes_per_call":null,"#;
        assert!(object.contains(expected), "{object}");
        assert!(object.contains(r#""through":"inside""#), "{object}");
    }

    #[test]
    fn what_went_wrong_is_said_and_ends_badly() {
        let mut bad = report();
        bad.load.rate = Some(50_000);
        bad.failures = BTreeMap::from([("late", 2), ("moved", 1)]);
        bad.unsent = 7;
        let Rendered { text, exit } = measured(Format::Text, &bad);
        assert!(text.contains("open loop: 50000 calls/s due, at most 256 under way"), "{text}");
        let calls = "121550 answered, 3 FAILED (late 2, moved 1), 7 were due and NOT SENT in time";
        assert!(text.contains(calls), "{text}");
        assert_eq!(exit, Exit::NotApplied);
        let left = measured(Format::Text, &Report { left: 1, ..report() });
        assert!(left.text.contains("none failed, 1 players are LEFT"), "{}", left.text);
        assert_eq!(left.exit, Exit::NotApplied);
    }

    #[test]
    fn what_was_not_seen_is_left_out_or_null() {
        let nothing = CostOfCall {
            owner_us: None,
            others_us: None,
            client_us: None,
            client_bytes: None,
            node_bytes: None,
        };
        let unseen = Report {
            own: false,
            calls: 0,
            latency: None,
            cost: nothing,
            begun_per_second: None,
            memory_per_player: None,
            ..report()
        };
        let text = measured(Format::Text, &unseen).text;
        assert!(text.starts_with("2 nodes up, "), "{text}");
        for word in ["p50", "processor", "bytes", "players/s", "memory  "] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        let object = measured(Format::Json, &unseen).text;
        assert!(object.contains(r#""p50_us":null"#), "{object}");
        assert!(object.contains(r#""owner_cpu_us_per_call":null"#), "{object}");
    }
}
