//! A component in two halves: what starts it, and what is called afterwards.
//!
//! # Without its start
//!
//! A component writes its initial image when it is instantiated: active data segments are copied,
//! start functions run. Instances that find the image in their memories are made from the component
//! without both. That they are the same instances rests on what `screen` has proven:
//!
//! | what is taken away | why nothing else changes |
//! |---|---|
//! | an active data segment's bytes | they are in the image; afterwards the segment counts as dropped, which is what an empty passive one in its place is to every instruction |
//! | a start function | what it wrote and how far it grew memories is in the image; globals are as it found them, or in a `ledger`, as dropped segments are; tables and handles cannot be changed by any function |
//!
//! What a start function logs is logged once, when the code is loaded.
//! Element segments and the initial values of globals stay: they are no part of linear memory.
//!
//! # Without its calls
//!
//! To find the image, a component is compiled that starts twice and is thrown away. Most components
//! of tens of MiB were started when they were built, so that no function of theirs runs before the
//! first call: compiling them all would double the time of loading. So all functions trap in it but
//! those that are seen to be called by a start. It need not be seen rightly: a start that gets through
//! has met no such trap, and has done what it always does; one that has not is done again with all
//! functions.

use std::collections::BTreeSet;
use std::iter;
use std::ops::Range;

use wasm_encoder::{CodeSection, ComponentSectionId, DataSection, RawSection, Section as _};
use wasmparser::{
    BinaryReader, BinaryReaderError, CodeSectionReader, DataKind, DataSectionReader, Encoding,
    ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef,
};

use super::LoadError;
use super::ledger::{NOTE, RECALL};

/// Exports that are called before the first call: by a ledger, or by the module that a toolchain
/// adds for a start.
const CALLED_AT_START: [&str; 3] = [NOTE, RECALL, "_initialize"];

/// A function's body without locals that does nothing but trap: `unreachable`, `end`.
const TRAP: [u8; 3] = [0x00, 0x00, 0x0b];

/// Returns the component without what writes its initial image.
pub(super) fn start_of(component: &[u8]) -> Result<Vec<u8>, LoadError> {
    without(Half::Start, component).map_err(|error| LoadError::Invalid(error.into()))
}

/// Returns the component without the functions that are not seen to be called by its start.
pub(super) fn calls_of(component: &[u8]) -> Result<Vec<u8>, LoadError> {
    without(Half::Calls, component).map_err(|error| LoadError::Invalid(error.into()))
}

#[derive(Clone, Copy)]
enum Half {
    Start,
    Calls,
}

/// What is being written: the component, or a module or a component within it.
struct Open {
    kind: ComponentSectionId,
    bytes: Vec<u8>,
    imported_functions: u32,
    /// Functions that its start calls.
    called: Vec<u32>,
}

fn without(half: Half, component: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut open: Vec<Open> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        if let Payload::Version { encoding, range, .. } = payload {
            open.push(Open::new(encoding, &component[range]));
            continue;
        }
        let Some(current) = open.last_mut() else { continue };
        current.look_at(&payload)?;
        match (half, payload) {
            (_, Payload::End(_)) => {
                let Some(Open { kind, bytes: inner, .. }) = open.pop() else { continue };
                match open.last_mut() {
                    Some(outer) => write(&mut outer.bytes, kind.into(), &inner),
                    None => return Ok(inner),
                }
            }
            // Those are written at their ends.
            (_, Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => {}
            (Half::Start, Payload::StartSection { .. }) => {}
            (Half::Start, Payload::DataSection(segments)) => {
                without_active(segments)?.append_to(&mut current.bytes);
            }
            (Half::Calls, Payload::CodeSectionStart { range, .. }) => {
                current.only_called(component, range)?.append_to(&mut current.bytes);
            }
            (_, other) => {
                if let Some((id, range)) = other.as_section() {
                    write(&mut current.bytes, id, &component[range]);
                }
            }
        }
    }
    // A binary that does not end has been refused by all who read it before.
    Ok(Vec::new())
}

fn write(bytes: &mut Vec<u8>, id: u8, data: &[u8]) {
    RawSection { id, data }.append_to(bytes);
}

/// Puts an empty passive segment in the place of each active one, so that all keep their numbers.
fn without_active(segments: DataSectionReader<'_>) -> Result<DataSection, BinaryReaderError> {
    let mut section = DataSection::new();
    for segment in segments {
        let segment = segment?;
        match segment.kind {
            DataKind::Active { .. } => section.passive(iter::empty()),
            DataKind::Passive => section.passive(segment.data.iter().copied()),
        };
    }
    Ok(section)
}

impl Open {
    fn new(encoding: Encoding, header: &[u8]) -> Self {
        let kind = match encoding {
            Encoding::Module => ComponentSectionId::CoreModule,
            Encoding::Component => ComponentSectionId::Component,
        };
        Self { kind, bytes: header.to_vec(), imported_functions: 0, called: Vec::new() }
    }

    /// Notes which functions the start calls itself.
    fn look_at(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let is_function =
                        matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    self.imported_functions += u32::from(is_function);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if export.kind == ExternalKind::Func && CALLED_AT_START.contains(&export.name) {
                        self.called.push(export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.called.push(*func),
            _ => {}
        }
        Ok(())
    }

    /// Returns the functions of the code section in `range`. All trap but those that the start calls,
    /// and those that these call by their numbers.
    fn only_called(
        &self,
        component: &[u8],
        range: Range<usize>,
    ) -> Result<CodeSection, BinaryReaderError> {
        let reader = BinaryReader::new(&component[range.clone()], range.start);
        let bodies: Vec<_> =
            CodeSectionReader::new(reader)?.into_iter().collect::<Result<_, _>>()?;
        let (mut seen, mut open) = (BTreeSet::new(), self.called.clone());
        while let Some(function) = open.pop() {
            let own = function.checked_sub(self.imported_functions);
            let Some(body) = own.and_then(|number| bodies.get(number as usize)) else { continue };
            if seen.insert(function) {
                open.extend(calls(body)?);
            }
        }
        let mut section = CodeSection::new();
        for (number, body) in (self.imported_functions..).zip(&bodies) {
            section.raw(if seen.contains(&number) { body.as_bytes() } else { &TRAP });
        }
        Ok(section)
    }
}

/// Returns the functions that a function calls by their numbers.
fn calls(body: &FunctionBody<'_>) -> Result<Vec<u32>, BinaryReaderError> {
    let mut calls = Vec::new();
    for operator in body.get_operators_reader()? {
        if let Operator::Call { function_index } | Operator::ReturnCall { function_index } =
            operator?
        {
            calls.push(function_index);
        }
    }
    Ok(calls)
}
