//! Where in a module what is added to it stands, and the two functions that use it.

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Function, Instruction, MemArg, ValType};
use wasmparser::Operator;

use super::{Outside, VALUES};
use crate::guest::code::PAGE_BYTES;

/// The numbers of what is added to one module.
pub(super) struct Places<'a> {
    outside: &'a Outside,
    /// The ledger, by its number among the memories.
    pub(super) ledger: u32,
    /// Every global to note, and its offset in the ledger, in bytes.
    cells: Vec<(u32, Kind, u64)>,
    /// Segments that are dropped, and the globals that say so.
    data: BTreeMap<u32, u32>,
    elements: BTreeMap<u32, u32>,
}

/// What the ledger has of a global.
#[derive(Clone, Copy)]
enum Kind {
    I32,
    I64,
    F32,
    F64,
    V128,
}

impl<'a> Places<'a> {
    pub(super) fn of(outside: &'a Outside) -> Self {
        let Outside { data, elements, all_globals, memories: ledger, .. } = outside;
        let mut numbers = *all_globals..;
        let data: BTreeMap<_, _> = data.iter().copied().zip(&mut numbers).collect();
        let elements = elements.iter().copied().zip(numbers).collect();
        let mut places = Self { outside, ledger: *ledger, cells: Vec::new(), data, elements };
        let globals = outside.globals.iter().map(|(global, ty)| (*global, Kind::of(*ty)));
        let flags = places.flags().map(|(flag, _)| (flag, Kind::I32));
        let mut offset = VALUES;
        let cell = |(global, kind): (u32, Kind)| {
            let at = offset;
            offset += kind.bytes();
            (global, kind, at)
        };
        places.cells = globals.chain(flags).map(cell).collect();
        places
    }

    /// Returns the global that says whether the segment is dropped that the instruction drops.
    pub(super) fn flag_of(&self, operator: &Operator<'_>) -> Option<u32> {
        match operator {
            Operator::DataDrop { data_index } => self.data.get(data_index).copied(),
            Operator::ElemDrop { elem_index } => self.elements.get(elem_index).copied(),
            _ => None,
        }
    }

    /// Whether nothing could note what the global holds.
    pub(super) fn is_reference(&self, global: u32) -> bool {
        self.outside.references.contains(&global)
    }

    /// Returns the globals that are added, in order, and what each of them says is dropped.
    pub(super) fn flags(&self) -> impl Iterator<Item = (u32, Instruction<'static>)> {
        let data = self.data.iter().map(|(data, flag)| (*flag, Instruction::DataDrop(*data)));
        let elements = self.elements.iter();
        data.chain(elements.map(|(element, flag)| (*flag, Instruction::ElemDrop(*element))))
    }

    /// Returns the ledger's length, in pages.
    pub(super) fn pages(&self) -> u64 {
        let end = self.cells.last().map_or(VALUES, |(_, kind, offset)| offset + kind.bytes());
        end.div_ceil(PAGE_BYTES as u64)
    }

    /// Writes each global that the ledger has otherwise. A page that nobody writes to need not be
    /// captured.
    pub(super) fn note(&self) -> Function {
        let mut function = Function::new([]);
        for &(global, kind, offset) in &self.cells {
            let at = self.at(offset);
            function.instruction(&Instruction::I32Const(0)).instruction(&kind.load_bits(at));
            function.instruction(&Instruction::GlobalGet(global));
            for instruction in kind.differ_from_bits() {
                function.instruction(instruction);
            }
            function.instruction(&Instruction::If(BlockType::Empty));
            function.instruction(&Instruction::I32Const(0));
            function.instruction(&Instruction::GlobalGet(global)).instruction(&kind.store(at));
            function.instruction(&Instruction::End);
        }
        function.instruction(&Instruction::End);
        function
    }

    /// Sets each global to what the ledger has, and drops the segments that are to be dropped.
    pub(super) fn recall(&self) -> Function {
        let mut function = Function::new([]);
        for &(global, kind, offset) in &self.cells {
            function.instruction(&Instruction::I32Const(0));
            function.instruction(&kind.load(self.at(offset)));
            function.instruction(&Instruction::GlobalSet(global));
        }
        for (flag, drop) in self.flags() {
            function.instruction(&Instruction::GlobalGet(flag));
            function.instruction(&Instruction::If(BlockType::Empty));
            function.instruction(&drop).instruction(&Instruction::End);
        }
        function.instruction(&Instruction::End);
        function
    }

    fn at(&self, offset: u64) -> MemArg {
        MemArg { offset, align: 0, memory_index: self.ledger }
    }
}

impl Kind {
    fn of(ty: wasmparser::ValType) -> Self {
        match ty {
            wasmparser::ValType::I64 => Self::I64,
            wasmparser::ValType::F32 => Self::F32,
            wasmparser::ValType::F64 => Self::F64,
            wasmparser::ValType::V128 => Self::V128,
            // References are no numbers: `screen` has put them elsewhere.
            wasmparser::ValType::I32 | wasmparser::ValType::Ref(_) => Self::I32,
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
            Self::V128 => 16,
        }
    }

    fn load(self, at: MemArg) -> Instruction<'static> {
        match self {
            Self::I32 => Instruction::I32Load(at),
            Self::I64 => Instruction::I64Load(at),
            Self::F32 => Instruction::F32Load(at),
            Self::F64 => Instruction::F64Load(at),
            Self::V128 => Instruction::V128Load(at),
        }
    }

    fn store(self, at: MemArg) -> Instruction<'static> {
        match self {
            Self::I32 => Instruction::I32Store(at),
            Self::I64 => Instruction::I64Store(at),
            Self::F32 => Instruction::F32Store(at),
            Self::F64 => Instruction::F64Store(at),
            Self::V128 => Instruction::V128Store(at),
        }
    }

    /// Loads what is compared: of a float its bits, for no NaN equals itself, and both zeros do.
    fn load_bits(self, at: MemArg) -> Instruction<'static> {
        match self {
            Self::F32 => Instruction::I32Load(at),
            Self::F64 => Instruction::I64Load(at),
            _ => self.load(at),
        }
    }

    /// Turns those bits and the value into whether they differ.
    fn differ_from_bits(self) -> &'static [Instruction<'static>] {
        match self {
            Self::I32 => &[Instruction::I32Ne],
            Self::I64 => &[Instruction::I64Ne],
            Self::F32 => &[Instruction::I32ReinterpretF32, Instruction::I32Ne],
            Self::F64 => &[Instruction::I64ReinterpretF64, Instruction::I64Ne],
            Self::V128 => &[Instruction::V128Xor, Instruction::V128AnyTrue],
        }
    }
}

/// Returns the type of the globals that are added.
pub(super) const FLAG: ValType = ValType::I32;
