//! Who the node is, which start of it this is, and whether the store can be trusted.

use fjall::Keyspace;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Attempt;
use super::marked::Marked;
use super::{Durability, StoreError, sealed};
use crate::protocol::{Candidacy, Incarnation, NodeId, NodeName};

const ID: &str = "id";
const NAME: &str = "name";
const PROMISED: &str = "promised";
const SESSION: &str = "session";

/// Whether a store holds all that was ever acknowledged when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It does: the last session was closed cleanly, or it synced all it wrote, or the machine has
    /// not restarted since; and nothing was damaged.
    Complete,
    /// The machine restarted while the last session had writes that were not synced. Copies from
    /// before are loaded as untrusted, in this session and all later ones, until a fresh seed
    /// replaces them.
    Doubtful,
}

/// One use of the store by one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The start of the node that the session is.
    pub(super) incarnation: Incarnation,
    /// The boot of the machine that it runs on, if the system tells.
    boot: Option<String>,
    /// Whether it acknowledged writes that are only buffered.
    pub(super) buffered: bool,
    /// Whether it was closed after all its writes were synced.
    pub(super) clean: bool,
    /// Copies that were written as a whole in this session or before are not trusted.
    pub(super) untrusted_through: Incarnation,
}

impl Session {
    /// Returns the session that follows `previous`.
    pub(super) fn after(previous: Option<&Self>, trust: Trust, boot: Option<String>) -> Self {
        let last = previous.map_or(Incarnation(0), |previous| previous.incarnation);
        let inherited = previous.map_or(Incarnation(0), |previous| previous.untrusted_through);
        let untrusted_through = match trust {
            Trust::Complete => inherited,
            Trust::Doubtful => last,
        };
        let incarnation = last.next();
        Self { incarnation, boot, buffered: false, clean: false, untrusted_through }
    }
}

/// Decides whether the store holds all that the previous session acknowledged.
pub(super) fn judge(previous: Option<&Session>, boot: Option<&str>) -> Trust {
    let Some(previous) = previous else { return Trust::Complete };
    let same_boot = boot.is_some() && previous.boot.as_deref() == boot;
    if previous.clean || !previous.buffered || same_boot {
        Trust::Complete
    } else {
        Trust::Doubtful
    }
}

/// Returns the id that the system draws at each boot, where there is one.
pub(super) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The table that holds the node's number, its name and the latest session.
pub(super) struct NodeTable(Keyspace);

impl NodeTable {
    pub(super) fn new(table: Keyspace) -> Self {
        Self(table)
    }

    /// Returns the node's number, drawing it at the first time.
    pub(super) fn node_id(&self, directory: &Marked) -> Result<NodeId, StoreError> {
        if let Some(id) = self.get(ID, "the node's number")? {
            return Ok(id);
        }
        // Zero is what a forgotten field would be; no node has it.
        let id = NodeId(rand::random_range(1..=u64::MAX));
        self.put(directory, ID, &id)?;
        Ok(id)
    }

    pub(super) fn bind_name(&self, directory: &Marked, name: &NodeName) -> Result<(), StoreError> {
        match self.get::<NodeName>(NAME, "the node's name")? {
            None => self.put(directory, NAME, name),
            Some(owner) if owner == *name => Ok(()),
            Some(owner) => Err(StoreError::OtherNode { owner, asked: name.clone() }),
        }
    }

    pub(super) fn promised(&self) -> Result<Option<Candidacy>, StoreError> {
        self.get(PROMISED, "whom the node has let begin a cluster")
    }

    pub(super) fn put_promised(
        &self,
        directory: &Marked,
        promised: Candidacy,
    ) -> Result<(), StoreError> {
        self.put(directory, PROMISED, &promised)
    }

    pub(super) fn session(&self) -> Result<Option<Session>, StoreError> {
        self.get(SESSION, "the record of its last use")
    }

    pub(super) fn put_session(
        &self,
        directory: &Marked,
        session: &Session,
    ) -> Result<(), StoreError> {
        self.put(directory, SESSION, session)
    }

    fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        what: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.0.get(key).attempt("read who the node is")? else { return Ok(None) };
        let value = sealed::unseal(&value).ok_or(StoreError::Corrupt { what, source: None })?;
        Ok(Some(value))
    }

    fn put(&self, directory: &Marked, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let mut batch = directory.batch();
        batch.insert(&self.0, key, sealed::seal(value));
        directory.commit(batch, Durability::Synced, "write who the node is")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(boot: Option<&str>, buffered: bool, clean: bool) -> Session {
        let boot = boot.map(str::to_owned);
        let incarnation = Incarnation(7);
        Session { incarnation, boot, buffered, clean, untrusted_through: Incarnation(2) }
    }

    #[test]
    fn only_unsynced_writes_before_a_reboot_are_in_doubt() {
        let judge = |previous: &Session, boot| judge(Some(previous), boot);
        assert_eq!(judge(&session(Some("a"), true, false), Some("a")), Trust::Complete);
        assert_eq!(judge(&session(Some("a"), true, false), Some("b")), Trust::Doubtful);
        assert_eq!(judge(&session(Some("a"), true, true), Some("b")), Trust::Complete);
        assert_eq!(judge(&session(Some("a"), false, false), Some("b")), Trust::Complete);
        // A system that does not tell its boots is never trusted to be the same.
        assert_eq!(judge(&session(None, true, false), None), Trust::Doubtful);
        assert_eq!(judge(&session(None, true, true), None), Trust::Complete);
        assert_eq!(judge(&session(Some("a"), true, false), None), Trust::Doubtful);
    }

    #[test]
    fn a_store_without_a_past_is_complete() {
        assert_eq!(judge(None, None), Trust::Complete);
        let first = Session::after(None, Trust::Complete, None);
        assert_eq!(first.incarnation, Incarnation(1));
        assert_eq!(first.untrusted_through, Incarnation(0));
    }

    #[test]
    fn doubt_outlives_the_session_that_found_it() {
        let doubtful = Session::after(
            Some(&session(Some("a"), true, false)),
            Trust::Doubtful,
            Some("b".into()),
        );
        assert_eq!(doubtful.untrusted_through, Incarnation(7));
        let next = Session::after(Some(&doubtful), Trust::Complete, Some("b".into()));
        assert_eq!(next.untrusted_through, Incarnation(7));
        assert_eq!(next.incarnation, Incarnation(9));
    }
}
