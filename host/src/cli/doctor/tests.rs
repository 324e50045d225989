use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::cli::args::Args;
use crate::cli::config::{Config, Task};
use crate::net::Secret;
use crate::protocol::Ack;

/// What a node would be that is started with these words in a folder of its own.
fn settings(folder: &Path, words: &str) -> DoctorSettings {
    let args = Args::read(format!("host doctor {words}").split_whitespace()).unwrap();
    let home = |name: &str| (name == "HOME").then(|| folder.into());
    match Config::check(args, home).unwrap().task {
        Task::Doctor(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn free_addr() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Returns the first finding about something.
#[track_caller]
fn about<'a>(findings: &'a [Finding], about: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.about == about).unwrap_or_else(|| panic!("{findings:?}"))
}

#[track_caller]
fn is_problem(finding: &Finding, text: &str, advice: &str) {
    assert_eq!(finding.level, Level::Problem, "{finding:?}");
    assert!(finding.text.contains(text), "{finding:?}");
    assert!(finding.advice.as_ref().unwrap().contains(advice), "{finding:?}");
}

#[test]
fn a_node_is_looked_at_as_it_would_be_started_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let named = settings(folder.path(), "--name n --ack disk");
    assert!(named.plan.data_dir.as_ref().unwrap().ends_with("player-host/n"));
    assert_eq!(named.plan.settings.ack, Some(Ack::Disk));
    assert!(!named.is_secret_named && named.secret_file.unwrap().ends_with("local.secret"));
    let nameless = settings(folder.path(), "");
    assert_eq!(about(&described(&nameless), "name").level, Level::Note);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_port_that_is_taken_for_either_protocol_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    for taken in [udp.local_addr().unwrap(), tcp.local_addr().unwrap()] {
        let settings = settings(folder.path(), &format!("--name n --listen {taken}"));
        let findings = network::look(&settings.plan, None).await;
        let who = format!("ss -anp 'sport = :{}'", taken.port());
        is_problem(about(&findings, "port"), &format!("{taken} is in use"), &who);
    }
    let free = free_addr();
    let plan = settings(folder.path(), &format!("--name n --listen {free}")).plan;
    for _ in 0..2 {
        let findings = network::look(&plan, None).await;
        assert_eq!(about(&findings, "port").level, Level::Ok, "it does not keep the port");
    }
    // Reserved for documentation, so no machine's own.
    let words = "--name n --listen 192.0.2.1:4433 --secret-file secret";
    let findings = network::look(&settings(folder.path(), words).plan, None).await;
    is_problem(about(&findings, "port"), "192.0.2.1 is not an address", "ip -brief address");
}

#[tokio::test]
async fn nodes_to_join_that_are_not_there_are_told_from_names_that_nobody_has() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = free_addr();
    let words = format!("--name n --join {nobody} --join no-such-host.invalid:1");
    let plan = settings(folder.path(), &words).plan;
    let findings = network::look(&plan, Some(&Secret::generate())).await;
    let joins: Vec<_> = findings.iter().filter(|one| one.about == "join").collect();
    assert_eq!(joins[0].level, Level::Warning, "it may be started later: {joins:?}");
    assert!(joins[0].text.contains("nothing listens"), "{joins:?}");
    is_problem(joins[1], "no machine is called", "getent hosts no-such-host.invalid");
    let findings = network::look(&plan, None).await;
    assert_eq!(about(&findings, "join").level, Level::Note, "nobody can be asked");
    let words = format!("--name n --listen {nobody} --join {nobody} --bootstrap-expect 1");
    let plan = settings(folder.path(), &words).plan;
    let findings = network::look(&plan, Some(&Secret::generate())).await;
    assert_eq!(about(&findings, "join").level, Level::Ok, "it is the node itself: {findings:?}");
}

#[tokio::test]
async fn an_address_for_http_and_its_certificate_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let find = async |words: &str| {
        let plan = settings(folder.path(), &format!("--name n {words}")).plan;
        about(&network::look(&plan, None).await, "http").clone()
    };
    assert_eq!(find(&format!("--http {taken}")).await.level, Level::Ok);
    let listener = TcpListener::bind(taken).unwrap();
    let used = find(&format!("--http {taken}")).await;
    is_problem(&used, "cannot listen for HTTP", &format!("ss -ltnp 'sport = :{}'", taken.port()));
    drop(listener);
    assert_eq!(find("--http 0.0.0.0:0").await.level, Level::Warning, "tokens in plain text");
    let file = folder.path().join("cert.pem");
    let tls = format!("--http 127.0.0.1:0 --http-cert {0} --http-key {0}", file.display());
    is_problem(&find(&tls).await, "cannot read", "let the node's user read it");
    fs::write(&file, "nonsense").unwrap();
    is_problem(&find(&tls).await, "in PEM", "--http-cert");
}

#[test]
fn a_secret_that_others_can_read_is_found_with_its_chmod() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my secret");
    drop(Secret::create(&file).unwrap());
    let (findings, secret) = secret::look(Some(&file), true, None);
    assert!(secret.is_some() && findings.iter().all(|finding| finding.level == Level::Ok));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let (findings, secret) = secret::look(Some(&file), true, None);
    assert_eq!(secret, None);
    let chmod = format!("run: chmod 600 '{}'", file.display());
    is_problem(about(&findings, "secret"), "other users can access", &chmod);
}

#[test]
fn a_secret_that_is_missing_wrong_or_being_rotated_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let find = |is_named| secret::look(Some(&file), is_named, Some(&"n".parse().unwrap())).0;
    is_problem(about(&find(true), "secret"), "there is no secret at", "host secret new");
    assert_eq!(about(&find(false), "secret").level, Level::Ok, "a node makes its own");
    drop(Secret::create(&file).unwrap());
    drop(Secret::rotate(&file, None).unwrap());
    let rotated = find(true);
    let rotation = about(&rotated, "secret");
    assert_eq!(rotation.level, Level::Note);
    assert!(rotation.text.contains("the last step was `accept`, the next one is `issue`"));
    assert!(rotation.advice.as_ref().unwrap().contains("host secret show"), "{rotation:?}");
    assert_eq!(about(&rotated, "certificate").level, Level::Ok);
    fs::write(&file, "nonsense").unwrap();
    is_problem(about(&find(true), "secret"), "is not a secret", "copy the cluster's secret");
    is_problem(&secret::look(None, false, None).0[0], "HOME names no folder", "host secret new");
}

#[test]
fn a_data_folder_that_cannot_be_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("data"), file.join("deep/data")] {
        let findings = disk::look(Some(&path), None);
        let moved = format!("mv {0} {0}.old", file.display());
        is_problem(about(&findings, "folder"), "is no folder", &moved);
    }
    // Nobody may write here: not even root makes files in the first one.
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    let mut paths = vec![closed];
    if rustix::process::geteuid().is_root() {
        paths = vec!["/sys/kernel".into()];
    }
    for path in &paths {
        let findings = disk::look(Some(path), None);
        let install = format!("install -d -m 700 -o {}", rustix::process::geteuid().as_raw());
        is_problem(about(&findings, "folder"), "cannot be written to", &install);
        let findings = disk::look(Some(&path.join("below")), None);
        is_problem(about(&findings, "folder"), "cannot be made in", &install);
    }
}

#[test]
fn a_data_folder_is_tried_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("not/yet")] {
        let findings = disk::look(Some(&path), Some(Ack::Disk));
        assert_eq!(about(&findings, "folder").level, Level::Ok, "{findings:?}");
        assert!(about(&findings, "space").text.contains("MiB are free"), "{findings:?}");
        assert_ne!(about(&findings, "disk").level, Level::Problem, "{findings:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let lock = fs::File::create(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let findings = disk::look(Some(folder.path()), None);
    is_problem(about(&findings, "folder"), "another process uses", "one node at a time");
}

#[test]
fn a_guest_that_no_node_takes_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let find = |path: &Path| code::look(Some(path), &crate::guest::Allowance::default()).0;
    is_problem(&find(&folder.path().join("none.wasm")), "cannot read the guest", "--guest");
    let file = folder.path().join("core.wasm");
    fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    is_problem(&find(&file), "is refused: this is a core module", "host new my-player");
}

#[test]
fn commands_in_an_advice_are_what_a_shell_takes() {
    assert_eq!(quoted(Path::new("/var/lib/n_1")), "/var/lib/n_1");
    assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    assert_eq!(quoted(Path::new("$(id)")), "'$(id)'");
}
