//! What can be chosen, for the whole stack, for a listener and for one connection. The defaults are the
//! good ones: everything that helps is on.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub use super::congestion::Algorithm;
pub use super::ecn::Ecn;
use crate::replication::Survival;

/// Choices for all connections of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Offer and accept selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and accept timestamps (RFC 7323 §3).
    pub timestamps: bool,
    /// Offer and accept window scaling (RFC 7323 §2).
    pub window_scaling: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: Ecn,
    /// First congestion window, in segments (RFC 6928).
    pub initial_window_segments: u32,
    /// Where the device cuts segments: bound what it is given in one piece by what leaves in about a millisecond, but
    /// to no fewer segments than this (like Linux's `tcp_min_tso_segs`). Without, as much as the window
    /// holds.
    pub min_burst_segments: Option<u32>,
    /// Probe for a lost tail before the retransmission timer expires (RFC 8985 §7; Linux's `tcp_early_retrans`).
    pub tail_loss_probe: bool,
    /// The congestion window shrinks while nothing is sent (RFC 2861; Linux's `tcp_slow_start_after_idle`).
    pub slow_start_after_idle: bool,
    /// Less than this part of the congestion window waits for more, to be cut together (like Linux's
    /// `tcp_tso_win_divisor`).
    pub burst_window_divisor: u32,
    /// Larger datagrams than a path is known to carry are tried (RFC 4821).
    pub mtu_probing: MtuProbing,
    /// Longest that an ACK is held back (RFC 1122 §4.2.3.2 allows 500 ms).
    pub delayed_ack: Duration,
    /// How long TIME-WAIT lasts (RFC 9293 §3.4.2: 2 MSL; Linux waits 60 s).
    pub time_wait: Duration,
    /// No RST ends TIME-WAIT (RFC 1337 §3). Off, as in Linux: RFC 9293 §3.10.7.4 has it end, and a RST counts only exactly
    /// at `rcv.nxt`.
    pub time_wait_ignores_resets: bool,
    /// How long FIN-WAIT-2 lasts once nobody reads any more, as in Linux.
    pub fin_wait_2: Duration,
    /// SYN retransmissions before giving up: seven take four minutes, at least three are asked for
    /// (RFC 9293 §3.8.3, MUST-23). Of a SYN-ACK at most five.
    pub syn_retries: u8,
    /// Consecutive time-outs of sent data before giving up (R2 of RFC 1122 §4.2.3.5).
    pub retries: u8,
    /// Largest buffers that automatic tuning goes to, in bytes: of a send queue.
    pub max_send_buffer_bytes: usize,
    /// A tuned send queue before the congestion window asks for more, in bytes.
    pub initial_send_buffer_bytes: usize,
    /// What each piece of a send queue counts beyond its bytes, as in Linux, where a buffer is memory and not data; 0
    /// where bytes are bytes.
    pub bookkeeping_bytes: usize,
    /// Most bytes of a tuned send queue that may wait for their first transmission (like Linux's
    /// `tcp_notsent_lowat`): what was written leaves while it is still in the processor's cache.
    pub max_unsent_bytes: usize,
    /// The same of a receive queue.
    pub max_receive_buffer_bytes: usize,
    /// The window offered at first, in bytes, before tuning.
    pub initial_receive_buffer_bytes: usize,
    /// Half-open connections that all listeners may hold together.
    pub max_half_open: usize,
    /// Connections accepted with the data of their SYN whose handshake is not over (RFC 7413 §5.1).
    pub max_fast_open: usize,
    /// Connections of all kinds, against exhaustion of memory.
    pub max_connections: usize,
    /// Bytes that the queues of all connections may hold, without a limit if not given: what is sent by reference counts too, be it of a
    /// mapped file. Beyond it what is out of order is forgotten, then the least valuable connections.
    pub max_queue_bytes: Option<usize>,
    /// Connections in TIME-WAIT; beyond that the oldest is forgotten early.
    pub max_time_wait: usize,
    /// Ports for outgoing connections that did not choose one (RFC 6056; Linux's range).
    pub ephemeral_ports: RangeInclusive<u16>,
    /// Keys Fast Open cookies (like Linux's `tcp_fastopen_key`); its own random one without. Hosts with the same accept each
    /// other's.
    pub fast_open_secret: Option<Secret>,
    /// Keys SYN cookies; its own random one without. Hosts with the same accept each other's.
    pub cookie_secret: Option<Secret>,
    /// Challenge ACKs (RFC 5961 §7) to one host, at most this many a second; one connection gets two.
    pub challenges_per_second_per_host: u32,
    /// RST for unknown segments, at most this many a second.
    pub resets_per_second: u32,
    /// Account of what holds sending up is kept ([`super::limits`]): some bytes more for every connection.
    pub limited_times: bool,
    /// For comparison only: a protected connection has the other host agree to every segment of data before it
    /// leaves, and tells it of every segment that arrives before the next one leaves, as the first of its kind did.
    pub lockstep: bool,
    /// What connections start with, unless told otherwise.
    pub socket: SocketOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sack: true,
            timestamps: true,
            window_scaling: true,
            ecn: Ecn::default(),
            initial_window_segments: 10,
            min_burst_segments: None,
            burst_window_divisor: 3,
            tail_loss_probe: true,
            slow_start_after_idle: true,
            mtu_probing: MtuProbing::default(),
            delayed_ack: Duration::from_millis(40),
            time_wait: Duration::from_secs(60),
            time_wait_ignores_resets: false,
            fin_wait_2: Duration::from_secs(60),
            syn_retries: 7,
            retries: 15,
            max_send_buffer_bytes: 4 << 20,
            initial_send_buffer_bytes: 256 << 10,
            bookkeeping_bytes: 0,
            max_unsent_bytes: 512 << 10,
            max_receive_buffer_bytes: 6 << 20,
            initial_receive_buffer_bytes: 64 << 10,
            max_half_open: 65_536,
            max_fast_open: 1024,
            max_connections: 4_194_304,
            max_queue_bytes: None,
            max_time_wait: 65_536,
            ephemeral_ports: 32_768..=60_999,
            fast_open_secret: None,
            cookie_secret: None,
            challenges_per_second_per_host: 100,
            resets_per_second: 1000,
            limited_times: false,
            lockstep: false,
            socket: SocketOptions::default(),
        }
    }
}

/// When connections try larger datagrams than their path is known to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeWhen {
    /// Never (Linux's `tcp_mtu_probing` 0).
    Never,
    /// Once the path was found to be narrower than the link, by a router's word or because what is larger vanishes (1).
    Reduced,
    /// Every connection begins with a small size (2).
    Always,
}

/// How larger datagrams are tried (RFC 4821; the numbers are Linux's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MtuProbing {
    /// When.
    pub when: ProbeWhen,
    /// The MSS that connections begin with which always probe (`tcp_base_mss`), but not less than `floor_mss`.
    pub base_mss: u16,
    /// See there (`tcp_mtu_probe_floor`).
    pub floor_mss: u16,
    /// A search ends when it has come so close (`tcp_probe_threshold`).
    pub threshold_bytes: u32,
    /// And begins again after this time (`tcp_probe_interval`; RFC 1191 §6.3 asks for ten minutes).
    pub interval: Duration,
}

impl Default for MtuProbing {
    fn default() -> Self {
        Self {
            when: ProbeWhen::Reduced,
            base_mss: 1024,
            floor_mss: 48,
            threshold_bytes: 8,
            interval: Duration::from_secs(600),
        }
    }
}

/// A key that does not show in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// When an idle connection is probed (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is given up.
    pub probes: u8,
}

impl Default for KeepAlive {
    /// Two hours, as RFC 1122 §4.2.3.6 asks; then as Linux.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(7200),
            interval: Duration::from_secs(75),
            probes: 9,
        }
    }
}

/// Choices for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send small segments at once (Nagle's algorithm off, RFC 9293 §3.7.4).
    pub no_delay: bool,
    /// Probe when idle.
    pub keep_alive: Option<KeepAlive>,
    /// Give up when sent data stays unacknowledged for this long (RFC 5482's local half).
    pub user_timeout: Option<Duration>,
    /// Tell the peer how long sent data may stay unacknowledged here, and hear how long it may there (RFC 5482): what follows
    /// for this side holds unless `user_timeout` says otherwise. Nothing is told or heard without.
    pub advertised_user_timeout: Option<Duration>,
    /// Fixed size of the send queue in bytes; tuned automatically if not given.
    pub send_buffer_bytes: Option<usize>,
    /// Ready for more only while fewer bytes than this wait for their first transmission (like `TCP_NOTSENT_LOWAT`); what is
    /// written all the same is taken as far as there is room.
    pub not_sent_low_water_bytes: Option<usize>,
    /// Fixed size of the receive queue in bytes; tuned automatically if not given.
    pub receive_buffer_bytes: Option<usize>,
    /// Most bytes of window that are offered (like `TCP_WINDOW_CLAMP`).
    pub window_clamp_bytes: Option<usize>,
    /// How long FIN-WAIT-2 lasts once nobody reads any more (like `TCP_LINGER2`); of no length: it ends at once, with a RST.
    /// The stack's choice if not given.
    pub fin_wait_2: Option<Duration>,
    /// SYN retransmissions before giving up (`TCP_SYNCNT`); the stack's choice if not given.
    pub syn_retries: Option<u8>,
    /// Upper bound of the segment size, in bytes.
    pub max_segment_size: Option<u16>,
    /// When opened by us: ask for a Fast Open cookie, and send what was written before the SYN along with it once there is one
    /// (RFC 7413). It may arrive twice.
    pub fast_open: bool,
    /// With [`SocketOptions::fast_open`]: data goes with the SYN without a cookie, to servers that want none (RFC 7413 §5).
    pub fast_open_without_cookie: bool,
    /// How the congestion window moves.
    pub algorithm: Algorithm,
    /// Segments leave spread over the round trip; with BBR they do always.
    pub pacing: bool,
    /// Never faster than so many bytes per second (like `SO_MAX_PACING_RATE`), which is pacing, too.
    pub max_pacing_rate: Option<u64>,
    /// Hops that a datagram may take.
    pub ttl: u8,
    /// DSCP, in the upper six bits.
    pub tos: u8,
    /// What holds for this connection, as far as that is about connections, instead of what holds for all of the stack.
    pub protocol: Option<Arc<Config>>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            no_delay: false,
            keep_alive: None,
            user_timeout: None,
            advertised_user_timeout: None,
            send_buffer_bytes: None,
            not_sent_low_water_bytes: None,
            receive_buffer_bytes: None,
            window_clamp_bytes: None,
            fin_wait_2: None,
            syn_retries: None,
            max_segment_size: None,
            fast_open: false,
            fast_open_without_cookie: false,
            protocol: None,
            algorithm: Algorithm::default(),
            pacing: false,
            max_pacing_rate: None,
            ttl: 64,
            tos: 0,
        }
    }
}

/// Choices for a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait for `accept`, as in `listen(2)`; one more than this, as in Linux.
    pub backlog: usize,
    /// Others that say so too may listen on the same address and port; connections are spread over them.
    pub reuse_port: bool,
    /// On `[::]`: take no connections over IPv4 (`IPV6_V6ONLY`); without, both, as in Linux.
    pub only_v6: bool,
    /// Half-open connections of this listener.
    pub max_half_open: usize,
    /// Answer further SYNs with cookies (RFC 4987 §3.6); without, the oldest half-open connection goes.
    pub syn_cookies: bool,
    /// Take the data of a SYN before the handshake is over (RFC 7413), from peers that were here before. The application has to
    /// bear that a SYN comes twice. Not for connections that outlive this host.
    pub fast_open: bool,
    /// Take it even from peers without a cookie: for networks where nobody lies about his address (RFC 7413 §5).
    pub fast_open_to_all: bool,
    /// Keys its cookies instead of [`Config::fast_open_secret`].
    pub fast_open_secret: Option<Secret>,
    /// The ACK that completes a handshake without data is not heard until the SYN-ACK was sent again so often (like
    /// `TCP_DEFER_ACCEPT`): a connection is accepted with the first data, or when that does not come.
    pub defer_accept_retries: u8,
    /// What accepted connections start with.
    pub socket: SocketOptions,
    /// How they outlive this host, on a stack that has another one to rely on.
    pub survival: Survival,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: false,
            only_v6: false,
            max_half_open: 4096,
            syn_cookies: true,
            fast_open: false,
            fast_open_to_all: false,
            fast_open_secret: None,
            defer_accept_retries: 0,
            socket: SocketOptions::default(),
            survival: Survival::default(),
        }
    }
}
