//! House rules that no compiler checks.

mod source;

use std::collections::BTreeSet;
use std::fs;

use source::{Source, root};

/// The rooms of `host/src`, top to bottom. Each imports only rooms below it.
const ROOMS: [&str; 16] = [
    "hostile",
    "cli",
    "node",
    "http",
    "gateway",
    "player",
    "keeper",
    "directory",
    "membership",
    "net",
    "storage",
    "guest",
    "memory",
    "chronicle",
    "protocol",
    "snapshot",
];

/// What any room may use; they use no room.
const FLOOR: [&str; 2] = ["limits", "clock"];

/// Hard limit of a file; most have less than half of it.
const FILE_LINES_MAX: usize = 600;

/// Returns the room that a file of the host belongs to.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("host/src/")?;
    let room = inside.split('/').next()?;
    Some(room.strip_suffix(".rs").unwrap_or(room))
}

/// Position of a room from the top; what any room may use is below all of them.
fn height(room: &str) -> Option<usize> {
    let floor = FLOOR.contains(&room).then_some(ROOMS.len());
    ROOMS.iter().position(|name| *name == room).or(floor)
}

/// Returns what a file names behind `crate::`, also in groups.
fn crate_names(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        // The `crate` of `$crate::` and of a path such as `my_crate::`.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let after = &code[at + found.len()..];
        let mut start_of_name = true;
        let mut depth = 0;
        let group = after.starts_with('{');
        let mut rest = after;
        while let Some(c) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if word > 0 {
                if start_of_name && depth == usize::from(group) {
                    names.insert(rest[..word].to_owned());
                }
                start_of_name = false;
                rest = &rest[word..];
            } else {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                start_of_name |= c == ',' || c == '{';
                rest = &rest[c.len_utf8()..];
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn names_are_found_in_paths_and_groups() {
    let code = "use crate::a::{x, y}; use crate::{b, c::{d, e::f}, g}; crate::h(); other_crate::i";
    let found: Vec<_> = crate_names(code).into_iter().collect();
    assert_eq!(found, ["a", "b", "c", "g", "h"]);
}

#[test]
fn each_room_imports_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for source in Source::all() {
        let Some(room) = room_of(&source.path) else { continue };
        if ["lib", "main"].contains(&room) {
            continue;
        }
        let Some(own) = height(room) else {
            wrong.push(format!("{} is in no room", source.path));
            continue;
        };
        for name in crate_names(&source.code()) {
            match height(&name) {
                Some(other) if other > own || name == room => {}
                Some(_) => wrong.push(format!("{} imports {name}, which is above", source.path)),
                None => wrong.push(format!("{} imports {name}, which is no room", source.path)),
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn each_room_says_what_it_is() {
    let sources = Source::all();
    for room in ROOMS.into_iter().chain(FLOOR) {
        let path = format!("host/src/{room}.rs");
        // A room that is not built yet has nothing to say.
        if !sources.iter().any(|source| room_of(&source.path) == Some(room)) {
            continue;
        }
        let source = sources.iter().find(|source| source.path == path);
        let text = source.map_or("", |source| &source.text);
        assert!(text.starts_with("//! "), "{path} has no module doc");
    }
}

#[test]
fn no_file_is_too_long_for_one_sitting() {
    let lines = |source: &Source| source.text.lines().count();
    let long: Vec<_> = Source::all()
        .iter()
        .filter(|source| lines(source) > FILE_LINES_MAX)
        .map(|source| format!("{}: {} lines", source.path, lines(source)))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn unsafe_is_on_one_floor() {
    let wrong: Vec<_> = Source::all()
        .into_iter()
        .filter(|source| room_of(&source.path) != Some("memory"))
        .filter(|source| {
            let code = source.code();
            code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
        })
        .map(|source| source.path)
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_is_left_for_later() {
    let banned = ["todo!", "unimplemented!", "dbg!", "#[ignore", "allow(dead_code"];
    let mut wrong = Vec::new();
    for source in Source::all() {
        let code = source.code();
        let found = banned.iter().filter(|word| code.contains(**word));
        wrong.extend(found.map(|word| format!("{}: {word}", source.path)));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_file_is_named_after_nothing() {
    for source in Source::all() {
        for name in ["utils", "util", "common", "helper", "helpers", "manager", "misc", "mod"] {
            let file = format!("/{name}.rs");
            assert!(!source.path.ends_with(&file), "{}", source.path);
        }
    }
}

/// Returns the names in backticks after each `test:` of a text.
fn named_tests(text: &str) -> Vec<String> {
    let after = text.lines().filter_map(|line| line.split_once("test:").map(|(_, names)| names));
    let quoted = after.flat_map(|names| names.split('`').skip(1).step_by(2));
    quoted.map(|name| name.rsplit("::").next().unwrap_or(name).to_owned()).collect()
}

#[test]
fn each_invariant_names_a_test_that_exists() {
    let codes: Vec<_> = Source::all().iter().map(Source::code).collect();
    for file in ["ARCHITECTURE.md", "docs/security.md"] {
        let text = fs::read_to_string(root().join(file)).expect("read a document");
        let named = named_tests(&text);
        assert!(named.len() > 10, "{file} names no tests");
        let missing: Vec<_> = named
            .into_iter()
            .filter(|name| {
                let function = format!("fn {name}(");
                !codes.iter().any(|code| code.contains(&function))
            })
            .collect();
        assert_eq!(missing, Vec::<String>::new(), "tests that {file} names");
    }
}

/// Returns what of a file is not for tests.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]").next().unwrap_or(code)
}

#[test]
fn each_file_with_unsafe_is_in_the_threat_model() {
    let text = fs::read_to_string(root().join("docs/security.md")).expect("read the threat model");
    let (_, listed) = text.split_once("## Unsafe code").expect("it has a section on unsafe code");
    let has_unsafe = |source: &Source| {
        let code = source.code();
        let mut words = without_tests(&code).split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| word == "unsafe")
    };
    let mut count = 0;
    for source in Source::all().iter().filter(|source| has_unsafe(source)) {
        let file = source.path.strip_prefix("host/src/").unwrap_or(&source.path);
        assert!(listed.contains(&format!("| `{file}` |")), "{file} is not listed");
        count += 1;
    }
    let rows = listed.lines().filter(|line| line.starts_with("| `memory/")).count();
    assert_eq!(rows, count, "files that are listed, and those that there are");
}

#[test]
fn names_of_tests_are_found_in_prose() {
    let text = "- It holds. — test: `a::b`, `c`\n- `not_this`\n- More. test: `d`.";
    assert_eq!(named_tests(text), ["b", "c", "d"]);
}
