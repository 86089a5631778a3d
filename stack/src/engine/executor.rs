//! A small executor: tasks run on the thread of a queue, so that a request crosses no thread.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_task::Runnable;
use crossbeam_channel::{Receiver, Sender};
use pin_project_lite::pin_project;

/// Tasks run per turn, so that frames are looked at in between.
const TASKS_PER_TURN: usize = 128;

/// What is called when a task becomes runnable, to get its thread out of bed.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// The tasks of one queue that can go on. A task is in here at most once, so the channel is bounded by
/// the number of tasks.
pub(crate) struct Executor {
    sender: Sender<Runnable>,
    runnable: Receiver<Runnable>,
    notify: Notify,
    /// Tasks that have not ended.
    tasks: Arc<AtomicUsize>,
}

impl Executor {
    pub(crate) fn new(notify: Notify) -> Self {
        let (sender, runnable) = crossbeam_channel::unbounded();
        Self {
            sender,
            runnable,
            notify,
            tasks: Arc::default(),
        }
    }

    /// Starts a task; it runs on its own when the handle is dropped.
    pub(crate) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (sender, notify) = (self.sender.clone(), Arc::clone(&self.notify));
        let schedule = move |runnable| {
            // Fails when the executor is gone: the task is dropped, which cancels it.
            if sender.send(runnable).is_ok() {
                notify();
            }
        };
        self.tasks.fetch_add(1, Ordering::AcqRel);
        let future = Counted {
            future,
            _alive: Alive(Arc::clone(&self.tasks)),
        };
        let (runnable, task) = async_task::Builder::new()
            .propagate_panic(true)
            .spawn(|()| future, schedule);
        runnable.schedule();
        Task { task: Some(task) }
    }

    /// True when some task can go on.
    pub(crate) fn has_work(&self) -> bool {
        !self.runnable.is_empty()
    }

    /// True when there is no task at all.
    pub(crate) fn is_unused(&self) -> bool {
        self.tasks.load(Ordering::Acquire) == 0
    }

    /// Runs what can go on, once each; true if there was anything.
    pub(crate) fn run(&self) -> bool {
        let mut ran = false;
        for runnable in self.runnable.try_iter().take(TASKS_PER_TURN) {
            ran = true;
            if catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
                tracing::error!("a task's waker panicked");
            }
        }
        ran
    }

    /// Cancels the tasks that could go on now.
    pub(crate) fn clear(&self) {
        self.runnable.try_iter().for_each(drop);
    }
}

pin_project! {
    /// A future that counts as a task until it is dropped. Not an `async` block: that would have room for the future twice,
    /// where it is handed over and where it is awaited.
    struct Counted<F> {
        #[pin]
        future: F,
        _alive: Alive,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(context)
    }
}

/// Counts a task until its future is dropped.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A spawned task. Dropping it lets the task run on; awaiting it gives its output.
#[must_use = "a task runs on without its handle, but then its output is lost: say `detach`"]
#[derive(Debug)]
pub struct Task<T> {
    task: Option<async_task::Task<T>>,
}

impl<T> Task<T> {
    /// Lets the task run on by itself.
    pub fn detach(self) {}

    /// Stops the task at its next suspension point.
    pub fn cancel(mut self) {
        drop(self.task.take());
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("there until dropped");
        Pin::new(task).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> (Executor, Arc<AtomicUsize>) {
        let rings = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&rings);
        let executor = Executor::new(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        (executor, rings)
    }

    /// Ready on the second look.
    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn a_task_runs_when_it_is_run_and_rings_when_it_can() {
        let (executor, rings) = counting();
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        executor
            .spawn(async move {
                yield_once().await;
                seen.store(7, Ordering::Relaxed);
            })
            .detach();
        assert_eq!(rings.load(Ordering::Relaxed), 1);
        assert!(executor.run());
        while executor.has_work() {
            executor.run();
        }
        assert_eq!(done.load(Ordering::Relaxed), 7);
        assert_eq!(rings.load(Ordering::Relaxed), 2);
        assert!(!executor.run());
    }

    #[test]
    fn a_task_has_room_for_its_future_once() {
        type Large = std::future::Ready<[u8; 4096]>;
        assert!(size_of::<Counted<Large>>() <= size_of::<Large>() + 16);
    }

    #[test]
    fn one_task_that_panics_harms_no_other() {
        let (executor, _) = counting();
        executor
            .spawn(async { panic!("expected by the test") })
            .detach();
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        executor
            .spawn(async move { seen.store(1, Ordering::Relaxed) })
            .detach();
        executor.run();
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_cancelled_task_drops_what_it_holds() {
        let (executor, _) = counting();
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let task = executor.spawn(async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        executor.run();
        task.cancel();
        executor.run();
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
