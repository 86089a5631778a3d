//! Applications in virtual time: a clock that only the world turns, and the tasks of one host.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use outlive_driver::Instant;

/// The time of a world, and who sleeps until when.
#[derive(Clone, Default)]
pub struct Clock {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Default)]
struct Shared {
    now: Instant,
    next_id: u64,
    sleepers: BinaryHeap<Reverse<(Instant, u64)>>,
    wakers: std::collections::HashMap<u64, Waker>,
}

impl Clock {
    /// The present virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.borrow().now
    }

    /// Completes when `duration` of virtual time has gone by.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let mut shared = self.shared.borrow_mut();
        shared.next_id += 1;
        Sleep {
            clock: self.clone(),
            until: shared.now + duration,
            id: shared.next_id,
            registered: false,
        }
    }

    /// `future`, or `None` once `duration` has gone by.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        let mut sleep = self.sleep(duration);
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            Pin::new(&mut sleep).poll(context).map(|()| None)
        })
        .await
    }

    /// Turns the clock and wakes who slept until then.
    pub(super) fn advance(&self, now: Instant) {
        let mut shared = self.shared.borrow_mut();
        shared.now = shared.now.max(now);
        while let Some(&Reverse((until, id))) = shared.sleepers.peek() {
            if until > now {
                break;
            }
            shared.sleepers.pop();
            if let Some(waker) = shared.wakers.remove(&id) {
                waker.wake();
            }
        }
    }

    /// When the next sleeper wants to be woken.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let mut shared = self.shared.borrow_mut();
        loop {
            let &Reverse((until, id)) = shared.sleepers.peek()?;
            if shared.wakers.contains_key(&id) {
                return Some(until);
            }
            shared.sleepers.pop();
        }
    }
}

/// Sleeping in virtual time.
pub struct Sleep {
    clock: Clock,
    until: Instant,
    id: u64,
    registered: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut shared = clock.shared.borrow_mut();
        if shared.now >= self.until {
            return Poll::Ready(());
        }
        shared.wakers.insert(self.id, context.waker().clone());
        if !self.registered {
            self.registered = true;
            shared.sleepers.push(Reverse((self.until, self.id)));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.shared.borrow_mut().wakers.remove(&self.id);
    }
}

type Ready = Arc<Mutex<VecDeque<usize>>>;

struct TaskWaker {
    index: usize,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready
                .lock()
                .expect("no task panics here")
                .push_back(self.index);
        }
    }
}

/// What a task runs.
type Application = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    future: Application,
    waker: Arc<TaskWaker>,
    /// Runs for as long as its host does: nobody waits for it to end.
    service: bool,
}

/// Starts tasks from within a task of the same host.
#[derive(Clone, Default)]
pub struct Spawner {
    started: Rc<RefCell<Vec<Application>>>,
}

impl Spawner {
    /// Starts a task as soon as the present one pauses.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.started.borrow_mut().push(Box::pin(future));
    }
}

/// The tasks of one host.
#[derive(Default)]
pub struct Tasks {
    tasks: Vec<Option<Task>>,
    ready: Ready,
    alive: usize,
    spawner: Spawner,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.start(Box::pin(future), false);
    }

    /// Starts a task that is not waited for.
    pub fn spawn_service(&mut self, future: impl Future<Output = ()> + 'static) {
        self.start(Box::pin(future), true);
    }

    /// What tasks use to start others.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    fn start(&mut self, future: Application, service: bool) {
        let waker = Arc::new(TaskWaker {
            index: self.tasks.len(),
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
        });
        waker.wake_by_ref();
        self.tasks.push(Some(Task {
            future,
            waker,
            service,
        }));
        self.alive += usize::from(!service);
    }

    /// Runs what can go on until nothing can; true if there was anything.
    pub fn run(&mut self) -> bool {
        let mut ran = false;
        loop {
            let started = std::mem::take(&mut *self.spawner.started.borrow_mut());
            for future in started {
                self.start(future, false);
            }
            let next = self.ready.lock().expect("no task panics here").pop_front();
            let Some(index) = next else {
                return ran;
            };
            ran = true;
            let Some(task) = &mut self.tasks[index] else {
                continue;
            };
            task.waker.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task.waker));
            let mut context = Context::from_waker(&waker);
            if task.future.as_mut().poll(&mut context).is_ready() {
                self.alive -= usize::from(!task.service);
                self.tasks[index] = None;
            }
        }
    }

    /// Ends the tasks that are not waited for.
    pub fn stop_services(&mut self) {
        for slot in &mut self.tasks {
            if slot.as_ref().is_some_and(|task| task.service) {
                *slot = None;
            }
        }
    }

    /// True when some task can go on now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.lock().expect("no task panics here").is_empty()
    }

    /// Tasks that have not finished.
    #[must_use]
    pub const fn alive(&self) -> usize {
        self.alive
    }

    /// Drops all tasks, as the death of their host does.
    pub fn clear(&mut self) {
        self.tasks.clear();
        self.alive = 0;
        self.ready.lock().expect("no task panics here").clear();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn sleepers_wake_in_order_and_at_their_time() {
        let (clock, mut tasks) = (Clock::default(), Tasks::default());
        let log: Rc<RefCell<Vec<u64>>> = Rc::default();
        for seconds in [3, 1, 2] {
            let (clock, log) = (clock.clone(), Rc::clone(&log));
            tasks.spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                log.borrow_mut().push(seconds);
            });
        }
        tasks.run();
        while let Some(next) = clock.next_deadline() {
            clock.advance(next);
            tasks.run();
        }
        assert_eq!(*log.borrow(), [1, 2, 3]);
        assert_eq!(
            (clock.now(), tasks.alive()),
            (Instant::from_millis(3000), 0)
        );
    }

    #[test]
    fn a_timeout_ends_what_never_ends() {
        let (clock, mut tasks) = (Clock::default(), Tasks::default());
        let seen = Rc::new(Cell::new(false));
        let (result, inside) = (Rc::clone(&seen), clock.clone());
        tasks.spawn(async move {
            let second = Duration::from_secs(1);
            assert_eq!(inside.timeout(second, std::future::ready(5)).await, Some(5));
            assert!(
                inside
                    .timeout(second, std::future::pending::<()>())
                    .await
                    .is_none()
            );
            result.set(true);
        });
        tasks.run();
        clock.advance(clock.next_deadline().expect("the second sleep"));
        tasks.run();
        assert!(seen.get() && clock.next_deadline().is_none());
    }
}
