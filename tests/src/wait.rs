//! Waiting for something to become true, with a deadline and a reason; and what cannot be waited for.

use std::io::{Write as _, stderr};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Far above any time the host promises, because it
/// only says when to give up: a debug build on a busy machine must never look like a lost player.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Tries `attempt` until it succeeds and returns what it returned.
///
/// # Panics
///
/// When `deadline` has passed, with the last reason.
#[track_caller]
pub fn eventually<T>(deadline: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if start.elapsed() >= deadline => {
                panic!("still not after {deadline:?}: {reason}")
            }
            Err(_) => pause(),
        }
    }
}

/// Says that this machine cannot do what a test needs, past the test runner, which keeps what a
/// passing test prints: nobody should take it for a success.
///
/// # Panics
///
/// When standard error is closed.
pub fn not_tested(obstacle: &str) {
    let line = format!("NOT TESTED: {obstacle}\n");
    stderr().write_all(line.as_bytes()).expect("say that nothing was tested");
}

/// Yields for a moment between two looks at another process, which cannot wake us.
pub fn pause() {
    std::thread::park_timeout(Duration::from_millis(2));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_returns_at_the_first_success() {
        let mut tries = 0;
        let third = eventually(PATIENCE, || {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err("too early".to_owned()) }
        });
        assert_eq!(third, 3);
    }

    #[test]
    #[should_panic(expected = "still red")]
    fn it_gives_up_with_the_last_reason() {
        eventually(Duration::ZERO, || Err::<(), _>("still red".to_owned()));
    }
}
