//! The only place that reads a clock. Machines take `now` as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the monotonic time.
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the time of day in milliseconds since 1970, 0 before that. It may jump and be wrong:
/// only the keys of calls bear it, and nothing that keeps state safe depends on it.
#[expect(clippy::disallowed_methods, reason = "this is the clock that others use")]
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
