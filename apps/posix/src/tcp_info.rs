//! `struct tcp_info` as Linux lays it out (include/uapi/linux/tcp.h), filled with what we know.

use outlive::tcp::State;
use outlive::tcp::info::Repair;
use outlive::time::Instant;
use zerocopy::{Immutable, IntoBytes};

use crate::socket::{Inner, Phase};

/// Bits of `tcpi_options`.
const OPTION_TIMESTAMPS: u8 = 1;
const OPTION_SACK: u8 = 2;
const OPTION_WINDOW_SCALE: u8 = 4;
const OPTION_ECN: u8 = 8;
const OPTION_ECN_SEEN: u8 = 16;
const OPTION_SYN_DATA: u8 = 32;

/// Size of [`TcpInfo`].
pub const TCP_INFO_BYTES: usize = size_of::<TcpInfo>();

/// Facts about a connection. Times are in microseconds where Linux has them so (`rto`, `ato`, `rtt`), in
/// milliseconds where it counts back from now (`last_*`).
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are Linux's")]
pub struct TcpInfo {
    pub state: u8,
    pub ca_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub options: u8,
    /// The peer's shift in the lower half, ours in the upper.
    pub window_scales: u8,
    pub delivery_rate_app_limited: u8,
    pub rto: u32,
    pub ato: u32,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub fackets: u32,
    pub last_data_sent: u32,
    pub last_ack_sent: u32,
    pub last_data_recv: u32,
    pub last_ack_recv: u32,
    pub pmtu: u32,
    pub rcv_ssthresh: u32,
    pub rtt: u32,
    pub rttvar: u32,
    pub snd_ssthresh: u32,
    pub snd_cwnd: u32,
    pub advmss: u32,
    pub reordering: u32,
    pub rcv_rtt: u32,
    pub rcv_space: u32,
    pub total_retrans: u32,
    pub pacing_rate: u64,
    pub max_pacing_rate: u64,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    pub notsent_bytes: u32,
    pub min_rtt: u32,
    pub data_segs_in: u32,
    pub data_segs_out: u32,
    pub delivery_rate: u64,
    pub busy_time: u64,
    pub rwnd_limited: u64,
    pub sndbuf_limited: u64,
    pub delivered: u32,
    pub delivered_ce: u32,
    pub bytes_sent: u64,
    pub bytes_retrans: u64,
    pub dsack_dups: u32,
    pub reord_seen: u32,
    pub rcv_ooopack: u32,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub rehash: u32,
    pub total_rto: u16,
    pub total_rto_recoveries: u16,
    pub total_rto_time: u32,
    pub received_ce: u32,
    pub delivered_e1_bytes: u32,
    pub delivered_e0_bytes: u32,
    pub delivered_ce_bytes: u32,
    pub received_e1_bytes: u32,
    pub received_e0_bytes: u32,
    pub received_ce_bytes: u32,
    pub ecn: u32,
}

impl TcpInfo {
    /// The facts about the socket `inner` now.
    pub(crate) fn of(inner: &Inner, now: Instant) -> Self {
        let mut told = Self {
            state: number(inner.state()),
            max_pacing_rate: u64::MAX,
            snd_cwnd: 10,
            snd_mss: 536,
            rcv_mss: 536,
            advmss: 536,
            reordering: 3,
            rto: 1_000_000,
            rttvar: 250_000,
            snd_ssthresh: i32::MAX as u32,
            min_rtt: u32::MAX,
            ..Self::default()
        };
        match &inner.phase {
            Phase::Fresh => {}
            Phase::Listening(listener) => {
                told.state = 10;
                told.unacked = listener.waiting() as u32;
            }
            Phase::Connected(connection) => {
                let tcb = connection.tcb.lock();
                let (info, times) = (tcb.info(), tcb.limited_times(now));
                drop(tcb);
                told.fill(&info, now);
                let micros = |time: std::time::Duration| time.as_micros() as u64;
                told.busy_time = micros(times.busy);
                told.rwnd_limited = micros(times.by_window);
                told.sndbuf_limited = micros(times.by_buffer);
            }
        }
        told
    }

    fn fill(&mut self, info: &outlive::socket::Info, now: Instant) {
        let mss = usize::from(info.snd_mss).max(1);
        let micros =
            |time: std::time::Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let option = |on: bool, bit| if on { bit } else { 0 };
        let scaled = info.window_scales != (0, 0);
        self.options = option(info.timestamps, OPTION_TIMESTAMPS)
            | option(info.sack, OPTION_SACK)
            | option(scaled, OPTION_WINDOW_SCALE)
            | option(info.ecn, OPTION_ECN)
            | option(info.ecn_seen, OPTION_ECN_SEEN)
            | option(info.syn_data, OPTION_SYN_DATA);
        self.window_scales = info.window_scales.1 | (info.window_scales.0 << 4);
        self.retransmits = info.retries;
        self.backoff = info.retries;
        self.rto = micros(info.rto);
        self.received_ce = info.received_marks;
        self.delivered_ce = info.delivered_marks;
        self.pacing_rate = info.pacing_rate.unwrap_or(self.pacing_rate);
        self.snd_mss = info.snd_mss.into();
        self.rcv_mss = info.rcv_mss.into();
        self.advmss = info.announced_mss.into();
        self.ca_state = match info.repair {
            Repair::Nothing => 0,
            Repair::Doubt => 1,
            Repair::Reducing => 2,
            Repair::Recovery => 3,
            Repair::Timeout => 4,
        };
        self.unacked = info.unacked_segments;
        self.sacked = info.sacked_segments;
        self.lost = info.lost_segments;
        self.retrans = info.resent_segments;
        self.probes = info.probes;
        self.reord_seen = info.reordering_seen;
        self.reordering = info.reordering_segments;
        self.min_rtt = info.min_rtt.map_or(u32::MAX, micros);
        self.delivered = info.delivered_segments;
        self.pmtu = info.path_mtu;
        self.rtt = info.rtt.map_or(0, micros);
        self.rttvar = info.rtt.map_or(self.rttvar, |_| micros(info.rttvar));
        self.snd_cwnd = (info.cwnd / mss) as u32;
        if info.ssthresh != usize::MAX {
            self.snd_ssthresh = (info.ssthresh / mss) as u32;
        }
        self.total_retrans = info.retransmitted_segments;
        self.bytes_acked = info.bytes_acked;
        self.bytes_received = info.bytes_received;
        self.notsent_bytes = info.unsent_bytes as u32;
        self.snd_wnd = info.snd_wnd;
        self.rcv_wnd = info.rcv_wnd as u32;
        self.rcv_ssthresh = self.rcv_wnd;
        self.rcv_space = self.rcv_wnd;
        self.total_rto = info.timeouts as u16;
        let millis = |then: Instant| now.since(then).as_millis() as u32;
        self.last_data_sent = millis(info.sent_at);
        self.last_data_recv = millis(info.received_at);
        self.last_ack_recv = millis(info.received_at);
    }
}

/// Linux's number of a state.
const fn number(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn fields_lie_where_linux_has_them() {
        assert_eq!(offset_of!(TcpInfo, rto), 8);
        assert_eq!(offset_of!(TcpInfo, snd_cwnd), 80);
        assert_eq!(offset_of!(TcpInfo, pacing_rate), 104);
        assert_eq!(offset_of!(TcpInfo, delivery_rate), 160);
        assert_eq!(offset_of!(TcpInfo, bytes_sent), 200);
        assert_eq!(offset_of!(TcpInfo, snd_wnd), 228);
        assert_eq!(offset_of!(TcpInfo, total_rto_time), 244);
    }
}
