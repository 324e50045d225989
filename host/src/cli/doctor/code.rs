//! The engine and the guest: compiled and run here, as a node would, and what an instance takes.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use super::{Finding, in_mib, quoted};
use crate::cli::config::read_guest;
use crate::cli::render::sentence;
use crate::clock;
use crate::guest::{Allowance, Code, Engine, Instance, LoadError, RestoreError, built_in};

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

/// Why there is no instance.
enum Failure {
    /// The engine, the file or what is in it.
    Refused(String),
    /// What could be made at another time, or with higher limits.
    Starved(String),
}

/// Returns also what an instance takes, where that is known.
pub(super) fn look(path: Option<&Path>, allowance: &Allowance) -> (Finding, Option<Footprint>) {
    let limit = getrlimit(Resource::As).current;
    match attempt(path, allowance, limit.is_some()) {
        Ok((text, footprint)) => (Finding::ok("guest", text), footprint),
        Err(failure) => (failed(path, failure, limit), None),
    }
}

fn attempt(
    path: Option<&Path>,
    allowance: &Allowance,
    is_limited: bool,
) -> Result<(String, Option<Footprint>), Failure> {
    let refused = |reason: &dyn Error| Failure::Refused(sentence(reason));
    let named = path.map_or("the built-in guest".to_owned(), |path| path.display().to_string());
    let bytes = path.map(read_guest).transpose().map_err(|error| refused(&error))?;
    let engine = Engine::new(allowance).map_err(|error| refused(&error))?;
    let begun = clock::now();
    let code = Code::load(&engine, bytes.as_deref().unwrap_or(built_in()));
    let code = code.map_err(|error| {
        let reason = format!("{named} is refused: {}", sentence(&error));
        match error {
            // What it lacked for its start may be what the limit withholds.
            LoadError::Start(_) if is_limited => Failure::Starved(reason),
            _ => Failure::Refused(reason),
        }
    })?;
    let took = begun.elapsed().as_millis();
    let footprint = footprint(&code).map_err(|error| {
        let reason = format!("{named} makes no instance: {}", sentence(&error));
        match error {
            RestoreError::System(_) => Failure::Starved(reason),
            _ => Failure::Refused(reason),
        }
    })?;
    let text = format!("{named}, code {}, is compiled and started in {took} ms", code.hash());
    Ok((text, footprint))
}

/// Says what helps. Where there is a limit on addresses, it is what is usually behind a want.
fn failed(path: Option<&Path>, failure: Failure, limit: Option<u64>) -> Finding {
    let (reason, is_starved) = match failure {
        Failure::Refused(reason) => (reason, false),
        Failure::Starved(reason) => (reason, true),
    };
    let advice = match (limit, path) {
        (Some(limit), _) if is_starved => format!(
            "lift the limit of {} on addresses, of which each instance reserves much: ulimit -v \
             unlimited",
            in_mib(limit)
        ),
        (None, _) if is_starved => {
            "stop what takes this machine's memory, or add some: free -h".into()
        }
        (_, Some(path)) => format!(
            "name another component with --guest, or build this one again; host new my-player writes \
             one that works, and host dev --guest {} tries yours",
            quoted(path)
        ),
        (_, None) => "run the node on a machine with a processor that wasmtime supports".into(),
    };
    Finding::problem("guest", reason, advice)
}

fn footprint(code: &Arc<Code>) -> Result<Option<Footprint>, RestoreError> {
    let some = || -> Result<Vec<Instance>, RestoreError> {
        (0..INSTANCES).map(|_| code.instantiate(&code.initial())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_depends_on_what_is_missing() {
        let advice = |path: Option<&str>, failure, limit| {
            failed(path.map(Path::new), failure, limit).advice.unwrap()
        };
        let refused = || Failure::Refused("no".to_owned());
        let starved = || Failure::Starved("no".to_owned());
        assert!(advice(None, starved(), Some(1 << 30)).ends_with("ulimit -v unlimited"));
        assert!(advice(None, starved(), Some(1 << 30)).contains("the limit of 1024 MiB"));
        assert!(advice(Some("p.wasm"), starved(), None).ends_with("free -h"));
        assert!(advice(Some("p.wasm"), refused(), None).contains("host dev --guest p.wasm"));
        assert!(advice(None, refused(), Some(1)).contains("that wasmtime supports"));
    }
}
