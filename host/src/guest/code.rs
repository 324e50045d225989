//! One loaded component: checked, compiled, started once.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::{self, Component, InstancePre};

use super::capture::changes;
use super::engine::Engine;
use super::functions::Functions;
use super::instance::{Exports, Instance, reason};
use super::journal::Journal;
use super::{LoadError, RestoreError, Uncapturable, ledger, migrate, screen, strip, wasi, world};
use crate::limits::{COMPONENT_BYTES_MAX, GUEST_MEMORY_BYTES_MAX};
use crate::memory::{Beginning, Home, Image};
use crate::protocol::{CodeHash, Description};
use crate::snapshot::{Overlay, Snapshot};

/// A player's code, shared by all its instances.
pub struct Code {
    engine: Engine,
    hash: CodeHash,
    /// As they were given: a component or a core module.
    bytes: Vec<u8>,
    /// Without what writes the initial images.
    component: InstancePre<Journal>,
    functions: Functions,
    /// Each memory right after a first start, in order of creation.
    images: Vec<Arc<Image>>,
    /// Whether some of the memories are ledgers, in which the others' state is noted.
    has_ledgers: bool,
    /// Whether a player's state can be taken over from it, and to it.
    migrates: bool,
}

impl Code {
    /// Checks, compiles and starts a component, or a core module that carries its component type.
    ///
    /// Takes as long as a compilation, 10 to 30 ms for the built-in player: not for a thread that serves
    /// calls.
    ///
    /// # Errors
    ///
    /// `LoadError` says why the code is refused.
    pub fn load(engine: &Engine, bytes: &[u8]) -> Result<Arc<Self>, LoadError> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(LoadError::TooLarge(bytes.len()));
        }
        let encoded = world::component(bytes)?;
        let with_ledgers = ledger::with_ledgers(&encoded, &screen::capturable(&encoded)?)?;
        let has_ledgers = with_ledgers.is_some();
        let encoded = with_ledgers.unwrap_or(encoded);
        let starting = compiled(engine, &strip::calls_of(&encoded)?)?;
        let images = match first_images(engine, &starting, has_ledgers) {
            // Perhaps it was stopped only by what was taken from it.
            Err(LoadError::Start(_)) => {
                first_images(engine, &compiled(engine, &encoded)?, has_ledgers)?
            }
            images => images?,
        };
        let component = compiled(engine, &strip::start_of(&encoded)?)?;
        let functions = Functions::of(engine.wasmtime(), component.component())?;
        let (engine, hash, bytes) = (engine.clone(), CodeHash::of(bytes), bytes.to_vec());
        let migrates = migrate::is_offered(component.component());
        let code =
            Self { engine, hash, bytes, component, functions, images, has_ledgers, migrates };
        code.prove_images()?;
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

    /// Whether a player's state can be taken over from it to other code, and to it.
    pub fn migrates(&self) -> bool {
        self.migrates
    }

    /// Describes the functions that can be called. Takes milliseconds for a large code: not for a
    /// thread that serves calls.
    pub fn describe(&self) -> Description {
        self.functions.describe(self.hash, &self.bytes)
    }

    /// Returns the functions that can be called.
    pub(super) fn functions(&self) -> &Functions {
        &self.functions
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

    /// Makes an instance whose memories begin with the initial images and have these lengths.
    pub(super) fn begin(
        &self,
        lens: impl IntoIterator<Item = usize>,
    ) -> wasmtime::Result<(Home<Journal>, component::Instance)> {
        let images = self.images.iter().zip(lens);
        let beginnings = images.map(|(image, len)| Beginning { image: image.clone(), len });
        let (memories, store) = (self.engine.memories(), self.engine.store());
        let (home, instance) = memories.instantiate(store, &self.component, beginnings.collect());
        Ok((home, instance?))
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether some of the memories are ledgers.
    pub(super) fn has_ledgers(&self) -> bool {
        self.has_ledgers
    }

    /// Returns a memory right after a first start. Bytes beyond the end are zero.
    pub(super) fn image(&self, memory: usize) -> &[u8] {
        self.images[memory].bytes()
    }

    /// Returns the lengths of the memories of `snapshot`, which lies over the initial images.
    pub(super) fn lens(&self, snapshot: &Snapshot) -> Result<Vec<usize>, RestoreError> {
        let (in_snapshot, in_code) = (snapshot.memories.len(), self.images.len());
        if in_snapshot != in_code {
            return Err(RestoreError::Memories { snapshot: in_snapshot, code: in_code });
        }
        let mut left = GUEST_MEMORY_BYTES_MAX;
        let memories = snapshot.memories.iter().zip(&self.images).enumerate();
        memories
            .map(|(memory, (overlay, image))| {
                let bytes = overlay.len();
                let possible = image.len()..=left;
                let len = usize::try_from(bytes)
                    .ok()
                    .filter(|len| possible.contains(len) && len % PAGE_BYTES == 0)
                    .ok_or(RestoreError::Length { memory, bytes })?;
                left -= len;
                Ok(len)
            })
            .collect()
    }

    /// Checks that an instance that begins with the images changes nothing of them, and that it
    /// has what the world asks for.
    fn prove_images(&self) -> Result<(), LoadError> {
        let start = |error: wasmtime::Error| LoadError::Start(reason(&error));
        let (mut home, instance) =
            self.begin(self.images.iter().map(|image| image.len())).map_err(start)?;
        let exports = Exports::of(&mut home, instance, self.has_ledgers)?;
        exports.recall(&mut home).and_then(|()| exports.note(&mut home)).map_err(start)?;
        let (mut dirty, mut runs) = (Vec::new(), Vec::new());
        for (memory, image) in self.images.iter().enumerate() {
            dirty.clear();
            home.take_dirty(memory, &mut dirty);
            let initial = Overlay::new(image.len() as u64);
            changes(home.bytes(memory), image.bytes(), &initial, &dirty, &mut runs);
        }
        let alike = home.memories() == self.images.len() && runs.is_empty();
        if alike { Ok(()) } else { Err(Uncapturable::Unsteady.into()) }
    }
}

/// Compiles a component and links it with the world.
pub(super) fn compiled(
    engine: &Engine,
    component: &[u8],
) -> Result<InstancePre<Journal>, LoadError> {
    let component = Component::from_binary(engine.wasmtime(), component)
        .map_err(|error| LoadError::Invalid(error.into()))?;
    world::check(engine.wasmtime(), &component)?;
    let mut linker = engine.linker().clone();
    wasi::offer(engine.wasmtime(), &mut linker, &component)
        .map_err(|error| LoadError::WrongImport(error.into()))?;
    let linked = linker.instantiate_pre(&component);
    linked.map_err(|error| LoadError::WrongImport(error.into()))
}

/// Starts the component twice, and keeps what both have in their memories.
fn first_images(
    engine: &Engine,
    component: &InstancePre<Journal>,
    has_ledgers: bool,
) -> Result<Vec<Arc<Image>>, LoadError> {
    let start = || {
        let (mut home, instance) =
            engine.memories().instantiate(engine.store(), component, Vec::new());
        let why = |error: wasmtime::Error, home: &Home<Journal>| match refused(home, has_ledgers) {
            Some(instruction) => Uncapturable::Start { instruction }.into(),
            None => LoadError::Start(reason(&error)),
        };
        let instance = instance.map_err(|error| why(error, &home))?;
        let exports = Exports::of(&mut home, instance, has_ledgers)?;
        exports.note(&mut home).map_err(|error| why(error, &home))?;
        // The second start may need the turn that a long first one has.
        home.data_mut().end_turn();
        Ok::<_, LoadError>(home)
    };
    let first = start()?;
    let second = start()?;
    let memories = 0..first.memories();
    let alike = memories.clone().all(|memory| first.bytes(memory) == second.bytes(memory));
    if second.memories() != first.memories() || !alike {
        return Err(Uncapturable::Unsteady.into());
    }
    // The largest guests need not be in memory three times.
    drop(second);
    Ok(memories.map(|memory| Arc::new(Image::of(first.bytes(memory)))).collect())
}

/// Returns the name of the instruction at which a guest was stopped because nothing could note what
/// it does.
pub(super) fn refused(home: &Home<Journal>, has_ledgers: bool) -> Option<&'static str> {
    let ledgers = if has_ledgers { 0..home.memories() } else { 0..0 };
    ledgers.map(|memory| home.bytes(memory)).find_map(ledger::refused)
}

/// Memories grow by pages of this many bytes; other page sizes are off.
pub(super) const PAGE_BYTES: usize = 65_536;

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("hash", &self.hash).finish_non_exhaustive()
    }
}
