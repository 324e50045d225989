//! When a player's server looks at the time.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// When a server looks at the time.
///
/// It is set for a later time with each call, so a time that is set stays until it has come: to ring
/// in vain once a second costs less than to be set anew thousands of times.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Alarm {
    /// Rings at this time or before.
    pub(super) fn set_for(&mut self, at: Option<Instant>) {
        let Some(at) = at.map(tokio::time::Instant::from) else { return };
        match &mut self.sleep {
            Some(sleep) if self.set && sleep.deadline() <= at => {}
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
        self.set = true;
    }

    /// Waits until it rings.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn ring(&mut self) {
        match &mut self.sleep {
            Some(sleep) if self.set => sleep.await,
            Some(_) | None => std::future::pending().await,
        }
        self.set = false;
    }
}
