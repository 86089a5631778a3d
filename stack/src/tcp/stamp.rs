//! The one way out of a connection: [`Tcb::stamp`] gives a segment its ACK, window and options, and checks
//! that it may leave at all. And how much data goes into a segment (RFC 9293 §3.7.1).

use smallvec::SmallVec;

use super::accurate_ecn::Accurate;
use super::congestion::CongestionControl;
use super::state::State;
use super::tcb::Tcb;
use super::{Flags, Options, TxSegment};
use crate::time::Instant;

/// Most that all options may take (RFC 9293 §3.1).
pub(super) const OPTIONS_BYTES: usize = 40;
/// Least data per segment, whatever the peer, its window or the path say.
const MIN_MSS: u16 = 8;
/// Bytes of MSS, SACK-permitted and window scale on a SYN.
const SYN_OPTIONS_BYTES: usize = 12;
/// Bytes of a timestamps option, padded.
const TIMESTAMPS_BYTES: u16 = 12;

/// A segment before [`Tcb::stamp`].
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Position of its first octet.
    pub from: u64,
    /// Flags besides ACK.
    pub flags: Flags,
    /// The data, and how much it is.
    pub payload: SmallVec<[bytes::Bytes; 3]>,
    pub len: usize,
    pub retransmission: bool,
    /// Leaves as one segment although it is larger than the MSS: a probe for a larger path MTU.
    pub whole: bool,
}

impl Tcb {
    /// The permission check and the fields that every segment has: the one way out.
    pub(super) fn stamp(&mut self, now: Instant, draft: Draft) -> Option<TxSegment> {
        if !self.permitted(&draft) {
            debug_assert!(false, "planned a segment that may not leave: {draft:?}");
            return None;
        }
        let mut segment = TxSegment {
            seq: self.our_wire(draft.from),
            flags: draft.flags,
            retransmission: draft.retransmission,
            payload: draft.payload,
            ..TxSegment::default()
        };
        self.mark(draft.len, &mut segment);
        let mss = self.effective_mss();
        if draft.len > usize::from(mss) && !draft.whole && !draft.flags.contains(Flags::SYN) {
            segment.segment_bytes = Some(mss);
            // The end of a burst: whoever merges segments on the other side hands them over then (as Linux).
            segment.flags = segment.flags.with(Flags::PSH);
        }
        if self.state != State::SynSent {
            let room = usize::from(mss).saturating_sub(draft.len);
            self.stamp_ack(now, &mut segment, if draft.len == 0 { 40 } else { room });
        }
        if draft.flags.contains(Flags::SYN) {
            self.syn_options(&mut segment.options);
            segment.window = self.window_of_syn();
        }
        if self.timestamps.on {
            let echo = if segment.flags.contains(Flags::ACK) {
                self.timestamps.recent
            } else {
                0
            };
            segment.options.timestamps = Some((self.timestamps.value(now), echo));
        }
        self.stamp_user_timeout(draft.len, &mut segment);
        self.stamp_urgent(draft.from, draft.flags, &mut segment);
        Some(segment)
    }

    fn permitted(&self, draft: &Draft) -> bool {
        self.record_committed()
            && (!draft.flags.contains(Flags::FIN) || self.fin_committed())
            && (draft.len == 0
                || draft.retransmission
                || draft.from + draft.len as u64 <= self.barrier())
            && self.rcv.committed <= self.rcv.nxt
    }

    /// `room`: bytes that options besides timestamps may take.
    fn stamp_ack(&mut self, now: Instant, segment: &mut TxSegment, room: usize) {
        segment.flags = segment.flags.with(Flags::ACK);
        segment.ack = self.peer_wire(self.rcv.committed);
        segment.window = self.select_window();
        self.rcv.acked = self.rcv.committed;
        self.timers.stop_ack();
        let room = room.min(OPTIONS_BYTES - usize::from(self.timestamps_bytes()));
        // A full segment has no room for SACK blocks: then an ACK of its own follows with them.
        let told = !self.snd.sack
            || self.keeps_gaps_to_itself(now)
            || self.sack_options(&mut segment.options, room);
        self.stamp_accurate(segment, room);
        self.pending.ack = !told || self.pending.repeats > 0;
        self.pending.repeats = self.pending.repeats.saturating_sub(1);
    }

    /// The counters of accurate ECN where SACK blocks, and a Fast Open cookie, leave room for them.
    fn stamp_accurate(&mut self, segment: &mut TxSegment, room: usize) {
        let sack = match segment.options.sack.len() {
            0 => 0,
            blocks => 4 + 8 * blocks,
        };
        let syn = segment.flags.contains(Flags::SYN);
        if !syn || self.fast_open_option().is_none() {
            let room = room.saturating_sub(sack + if syn { SYN_OPTIONS_BYTES } else { 0 });
            segment.options.accurate_ecn = self.accurate_option(room);
        }
    }

    fn syn_options(&self, options: &mut Options) {
        options.sack.clear();
        options.mss = Some(self.announced_mss());
        options.sack_permitted = self.snd.sack;
        options.fast_open = self.fast_open_option();
        options.fast_open_experiment = self.fast_open_is_experiment();
        let offered = self.settings.config().window_scaling;
        let echoed = self.state == State::SynSent || self.rcv.scale > 0 || self.snd.scale > 0;
        if offered && echoed {
            options.window_scale = Some(self.rcv.scale);
        }
    }

    /// The MSS option that we send: what one datagram holds (MUST-67), or less if asked for.
    pub(super) fn announced_mss(&self) -> u16 {
        let cap = self.settings.options().max_segment_size;
        self.path.data_mss().min(cap.unwrap_or(u16::MAX))
    }

    /// The window of a SYN, which is not scaled (RFC 7323 §2.2): of a tuned queue whole segments, as Linux offers at
    /// first. Who opened actively offers the same in the SYN-ACK that answers a SYN which crosses its own.
    pub(super) fn window_of_syn(&self) -> u16 {
        let timestamps = self.timestamps.on && self.passive;
        let options = if timestamps { TIMESTAMPS_BYTES } else { 0 };
        let segment = u32::from(self.announced_mss().saturating_sub(options).max(MIN_MSS));
        let limit = self.rcv.limit;
        let fixed = self.settings.options().receive_buffer_bytes.is_some();
        let whole = if fixed || limit < segment {
            limit
        } else {
            limit - limit % segment
        };
        whole.min(u32::from(u16::MAX)) as u16
    }

    /// Eff.snd.MSS (RFC 9293 §3.7.1): data bytes of one wire segment, options taken off.
    pub(super) const fn effective_mss(&self) -> u16 {
        self.snd.mss
    }

    /// Computes it anew, after anything that it depends on has changed, and tells congestion control.
    pub(super) fn apply_mss(&mut self) {
        let found = self.usable_mtu() - u32::from(self.path.header_bytes);
        let mss = self.snd.peer_mss.min(self.announced_mss());
        let mss = mss.min(found as u16);
        let mss = mss.saturating_sub(self.timestamps_bytes()).max(MIN_MSS);
        self.congestion.set_mss(usize::from(mss));
        self.snd.mss = match self.snd.max_wnd {
            0 => mss,
            // Never more than half of the largest window that the peer ever offered (as Linux), so that a
            // tiny one is still used.
            largest if largest > u32::from(self.path.default_mss()) => {
                mss.min((largest / 2).min(u32::from(u16::MAX)) as u16)
            }
            largest => mss.min(largest as u16).max(MIN_MSS),
        };
    }

    /// Bytes of the option that every segment has.
    pub(super) const fn timestamps_bytes(&self) -> u16 {
        if self.timestamps.on {
            TIMESTAMPS_BYTES
        } else {
            0
        }
    }

    /// Most payload of one segment, cut by the device or not.
    pub(super) fn max_payload(&self) -> usize {
        let mss = usize::from(self.effective_mss());
        if !self.cuts() {
            return mss;
        }
        let room =
            self.path.max_segmented as usize - usize::from(self.path.header_bytes) - OPTIONS_BYTES;
        (room - room % mss)
            .min(self.burst_segments().saturating_mul(mss))
            .min(self.paced_segments().saturating_mul(mss))
            .max(mss)
    }

    /// True when the device cuts large segments.
    pub(super) fn cuts(&self) -> bool {
        let accurate = self.accurate();
        self.path.max_segmented > self.path.mtu
            && !accurate.is_some_and(Accurate::needs_whole_segments)
    }
}
