//! Time-outs that can be taken back.
//!
//! A connection sets a time-out for every wait and nearly always ends the wait before it. Timers of the
//! stack stay until they are due; here a dropped time-out is gone at once, so that busy connections
//! leave nothing behind. One thread for all, which sleeps until the earliest is due.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use outlive::engine::clock;
use outlive::time::Instant;
use parking_lot::{Condvar, Mutex};

/// A clock that wakes tasks on any executor.
#[derive(Debug)]
pub struct Timers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
    /// When the thread looks next: only an earlier deadline needs to wake it.
    looks_at: Instant,
    closed: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            next_id: 0,
            looks_at: Instant::FAR_FUTURE,
            closed: false,
        }
    }
}

impl Timers {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = Arc::clone(&shared);
        #[expect(
            clippy::disallowed_methods,
            reason = "this thread exists in order to wait"
        )]
        std::thread::Builder::new()
            .name("timers".into())
            .spawn(move || thread.work())?;
        Ok(Self { shared })
    }

    /// Ready after `duration`.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep {
            shared: Arc::clone(&self.shared),
            deadline: clock::now() + duration,
            id: None,
        }
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let now = clock::now();
            let later = state.waiting.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut state.waiting, later);
            if !due.is_empty() {
                // Whoever is woken may set the next timer at once.
                parking_lot::MutexGuard::unlocked(&mut state, || {
                    due.into_values().for_each(Waker::wake);
                });
                continue;
            }
            match state.waiting.first_key_value() {
                Some((&(deadline, _), _)) => {
                    state.looks_at = deadline;
                    self.changed.wait_for(&mut state, deadline.since(now));
                }
                None => {
                    state.looks_at = Instant::FAR_FUTURE;
                    self.changed.wait(&mut state);
                }
            }
        }
    }
}

/// A time-out; dropping it takes it back.
#[derive(Debug)]
pub struct Sleep {
    shared: Arc<Shared>,
    deadline: Instant,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if clock::now() >= self.deadline {
            return Poll::Ready(());
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        let id = *self.id.get_or_insert_with(|| {
            state.next_id += 1;
            state.next_id
        });
        state
            .waiting
            .insert((self.deadline, id), context.waker().clone());
        if self.deadline < state.looks_at {
            state.looks_at = self.deadline;
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared
                .state
                .lock()
                .waiting
                .remove(&(self.deadline, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_outs_come_in_their_order_and_dropped_ones_are_gone() {
        let timers = Timers::start().expect("timers");
        let mut long = Box::pin(timers.sleep(Duration::from_secs(3600)));
        tokio::select! {
            biased;
            () = &mut long => panic!("an hour has passed"),
            () = timers.sleep(Duration::from_millis(30)) => {}
        }
        tokio::select! {
            biased;
            () = &mut long => panic!("an hour has passed"),
            () = timers.sleep(Duration::from_millis(60)) => panic!("the shorter one comes first"),
            () = timers.sleep(Duration::from_millis(10)) => {}
        }
        assert_eq!(
            timers.shared.state.lock().waiting.len(),
            1,
            "only the long one is left"
        );
        drop(long);
        assert!(timers.shared.state.lock().waiting.is_empty());
    }
}
