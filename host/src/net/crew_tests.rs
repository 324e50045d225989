//! Crews without a runtime, polled by hand.

use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::AtomicUsize;

use futures_util::future::join;
use tokio::sync::mpsc;

use super::*;

/// Counts how often a task was woken.
#[derive(Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A crew without a runtime, polled by hand.
struct ByHand {
    crew: Crew,
    task: Task,
    alarm: Arc<Alarm>,
}

impl ByHand {
    fn new(driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let crew = Crew::default();
        let task = Task::new(crew.0.clone(), Box::pin(driver));
        Self { crew, task, alarm: Arc::default() }
    }

    fn poll(&mut self) -> Poll<()> {
        let waker = Waker::from(self.alarm.clone());
        Pin::new(&mut self.task).poll(&mut Context::from_waker(&waker))
    }

    fn woken(&self) -> usize {
        self.alarm.0.load(Ordering::Relaxed)
    }
}

fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn members_that_wake_each_other_do_not_wake_their_task() {
    let mut hand = ByHand::new(pending());
    let (to, mut from) = mpsc::channel::<usize>(1);
    let (back, mut here) = mpsc::channel::<usize>(1);
    let mut echo = hand.crew.run(async move {
        while let Some(number) = from.recv().await {
            back.send(number).await.unwrap();
        }
    });
    let mut asking = hand.crew.run(async move {
        for number in 0..5 {
            to.send(number).await.unwrap();
            assert_eq!(here.recv().await, Some(number));
        }
    });
    assert!(hand.poll().is_pending());
    assert_eq!(now(join(&mut asking, &mut echo)), Poll::Ready((Some(()), Some(()))));
    assert_eq!(hand.woken(), 0);
}

#[test]
fn one_wake_from_outside_wakes_the_task_once() {
    let mut hand = ByHand::new(pending());
    let (to, mut from) = mpsc::channel::<()>(4);
    let mut work = hand.crew.run(async move { from.recv().await });
    assert!(hand.poll().is_pending());
    for _ in 0..4 {
        to.try_send(()).unwrap();
    }
    assert_eq!(hand.woken(), 1);
    assert!(hand.poll().is_pending());
    assert_eq!(now(&mut work), Poll::Ready(Some(Some(()))));
}

#[test]
fn a_member_that_always_wakes_itself_leaves_others_their_turn() {
    let mut hand = ByHand::new(poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::Pending
    }));
    let mut work = hand.crew.run(ready(7));
    assert!(hand.poll().is_pending());
    assert_eq!(now(&mut work), Poll::Ready(Some(7)));
    assert_eq!(hand.woken(), 1, "it asks for its own next turn");
    assert!(hand.poll().is_pending());
    assert_eq!(hand.woken(), 2);
}

#[test]
fn work_that_nobody_waits_for_does_nothing_more() {
    let mut hand = ByHand::new(pending());
    let (to, mut from) = mpsc::channel::<()>(1);
    let done = Arc::new(AtomicBool::new(false));
    let did = done.clone();
    let work = hand.crew.run(async move {
        from.recv().await;
        did.store(true, Ordering::Relaxed);
    });
    assert!(hand.poll().is_pending());
    to.try_send(()).unwrap();
    drop(work);
    assert!(hand.poll().is_pending());
    assert!(!done.load(Ordering::Relaxed));
    assert!(to.is_closed());
}

#[test]
fn a_member_that_panics_takes_no_other_with_it() {
    let mut hand = ByHand::new(pending());
    let mut broken = hand.crew.run(async { panic!("as it should") });
    assert!(hand.poll().is_pending());
    let mut other = hand.crew.run(ready(7));
    assert!(hand.poll().is_pending());
    assert_eq!(now(&mut other), Poll::Ready(Some(7)));
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| now::<Option<()>>(&mut broken)));
    caught.expect_err("who waits for it hears of it");
}

#[test]
fn the_task_ends_with_its_last_member_and_takes_none_after_that() {
    let mut hand = ByHand::new(ready(()));
    let (to, mut from) = mpsc::channel::<()>(1);
    let mut work = hand.crew.run(async move { from.recv().await });
    assert!(hand.poll().is_pending(), "the driver has ended, a member has not");
    drop(to);
    assert!(hand.poll().is_ready());
    assert_eq!(now(&mut work), Poll::Ready(Some(None)));
    assert_eq!(now(hand.crew.run(ready(7))), Poll::Ready(None));
}

#[test]
fn members_of_a_task_that_was_dropped_end() {
    let hand = ByHand::new(pending());
    let mut work = hand.crew.run(pending::<()>());
    drop(hand.task);
    assert_eq!(now(&mut work), Poll::Ready(None));
    assert_eq!(now(hand.crew.run(ready(7))), Poll::Ready(None));
}
