//! The kernel: which tracker a node would use, and whether the clock is kept in step.

use std::io;

use super::{Finding, Level};
use crate::limits::{GUEST_MEMORY_BYTES, KEY_AHEAD_MAX};
use crate::memory::{Memories, is_clock_synchronised};

pub(super) fn look() -> [Finding; 3] {
    let system = rustix::system::uname();
    let release = format!(
        "{} {} on {}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy()
    );
    // As an engine chooses it; it tries the best one.
    let memories = Memories::detect(GUEST_MEMORY_BYTES);
    [
        Finding::ok("kernel", release),
        tracker(memories.tracker(), memories.remedy()),
        clock(is_clock_synchronised()),
    ]
}

fn tracker(tracker: &str, remedy: Option<&str>) -> Finding {
    match remedy {
        None => {
            Finding::ok("tracker", format!("{tracker} works, and finds what a call has changed"))
        }
        Some(remedy) => Finding::warning(
            "tracker",
            format!("{tracker}: each call costs a look at all of its player's memory"),
            remedy,
        ),
    }
}

fn clock(is_synchronised: io::Result<bool>) -> Finding {
    let why = format!(
        "keys of calls bear its time, and one that is made more than {} s ahead of the asked node is \
         refused",
        KEY_AHEAD_MAX.as_secs()
    );
    let advice = "keep the clock in step with others: timedatectl set-ntp true, or run chronyd";
    match is_synchronised {
        Ok(true) => Finding::ok("clock", "the kernel says that it is synchronised"),
        Ok(false) => Finding::warning("clock", format!("it is not synchronised; {why}"), advice),
        Err(error) => Finding {
            level: Level::Note,
            ..Finding::warning("clock", format!("the kernel does not say ({error}); {why}"), advice)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_tracker_and_a_clock_that_nobody_keeps_are_warnings_with_a_way_out() {
        let slow = tracker("whole-memory compare, because x", Some("run Linux 6.7 or later"));
        assert_eq!(slow.level, Level::Warning);
        assert_eq!(slow.advice.as_deref(), Some("run Linux 6.7 or later"));
        assert_eq!(tracker("PAGEMAP_SCAN", None).level, Level::Ok);
        assert_eq!(clock(Ok(true)).level, Level::Ok);
        let behind = clock(Ok(false));
        assert_eq!(behind.level, Level::Warning);
        assert!(behind.advice.unwrap().contains("timedatectl set-ntp true"));
        assert_eq!(clock(Err(io::ErrorKind::Unsupported.into())).level, Level::Note);
    }
}
