use super::*;
use crate::cli::args::{Payload, Through};
use crate::cli::bench::{Load, Target};
use crate::cli::cluster::{ClusterSettings, FirstNode};
use crate::protocol::{Ack, Operation, Term};

/// Checks a command line on a machine whose state folder is `state`.
fn check(state: &Path, line: &str) -> Result<Task, UsageError> {
    let args = Args::read(line.split(' ')).unwrap();
    // Both names, so that the folder is inside `state` on each platform.
    let config = Config::check(args, |name| {
        ["XDG_STATE_HOME", "HOME"].contains(&name).then(|| state.into())
    });
    config.map(|config| config.task)
}

fn refused(line: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    check(state.path(), line).unwrap_err().to_string()
}

#[test]
fn a_wrong_word_gets_one_clear_sentence() {
    for (line, sentence) in [
        ("host", "a node needs a name"),
        ("host --name a/b", "a node name has letters, digits, `_` and `-` only"),
        ("host --name n --listen here", "`here` is not an address to listen on"),
        ("host --name n --listen 0.0.0.0:4433", "other nodes cannot reach 0.0.0.0:4433"),
        ("host --name n --listen 10.1.2.3:4433", "run `host secret new FILE`"),
        ("host --name n --join app_node1", "`app_node1` is not a node's address"),
        ("host --name n --join a:1,b:1,c:1 --bootstrap-expect 1", "it is 2 to 3; with fewer than"),
        ("host --name n --join a:1,b:1 --bootstrap-expect 3", "which are 2: it is 2 to 2"),
        ("host --name n --join a:1,a:1 --bootstrap-expect 2", "which are 1: it is 1 to 1"),
        ("host --name n --guest /dev/null", "is not WebAssembly"),
        ("host --name n --guest /", "/ is a folder: name the .wasm file in it"),
        ("host dev --guest /", "/ has no program `build`"),
        ("host dev --watch", "--watch needs --guest FOLDER"),
        ("host deploy /", "/ has no program `build`"),
        ("host new My-player", "`My-player` is no name for a guest: it has other characters"),
        ("host new ..", "`` is no name for a guest"),
        ("host --name n --guest /missing.wasm", "cannot read the guest /missing.wasm"),
        ("host --name n --secret-file /missing", "there is no secret at /missing"),
        ("host points p --node :1", "`:1` is not a node's address"),
        ("host points p --node a:0", "`a:0` is not a node's address"),
        ("host points p --key 12", "a key is 32 hexadecimal digits"),
        ("host points p --key 919108f7-52d1-4320-9bac-f847db4148a8", "`host key new` prints one"),
        ("host points p --deadline soon", "`soon` is not a deadline"),
        ("host points p --deadline 0s", "`0s` is not a deadline"),
        ("host points p\u{1b}", "a player id has printable characters only"),
        ("host nodes --log =,=", "is not a log filter"),
        ("host quarantine release p\u{1b}", "a player id has printable characters only"),
        ("host bundle p last-trap --node :1", "`:1` is not a node's address"),
        ("host replay b.poison --guest /dev/null", "is not WebAssembly"),
        ("host --name n --keepers 0", "a player has 1 to 8 keepers, not 0"),
        ("host set --keepers many", "a player has 1 to 8 keepers, not many"),
        ("host set --ack paper", "`paper` is not a way to acknowledge; expected memory or disk"),
        ("host dev --nodes 10", "runs 1 to 9 nodes, not 10"),
        ("host dev --http 192.0.2.1:8080", "is not where 3 nodes of this machine can speak HTTP"),
        ("host dev --http 127.0.0.1:65534", "`127.0.0.1:65534` is not where 3 nodes"),
        ("host dev --http here", "`here` is not where 3 nodes"),
        ("host --name n --http here", "`here` is not an address to speak HTTP on"),
        ("host bench --nodes 1", "`host bench` starts 2 to 9 nodes, not 1"),
        ("host bench --nodes 2 --keepers 2", "2 nodes cannot keep a player on 2 others"),
        ("host bench --ack paper", "`paper` is not a way to acknowledge"),
        ("host bench --node a", "`a` is not a node's address"),
        ("host bench --node a:1 --ack disk", "`--ack` is for a cluster that `host bench` starts"),
        ("host bench --node a:1 --keepers 2", "`--keepers` is for a cluster that"),
        ("host bench --guest /missing.wasm", "cannot read the guest /missing.wasm"),
        ("host bench --node a:1 --guest p.wasm", "`--guest` is for a cluster that"),
        ("host bench --node a:1 --nodes 2", "`--nodes` is for a cluster that"),
        ("host bench --node a:1 --inside", "with --node a cluster runs already"),
        ("host bench --inside --through wrong", "made in the owner's process; leave out --through"),
        ("host bench --inside --through any", "made in the owner's process; leave out --through"),
    ] {
        let message = refused(line);
        assert!(message.contains(sentence), "{line}: {message}");
        assert!(!message.contains('\n') && !message.ends_with('.'), "{line}: {message}");
    }
}

#[test]
fn addresses_are_names_or_numbers_with_a_port() {
    for good in ["app_node2:4433", "127.0.0.1:1", "[::1]:4433", "example.org:65535"] {
        assert!(check_address(good).is_ok(), "{good}");
    }
    for bad in ["::1:4433", "a", "a:", "a:65536", "[x]:1", "a b:1", ""] {
        assert!(check_address(bad).is_err(), "{bad}");
    }
}

#[test]
fn times_have_units() {
    assert_eq!(parse_time("500ms").unwrap(), Duration::from_millis(500));
    assert_eq!(parse_time("10s").unwrap(), parse_time("10").unwrap());
    assert_eq!(parse_time("2m").unwrap(), Duration::from_secs(120));
    assert!(parse_time("-1s").is_err());
    assert!(parse_time("11m").is_err());
}

#[test]
fn a_node_gets_its_folder_and_the_secret_of_the_machine() {
    let state = tempfile::tempdir().unwrap();
    let Task::Node(NodeSettings { config: settings, .. }) =
        check(state.path(), "host --name n1 --join a:1 --join b:2").unwrap()
    else {
        panic!("not a node")
    };
    assert_eq!(settings.listen.to_string(), DEFAULT_NODE);
    assert_eq!(settings.joins, ["a:1", "b:2"]);
    assert!(settings.data_dir.is_dir() && settings.data_dir.ends_with("player-host/n1"));
    assert!(settings.data_dir.with_file_name("local.secret").is_file());
}

#[test]
fn a_question_without_a_node_goes_to_those_of_this_machine() {
    let state = tempfile::tempdir().unwrap();
    let Task::Node(node) = check(state.path(), "host --name n1").unwrap() else {
        panic!("not a node")
    };
    let _addr =
        folders::AddrFile::write(&node.config.data_dir, "127.0.0.1:7000".parse().unwrap()).unwrap();
    let Task::Ask(ask) = check(state.path(), "host reward p -5").unwrap() else {
        panic!("not a question")
    };
    assert_eq!(ask.reach.targets, ["127.0.0.1:7000", DEFAULT_NODE]);
    assert_eq!(ask.reach.patience, Patience::OneRound);
    let reward = Operation::Reward(Term::Integer(-5));
    assert!(matches!(&ask.question, Question::Call { operation, .. } if *operation == reward));
}

#[test]
fn named_nodes_and_a_given_key_are_kept() {
    let state = tempfile::tempdir().unwrap();
    let line = "host points p --node a:1 --node b:2 --key 0000000000007000800000000000ffff";
    let Task::Ask(ask) = check(state.path(), line).unwrap() else { panic!("not a question") };
    assert_eq!(ask.reach.targets, ["a:1", "b:2"]);
    assert_eq!(ask.reach.patience, Patience::UntilDeadline);
    assert_eq!(ask.key, Some(CallKey::new(0, 0xffff)));
}

#[test]
fn a_measurement_starts_its_own_cluster_unless_a_node_is_named() {
    let state = tempfile::tempdir().unwrap();
    let bench = |line: &str| match check(state.path(), line).unwrap() {
        Task::Bench(settings) => settings,
        other => panic!("{other:?}"),
    };
    let BenchSettings { load, target } = bench("host bench");
    let expected = Load {
        players: 1000,
        callers: 256,
        time: Duration::from_secs(5),
        hot: false,
        payload: Payload::Reward,
        rate: None,
        through: Through::Owner,
    };
    assert_eq!(load, expected);
    assert!(matches!(target, Target::Own(ClusterSettings { nodes: 2, .. })), "{target:?}");
    let line = "host bench --keepers 2 --ack disk --hot --payload points --rate 50 --through wrong";
    let BenchSettings { load, target } = bench(line);
    let expected = Load {
        hot: true,
        payload: Payload::Points,
        rate: Some(50),
        through: Through::Wrong,
        ..expected
    };
    assert_eq!(load, expected);
    let Target::Own(ClusterSettings { nodes: 3, settings, .. }) = target else {
        panic!("{target:?}")
    };
    assert_eq!(settings, SettingsChange { keepers: Some(2), ack: Some(Ack::Disk) });
    let BenchSettings { load, target } = bench("host bench --inside --through owner");
    assert_eq!(load.through, Through::Inside);
    let first = FirstNode::Here;
    assert!(matches!(target, Target::Own(cluster) if cluster.first == first), "a node of its own");
    let BenchSettings { target, .. } = bench("host bench --node a:1 --node b:2");
    let Target::Running { reach, .. } = target else { panic!("{target:?}") };
    assert_eq!(reach.targets, ["a:1", "b:2"]);
}

#[test]
fn a_player_crashes_or_a_node_of_exactly_that_name() {
    let state = tempfile::tempdir().unwrap();
    let ask = |line: &str| match check(state.path(), line) {
        Ok(Task::Ask(ask)) => Ok((ask.question, ask.reach.targets)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let (question, targets) = ask("host crash player1 --node a:1").unwrap();
    assert_eq!(
        (question, targets),
        (Question::crash("player1".parse().unwrap()), vec!["a:1".into()])
    );
    let (question, targets) = ask("host crash --node app_node2").unwrap();
    let node = Question::CrashNode("app_node2".parse().unwrap());
    assert_eq!((question, targets), (node.clone(), vec![DEFAULT_NODE.to_owned()]));
    let (question, targets) = ask("host crash --node app_node2 --node a:1,b:2").unwrap();
    assert_eq!((question, targets), (node, vec!["a:1".into(), "b:2".into()]));
    for line in ["host crash", "host crash --node a:1", "host crash p --node app_node2"] {
        assert!(ask(line).unwrap_err().starts_with("say who is to crash"), "{line}");
    }
    assert!(ask("host crash --node app/node").is_err());
}
