//! The thread of the heartbeats: it waits for datagrams and deadlines, and for nothing else.
//!
//! It has real-time priority where that is allowed. What it shares with the data path is the lock of the host
//! that it serves, nothing more. Its clock is the stack's: `CLOCK_BOOTTIME`, which goes on while the machine
//! sleeps and which nobody sets, so steps of the time of day mean nothing here.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell: a thread that waits for sockets and the clock"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::link::{Buffer, Handler, LinkError, Links};
use crate::realtime;
use outlive::engine::clock;
use outlive::time::Instant;

/// A host that is served: told of messages ([`Handler`]) and of time.
pub trait Host: Handler {
    /// Does what is due.
    fn poll(&self, now: Instant);

    /// When [`Self::poll`] has something to do, if nothing happens before.
    fn next_deadline(&self, now: Instant) -> Option<Instant>;
}

/// The running threads of a host.
pub struct Runtime {
    links: Arc<Links>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    stopped: AtomicBool,
    /// What the thread waits for, in nanoseconds.
    deadline: AtomicU64,
}

/// Ends the wait of the heartbeat thread when a deadline has come nearer.
#[derive(Clone)]
pub struct Nudge {
    links: Arc<Links>,
    shared: Arc<Shared>,
}

impl Nudge {
    /// Call it when the host's next deadline may have changed, on another thread.
    pub fn at(&self, deadline: Option<Instant>) {
        let armed = self.shared.deadline.load(Ordering::Acquire);
        if deadline.is_some_and(|deadline| deadline.as_nanos() < armed) {
            self.links.wake();
        }
    }
}

impl Runtime {
    /// Starts the links' threads and that of the heartbeats.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(links: &Arc<Links>, host: &Arc<dyn Host>) -> Result<Self, LinkError> {
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
        });
        let handler: Arc<dyn Handler> = Arc::clone(host) as Arc<dyn Handler>;
        links.start(&handler)?;
        let thread = std::thread::Builder::new().name("heartbeat".into());
        let thread = {
            let (links, host, shared) = (Arc::clone(links), Arc::clone(host), Arc::clone(&shared));
            thread.spawn(move || {
                realtime::raise();
                if let Err(error) = run(&links, &*host, &shared) {
                    // Without heartbeats the lease runs out and this host is silent: safe, and worth a word.
                    tracing::error!(%error, "heartbeats have ended");
                }
            })?
        };
        Ok(Self {
            links: Arc::clone(links),
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// For threads on which the host is told something.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge {
            links: Arc::clone(&self.links),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Ends the threads. The host says nothing any more.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.links.wake();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        self.links.stop();
    }
}

fn run(links: &Links, host: &dyn Host, shared: &Shared) -> io::Result<()> {
    let mut buffer = Buffer::default();
    while !shared.stopped.load(Ordering::Acquire) {
        host.poll(clock::now());
        let deadline = host.next_deadline(clock::now());
        let nanos = deadline.map_or(u64::MAX, Instant::as_nanos);
        shared.deadline.store(nanos, Ordering::Release);
        // A deadline that came nearer just before that store is found here, later ones wake.
        let deadline = [deadline, host.next_deadline(clock::now())];
        links.turn(deadline.into_iter().flatten().min(), &mut buffer, host)?;
    }
    Ok(())
}
