//! A folder that a guest is built in, by the program `build` that is in it.
//!
//! The program makes one file whose name ends in `.wasm`, in the folder itself; that is all that is
//! known of it, so any language and any tool will do. What it says is shown only when it fails.

mod child;
mod sources;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

use self::child::Child;
pub(super) use self::sources::Sources;
use super::config::{UsageError, read_guest};
use crate::clock;
use crate::protocol::harmless;

/// The program that builds.
const BUILD: &str = "build";

/// A folder with a guest's sources and the program that builds it.
#[derive(Debug, Clone)]
pub(super) struct Workshop {
    /// An absolute path.
    folder: PathBuf,
}

/// What was built.
pub(super) struct Built {
    /// The file.
    pub(super) component: PathBuf,
    /// What is in it.
    pub(super) code: Vec<u8>,
    /// How long it took.
    pub(super) time: Duration,
}

/// Why nothing was built. What was built before is as it was, as far as `build` left it alone.
#[derive(Debug, Error)]
pub(super) enum BuildError {
    /// There is no program to build with.
    #[error(
        "{} has no program `{BUILD}`, which makes the guest: `host new` writes one",
        .0.display()
    )]
    NoProgram(PathBuf),
    /// The folder cannot be looked at.
    #[error("cannot look at {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program cannot be started or waited for.
    #[error("cannot run {}", .path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program says that it failed.
    #[error("{name} was not built ({status}):{words}")]
    Failed {
        /// The guest.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last words, one line each, with a line's end before each.
        words: String,
    },
    /// Nobody knows which file is the guest.
    #[error(
        "{} has {count} files whose names end in .wasm after its `{BUILD}` has ended; it makes one, \
         and no other is there",
        .path.display()
    )]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The file is no guest.
    #[error(transparent)]
    Guest(#[from] Box<UsageError>),
    /// There are too many files.
    #[error(
        "{} has more than {max} files beside those of tools; is it a guest's folder?",
        .path.display()
    )]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built").field("component", &self.component).finish_non_exhaustive()
    }
}

impl Built {
    /// Returns the file's name, for people.
    pub(super) fn name(&self) -> String {
        let name = self.component.file_name().unwrap_or(self.component.as_os_str());
        harmless(&name.to_string_lossy())
    }
}

impl Workshop {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// `Folder` or `NoProgram`.
    pub(super) fn open(folder: &Path) -> Result<Self, BuildError> {
        let path = folder.canonicalize();
        let folder =
            path.map_err(|source| BuildError::Folder { path: folder.to_owned(), source })?;
        if !folder.join(BUILD).is_file() {
            return Err(BuildError::NoProgram(folder));
        }
        Ok(Self { folder })
    }

    /// Returns the folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder's name, for people.
    pub(super) fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or(self.folder.as_os_str());
        harmless(&name.to_string_lossy())
    }

    /// Builds the guest.
    ///
    /// # Errors
    ///
    /// `BuildError`; the message of `Failed` has the last words of what failed.
    ///
    /// # Cancel safety
    ///
    /// What builds is killed when the future is dropped, with all that it has started.
    pub(super) async fn build(&self) -> Result<Built, BuildError> {
        let begun = clock::now();
        let program = self.folder.join(BUILD);
        let cannot_run = |source| BuildError::Run { path: program.clone(), source };
        let child = Child::spawn(&program, &self.folder).map_err(cannot_run)?;
        let (status, words) = child.ended().await.map_err(cannot_run)?;
        if !status.success() {
            let words = words.lines().map(|line| format!("\n  {}", harmless(line))).collect();
            return Err(BuildError::Failed { name: self.name(), status, words });
        }
        let component = self.component()?;
        let code = read_guest(&component).map_err(Box::new)?;
        Ok(Built { component, code, time: clock::now().saturating_duration_since(begun) })
    }

    /// Reads what the guest is built from. What is as it was in `before` is not read again.
    ///
    /// # Errors
    ///
    /// `Folder` or `TooMany`.
    pub(super) fn sources(&self, before: &Sources) -> Result<Sources, BuildError> {
        Sources::read(&self.folder, before)
    }

    fn component(&self) -> Result<PathBuf, BuildError> {
        let unreadable = |source| BuildError::Folder { path: self.folder.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if sources::is_component(&path) {
                found.push(path);
            }
        }
        match found.as_slice() {
            [component] => Ok(component.clone()),
            _ => Err(BuildError::NotOne { path: self.folder.clone(), count: found.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::cli::render::sentence;

    /// Makes a folder whose `build` is this script.
    fn workshop(script: &str) -> (TempDir, Workshop) {
        let folder = tempfile::tempdir().unwrap();
        let build = folder.path().join(BUILD);
        fs::write(&build, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&build, fs::Permissions::from_mode(0o700)).unwrap();
        let workshop = Workshop::open(folder.path()).unwrap();
        (folder, workshop)
    }

    async fn refusal(workshop: &Workshop) -> String {
        sentence(&workshop.build().await.unwrap_err())
    }

    #[tokio::test]
    async fn what_a_folder_builds_is_its_one_component() {
        let (folder, workshop) = workshop(r"printf '\0asm' > new; mv new my.wasm");
        let built = workshop.build().await.unwrap();
        assert_eq!((built.name().as_str(), built.code.as_slice()), ("my.wasm", &b"\0asm"[..]));
        fs::write(folder.path().join("other.wasm"), "").unwrap();
        assert!(refusal(&workshop).await.contains("has 2 files whose names end in .wasm"));
    }

    #[tokio::test]
    async fn a_build_that_fails_is_shown_with_its_last_words() {
        let (_folder, failing) = workshop("echo one; echo two >&2; printf '\\033[31m'; exit 3");
        let words = refusal(&failing).await;
        assert!(words.contains("exit status: 3") && words.contains("\n  one\n  two\n"), "{words}");
        assert!(!words.contains('\x1b'), "{words}");

        // More than is kept, and more than a pipe holds.
        let (_folder, long) = workshop("seq 1 100000; echo the end; exit 1");
        let words = refusal(&long).await;
        assert!(words.ends_with("\n  the end") && words.len() < 100_000, "{}", words.len());

        let (_folder, nothing) = workshop("exit 0");
        assert!(refusal(&nothing).await.contains("has 0 files whose names end in .wasm"));
        let (_folder, text) = workshop("echo text > text.wasm");
        assert!(refusal(&text).await.contains("is not WebAssembly in binary form"));
    }

    #[test]
    fn a_folder_without_a_build_is_no_workshop() {
        let folder = tempfile::tempdir().unwrap();
        let error = Workshop::open(folder.path()).unwrap_err();
        assert!(matches!(error, BuildError::NoProgram(_)), "{error}");
        let missing = Workshop::open(&folder.path().join("missing")).unwrap_err();
        assert!(matches!(missing, BuildError::Folder { .. }), "{missing}");
    }
}
