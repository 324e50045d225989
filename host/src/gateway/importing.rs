//! Looking at an exported player before anything is made of it: a player that begins must be one that
//! can be called, on the node that will run it.

use std::sync::Arc;

use super::Gateway;
use crate::player::CodeError;
use crate::protocol::{CallError, Export, ExportFile, PlayerId, sentence};

impl Gateway {
    /// Checks that a player of this node could begin with what is in a file.
    ///
    /// # Errors
    ///
    /// `NotImported`; nothing was done.
    pub(super) async fn check_import(
        &self,
        player: &PlayerId,
        file: &ExportFile,
    ) -> Result<(), CallError> {
        let exists = self.directory.player(player).is_some_and(|record| !record.is_forgotten());
        if exists {
            // Its owner says so, or that it has begun with just that.
            return Ok(());
        }
        let refused = |reason: String| CallError::NotImported { reason };
        let Export { player: from, code, snapshot, .. } =
            Export::decode(&file.0).map_err(|error| refused(sentence(&error)))?;
        let found = self.codes.find(code, &self.others()).await;
        let code = found.map_err(|error| match error {
            CodeError::Missing => refused(format!(
                "{from} was exported from the code {code}, which no node of this cluster has that \
                 can be reached; deploy that component here first"
            )),
            error => refused(format!("the code {code} of {from}: {}", sentence(&error))),
        })?;
        // Large ones take their time, and others wait for this task.
        let tried = tokio::task::spawn_blocking(move || {
            let code = Arc::clone(&code);
            code.instantiate(&snapshot).map(drop)
        });
        match tried.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(refused(sentence(&error))),
            Err(_) => Err(refused("the look at the state was given up".to_owned())),
        }
    }
}
