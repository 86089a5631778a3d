//! LISTEN (RFC 9293 §3.10.1, §3.10.7.2): connections on their way in, and those that wait for `accept`.
//!
//! Two queues, as in Linux. A SYN makes a half-open connection in the *SYN queue*; its last ACK moves it to
//! the *accept queue*. While the accept queue is full, SYNs and last ACKs are dropped: the peer believes
//! the connection open, and our SYN-ACK, sent again, has it repeat the ACK. A full SYN queue drops its
//! oldest entry (RFC 4987 §3.3): an honest peer is through in one round trip, a flood waits for ever. With SYN cookies
//! (`pressure.rs`), which are the default, it keeps what it has and answers new SYNs without keeping anything.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::config::{ListenOptions, Secret, SocketOptions};
use super::table::ById;
use super::{Connection, Error, FourTuple};
use crate::counters::Counter;
use crate::keyed::Keyed;
use crate::replication::Survival;

/// A port that accepts connections.
#[derive(Debug)]
pub struct Listener {
    pub(super) local: SocketAddr,
    /// Others may listen there too.
    pub(super) shared: bool,
    /// On `[::]`: connections over IPv4 are for others.
    pub(super) only_v6: bool,
    /// Tells those apart.
    pub(super) number: u64,
    backlog: usize,
    max_half_open: usize,
    syn_cookies: bool,
    /// Takes data with a SYN, and even from peers without a cookie.
    fast_open: AtomicBool,
    fast_open_to_all: AtomicBool,
    fast_open_secret: Mutex<Option<Secret>>,
    defer_accept_retries: AtomicU8,
    /// Until when (in milliseconds of their clock) cookies may come back.
    cookies_until_ms: AtomicU64,
    /// What its connections start with.
    socket: Mutex<Arc<SocketOptions>>,
    /// How they outlive this host.
    pub(super) survival: Survival,
    /// Length of the accept queue, to be read without its lock.
    waiting: AtomicUsize,
    /// Connections that ever came to the accept queue.
    completed: AtomicU64,
    queues: Mutex<Queues>,
}

#[derive(Debug)]
struct Queues {
    half_open: HashSet<ById, Keyed>,
    /// The same in the order of arrival, with some that are gone.
    order: VecDeque<FourTuple>,
    accept: VecDeque<Arc<Connection>>,
    wakers: Vec<Waker>,
    closed: bool,
}

/// What becomes of a SYN.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is room for a half-open connection, for which another one may have to go.
    Room {
        /// That one.
        evicted: Option<FourTuple>,
    },
    /// There is none: it is answered with a cookie.
    Cookie,
}

impl Listener {
    pub(super) fn new(
        local: SocketAddr,
        options: ListenOptions,
        number: u64,
        keyed: Keyed,
    ) -> Self {
        Self {
            local,
            shared: options.reuse_port,
            only_v6: options.only_v6,
            number,
            backlog: options.backlog,
            max_half_open: options.max_half_open.max(1),
            syn_cookies: options.syn_cookies,
            fast_open: AtomicBool::new(options.fast_open),
            fast_open_to_all: AtomicBool::new(options.fast_open_to_all),
            fast_open_secret: Mutex::new(options.fast_open_secret),
            defer_accept_retries: AtomicU8::new(options.defer_accept_retries),
            cookies_until_ms: AtomicU64::new(0),
            socket: Mutex::new(Arc::new(options.socket)),
            survival: options.survival,
            waiting: AtomicUsize::new(0),
            completed: AtomicU64::new(0),
            queues: Mutex::new(Queues {
                half_open: HashSet::with_hasher(keyed),
                order: VecDeque::new(),
                accept: VecDeque::new(),
                wakers: Vec::new(),
                closed: false,
            }),
        }
    }

    /// Where it listens; an unspecified address stands for all of ours.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What its connections start with.
    pub(super) fn socket(&self) -> Arc<SocketOptions> {
        Arc::clone(&self.socket.lock())
    }

    /// Has connections that begin from now on start with `options`.
    pub fn set_options(&self, options: SocketOptions) {
        *self.socket.lock() = Arc::new(options);
    }

    /// As [`ListenOptions::fast_open`], from now on.
    pub fn set_fast_open(&self, on: bool) {
        self.fast_open.store(on, Ordering::Relaxed);
    }

    pub(super) fn opens_fast(&self) -> bool {
        self.fast_open.load(Ordering::Relaxed)
    }

    /// As [`ListenOptions::fast_open_to_all`], from now on.
    pub fn set_fast_open_to_all(&self, on: bool) {
        self.fast_open_to_all.store(on, Ordering::Relaxed);
    }

    pub(super) fn opens_fast_to_all(&self) -> bool {
        self.fast_open_to_all.load(Ordering::Relaxed)
    }

    /// As [`ListenOptions::fast_open_secret`], from now on.
    pub fn set_fast_open_secret(&self, secret: Option<Secret>) {
        *self.fast_open_secret.lock() = secret;
    }

    pub(super) fn fast_open_key(&self) -> Option<Secret> {
        *self.fast_open_secret.lock()
    }

    /// As [`ListenOptions::defer_accept_retries`], from now on.
    pub fn set_defer_accept(&self, retries: u8) {
        self.defer_accept_retries.store(retries, Ordering::Relaxed);
    }

    /// True if a handshake is not to be completed without data, after the SYN-ACK was sent again `retries` times.
    pub(super) fn defers(&self, retries: u8) -> bool {
        retries < self.defer_accept_retries.load(Ordering::Relaxed)
    }

    /// The oldest connection that is established and not accepted.
    ///
    /// # Errors
    /// [`Error::ListenerClosed`] after the listener was closed.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<Connection>, Error>> {
        let mut queues = self.queues.lock();
        if let Some(connection) = queues.accept.pop_front() {
            self.waiting.store(queues.accept.len(), Ordering::Relaxed);
            return Poll::Ready(Ok(connection));
        }
        if queues.closed {
            return Poll::Ready(Err(Error::ListenerClosed));
        }
        queues.remember(cx);
        Poll::Pending
    }

    /// Ready when [`Listener::poll_accept`] would give something.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queues = self.queues.lock();
        if !queues.accept.is_empty() || queues.closed {
            return Poll::Ready(());
        }
        queues.remember(cx);
        Poll::Pending
    }

    /// How many connections wait to be accepted.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many connections ever came to wait to be accepted.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// True while last ACKs have to be dropped. One more than the backlog fits, as in Linux.
    pub(super) fn accept_queue_is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.backlog
    }

    /// Cookies may come back until then, in milliseconds of their clock.
    pub(super) fn expects_cookies(&self) -> u64 {
        self.cookies_until_ms.load(Ordering::Relaxed)
    }

    /// A cookie was given that is good until then.
    pub(super) fn expect_cookies(&self, until_ms: u64) {
        self.cookies_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Asks for room in the SYN queue; `crowded` if all listeners together have none.
    pub(super) fn admit(&self, crowded: bool) -> Result<Admission, Counter> {
        if self.accept_queue_is_full() {
            return Err(Counter::TcpDropAcceptQueue);
        }
        let mut queues = self.queues.lock();
        if queues.closed {
            return Err(Counter::TcpDropState);
        }
        let full = queues.half_open.len() >= self.max_half_open;
        match (full || crowded, self.syn_cookies) {
            (true, true) => Ok(Admission::Cookie),
            (true, false) if crowded => Err(Counter::TcpDropSynQueue),
            (true, false) => Ok(Admission::Room {
                evicted: queues.oldest_half_open(),
            }),
            (false, _) => Ok(Admission::Room { evicted: None }),
        }
    }

    pub(super) fn add_half_open(&self, connection: &Arc<Connection>) {
        let mut queues = self.queues.lock();
        if queues.order.len() > 2 * queues.half_open.len() + 64 {
            let Queues {
                half_open, order, ..
            } = &mut *queues;
            order.retain(|id| half_open.contains(id));
        }
        queues.order.push_back(connection.id);
        queues.half_open.insert(ById(Arc::clone(connection)));
    }

    /// The handshake is complete. False if the listener was closed meanwhile: the connection has to go.
    pub(super) fn complete(&self, connection: &Arc<Connection>, wakers: &mut Vec<Waker>) -> bool {
        let mut queues = self.queues.lock();
        queues.half_open.remove(&connection.id);
        if queues.closed {
            return false;
        }
        queues.accept.push_back(Arc::clone(connection));
        self.completed.fetch_add(1, Ordering::Relaxed);
        self.waiting.store(queues.accept.len(), Ordering::Relaxed);
        wakers.append(&mut queues.wakers);
        true
    }

    /// A half-open connection ended.
    pub(super) fn forget(&self, id: &FourTuple) {
        self.queues.lock().half_open.remove(id);
    }

    /// Forgets every connection that nobody accepted; goes on listening.
    pub(super) fn forget_all(&self) {
        let mut queues = self.queues.lock();
        queues.half_open.clear();
        queues.order.clear();
        queues.accept.clear();
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// Accepts nothing more; returns every connection that nobody accepted, and whom to tell.
    pub(super) fn close(&self) -> (Vec<Arc<Connection>>, Vec<Waker>) {
        let mut queues = self.queues.lock();
        queues.closed = true;
        self.waiting.store(0, Ordering::Relaxed);
        let mut orphans: Vec<_> = queues.half_open.drain().map(|entry| entry.0).collect();
        orphans.extend(queues.accept.drain(..));
        queues.order = VecDeque::new();
        (orphans, std::mem::take(&mut queues.wakers))
    }
}

impl Queues {
    fn remember(&mut self, cx: &Context<'_>) {
        if !self.wakers.iter().any(|it| it.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
    }

    fn oldest_half_open(&mut self) -> Option<FourTuple> {
        while let Some(id) = self.order.pop_front() {
            if self.half_open.remove(&id) {
                return Some(id);
            }
        }
        None
    }
}
