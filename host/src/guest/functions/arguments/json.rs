//! Values in JSON, for callers that speak HTTP. It has fewer kinds of values than components do, so the
//! types say which one is meant:
//!
//! | type | JSON |
//! |---|---|
//! | numbers | a number; `"nan"`, `"inf"` and `"-inf"` for floating ones |
//! | `bool`, `string`, `char` | `true`, `"text"`, `"t"` |
//! | `list`, `tuple` | an array |
//! | `record` | an object; fields that are options may be left out |
//! | `enum`, `flags` | `"name"`, an array of names |
//! | `variant` | `"name"`, or `{"name": value}` for a case that has a value |
//! | `option` | `null` or the value; `{"some": value}` for an option within an option |
//! | `result` | `{"ok": value}` or `{"err": value}`, with `null` for one without a value |
//!
//! A case that has a value is written as serde writes it, "externally tagged".

use std::mem::size_of;
use std::str::FromStr;

use serde_json::{Map, Number, Value as Json};
use wasmtime::component::types::{OptionType, Record, ResultType, Variant};
use wasmtime::component::wasm_wave::ast::{Node, NodeType};
use wasmtime::component::wasm_wave::parser::ParserError;
use wasmtime::component::{Type, Val};

use super::{Budget, Wrong, is_no, part, plain_nan32, plain_nan64, wave};

/// What a result and an option are called here.
const OK: &str = "ok";
const ERR: &str = "err";
const SOME: &str = "some";

/// All arguments of a call.
pub(super) enum Given {
    InOrder(Vec<Json>),
    ByName(Map<String, Json>),
}

/// Takes the text apart. How deep it nests is bounded by the library.
pub(super) fn parse(text: &str) -> Result<Given, String> {
    match serde_json::from_str(text) {
        Ok(Json::Array(values)) => Ok(Given::InOrder(values)),
        Ok(Json::Object(values)) => Ok(Given::ByName(values)),
        Ok(_) => {
            Err("the arguments must be a JSON array of them in order, or an object of them by \
                      their names"
                .to_owned())
        }
        Err(error) => Err(format!("the arguments are no JSON: {error}")),
    }
}

/// Reads one value.
pub(in crate::guest) fn value(json: &Json, ty: &Type, left: &mut Budget) -> Result<Val, Wrong> {
    left.pay(size_of::<Val>())?;
    let wrong = || is_no(&json.to_string(), ty, "");
    Ok(match ty {
        Type::Bool => Val::Bool(json.as_bool().ok_or_else(wrong)?),
        Type::S8 => Val::S8(number(json).ok_or_else(wrong)?),
        Type::U8 => Val::U8(number(json).ok_or_else(wrong)?),
        Type::S16 => Val::S16(number(json).ok_or_else(wrong)?),
        Type::U16 => Val::U16(number(json).ok_or_else(wrong)?),
        Type::S32 => Val::S32(number(json).ok_or_else(wrong)?),
        Type::U32 => Val::U32(number(json).ok_or_else(wrong)?),
        Type::S64 => Val::S64(number(json).ok_or_else(wrong)?),
        Type::U64 => Val::U64(number(json).ok_or_else(wrong)?),
        Type::Float32 => Val::Float32(plain_nan32(float(json).ok_or_else(wrong)?)),
        Type::Float64 => Val::Float64(plain_nan64(float(json).ok_or_else(wrong)?)),
        Type::Char => {
            let mut letters = json.as_str().ok_or_else(wrong)?.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Val::Char(letter),
                _ => return Err(wrong()),
            }
        }
        Type::String => {
            let string = json.as_str().ok_or_else(wrong)?;
            left.pay(string.len())?;
            Val::String(string.to_owned())
        }
        Type::List(list) => {
            let (items, ty) = (json.as_array().ok_or_else(wrong)?, list.ty());
            let item = |(at, json)| item(json, &ty, at, left);
            Val::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Type::Tuple(tuple) => {
            let (items, types) = (json.as_array().ok_or_else(wrong)?, tuple.types());
            if items.len() != types.len() {
                return Err(wrong());
            }
            let item = |(at, (json, ty))| item(json, &ty, at, left);
            Val::Tuple(items.iter().zip(types).enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Type::Record(ty) => record(json.as_object().ok_or_else(wrong)?, ty, left)?,
        Type::Variant(ty) => variant(json, ty, left)?.ok_or_else(wrong)?,
        Type::Enum(names) => {
            let name = json.as_str().ok_or_else(wrong)?;
            left.search(names.names(), |known| *known == name)?.ok_or_else(wrong)?;
            left.pay(name.len())?;
            Val::Enum(name.to_owned())
        }
        Type::Flags(flags) => {
            let mut set = Vec::new();
            for name in json.as_array().ok_or_else(wrong)? {
                let name = name.as_str().ok_or_else(wrong)?;
                left.search(flags.names(), |known| *known == name)?.ok_or_else(wrong)?;
                left.pay(size_of::<String>() + name.len())?;
                set.push(name.to_owned());
            }
            Val::Flags(set)
        }
        Type::Option(ty) => Val::Option(option(json, ty, left)?.map_err(|NoneOfIt| wrong())?),
        Type::Result(ty) => Val::Result(result(json, ty, left)?.ok_or_else(wrong)?),
        // No function is called that takes what no text stands for.
        _ => return Err(wrong()),
    })
}

fn item(json: &Json, ty: &Type, at: usize, left: &mut Budget) -> Result<Val, Wrong> {
    value(json, ty, left).map_err(|wrong| wrong.within(format!("item {}", at + 1)))
}

/// A whole number that the type can hold.
fn number<T: TryFrom<i128>>(json: &Json) -> Option<T> {
    let number = json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from))?;
    T::try_from(number).ok()
}

/// A number, or a word for what JSON has no number for.
fn float<T: FromStr>(json: &Json) -> Option<T> {
    match json {
        Json::Number(number) => number.to_string().parse().ok(),
        Json::String(word) if NO_NUMBERS.contains(&word.as_str()) => word.parse().ok(),
        _ => None,
    }
}

const NO_NUMBERS: [&str; 3] = ["nan", "inf", "-inf"];

fn record(given: &Map<String, Json>, record: &Record, left: &mut Budget) -> Result<Val, Wrong> {
    let mut fields = Vec::new();
    let mut known = 0;
    for field in record.fields() {
        let name = field.name;
        left.pay(size_of::<(String, Val)>() + name.len())?;
        let value = match (given.get(name), &field.ty) {
            (Some(json), ty) => {
                known += 1;
                value(json, ty, left).map_err(|wrong| wrong.within(format!("`{name}`")))?
            }
            (None, Type::Option(_)) => Val::Option(None),
            (None, _) => return Err(Wrong::new(format!("the field `{name}` is missing"))),
        };
        fields.push((name.to_owned(), value));
    }
    if known == given.len() {
        return Ok(Val::Record(fields));
    }
    // Looked for only where it is sure that there is one.
    let unknown = given.keys().find(|name| !record.fields().any(|field| field.name == **name));
    Err(Wrong::new(format!("there is no field {}", part(unknown.map_or("", |name| name)))))
}

/// `None` when there is no such case, or it has something, or lacks it.
fn variant(json: &Json, variant: &Variant, left: &mut Budget) -> Result<Option<Val>, Wrong> {
    let (name, payload) = match json {
        Json::String(name) => (name, None),
        Json::Object(only) => match only.iter().next() {
            Some((name, payload)) if only.len() == 1 => (name, Some(payload)),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let Some(known) = left.search(variant.cases(), |known| known.name == name)? else {
        return Ok(None);
    };
    left.pay(name.len())?;
    let value = match (payload, known.ty) {
        (None, None) => None,
        (Some(json), Some(ty)) => {
            let value = value(json, &ty, left);
            Some(Box::new(value.map_err(|wrong| wrong.within(format!("`{name}`")))?))
        }
        (Some(_), None) | (None, Some(_)) => return Ok(None),
    };
    Ok(Some(Val::Variant(name.clone(), value)))
}

/// What was written is neither `null` nor what an option has.
struct NoneOfIt;

fn option(
    json: &Json,
    option: &OptionType,
    left: &mut Budget,
) -> Result<Result<Option<Box<Val>>, NoneOfIt>, Wrong> {
    let within = match (json, option.ty()) {
        (Json::Null, _) => return Ok(Ok(None)),
        // Else `null` would be two things.
        (Json::Object(only), ty @ Type::Option(_)) if only.len() == 1 => {
            let Some(json) = only.get(SOME) else { return Ok(Err(NoneOfIt)) };
            value(json, &ty, left)?
        }
        (_, Type::Option(_)) => return Ok(Err(NoneOfIt)),
        (json, ty) => value(json, &ty, left)?,
    };
    Ok(Ok(Some(Box::new(within))))
}

type Sides = Result<Option<Box<Val>>, Option<Box<Val>>>;

fn result(json: &Json, result: &ResultType, left: &mut Budget) -> Result<Option<Sides>, Wrong> {
    let Json::Object(only) = json else { return Ok(None) };
    let (side, json, ty) = match (only.len(), only.get(OK), only.get(ERR)) {
        (1, Some(json), None) => (OK, json, result.ok()),
        (1, None, Some(json)) => (ERR, json, result.err()),
        _ => return Ok(None),
    };
    let value = match (json, ty) {
        (Json::Null, None) => None,
        (_, None) => return Ok(None),
        (json, Some(ty)) => {
            let value = value(json, &ty, left);
            Some(Box::new(value.map_err(|wrong| wrong.within(format!("`{side}`")))?))
        }
    };
    Ok(Some(if side == OK { Ok(value) } else { Err(value) }))
}

/// Writes what is there in WAVE, as a guest's answer is, in JSON: the other way round.
///
/// # Errors
///
/// When the text is not WAVE.
pub(in crate::guest) fn of_wave(text: &str) -> Result<Json, ParserError> {
    let value = wave::parse(text)?;
    of_node(value.node(), text)
}

/// How deep the recursion goes is bounded by the library: values nest a hundred times at most.
fn of_node(node: &Node, text: &str) -> Result<Json, ParserError> {
    let of = |node: &Node| of_node(node, text);
    let payload = |node: Option<&Node>| node.map_or(Ok(Json::Null), of);
    let one = |name: &str, value| Json::Object(Map::from_iter([(name.to_owned(), value)]));
    Ok(match node.ty() {
        NodeType::BoolTrue => Json::Bool(true),
        NodeType::BoolFalse => Json::Bool(false),
        NodeType::Number => number_of(text.get(node.span()).unwrap_or_default()),
        NodeType::Char => Json::String(node.as_char(text)?.to_string()),
        NodeType::String | NodeType::MultilineString => {
            Json::String(node.as_str(text)?.into_owned())
        }
        NodeType::Tuple => Json::Array(node.as_tuple()?.map(of).collect::<Result<_, _>>()?),
        NodeType::List => Json::Array(node.as_list()?.map(of).collect::<Result<_, _>>()?),
        NodeType::Record => {
            let fields = node.as_record(text)?;
            let field = |(name, node): (&str, &Node)| Ok((name.to_owned(), of(node)?));
            Json::Object(fields.map(field).collect::<Result<_, ParserError>>()?)
        }
        NodeType::Label => Json::String(node.as_enum(text)?.to_owned()),
        NodeType::VariantWithPayload => {
            let (name, value) = node.as_variant(text)?;
            one(name, payload(value)?)
        }
        NodeType::OptionNone => Json::Null,
        NodeType::OptionSome => match node.as_option()? {
            Some(inner) if matches!(inner.ty(), NodeType::OptionNone | NodeType::OptionSome) => {
                one(SOME, of(inner)?)
            }
            inner => payload(inner)?,
        },
        NodeType::ResultOk | NodeType::ResultErr => match node.as_result()? {
            Ok(value) => one(OK, payload(value)?),
            Err(value) => one(ERR, payload(value)?),
        },
        NodeType::Flags => {
            let names = node.as_flags(text)?;
            Json::Array(names.map(|name| Json::String(name.to_owned())).collect())
        }
    })
}

fn number_of(text: &str) -> Json {
    // The whole number 0 has no sign.
    let whole = text.parse::<i64>().ok().filter(|number| *number != 0 || text == "0");
    let whole = whole.map(Number::from).or_else(|| text.parse::<u64>().ok().map(Number::from));
    let number = whole.or_else(|| Number::from_f64(text.parse().ok()?));
    number.map_or_else(|| Json::String(text.to_owned()), Json::Number)
}
