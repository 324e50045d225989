//! Where long calls take turns.
//!
//! A call that needs longer than most computes on a thread that does nothing else meanwhile. As many
//! of them compute at the same time as there are cores, so that they leave the other half of the
//! machine's time to short calls and to the node itself, however many there are. The others wait
//! for their turn, which is one tick long, and waiting counts for nobody's time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use crate::limits::LONG_CALLS_MAX;

/// The turns of one engine.
#[derive(Debug)]
pub(super) struct Lanes {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: usize,
}

/// The right to compute, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Lanes>);

impl Lanes {
    /// Returns one lane for each core.
    pub(super) fn new() -> Arc<Self> {
        Self::with(available_parallelism().map_or(1, usize::from))
    }

    fn with(free: usize) -> Arc<Self> {
        let state = Mutex::new(State { free, waiting: 0 });
        Arc::new(Self { state, freed: Condvar::new() })
    }

    /// Waits for a turn. Blocks the thread; returns `None` at once when too many wait already.
    pub(super) fn take(self: &Arc<Self>) -> Option<Turn> {
        let mut state = self.lock();
        if state.free == 0 && state.waiting >= LONG_CALLS_MAX {
            return None;
        }
        state.waiting += 1;
        let busy = |state: &mut State| state.free == 0;
        let waited = self.freed.wait_while(state, busy);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.free -= 1;
        Some(Turn(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Two numbers that are changed together, and nothing between them panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_compute_at_a_time_than_there_are_lanes_and_each_gets_its_turns() {
        let lanes = Lanes::with(2);
        let (computing, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let turn = lanes.take().expect("eight are not too many");
                        most.fetch_max(computing.fetch_add(1, SeqCst) + 1, SeqCst);
                        thread::yield_now();
                        computing.fetch_sub(1, SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        let State { free, waiting } = *lanes.lock();
        assert_eq!((free, waiting), (2, 0));
    }

    #[test]
    fn when_too_many_wait_one_more_is_told_so() {
        let lanes = Lanes::with(1);
        let turn = lanes.take().unwrap();
        lanes.lock().waiting = LONG_CALLS_MAX;
        assert!(lanes.take().is_none());
        lanes.lock().waiting = 0;
        drop(turn);
        assert!(lanes.take().is_some());
    }
}
