//! `host secret` as it is typed.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::net::Step;

/// Commands about the secret.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SecretCommand {
    /// Write a new secret to a new file that only you can read
    New {
        /// Write it here
        file: PathBuf,
    },
    /// Put a new key in the place of the old one, in three steps without a stop
    ///
    /// Each run takes the next step and says what to do before the one after it: to copy the file to
    /// every machine. Running nodes read it within seconds. After the last step whoever has only the
    /// old key is refused, and its open connections are closed.
    Rotate {
        /// Change this file
        file: PathBuf,
        /// Take this step, or none if another one comes next
        step: Option<RotateStep>,
    },
    /// Print which keys a secret has, by their fingerprints, and where its rotation stands
    Show {
        /// Read this file
        file: PathBuf,
    },
}

/// Steps of a rotation, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RotateStep {
    /// Draw a new key, and accept certificates of both
    Accept,
    /// Issue certificates with the new key, and accept those of both
    Issue,
    /// Give up the old key
    Drop,
}

impl From<RotateStep> for Step {
    fn from(step: RotateStep) -> Self {
        match step {
            RotateStep::Accept => Self::Accept,
            RotateStep::Issue => Self::Issue,
            RotateStep::Drop => Self::Drop,
        }
    }
}
