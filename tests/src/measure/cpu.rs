//! The processor time of processes, which says more than a clock on a machine that others use.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, getpid};

/// Processor time that the processes of a measurement have used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// The node that is called, which owns the players.
    owner: Duration,
    /// All other nodes.
    keepers: Duration,
    /// This process.
    client: Duration,
}

/// Processor time of one call, in microseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct CpuOfCall {
    /// Spent by the node that is called, which owns the players.
    pub owner_us: f64,
    /// Spent by all other nodes together.
    pub keepers_us: f64,
    /// Spent by the client.
    pub client_us: f64,
}

impl Used {
    /// Looks at the clocks of the owner's process, of its keepers', and of this one.
    ///
    /// # Errors
    ///
    /// When one of them does not run.
    pub(super) fn now(owner: Pid, keepers: &[Pid]) -> Result<Self> {
        let keepers: Result<Vec<Duration>> = keepers.iter().copied().map(used_by).collect();
        Ok(Self {
            owner: used_by(owner)?,
            keepers: keepers?.iter().sum(),
            client: used_by(getpid())?,
        })
    }

    /// Returns what each of `calls` calls has cost since `before`.
    pub(super) fn of_call(&self, before: &Self, calls: u32) -> CpuOfCall {
        let each = |now: Duration, then: Duration| {
            (now.saturating_sub(then).as_secs_f64() * 1e6) / f64::from(calls.max(1))
        };
        CpuOfCall {
            owner_us: each(self.owner, before.owner),
            keepers_us: each(self.keepers, before.keepers),
            client_us: each(self.client, before.client),
        }
    }
}

/// Sums the run times of a process's threads, which the kernel counts in nanoseconds.
fn used_by(process: Pid) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).context("list the threads")?;
    let mut sum = Duration::ZERO;
    for thread in threads {
        // A thread that ended meanwhile has next to nothing to say.
        let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let nanos = line.split_whitespace().next().context("read a thread's run time")?;
        sum += Duration::from_nanos(nanos.parse()?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

    use super::*;
    use crate::command::reap;

    /// Another process, whose clock stands still. This one's own threads come and go as tests do.
    struct Stopped(Child);

    impl Stopped {
        fn start() -> Self {
            let stopped = Self(Command::new("sleep").arg("60").spawn().unwrap());
            kill_process(stopped.pid(), Signal::STOP).unwrap();
            let state = waitpid(Some(stopped.pid()), WaitOptions::UNTRACED).unwrap();
            assert!(state.is_some_and(|(_, state)| state.stopped()), "{state:?}");
            stopped
        }

        fn pid(&self) -> Pid {
            Pid::from_child(&self.0)
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            reap(&mut self.0);
        }
    }

    #[test]
    fn work_takes_time() {
        let (me, other) = (getpid(), Stopped::start());
        let before = Used::now(me, &[other.pid()]).unwrap();
        let mut after = before;
        while after.client <= before.client || after.owner <= before.owner {
            after = Used::now(me, &[other.pid()]).unwrap();
        }
        let cost = after.of_call(&before, 10);
        assert!(cost.owner_us > 0.0 && cost.client_us > 0.0, "{cost:?}");
        assert!(cost.keepers_us == 0.0, "it did nothing: {cost:?}");
    }

    #[test]
    fn two_processes_use_more_than_one() {
        let other = Stopped::start();
        let used = Used::now(other.pid(), &[other.pid(), other.pid()]).unwrap();
        assert!(used.owner > Duration::ZERO);
        assert_eq!(used.keepers, 2 * used.owner);
        let nothing = Used { owner: Duration::ZERO, keepers: Duration::ZERO, ..used };
        let cost = used.of_call(&nothing, 10);
        assert!(cost.keepers_us > cost.owner_us, "{cost:?}");
    }
}
