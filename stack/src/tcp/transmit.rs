//! What to send now (RFC 9293 §3.7, §3.8; RFC 1122 §4.2.3.4 for the sender's silly window syndrome
//! avoidance; RFC 9293 §3.7.4 for Nagle's algorithm, in Minshall's variant as in Linux).
//!
//! Every segment of a connection leaves through [`Tcb::poll_transmit`], whose last step,
//! [`Tcb::stamp`], is the one place where a segment gets its ACK, window and options and where it is
//! checked that it may leave at all.

use super::congestion::CongestionControl;
use super::mtu_probe::Turn;
use super::stamp::Draft;
use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use super::{Flags, TxSegment};
use crate::time::Instant;

/// How much new data may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// That many bytes.
    Send(usize),
    /// None; only the congestion window is in the way, or waiting for more to be cut together.
    Congestion,
    /// None; the peer's window is in the way.
    Window,
    /// None; what there is would make a small segment.
    Hold,
    /// Nothing is there.
    Empty,
}

impl Tcb {
    /// The next segment to send; call until there is none. Then [`Tcb::next_deadline`] is right.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<TxSegment> {
        self.forget_pacing_wait();
        if !self.record_committed() || self.is_dormant() {
            return None;
        }
        let segment = self.next_segment(now);
        if segment.is_none() {
            self.await_window(now);
            self.grant_room();
            self.account_limits(now);
            self.note_room();
        }
        self.check();
        segment
    }

    fn next_segment(&mut self, now: Instant) -> Option<TxSegment> {
        if let Some(segment) = self.reset_segment(now) {
            return Some(segment);
        }
        match self.state {
            State::Closed => return None,
            State::SynSent | State::SynReceived => {
                let syn = self.syn_segment(now);
                if syn.is_some() {
                    return syn;
                }
                if !self.is_early() {
                    // What does not fit the handshake is answered (RFC 9293 §3.10.7.4, first and second step).
                    return self.ack_segment(now);
                }
            }
            _ => {}
        }
        if self.is_lost() {
            let ack = self.parting_ack(now);
            return ack.or_else(|| self.probe_segment(now));
        }
        if self.resumed.is_some() {
            self.assume_sent(now);
        }
        if let Some(segment) = self.tail_segment(now) {
            return Some(segment);
        }
        if self.recovery.is_some()
            && let Some(segment) = self.retransmit(now)
        {
            return Some(segment);
        }
        if let Some(segment) = self.probe_segment(now) {
            return Some(segment);
        }
        let new = match self.mtu_probe_turn(now) {
            Turn::Probe(probe, len) => self.send_mtu_probe(now, probe, len),
            Turn::Wait => None,
            Turn::Usual => self.new_data(now),
        };
        new.or_else(|| self.ack_segment(now))
    }

    /// SYN or SYN-ACK.
    fn syn_segment(&mut self, now: Instant) -> Option<TxSegment> {
        if !std::mem::take(&mut self.pending.syn) {
            return None;
        }
        let retransmission = self.snd.nxt > 0;
        let len = self.syn_data_bytes();
        if retransmission {
            self.forget_fast_open();
            self.note_sent_again(now, 0, 1);
        } else {
            self.note_syn_sent(now, len);
        }
        if !self.timers.retransmitting() {
            self.timers.start_retransmit(now + self.rtt.rto());
        }
        let answers = self.state == State::SynReceived;
        let ecn = self.ecn_flags_of_syn(answers, retransmission);
        let mut draft = Draft {
            flags: Flags::SYN.with(ecn),
            retransmission,
            ..Draft::default()
        };
        if len > 0 {
            draft.len = self.send_queue.slices(FIRST_BYTE, len, &mut draft.payload);
        }
        self.stamp(now, draft)
    }

    /// Something to be sent again, if the congestion window lets it.
    fn retransmit(&mut self, now: Instant) -> Option<TxSegment> {
        let room = self.cwnd().saturating_sub(self.in_flight());
        let (start, mut whole) = self.next_retransmission(room)?;
        let forced = self.recovery.as_ref().is_some_and(|it| it.forced);
        if !forced && !self.pacing_allows(now) {
            return None;
        }
        if start < self.send_queue.end() {
            let reach = self.send_queue.reach(start);
            let with_fin = u64::from(reach == self.send_queue.end());
            whole = whole.min(reach + with_fin);
        }
        let mss = u64::from(self.effective_mss());
        // Nothing beyond a window that shrank, but for the first segment (SHLD-15, SHLD-16).
        let window_end = self.snd.window_end();
        if start > self.snd.una && start >= window_end {
            return None;
        }
        let small = self.small_retransmission(start);
        let most = small.unwrap_or((self.max_payload() as u64).max(mss));
        let room = most.min(room.max(mss));
        let mut end = whole.min(start + room).min(window_end.max(start + mss));
        if end < whole && end - start > mss {
            end -= (end - start) % mss;
        }
        let segment = self.send_again(now, start, end, mss)?;
        if let Some(recovery) = &mut self.recovery {
            recovery.small_end = small.map_or(recovery.small_end, |_| end);
            recovery.forced = false;
        }
        if start == self.snd.una && !self.timers.reordering() || !self.timers.retransmitting() {
            self.restart_retransmit(now);
        }
        Some(segment)
    }

    /// The stretch leaves again, and everybody who keeps account of that hears of it.
    pub(super) fn send_again(
        &mut self,
        now: Instant,
        start: u64,
        end: u64,
        mss: u64,
    ) -> Option<TxSegment> {
        let draft = self.draft(start, (end - start) as usize, true)?;
        let sent_to = draft.from + draft.len as u64 + u64::from(draft.flags.contains(Flags::FIN));
        let segments = draft.len.div_ceil(mss as usize).max(1) as u32;
        self.note_sent_again(now, start, sent_to);
        self.pace(now, sent_to - start);
        let value = self.timestamps.value(now);
        if let Some(recovery) = &mut self.recovery {
            recovery.undo.on_sent_again(segments, value);
            if let Some(prr) = &mut recovery.prr {
                prr.on_sent(sent_to - start);
            }
        }
        self.doubt_mtu_probe();
        self.snd.retransmitted_segments += segments;
        self.statistics.sent_at = now;
        self.stamp(now, draft)
    }

    /// A draft of up to `len` octets from `from` on, FIN included where it belongs.
    pub(super) fn draft(&mut self, from: u64, len: usize, retransmission: bool) -> Option<Draft> {
        let mut draft = Draft {
            from,
            retransmission,
            ..Draft::default()
        };
        let data_end = self.send_queue.end();
        let want = len.min(data_end.saturating_sub(from) as usize);
        if want > 0 {
            draft.len = self.send_queue.slices(from, want, &mut draft.payload);
        }
        let end = from + draft.len as u64;
        if draft.len > 0
            && end < data_end
            && (self.send_queue.pushes(end) || self.ends_syn_data(end))
        {
            draft.flags = draft.flags.with(Flags::PSH);
        }
        if end == data_end {
            if draft.len > 0 && (!self.snd.more || self.pending.force) {
                draft.flags = draft.flags.with(Flags::PSH);
            }
            let room = len > draft.len || !retransmission;
            if self.snd.fin && self.fin_committed() && room && self.fin_fits(end) {
                draft.flags = draft.flags.with(Flags::FIN);
            }
        }
        (draft.len > 0 || draft.flags.contains(Flags::FIN)).then_some(draft)
    }

    /// True when the peer's window and the barrier let a FIN at `position` through.
    fn fin_fits(&self, position: u64) -> bool {
        if self.state == State::SynReceived {
            return false;
        }
        position < self.snd.nxt || (position < self.snd.window_end() && position < self.barrier())
    }

    /// New data, or our FIN.
    fn new_data(&mut self, now: Instant) -> Option<TxSegment> {
        let open = self.state.may_transmit_data() || self.is_early();
        if self.snd.nxt >= self.send_end() || !open {
            // All is sent. If it filled the congestion window, that was the limit all the same.
            let (in_flight, filled) = (self.in_flight(), self.fills_window());
            if let Some(transit) = self.transit.as_mut().filter(|_| !filled) {
                transit.rate.lack_data(in_flight);
            }
            self.starve_pacer(!filled);
            return None;
        }
        let from = self.snd.nxt;
        let mut room = self.room_for_new_data(now);
        if matches!(room, Room::Send(_)) && self.restart_after_idle(now) {
            room = self.room_for_new_data(now);
        }
        if room == Room::Congestion {
            self.snd.usage.note(self.snd.una, self.snd.nxt, true);
        }
        let force = self.pending.force;
        let len = match room {
            Room::Send(len) if self.pacing_allows(now) => len,
            Room::Send(_) => return None,
            Room::Window | Room::Hold if force => self.forced_len(),
            Room::Empty if self.fin_due() => 0,
            _ => {
                self.pending.force = false;
                return None;
            }
        };
        let draft = self.draft(from, len, false);
        self.pending.force = false;
        self.send_new(now, draft?)
    }

    pub(super) fn send_new(&mut self, now: Instant, draft: Draft) -> Option<TxSegment> {
        let mss = usize::from(self.effective_mss());
        let end = draft.from + draft.len as u64 + u64::from(draft.flags.contains(Flags::FIN));
        if !draft.len.is_multiple_of(mss) && !draft.whole {
            self.snd.small_end = draft.from + draft.len as u64;
        }
        if self.snd.una == self.snd.nxt {
            self.statistics.progress_at = now;
        }
        self.take_step();
        self.note_sent(now, end, draft.whole);
        self.pace(now, end - draft.from);
        let full = self.fills_window();
        self.snd.usage.note(self.snd.una, end, full);
        if let Some(prr) = self.recovery.as_mut().and_then(|it| it.prr.as_mut()) {
            prr.on_sent(end - draft.from);
        }
        self.statistics.sent_at = now;
        if !self.timers.retransmitting() {
            self.timers.start_retransmit(now + self.rtt.rto());
        }
        self.schedule_probe(now);
        self.stamp(now, draft)
    }

    /// Not even one more segment has room in the congestion window.
    pub(super) fn fills_window(&self) -> bool {
        self.in_flight() + u64::from(self.effective_mss()) > self.cwnd()
    }

    /// How much new data may leave now.
    fn room_for_new_data(&self, now: Instant) -> Room {
        let from = self.snd.nxt;
        let end = self.send_queue.end().min(self.barrier());
        let reach = self.send_queue.reach(from).min(end);
        // Something follows that will not join: there is nothing to wait for.
        let followed = reach < end;
        let available = reach.saturating_sub(from) as usize;
        if available == 0 || !self.keeps_step() {
            return Room::Empty;
        }
        let window = self.snd.window_end().saturating_sub(from) as usize;
        let in_flight = self.in_flight() as usize;
        let mss = usize::from(self.effective_mss());
        // With nothing in flight no ACK would ever open it: one segment may always leave.
        let least = if in_flight == 0 { mss } else { 0 };
        let congestion = (self.cwnd() as usize).saturating_sub(in_flight).max(least);
        let usable = window.min(congestion);
        let most = self.max_payload();
        let len = available.min(usable).min(most);
        let small = followed || self.may_send_small();
        if len >= mss {
            let full = len - len % mss;
            // What all of it has room for does not wait, be it little.
            let cut_short = usable < available && usable < most;
            if cut_short && congestion < window && self.waits_for_more(now, full) {
                return Room::Congestion;
            }
            let alone = len > full && (len < available || !small);
            return Room::Send(if alone { full } else { len });
        }
        if len == available {
            return if small { Room::Send(len) } else { Room::Hold };
        }
        if congestion < window {
            return Room::Congestion;
        }
        // The window lets through less than a segment: only half of the largest window is worth it.
        if self.snd.una == from && len > 0 && len as u64 * 2 >= u64::from(self.snd.max_wnd) {
            return Room::Send(len);
        }
        Room::Window
    }

    /// More would go in one piece if the congestion window had room, and ACKs are on their way (like Linux's TSO
    /// deferral).
    fn waits_for_more(&self, now: Instant, full: usize) -> bool {
        let part = self.settings.config().burst_window_divisor.max(1) as usize;
        let enough = (self.cwnd() as usize / part).min(self.max_payload());
        full < enough && self.in_flight() > 0 && self.defers(now)
    }

    /// Nagle's algorithm: may a segment that is not full leave, being all that there is?
    fn may_send_small(&self) -> bool {
        if self.fin_due() {
            return true;
        }
        if self.snd.push {
            return true;
        }
        if self.snd.cork || self.snd.held {
            return false;
        }
        self.settings.options().no_delay || self.snd.small_end <= self.snd.una
    }

    /// What leaves when the persist or hold timer says that something must.
    fn forced_len(&self) -> usize {
        let window = self.snd.window_end().saturating_sub(self.snd.nxt);
        let reach = self.send_queue.reach(self.snd.nxt);
        let available = reach.min(self.barrier()) - self.snd.nxt;
        window.min(available).min(u64::from(self.effective_mss())) as usize
    }

    /// True when our FIN may go out behind the data.
    fn fin_due(&self) -> bool {
        let position = self.send_queue.end();
        self.snd.fin && self.snd.nxt <= position && self.fin_committed() && self.fin_fits(position)
    }

    /// True when new data could be sent now, which goes before retransmitting what is not yet lost.
    pub(super) fn may_send_new_data(&self) -> bool {
        let end = self.send_queue.end().min(self.barrier());
        self.snd.nxt < end.min(self.snd.window_end())
    }

    /// A pure ACK, with what SACK has to say.
    fn ack_segment(&mut self, now: Instant) -> Option<TxSegment> {
        if !self.pending.ack {
            return None;
        }
        self.stamp(
            now,
            Draft {
                // The peer takes no ACK from before what a former owner has sent.
                from: self.snd.nxt.max(self.parted_at()),
                ..Draft::default()
            },
        )
    }

    /// RFC 5681 §4.1: an idle connection has lost its ACK clock, be it for want of data or because the peer's window was
    /// closed. Looked at when something can be sent again (as Linux). True if the window may have shrunk.
    fn restart_after_idle(&mut self, now: Instant) -> bool {
        if self.snd.una == self.snd.nxt && self.was_starved() {
            self.congestion.on_restart(now);
        }
        let wanted = self.settings.config().slow_start_after_idle;
        if !wanted || self.snd.una != self.snd.nxt || self.snd.una == 1 {
            return false;
        }
        let idle = now.since(self.statistics.sent_at);
        let rto = self.rtt.rto();
        if idle <= rto {
            return false;
        }
        self.congestion.on_idle(now, idle, rto);
        self.statistics.sent_at = now;
        true
    }
}
