//! The threads that guests run on, apart from those of the node.
//!
//! A guest runs until it returns or its time is over, and its thread does nothing else meanwhile.
//! Were these the threads that send heartbeats and advance the guests' clock, a few endless calls
//! would stop the very clock that ends them, and the node would be taken for dead.

use tokio::runtime::{Builder, Handle, Runtime};

use super::StartError;

/// A runtime for players' servers.
#[derive(Debug)]
pub(super) struct GuestThreads(Option<Runtime>);

impl GuestThreads {
    /// Starts one thread for each core.
    pub(super) fn start() -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread().thread_name("guests").enable_time().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(StartError::Threads)
    }

    /// Returns where tasks are spawned.
    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken when this is dropped").handle()
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // Waiting for a guest that does not return is not for an async caller.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
