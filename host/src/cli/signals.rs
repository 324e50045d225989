//! Being asked to stop: Ctrl-C, `kill`, a closed terminal, a parent that is gone.

use std::io;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The signals that ask a process to stop.
#[derive(Debug)]
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// Starts to listen; from now on these signals do not end the process by themselves.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost when the future is dropped.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Whether the parent is still there, if that matters.
#[derive(Debug)]
pub(super) enum Parent {
    /// Standard input closes when the parent is gone.
    Watched(oneshot::Receiver<()>),
    /// The process lives on without its parent.
    Irrelevant,
}

impl Parent {
    /// Watches standard input from a thread of its own, which ends with standard input or with
    /// the process: a blocking read cannot be cancelled.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn watch() -> io::Result<Self> {
        let (gone, watched) = oneshot::channel::<()>();
        thread::Builder::new().name("parent".to_owned()).spawn(move || {
            let copied = io::copy(&mut io::stdin().lock(), &mut io::sink());
            if let Err(error) = copied {
                tracing::warn!(%error, "standard input cannot be read any more");
            }
            // Nobody listens any more: the process is stopping already.
            gone.send(()).ok();
        })?;
        Ok(Self::Watched(watched))
    }

    /// Waits until the parent is gone; forever if that does not matter.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(super) async fn gone(&mut self) {
        match self {
            Self::Watched(watched) => {
                watched.await.ok();
                *self = Self::Irrelevant;
            }
            Self::Irrelevant => std::future::pending().await,
        }
    }
}
