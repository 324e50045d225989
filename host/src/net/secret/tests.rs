use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

impl Secret {
    /// Returns the same secret once more, as another process would read it.
    pub(in crate::net) fn copy(&self) -> Self {
        Self::parse(self.text().as_bytes()).unwrap()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_secret_survives_its_file_and_only_its_owner_can_read_it() {
    let folder = folder();
    let path = folder.path().join("secret");
    let secret = Secret::create(&path).unwrap();
    assert_eq!(Secret::load(&path).unwrap(), secret);
    assert_ne!(Secret::generate(), secret);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
}

#[test]
fn an_existing_file_is_never_replaced() {
    let folder = folder();
    let path = folder.path().join("secret");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Secret::create(&path), Err(SecretError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = folder();
    let path = folder.path().join("secret");
    let missing = Secret::load(&path).unwrap_err();
    assert!(missing.to_string().contains("host secret new"), "{missing}");

    drop(Secret::create(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let open = Secret::load(&path).unwrap_err().to_string();
    assert!(open.ends_with(&format!("chmod 600 {}", path.display())), "{open}");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let line = format!("{PREFIX}{}", "0a".repeat(32));
    let other = format!("{PREFIX}{}", "0b".repeat(32));
    let twice = format!("{line}\n{other}");
    let thrice = format!("{line}\n{other} next\n{other} former");
    let same = format!("{line}\n{line} next");
    let long = format!("{line}\n{}", " ".repeat(600));
    for text in ["", PREFIX, "player-host-secret-1:zz", "0123", &twice, &thrice, &same] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Secret::load(&path), Err(SecretError::NotASecret { .. })), "{text}");
    }
    for text in [&line, &format!("{line}\n"), &format!("\n {line}\n{other}  next \n"), &long] {
        fs::write(&path, text).unwrap();
        assert!(Secret::load(&path).is_ok(), "{text}");
    }
}

#[test]
fn processes_that_start_at_once_agree_on_one_secret() {
    let folder = folder();
    let path = folder.path().join("secret");
    let secrets: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Secret::load_or_create(&path).unwrap());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
}

#[test]
fn a_secret_does_not_show_itself() {
    let folder = folder();
    let path = folder.path().join("secret");
    drop(Secret::create(&path).unwrap());
    let secret = Secret::rotate(&path, None).unwrap();
    let (issues, other) = secret.fingerprints();
    let shown = format!("{secret:?} {issues} {issues:?} {other:?}");
    let digits = |key: &Key| -> String { key.0.iter().map(|byte| format!("{byte:02x}")).collect() };
    for key in secret.accepted() {
        assert!(fs::read_to_string(&path).unwrap().contains(&digits(key)), "these are its digits");
        // Any eight of them in a row.
        for at in 0..56 {
            assert!(!shown.contains(&digits(key)[at..at + 8]), "{shown}");
        }
        assert!(!shown.contains(&format!("{:?}", &key.0[..4])), "{shown}");
    }
}

#[test]
fn each_step_of_a_rotation_shares_a_key_with_the_one_before_it() {
    let folder = folder();
    let path = folder.path().join("secret");
    let old = Secret::create(&path).unwrap();
    let mut before = Secret::load(&path).unwrap();
    for step in [Step::Accept, Step::Issue, Step::Drop] {
        assert_eq!(before.next_step(), step);
        let after = Secret::rotate(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(Secret::load(&path).unwrap(), after);
        assert!(before.shares_a_key(&after));
        // Who issues with its first key is accepted by those who have the other file.
        let accepts = |a: &Secret, b: &Secret| a.accepted().any(|key| *key == b.issues);
        assert!(accepts(&before, &after) && accepts(&after, &before));
        before = after;
    }
    assert_eq!((before.other, before.issues == old.issues), (None, false));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
}

#[test]
fn a_step_out_of_turn_changes_nothing() {
    let folder = folder();
    let path = folder.path().join("secret");
    let secret = Secret::create(&path).unwrap();
    for asked in [Step::Issue, Step::Drop] {
        let error = Secret::rotate(&path, Some(asked)).unwrap_err();
        assert!(error.to_string().contains("is `accept`, not"), "{error}");
        assert_eq!(Secret::load(&path).unwrap(), secret);
    }
    Secret::rotate(&path, Some(Step::Accept)).unwrap();
    assert!(Secret::rotate(&path, Some(Step::Accept)).is_err(), "a third key");
}

#[test]
fn a_rotation_follows_a_name_that_leads_elsewhere() {
    let folder = folder();
    let (path, link) = (folder.path().join("secret"), folder.path().join("link"));
    drop(Secret::create(&path).unwrap());
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let rotated = Secret::rotate(&link, None).unwrap();
    assert_eq!(Secret::load(&path).unwrap(), rotated);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}
