//! What can be asked about a connection, like Linux's `TCP_INFO`.

use std::time::Duration;

use super::accurate_ecn::Accurate;
use super::congestion::CongestionControl;
use super::flight::{Fate, Piece};
use super::recovery::Phase;
use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use crate::replication::Protection;
use crate::time::Instant;

/// Facts about a connection at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The state.
    pub state: State,
    /// Data bytes of a full-sized segment that we send.
    pub snd_mss: u16,
    /// The same of the peer, as seen.
    pub rcv_mss: u16,
    /// Congestion window in bytes.
    pub cwnd: usize,
    /// Bytes per second at which segments leave; none if nothing but the windows holds them.
    pub pacing_rate: Option<u64>,
    /// Slow start threshold in bytes; `usize::MAX` while there is none.
    pub ssthresh: usize,
    /// Bytes thought to be in the network.
    pub in_flight: u64,
    /// What is being done about losses.
    pub repair: Repair,
    /// Segments sent and not acknowledged.
    pub unacked_segments: u32,
    /// Of these, the receiver said that it has them.
    pub sacked_segments: u32,
    /// Of these, thought to be lost, sent again or not.
    pub lost_segments: u32,
    /// Of these, sent again.
    pub resent_segments: u32,
    /// Shortest round-trip time seen.
    pub min_rtt: Option<Duration>,
    /// How often the path was seen to reorder.
    pub reordering_seen: u32,
    /// The most segments by which anything was late, three at least.
    pub reordering_segments: u32,
    /// Probes without an answer.
    pub probes: u8,
    /// The peer's window in bytes.
    pub snd_wnd: u32,
    /// The window that we offer, in bytes.
    pub rcv_wnd: u64,
    /// Our window scale and the peer's, as shifts.
    pub window_scales: (u8, u8),
    /// SACK is in use.
    pub sack: bool,
    /// Timestamps are in use.
    pub timestamps: bool,
    /// Data went with the SYN, and was taken (RFC 7413).
    pub syn_data: bool,
    /// Explicit congestion notification is in use.
    pub ecn: bool,
    /// With accurate feedback (RFC 9768).
    pub accurate_ecn: bool,
    /// Packets that arrived marked, counted with accurate feedback only.
    pub received_marks: u32,
    /// Packets of ours that arrived marked, as far as the peer said.
    pub delivered_marks: u32,
    /// The peer has sent something capable of it.
    pub ecn_seen: bool,
    /// Smoothed round-trip time, once measured.
    pub rtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Duration,
    /// The retransmission time-out.
    pub rto: Duration,
    /// Consecutive time-outs.
    pub retries: u8,
    /// Segments sent again, in all.
    pub retransmitted_segments: u32,
    /// Time-outs, in all.
    pub timeouts: u32,
    /// Bytes sent and acknowledged.
    pub bytes_acked: u64,
    /// Segments that the peer is known to have, as far as full-sized ones would make it; the SYN with its data is one.
    pub delivered_segments: u32,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Bytes written and not yet acknowledged.
    pub send_queue_bytes: usize,
    /// Of these, bytes never sent.
    pub unsent_bytes: usize,
    /// The MSS option that we send.
    pub announced_mss: u16,
    /// When data was last sent.
    pub sent_at: Instant,
    /// When something last arrived.
    pub received_at: Instant,
    /// Bytes received in order and not yet read.
    pub receive_queue_bytes: usize,
    /// Largest datagram on the path, in bytes.
    pub path_mtu: u32,
    /// Whether it would outlive this host.
    pub protection: Protection,
}

/// What is being done about losses, in Linux's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing (Open).
    Nothing,
    /// There are signs of loss or reordering (Disorder).
    Doubt,
    /// The window is reduced, though nothing was lost (CWR).
    Reducing,
    /// Fast recovery (Recovery).
    Recovery,
    /// After a time-out (Loss).
    Timeout,
}

impl Tcb {
    fn repair_state(&self) -> Repair {
        match self.phase() {
            Phase::Reducing => Repair::Reducing,
            Phase::Fast => Repair::Recovery,
            Phase::Timeout | Phase::Resegment | Phase::Probe => Repair::Timeout,
            Phase::Over if self.count(|piece| piece.fate != Fate::Outstanding) > 0 => Repair::Doubt,
            Phase::Over => Repair::Nothing,
        }
    }

    fn delivered_segments(&self) -> u32 {
        if self.snd.una == 0 {
            return 0;
        }
        let bytes = self
            .send_queue
            .start()
            .saturating_sub(FIRST_BYTE + self.syn_data_taken());
        let sacked = self.count(|piece| piece.fate == Fate::Sacked);
        1 + bytes.div_ceil(u64::from(self.effective_mss())) as u32 + sacked
    }

    /// Segments of what is in flight that `is_one` picks.
    fn count(&self, is_one: impl Fn(&Piece) -> bool) -> u32 {
        let pieces = self.transit.iter().flat_map(|it| it.flight.pieces());
        let segments = pieces
            .filter(|piece| is_one(piece))
            .map(|piece| u32::from(piece.segments));
        segments.sum()
    }

    /// The facts now.
    #[must_use]
    pub fn info(&self) -> Info {
        let accurate = self.accurate();
        Info {
            state: self.state,
            snd_mss: self.effective_mss(),
            rcv_mss: self.rcv.mss,
            cwnd: self.cwnd() as usize,
            pacing_rate: self.pacing_rate(),
            ssthresh: self.congestion.ssthresh(),
            in_flight: self.in_flight(),
            repair: self.repair_state(),
            unacked_segments: self.count(|_| true),
            sacked_segments: self.count(|piece| piece.fate == Fate::Sacked),
            lost_segments: self.count(|piece| match piece.fate {
                Fate::Lost => true,
                Fate::Outstanding => piece.times > 1,
                Fate::Sacked => false,
            }),
            resent_segments: self.count(|piece| piece.times > 1 && piece.fate == Fate::Outstanding),
            min_rtt: self.rtt.min_rtt(),
            reordering_seen: self.reordering.seen.into(),
            reordering_segments: self.reordering.segments(),
            probes: self.statistics.probes,
            snd_wnd: self.snd.wnd,
            rcv_wnd: self.rcv.edge.saturating_sub(self.rcv.committed),
            window_scales: (self.rcv.scale, self.snd.scale),
            sack: self.snd.sack,
            timestamps: self.timestamps.on,
            syn_data: self.had_syn_data(),
            ecn: self.marking.on,
            accurate_ecn: accurate.is_some(),
            received_marks: accurate.map_or(0, Accurate::received_marks),
            delivered_marks: accurate.map_or(0, |it| it.delivered_marks),
            ecn_seen: self.marking.seen,
            rtt: self.rtt.srtt(),
            rttvar: self.rtt.rttvar(),
            rto: self.rtt.rto(),
            retries: self.statistics.retries,
            retransmitted_segments: self.snd.retransmitted_segments,
            timeouts: u32::from(self.statistics.timeouts),
            bytes_acked: self.send_queue.start().saturating_sub(1),
            delivered_segments: self.delivered_segments(),
            bytes_received: self.receive_queue.next() - 1,
            send_queue_bytes: self.send_queue.len(),
            unsent_bytes: self
                .send_queue
                .end()
                .saturating_sub(self.snd.nxt.max(FIRST_BYTE)) as usize,
            announced_mss: self.announced_mss(),
            sent_at: self.statistics.sent_at,
            received_at: self.statistics.received_at,
            receive_queue_bytes: self.receive_queue.buffered(),
            path_mtu: self.path.mtu,
            protection: self.protection(),
        }
    }
}
