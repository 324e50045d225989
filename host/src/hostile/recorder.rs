//! Real traffic, for fuzzers to begin with: a cluster in this process is called, loses a node and
//! gets it back, and what its nodes say to each other and write to their disks is kept as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::encoded;
use crate::guest::Allowance;
use crate::limits::INSTANCES_MAX;
use crate::net::hostile::{Frame, hear};
use crate::net::{Endpoint, Identity, Secret};
use crate::node::{Node, NodeConfig};
use crate::protocol::{
    Call, CallKey, CallRequest, DirectoryReply, DirectoryRequest, ExportFile, KeeperRequest,
    NodeName, Operation, Record, Recovery, Reply, Request, Seq, SettingsChange, Term,
};

/// Longest seed, in bytes: a fuzzer learns more from small ones, and they are committed.
const SEED_BYTES_MAX: usize = 16 * 1024;
/// Seeds of one target, and those of them that begin with the same byte, which often says what kind
/// the rest is.
const SEEDS_MAX: (usize, usize) = (40, 8);

/// Seeds by their targets.
pub(super) type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Runs a cluster and returns what was recorded.
pub(super) async fn record() -> Seeds {
    let folder = TempDir::new().unwrap();
    let frames = hear();
    let secret = Secret::create(&folder.path().join("secret")).unwrap();
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        let joins = nodes.first().map(|node: &Node| node.addr().to_string());
        nodes.push(start(folder.path(), name, joins.into_iter().collect()).await);
    }
    let addrs: Vec<SocketAddr> = nodes.iter().map(Node::addr).collect();
    call_all(&secret, &addrs).await;
    // One is gone without a word, another takes its players over.
    let mut gone = nodes.remove(0);
    gone.abort();
    drop(gone);
    call_all(&secret, &addrs[1..]).await;
    for node in nodes {
        drop(node.drain().await);
        node.stop().await;
    }
    let mut seeds = Seeds::new();
    from_the_wire(&frames.take(), &mut seeds);
    for name in ["two", "three"] {
        from_the_disk(&folder.path().join(name), &mut seeds);
    }
    let code = crate::guest::hostile::seeds();
    seeds.entry("component").or_default().extend(code);
    seeds.entry("wave").or_default().extend(crate::guest::hostile::texts());
    seeds
}

async fn start(folder: &Path, name: &str, joins: Vec<String>) -> Node {
    let config = NodeConfig {
        http: None,
        name: name.parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        joins,
        bootstrap_expect: None,
        data_dir: folder.join(name),
        guest: None,
        settings: SettingsChange::default(),
        idle_after: Duration::from_millis(200),
        instances_max: INSTANCES_MAX,
        allowance: Allowance::default(),
        secret: Secret::load(&folder.join("secret")).unwrap(),
        secret_file: folder.join("secret"),
    };
    Node::start(config).await.unwrap()
}

/// Asks each node all that a client may ask, and more than it should.
async fn call_all(secret: &Secret, addrs: &[SocketAddr]) {
    let client = Endpoint::client(Identity::client(secret).unwrap()).unwrap();
    for (nth, addr) in addrs.iter().enumerate() {
        let connection = client.dial(*addr, None).await.unwrap();
        for (at, operation) in operations().into_iter().enumerate() {
            let player = format!("player{}", (nth + at) % 4).parse().unwrap();
            let key = CallKey::random(crate::clock::unix_millis());
            let call = Call { player, key, operation };
            let request = CallRequest::Call { call, deadline_ms: 5000 };
            connection.ask(Request::Call(request)).await.unwrap();
        }
        let all = |all| CallRequest::Players { all, after: None };
        let change = SettingsChange::parse(Some("2"), None).unwrap();
        for request in [all(true), all(false), CallRequest::Nodes, CallRequest::Traffic]
            .into_iter()
            .chain([CallRequest::Configure(change)])
        {
            connection.ask(Request::Call(request)).await.unwrap();
        }
    }
    client.close().await;
}

fn operations() -> Vec<Operation> {
    let reward = |term| Operation::Reward(term);
    let from: NodeName = "two".parse().unwrap();
    let mut all: Vec<_> = (1..=9).map(|points| reward(Term::Integer(points))).collect();
    all.push(reward(Term::Text("a".to_owned())));
    all.extend([Operation::Points, Operation::Forget, reward(Term::Integer(-3))]);
    all.extend([Operation::Move(from.clone()), Operation::Crash, Operation::Export]);
    all.push(Operation::Import(ExportFile(vec![1, 2, 3])));
    all.push(Operation::Recover(Recovery { from, accept: Seq(3) }));
    all
}

fn add(seeds: &mut Seeds, target: &'static str, seed: Vec<u8>) {
    let known = seeds.entry(target).or_default();
    let alike = known.iter().filter(|other| other.first() == seed.first()).count();
    let there_is_room = known.len() < SEEDS_MAX.0 && alike < SEEDS_MAX.1;
    if seed.len() <= SEED_BYTES_MAX && there_is_room {
        known.insert(seed);
    }
}

fn from_the_wire(frames: &[Frame], seeds: &mut Seeds) {
    let mut of_kind: BTreeMap<(&str, Vec<u8>), usize> = BTreeMap::new();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut keeper = Vec::new();
    for Frame { what, bytes } in frames {
        // The first bytes after the number say which message it is; some of each are enough.
        let kind = (*what, bytes.iter().skip(1).take(3).copied().collect());
        let seen = of_kind.entry(kind).or_default();
        *seen += 1;
        if let Ok((_, request)) = postcard::from_bytes::<(u64, Request)>(bytes)
            && what.ends_with("Request)")
        {
            note_request(&request, seeds);
            keeper.extend(keeper_request(&request));
            asked.push(bytes.clone());
        } else if let Ok(request) = postcard::from_bytes::<Request>(bytes)
            && what.ends_with("::Request")
        {
            keeper.extend(keeper_request(&request));
            note_request(&request, seeds);
        } else if let Ok((_, reply)) = postcard::from_bytes::<(u64, Reply)>(bytes)
            && what.ends_with("Reply)")
        {
            note_reply(&reply, seeds);
            answered.push(bytes.clone());
        }
        if *seen > 2 {
            continue;
        }
        match *what {
            what if what.contains("Request") => add(seeds, "requests", bytes.clone()),
            what if what.contains("Reply") => add(seeds, "replies", bytes.clone()),
            _ => {}
        }
    }
    streams(&asked, &answered, seeds);
    histories(&keeper, seeds);
}

fn keeper_request(request: &Request) -> Option<KeeperRequest> {
    match request {
        Request::Keeper(request) => Some(request.clone()),
        _ => None,
    }
}

fn note_request(request: &Request, seeds: &mut Seeds) {
    let Request::Directory(request) = request else { return };
    let (kind, bytes) = match request {
        DirectoryRequest::AppendEntries(bytes) => (0, bytes),
        DirectoryRequest::Vote(bytes) => (1, bytes),
        DirectoryRequest::InstallSnapshot(bytes) => (2, bytes),
        _ => return,
    };
    add(seeds, "raft", [&[kind], &bytes[..]].concat());
}

fn note_reply(reply: &Reply, seeds: &mut Seeds) {
    let Reply::Directory(DirectoryReply::Raft(bytes)) = reply else { return };
    let kinds = if bytes.len() < 4 { 3..=3 } else { 3..=5 };
    kinds.for_each(|kind| add(seeds, "raft", [&[kind], &bytes[..]].concat()));
}

/// Streams of some messages, as they came.
fn streams(asked: &[Vec<u8>], answered: &[Vec<u8>], seeds: &mut Seeds) {
    let framed = |bytes: &Vec<u8>| {
        let len = u32::try_from(bytes.len()).unwrap();
        [&len.to_le_bytes(), &bytes[..]].concat()
    };
    for lane in 0..4 {
        // A request's lane is the variant that follows its number.
        let of_lane = asked.iter().filter(|bytes| bytes.get(1) == Some(&lane)).take(8);
        let stream: Vec<u8> = of_lane.flat_map(framed).collect();
        add(seeds, "frames", [&[0, 63, 2, 0, 0, 0, 0, lane], &stream[..]].concat());
    }
    for part in answered.chunks(8).take(4) {
        let stream: Vec<u8> = part.iter().flat_map(framed).collect();
        add(seeds, "frames", [&[1, 7], &stream[..]].concat());
    }
}

/// Copies from their seeds on, as their keepers heard of them.
fn histories(requests: &[KeeperRequest], seeds: &mut Seeds) {
    for part in requests.chunks(12).take(8) {
        add(seeds, "keeper", encoded(&part));
    }
    for request in requests {
        let KeeperRequest::Seed(seed) = request else { continue };
        let of_copy = requests.iter().filter_map(|request| match request {
            KeeperRequest::Append(append) if append.copy == seed.copy => Some(&append.record),
            _ => None,
        });
        let records: Vec<&Record> = of_copy.take(6).collect();
        let deltas: Vec<_> = records.iter().map(|record| &record.delta).collect();
        add(seeds, "states", encoded(&(&seed.state, &records)));
        add(seeds, "deltas", encoded(&(&seed.state.snapshot, &deltas)));
    }
}

fn from_the_disk(folder: &Path, seeds: &mut Seeds) {
    for (target, seed) in crate::storage::hostile::seeds(folder) {
        add(seeds, target, seed);
    }
    let entries = crate::storage::hostile::log(folder);
    for seed in crate::directory::hostile::seeds(&entries) {
        add(seeds, "raft", seed);
    }
}
