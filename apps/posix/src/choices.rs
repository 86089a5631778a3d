//! What `setsockopt` chose for a socket, as `getsockopt` tells it. Accepted sockets begin with what their
//! listener has.

use std::time::Duration;

use outlive::tcp::config::Secret;
use outlive::tcp::{Algorithm, KeepAlive, SocketOptions};

use crate::error_queue::Timestamping;
use crate::sockets::{Defaults, FastOpenPolicy};

/// Choices of one socket. Sizes are the kernel's: twice what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// What the stack is told.
    pub(crate) tcp: SocketOptions,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) keep_alive: bool,
    pub(crate) keep_alive_times: KeepAlive,
    /// Seconds, if on.
    pub(crate) linger: Option<u16>,
    pub(crate) receive_timeout: Option<Duration>,
    pub(crate) send_timeout: Option<Duration>,
    pub(crate) send_buffer: u32,
    pub(crate) receive_buffer: u32,
    pub(crate) receive_low_water: u32,
    pub(crate) cork: bool,
    /// 0 for the stack's.
    pub(crate) unsent_low_water: u32,
    pub(crate) quick_ack: bool,
    pub(crate) defer_accept_retries: u8,
    /// Connections that may be open before their handshake is over; only whether it is any counts.
    pub(crate) fast_open_queue: u32,
    pub(crate) fast_open: FastOpenPolicy,
    /// `connect` leaves the SYN to the first write (`TCP_FASTOPEN_CONNECT`).
    pub(crate) fast_open_connect: bool,
    /// Neither asks for cookies nor wants any (`TCP_FASTOPEN_NO_COOKIE`).
    pub(crate) fast_open_without_cookie: bool,
    pub(crate) fast_open_secret: Option<Secret>,
    /// `MSG_ZEROCOPY` means something (`SO_ZEROCOPY`).
    pub(crate) zero_copy: bool,
    pub(crate) timestamping: Timestamping,
    pub(crate) linger2: i32,
    pub(crate) syn_count: i32,
    pub(crate) window_clamp: u32,
    pub(crate) user_timeout_ms: u32,
    pub(crate) tell_queued: bool,
    pub(crate) only_v6: bool,
    pub(crate) priority: i32,
    pub(crate) mark: u32,
    pub(crate) mtu_discover: i32,
}

impl Choices {
    pub(crate) fn new(defaults: Defaults) -> Self {
        let Defaults {
            tcp,
            keep_alive,
            send_buffer,
            receive_buffer,
            max_buffers: _,
            fast_open,
        } = defaults;
        Self {
            keep_alive: tcp.keep_alive.is_some(),
            keep_alive_times: tcp.keep_alive.unwrap_or(keep_alive),
            tcp,
            reuse_address: false,
            reuse_port: false,
            linger: None,
            receive_timeout: None,
            send_timeout: None,
            send_buffer,
            receive_buffer,
            receive_low_water: 1,
            cork: false,
            unsent_low_water: 0,
            quick_ack: true,
            defer_accept_retries: 0,
            fast_open_queue: 0,
            fast_open,
            fast_open_connect: false,
            fast_open_without_cookie: false,
            fast_open_secret: None,
            zero_copy: false,
            timestamping: Timestamping::default(),
            linger2: 60,
            syn_count: 0,
            window_clamp: 0,
            user_timeout_ms: 0,
            tell_queued: false,
            only_v6: false,
            priority: 0,
            mark: 0,
            mtu_discover: 1,
        }
    }

    /// A listener takes data with SYNs.
    pub(crate) fn opens_fast(&self) -> bool {
        self.fast_open.server && self.fast_open_queue > 0
    }

    /// Even from peers without a cookie.
    pub(crate) fn opens_fast_to_all(&self) -> bool {
        self.fast_open.to_all || self.fast_open_without_cookie
    }

    /// The keep-alive that the stack is to do.
    pub(crate) fn effective_keep_alive(&self) -> Option<KeepAlive> {
        self.keep_alive.then_some(self.keep_alive_times)
    }
}

/// Linux's names of congestion control algorithms that there are.
const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("cubic", Algorithm::Cubic),
    ("reno", Algorithm::NewReno),
    ("bbr", Algorithm::Bbr),
];

pub(crate) fn algorithm_named(name: &str) -> Option<Algorithm> {
    let found = ALGORITHMS.iter().find(|entry| entry.0 == name);
    found.map(|entry| entry.1)
}

pub(crate) fn name_of(algorithm: Algorithm) -> &'static str {
    let found = ALGORITHMS.iter().find(|entry| entry.1 == algorithm);
    found.map_or("cubic", |entry| entry.0)
}
