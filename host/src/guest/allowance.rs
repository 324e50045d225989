//! What guests may take of their node, and how much of it they have taken.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::limits::{
    GUEST_LOG_LINES_A_SECOND, GUEST_MEMORY_BYTES, MEMORY_HUNDREDTHS, TAKEN_BYTES_WHEN_FULL,
};

/// What guests may take of their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Most memory that one instance may grow to, in bytes. One that is restored has at least what
    /// it had, whatever another node allowed it.
    pub instance_bytes: usize,
    /// Memory of the whole process, in bytes, from which on calls that take more of it are refused.
    pub process_bytes: u64,
}

impl Default for Allowance {
    /// For instances what the limits say, for the process most of what this machine, or the control
    /// group that the process is in, has.
    fn default() -> Self {
        let process_bytes =
            available_bytes().map_or(u64::MAX, |bytes| bytes / 100 * MEMORY_HUNDREDTHS);
        Self { instance_bytes: GUEST_MEMORY_BYTES, process_bytes }
    }
}

/// How much guests have taken, as the guests' clock sees it with each tick.
#[derive(Debug)]
pub(super) struct Usage {
    allowed_bytes: u64,
    process_bytes: AtomicU64,
    /// Log lines since the last second began.
    lines: AtomicU64,
}

impl Usage {
    pub(super) fn new(allowance: &Allowance) -> Self {
        let (process_bytes, lines) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { allowed_bytes: allowance.process_bytes, process_bytes, lines }
    }

    /// Finds out how much memory the process has.
    pub(super) fn measure(&self) {
        self.process_bytes.store(own_bytes().unwrap_or(0), Relaxed);
    }

    /// Takes the process to have so much memory, in bytes, until it is measured: tests share theirs.
    #[cfg(test)]
    pub(super) fn pretend(&self, bytes: u64) {
        self.process_bytes.store(bytes, Relaxed);
    }

    /// Begins another second of log lines. Returns how many the last one had too many.
    pub(super) fn begin_second(&self) -> u64 {
        self.lines.swap(0, Relaxed).saturating_sub(GUEST_LOG_LINES_A_SECOND)
    }

    /// Returns whether one more line of the guests may be logged in this second.
    pub(super) fn may_log(&self) -> bool {
        self.lines.fetch_add(1, Relaxed) < GUEST_LOG_LINES_A_SECOND
    }

    /// Returns how much memory the process had at the last tick, in bytes.
    pub(super) fn process_bytes(&self) -> u64 {
        self.process_bytes.load(Relaxed)
    }

    /// Says why a call that takes so many bytes more is refused, if it is. Many that take little are
    /// refused later than one that takes much.
    pub(super) fn why_refused(&self, bytes: usize) -> Option<String> {
        let used = self.process_bytes();
        let allowed = match bytes {
            0 => return None,
            1..=TAKEN_BYTES_WHEN_FULL => self.allowed_bytes.saturating_add(self.allowed_bytes / 8),
            _ => self.allowed_bytes,
        };
        (used >= allowed).then(|| {
            format!(
                "its node has no memory left for it: {} MiB are in use, and the node's --memory \
                 allows {}",
                used / MIB,
                self.allowed_bytes / MIB
            )
        })
    }
}

const MIB: u64 = 1024 * 1024;

/// Returns the memory that only this process has, in bytes; `None` where the system does not say.
/// What instances share, their images, belongs to none of them.
fn own_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').map(str::parse::<u64>);
    let (_, resident, shared) = (pages.next()?, pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Returns the memory that this process can have at most, in bytes: what the machine has, or the
/// control group that the process is in allows. `None` where the system does not say.
pub fn available_bytes() -> Option<u64> {
    of_the_machine().into_iter().chain(of_the_groups()).min()
}

/// Returns the bounds of the control groups (version 2) that this process is in, in bytes. A container
/// sees its own group as the root of all.
fn of_the_groups() -> Vec<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let group = Path::new("/sys/fs/cgroup").join(path);
    let inner = group.ancestors().take_while(|group| group.starts_with("/sys/fs/cgroup"));
    let bounds = inner.filter_map(|group| fs::read_to_string(group.join("memory.max")).ok());
    bounds.filter_map(|bound| bound.trim().parse().ok()).collect()
}

fn of_the_machine() -> Option<u64> {
    let table = fs::read_to_string("/proc/meminfo").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_seen_to_grow() {
        let Some(first) = own_bytes() else { return };
        // Other tests of this process take and give back memory meanwhile.
        let grows = || {
            let before = own_bytes().unwrap();
            let block = vec![7u8; 64 * 1024 * 1024];
            let after = own_bytes().unwrap();
            block.iter().all(|byte| *byte == 7) && after >= before + 32 * MIB
        };
        assert!((0..20).any(|_| grows()), "{first} bytes");
        let after = own_bytes().unwrap();
        let machine = available_bytes().unwrap();
        assert!(after < machine && Allowance::default().process_bytes < machine);
    }

    #[test]
    fn lines_are_counted_by_the_second() {
        let usage = Usage::new(&Allowance::default());
        let logged = (0..GUEST_LOG_LINES_A_SECOND + 5).filter(|_| usage.may_log()).count();
        assert_eq!(logged as u64, GUEST_LOG_LINES_A_SECOND);
        assert_eq!(usage.begin_second(), 5);
        assert!(usage.may_log());
        assert_eq!(usage.begin_second(), 0);
    }
}
