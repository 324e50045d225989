//! A new secret takes the place of the old one while the cluster serves, and then the old one is
//! worth nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use host::clock;
use host::protocol::{Answer, Call, CallKey, Operation, Term};
use tempfile::TempDir;
use tests::{Client, Cluster, Node, PATIENCE, Ran, Via, eventually, host};
use tokio::runtime::Builder;

const PLAYERS: usize = 6;
const CALLERS: usize = 4;
const DEADLINE: Duration = Duration::from_secs(5);

/// Three nodes, each with a secret file of its own, as on three machines.
struct Machines {
    nodes: Vec<Node>,
    folder: TempDir,
}

impl Machines {
    fn start() -> Self {
        let folder = TempDir::with_prefix("rotation-").expect("create a folder");
        let mut machines = Self { nodes: Vec::new(), folder };
        ok(&host(&["secret", "new", text(&machines.origin())]));
        for number in 1..=3 {
            let file = machines.file(number);
            copy(&machines.origin(), &file);
            let joins: Vec<_> = machines.addrs().iter().map(SocketAddr::to_string).collect();
            let mut args = vec!["--secret-file", text(&file)];
            args.extend(joins.iter().flat_map(|addr| ["--join", addr]));
            let mut node = Node::new(&format!("app_node{number}"), machines.folder.path(), &args);
            node.restart();
            machines.nodes.push(node);
        }
        copy(&machines.origin(), &machines.clients());
        machines.await_settled();
        machines
    }

    /// Where the person who rotates keeps it.
    fn origin(&self) -> PathBuf {
        self.folder.path().join("origin")
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("secret{number}"))
    }

    /// What the clients read.
    fn clients(&self) -> PathBuf {
        self.folder.path().join("clients")
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::addr).collect()
    }

    fn via(&self, secret: &Path) -> Via {
        Via::new(self.addrs(), secret.to_owned())
    }

    fn await_settled(&self) {
        for node in &self.nodes {
            let via = Via::new(vec![node.addr()], self.clients());
            eventually(PATIENCE, || {
                let seen = via.try_nodes()?;
                let fits =
                    seen.len() == 3 && seen.iter().all(|one| one.voter && one.status == "up");
                if fits { Ok(()) } else { Err(format!("{seen:?}")) }
            });
        }
    }

    /// Has these nodes read the file of the person who rotates, and waits until each says so.
    fn distribute(&self, numbers: &[usize]) {
        let exchanged = |number: &usize| {
            self.nodes[number - 1].log().matches("the secret was exchanged").count()
        };
        let before: Vec<_> = numbers.iter().map(exchanged).collect();
        numbers.iter().for_each(|number| copy(&self.origin(), &self.file(*number)));
        eventually(PATIENCE, || {
            let after: Vec<_> = numbers.iter().map(exchanged).collect();
            let all = before.iter().zip(&after).all(|(before, after)| after > before);
            if all { Ok(()) } else { Err(format!("{before:?}, then {after:?}")) }
        });
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

fn ok(ran: &Ran) {
    assert!(ran.status.success(), "{}", ran.all());
}

/// Copies a secret as a careful person does: nobody ever reads half of it.
fn copy(from: &Path, to: &Path) {
    let draft = to.with_extension("draft");
    fs::copy(from, &draft).expect("copy the secret");
    fs::rename(&draft, to).expect("put the secret in its place");
}

/// Calls until told to stop, each call once and over a connection of its own, as a person's commands
/// are. Returns how many points each player was given, and what went wrong.
async fn load(
    caller: usize,
    nodes: &[SocketAddr],
    secret: &Path,
    stop: &AtomicBool,
) -> (Vec<i64>, Vec<String>) {
    let (mut given, mut failed) = (vec![0; PLAYERS], Vec::new());
    let mut turn = caller;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let mut client = Client::new(secret).expect("the clients' secret is whole");
        let player = format!("player{}", turn % PLAYERS).parse().expect("a player's id");
        let operation = Operation::Reward(Term::Integer(1));
        let call = Call { player, key: CallKey::random(clock::unix_millis()), operation };
        match client.call(nodes[turn % nodes.len()], call, DEADLINE).await {
            Ok(Answer::Returned { .. }) => given[turn % PLAYERS] += 1,
            other => failed.push(format!("{other:?}")),
        }
    }
    (given, failed)
}

/// Rotates under a load, and returns what was given to each player.
fn rotate_under_load(machines: &Machines) -> Vec<i64> {
    let stop = AtomicBool::new(false);
    let (nodes, secret) = (machines.addrs(), machines.clients());
    let ended: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (nodes, secret, stop) = (&nodes, &secret, &stop);
                scope.spawn(move || {
                    let runtime = Builder::new_current_thread().enable_all().build();
                    runtime.expect("start a runtime").block_on(load(caller, nodes, secret, stop))
                })
            })
            .collect();
        for step in ["accept", "issue", "drop"] {
            ok(&host(&["secret", "rotate", text(&machines.origin()), step]));
            // For a while the nodes have different files.
            machines.distribute(&[1]);
            machines.distribute(&[2, 3]);
            copy(&machines.origin(), &machines.clients());
        }
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().expect("a caller ends")).collect()
    });
    let mut sums = vec![0; PLAYERS];
    let mut failed = Vec::new();
    for (given, errors) in ended {
        sums.iter_mut().zip(given).for_each(|(sum, points)| *sum += points);
        failed.extend(errors);
    }
    assert_eq!(failed, Vec::<String>::new(), "beside {} good calls", sums.iter().sum::<i64>());
    sums
}

#[test]
fn a_secret_is_rotated_under_load_without_a_failed_call_and_the_old_one_is_worth_nothing() {
    let mut machines = Machines::start();
    let old = machines.folder.path().join("old");
    copy(&machines.origin(), &old);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("start a runtime");
    let mut kept = {
        let _inside = runtime.enter();
        Client::new(&old).expect("the old secret is whole")
    };
    let points = |client: &mut Client| {
        let (key, operation) = (CallKey::random(clock::unix_millis()), Operation::Points);
        let call = Call { player: "player0".parse().expect("an id"), key, operation };
        runtime.block_on(client.call(machines.nodes[0].addr(), call, DEADLINE))
    };
    points(&mut kept).expect("it is a member's");

    let sums = rotate_under_load(&machines);
    assert!(sums.iter().all(|points| *points > 0), "{sums:?}");
    // What was open is closed: who has only the old key keeps nothing.
    eventually(PATIENCE, || match points(&mut kept) {
        Ok(answer) => Err(format!("it is still served: {answer:?}")),
        Err(_) => Ok(()),
    });
    let node = machines.nodes[0].addr().to_string();
    let refused = host(&["points", "player0", "--node", &node, "--secret-file", text(&old)]);
    assert_eq!(refused.code(), Some(1), "{}", refused.all());
    assert!(refused.all().contains("another secret"), "{}", refused.all());

    let via = machines.via(&machines.clients());
    for (player, sum) in sums.iter().enumerate() {
        assert_eq!(via.points(&format!("player{player}")), *sum);
    }
    machines.nodes[2].terminate();
    machines.nodes[2].restart();
    machines.await_settled();
    assert_eq!(machines.via(&machines.clients()).points("player0"), sums[0]);
    for node in &machines.nodes {
        for file in [machines.origin(), old.clone()] {
            let digits = fs::read_to_string(file).expect("read a secret");
            let digits = digits.trim().rsplit(':').next().expect("it has digits");
            assert!(!node.log().contains(&digits[..8]), "a key is in a log");
        }
    }
}

#[test]
fn a_wrong_secret_file_is_named_and_the_node_goes_on() {
    let cluster = Cluster::start(2);
    let good = fs::read(cluster.secret()).expect("read the secret");
    let aside = cluster.folder().join("aside");
    copy(cluster.secret(), &aside);
    let via = Via::new(vec![cluster.node("app_node1").addr()], aside);
    assert_eq!(via.rewarded("player1", 5).points, 5);
    let says = |what: &str| {
        let node = cluster.node("app_node1");
        eventually(PATIENCE, || match node.log().contains(what) {
            true => Ok(()),
            false => Err(node.log_tail()),
        });
    };
    fs::write(cluster.secret(), "player-host-secret-1:half").expect("write half a secret");
    says("the secret file is not used; the node goes on with the secret that it has");
    assert_eq!(via.rewarded("player1", 5).points, 10);
    fs::write(cluster.secret(), &good).expect("write the secret");
    says("the secret file is right again");
    assert_eq!(via.rewarded("player1", 5).points, 15);
}
