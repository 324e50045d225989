//! One loaded component: checked, compiled, started once.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::{self, Component, InstancePre};

use super::engine::Engine;
use super::instance::{Exports, Instance, reason};
use super::journal::Journal;
use super::{LoadError, RestoreError, Uncapturable, screen, world};
use crate::limits::{COMPONENT_BYTES_MAX, GUEST_MEMORY_BYTES_MAX};
use crate::memory::Home;
use crate::protocol::CodeHash;
use crate::snapshot::Snapshot;

/// A player's code, shared by all its instances.
pub struct Code {
    engine: Engine,
    hash: CodeHash,
    /// As they were given: a component or a core module.
    bytes: Vec<u8>,
    component: InstancePre<Journal>,
    /// Each memory right after instantiation, in order of creation.
    images: Vec<Box<[u8]>>,
}

impl Code {
    /// Checks, compiles and starts a component, or a core module that carries its component type.
    ///
    /// Takes as long as compilation does, 15 to 25 ms for the built-in player: not for a thread
    /// that serves calls.
    ///
    /// # Errors
    ///
    /// `LoadError` says why the code is refused.
    pub fn load(engine: &Engine, bytes: &[u8]) -> Result<Arc<Self>, LoadError> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(LoadError::TooLarge(bytes.len()));
        }
        let encoded = world::component(bytes)?;
        screen::capturable(&encoded)?;
        let component = Component::from_binary(engine.wasmtime(), &encoded)
            .map_err(|error| LoadError::Invalid(error.into()))?;
        world::check(engine.wasmtime(), &component)?;
        let component = engine
            .linker()
            .instantiate_pre(&component)
            .map_err(|error| LoadError::WrongImport(error.into()))?;
        let mut code = Self {
            engine: engine.clone(),
            hash: CodeHash::of(bytes),
            bytes: bytes.to_vec(),
            component,
            images: Vec::new(),
        };
        code.images = code.first_image()?;
        if code.first_image()? != code.images {
            return Err(Uncapturable::Unsteady.into());
        }
        Ok(Arc::new(code))
    }

    /// Returns the hash of the bytes that were loaded.
    pub fn hash(&self) -> CodeHash {
        self.hash
    }

    /// Returns the bytes that were loaded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the state of a player that was never called.
    pub fn initial(&self) -> Snapshot {
        Snapshot::initial(self.images.iter().map(|image| image.len() as u64))
    }

    /// Makes an instance in the state that `snapshot` describes.
    ///
    /// # Errors
    ///
    /// `RestoreError` when the snapshot does not belong to this code, or the system has no memory
    /// for it.
    pub fn instantiate(self: &Arc<Self>, snapshot: &Snapshot) -> Result<Instance, RestoreError> {
        Instance::restore(self.clone(), snapshot)
    }

    /// Starts an instance whose memories are `longer`, by so many bytes, than right after a first
    /// start.
    pub(super) fn start(
        &self,
        longer: &[usize],
    ) -> wasmtime::Result<(Home<Journal>, component::Instance)> {
        self.engine.memories().instantiate(self.engine.store(), &self.component, longer)
    }

    /// Returns a memory right after instantiation.
    pub(super) fn image(&self, memory: usize) -> &[u8] {
        &self.images[memory]
    }

    /// Returns by how many bytes each memory of `snapshot` is longer than its initial image.
    pub(super) fn growth_since_start(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Vec<usize>, RestoreError> {
        let (in_snapshot, in_code) = (snapshot.memories.len(), self.images.len());
        if in_snapshot != in_code {
            return Err(RestoreError::Memories { snapshot: in_snapshot, code: in_code });
        }
        let memories = snapshot.memories.iter().zip(&self.images).enumerate();
        memories
            .map(|(memory, (overlay, image))| {
                let bytes = overlay.len();
                let longer = bytes.checked_sub(image.len() as u64);
                longer
                    .and_then(|longer| usize::try_from(longer).ok())
                    .filter(|&longer| longer <= GUEST_MEMORY_BYTES_MAX && longer % PAGE_BYTES == 0)
                    .ok_or(RestoreError::Length { memory, bytes })
            })
            .collect()
    }

    fn first_image(&self) -> Result<Vec<Box<[u8]>>, LoadError> {
        let (mut home, instance) =
            self.start(&[]).map_err(|error| LoadError::Start(reason(&error)))?;
        Exports::of(&mut home, instance)?;
        Ok((0..home.memories()).map(|memory| home.bytes(memory).into()).collect())
    }
}

/// Memories grow by pages of this many bytes; other page sizes are off.
const PAGE_BYTES: usize = 65_536;

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("hash", &self.hash).finish_non_exhaustive()
    }
}
