//! What time is, and how a call waits: the one thing that differs between a stack with threads and one in
//! virtual time.

use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use outlive::socket::Direct;
use outlive::time::Instant;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Not at all.
    Now,
    /// Until then.
    Until(Instant),
    /// Until it has what it wants.
    Never,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// With what was waited for.
    Ready,
    /// Without it: the limit came first, or nothing will ever happen again.
    TimedOut,
}

/// A stack that can be waited on.
pub trait Driver: Send + Sync {
    /// The calls of the stack.
    fn direct(&self) -> &Direct;

    /// Calls `attempt` until it returns true or the limit comes; at least once. Whatever a call does to the
    /// stack happens inside `attempt`; when this returns, what followed from it has happened too.
    fn wait(&self, limit: Limit, attempt: &mut dyn FnMut(&mut Context<'_>) -> bool) -> Waited;

    /// The present time.
    fn now(&self) -> Instant {
        self.direct().stack().now()
    }

    /// What clocks on walls showed then, since 1970.
    fn wall_clock(&self, at: Instant) -> Duration {
        let since = self.now().since(at);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        wall.unwrap_or_default().saturating_sub(since)
    }

    /// Something was done that sockets of this process may wait for (a pipe has data).
    fn ring(&self) {}
}

/// A stack with threads.
#[derive(Clone, Debug)]
pub struct Threaded(Direct);

impl Threaded {
    /// The calls of `stack`, which runs by itself.
    #[must_use]
    pub const fn new(stack: outlive::engine::Stack) -> Self {
        Self(Direct::new(stack))
    }
}

impl Driver for Threaded {
    fn direct(&self) -> &Direct {
        &self.0
    }

    fn wait(&self, limit: Limit, attempt: &mut dyn FnMut(&mut Context<'_>) -> bool) -> Waited {
        let deadline = match limit {
            Limit::Now => {
                let ready = attempt(&mut Context::from_waker(Waker::noop()));
                return if ready {
                    Waited::Ready
                } else {
                    Waited::TimedOut
                };
            }
            Limit::Until(deadline) => Some(deadline),
            Limit::Never => None,
        };
        match self.0.wait(deadline, attempt) {
            Ok(true) => Waited::Ready,
            Ok(false) | Err(_) => Waited::TimedOut,
        }
    }
}
