//! Arguments as they are written, made values of the types that a function takes.
//!
//! The text is parsed by a library; what it makes is fitted to the types here, for only so is it bounded
//! what that costs: a record of a thousand fields that may all be left out is four letters.

mod json;
mod wave;

use std::fmt;

use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Type, Val};

pub(in crate::guest) use self::json::of_wave;
#[cfg(any(test, fuzzing))]
pub(in crate::guest) use self::{json::value as json_value, wave::value as wave_value};
use super::shape::{Cut, Written};
use crate::limits::ARGUMENTS_COST_MAX;
use crate::protocol::{Arguments, harmless};

/// Longest part of the text that an error repeats, in characters.
const REPEATED_CHARS_MAX: usize = 60;
/// Longest type that an error names, in bytes.
const TYPE_BYTES_MAX: usize = 300;

/// Reads the arguments of a function. The last ones may be left out if they are options.
///
/// # Errors
///
/// One sentence for who wrote them: which one is wrong, and how.
pub(super) fn read(function: &ComponentFunc, arguments: &Arguments) -> Result<Vec<Val>, String> {
    let mut left = Budget::new();
    match arguments {
        Arguments::Wave(texts) => {
            fit(function, texts.iter().map(Some).collect(), |text: &String, ty| {
                wave::value(text, ty, &mut left)
            })
        }
        Arguments::Json(text) => match json::parse(text)? {
            json::Given::InOrder(values) => {
                fit(function, values.iter().map(Some).collect(), |value, ty| {
                    json::value(value, ty, &mut left)
                })
            }
            json::Given::ByName(mut values) => {
                let params = function.params();
                let given: Vec<_> = params.map(|(name, _)| values.remove(name)).collect();
                if let Some((name, _)) = values.iter().next() {
                    return Err(format!("it has no parameter {}", part(name)));
                }
                fit(function, given.iter().map(Option::as_ref).collect(), |value, ty| {
                    json::value(value, ty, &mut left)
                })
            }
        },
    }
}

/// Fits what was given to the parameters, one after the other. What is missing may be an option.
fn fit<T>(
    function: &ComponentFunc,
    given: Vec<Option<T>>,
    mut read: impl FnMut(T, &Type) -> Result<Val, Wrong>,
) -> Result<Vec<Val>, String> {
    let params = function.params();
    let (wanted, count_given) = (params.len(), given.len());
    if count_given > wanted {
        return Err(format!("it takes {}, not {count_given}", count(wanted)));
    }
    let mut given = given.into_iter();
    let mut values = Vec::with_capacity(wanted);
    for (at, (name, ty)) in params.enumerate() {
        values.push(match (given.next().flatten(), &ty) {
            (Some(argument), _) => read(argument, &ty)
                .map_err(|wrong| format!("argument {} (`{name}`): {wrong}", at + 1))?,
            (None, Type::Option(_)) => Val::Option(None),
            (None, _) => {
                let least = count(wanted);
                let given =
                    if count_given == wanted { "" } else { &format!(", not {count_given}") };
                return Err(format!("it takes {least}{given}: `{name}` is missing"));
            }
        });
    }
    Ok(values)
}

fn count(arguments: usize) -> String {
    match arguments {
        0 => "no arguments".to_owned(),
        1 => "one argument".to_owned(),
        many => format!("{many} arguments"),
    }
}

/// What the arguments of one call may still cost.
#[derive(Debug)]
pub(in crate::guest) struct Budget(usize);

impl Budget {
    /// Returns all of it.
    pub(in crate::guest) fn new() -> Self {
        Self(ARGUMENTS_COST_MAX)
    }

    /// Whether something was paid.
    #[cfg(any(test, fuzzing))]
    pub(in crate::guest) fn is_touched(&self) -> bool {
        self.0 < ARGUMENTS_COST_MAX
    }

    /// Looks for a name; each that is looked at is paid for, as a type may have very many.
    fn search<T>(
        &mut self,
        names: impl Iterator<Item = T>,
        is_meant: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, Wrong> {
        for name in names {
            self.pay(1)?;
            if is_meant(&name) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn pay(&mut self, bytes: usize) -> Result<(), Wrong> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            Wrong::new(format!(
                "the arguments would take more than {} MiB of memory",
                ARGUMENTS_COST_MAX / (1024 * 1024)
            ))
        })?;
        Ok(())
    }
}

/// What is wrong with an argument.
#[derive(Debug)]
pub(in crate::guest) struct Wrong {
    /// Where in the value, from within.
    path: Vec<String>,
    what: String,
}

impl Wrong {
    fn new(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into() }
    }

    fn within(mut self, part: impl Into<String>) -> Self {
        self.path.push(part.into());
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.path.iter().rev() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// Repeats a part of what was written, cut and on one line.
fn part(text: &str) -> String {
    let mut shown: String = harmless(text).chars().take(REPEATED_CHARS_MAX + 1).collect();
    if let Some((at, _)) = shown.char_indices().nth(REPEATED_CHARS_MAX) {
        shown.truncate(at);
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Says what was wanted in the place of what was written.
fn is_no(written: &str, ty: &Type, hint: &str) -> Wrong {
    let mut wanted = Cut::new(TYPE_BYTES_MAX);
    // What does not fit is marked as cut.
    fmt::Write::write_fmt(&mut wanted, format_args!("{}", Written(ty))).ok();
    Wrong::new(format!("{} is no {}{hint}", part(written), wanted.into_text()))
}

fn plain_nan32(number: f32) -> f32 {
    if number.is_nan() { f32::NAN } else { number }
}

fn plain_nan64(number: f64) -> f64 {
    if number.is_nan() { f64::NAN } else { number }
}
