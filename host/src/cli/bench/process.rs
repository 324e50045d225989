//! What processes have used: processor time, which says more than a clock on a machine that others
//! use, and memory.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, getpid};

/// The processes of a measurement.
#[derive(Debug)]
pub(super) struct Processes {
    /// The nodes', the owner's first; none if they are not on this machine. The owner's may be this
    /// one.
    nodes: Vec<Pid>,
}

/// Processor time that the processes have used so far. What the system does not tell is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// The owner's, with its callers if they are in it.
    pub(super) owner: Option<Duration>,
    /// All other nodes'.
    pub(super) others: Option<Duration>,
    /// This process's, unless the owner is in it.
    pub(super) client: Option<Duration>,
}

impl Processes {
    /// Returns the processes of nodes on this machine, the owner's first.
    pub(super) fn new(nodes: &[Pid]) -> Self {
        Self { nodes: nodes.to_vec() }
    }

    /// Returns this process only: those of the nodes are not known.
    pub(super) fn own() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Whether the nodes' processes are known.
    pub(super) fn are_known(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Looks at their clocks.
    pub(super) fn used(&self) -> Used {
        let nodes = self.nodes.split_first();
        Used {
            owner: nodes.and_then(|(owner, _)| used_by(*owner)),
            others: nodes.and_then(|(_, others)| others.iter().copied().map(used_by).sum()),
            client: if self.owner_is_here() { None } else { used_by(getpid()) },
        }
    }

    /// Whether the owner's node runs in this process.
    fn owner_is_here(&self) -> bool {
        self.nodes.first() == Some(&getpid())
    }

    /// Returns the bytes of memory that the owner's process has.
    pub(super) fn owner_memory(&self) -> Option<u64> {
        resident(*self.nodes.first()?)
    }
}

/// Sums the run times of a process's threads, which the kernel counts in nanoseconds.
fn used_by(process: Pid) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        // A thread that ended meanwhile has next to nothing to say.
        let Ok(line) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        sum += run_time(&line)?;
    }
    Some(sum)
}

/// Returns the bytes of a process that are in memory and that it does not share.
fn resident(process: Pid) -> Option<u64> {
    resident_bytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// Reads a thread's `schedstat`: time on a processor, time in front of one, and how often.
fn run_time(line: &str) -> Option<Duration> {
    line.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Reads the resident set out of a process's `status`. Shared pages count there each time that they
/// are mapped, and all instances of one code map its image, so they are left out.
fn resident_bytes(status: &str) -> Option<u64> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(bytes("VmRSS:")?.saturating_sub(bytes("RssShmem:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // No test here starts a process: until it is on its own, it would hold the locks of the stores
    // that other tests of this process have open.

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(run_time("1500 20 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(run_time(""), None);
        let status = "Name:\thost\nVmHWM:\t   99 kB\nVmRSS:\t   12 kB\nThreads:\t3\n";
        assert_eq!(resident_bytes(status), Some(12 * 1024));
        let sharing = format!("{status}RssShmem:\t    8 kB\n");
        assert_eq!(resident_bytes(&sharing), Some(4 * 1024));
        assert_eq!(resident_bytes("Name:\thost\n"), None, "a process that has ended has none");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_runs_has_used_something() {
        let me = getpid();
        let processes = Processes::new(&[me, me]);
        let Used { owner, others, client } = processes.used();
        for used in [owner, others] {
            assert!(used > Some(Duration::ZERO), "{used:?}");
        }
        assert_eq!(client, None, "what the callers have used is the owner's");
        assert!(processes.owner_memory() > Some(4096));
        assert!(processes.are_known());
        let Used { client, .. } = Processes::own().used();
        assert!(client > Some(Duration::ZERO), "{client:?}");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let own = Processes::own();
        let Used { owner, others, .. } = own.used();
        assert!(owner.is_none() && others.is_none());
        assert!(own.owner_memory().is_none() && !own.are_known());
    }
}
