//! Limits how many clusters run at the same time.
//!
//! `cargo test` starts one thread for each core, and each test three or four processes. Too many of
//! them on one machine look like dead nodes to each other.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::available_parallelism;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// The right to run one cluster. A test holds at most one at a time, so none waits for itself.
#[derive(Debug)]
pub(crate) struct Slot(());

impl Slot {
    /// Waits for a free slot and takes it.
    pub(crate) fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED
            .wait_while(taken, |taken| *taken >= limit())
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

/// Two clusters on small machines; on larger ones, one for each two cores.
fn limit() -> usize {
    available_parallelism().map_or(2, |cores| (cores.get() / 2).max(2))
}
