//! One function that drops a segment, or does what cannot be noted.

use wasm_encoder::{BlockType, Encode as _, Instruction, MemArg, ValType};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

use super::places::Places;
use super::{INSTRUCTION, REFUSED, UNNOTED, unnoted};

/// Returns the function's body with what it notes, without its length. All that is there stays, byte
/// for byte.
///
/// `locals` counts the function's locals and parameters.
pub(super) fn written(
    body: &FunctionBody<'_>,
    locals: u32,
    places: &Places<'_>,
) -> Result<Vec<u8>, BinaryReaderError> {
    let mut bytes = Vec::with_capacity(body.as_bytes().len() + 64);
    let reader = body.get_locals_reader()?;
    (reader.get_count() + 1).encode(&mut bytes);
    let mut declared = body.get_binary_reader();
    declared.read_var_u32()?;
    let groups = declared.original_position();
    let code = body.get_operators_reader()?.original_position();
    bytes.extend_from_slice(within(body, groups, code));
    // One local more, for the length that an instruction is given.
    1u32.encode(&mut bytes);
    ValType::I32.encode(&mut bytes);

    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let start = operators.original_position();
        let operator = operators.read()?;
        let end = operators.original_position();
        before(&operator, locals, places, &mut bytes);
        bytes.extend_from_slice(within(body, start, end));
        if let Some(flag) = places.flag_of(&operator) {
            Instruction::I32Const(1).encode(&mut bytes);
            Instruction::GlobalSet(flag).encode(&mut bytes);
        }
    }
    Ok(bytes)
}

/// Returns the bytes between two positions in the whole component.
fn within<'a>(body: &FunctionBody<'a>, start: usize, end: usize) -> &'a [u8] {
    let first = body.range().start;
    &body.as_bytes()[start - first..end - first]
}

/// Refuses an instruction whose effect cannot be noted, if it has one: what changes no element of a
/// table may pass.
fn before(operator: &Operator<'_>, length: u32, places: &Places<'_>, bytes: &mut Vec<u8>) {
    let Some(number) = unnoted(operator) else { return };
    match operator {
        Operator::GlobalSet { global_index } if !places.is_reference(*global_index) => {}
        Operator::GlobalSet { .. } | Operator::TableSet { .. } => refuse(number, places, bytes),
        _ => {
            Instruction::LocalTee(length).encode(bytes);
            Instruction::If(BlockType::Empty).encode(bytes);
            refuse(number, places, bytes);
            Instruction::End.encode(bytes);
            Instruction::LocalGet(length).encode(bytes);
        }
    }
}

fn refuse(number: usize, places: &Places<'_>, bytes: &mut Vec<u8>) {
    debug_assert!(number < UNNOTED.len());
    let at = |offset| MemArg { offset, align: 3, memory_index: places.ledger };
    let values = [(0, REFUSED.cast_signed()), (INSTRUCTION, number as i64)];
    for (offset, value) in values {
        Instruction::I32Const(0).encode(bytes);
        Instruction::I64Const(value).encode(bytes);
        Instruction::I64Store(at(offset)).encode(bytes);
    }
    Instruction::Unreachable.encode(bytes);
}
