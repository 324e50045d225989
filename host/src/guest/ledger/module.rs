//! One core module with its ledger.

use std::collections::BTreeMap;

use wasm_encoder::{
    ConstExpr, Encode as _, ExportKind, GlobalType, MemoryType, Module, RawSection, SectionId,
};
use wasmparser::{BinaryReader, BinaryReaderError, Parser, Payload};

use super::places::Places;
use super::{NOTE, Outside, RECALL, body, invalid};
use crate::guest::LoadError;
use crate::limits::COMPONENT_BYTES_MAX;

/// The order in which the sections of a module come.
const ORDER: [SectionId; 13] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Tag,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// How many entries a section has, and their bytes.
#[derive(Default)]
struct Entries {
    count: u32,
    bytes: Vec<u8>,
}

/// Returns a core module with its ledger and with the functions that use it. What only people read
/// of it, its custom sections, is left out.
pub(super) fn written(module: &[u8], outside: &Outside) -> Result<Vec<u8>, LoadError> {
    let places = Places::of(outside);
    let mut sections: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let mut bodies = Entries::default();
    let mut defined = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::FunctionSection(functions) => {
                defined = functions.count();
                sections.insert(SectionId::Function.into(), module[functions.range()].to_vec());
            }
            Payload::CodeSectionEntry(function) => {
                let number = outside.all_functions - defined + bodies.count;
                match outside.functions.get(&number) {
                    Some(locals) => {
                        let body = body::written(&function, *locals, &places);
                        bodies.append(&body.map_err(invalid)?);
                    }
                    None => bodies.append(function.as_bytes()),
                }
                // What is refused takes more bytes than the instruction that is.
                if bodies.bytes.len() > COMPONENT_BYTES_MAX {
                    return Err(LoadError::TooLarge(bodies.bytes.len()));
                }
            }
            Payload::CodeSectionStart { .. } | Payload::CustomSection(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    sections.insert(id, module[range].to_vec());
                }
            }
        }
    }
    for function in [places.note(), places.recall()] {
        bodies.add(|bytes| function.encode(bytes));
    }
    sections.insert(SectionId::Code.into(), bodies.section());
    for (id, more) in additions(outside, &places) {
        let section = sections.entry(id.into()).or_default();
        *section = Entries::of(section).map_err(invalid)?.followed_by(&more).section();
    }
    let mut written = Module::new();
    for id in ORDER {
        if let Some(data) = sections.get(&id.into()) {
            written.section(&RawSection { id: id.into(), data });
        }
    }
    Ok(written.finish())
}

/// Returns what comes at the end of each section but that of the code.
fn additions(outside: &Outside, places: &Places<'_>) -> Vec<(SectionId, Entries)> {
    let (mut types, mut functions, mut exports) =
        (Entries::default(), Entries::default(), Entries::default());
    types.add(|bytes| {
        // A function without parameters and results.
        bytes.push(0x60);
        0u32.encode(bytes);
        0u32.encode(bytes);
    });
    for (name, number) in [NOTE, RECALL].into_iter().zip(outside.all_functions..) {
        functions.add(|bytes| outside.types.encode(bytes));
        exports.add(|bytes| {
            name.encode(bytes);
            ExportKind::Func.encode(bytes);
            number.encode(bytes);
        });
    }
    let (mut memories, mut globals) = (Entries::default(), Entries::default());
    let (minimum, maximum) = (places.pages(), Some(places.pages()));
    let ledger =
        MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None };
    memories.add(|bytes| ledger.encode(bytes));
    for _ in places.flags() {
        let flag = GlobalType { val_type: super::places::FLAG, mutable: true, shared: false };
        globals.add(|bytes| {
            flag.encode(bytes);
            ConstExpr::i32_const(0).encode(bytes);
        });
    }
    vec![
        (SectionId::Type, types),
        (SectionId::Function, functions),
        (SectionId::Memory, memories),
        (SectionId::Global, globals),
        (SectionId::Export, exports),
    ]
}

impl Entries {
    fn of(section: &[u8]) -> Result<Self, BinaryReaderError> {
        if section.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = BinaryReader::new(section, 0);
        let count = reader.read_var_u32()?;
        Ok(Self { count, bytes: section[reader.original_position()..].to_vec() })
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        write(&mut self.bytes);
    }

    /// Appends a function's body.
    fn append(&mut self, body: &[u8]) {
        self.add(|bytes| body.encode(bytes));
    }

    fn followed_by(mut self, more: &Self) -> Self {
        self.count += more.count;
        self.bytes.extend_from_slice(&more.bytes);
        self
    }

    fn section(&self) -> Vec<u8> {
        let mut section = Vec::with_capacity(self.bytes.len() + 5);
        self.count.encode(&mut section);
        section.extend_from_slice(&self.bytes);
        section
    }
}
