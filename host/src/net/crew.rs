//! One task for a connection: QUIC's driver of it, and its lanes beside the driver.
//!
//! ```text
//!   endpoint ─► driver ─► lane ─► (its room) ─► lane ─► driver ─► network
//!               └──── one task ──┘              └──── the same ─┘
//! ```
//!
//! A call passes the driver and a lane on its way in, and again on its way out, on each node that it
//! visits. As tasks of their own they would wake each other through the runtime, which lets three
//! tasks in a row do so on one thread and wakes another thread for the fourth. The members of a crew
//! are polled in turn by their task, and only who wakes one of them from outside wakes that.
//!
//! QUIC's driver lives until its connection is gone from both sides, as it would alone.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use futures_util::FutureExt as _;
use quinn::{AsyncTimer, AsyncUdpSocket, TokioRuntime};
use tokio::sync::oneshot;
use tokio::task::unconstrained;

use super::socket::Datagrams;

/// Polls after which other tasks have their turn. A driver and four lanes that wake each other need
/// about ten for what one datagram brings.
const POLLS_MAX: usize = 64;

type Member = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The members of one connection's task, to be added to. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Crew(Arc<Shared>);

/// What a member does. Dropping it ends the member.
///
/// Resolves to `None` if the connection was gone before. A panic of the member goes on here.
#[derive(Debug)]
pub(super) struct Work<T>(oneshot::Receiver<thread::Result<T>>);

impl Crew {
    /// Opens a connection and returns the crew of its driver.
    pub(super) fn open<T, E>(open: impl FnOnce() -> Result<T, E>) -> Result<(T, Self), E> {
        OPENED.sync_scope(OnceCell::new(), || {
            let connection = open()?;
            let crew = OPENED.with(|opened| opened.get().cloned());
            Ok((connection, crew.expect("who opens a connection spawns its driver")))
        })
    }

    /// Adds a member, which begins at once.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Work<T> {
        let (mut done, work) = oneshot::channel();
        self.0.join(Box::pin(async move {
            let outcome = tokio::select! {
                biased;
                // First: who is ended does nothing more.
                () = done.closed() => return,
                outcome = AssertUnwindSafe(future).catch_unwind() => outcome,
            };
            // Nobody waits any more; then nobody needs to know.
            done.send(outcome).ok();
        }));
        Work(work)
    }
}

impl<T> Future for Work<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(|outcome| match outcome {
            Ok(Ok(result)) => Some(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => None,
        })
    }
}

tokio::task_local! {
    /// The crew of the driver that was spawned while a connection was opened.
    static OPENED: OnceCell<Crew>;
}

/// Tokio as QUIC sees it: drivers of connections get a crew.
#[derive(Debug)]
pub(super) struct Runtime;

impl quinn::Runtime for Runtime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, driver: Member) {
        let crew = Crew::default();
        let for_connection = OPENED.try_with(|opened| opened.set(crew.clone()).is_ok());
        if for_connection.unwrap_or(false) {
            // It has its own bound, for its members see to each other's work, not to tokio's.
            TokioRuntime.spawn(Box::pin(unconstrained(Task::new(crew.0, driver))));
        } else {
            TokioRuntime.spawn(driver);
        }
    }

    fn wrap_udp_socket(&self, udp: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Datagrams::new(udp)?))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// What a crew's task and those who wake it share.
#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// Seats whose members are to be polled.
    ready: VecDeque<usize>,
    /// Members that have no seat yet.
    joining: Vec<Member>,
    /// The task is looking at `ready` anyway.
    polling: bool,
    /// The driver and all members have ended, or their task was dropped.
    over: bool,
    task: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The lists are whole between any two operations, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, member: Member) {
        let mut state = self.lock();
        if !state.over {
            state.joining.push(member);
            Self::rouse(state);
        }
    }

    /// Wakes the task unless it is awake.
    fn rouse(state: MutexGuard<'_, State>) {
        let task = if state.polling { None } else { state.task.clone() };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The place of one member. Others take it after its end, so they may be polled once too often.
struct Seat {
    index: usize,
    /// It stands in `ready` already.
    called: AtomicBool,
    crew: Arc<Shared>,
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.called.swap(true, Ordering::AcqRel) {
            let mut state = self.crew.lock();
            state.ready.push_back(self.index);
            Shared::rouse(state);
        }
    }
}

/// A member in its seat.
struct Seated {
    member: Member,
    seat: Arc<Seat>,
    waker: Waker,
}

/// The task of a crew.
struct Task {
    crew: Arc<Shared>,
    /// The first is the driver's.
    seats: Vec<Option<Seated>>,
}

impl Task {
    fn new(crew: Arc<Shared>, driver: Member) -> Self {
        crew.join(driver);
        Self { crew, seats: Vec::new() }
    }

    /// Returns the seat to be polled next, or `None` if the task is done for now.
    fn next(&mut self) -> Option<usize> {
        let mut state = self.crew.lock();
        for member in std::mem::take(&mut state.joining) {
            let free = self.seats.iter().position(Option::is_none);
            let index = free.unwrap_or(self.seats.len());
            if index == self.seats.len() {
                self.seats.push(None);
            }
            let crew = self.crew.clone();
            let seat = Arc::new(Seat { index, called: AtomicBool::new(true), crew });
            let waker = Waker::from(seat.clone());
            self.seats[index] = Some(Seated { member, seat, waker });
            state.ready.push_back(index);
        }
        let next = state.ready.pop_front();
        state.polling = next.is_some();
        state.over = next.is_none() && self.seats.iter().all(Option::is_none);
        next
    }

    fn poll_seat(&mut self, index: usize) {
        let Some(Seated { member, seat, waker }) = &mut self.seats[index] else { return };
        // Before the poll: what wakes it meanwhile must count.
        seat.called.swap(false, Ordering::AcqRel);
        if member.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            self.seats[index] = None;
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.crew.lock();
            state.polling = true;
            match &mut state.task {
                Some(task) => task.clone_from(context.waker()),
                task @ None => *task = Some(context.waker().clone()),
            }
        }
        for _ in 0..POLLS_MAX {
            match self.next() {
                Some(index) => self.poll_seat(index),
                None if self.crew.lock().over => return Poll::Ready(()),
                None => return Poll::Pending,
            }
        }
        self.crew.lock().polling = false;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut state = self.crew.lock();
        state.over = true;
        // Its task holds what this is held by.
        state.task = None;
        let joining = std::mem::take(&mut state.joining);
        drop(state);
        drop(joining);
    }
}

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
