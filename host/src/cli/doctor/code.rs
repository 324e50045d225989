//! The engine and the guest: compiled and run here, as a node would, and what an instance takes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{Finding, quoted};
use crate::cli::config::read_guest;
use crate::cli::render::sentence;
use crate::clock;
use crate::guest::{Allowance, Code, Engine, Instance, built_in};

/// Instances whose traces are counted: enough that what happens to be mapped meanwhile does not count.
const INSTANCES: u64 = 16;

/// What one instance takes of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Mappings, as the kernel counts them.
    pub(super) mappings: u64,
    /// Addresses that it reserves, in bytes, whether it uses them or not.
    pub(super) address_bytes: u64,
}

/// Returns also what an instance takes, where that is known.
pub(super) fn look(path: Option<&Path>, allowance: &Allowance) -> (Finding, Option<Footprint>) {
    let named = path.map_or("the built-in guest".to_owned(), |path| path.display().to_string());
    let refused = |reason: String| {
        let advice = match path {
            Some(path) => format!(
                "name another component with --guest, or build this one again; host new my-player \
                 writes one that works, and host dev --guest {} tries yours",
                quoted(path)
            ),
            None => {
                "run the node on another machine, with a processor that wasmtime supports".into()
            }
        };
        (Finding::problem("guest", reason, advice), None)
    };
    let bytes = match path.map(read_guest).transpose() {
        Ok(bytes) => bytes,
        Err(error) => return refused(sentence(&error)),
    };
    let engine = match Engine::new(allowance) {
        Ok(engine) => engine,
        Err(error) => return refused(sentence(&error)),
    };
    let begun = clock::now();
    let code = match Code::load(&engine, bytes.as_deref().unwrap_or(built_in())) {
        Ok(code) => code,
        Err(error) => return refused(format!("{named} is refused: {}", sentence(&error))),
    };
    let took = begun.elapsed().as_millis();
    match footprint(&code) {
        Ok(footprint) => {
            let text =
                format!("{named}, code {}, is compiled and started in {took} ms", code.hash());
            (Finding::ok("guest", text), footprint)
        }
        Err(reason) => refused(format!("{named} makes no instance: {reason}")),
    }
}

fn footprint(code: &Arc<Code>) -> Result<Option<Footprint>, String> {
    let some = || -> Result<Vec<Instance>, String> {
        let one = |_| code.instantiate(&code.initial()).map_err(|error| sentence(&error));
        (0..INSTANCES).map(one).collect()
    };
    // The first ones take what loading has left, and so nothing new.
    let first = some()?;
    let before = own_mappings();
    let counted = some()?;
    let after = own_mappings();
    drop((first, counted));
    Ok(before.zip(after).map(|(before, after)| {
        let each = |before: u64, after: u64| after.saturating_sub(before).div_ceil(INSTANCES);
        Footprint {
            mappings: each(before.mappings, after.mappings),
            address_bytes: each(before.address_bytes, after.address_bytes),
        }
    }))
}

/// Returns what this process has; `None` where the system does not say.
fn own_mappings() -> Option<Footprint> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').next()?.parse().ok()?;
    let mappings = maps.lines().count() as u64;
    Some(Footprint { mappings, address_bytes: pages * rustix::param::page_size() as u64 })
}
