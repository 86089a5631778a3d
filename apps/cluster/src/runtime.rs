//! The thread of the heartbeats, which waits for datagrams and deadlines and for nothing else, and the thread of the
//! work that follows from them.
//!
//! The first has real-time priority where that is allowed. What it shares with the data path is the lock of the host
//! that it serves, nothing more. Its clock is the stack's: `CLOCK_BOOTTIME`, which goes on while the machine
//! sleeps and which nobody sets, so steps of the time of day mean nothing here.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell: a thread that waits for sockets and the clock"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::link::{Buffer, Handler, LinkError, Links};
use crate::realtime;
use outlive::engine::clock;
use outlive::time::Instant;

/// So late a thread has not merely waited for its turn: this process stood still, or its machine did.
const STOOD_STILL: Duration = Duration::from_millis(20);
/// Messages that arrive on other threads can bring a deadline nearer; none is nearer than this.
const LONGEST_WAIT: Duration = Duration::from_millis(5);

/// A host that is served: told of messages ([`Handler`]) and of time.
///
/// What must not be late and what may take long are done on two threads, so that a takeover of ten thousand
/// connections does not look like a dead host.
pub trait Host: Handler {
    /// Heartbeats, votes, leases; true if there is work.
    fn beat(&self, now: Instant) -> bool;

    /// When [`Self::beat`] has something to do, if nothing happens before.
    fn next_beat(&self, now: Instant) -> Instant;

    /// What follows from it, and may take long.
    fn work(&self, now: Instant);

    /// When [`Self::work`] has something to do, if nothing happens before.
    fn next_work(&self, now: Instant) -> Instant;

    /// This host did nothing for so long, though it had something to do: nobody else was slow then.
    fn stood_still(&self, duration: Duration);
}

/// The running threads of a host.
pub struct Runtime {
    links: Arc<Links>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    /// There is work.
    due: Mutex<bool>,
    changed: Condvar,
}

impl Runtime {
    /// Starts the links' threads, that of the heartbeats and that of the work.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(links: &Arc<Links>, host: &Arc<dyn Host>) -> Result<Self, LinkError> {
        let runtime = Self {
            links: Arc::clone(links),
            shared: Arc::default(),
            threads: Mutex::default(),
        };
        links.start(&(Arc::clone(host) as Arc<dyn Handler>))?;
        let (links, shared) = (Arc::clone(links), Arc::clone(&runtime.shared));
        let beating = Arc::clone(host);
        runtime.spawn("heartbeat", move || {
            realtime::raise();
            if let Err(error) = beat(&links, &*beating, &shared) {
                // Without heartbeats the lease runs out and this host is silent: safe, and worth a word.
                tracing::error!(%error, "heartbeats have ended");
            }
        })?;
        let (host, shared) = (Arc::clone(host), Arc::clone(&runtime.shared));
        runtime.spawn("replica", move || {
            realtime::prefer();
            work(&*host, &shared);
        })?;
        Ok(runtime)
    }

    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into());
        self.threads.lock().push(thread.spawn(body)?);
        Ok(())
    }

    /// Ends the threads. The host says nothing any more.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.links.wake();
        self.shared.wake();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
        self.links.stop();
    }
}

impl Shared {
    fn wake(&self) {
        *self.due.lock() = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

fn beat(links: &Links, host: &dyn Host, shared: &Shared) -> io::Result<()> {
    let mut buffer = Buffer::default();
    while !shared.is_stopped() {
        if host.beat(clock::now()) {
            shared.wake();
        }
        links.turn(Some(host.next_beat(clock::now())), &mut buffer, host)?;
    }
    Ok(())
}

fn work(host: &dyn Host, shared: &Shared) {
    while !shared.is_stopped() {
        let now = clock::now();
        host.work(now);
        let worked = clock::now();
        let wait = host.next_work(now).since(worked).min(LONGEST_WAIT);
        let mut due = shared.due.lock();
        if !*due {
            shared.changed.wait_for(&mut due, wait);
        }
        *due = false;
        drop(due);
        let late = clock::now().since(worked + wait);
        if late >= STOOD_STILL {
            host.stood_still(late);
        }
    }
}
