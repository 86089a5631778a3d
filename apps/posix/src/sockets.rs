//! The table of descriptors, and what every call does around its work.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use outlive::socket::Direct;
use outlive::tcp::{KeepAlive, SocketOptions};
use parking_lot::Mutex;

use crate::address::Family;
use crate::choices::Choices;
use crate::datagram::Datagrams;
use crate::descriptor::{Descriptor, Object, Open};
use crate::driver::{Driver, Limit, Waited};
use crate::errno::{Errno, Result};
use crate::socket::{Phase, Socket};

/// What new sockets begin with.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// What the stack is told.
    pub tcp: SocketOptions,
    /// How sockets are kept alive that ask for it.
    pub keep_alive: KeepAlive,
    /// What `SO_SNDBUF` says.
    pub send_buffer: u32,
    /// What `SO_RCVBUF` says.
    pub receive_buffer: u32,
    /// Who may open fast (RFC 7413).
    pub fast_open: FastOpenPolicy,
    /// Largest size that `SO_SNDBUF` and `SO_RCVBUF` may ask for, before it is doubled.
    pub max_buffers: (u32, u32),
}

/// What of Fast Open is permitted, as Linux's `tcp_fastopen` says it in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastOpenPolicy {
    /// Those that connect may (1).
    pub client: bool,
    /// They send data without a cookie, too (4).
    pub client_without_cookie: bool,
    /// Those listeners may that ask for it with `TCP_FASTOPEN` (2).
    pub server: bool,
    /// They take data from peers without a cookie, too (0x200).
    pub to_all: bool,
    /// All may, without asking for it (0x400).
    pub unasked: bool,
}

impl Default for FastOpenPolicy {
    /// As Linux is delivered.
    fn default() -> Self {
        Self {
            client: true,
            client_without_cookie: false,
            server: false,
            to_all: false,
            unasked: false,
        }
    }
}

impl Default for Defaults {
    /// As Linux is delivered.
    fn default() -> Self {
        Self {
            tcp: SocketOptions::default(),
            keep_alive: KeepAlive::default(),
            send_buffer: 16_384,
            receive_buffer: 131_072,
            fast_open: FastOpenPolicy::default(),
            max_buffers: (212_992, 212_992),
        }
    }
}

/// One socket or connection, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketState {
    /// Its descriptor; none once it was closed, and before it was accepted.
    pub descriptor: Option<Descriptor>,
    /// Our end; none while not bound.
    pub local: Option<SocketAddr>,
    /// The peer's end.
    pub remote: Option<SocketAddr>,
    /// The state's name in RFC 9293.
    pub state: &'static str,
}

type DefaultsNow = Box<dyn Fn() -> Defaults + Send + Sync>;

/// The descriptors of a process, on one stack.
pub struct Sockets {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) defaults: DefaultsNow,
    open: Mutex<BTreeMap<Descriptor, Open>>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").finish_non_exhaustive()
    }
}

impl Sockets {
    /// No descriptor is open. `defaults` is asked whenever a socket is made.
    #[must_use]
    pub fn new(
        driver: Arc<dyn Driver>,
        defaults: impl Fn() -> Defaults + Send + Sync + 'static,
    ) -> Self {
        Self {
            driver,
            defaults: Box::new(defaults),
            open: Mutex::default(),
        }
    }

    pub(crate) fn direct(&self) -> &Direct {
        self.driver.direct()
    }

    /// `socket(2)`.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EINVAL`, `EMFILE`.
    pub fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Descriptor> {
        let family = Family::from_domain(domain)?;
        let flags = kind & (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
        let nonblocking = flags & libc::SOCK_NONBLOCK != 0;
        let own_protocol = match kind & !flags {
            libc::SOCK_STREAM => libc::IPPROTO_TCP,
            libc::SOCK_DGRAM => libc::IPPROTO_UDP,
            libc::SOCK_RAW => return Err(Errno(libc::EPROTONOSUPPORT)),
            _ => return Err(Errno(libc::EINVAL)),
        };
        if protocol != 0 && protocol != own_protocol {
            return Err(Errno(libc::EPROTONOSUPPORT));
        }
        let choices = Choices::new((self.defaults)());
        if own_protocol == libc::IPPROTO_UDP {
            let socket = Datagrams::new(family, nonblocking, choices.tcp.ttl);
            return self.insert(Object::Datagrams(socket));
        }
        let socket = Socket::new(family, nonblocking, choices);
        self.insert(Object::Socket(socket))
    }

    pub(crate) fn insert(&self, object: Object) -> Result<Descriptor> {
        let open = Open::new(object)?;
        let number = open.number();
        let before = self.open.lock().insert(number, open);
        if let Some(gone) = before {
            // The kernel gave the number again: it was closed behind our back.
            self.abandon(gone.object);
        }
        Ok(number)
    }

    /// True if `descriptor` is one of ours.
    #[must_use]
    pub fn is_ours(&self, descriptor: Descriptor) -> bool {
        self.open.lock().contains_key(&descriptor)
    }

    pub(crate) fn remove(&self, descriptor: Descriptor) -> Result<Object> {
        let open = self.open.lock().remove(&descriptor);
        open.map(Open::close).ok_or(Errno(libc::EBADF))
    }

    /// Closes everything that is open.
    pub fn close_all(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for entry in open.into_values() {
            self.abandon(entry.close());
        }
    }

    pub(crate) fn object(&self, descriptor: Descriptor) -> Result<Object> {
        let open = self.open.lock();
        let found = open.get(&descriptor).map(|it| it.object.clone());
        found.ok_or(Errno(libc::EBADF))
    }

    pub(crate) fn find(&self, descriptor: Descriptor) -> Result<Arc<Socket>> {
        match self.object(descriptor)? {
            Object::Socket(socket) => Ok(socket),
            // The calls of streams.
            Object::Datagrams(_) => Err(Errno(libc::EOPNOTSUPP)),
            _ => Err(Errno(libc::ENOTSOCK)),
        }
    }

    /// Does something that does not wait, and what follows from it.
    pub(crate) fn at_once<R>(&self, act: impl FnOnce() -> R) -> R {
        let mut act = Some(act);
        let mut result = None;
        self.driver.wait(Limit::Now, &mut |_| {
            if let Some(act) = act.take() {
                result = Some(act());
            }
            true
        });
        result.expect("a wait attempts at least once")
    }

    /// Calls `attempt` until it is ready; none if the limit came first.
    pub(crate) fn until<R>(
        &self,
        limit: Limit,
        mut attempt: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Option<R> {
        let mut result = None;
        let waited = self.driver.wait(limit, &mut |cx| {
            if let Poll::Ready(value) = attempt(cx) {
                result = Some(value);
            }
            result.is_some()
        });
        debug_assert_eq!(waited == Waited::Ready, result.is_some());
        result
    }

    /// How long a call may wait.
    pub(crate) fn limit(&self, nonblocking: bool, timeout: Option<Duration>) -> Limit {
        match timeout {
            _ if nonblocking => Limit::Now,
            Some(timeout) => Limit::Until(self.driver.now() + timeout),
            None => Limit::Never,
        }
    }

    /// True if a socket of ours is bound to that port, on an address that overlaps. One of IPv6 only (RFC 3493 §5.3) leaves
    /// all of IPv4 to others.
    pub(crate) fn is_bound(&self, address: SocketAddr, but: &Arc<Socket>) -> bool {
        let only_v6 = but.inner.lock().choices.only_v6;
        let open = self.open.lock();
        open.values().any(|entry| match &entry.object {
            Object::Socket(socket) if !Arc::ptr_eq(socket, but) => {
                let inner = socket.inner.lock();
                let shared =
                    inner.choices.reuse_address && !matches!(inner.phase, Phase::Listening(_));
                inner.local.is_some_and(|local| {
                    let ips = [local.ip(), address.ip()];
                    let apart =
                        ips[0].is_ipv4() != ips[1].is_ipv4() && (only_v6 || inner.choices.only_v6);
                    let overlap = ips[0] == ips[1]
                        || !apart && ips.iter().any(std::net::IpAddr::is_unspecified);
                    local.port() == address.port() && overlap && !shared
                })
            }
            _ => false,
        })
    }

    /// All sockets, and the connections that belong to none (any more, or not yet).
    #[must_use]
    pub fn states(&self) -> Vec<SocketState> {
        let mut seen = HashSet::new();
        let mut states = Vec::new();
        for (&descriptor, entry) in &*self.open.lock() {
            let Object::Socket(socket) = &entry.object else {
                continue;
            };
            let inner = socket.inner.lock();
            let (remote, state) = match &inner.phase {
                Phase::Fresh => (None, "CLOSED"),
                Phase::Listening(_) => (None, "LISTEN"),
                Phase::Connected(connection) => {
                    seen.insert(connection.id);
                    let state = connection.tcb.lock().state().name();
                    (Some(connection.id.remote_addr()), state)
                }
            };
            states.push(SocketState {
                descriptor: Some(descriptor),
                local: inner.local,
                remote,
                state,
            });
        }
        for connection in self.direct().tcp().connections() {
            if !seen.contains(&connection.id) {
                states.push(SocketState {
                    descriptor: None,
                    local: Some(connection.id.local_addr()),
                    remote: Some(connection.id.remote_addr()),
                    state: connection.tcb.lock().state().name(),
                });
            }
        }
        states
    }
}
