//! Values as the component model writes them, in WAVE.

use std::collections::BTreeMap;
use std::mem::size_of;

use wasmtime::component::types::{Record, Variant};
use wasmtime::component::wasm_wave::ast::{Node, NodeType};
use wasmtime::component::wasm_wave::parser::{Parser, ParserError};
use wasmtime::component::wasm_wave::untyped::UntypedValue;
use wasmtime::component::{Type, Val};

use super::{Budget, Wrong, part, plain_nan32, plain_nan64};

/// Reads one value.
pub(in crate::guest) fn value(text: &str, ty: &Type, left: &mut Budget) -> Result<Val, Wrong> {
    let unread = |error: ParserError| unread(text, ty, &error);
    let parsed = parse(text).map_err(unread)?;
    Reader { text, left }.read(parsed.node(), ty)
}

/// Takes a text apart, whatever types it is meant for.
pub(super) fn parse(text: &str) -> Result<UntypedValue<'_>, ParserError> {
    let mut parser = Parser::new(text);
    let value = parser.parse_raw_value()?;
    parser.finish()?;
    Ok(value)
}

/// Says why a text is no value at all, in the library's words.
fn unread(text: &str, ty: &Type, error: &ParserError) -> Wrong {
    let rest = text.get(error.span().start..).unwrap_or_default();
    let place =
        if rest.is_empty() { "at its end".to_owned() } else { format!("at {}", part(rest)) };
    let kind = error.kind();
    let hint =
        if matches!(ty, Type::String) { "; a string is written in quotation marks" } else { "" };
    Wrong::new(format!("this is no WAVE: {kind} {place}{hint}"))
}

struct Reader<'a> {
    text: &'a str,
    left: &'a mut Budget,
}

impl Reader<'_> {
    /// How deep the recursion goes is bounded by the library: values nest a hundred times at most.
    fn read(&mut self, node: &Node, ty: &Type) -> Result<Val, Wrong> {
        self.left.pay(size_of::<Val>())?;
        let text = self.text;
        let wrong = |_: ParserError| self::wrong(text, node, ty);
        Ok(match ty {
            Type::Bool => Val::Bool(node.as_bool().map_err(wrong)?),
            Type::S8 => Val::S8(node.as_number(text).map_err(wrong)?),
            Type::U8 => Val::U8(node.as_number(text).map_err(wrong)?),
            Type::S16 => Val::S16(node.as_number(text).map_err(wrong)?),
            Type::U16 => Val::U16(node.as_number(text).map_err(wrong)?),
            Type::S32 => Val::S32(node.as_number(text).map_err(wrong)?),
            Type::U32 => Val::U32(node.as_number(text).map_err(wrong)?),
            Type::S64 => Val::S64(node.as_number(text).map_err(wrong)?),
            Type::U64 => Val::U64(node.as_number(text).map_err(wrong)?),
            // The sign of a text's `nan` is no matter of the machine's.
            Type::Float32 => Val::Float32(node.as_number(text).map_err(wrong).map(plain_nan32)?),
            Type::Float64 => Val::Float64(node.as_number(text).map_err(wrong).map(plain_nan64)?),
            Type::Char => Val::Char(node.as_char(text).map_err(wrong)?),
            Type::String => {
                let string = node.as_str(text).map_err(wrong)?;
                self.left.pay(string.len())?;
                Val::String(string.into_owned())
            }
            compound => self.compound(node, compound)?,
        })
    }

    /// A value that is made of others, or of names.
    fn compound(&mut self, node: &Node, ty: &Type) -> Result<Val, Wrong> {
        let text = self.text;
        let wrong = |_: ParserError| self::wrong(text, node, ty);
        Ok(match ty {
            Type::List(list) => {
                let (items, ty) = (node.as_list().map_err(wrong)?, list.ty());
                let item = |(at, node)| {
                    self.read(node, &ty).map_err(|wrong| wrong.within(format!("item {}", at + 1)))
                };
                Val::List(items.enumerate().map(item).collect::<Result<_, _>>()?)
            }
            Type::Tuple(tuple) => {
                let (items, types) = (node.as_tuple().map_err(wrong)?, tuple.types());
                if items.len() != types.len() {
                    return Err(self::wrong(text, node, ty));
                }
                let read = items.zip(types).enumerate().map(|(at, (node, ty))| {
                    self.read(node, &ty).map_err(|wrong| wrong.within(format!("item {}", at + 1)))
                });
                Val::Tuple(read.collect::<Result<_, _>>()?)
            }
            Type::Record(record) => {
                let fields = node.as_record(text).map_err(wrong)?.collect();
                self.record(fields, record)?
            }
            Type::Variant(variant) => {
                let (case, payload) = node.as_variant(text).map_err(wrong)?;
                self.case(case, payload, variant)?.ok_or_else(|| self::wrong(text, node, ty))?
            }
            Type::Enum(names) => {
                let name = node.as_enum(text).map_err(wrong)?;
                let known = self.left.search(names.names(), |known| *known == name)?;
                known.ok_or_else(|| self::wrong(text, node, ty))?;
                self.left.pay(name.len())?;
                Val::Enum(name.to_owned())
            }
            Type::Option(option) => Val::Option(self.option(node, &option.ty())?),
            Type::Result(result) => {
                let given = node.as_result().map_err(wrong)?;
                let side = if given.is_ok() { result.ok() } else { result.err() };
                let (Ok(payload) | Err(payload)) = given;
                let value = match (payload, side) {
                    (None, None) => None,
                    (Some(node), Some(ty)) => Some(Box::new(self.read(node, &ty)?)),
                    (Some(_), None) | (None, Some(_)) => return Err(self::wrong(text, node, ty)),
                };
                Val::Result(if given.is_ok() { Ok(value) } else { Err(value) })
            }
            Type::Flags(flags) => {
                let mut set = Vec::new();
                for name in node.as_flags(text).map_err(wrong)? {
                    let known = self.left.search(flags.names(), |known| *known == name)?;
                    known.ok_or_else(|| self::wrong(text, node, ty))?;
                    self.left.pay(size_of::<String>() + name.len())?;
                    set.push(name.to_owned());
                }
                Val::Flags(set)
            }
            // No function is called that takes what no text stands for.
            _ => return Err(self::wrong(text, node, ty)),
        })
    }

    fn record(&mut self, mut given: BTreeMap<&str, &Node>, record: &Record) -> Result<Val, Wrong> {
        let mut fields = Vec::new();
        for field in record.fields() {
            let name = field.name;
            self.left.pay(size_of::<(String, Val)>() + name.len())?;
            let value = match (given.remove(name), &field.ty) {
                (Some(node), ty) => {
                    self.read(node, ty).map_err(|wrong| wrong.within(format!("`{name}`")))?
                }
                (None, Type::Option(_)) => Val::Option(None),
                (None, _) => return Err(Wrong::new(format!("the field `{name}` is missing"))),
            };
            fields.push((name.to_owned(), value));
        }
        match given.pop_first() {
            None => Ok(Val::Record(fields)),
            Some((name, _)) => Err(Wrong::new(format!("there is no field {}", part(name)))),
        }
    }

    /// `None` when there is no such case, or it has something, or lacks it.
    fn case(
        &mut self,
        case: &str,
        payload: Option<&Node>,
        variant: &Variant,
    ) -> Result<Option<Val>, Wrong> {
        let Some(known) = self.left.search(variant.cases(), |known| known.name == case)? else {
            return Ok(None);
        };
        self.left.pay(case.len())?;
        let value = match (payload, known.ty) {
            (None, None) => None,
            (Some(node), Some(ty)) => {
                let value = self.read(node, &ty);
                Some(Box::new(value.map_err(|wrong| wrong.within(format!("`{case}`")))?))
            }
            (Some(_), None) | (None, Some(_)) => return Ok(None),
        };
        Ok(Some(Val::Variant(case.to_owned(), value)))
    }

    /// `some(…)` may be left out where nothing else could be meant.
    fn option(&mut self, node: &Node, ty: &Type) -> Result<Option<Box<Val>>, Wrong> {
        let within = match node.ty() {
            NodeType::OptionSome | NodeType::OptionNone => {
                node.as_option().map_err(|_| wrong(self.text, node, ty))?
            }
            _ if matches!(ty, Type::Option(_)) => return Err(wrong(self.text, node, ty)),
            _ => Some(node),
        };
        within.map(|node| self.read(node, ty).map(Box::new)).transpose()
    }
}

/// Says what was wanted in the place of what was written.
fn wrong(text: &str, node: &Node, ty: &Type) -> Wrong {
    let hint = match (ty, node.ty()) {
        (Type::String, NodeType::Label) => "; a string is written in quotation marks",
        _ => "",
    };
    super::is_no(text.get(node.span()).unwrap_or_default(), ty, hint)
}
