//! Who writes a player of their own: a new one, its build, and each save of it deployed.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use host::guest::{Allowance, CallOutcome, Code, Engine};
use host::protocol::{Arguments, FunctionCall, Operation, Term};
use tempfile::TempDir;
use tests::{
    Dev, End, Flaw, Orphan, PATIENCE, doubling_module, eventually, host, migrating_module,
    not_tested,
};

/// `all`: a tool that is missing fails the tests.
const ASK: &str = "GUESTS";
/// How a new guest's `build` ends when a tool is missing.
const TOOL_IS_MISSING: i32 = 2;
/// How long a build may take that begins with the standard library, beside others that do the same.
const LONG: Duration = Duration::from_secs(15 * 60);

/// Has the host write a new guest. Returns its folder, below one that goes with it.
#[track_caller]
fn new_guest(language: &str) -> (TempDir, PathBuf) {
    let outer = TempDir::with_prefix("author-").expect("create a folder");
    let folder = outer.path().join("my-player");
    let ran = host(&["new", folder.to_str().expect("a plain path"), "--lang", language]);
    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    let next = format!("host dev --guest {} --watch", folder.display());
    assert!(ran.all().contains(&next), "it says what to do next: {}", ran.all());
    (outer, folder)
}

/// Builds a new guest, as a person would. Returns its code, or none where it cannot be built and need
/// not be.
#[track_caller]
fn built(folder: &Path) -> Option<Vec<u8>> {
    let mut command = Command::new(folder.join("build"));
    // This test is part of another build.
    for (name, _) in env::vars().filter(|(name, _)| name == "RUSTUP_TOOLCHAIN") {
        command.env_remove(name);
    }
    let output = command.output().expect("run the build");
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(TOOL_IS_MISSING) && env::var_os(ASK).is_none() {
        not_tested(words.trim());
        return None;
    }
    assert!(output.status.success(), "{}: {words}", folder.display());
    Some(fs::read(folder.join("my-player.wasm")).expect("read what was built"))
}

/// Lets a player take over a state of the built-in one, and looks at what it saves after each call.
#[track_caller]
fn takes_over_counts_and_traps(code: &[u8]) {
    let engine = Engine::new(&Allowance::default()).expect("an engine");
    let code = Code::load(&engine, code).expect("the host takes what a new guest builds");
    // Version 0, and 5 points.
    let (mut instance, mut state) = code.take_over(&[0, 10]).expect("it takes over a state");
    let operations = [
        (Operation::Reward(Term::Integer(-2)), [0, 6]),
        (give_bonus("{points: 5, times: 3}"), [0, 36]),
    ];
    for (operation, saved) in operations {
        let CallOutcome::Returned { delta, .. } = instance.call(&operation, &state) else {
            panic!("{operation:?} does not return");
        };
        state.apply(&delta).expect("its own change");
        assert_eq!(code.save(&state).expect("it saves"), saved, "{operation:?}");
    }
    match instance.call(&Operation::Reward(Term::Text("a".into())), &state) {
        CallOutcome::Trapped { message } => assert_eq!(message, r#"not an integer: "a""#),
        other => panic!("{other:?}"),
    }
    assert!(code.take_over(&[9]).is_err(), "no state of a version that it does not know");
}

fn give_bonus(bonus: &str) -> Operation {
    let (function, arguments) = ("give-bonus".to_owned(), vec![bonus.to_owned()]);
    Operation::Call(FunctionCall { function, arguments: Arguments::Wave(arguments) })
}

#[track_caller]
fn a_new_guest_plays(language: &str) {
    let (_outer, folder) = new_guest(language);
    if let Some(code) = built(&folder) {
        takes_over_counts_and_traps(&code);
    }
}

#[test]
fn a_new_guest_in_javascript_plays() {
    a_new_guest_plays("js");
}

#[test]
fn a_new_guest_in_python_plays() {
    a_new_guest_plays("python");
}

#[test]
fn a_new_guest_in_c_plays() {
    a_new_guest_plays("c");
}

#[test]
fn a_new_guest_in_rust_plays_and_changes_while_it_does() {
    let (_outer, folder) = new_guest("rust");
    // What every build begins with is kept from one run to the next.
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/built/new-rust");
    fs::create_dir_all(&kept).expect("create the folder of what is built");
    symlink(&kept, folder.join("target")).expect("link to what was built before");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).expect("take the versions of this workspace");
    let Some(code) = built(&folder) else { return };
    takes_over_counts_and_traps(&code);

    let mut dev = Dev::start_with(3, &["--watch", "--guest", folder.to_str().unwrap()]);
    assert_eq!(dev.ask_number_within(LONG, "reward player1 5"), 5);
    let rules = folder.join("src/lib.rs");
    let source = fs::read_to_string(&rules).expect("read the rules");
    let wrong = source.replace("REWARD_COUNTS: i64 = 1", "REWARD_COUNTS: i64 = one");
    assert_ne!(wrong, source, "the constant is there");
    fs::write(&rules, wrong).expect("write a mistake");
    dev.await_log(LONG, "cannot find value `one`");
    assert_eq!(dev.ask_number("reward player1 1"), 6, "with the rules that it had");

    let triple = source.replace("REWARD_COUNTS: i64 = 1", "REWARD_COUNTS: i64 = 3");
    fs::write(&rules, triple).expect("write another rule");
    dev.await_log(LONG, "deployed my-player.wasm as deployment 2: 1 player runs it");
    assert_eq!(dev.ask_number("points player1"), 6, "what it had is kept");
    assert_eq!(dev.ask_number("reward player1 2"), 12, "and the new rule is in force");
    assert_eq!(dev.ask_number("call player1 give-bonus {points: 5, times: 3}"), 27);
}

/// A folder whose `build` takes no time: the source is the name of what it makes.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// Makes a folder; `build` is a line of the script before it makes anything.
    fn new(build: &str) -> Self {
        let bench = Self { folder: TempDir::with_prefix("bench-").expect("create a folder") };
        let ready = bench.path().join(".ready");
        fs::create_dir(&ready).expect("create the folder of what is made");
        for times in [1, 2, 3] {
            let code = migrating_module(times, Flaw::None);
            fs::write(ready.join(times.to_string()), code).expect("write code");
        }
        fs::write(ready.join("alien"), doubling_module()).expect("write code");
        bench.save("1");
        let script = format!(
            "#!/bin/sh\nset -eu\n{build}\n\
             cp \".ready/$(cat times)\" .new\nmv .new my-player.wasm\n"
        );
        let path = bench.path().join("build");
        fs::write(&path, script).expect("write the build");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("let it run");
        bench
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn save(&self, source: &str) {
        fs::write(self.path().join("times"), source).expect("save the source");
    }

    fn dev(&self, nodes: usize) -> Dev {
        Dev::start_with(nodes, &["--watch", "--guest", self.path().to_str().expect("a plain path")])
    }
}

#[test]
fn each_save_is_deployed_and_players_keep_what_they_have() {
    let bench = Bench::new("");
    let mut dev = bench.dev(3);
    assert_eq!(dev.ask_number("reward player1 5"), 5);
    bench.save("2");
    dev.await_log(PATIENCE, "deployed my-player.wasm as deployment 2: 1 player runs it");
    assert_eq!(dev.ask_number("reward player1 5"), 15);

    bench.save("missing");
    dev.await_log(PATIENCE, "was not built (exit status: 1):\n  cp: ");
    assert_eq!(dev.ask_number("reward player1 1"), 17, "it goes on with what it has");

    // Whichever node dies, saves are still deployed.
    dev.say("kill app_node1");
    assert_eq!(dev.ask_number("points player1"), 17);
    bench.save("3");
    dev.await_log(PATIENCE, "deployed my-player.wasm as deployment 3: 1 player runs it");
    assert_eq!(dev.ask_number("reward player1 1"), 20);

    bench.save("alien");
    dev.await_log(PATIENCE, "does not export `migrate`");
    let log = dev.log();
    assert!(log.contains("`--reset`") && log.contains("--secret-file"), "{log}");
    assert_eq!(dev.ask_number("reward player1 1"), 23);
    dev.say("quit");
    assert!(dev.await_end().success());
}

#[test]
fn a_save_during_a_build_leads_to_one_more_and_never_to_two_at_once() {
    let bench = Bench::new(
        "if ! mkdir .building; then echo twice > .overlapped; fi\n\
         echo began >> .begun\n\
         if [ -e .slow ]; then while [ -e .slow ]; do sleep 0.1; done; fi\n\
         rmdir .building",
    );
    let mut dev = bench.dev(2);
    assert_eq!(dev.ask_number("reward player1 1"), 1);
    let begun =
        || fs::read_to_string(bench.path().join(".begun")).unwrap_or_default().lines().count();
    let slow = bench.path().join(".slow");
    fs::write(&slow, "").expect("let builds wait");
    bench.save("2");
    eventually(PATIENCE, || if begun() == 2 { Ok(()) } else { Err(format!("{} builds", begun())) });
    bench.save("1");
    bench.save("3");
    fs::remove_file(&slow).expect("let builds go on");
    // The build that was under way has read the newest source already: the next one makes the same.
    eventually(PATIENCE, || if begun() == 3 { Ok(()) } else { Err(format!("{} builds", begun())) });
    dev.await_log(PATIENCE, "nothing to do: deployment 2 is this code");
    assert_eq!(dev.ask_number("reward player1 1"), 4);
    assert!(!bench.path().join(".overlapped").exists(), "one after the other");
    assert_eq!(begun(), 3);
}

/// A build that is under way has a process of its own kind below it.
const ENDLESS: &str = "if [ \"$(cat times)\" = 2 ]; then sleep 100000 & wait; fi";

#[track_caller]
fn a_build_ends_with_dev(how: End) {
    let bench = Bench::new(ENDLESS);
    let mut dev = bench.dev(2);
    assert_eq!(dev.ask_number("reward player1 1"), 1);
    bench.save("2");
    let processes = eventually(PATIENCE, || {
        let processes = dev.processes();
        // Two nodes, and the build: the guard with its watch, the script and what that waits for.
        if processes.len() >= 6 { Ok(processes) } else { Err(format!("{processes:?}")) }
    });
    dev.end(how);
    eventually(PATIENCE, || {
        let left: Vec<_> = processes.iter().filter(|process| process.is_alive()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    });
}

#[test]
fn a_build_ends_when_dev_is_interrupted() {
    a_build_ends_with_dev(End::Interrupt);
}

#[test]
fn a_build_ends_when_the_input_of_dev_does() {
    a_build_ends_with_dev(End::Input);
}

#[test]
fn a_build_ends_when_dev_is_killed() {
    a_build_ends_with_dev(End::Kill);
}

#[test]
fn nothing_runs_when_the_first_build_fails() {
    let bench = Bench::new("echo no such thing; exit 7");
    let mut dev = bench.dev(2);
    let status = dev.await_end();
    assert_eq!(status.code(), Some(1));
    assert!(dev.log().contains("(exit status: 7):\n  no such thing"), "{}", dev.log());
    assert_eq!(dev.processes(), Vec::<Orphan>::new());
}

#[test]
fn a_folder_is_built_before_it_is_deployed() {
    let cluster = tests::Cluster::start(2);
    let via = cluster.via("app_node1");
    assert_eq!(via.rewarded("player1", 5).points, 5);
    let bench = Bench::new("");
    bench.save("2");
    let deployed = via.deployed(bench.path(), &[]);
    assert_eq!((deployed.deployment, deployed.arrived), (Some(2), Some(1)), "{deployed:?}");
    assert_eq!(via.rewarded("player1", 5).points, 15);
    let broken = Bench::new("exit 7");
    let ran = via.start_deploy(broken.path(), &[]).finish();
    assert!(ran.code() == Some(1) && ran.all().contains("exit status: 7"), "{}", ran.all());
    assert_eq!(via.points("player1"), 15);
}
