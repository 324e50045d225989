//! The only place that reads a clock. Machines take `now` as an argument.

use std::time::Instant;

/// Returns the monotonic time.
pub fn now() -> Instant {
    Instant::now()
}
