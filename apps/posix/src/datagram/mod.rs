//! Datagram sockets (UDP): what a descriptor of `SOCK_DGRAM` stands for.
//!
//! | file | job |
//! |---|---|
//! | `open` | `bind`, `connect`, both names, `shutdown`, `close` |
//! | `transfer` | datagrams in and out |
//! | `options` | `getsockopt` and `setsockopt` |
//!
//! As on Linux, what ICMP says of an earlier datagram is the error of the next call, for sockets that are connected or ask for it
//! (`IP_RECVERR`). Left out: `MSG_MORE` and `UDP_CORK` (refused, not ignored), `UDP_SEGMENT` and `UDP_GRO`, groups
//! (`IP_ADD_MEMBERSHIP`), the error queue (`MSG_ERRQUEUE`), ancillary data but for times, and sharing a port.

mod open;
mod options;
mod transfer;

pub(crate) use transfer::Incoming;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use outlive::ip::ErrorKind;
use outlive::udp;
use parking_lot::Mutex;

use crate::address::Family;
use crate::errno::{Errno, Result};
use crate::readiness::{self, News, Ready};

/// A datagram socket.
pub(crate) struct Datagrams {
    inner: Mutex<Inner>,
}

/// Everything about it; locked for the time of a call, never while waiting.
struct Inner {
    family: Family,
    nonblocking: bool,
    /// The stack's socket, from the first call on that needs a port.
    bound: Option<Arc<udp::Socket>>,
    choices: Choices,
    read_shut: bool,
    write_shut: bool,
    /// What ICMP said last; told once.
    error: Option<Errno>,
}

/// What `setsockopt` chose.
#[derive(Clone, Debug)]
struct Choices {
    reuse_address: bool,
    broadcast: bool,
    /// `IP_RECVERR`: errors are told although there is no peer.
    report_errors: bool,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    send_buffer: u32,
    receive_buffer: u32,
    ttl: u8,
    tos: u8,
    mtu_discover: i32,
    stamps: Stamps,
}

/// Whether, and how, it is told when a datagram arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamps {
    None,
    /// `SO_TIMESTAMP`
    Micros,
    /// `SO_TIMESTAMPNS`
    Nanos,
}

/// `net.core.rmem_default` and `wmem_default` as Linux is delivered.
const DEFAULT_BUFFER: u32 = 212_992;

impl Datagrams {
    pub(crate) fn new(family: Family, nonblocking: bool, ttl: u8) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                family,
                nonblocking,
                bound: None,
                choices: Choices {
                    reuse_address: false,
                    broadcast: false,
                    report_errors: false,
                    receive_timeout: None,
                    send_timeout: None,
                    send_buffer: DEFAULT_BUFFER,
                    receive_buffer: DEFAULT_BUFFER,
                    ttl,
                    tos: 0,
                    mtu_discover: libc::IP_PMTUDISC_WANT,
                    stamps: Stamps::None,
                },
                read_shut: false,
                write_shut: false,
                error: None,
            }),
        })
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.inner.lock().nonblocking
    }

    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.inner.lock().nonblocking = on;
    }

    /// What it is ready for, as Linux's `datagram_poll` decides it.
    pub(crate) fn ready(&self, cx: &mut Context<'_>) -> Ready {
        let mut inner = self.inner.lock();
        inner.collect_errors();
        let found = inner.bound.as_ref().map(|socket| socket.poll_ready(cx));
        let mut events = readiness::WRITE;
        if found.is_some_and(|it| it.next_bytes.is_some()) {
            events |= readiness::READ;
        }
        if inner.error.is_some() {
            events |= readiness::ERROR;
        }
        if inner.read_shut {
            events |= readiness::READ | readiness::READ_HUP;
        }
        if inner.read_shut && inner.write_shut {
            events |= readiness::HUP;
        }
        let ended = u32::from(inner.read_shut) + 2 * u32::from(inner.write_shut);
        let arrived = found.map_or(0, |it| it.arrived);
        Ready {
            events,
            news: News::of_datagrams(arrived, ended),
        }
    }

    /// Bytes of the datagram that the next call reads.
    pub(crate) fn next_bytes(&self) -> usize {
        let inner = self.inner.lock();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let ready = inner.bound.as_ref().map(|it| it.poll_ready(&mut cx));
        ready.and_then(|it| it.next_bytes).unwrap_or_default()
    }
}

impl Inner {
    fn any(&self) -> IpAddr {
        self.family.any()
    }

    /// Tells the stack's socket what was chosen.
    fn apply(&self) {
        let Some(socket) = &self.bound else {
            return;
        };
        let choices = &self.choices;
        socket.set_broadcast(choices.broadcast);
        socket.set_report_errors(choices.report_errors);
        socket.set_ttl(choices.ttl);
        socket.set_tos(choices.tos);
        let whole = [libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_PROBE].contains(&choices.mtu_discover);
        socket.set_may_fragment(!whole);
        socket.set_receive_bytes(choices.receive_buffer as usize);
    }

    /// Takes over what ICMP said. As Linux, what may pass is told only to those that ask for all of it.
    fn collect_errors(&mut self) {
        while let Some(error) = self.bound.as_ref().and_then(|it| it.take_error()) {
            self.note_error(error);
        }
    }

    fn note_error(&mut self, error: udp::Error) {
        if self.choices.report_errors || is_hard(&error) {
            self.error = Some(error.into());
        }
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.collect_errors();
        self.error.take()
    }

    /// An address that a call was given: IPv4 ones only on a socket of IPv4.
    fn admit(&self, address: SocketAddr) -> Result<SocketAddr> {
        if self.family == Family::V4 && address.is_ipv6() {
            return Err(Errno(libc::EAFNOSUPPORT));
        }
        Ok(address)
    }
}

/// False for what may pass: the network or the host cannot be reached, a hop too many.
fn is_hard(error: &udp::Error) -> bool {
    let udp::Error::Icmp { kind, .. } = error else {
        return true;
    };
    match kind {
        ErrorKind::Unreachable { code } => !matches!(code, 0 | 1 | 5 | 11 | 12),
        ErrorKind::TimeExceeded | ErrorKind::SourceQuench => false,
        ErrorKind::ProtocolUnreachable
        | ErrorKind::PortUnreachable
        | ErrorKind::TooBig { .. }
        | ErrorKind::ParameterProblem => true,
    }
}

impl From<udp::Error> for Errno {
    /// As Linux names it to the caller of a socket.
    fn from(error: udp::Error) -> Self {
        use udp::Error;
        Self(match error {
            Error::AddressInUse(_) => libc::EADDRINUSE,
            Error::AddressNotLocal(_) => libc::EADDRNOTAVAIL,
            Error::NoPort => libc::EAGAIN,
            Error::NotConnected => libc::EDESTADDRREQ,
            Error::NoRoute(_) => libc::ENETUNREACH,
            Error::BadDestination(_) => libc::EINVAL,
            Error::BroadcastNotAllowed(_) => libc::EACCES,
            Error::TooLarge { .. } => libc::EMSGSIZE,
            Error::Closed => libc::EBADF,
            Error::Icmp { kind, .. } => match kind {
                // Linux's `icmp_err_convert`.
                ErrorKind::Unreachable {
                    code: 0 | 6 | 9 | 11,
                } => libc::ENETUNREACH,
                ErrorKind::Unreachable { code: 7 } => libc::EHOSTDOWN,
                ErrorKind::Unreachable { code: 8 } => libc::ENONET,
                ErrorKind::Unreachable { code: 5 } => libc::EOPNOTSUPP,
                ErrorKind::Unreachable { .. } | ErrorKind::TimeExceeded => libc::EHOSTUNREACH,
                ErrorKind::ProtocolUnreachable => libc::ENOPROTOOPT,
                ErrorKind::PortUnreachable => libc::ECONNREFUSED,
                ErrorKind::TooBig { .. } => libc::EMSGSIZE,
                ErrorKind::ParameterProblem | ErrorKind::SourceQuench => libc::EPROTO,
            },
        })
    }
}
