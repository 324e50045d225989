//! Several dials of which one is enough, as in RFC 8305 ("happy eyeballs").
//!
//! ```text
//!   first   ├── head start ──┬──────────✕            fails, or is slow
//!   second                   ├─────► connected      wins; the others are given up
//!   third                    └─ head start ─┄
//! ```
//!
//! Only connections are raced, never requests: nothing is sent before one connection has won.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// Time that a dial has before the next one is begun beside it. A node of the cluster that is there
/// answers within the round trip that QUIC assumes of it, `INITIAL_RTT`; on a network that is
/// slower, a caller pays for one handshake more and still gets the connection that is made first.
/// RFC 8305 allows 10 ms and more.
const HEAD_START: Duration = Duration::from_millis(20);

/// How a race of dials ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Raced<C, E> {
    /// Which one has won, by its place in the order, and what it made. `None`: all have failed.
    pub winner: Option<(usize, C)>,
    /// Those that have failed, by their places, in order.
    pub failed: Vec<(usize, E)>,
}

/// Runs dials, in order of preference, until one has succeeded or all have failed. The next one
/// begins when one has failed, or after a head start of 20 ms. Takes no longer than one dial and
/// the head starts of those before it.
pub async fn race<C, E, D>(dials: impl IntoIterator<Item = D>) -> Raced<C, E>
where
    D: Future<Output = Result<C, E>>,
{
    let mut waiting = dials.into_iter().enumerate().peekable();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    let winner = loop {
        if let Some((place, dial)) = waiting.next() {
            running.push(async move { (place, dial.await) });
        }
        tokio::select! {
            biased;
            Some((place, result)) = running.next() => match result {
                Ok(connection) => break Some((place, connection)),
                Err(error) => failed.push((place, error)),
            },
            () = sleep(HEAD_START), if waiting.peek().is_some() => {}
            else => break None,
        }
    };
    failed.sort_by_key(|(place, _)| *place);
    Raced { winner, failed }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);

    /// Dials that end after so long, well or badly; returns how the race ended and how many began.
    async fn raced(
        dials: &[(Duration, Result<char, &'static str>)],
    ) -> (Raced<char, &'static str>, usize) {
        let begun = AtomicUsize::new(0);
        let dials = dials.iter().map(|(after, result)| {
            let begun = &begun;
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                sleep(*after).await;
                *result
            }
        });
        let raced = race(dials).await;
        (raced, begun.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn one_that_answers_at_once_is_alone() {
        let (raced, begun) = raced(&[(Duration::ZERO, Ok('a')), (Duration::ZERO, Ok('b'))]).await;
        assert_eq!((raced.winner, begun), (Some((0, 'a')), 1));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_slow_one() {
        let slow = (NEVER, Ok('a'));
        let (raced, begun) = raced(&[slow, slow, (Duration::ZERO, Ok('c')), slow]).await;
        assert_eq!(raced, Raced { winner: Some((2, 'c')), failed: vec![] });
        assert_eq!(begun, 3);
    }

    #[tokio::test]
    async fn a_slow_one_still_wins_when_the_next_ones_fail() {
        let slow = (3 * HEAD_START, Ok('a'));
        let (raced, _) = raced(&[slow, (Duration::ZERO, Err("b")), (NEVER, Err("c"))]).await;
        assert_eq!(raced, Raced { winner: Some((0, 'a')), failed: vec![(1, "b")] });
    }

    #[tokio::test]
    async fn when_all_fail_each_says_why() {
        let late = (2 * HEAD_START, Err("a"));
        let (ended, begun) = raced(&[late, (Duration::ZERO, Err("b"))]).await;
        assert_eq!(ended, Raced { winner: None, failed: vec![(0, "a"), (1, "b")] });
        assert_eq!(begun, 2);
        assert_eq!(raced(&[]).await.0, Raced { winner: None, failed: vec![] });
    }
}
