//! What a function's type looks like, and what of it nobody outside can give or take.

use std::fmt;

use thiserror::Error;
use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::wasm_wave::wasm::DisplayType;

use crate::limits::FUNCTION_TYPES_MAX;

/// Why a function cannot be called from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(in crate::guest) enum Obstacle {
    /// It may wait for others.
    #[error("it is async")]
    Async,
    /// Its type has a part that lives in the host, or that has no text form.
    #[error("its type has {0}, which no text stands for")]
    Kind(&'static str),
    /// Its type is too large to be looked at.
    #[error("its type is made of more than {FUNCTION_TYPES_MAX} types")]
    TooLarge,
}

impl Obstacle {
    /// Returns what keeps a function from being called, if anything does.
    pub(in crate::guest) fn of(function: &ComponentFunc) -> Option<Self> {
        if function.async_() {
            return Some(Self::Async);
        }
        let mut left = FUNCTION_TYPES_MAX;
        let mut types = function.params().map(|(_, ty)| ty).chain(function.results());
        types.find_map(|ty| in_type(&ty, &mut left))
    }
}

/// How deep the recursion goes is bounded by wasmparser: types nest a hundred times at most.
fn in_type(ty: &Type, left: &mut usize) -> Option<Obstacle> {
    let Some(fewer) = left.checked_sub(1) else { return Some(Obstacle::TooLarge) };
    *left = fewer;
    let mut within = |ty: Type| in_type(&ty, left);
    match ty {
        Type::Bool
        | Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Float32
        | Type::Float64
        | Type::Char
        | Type::String
        | Type::Enum(_)
        | Type::Flags(_) => None,
        Type::List(list) => within(list.ty()),
        Type::Record(record) => record.fields().find_map(|field| within(field.ty)),
        Type::Tuple(tuple) => tuple.types().find_map(within),
        Type::Variant(variant) => variant.cases().find_map(|case| case.ty.and_then(&mut within)),
        Type::Option(option) => within(option.ty()),
        Type::Result(result) => result.ok().into_iter().chain(result.err()).find_map(within),
        Type::Own(_) | Type::Borrow(_) => Some(Obstacle::Kind("a resource")),
        Type::Stream(_) => Some(Obstacle::Kind("a stream")),
        Type::Future(_) => Some(Obstacle::Kind("a future")),
        Type::ErrorContext => Some(Obstacle::Kind("an error-context")),
        Type::Map(_) => Some(Obstacle::Kind("a map")),
        Type::FixedLengthList(_) => Some(Obstacle::Kind("a list of fixed length")),
    }
}

/// A function's type in the syntax of WIT, with the types written out.
pub(in crate::guest) struct Shown<'a>(pub(in crate::guest) &'a ComponentFunc);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.async_() { "async func(" } else { "func(" })?;
        for (at, (name, ty)) in self.0.params().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}: {}", Written(&ty))?;
        }
        f.write_str(")")?;
        self.0.results().try_for_each(|ty| write!(f, " -> {}", Written(&ty)))
    }
}

/// A type in the syntax of WIT. One that has no text form is only named: the library that writes the
/// others does not know it.
pub(in crate::guest) struct Written<'a>(pub(in crate::guest) &'a Type);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Type::Own(_) | Type::Borrow(_) => f.write_str("resource"),
            Type::Stream(_) => f.write_str("stream"),
            Type::Future(_) => f.write_str("future"),
            Type::ErrorContext => f.write_str("error-context"),
            Type::Map(_) => f.write_str("map"),
            ty => DisplayType(ty).fmt(f),
        }
    }
}

/// A text that ends where it would get too long.
pub(in crate::guest) struct Cut {
    text: String,
    max: usize,
    is_cut: bool,
}

/// What stands where a text was cut.
const ELLIPSIS: char = '…';

impl Cut {
    /// Returns an empty text that gets no longer than `max` bytes.
    pub(in crate::guest) fn new(max: usize) -> Self {
        Self { text: String::new(), max, is_cut: false }
    }

    /// Returns the text, with a mark where it was cut.
    pub(in crate::guest) fn into_text(self) -> String {
        let Self { mut text, max, is_cut } = self;
        if is_cut {
            text.truncate(text.floor_char_boundary(max.saturating_sub(ELLIPSIS.len_utf8())));
            text.push(ELLIPSIS);
        }
        text
    }
}

impl fmt::Write for Cut {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        self.is_cut |= part.len() > room;
        self.text.push_str(&part[..part.floor_char_boundary(room)]);
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn a_text_ends_where_it_would_get_too_long() {
        let mut whole = Cut::new(4);
        assert!(write!(whole, "ab").is_ok() && write!(whole, "cd").is_ok());
        assert_eq!(whole.into_text(), "abcd");
        let mut cut = Cut::new(6);
        assert!(write!(cut, "abcü").is_ok());
        assert!(write!(cut, "de").is_err() && write!(cut, "f").is_err());
        assert_eq!(cut.into_text(), "abc…");
    }
}
