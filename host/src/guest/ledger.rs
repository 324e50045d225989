//! State that linear memory does not have, noted in a memory of its own.
//!
//! A player's state is captured and restored as the bytes of its memories. What a core module holds
//! elsewhere is made to be such bytes, too: a module that has any gets one memory more, its
//! *ledger*, and two functions.
//!
//! | state | in the ledger |
//! |---|---|
//! | a mutable global of a number type | `note` writes it where it differs, `recall` sets it |
//! | a dropped data or element segment | a new global says so; `recall` drops it again |
//! | a table, a global that holds a reference | nothing could say what is in it. An instruction that changes one notes its own name and traps: the call is rolled back, and its caller is told why |
//!
//! ```text
//!   instantiate ─► recall    globals and segments as the ledger says
//!   call ────────► note      the ledger as globals and segments are; then the memories are captured
//! ```
//!
//! A component has many modules. One more, the *clerk*, calls the `note` and the `recall` of each
//! of its instances, and the component exports the clerk's two functions.
//!
//! Nothing is renumbered: whatever is added comes after what is there, so that most of a module is
//! copied as it is. What `steady` proves to return to its value by itself needs no ledger.

mod body;
mod component;
mod module;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{BinaryReaderError, Operator, ValType};

use super::LoadError;
use super::screen::Screened;
use crate::limits::COMPONENT_BYTES_MAX;

/// The component's function that brings the ledgers up to date.
pub(super) const NOTE: &str = "player-host-note";
/// The component's function that brings everything else to where the ledgers say.
pub(super) const RECALL: &str = "player-host-recall";

/// What stands at the start of a ledger once an instruction was refused.
const REFUSED: u64 = u64::from_le_bytes(*b"refused!");
/// Offset of the refused instruction's number, in bytes.
const INSTRUCTION: u64 = 8;
/// Offset of the first value, in bytes.
const VALUES: u64 = 16;

/// Instructions whose effect nothing could note.
const UNNOTED: [&str; 6] =
    ["global.set", "table.set", "table.grow", "table.fill", "table.copy", "table.init"];

/// What one core module may hold outside of linear memory.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Mutable globals to note, by their numbers.
    pub(super) globals: BTreeMap<u32, ValType>,
    /// Globals whose references nothing could note.
    pub(super) references: BTreeSet<u32>,
    /// Data segments that a function drops.
    pub(super) data: BTreeSet<u32>,
    /// Element segments that a function drops.
    pub(super) elements: BTreeSet<u32>,
    /// Functions that drop a segment, or do what cannot be noted, and how many locals they have, the
    /// parameters included. By their numbers, imports included.
    pub(super) functions: BTreeMap<u32, u32>,
    /// How many of each kind the module has, imports included.
    pub(super) types: u32,
    pub(super) all_functions: u32,
    pub(super) memories: u32,
    pub(super) all_globals: u32,
}

impl Outside {
    /// Whether linear memory is all that the module has.
    pub(super) fn is_empty(&self) -> bool {
        self.globals.is_empty() && self.functions.is_empty()
    }
}

/// Returns the component with its ledgers, or `None` if it needs none.
pub(super) fn with_ledgers(
    component: &[u8],
    screened: &Screened,
) -> Result<Option<Vec<u8>>, LoadError> {
    if screened.modules.iter().all(Outside::is_empty) {
        return Ok(None);
    }
    let written = component::written(component, screened)?;
    if written.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge(written.len()));
    }
    Ok(Some(written))
}

/// Returns the number of an instruction whose effect cannot be noted. A `global.set` is meant to be
/// one of a global that holds a reference.
fn unnoted(operator: &Operator<'_>) -> Option<usize> {
    let name = match operator {
        Operator::GlobalSet { .. } => "global.set",
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        _ => return None,
    };
    UNNOTED.iter().position(|unnoted| *unnoted == name)
}

/// Whether the instruction changes a table.
pub(super) fn changes_a_table(operator: &Operator<'_>) -> bool {
    unnoted(operator).is_some_and(|number| UNNOTED[number] != "global.set")
}

/// Returns the name of the instruction that was refused, if this is the ledger in which it stands.
pub(super) fn refused(memory: &[u8]) -> Option<&'static str> {
    let at = |offset: u64| {
        let from = usize::try_from(offset).ok()?;
        Some(u64::from_le_bytes(memory.get(from..from + 8)?.try_into().ok()?))
    };
    let number = at(0).filter(|head| *head == REFUSED).and_then(|_| at(INSTRUCTION))?;
    UNNOTED.get(usize::try_from(number).ok()?).copied()
}

fn invalid(error: BinaryReaderError) -> LoadError {
    LoadError::Invalid(error.into())
}
