//! Why code is refused or an instance cannot be made.

use thiserror::Error;

use crate::limits::{
    COMPONENT_BYTES_MAX, FUNCTIONS_MAX, GUEST_MEMORY_BYTES_MAX, NOTED_GLOBALS_MAX,
};

/// An error of wasmtime or wasmparser, in their words.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The engine cannot be set up on this machine. No guest can run.
#[derive(Debug, Error)]
#[error("cannot set up wasmtime")]
pub struct EngineError(#[source] pub(super) Source);

/// Why bytes are not accepted as a player's code. Nothing was changed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file is too large.
    #[error("the code has {0} bytes, and at most {COMPONENT_BYTES_MAX} are loaded")]
    TooLarge(usize),
    /// The bytes are something else, perhaps the text format.
    #[error("this is not a WebAssembly binary")]
    NotWasm,
    /// A core module that does not say which world it is made for.
    #[error(
        "this is a core module without a component type; build it with wit-bindgen, or turn it \
         into a component of the world `player`"
    )]
    NoComponentType,
    /// A core module that does not fit the component type it carries.
    #[error("this core module cannot be turned into a component")]
    Encode(#[source] Source),
    /// The binary is broken, or uses a feature that the host leaves off.
    #[error("this component is not valid here")]
    Invalid(#[source] Source),
    /// A function of the world is missing.
    #[error("the component does not export `{0}`, which the world `player` asks for")]
    MissingExport(&'static str),
    /// A function of the world has another type.
    #[error("the component exports `{name}` with another type than the world `player`")]
    WrongExport {
        /// The function.
        name: &'static str,
        /// How the types differ.
        #[source]
        source: Source,
    },
    /// The component exports the interface `migrate`, but not as the contract has it.
    #[error(
        "the component exports `player:host/migrate`, but no `{0}` of the type that \
         `wit/player.wit` gives it; export both `save` and `load`, or leave the interface out"
    )]
    WrongMigrate(&'static str),
    /// More functions than anybody could look at.
    #[error("the component exports more than {FUNCTIONS_MAX} functions")]
    TooManyFunctions,
    /// The component needs something that the world does not offer.
    #[error("the component imports `{0}`, which the world `player` does not offer")]
    UnknownImport(String),
    /// The component needs the network.
    #[error(
        "the component imports `{0}`, but no player has a network; build it without: \
         `--stub-wasi` for componentize-py, `disableFeatures: ['http', 'fetch-event']` for \
         componentize-js"
    )]
    Network(String),
    /// The component passes strings in an encoding that the host would have to decode as a whole.
    #[error("the component passes strings as UTF-16; build it with UTF-8")]
    Encoding,
    /// The component needs something of the world with another type.
    #[error("the component's imports do not fit the world `player`")]
    WrongImport(#[source] Source),
    /// Part of the component's state would be lost between calls.
    #[error("the component's state cannot be captured: {0}")]
    Uncapturable(#[from] Uncapturable),
    /// The component trapped while it started, or needs more than a guest may have.
    #[error("the component does not start: {0}")]
    Start(String),
}

/// What of a component's state is outside of its linear memory or not reproducible.
///
/// Core modules are counted from 0 in the order in which they appear in the component.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Uncapturable {
    /// A module has more mutable globals that may change than are noted.
    #[error(
        "core module {module} may change more than {NOTED_GLOBALS_MAX} mutable globals and segments; \
         keep the values in memory instead"
    )]
    Globals {
        /// The core module.
        module: usize,
    },
    /// A module that keeps something in globals or segments is used by a component within the
    /// component, which could not be asked for it.
    #[error(
        "core module {module} keeps state outside of linear memory (in globals, tables or dropped \
         segments), and a nested component may instantiate such a module"
    )]
    Nested {
        /// The core module.
        module: usize,
    },
    /// It changes a table, or a reference in a global, before its first call.
    #[error(
        "its start uses `{instruction}`, which changes state outside of linear memory that no \
         snapshot can hold"
    )]
    Start {
        /// Name of the instruction in the text format.
        instruction: &'static str,
    },
    /// A memory of a kind that the host does not own.
    #[error("core module {module} has a {kind} memory")]
    Memory {
        /// The core module.
        module: usize,
        /// "shared" or "64-bit".
        kind: &'static str,
    },
    /// The component keeps handles, tasks or threads in the host.
    #[error("the component uses `{0}`, which keeps state in the host")]
    Canonical(String),
    /// Two instances of the same code start with different memories.
    #[error("two instances of it start with different memories")]
    Unsteady,
}

/// Why no instance could be made from a snapshot. The snapshot is unchanged and may be tried again.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The snapshot has another number of memories than the code.
    #[error("the snapshot has {snapshot} memories and the code {code}")]
    Memories {
        /// Memories in the snapshot.
        snapshot: usize,
        /// Memories of the code.
        code: usize,
    },
    /// A memory of the snapshot has a length that the code's memory cannot have.
    #[error(
        "the snapshot's memory {memory} has {bytes} bytes, which the code's memory cannot have \
         (at most {GUEST_MEMORY_BYTES_MAX} together)"
    )]
    Length {
        /// The memory, in order of creation.
        memory: usize,
        /// Its length in the snapshot, in bytes.
        bytes: u64,
    },
    /// The instance trapped while it started, or needs more than a guest may have.
    #[error("the instance does not start: {0}")]
    Start(String),
    /// The system has no memory or no time for it now. It says nothing about the snapshot.
    #[error("this machine cannot make an instance now: {0}")]
    System(String),
}

impl RestoreError {
    /// Whether the snapshot itself is what cannot be restored, here or anywhere else.
    pub fn is_of_snapshot(&self) -> bool {
        match self {
            Self::Length { .. } | Self::Start(_) => true,
            // How many ledgers a code has may differ between versions of the host.
            Self::Memories { .. } | Self::System(_) => false,
        }
    }
}
