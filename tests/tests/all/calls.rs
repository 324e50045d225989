//! Any function that a player's code exports can be called, and is kept like a reward.

use tests::{
    Called, Cluster, Described, Dev, Failed, Ran, Trapped, Via, bag_component, doubling_component,
    host,
};

const SWORD: &str = r#"{name: "sword", level: 3}"#;
const SHIELD: &str = r#"{name: "a \"large\" shield", level: 1}"#;

#[track_caller]
fn called(ran: &Ran) -> Called {
    ran.done().unwrap_or_else(|reason| panic!("{reason}"))
}

/// What a call returned, in WAVE.
#[track_caller]
fn result(via: &Via, function: &str, arguments: &[&str]) -> Option<String> {
    called(&via.call("player1", function, arguments)).result
}

#[track_caller]
fn refused(via: &Via, function: &str, arguments: &[&str]) -> Failed {
    let failed: Failed = via.call("player1", function, arguments).ended(1).expect("a refusal");
    assert_eq!(failed.applied, Some(false));
    failed
}

#[test]
fn a_player_with_functions_of_its_own_is_called_like_any_other() {
    let cluster = Cluster::start_with_guest(2, &bag_component());
    let via = cluster.via("app_node1");
    let added = called(&via.call("player1", "add-item", &[SWORD]));
    assert_eq!(
        (added.result.as_deref(), added.seq, added.node.as_str()),
        (Some("1"), 1, "app_node1")
    );
    // The other node forwards it; the name may be written in full.
    let other = cluster.via("app_node2");
    assert_eq!(result(&other, "tests:bag/bag@1.0.0#add-item", &[SHIELD]).as_deref(), Some("2"));
    let all = format!("[{SWORD}, {SHIELD}]");
    assert_eq!(result(&other, "items", &[]), Some(all.clone()));
    assert_eq!(result(&via, "find", &[r#""sword""#]), Some(format!("some({SWORD})")));
    assert_eq!(result(&via, "find", &[r#""bow""#]).as_deref(), Some("none"));
    assert_eq!(result(&via, "worth", &["4"]).as_deref(), Some("gold(40)"));
    assert_eq!(result(&via, "worth", &[]).as_deref(), Some("free"));
    assert_eq!(result(&via, "take", &[]), Some(format!("ok({SHIELD})")));
    assert_eq!(via.rewarded("player1", 5).points, 5, "the plain words are what they were");

    // For a person, a result is a line, and none is no line.
    let text = via.clone().as_text().call("player1", "items", &[]);
    assert_eq!((text.code(), text.stdout.as_str()), (Some(0), format!("[{SWORD}]\n").as_str()));
    let nothing = via.clone().as_text().call("player1", "clear", &[]);
    assert_eq!((nothing.code(), nothing.stdout.as_str()), (Some(0), ""), "{}", nothing.all());
    let empty = via.call("player1", "clear", &[]);
    assert_eq!(called(&empty).result, None);
    assert!(empty.stdout.contains(r#""result":null"#), "{}", empty.stdout);
    assert_eq!(result(&via, "take", &[]).as_deref(), Some(r#"err("the bag is empty")"#));
}

#[test]
fn a_call_that_does_not_fit_says_how_and_applies_nothing() {
    let cluster = Cluster::start_with_guest(2, &bag_component());
    let via = cluster.via("app_node1");
    assert_eq!(called(&via.call("player1", "add-item", &[SWORD])).seq, 1);
    for via in [&via, &cluster.via("app_node2")] {
        let failed = refused(via, "add-item", &[r#"{name: "sword", level: "three"}"#]);
        assert_eq!(failed.error, "bad_arguments");
        let expected = "bad_arguments: argument 1 (`item`): `level`: `\"three\"` is no u32; it is \
                        `tests:bag/bag@1.0.0#add-item: func(item: record { name: string, level: \
                        u32 }) -> u32`";
        assert_eq!(failed.message, expected);
        let failed = refused(via, "add-item", &[]);
        assert!(failed.message.contains("`item` is missing"), "{}", failed.message);
        let failed = refused(via, "find", &["sword"]);
        assert!(failed.message.contains("written in quotation marks"), "{}", failed.message);
        let failed = refused(via, "add-itm", &[SWORD]);
        assert_eq!(failed.error, "no_function");
        let expected = "did you mean `tests:bag/bag@1.0.0#add-item`? It exports `points`, `reward`";
        assert!(failed.message.contains(expected), "{}", failed.message);
    }
    let text = via.clone().as_text().call("player1", "add-itm", &[]);
    assert_eq!((text.code(), text.stdout.as_str()), (Some(1), ""));
    assert!(text.stderr.trim().ends_with("; nothing was applied"), "{}", text.stderr);

    let trapped: Trapped = via.call("player1", "burn", &["200000"]).ended(1).expect("a trap");
    assert!(trapped.message.starts_with("returned more than 16 KiB of text"), "{trapped:?}");
    assert_eq!(trapped.restored.seq, 1);
    // It can be seen again elsewhere, as any trap.
    let (bundle, guest) = (cluster.folder().join("burn"), cluster.folder().join("guest.wasm"));
    assert_eq!(via.bundle("player1", &bundle).code(), Some(0));
    let [bundle, guest] = [&bundle, &guest].map(|path| path.to_str().expect("a plain path"));
    let replayed = host(&["replay", bundle, "--guest", guest]);
    assert_eq!(replayed.code(), Some(0), "{}", replayed.all());
    assert!(replayed.stdout.contains("call burn 200000"), "{}", replayed.all());
    let items = called(&via.call("player1", "items", &[]));
    assert_eq!(
        (items.result, items.seq),
        (Some(format!("[{SWORD}]")), 2),
        "nothing else was applied"
    );
}

#[test]
fn a_call_that_comes_again_has_the_recorded_answer_after_a_failover_too() {
    let mut cluster = Cluster::start_with_guest(3, &bag_component());
    let via = cluster.via("app_node1");
    let [add, list] = [(); 2].map(|()| host(&["key", "new"]).stdout.trim().to_owned());
    let added = called(&via.clone().with_key(&add).call("player1", "add-item", &[SWORD]));
    let listed = called(&via.clone().with_key(&list).call("player1", "items", &[]));
    assert_eq!(listed.result, Some(format!("[{SWORD}]")));
    assert_eq!(result(&via, "add-item", &[SHIELD]).as_deref(), Some("2"));
    let again = called(&via.clone().with_key(&add).call("player1", "add-item", &[SWORD]));
    assert_eq!(again, added);

    cluster.node_mut("app_node1").kill();
    for node in ["app_node2", "app_node3"] {
        let via = cluster.via(node);
        let again = called(&via.clone().with_key(&add).call("player1", "add-item", &[SWORD]));
        assert_eq!((&again.result, again.seq), (&added.result, added.seq));
        // It changed nothing, and its answer is kept nevertheless.
        let again = called(&via.clone().with_key(&list).call("player1", "items", &[]));
        assert_eq!((&again.result, again.seq), (&listed.result, listed.seq));
        let reused = via.clone().with_key(&add).call("player1", "add-item", &[SHIELD]);
        assert_eq!(reused.ended::<Failed>(1).expect("a refusal").error, "key_reused");
    }
    let now = result(&cluster.via("app_node2"), "items", &[]);
    assert_eq!(now, Some(format!("[{SWORD}, {SHIELD}]")));
}

#[test]
fn the_functions_of_a_players_code_are_described_with_what_its_author_says() {
    let mut cluster = Cluster::start_with_guest(2, &bag_component());
    let via = cluster.via("app_node1");
    let failed: Failed = via.describe(Some("player1")).ended(1).expect("there is nobody");
    assert_eq!(failed.error, "no_player");
    let of_new: Described = via.describe(None).done().expect("a description");
    via.rewarded("player1", 1);
    for via in [&via, &cluster.via("app_node2")] {
        let described: Described = via.describe(Some("player1")).done().expect("a description");
        assert_eq!(described, of_new);
    }
    let found = |name: &str| {
        let name = format!("tests:bag/bag@1.0.0#{name}");
        let found = of_new.functions.iter().find(|function| function.name == name);
        found.unwrap_or_else(|| panic!("{of_new:?}"))
    };
    let add = found("add-item");
    assert_eq!(add.shape, "func(item: record { name: string, level: u32 }) -> u32");
    let docs = "Adds an item, and returns how many there are.\n\nA name may be there twice.";
    assert_eq!((add.docs.as_deref(), &add.refused), (Some(docs), &None));
    assert_eq!(found("worth").docs, None);
    assert_eq!(of_new.functions.len(), 9);

    let text = via.clone().as_text().describe(Some("player1")).stdout;
    let expected = "\n/// Empties the bag.\ntests:bag/bag@1.0.0#clear: func()\n";
    assert!(text.starts_with(&format!("code {}\n", of_new.code)), "{text}");
    assert!(text.contains(expected), "{text}");

    // A player keeps its code, and who takes it over tells of that.
    cluster.node_mut("app_node1").kill();
    let described = cluster.via("app_node2").describe(Some("player1"));
    assert_eq!(described.done::<Described>().expect("a description"), of_new);
    let other = Cluster::start_with_guest(1, &doubling_component());
    let described: Described = other.via("app_node1").describe(None).done().expect("another");
    let names: Vec<_> = described.functions.iter().map(|function| &function.name).collect();
    assert_eq!(names, ["points", "reward"]);
    assert_ne!(described.code, of_new.code);
}

#[test]
fn functions_are_called_at_a_prompt_too() {
    let mut dev = Dev::start(2);
    assert_eq!(dev.ask_number("call player1 reward integer(5)"), 5);
    assert_eq!(dev.ask_number("call player1 points via app_node2"), 5);
    let lines = dev.ask_lines(r#"call player1 reward text("a b")"#, "player1").join("\n");
    assert!(lines.contains(r#"CRASH!! player1 trapped: not an integer: "a b""#), "{lines}");
    let lines = dev.ask_lines("describe player1", "player1").join("\n");
    assert!(
        lines.contains("reward: func(points: variant { integer(s64), text(string) })"),
        "{lines}"
    );
    dev.say("quit");
    assert!(dev.await_end().success());
}
