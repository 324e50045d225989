//! The only place that reads a clock. Machines take `now` as an argument.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the monotonic time.
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the time of day in milliseconds since 1970, 0 before that. It may jump and be wrong:
/// only the keys of calls bear it, and nothing that keeps state safe depends on it.
pub fn unix_millis() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time of day since 1970, 0 before that. It may jump and be wrong.
#[expect(clippy::disallowed_methods, reason = "this is the clock that others use")]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the time of day as it was when this process first asked for it, with what has passed since
/// then: it never goes back in one process, and is about the same in all.
pub fn steady_unix_time() -> Duration {
    static FIRST: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (then, at) = FIRST.get_or_init(|| (unix_time(), now()));
    *then + at.elapsed()
}
