//! A node's certificate and secret while it runs: looked at anew, and exchanged without a stop.
//!
//! ```text
//!   every second: read the file ── as before ──────────────────► nothing
//!                      │
//!                      ├── another secret, twice the same ──► certificate, new handshakes,
//!                      │                                      connections replaced or closed
//!                      └── wrong, twice the same ───────────► said once; the old one stays
//! ```
//!
//! The file is read rather than a signal awaited: SIGHUP, which means "read again" to others, is what
//! a closed terminal sends, and a node with a prompt stops then. A person cannot forget what happens
//! by itself, and to read some hundred bytes a second is nothing.
//!
//! What is read must be the same twice: a file that is being copied is not all there yet, and its
//! first line alone would look like a secret that has dropped a key.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{Endpoint, Identity, Secret};
use crate::clock;
use crate::protocol::{NodeName, sentence};

/// Time between two looks at the file: a rotation of a person's pace, and of a script's, too.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Said when a file is not used.
const KEPT: &str = "the secret file is not used; the node goes on with the secret that it has";

/// Keeps a node's certificate new and follows its secret's file.
#[derive(Debug)]
pub struct Renewal {
    endpoint: Endpoint,
    name: NodeName,
    file: PathBuf,
    follower: Follower,
}

impl Renewal {
    /// Returns what follows `file`, from which `secret` was read and from that the identity of
    /// `endpoint`, once it runs.
    pub fn new(endpoint: Endpoint, name: NodeName, secret: Secret, file: PathBuf) -> Self {
        Self { endpoint, name, file, follower: Follower::new(secret) }
    }

    /// Follows until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = look.tick() => {}
            }
            let file = self.file.clone();
            // The file may be on another machine that does not answer.
            let read = spawn_blocking(move || Secret::load(&file));
            let read = tokio::select! {
                () = cancel.cancelled() => return,
                read = read => read,
            };
            let Ok(read) = read else { continue };
            match self.follower.look(read.map_err(|error| sentence(&error))) {
                Look::Same => {}
                Look::Another(secret) => self.adopt(secret),
                Look::Wrong(reason) => warn!(file = %self.file.display(), reason, "{KEPT}"),
                Look::RightAgain => {
                    info!(file = %self.file.display(), "the secret file is right again");
                }
            }
            if self.endpoint.watch_identity().borrow().identity.is_old(clock::unix_millis()) {
                self.issue("the certificate was issued again before its end");
            }
        }
    }

    fn adopt(&mut self, secret: Secret) {
        let before = self.follower.exchange(secret);
        if !self.issue("the secret was exchanged") {
            // Tried again at the next look.
            self.follower.exchange(before);
        }
    }

    /// Shows a new certificate from now on.
    fn issue(&self, what: &'static str) -> bool {
        let secret = self.follower.secret();
        match Identity::node(secret, &self.name) {
            Ok(identity) => {
                self.endpoint.renew(identity);
                match secret.fingerprints() {
                    (issues, None) => info!(%issues, "{what}"),
                    (issues, Some(accepts)) => info!(%issues, %accepts, "{what}"),
                }
                true
            }
            Err(error) => {
                error!(error = sentence(&error), "no new certificate; the old one stays in use");
                false
            }
        }
    }
}

/// What a look at the file has shown.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing to do, or not yet.
    Same,
    /// Another secret, to be used from now on.
    Another(Secret),
    /// The file cannot be used, and why.
    Wrong(String),
    /// The file could not be used, and holds what is in use.
    RightAgain,
}

/// Decides what to do about what the file holds.
#[derive(Debug)]
struct Follower {
    secret: Secret,
    /// What the last look found, if it was something else.
    found: Option<Result<Secret, String>>,
    /// What was said to be wrong with the file.
    said: Option<String>,
}

impl Follower {
    fn new(secret: Secret) -> Self {
        Self { secret, found: None, said: None }
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Uses another secret, and returns the one before.
    fn exchange(&mut self, secret: Secret) -> Secret {
        std::mem::replace(&mut self.secret, secret)
    }

    fn look(&mut self, found: Result<Secret, String>) -> Look {
        if found.as_ref() == Ok(&self.secret) {
            self.found = None;
            return if self.said.take().is_some() { Look::RightAgain } else { Look::Same };
        }
        if self.found.as_ref() != Some(&found) {
            debug!("the secret file holds something else; it is used if it stays so");
            self.found = Some(found);
            return Look::Same;
        }
        let reason = match found {
            Ok(secret) if secret.shares_a_key(&self.secret) => {
                (self.found, self.said) = (None, None);
                return Look::Another(secret);
            }
            Ok(_) => {
                "it shares no key with the secret in use, so it is another cluster's, or a step \
                      of its rotation was left out; if it is meant, restart the node"
                    .to_owned()
            }
            Err(reason) => reason,
        };
        if self.said.as_ref() == Some(&reason) {
            return Look::Same;
        }
        self.said = Some(reason.clone());
        Look::Wrong(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::super::PeerIdentity;
    use super::super::identity::Validity;
    use super::super::testing::{any_addr, name};
    use super::*;
    use crate::protocol::Version;

    #[tokio::test]
    async fn a_node_that_runs_for_long_shows_another_certificate_before_its_own_ends() {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let secret = Secret::create(&file).unwrap();
        // Issued eleven days ago.
        let (own, now) = (PeerIdentity::Node(name("app_node1")), clock::unix_millis());
        let (issued, alpn) = (now - 11 * DAY, Version::CURRENT.alpn());
        let validity = Validity { from: issued, until: now + 19 * DAY };
        let identity = Identity::issue_for(&secret, own, alpn, issued, validity).unwrap();
        let endpoint = Endpoint::bind(any_addr(), identity).unwrap();
        let mut shown = endpoint.watch_identity();
        assert!(shown.borrow_and_update().identity.is_old(now));
        let renewal = Renewal::new(endpoint, name("app_node1"), secret, file);
        let mut tasks = JoinSet::new();
        tasks.spawn(renewal.run(CancellationToken::new()));
        timeout(Duration::from_secs(20), shown.changed()).await.unwrap().unwrap();
        assert!(!shown.borrow_and_update().identity.is_old(clock::unix_millis()));
        // Once is enough.
        assert!(timeout(2 * LOOK_INTERVAL, shown.changed()).await.is_err());
    }

    /// A secret in each state of a rotation, and the file that they were in.
    fn rotation() -> [Secret; 4] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = Secret::create(&path).unwrap();
        let [second, third, fourth] = [0; 3].map(|_| Secret::rotate(&path, None).unwrap());
        [first, second, third, fourth]
    }

    /// Looks twice: once is not enough.
    fn twice(follower: &mut Follower, found: impl Fn() -> Result<Secret, String>) -> Look {
        assert_eq!(follower.look(found()), Look::Same);
        follower.look(found())
    }

    #[test]
    fn each_step_of_a_rotation_is_followed_once_it_stays() {
        let [first, others @ ..] = rotation();
        let mut follower = Follower::new(first);
        for secret in others {
            assert_eq!(follower.look(Ok(Secret::copy(follower.secret()))), Look::Same);
            let Look::Another(found) = twice(&mut follower, || Ok(Secret::copy(&secret))) else {
                panic!("it should have been followed");
            };
            assert_eq!(found, secret);
            follower.exchange(found);
        }
    }

    #[test]
    fn a_file_that_is_being_copied_is_waited_for() {
        let [first, second, ..] = rotation();
        let mut follower = Follower::new(Secret::copy(&second));
        // Its first line alone.
        assert_eq!(follower.look(Ok(Secret::copy(&first))), Look::Same);
        assert_eq!(follower.look(Err("half a line".to_owned())), Look::Same);
        assert_eq!(follower.look(Ok(Secret::copy(&second))), Look::Same);
        assert_eq!(follower.look(Ok(Secret::copy(&first))), Look::Same);
    }

    #[test]
    fn what_is_wrong_is_said_once_and_the_old_secret_stays() {
        let [first, ..] = rotation();
        let mut follower = Follower::new(Secret::copy(&first));
        let wrong = |reason: &str| Err(reason.to_owned());
        assert_eq!(twice(&mut follower, || wrong("a")), Look::Wrong("a".to_owned()));
        assert_eq!(twice(&mut follower, || wrong("b")), Look::Wrong("b".to_owned()));
        assert_eq!(follower.look(wrong("b")), Look::Same);
        assert_eq!(follower.look(Ok(Secret::copy(&first))), Look::RightAgain);
        assert_eq!(follower.look(Ok(Secret::copy(&first))), Look::Same);
        assert_eq!(*follower.secret(), first);
    }

    #[test]
    fn the_secret_of_another_cluster_is_not_followed() {
        let [first, _, _, fourth] = rotation();
        for other in [fourth, Secret::generate()] {
            let mut follower = Follower::new(Secret::copy(&first));
            let look = twice(&mut follower, || Ok(Secret::copy(&other)));
            assert!(
                matches!(&look, Look::Wrong(reason) if reason.contains("shares no key")),
                "{look:?}"
            );
        }
    }
}
