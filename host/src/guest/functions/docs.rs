//! What a code's author says of its functions, where the code carries it.
//!
//! WIT tools put the comments of a package into a custom section, `package-docs`: a version and JSON.
//! Of that, the comments of functions are read, and nothing depends on them: a section that cannot be
//! read is as good as none.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use wasmparser::{Parser, Payload};

use super::OF;
use crate::limits::DESCRIPTION_BYTES_MAX;

const SECTION: &str = "package-docs";

/// The versions of the section that are read: they have the same comments at the same places.
const VERSIONS: [u8; 2] = [0, 1];

/// What the contract says of its own functions.
const CONTRACT: &str = include_str!("../../../../wit/player.wit");

/// How much of such sections is read of one code, in bytes: several times what is told of it.
const SECTION_BYTES_MAX: usize = 4 * DESCRIPTION_BYTES_MAX;

/// Names of a world's or an interface's parts: what it exports is in one of them.
const FUNCTIONS: [&str; 2] = ["func_exports", "funcs"];
const INTERFACES: [&str; 2] = ["interface_exports", "interfaces"];

/// Comments by the names of functions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Docs {
    /// Of functions at the root.
    roots: HashMap<String, String>,
    /// Of functions in interfaces, by the interface's own name and the function's.
    interfaces: HashMap<(String, String), String>,
}

impl Docs {
    /// Returns what is said of a function, by its name in full.
    pub(super) fn get(&self, name: &str) -> Option<&String> {
        match name.rsplit_once(OF) {
            None => self.roots.get(name),
            Some((interface, function)) => {
                let own = interface.rsplit_once('/').map_or(interface, |(_, own)| own);
                let own = own.split_once('@').map_or(own, |(own, _)| own);
                self.interfaces.get(&(own.to_owned(), function.to_owned()))
            }
        }
    }

    fn read(&mut self, package: &Json) {
        let worlds = package.get("worlds").and_then(Json::as_object);
        for world in worlds.into_iter().flat_map(Map::values) {
            for (function, docs) in functions(world) {
                self.roots.entry(function).or_insert(docs);
            }
            INTERFACES.iter().for_each(|part| self.read_interfaces(world.get(*part)));
        }
        self.read_interfaces(package.get("interfaces"));
    }

    fn read_interfaces(&mut self, interfaces: Option<&Json>) {
        for (name, interface) in interfaces.and_then(Json::as_object).into_iter().flatten() {
            for (function, docs) in functions(interface) {
                self.interfaces.entry((name.clone(), function)).or_insert(docs);
            }
        }
    }
}

/// The comments of a world's or an interface's functions.
fn functions(of: &Json) -> impl Iterator<Item = (String, String)> {
    let parts = FUNCTIONS.iter().filter_map(|part| of.get(*part)?.as_object());
    parts.flatten().filter_map(|(name, function)| {
        // A comment that stands alone, or with what else is known of the function.
        let docs = function.as_str().or_else(|| function.get("docs")?.as_str())?;
        Some((name.clone(), docs.to_owned()))
    })
}

/// Returns what the contract says of a function that it asks for.
pub(super) fn of_contract(name: &str) -> Option<String> {
    let export = format!("export {name}: func(");
    let lines: Vec<&str> = CONTRACT.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&export))?;
    let above = lines[..at].iter().rev().map_while(|line| line.strip_prefix("///"));
    let mut docs: Vec<&str> = above.map(str::trim).collect();
    docs.reverse();
    Some(docs.join("\n"))
}

/// Returns what a code says of its functions.
pub(super) fn of(code: &[u8]) -> Docs {
    let mut docs = Docs::default();
    let (mut depth, mut left) = (0, SECTION_BYTES_MAX);
    for payload in Parser::new(0).parse_all(code) {
        match payload {
            Ok(Payload::Version { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth -= 1,
            // What is nested in a component speaks of itself.
            Ok(Payload::CustomSection(section)) if depth == 1 && section.name() == SECTION => {
                let Some(after) = left.checked_sub(section.data().len()) else { break };
                left = after;
                if let Some(package) = read(section.data()) {
                    docs.read(&package);
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    docs
}

fn read(section: &[u8]) -> Option<Json> {
    let (version, json) = section.split_first()?;
    if VERSIONS.contains(version) { serde_json::from_slice(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::bindings::{POINTS, REWARD};

    #[test]
    fn the_contract_speaks_of_its_own_functions() {
        assert_eq!(of_contract(POINTS).as_deref(), Some("Returns the total."));
        let reward = of_contract(REWARD).unwrap();
        assert!(reward.starts_with("Adds points, which may be negative"), "{reward}");
        assert!(reward.contains("total.\n\nTraps, and"), "{reward}");
        assert_eq!(of_contract("log"), None);
    }
}
