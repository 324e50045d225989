//! Whether the process may have as much as its flags let it take.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::code::Footprint;
use super::{Finding, in_mib};
use crate::cli::config::NodePlan;
use crate::guest::available_bytes;
use crate::limits::NODES_MAX;
use crate::storage::OPEN_FILES_MAX;

/// Files that a node has open besides its tables': the ends of the pulses, and with them all that is
/// there once, as its sockets, its journals and the images of codes.
const OTHER_FILES: u64 = 2 * NODES_MAX as u64 + 128;
/// Fewer open files than this, and a node may not even start: 25 are open in one that is alone and new,
/// and each table of its databases takes one more.
const LEAST_FILES: u64 = 128;
/// Mappings that a node has besides those of its instances: threads, libraries, the store's memory.
const OTHER_MAPPINGS: u64 = 2_000;
/// What an instance takes of mappings where nobody can count them: two, and one more when its memory
/// has grown.
const USUAL_MAPPINGS: u64 = 2;

pub(super) fn look(plan: &NodePlan, footprint: Option<Footprint>) -> Vec<Finding> {
    let instances = plan.instances_max as u64;
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut findings = vec![open_files(getrlimit(Resource::Nofile).current)];
    if let Some(most) = number("/proc/sys/vm/max_map_count") {
        let each = footprint.map_or(USUAL_MAPPINGS, |footprint| footprint.mappings);
        findings.push(mappings(most, instances, each));
    }
    if let (Some(footprint), Some(most)) = (footprint, addresses()) {
        findings.push(address_space(most, instances, footprint.address_bytes));
    }
    if let Some(mode) = number("/proc/sys/vm/overcommit_memory") {
        findings.extend(overcommit(mode));
    }
    let allowance = &plan.allowance;
    let (process, instance) = (allowance.process_bytes, allowance.instance_bytes as u64);
    findings.push(memory(process, instance, available_bytes()));
    findings
}

fn open_files(most: Option<u64>) -> Finding {
    let wished = OPEN_FILES_MAX + OTHER_FILES;
    let advice = format!("run: ulimit -n {wished} (LimitNOFILE={wished} in a unit of systemd)");
    match most {
        Some(most) if most < LEAST_FILES => {
            let text = format!("only {most} may be open, too few to start");
            Finding::problem("open files", text, advice)
        }
        Some(most) if most < wished => {
            let text = format!(
                "{most} may be open; a node with very many copies can come to {wished}, and would fail \
                 then"
            );
            Finding::note("open files", text, advice)
        }
        Some(most) => Finding::ok("open files", format!("{most} may be open")),
        None => Finding::ok("open files", "there is no limit"),
    }
}

fn mappings(most: u64, instances: u64, each: u64) -> Finding {
    // A memory that has grown takes one more.
    let needed = instances.saturating_mul(each + 1).saturating_add(OTHER_MAPPINGS);
    if needed <= most {
        let text = format!("{most} are allowed, and {instances} instances take up to {needed}");
        return Finding::ok("mappings", text);
    }
    let fits = most.saturating_sub(OTHER_MAPPINGS) / (each + 1);
    Finding::problem(
        "mappings",
        format!("{most} are allowed, but --instances-max {instances} takes up to {needed}"),
        format!("run: sysctl -w vm.max_map_count={needed}, or start with --instances-max {fits}"),
    )
}

/// Returns how many addresses a process may have, in bytes.
fn addresses() -> Option<u64> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    // The stack is near the end of what a process has, which is a power of two.
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (_, end) = stack.split(' ').next()?.split_once('-')?;
    let machine = u64::from_str_radix(end, 16).ok()?.checked_next_power_of_two()?;
    Some(getrlimit(Resource::As).current.map_or(machine, |limit| limit.min(machine)))
}

fn address_space(most: u64, instances: u64, each: u64) -> Finding {
    let needed = instances.saturating_mul(each);
    let in_gib = |bytes: u64| format!("{} GiB", bytes >> 30);
    if needed < most {
        let text = format!(
            "{} are there, and {instances} instances reserve {}",
            in_gib(most),
            in_gib(needed)
        );
        return Finding::ok("address space", text);
    }
    Finding::problem(
        "address space",
        format!(
            "{} are there, but --instances-max {instances} reserves {}",
            in_gib(most),
            in_gib(needed)
        ),
        format!(
            "start with --instances-max {}, and lift a limit that was set: ulimit -v unlimited",
            (most / each.max(1)).saturating_sub(1)
        ),
    )
}

fn overcommit(mode: u64) -> Option<Finding> {
    // The other two let a process map what it does not touch.
    (mode == 2).then(|| {
        Finding::warning(
            "overcommit",
            "the kernel counts memory that is mapped and never touched, of which instances have much",
            "run: sysctl -w vm.overcommit_memory=0",
        )
    })
}

fn memory(process: u64, instance: u64, available: Option<u64>) -> Finding {
    let Some(available) = available else {
        return Finding::note(
            "memory",
            "the system does not say how much there is",
            "start with --memory, so that a node refuses calls before the system ends it",
        );
    };
    if process > available {
        return Finding::warning(
            "memory",
            format!(
                "--memory allows {}, but there are {}: the kernel would end the node before it \
                 refuses calls",
                in_mib(process),
                in_mib(available)
            ),
            format!("start with --memory {}MiB, or without it", (available / 100 * 80) >> 20),
        );
    }
    if instance > process {
        return Finding::warning(
            "memory",
            format!(
                "one instance may grow to {}, which is more than all of the node may have, {}",
                in_mib(instance),
                in_mib(process)
            ),
            format!("start with --guest-memory {}MiB or less", (process / 2) >> 20),
        );
    }
    let (process, available) = (in_mib(process), in_mib(available));
    Finding::ok("memory", format!("there are {available}; beyond {process} calls are refused"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn limits_that_are_too_low_are_found_with_the_command_that_raises_them() {
        assert_eq!(open_files(None).level, Level::Ok);
        assert_eq!(open_files(Some(20_000)).level, Level::Ok);
        let few = open_files(Some(1024));
        assert_eq!(few.level, Level::Note);
        assert!(few.advice.unwrap().contains("ulimit -n 1946"));
        assert_eq!(open_files(Some(64)).level, Level::Problem);

        assert_eq!(mappings(65_530, 10_000, 2).level, Level::Ok);
        assert_eq!(mappings(65_530, 21_000, 2).level, Level::Ok);
        let many = mappings(65_530, 100_000, 2);
        assert_eq!(many.level, Level::Problem);
        let advice = many.advice.unwrap();
        assert!(advice.contains("sysctl -w vm.max_map_count=302000"), "{advice}");
        assert!(advice.contains("--instances-max 21176"), "{advice}");
        assert_eq!(mappings(65_530, u64::MAX, 2).level, Level::Problem);
    }

    #[test]
    fn instances_that_have_no_addresses_are_a_problem() {
        let (all, each) = (1 << 47, (4 << 30) + (32 << 20));
        assert_eq!(address_space(all, 20_000, each).level, Level::Ok);
        let short = address_space(8 << 30, 20_000, each);
        assert_eq!(short.level, Level::Problem);
        assert!(short.advice.unwrap().contains("ulimit -v unlimited"));
        assert!(addresses().is_none_or(|bytes| bytes >= 1 << 30));
    }

    #[test]
    fn memory_that_is_not_there_is_found() {
        assert_eq!(overcommit(0), None);
        assert_eq!(overcommit(2).unwrap().level, Level::Warning);
        let gib = 1 << 30;
        assert_eq!(memory(6 * gib, gib, Some(8 * gib)).level, Level::Ok);
        let missing = memory(9 * gib, gib, Some(8 * gib));
        assert_eq!(missing.level, Level::Warning);
        assert!(missing.advice.unwrap().contains("--memory 6553MiB"));
        assert_eq!(memory(gib, 2 * gib, Some(8 * gib)).level, Level::Warning);
        assert_eq!(memory(gib, gib, None).level, Level::Note);
    }
}
