//! What a function's instructions leave behind outside of linear memory.

use std::collections::BTreeSet;

use wasmparser::{BinaryReaderError, FunctionBody, Operator};

use crate::guest::ledger::changes_a_table;

/// Found by reading the function once. Its validity is not looked at.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) globals_set: BTreeSet<u32>,
    pub(super) data_dropped: BTreeSet<u32>,
    pub(super) elements_dropped: BTreeSet<u32>,
    changes_a_table: bool,
}

impl Effects {
    pub(super) fn of(body: &FunctionBody<'_>) -> Result<Self, BinaryReaderError> {
        let mut effects = Self::default();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match operator {
                Operator::GlobalSet { global_index } => {
                    effects.globals_set.insert(global_index);
                }
                Operator::DataDrop { data_index } => {
                    effects.data_dropped.insert(data_index);
                }
                Operator::ElemDrop { elem_index } => {
                    effects.elements_dropped.insert(elem_index);
                }
                _ => effects.changes_a_table |= changes_a_table(&operator),
            }
        }
        Ok(effects)
    }

    /// Whether the function drops a segment or changes a table.
    pub(super) fn are_lasting(&self) -> bool {
        let dropped = self.data_dropped.len() + self.elements_dropped.len();
        dropped > 0 || self.changes_a_table
    }
}
