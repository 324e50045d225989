//! What functions a code has, as a person or a program reads it.

use serde::Serialize;

use super::json::line;
use super::{Exit, Format, Rendered, harmless};
use crate::protocol::{Description, FunctionShape};

/// Renders the functions of a code.
pub(in crate::cli) fn described(format: Format, description: &Description) -> Rendered {
    let text = match format {
        Format::Json => json(description),
        Format::Text => text(description),
    };
    Rendered { text, exit: Exit::Done }
}

/// The form of WIT: comments stand before what they speak of.
fn text(description: &Description) -> String {
    let Description { code, functions, left_out } = description;
    let mut text = format!("code {code}");
    for FunctionShape { name, shape, docs, refused } in functions {
        text.push('\n');
        for line in docs.iter().flat_map(|docs| docs.trim().lines()) {
            text.push('\n');
            text += format!("/// {}", harmless(line)).trim_end();
        }
        if let Some(refused) = refused {
            text += &format!("\n// cannot be called: {}", harmless(refused));
        }
        text += &format!("\n{}: {}", harmless(name), harmless(shape));
    }
    if *left_out > 0 {
        text += &format!("\n\nand {left_out} more");
    }
    text
}

fn json(description: &Description) -> String {
    #[derive(Serialize)]
    struct Described<'a> {
        code: String,
        functions: Vec<Function<'a>>,
        left_out: u64,
    }
    #[derive(Serialize)]
    struct Function<'a> {
        name: &'a str,
        r#type: &'a str,
        docs: Option<&'a str>,
        /// Why it cannot be called; `null` when it can.
        refused: Option<&'a str>,
    }
    let functions = description.functions.iter().map(|function| Function {
        name: &function.name,
        r#type: &function.shape,
        docs: function.docs.as_deref(),
        refused: function.refused.as_deref(),
    });
    let (code, left_out) = (description.code.to_string(), description.left_out);
    line(&Described { code, functions: functions.collect(), left_out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CodeHash;

    fn description() -> Description {
        let shape = |name: &str, shape: &str| FunctionShape {
            name: name.to_owned(),
            shape: shape.to_owned(),
            docs: None,
            refused: None,
        };
        let add = FunctionShape {
            docs: Some("Adds one.\n\nAnd\u{1b}[2J no other.".to_owned()),
            ..shape("add", "func(n: u32)")
        };
        let open = FunctionShape {
            refused: Some("its type has a resource".to_owned()),
            ..shape("a:b/c#open", "func() -> resource")
        };
        Description { code: CodeHash([0xcc; 32]), functions: vec![add, open], left_out: 2 }
    }

    #[test]
    fn functions_are_printed_as_in_wit_with_what_is_said_of_them() {
        let Rendered { text, exit } = described(Format::Text, &description());
        assert_eq!(exit, Exit::Done);
        let (code, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(code, format!("code {}", CodeHash([0xcc; 32])));
        assert!(!rest.contains('\u{1b}'), "{rest}");
        let (head, more) = rest.split_once("And").unwrap();
        assert_eq!(head, "/// Adds one.\n///\n/// ");
        let tail = "no other.\nadd: func(n: u32)\n\n// cannot be called: its type has a \
                    resource\na:b/c#open: func() -> resource\n\nand 2 more";
        assert!(more.ends_with(tail), "{more}");
    }

    #[test]
    fn a_program_reads_the_same() {
        let text = described(Format::Json, &description()).text;
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["code"], CodeHash([0xcc; 32]).to_string());
        assert_eq!(json["functions"][0]["type"], "func(n: u32)");
        assert_eq!(json["functions"][0]["refused"], serde_json::Value::Null);
        assert_eq!(json["functions"][1]["refused"], "its type has a resource");
        assert_eq!(json["left_out"], 2);
    }
}
