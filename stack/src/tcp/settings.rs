//! The choices that hold for one connection, and what follows from them.
//!
//! They are shared: thousands of connections of one listener point to the same options, and a setter
//! on one of them copies first.

use std::sync::Arc;
use std::time::Duration;

use super::config::{Algorithm, Config, KeepAlive, SocketOptions};
use super::congestion::{Congestion, CongestionControl};
use super::gate::Terms;
use super::tcb::{PathFacts, QUICK_ACKS, Tcb};
use crate::ip::Path;
use crate::time::Instant;

/// What a connection is made with.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The stack's choices.
    pub config: Arc<Config>,
    /// This connection's choices.
    pub options: Arc<SocketOptions>,
    /// The way to the peer.
    pub path: Path,
    /// Added to the clock in TSval (RFC 7323 §5.4: keyed by the four-tuple).
    pub timestamp_offset: u32,
    /// What this side decides is held until it is committed ([`super::gate`]).
    pub gated: bool,
    /// What is kept elsewhere of a gated connection.
    pub terms: Terms,
}

/// Both kinds of choices, shared.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    config: Arc<Config>,
    options: Arc<SocketOptions>,
}

/// Largest window shift (RFC 7323 §2.3).
pub(super) const MAX_WINDOW_SCALE: u8 = 14;
/// Smallest buffers that can be asked for, in bytes.
const MIN_BUFFER_BYTES: usize = 2 << 10;

impl Settings {
    pub(super) const fn new(config: Arc<Config>, options: Arc<SocketOptions>) -> Self {
        Self { config, options }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn options(&self) -> &SocketOptions {
        &self.options
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut SocketOptions)) {
        change(Arc::make_mut(&mut self.options));
    }

    /// Most that the receive queue may ever hold.
    pub(super) fn max_receive_limit(&self) -> u32 {
        let clamp = self.options.window_clamp_bytes.unwrap_or(usize::MAX);
        self.options
            .receive_buffer_bytes
            .unwrap_or(self.config.max_receive_buffer_bytes)
            .min(clamp)
            .clamp(MIN_BUFFER_BYTES, 1 << 30) as u32
    }

    /// What the receive queue may hold at first.
    pub(super) fn initial_receive_limit(&self) -> u32 {
        let max = self.max_receive_limit();
        if self.options.receive_buffer_bytes.is_some() {
            return max;
        }
        max.min(self.config.initial_receive_buffer_bytes as u32)
            .max(MIN_BUFFER_BYTES as u32)
    }

    /// The shift that lets the largest window be offered.
    pub(super) fn receive_scale(&self) -> u8 {
        if !self.config.window_scaling {
            return 0;
        }
        let max = self.max_receive_limit();
        (0..MAX_WINDOW_SCALE)
            .find(|&shift| max >> shift <= u32::from(u16::MAX))
            .unwrap_or(MAX_WINDOW_SCALE)
    }

    /// What the send queue may hold while the congestion window is `cwnd`: twice that, so that the
    /// application can refill one half while the other is in flight.
    pub(super) fn send_limit(&self, cwnd: usize) -> usize {
        if let Some(fixed) = self.options.send_buffer_bytes {
            return fixed.max(MIN_BUFFER_BYTES);
        }
        cwnd.saturating_mul(2)
            .max(self.config.initial_send_buffer_bytes)
            .min(self.config.max_send_buffer_bytes)
            .max(MIN_BUFFER_BYTES)
    }

    /// Most of the send queue that may wait for its first transmission.
    pub(super) fn unsent_limit(&self) -> usize {
        match self.options.send_buffer_bytes {
            Some(_) => usize::MAX,
            None => self.config.max_unsent_bytes,
        }
    }
}

impl Tcb {
    /// This connection's choices as they are now.
    #[must_use]
    pub fn options(&self) -> &SocketOptions {
        self.settings.options()
    }

    /// Nagle's algorithm off (RFC 9293 §3.7.4, MUST-17); what it held back may leave now.
    pub fn set_no_delay(&mut self, on: bool) {
        self.settings.change(|options| options.no_delay = on);
        self.snd.push = on;
    }

    /// More follows what is written next (like `MSG_MORE`): a partial segment is held until an ACK comes, 200 ms at
    /// most, and nothing is pushed.
    pub fn set_more(&mut self, on: bool) {
        self.snd.more = on;
        self.snd.held = on;
        self.snd.push = false;
    }

    /// Holds partial segments back, for 200 ms at most, until it is switched off again.
    pub fn set_cork(&mut self, on: bool) {
        self.snd.cork = on;
        if !on {
            self.snd.held = false;
        }
    }

    /// Keep-alive probes (RFC 9293 §3.8.4), or none.
    pub fn set_keep_alive(&mut self, now: Instant, keep_alive: Option<KeepAlive>) {
        self.settings
            .change(|options| options.keep_alive = keep_alive);
        self.restart_keep_alive(now);
    }

    /// Gives up when sent data stays unacknowledged this long (R2, MUST-21); the default without.
    pub fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.settings
            .change(|options| options.user_timeout = timeout);
    }

    /// ACKs at once for a while, or held back as far as the RFC allows (like `TCP_QUICKACK`). What was held
    /// back is sent.
    pub fn set_quick_ack(&mut self, on: bool) {
        if !on {
            self.rcv.quick = 0;
            return;
        }
        self.rcv.quick = QUICK_ACKS;
        if self.rcv.acked < self.rcv.committed {
            self.acknowledge_now();
        }
    }

    /// Another way to move the congestion window, from where it is now.
    pub fn set_algorithm(&mut self, algorithm: Algorithm) {
        if algorithm == self.options().algorithm {
            return;
        }
        self.settings
            .change(|options| options.algorithm = algorithm);
        self.congestion = Congestion::new(
            algorithm,
            usize::from(self.effective_mss()),
            self.congestion.cwnd(),
        );
    }

    /// Segments leave spread over the round trip, or as the window lets them; and never faster than so many bytes per
    /// second.
    pub fn set_pacing(&mut self, on: bool, max_bytes_per_second: Option<u64>) {
        self.settings.change(|options| {
            options.pacing = on;
            options.max_pacing_rate = max_bytes_per_second;
        });
    }

    /// Fixes the size of the send queue, in bytes, or lets it be tuned.
    pub fn set_send_buffer(&mut self, bytes: Option<usize>) {
        self.settings
            .change(|options| options.send_buffer_bytes = bytes);
    }

    /// Ready for more only while fewer bytes than this wait for their first transmission; none: whenever there is room.
    pub fn set_not_sent_low_water(&mut self, bytes: Option<usize>) {
        self.settings
            .change(|options| options.not_sent_low_water_bytes = bytes);
    }

    /// Fixes the size of the receive queue, in bytes, or lets it be tuned. The window that was offered
    /// is not taken back, and its scale stays.
    pub fn set_receive_buffer(&mut self, bytes: Option<usize>) {
        self.settings
            .change(|options| options.receive_buffer_bytes = bytes);
        self.rcv.limit = self.settings.initial_receive_limit();
    }

    /// Offers no window larger than this, in bytes. One that was offered is not taken back.
    pub fn set_window_clamp(&mut self, bytes: Option<usize>) {
        self.settings
            .change(|options| options.window_clamp_bytes = bytes);
        self.rcv.limit = self.rcv.limit.min(self.settings.max_receive_limit());
    }

    /// How long FIN-WAIT-2 lasts once nobody reads any more; not at all if of no length.
    pub fn set_fin_wait_2(&mut self, wait: Option<Duration>) {
        self.settings.change(|options| options.fin_wait_2 = wait);
    }

    /// SYN retransmissions before giving up; the stack's choice without.
    pub fn set_syn_retries(&mut self, retries: Option<u8>) {
        self.settings
            .change(|options| options.syn_retries = retries);
    }

    /// Hops that datagrams of this connection may take (MUST-49).
    pub fn set_ttl(&mut self, ttl: u8) {
        self.settings.change(|options| options.ttl = ttl);
    }

    /// DSCP in the upper six bits (MUST-48, SHLD-21).
    pub fn set_tos(&mut self, tos: u8) {
        self.settings.change(|options| options.tos = tos);
    }

    /// What a router or the peer's host said of what is in flight, unless something has been acknowledged
    /// since: the connection goes on trying (RFC 9293 §3.9.1.8, MUST-47; RFC 5461).
    #[must_use]
    pub const fn soft_error(&self) -> Option<super::Error> {
        self.soft_error
    }

    /// What the layers below should hear of, once.
    pub fn take_hints(&mut self) -> super::tcb::Hints {
        std::mem::take(&mut self.hints)
    }
}

impl PathFacts {
    pub(super) fn new(path: &Path) -> Self {
        // IPv4 20 or IPv6 40, and TCP 20.
        let header_bytes = if path.source.is_ipv6() { 60 } else { 40 };
        let mtu = path.mtu.clamp(usize::from(header_bytes) + 8, 65_535) as u32;
        Self {
            mtu,
            max_segmented: u32::try_from(path.max_segmented_bytes)
                .unwrap_or(u32::MAX)
                .max(mtu),
            header_bytes,
        }
    }

    /// Bytes of data and TCP options in one datagram: the MSS to announce (MUST-67).
    pub(super) const fn data_mss(&self) -> u16 {
        (self.mtu - self.header_bytes as u32) as u16
    }

    /// What a peer takes that sends no MSS option (MUST-15).
    pub(super) const fn default_mss(&self) -> u16 {
        if self.header_bytes == 60 { 1220 } else { 536 }
    }
}
