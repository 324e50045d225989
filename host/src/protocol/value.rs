//! What a guest returned, and what its functions look like from outside.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CodeHash;

/// What a guest returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Points: what `reward` and `points` answer.
    Points(i64),
    /// Nothing: the function has no result.
    Nothing,
    /// What any other function returned, in WAVE, the text form of the component model's values. A
    /// node makes none that is longer than [`crate::limits::RESULT_BYTES_MAX`].
    Wave(String),
}

impl Value {
    /// Returns the points, if that is what it is.
    pub fn points(&self) -> Option<i64> {
        match self {
            Self::Points(points) => Some(*points),
            Self::Nothing | Self::Wave(_) => None,
        }
    }

    /// Returns how many bytes its text has.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::Points(_) | Self::Nothing => 0,
            Self::Wave(text) => text.len(),
        }
    }
}

impl From<i64> for Value {
    fn from(points: i64) -> Self {
        Self::Points(points)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Points(points) => points.fmt(f),
            Self::Nothing => Ok(()),
            Self::Wave(text) => f.write_str(text),
        }
    }
}

/// A function and its arguments, as a caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function: `add-item`, or `ns:pkg/inventory@1.0.0#add-item` if it is in an interface.
    pub function: String,
    /// Its arguments.
    pub arguments: Arguments,
}

/// The arguments of a call, as a caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arguments {
    /// In order, each in WAVE.
    Wave(Vec<String>),
    /// One JSON text: an array of them in order, or an object of them by the names of the function's
    /// parameters.
    Json(Box<str>),
}

impl Arguments {
    /// Returns how many bytes the caller wrote.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Wave(texts) => texts.iter().map(String::len).sum(),
            Self::Json(text) => text.len(),
        }
    }
}

impl FunctionCall {
    /// Returns how many bytes the caller wrote.
    pub fn bytes(&self) -> usize {
        self.function.len() + self.arguments.bytes()
    }
}

/// Whose functions somebody wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Those of the code that new players of the asked node run.
    New,
    /// Those of a player's code.
    Player(super::PlayerId),
    /// Those of this code.
    Code(CodeHash),
}

/// A code's functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The code.
    pub code: CodeHash,
    /// Its functions in the order of their names.
    pub functions: Vec<FunctionShape>,
    /// How many more there are: too many to be sent.
    pub left_out: u64,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionShape {
    /// Its name, with its interface if it is in one.
    pub name: String,
    /// Its type in the syntax of WIT, with the types written out.
    pub shape: String,
    /// What its author says of it.
    pub docs: Option<String>,
    /// Why it cannot be called from outside, if so.
    pub refused: Option<String>,
}
