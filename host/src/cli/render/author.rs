//! What is said to who writes a guest.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::json::line;
use super::{Exit, Format, Rendered};
use crate::protocol::harmless;

/// Renders that a new guest was written, and what to do next.
pub(in crate::cli) fn guest_written(
    format: Format,
    folder: &Path,
    language: &str,
    rules: &str,
    files: &[&str],
) -> Rendered {
    let folder = harmless(&folder.display().to_string());
    let text = match format {
        Format::Text => format!(
            "{folder} has a player in {language}: {}\n\
             \x20 host dev --guest {folder} --watch   runs it, and takes over each change you save\n\
             \x20 {folder}/{rules} has its rules; {folder}/README.md says more",
            files.join(", "),
        ),
        Format::Json => {
            #[derive(Serialize)]
            struct Written<'a> {
                folder: &'a str,
                language: &'a str,
                rules: &'a str,
                files: &'a [&'a str],
            }
            line(&Written { folder: &folder, language, rules, files })
        }
    };
    Rendered { text, exit: Exit::Done }
}

/// Returns the line that says what was built; `name` is for people.
pub(in crate::cli) fn built(format: Format, name: &str, time: Duration) -> String {
    match format {
        Format::Text => format!("built {name} in {:.1} s", time.as_secs_f64()),
        Format::Json => {
            #[derive(Serialize)]
            struct Built<'a> {
                built: &'a str,
                milliseconds: u64,
            }
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            line(&Built { built: name, milliseconds })
        }
    }
}
