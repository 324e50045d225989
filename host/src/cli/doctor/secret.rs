//! The secret and the certificates that are made with it.

use std::path::Path;

use super::{Finding, quoted};
use crate::cli::render::sentence;
use crate::net::{Identity, Secret, SecretError};
use crate::protocol::NodeName;

/// Returns also the secret, if it can be read.
pub(super) fn look(
    file: Option<&Path>,
    is_named: bool,
    name: Option<&NodeName>,
) -> (Vec<Finding>, Option<Secret>) {
    let Some(file) = file else {
        let text = "HOME names no folder in which a node could make one";
        let advice = "run: host secret new FILE, and start the node with --secret-file FILE";
        return (vec![Finding::problem("secret", text, advice)], None);
    };
    match Secret::load(file) {
        Ok(secret) => (known(file, &secret, name), Some(secret)),
        Err(SecretError::Missing { .. }) if !is_named => {
            let text = format!("there is none yet; a node makes one at {}", file.display());
            (vec![Finding::ok("secret", text)], None)
        }
        Err(error) => (vec![refused(file, &error)], None),
    }
}

fn known(file: &Path, secret: &Secret, name: Option<&NodeName>) -> Vec<Finding> {
    let (issues, _) = secret.fingerprints();
    let shown = file.display();
    let rotation = match secret.step() {
        None => {
            Finding::ok("secret", format!("{shown} is its owner's alone and has the key {issues}"))
        }
        Some(step) => Finding::note(
            "secret",
            format!(
                "{shown} is being rotated: the last step was `{step}`, the next one is `{}`",
                secret.next_step()
            ),
            format!("run: host secret show {}, which says what to do first", quoted(file)),
        ),
    };
    let identity = match name {
        Some(name) => Identity::node(secret, name),
        None => Identity::client(secret),
    };
    let certificate = match identity {
        Ok(_) => Finding::ok(
            "certificate",
            format!("one can be issued with the key {issues}; a node issues its own again in time"),
        ),
        Err(error) => Finding::problem(
            "certificate",
            sentence(&error),
            "see that the system has random numbers (/dev/urandom), and try again",
        ),
    };
    vec![rotation, certificate]
}

fn refused(file: &Path, error: &SecretError) -> Finding {
    let path = quoted(file);
    let (text, advice) = match error {
        SecretError::NotPrivate { mode, .. } => (
            format!("other users can access {} (mode {mode:03o})", file.display()),
            format!("run: chmod 600 {path}"),
        ),
        SecretError::Missing { .. } => (
            format!("there is no secret at {}", file.display()),
            format!(
                "copy the cluster's to {path}, or make one for a new cluster: host secret new {path}"
            ),
        ),
        SecretError::NotASecret { .. } => {
            (sentence(error), format!("copy the cluster's secret to {path} again"))
        }
        SecretError::Exists { .. } | SecretError::OtherStep { .. } | SecretError::File { .. } => {
            (sentence(error), format!("let the node's user read it: ls -l {path} says whose it is"))
        }
    };
    Finding::problem("secret", text, advice)
}
