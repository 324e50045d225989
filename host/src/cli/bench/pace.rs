//! When the next call is due.
//!
//! Closed loop: as soon as a caller has its answer. Open loop: at a steady rate, whatever becomes of
//! the calls before, so that a stall of the cluster delays many calls and each of them counts.

use std::io;
use std::sync::mpsc::{self as stops, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use crate::clock;

/// Moments that may wait for a caller. More of them wait in the clockwork, which loses none.
const DUE_MAX: usize = 1024;

/// Says when calls are due.
#[derive(Debug)]
pub(super) enum Pace {
    /// Now, until the load ends.
    Closed {
        /// The end.
        until: Instant,
    },
    /// When the clockwork says.
    Open {
        /// What it says; one caller at a time listens.
        due: Mutex<mpsc::Receiver<Instant>>,
        /// Stops the clockwork when it is dropped.
        _stop: SyncSender<()>,
    },
}

impl Pace {
    /// Begins a load of so many calls a second, or one that follows its callers. In an open loop
    /// calls are due from `from` on.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn begin(rate: Option<u32>, from: Instant, until: Instant) -> io::Result<Self> {
        let Some(rate) = rate else { return Ok(Self::Closed { until }) };
        let (tell, due) = mpsc::channel(DUE_MAX);
        let (stop, stopped) = stops::sync_channel(0);
        // A thread, because the runtime's timers know whole milliseconds only.
        thread::Builder::new().name("pace".to_owned()).spawn(move || {
            for number in 0.. {
                let due = from + moment(number, rate);
                let wait = due.saturating_duration_since(clock::now());
                let stopped = || stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
                let over = due >= until || (!wait.is_zero() && stopped());
                if over || tell.blocking_send(due).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Open { due: Mutex::new(due), _stop: stop })
    }

    /// Waits for the next call and returns when it was due; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { until } => Some(clock::now()).filter(|now| now < until),
            Self::Open { due, .. } => due.lock().await.recv().await,
        }
    }
}

/// Returns when call `number` is due, so that errors do not add up.
fn moment(number: u64, rate: u32) -> Duration {
    let (seconds, rest) = (number / u64::from(rate), number % u64::from(rate));
    Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / u64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_many_as_the_rate() {
        assert_eq!(moment(0, 3), Duration::ZERO);
        assert_eq!(moment(1, 4), Duration::from_millis(250));
        assert_eq!(moment(7, 3), Duration::from_nanos(2_333_333_333));
        assert_eq!(moment(86_400 * 999_999, 999_999), Duration::from_secs(86_400));
    }

    #[tokio::test]
    async fn a_slow_caller_hears_of_every_call_that_was_due() {
        let from = clock::now();
        let until = from + Duration::from_millis(100);
        let pace = Pace::begin(Some(100_000), from, until).unwrap();
        let mut calls = 0;
        let mut last = None;
        while let Some(due) = pace.next().await {
            assert!(last < Some(due) && due < until);
            last = Some(due);
            calls += 1;
            // The clockwork has more to say than anybody listens to.
            tokio::task::yield_now().await;
        }
        assert_eq!(calls, 10_000);
    }

    #[tokio::test]
    async fn a_closed_loop_is_over_at_its_end() {
        let now = clock::now();
        let over = Pace::begin(None, now, now).unwrap();
        assert_eq!(over.next().await, None);
        let open = Pace::begin(None, now, now + Duration::from_secs(60)).unwrap();
        assert!(open.next().await >= Some(now));
    }
}
