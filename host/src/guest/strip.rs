//! What an instance that begins with the initial image need not do again.
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

use std::iter;

use wasm_encoder::{ComponentSectionId, DataSection, RawSection, Section as _};
use wasmparser::{BinaryReaderError, DataKind, DataSectionReader, Encoding, Parser, Payload};

use super::LoadError;

/// Returns the component without what writes its initial image.
pub(super) fn start_of(component: &[u8]) -> Result<Vec<u8>, LoadError> {
    stripped(component).map_err(|error| LoadError::Invalid(error.into()))
}

fn stripped(component: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    // What is being written: the component, then the module or component within it that is open.
    let mut open: Vec<(ComponentSectionId, Vec<u8>)> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        if let Payload::Version { encoding, range, .. } = payload {
            let kind = match encoding {
                Encoding::Module => ComponentSectionId::CoreModule,
                Encoding::Component => ComponentSectionId::Component,
            };
            open.push((kind, component[range].to_vec()));
            continue;
        }
        let Some((_, bytes)) = open.last_mut() else { continue };
        match payload {
            Payload::End(_) => {
                let Some((kind, inner)) = open.pop() else { continue };
                match open.last_mut() {
                    Some((_, outer)) => write(outer, kind.into(), &inner),
                    None => return Ok(inner),
                }
            }
            // Those are written at their ends.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {}
            Payload::StartSection { .. } => {}
            Payload::DataSection(segments) => without_active(segments)?.append_to(bytes),
            other => {
                if let Some((id, range)) = other.as_section() {
                    write(bytes, id, &component[range]);
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
