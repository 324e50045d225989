//! Taking a player's state over from one code to another: `save` of the old one, `load` of the new one.
//!
//! Both run on instances of their own, so whatever happens there, the player is what it was.

use std::sync::Arc;

use thiserror::Error;
use wasmtime::component::{self, Component, ComponentNamedList, Lift, Lower, TypedFunc};

use super::RestoreError;
use super::code::Code;
use super::instance::Instance;
use super::journal::{Journal, printable};
use crate::limits::SAVED_BYTES_MAX;
use crate::memory::Home;
use crate::snapshot::Snapshot;

/// Name of the interface, with the version of the contract that has it.
pub(super) const MIGRATE: &str = "player:host/migrate@0.1.0";
const SAVE: &str = "save";
const LOAD: &str = "load";

/// Why a player's state was not taken over. The player is what it was.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The code has no way to do it.
    #[error("the {0} code does not export `{MIGRATE}`")]
    NoInterface(Side),
    /// A guest trapped.
    #[error("`{function}` of the {side} code trapped: {message}")]
    Trapped {
        /// Whose function.
        side: Side,
        /// The function.
        function: &'static str,
        /// The guest's own words, or the engine's if it left none.
        message: String,
    },
    /// The new code does not take the state.
    #[error("`load` of the new code refused: {0}")]
    Refused(String),
    /// What was saved is more than a player may keep.
    #[error(
        "`save` of the old code returned {0} bytes, and at most {SAVED_BYTES_MAX} are handed over"
    )]
    TooLarge(usize),
    /// There is no instance.
    #[error("no instance of the {side} code can be made")]
    Instance {
        /// Whose instance.
        side: Side,
        /// Why.
        #[source]
        source: RestoreError,
    },
}

/// The code that a player leaves, or the one that it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that it leaves.
    Old,
    /// The one that it goes to.
    New,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

impl MigrateError {
    /// Whether it says nothing about the two codes: this machine has no memory or no time now.
    pub fn is_of_machine(&self) -> bool {
        matches!(self, Self::Instance { source: RestoreError::System(_), .. })
    }
}

impl Code {
    /// Returns what the player in `snapshot` hands to other code.
    ///
    /// # Errors
    ///
    /// [`MigrateError`].
    pub fn save(self: &Arc<Self>, snapshot: &Snapshot) -> Result<Vec<u8>, MigrateError> {
        let side = Side::Old;
        let instance = self.instantiate(snapshot);
        let mut instance = instance.map_err(|source| MigrateError::Instance { side, source })?;
        if !self.migrates() {
            return Err(MigrateError::NoInterface(side));
        }
        let saved = instance.run(|home, instance| {
            let save = function::<(), (Vec<u8>,)>(home, instance, SAVE)?;
            save.call(home.context(), ())
        });
        let (saved,) = saved.map_err(|message| trapped(&mut instance, side, SAVE, message))?;
        if saved.len() > SAVED_BYTES_MAX {
            return Err(MigrateError::TooLarge(saved.len()));
        }
        Ok(saved)
    }

    /// Makes an instance of a new player that takes over what other code saved. Returns it with its
    /// state.
    ///
    /// # Errors
    ///
    /// [`MigrateError`].
    pub fn take_over(self: &Arc<Self>, saved: &[u8]) -> Result<(Instance, Snapshot), MigrateError> {
        let side = Side::New;
        let mut snapshot = self.initial();
        let instance = self.instantiate(&snapshot);
        let mut instance = instance.map_err(|source| MigrateError::Instance { side, source })?;
        if !self.migrates() {
            return Err(MigrateError::NoInterface(side));
        }
        let loaded = instance.run(|home, instance| {
            let load = function::<(&[u8],), (Result<(), String>,)>(home, instance, LOAD)?;
            load.call(home.context(), (saved,))
        });
        let (loaded,) = loaded.map_err(|message| trapped(&mut instance, side, LOAD, message))?;
        loaded.map_err(|words| MigrateError::Refused(printable(&words)))?;
        let delta = instance.changed(&snapshot);
        let delta = delta.map_err(|message| trapped(&mut instance, side, LOAD, message))?;
        snapshot.apply(&delta).expect("a delta that was taken from this state fits it");
        Ok((instance, snapshot))
    }
}

fn trapped(
    instance: &mut Instance,
    side: Side,
    function: &'static str,
    message: String,
) -> MigrateError {
    if instance.lacked() {
        return MigrateError::Instance { side, source: RestoreError::System(message) };
    }
    MigrateError::Trapped { side, function, message }
}

/// Whether a component can take part. One that exports the interface with other types was refused when
/// its world was checked.
pub(super) fn is_offered(component: &Component) -> bool {
    component.get_export_index(None, MIGRATE).is_some()
}

fn function<P, R>(
    home: &mut Home<Journal>,
    instance: component::Instance,
    name: &str,
) -> wasmtime::Result<TypedFunc<P, R>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let missing = || wasmtime::Error::msg(format!("`{name}` is missing"));
    let interface = instance.get_export_index(home.context(), None, MIGRATE).ok_or_else(missing)?;
    let index = instance.get_export_index(home.context(), Some(&interface), name);
    instance.get_typed_func(home.context(), index.ok_or_else(missing)?)
}
