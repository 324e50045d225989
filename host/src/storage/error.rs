//! What can go wrong with the store, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::protocol::NodeName;

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process uses the folder. Nothing was changed: stop that one, or use another folder.
    #[error(
        "another process uses the data folder {}; stop it or choose another --data-dir",
        dir.display()
    )]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// The folder cannot be created, read or written: give the process the right to, or choose
    /// another one.
    #[error(
        "cannot use {} as a data folder; check its permissions or choose another --data-dir",
        path.display()
    )]
    Folder {
        /// The file or folder that refused.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder belongs to a node of another name. Nothing was changed: use that name, or
    /// another folder.
    #[error("the data folder belongs to {owner}, not to {asked}; choose another --data-dir")]
    OtherNode {
        /// The node whose folder it is.
        owner: NodeName,
        /// The node that asked for it.
        asked: NodeName,
    },
    /// What the folder holds cannot be read: the node must not run on it. The other nodes have
    /// what it kept; with an empty folder it joins as a new node.
    #[error("the store is damaged: {what}; move the data folder away to join as a new node")]
    Corrupt {
        /// What cannot be read.
        what: &'static str,
        /// What the engine said, if it noticed.
        #[source]
        source: Option<fjall::Error>,
    },
    /// The directory cannot be read: the node does not know its vote any more, and must not vote
    /// again under its number. Nothing was changed. The other nodes have what it kept; with an empty
    /// folder it takes its place as a new node.
    #[error(
        "{} is damaged ({reason}): this node does not know how it voted and must not take part with \
         it; move the data folder {} away and start with --join to take its place as a new node",
        folder.display(),
        dir.display()
    )]
    Directory {
        /// The data folder.
        dir: PathBuf,
        /// The database in it.
        folder: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk did not take it. Whether the write survives is unknown; no later write is taken
    /// before the store is opened anew: stop the node.
    #[error(
        "cannot {action}; what was acknowledged before is kept: make room or repair the disk, then \
         start the node again"
    )]
    Failed {
        /// What was tried.
        action: &'static str,
        /// What the engine said.
        #[source]
        source: fjall::Error,
    },
    /// The store was closed. Nothing was written.
    #[error("the store is closed")]
    Closed,
}

/// Says what was tried when the engine fails.
pub(super) trait Attempt<T> {
    fn attempt(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Attempt<T> for Result<T, fjall::Error> {
    fn attempt(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Failed { action, source })
    }
}
