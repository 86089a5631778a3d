//! Virtual time, and the two threads that call in at once.
//!
//! The thread that made the clock is the *main* thread: it puts packets in, takes packets out, and makes calls that
//! are not meant to wait. Others make calls that block. Time passes when a thread that is not waiting lets it, and
//! goes from one event to the next: at each, the stack does what is due, and then every thread that waits looks
//! whether it has what it wants. One that has returns, and time stands still until it has asked for the
//! time: that is how a caller learns when a call ended.
//!
//! A call of the main thread that has to wait lets time pass itself, and gives up when nothing will ever
//! happen.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::OnceLock;
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use outlive::socket::Direct;
use outlive::time::Instant;
use outlive_posix::{Driver, Limit, Waited};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::flags::Flags;
use crate::network::Network;
use crate::sysctl::Sysctls;

/// When virtual time begins: late enough for everything that looks back.
const BEGIN: Instant = Instant::from_millis(1_000_000);
/// What a look at the clock takes, so that whoever watches it sees it move.
const LOOK: Duration = Duration::from_micros(1);
/// How long, in real time, a thread that has asked for the time is left to tell its caller what it brought.
const GRACE: Duration = Duration::from_millis(1);
/// How long, in real time, time waits for a thread that has what it wanted to ask for the time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Virtual time, with a stack in it.
pub(crate) struct Clock {
    flags: Flags,
    sysctls: Sysctls,
    main: ThreadId,
    network: OnceLock<Network>,
    shared: Mutex<Shared>,
    changed: Condvar,
}

struct Shared {
    now: Instant,
    /// What left, and when.
    left: VecDeque<(Instant, Vec<u8>)>,
    waiting: HashMap<ThreadId, Waiting>,
    /// Threads whose call has ended, and that have not asked for the time.
    returning: HashSet<ThreadId>,
    /// One of them has just asked.
    returned: bool,
}

struct Waiting {
    deadline: Option<Instant>,
    /// It is to look whether it has what it waits for.
    look: bool,
}

impl Clock {
    /// The clock of this thread. The stack is made when it is first needed: until then a caller may set
    /// sysctls.
    pub(crate) fn new(flags: Flags, sysctls: Sysctls) -> Self {
        Self {
            flags,
            sysctls,
            main: thread::current().id(),
            network: OnceLock::new(),
            shared: Mutex::new(Shared {
                now: BEGIN,
                left: VecDeque::new(),
                waiting: HashMap::new(),
                returning: HashSet::new(),
                returned: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn network(&self) -> &Network {
        self.network.get_or_init(|| {
            Network::new(&self.flags, &self.sysctls, BEGIN)
                .expect("a stack in memory with a seed always starts")
        })
    }

    fn is_main(&self) -> bool {
        thread::current().id() == self.main
    }

    /// The time; it moves a little with every look, but for the one after a call that waited.
    pub(crate) fn look(&self) -> Instant {
        let mut shared = self.shared.lock();
        if shared.returning.remove(&thread::current().id()) {
            shared.returned = true;
            self.changed.notify_all();
        } else {
            let until = shared.now + LOOK;
            self.advance(&mut shared, until);
        }
        shared.now
    }

    /// Lets time pass.
    pub(crate) fn sleep(&self, duration: Duration) {
        let mut shared = self.shared.lock();
        if self.is_main() && std::mem::take(&mut shared.returned) {
            // The caller holds nothing while it sleeps: what the other thread brought is to be known before more time passes.
            drop(shared);
            thread::sleep(GRACE);
            shared = self.shared.lock();
        }
        let until = shared.now + duration;
        self.advance(&mut shared, until);
    }

    /// A packet arrives.
    pub(crate) fn put(&self, packet: &[u8]) {
        let mut shared = self.shared.lock();
        self.await_returning(&mut shared);
        // The stack is to know what time it is before it hears of anything.
        let _ = self.network();
        self.settle(&mut shared);
        self.network().receive(shared.now, packet);
        self.settle(&mut shared);
        self.have_looked(&mut shared);
    }

    /// The next packet that leaves, and when; time passes until there is one. None when none will come.
    pub(crate) fn take(&self) -> Option<(Instant, Vec<u8>)> {
        let mut shared = self.shared.lock();
        loop {
            if let Some(packet) = shared.left.pop_front() {
                return Some(packet);
            }
            let next = self.next_event(&shared)?;
            self.advance(&mut shared, next);
        }
    }

    /// Goes to `until`, by way of every event before.
    fn advance(&self, shared: &mut MutexGuard<'_, Shared>, until: Instant) {
        self.await_returning(shared);
        while let Some(next) = self.next_event(shared)
            && next <= until
        {
            shared.now = shared.now.max(next);
            self.settle(shared);
            self.have_looked(shared);
        }
        shared.now = shared.now.max(until);
        self.settle(shared);
    }

    /// When something happens next, in the future.
    fn next_event(&self, shared: &Shared) -> Option<Instant> {
        let network = self.network.get()?.next_deadline();
        let limits = shared.waiting.values().filter_map(|it| it.deadline);
        let next = limits.chain(network).min()?;
        Some(next.max(shared.now + Duration::from_nanos(1)))
    }

    /// The stack does what is due now.
    fn settle(&self, shared: &mut Shared) {
        if let Some(network) = self.network.get() {
            let now = shared.now;
            let packets = network.poll(now).map(|packet| (now, packet));
            shared.left.extend(packets);
        }
    }

    /// Every thread that waits looks whether it has what it wants, and those that have it ask for the time.
    fn have_looked(&self, shared: &mut MutexGuard<'_, Shared>) {
        if shared.waiting.is_empty() {
            return;
        }
        for waiting in shared.waiting.values_mut() {
            waiting.look = true;
        }
        self.changed.notify_all();
        while shared.waiting.values().any(|waiting| waiting.look) {
            if self.changed.wait_for(shared, PATIENCE).timed_out() {
                break;
            }
        }
        self.await_returning(shared);
    }

    fn await_returning(&self, shared: &mut MutexGuard<'_, Shared>) {
        let me = thread::current().id();
        while shared.returning.iter().any(|&thread| thread != me) {
            if self.changed.wait_for(shared, PATIENCE).timed_out() {
                // It does not care what time it is.
                shared.returning.clear();
            }
        }
    }

    /// A call of the main thread.
    fn wait_in_main(
        &self,
        shared: &mut MutexGuard<'_, Shared>,
        limit: Limit,
        attempt: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Waited {
        loop {
            let ready = attempt(&mut Context::from_waker(Waker::noop()));
            self.settle(shared);
            self.have_looked(shared);
            if ready {
                return Waited::Ready;
            }
            let next = match limit {
                Limit::Now => return Waited::TimedOut,
                Limit::Until(deadline) if deadline <= shared.now => return Waited::TimedOut,
                Limit::Until(deadline) => {
                    let next = self.next_event(shared);
                    next.map_or(deadline, |next| next.min(deadline))
                }
                Limit::Never => match self.next_event(shared) {
                    Some(next) => next,
                    None => return Waited::TimedOut,
                },
            };
            self.advance(shared, next);
        }
    }

    /// A call of another thread.
    fn wait_aside(
        &self,
        shared: &mut MutexGuard<'_, Shared>,
        limit: Limit,
        attempt: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Waited {
        let me = thread::current().id();
        let deadline = match limit {
            Limit::Until(deadline) => Some(deadline),
            Limit::Now | Limit::Never => None,
        };
        loop {
            let ready = attempt(&mut Context::from_waker(Waker::noop()));
            self.settle(shared);
            let over = limit == Limit::Now || deadline.is_some_and(|at| at <= shared.now);
            if ready || over {
                shared.waiting.remove(&me);
                shared.returning.insert(me);
                self.changed.notify_all();
                return if ready {
                    Waited::Ready
                } else {
                    Waited::TimedOut
                };
            }
            shared.waiting.insert(
                me,
                Waiting {
                    deadline,
                    look: false,
                },
            );
            self.changed.notify_all();
            while shared.waiting.get(&me).is_some_and(|it| !it.look) {
                self.changed.wait(shared);
            }
        }
    }
}

impl Driver for Clock {
    fn direct(&self) -> &Direct {
        &self.network().direct
    }

    /// There is no other clock here.
    fn wall_clock(&self, at: Instant) -> Duration {
        Duration::from_nanos(at.as_nanos())
    }

    fn wait(&self, limit: Limit, attempt: &mut dyn FnMut(&mut Context<'_>) -> bool) -> Waited {
        let mut shared = self.shared.lock();
        // The stack is to know what time it is before it is called.
        let _ = self.network();
        self.settle(&mut shared);
        if self.is_main() {
            self.wait_in_main(&mut shared, limit, attempt)
        } else {
            self.wait_aside(&mut shared, limit, attempt)
        }
    }
}
