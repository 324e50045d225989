//! Looking at an exported player before anything is made of it: a player that begins must be one that
//! can be called, on the node that will run it.

use super::Gateway;
use crate::protocol::{CallError, CodeHash, Export, ExportFile, PlayerId, sentence};

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
        // What nobody runs may be dropped at any time, or be on one node only: the player would not
        // outlive that.
        if !self.keeps_code(code).await {
            return Err(refused(format!(
                "{from} was exported from the code {code}, which this cluster does not have: no \
                 deployment that holds and no player runs it; deploy that component here first"
            )));
        }
        let found = self.codes.find(code, &self.others()).await;
        let code = found.map_err(|error| refused(format!("code {code}: {}", sentence(&error))))?;
        // Large ones take their time, and others wait for this task.
        let tried = tokio::task::spawn_blocking(move || code.instantiate(&snapshot).map(drop));
        match tried.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(refused(sentence(&error))),
            Err(_) => Err(refused("the look at the state was given up".to_owned())),
        }
    }

    /// Whether all nodes of this cluster keep a component, as they do what is deployed or run. It stays
    /// here for a while, whatever becomes of that meanwhile.
    async fn keeps_code(&self, code: CodeHash) -> bool {
        let deployments = self.directory.deployments();
        let mut keeps = deployments.kept_code().contains(&code);
        if !keeps {
            self.directory.each_player(|_, record| keeps |= record.code == code).await;
        }
        if keeps {
            self.codes.hold(code, deployments.last_number());
        }
        keeps
    }
}
