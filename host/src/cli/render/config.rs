//! What a node would use, and where that comes from.

use std::path::Path;

use serde::Serialize;

use super::json::line;
use super::table::{Align, Table};
use super::{Exit, Format, Rendered};
use crate::cli::args::{Origin, Source};
use crate::protocol::harmless;

/// Renders that a node can be started with a configuration file.
pub(in crate::cli) fn config_checked(format: Format, path: &Path, origins: &[Origin]) -> Rendered {
    let path = path.display().to_string();
    let text = match format {
        Format::Text => text(&harmless(&path), origins),
        Format::Json => json(&path, origins),
    };
    Rendered { text, exit: Exit::Done }
}

fn text(path: &str, origins: &[Origin]) -> String {
    let columns = [("flag", Align::Left), ("value", Align::Left), ("from", Align::Left)];
    let mut table = Table::new(&columns);
    for Origin { key, values, source, .. } in origins {
        let value = if values.is_empty() { "-".to_owned() } else { values.join(", ") };
        let from = match source {
            Source::Flag => "flag".to_owned(),
            Source::Environment => "environment".to_owned(),
            Source::File { line } => format!("file, line {line}"),
            Source::Default => "default".to_owned(),
        };
        table.row([key.clone(), harmless(&value), from]);
    }
    format!("{path}: all is well; a node would use\n{table}")
}

fn json(path: &str, origins: &[Origin]) -> String {
    #[derive(Serialize)]
    struct Checked<'a> {
        config: &'a str,
        values: Vec<One<'a>>,
    }
    #[derive(Serialize)]
    struct One<'a> {
        flag: &'a str,
        /// A list for a flag that may be repeated; `null` for what a node goes without.
        value: Option<Value<'a>>,
        from: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Value<'a> {
        One(&'a str),
        Many(&'a [String]),
    }
    let values = origins.iter().map(|Origin { key, values, is_list, source }| {
        let value = match values.first() {
            _ if *is_list => Some(Value::Many(values)),
            first => first.map(|value| Value::One(value)),
        };
        let (from, line) = match source {
            Source::Flag => ("flag", None),
            Source::Environment => ("environment", None),
            Source::File { line } => ("file", Some(*line)),
            Source::Default => ("default", None),
        };
        One { flag: key, value, from, line }
    });
    line(&Checked { config: path, values: values.collect() })
}
