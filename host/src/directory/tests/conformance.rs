//! openraft's own suite on our log store and state machine.

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::super::TypeConfig;
use super::super::log_store::LogStore;
use super::super::state_machine::StateMachine;
use crate::storage::Store;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<u64>> {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let state_machine = StateMachine::open(store.raft()).unwrap();
        Ok((dir, LogStore::new(store.raft()), state_machine))
    }
}

#[test]
fn the_store_keeps_what_raft_asks_it_to_keep() {
    Suite::test_all(Builder).unwrap();
}
