//! Fifth step of segment arrival: the ACK field, and what the window and SACK fields add to it
//! (RFC 9293 §3.10.7.4; RFC 5681, RFC 6675, RFC 5961 §5, RFC 7323 §4).

use std::time::Duration;

use arrayvec::ArrayVec;

use super::arrival::{Arrival, Place, Stop};
use super::congestion::{AckEvent, CongestionControl, Delivery};
use super::delivery_rate::Sample;
use super::detection::{DUP_THRESH, Detection, LossDetection};
use super::flight::{Fate, Piece};
use super::state::State;
use super::tcb::Tcb;
use super::transit::Transit;
use super::{Flags, Segment};
use crate::counters::Counter;
use crate::time::Instant;

/// What one ACK tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// Bytes by which `snd.una` advances.
    pub acked: u64,
    /// Bytes SACKed that were not before.
    pub sacked: u64,
    /// Bytes that arrived since the last ACK, as far as it says (RFC 9937 §5, DeliveredData).
    pub delivered: u64,
    /// All that arrived since the connection began, for the account of rates.
    pub total_delivered: u64,
    /// Bytes found lost.
    pub lost: u64,
    /// Bytes in the network before it came.
    pub prior_in_flight: u64,
    /// It moves nothing, has no data and offers the same window (RFC 5681 §2).
    pub duplicate_ack: bool,
    /// It says that something arrived twice.
    pub reports_duplicate: bool,
    /// Something of before the present recovery arrived that was never sent again.
    pub original: bool,
    /// The timestamp that it echoes.
    pub echo: Option<u32>,
    /// How fast things arrive.
    pub rate: Option<Sample>,
    /// Some of what it acknowledges was sent more than once.
    again: bool,
    /// When the first and the last were sent of what it acknowledges, and of what it SACKs, if sent once.
    acked_sent: Option<(Instant, Instant)>,
    sacked_sent: Option<(Instant, Instant)>,
}

impl News {
    fn time_acked(&mut self, piece: &Piece) {
        if piece.fate == Fate::Sacked {
            return;
        }
        if piece.is_unambiguous() {
            self.acked_sent = Some(extend(self.acked_sent, piece.sent_at));
        } else {
            self.again = true;
        }
    }

    /// When the newest was sent of what arrived and was sent once.
    fn newest_sent(&self) -> Option<Instant> {
        let newest = |span: Option<(Instant, Instant)>| span.map(|it| it.1);
        newest(self.acked_sent).max(newest(self.sacked_sent))
    }

    fn time_sacked(&mut self, piece: &Piece) {
        if piece.is_unambiguous() {
            self.sacked_sent = Some(extend(self.sacked_sent, piece.sent_at));
        }
    }
}

fn extend(span: Option<(Instant, Instant)>, at: Instant) -> (Instant, Instant) {
    span.map_or((at, at), |(first, last)| (first.min(at), last.max(at)))
}

impl Tcb {
    /// Fifth: the ACK field.
    pub(super) fn fifth_ack(
        &mut self,
        now: Instant,
        segment: &Segment,
        place: Place,
    ) -> Result<(), Stop> {
        if !segment.flags.contains(Flags::ACK) {
            return Err(Arrival::Dropped(Counter::TcpDropState));
        }
        let ack = self.our_position(segment.ack);
        if self.state == State::SynReceived {
            return self.ack_of_syn(now, segment, ack, place);
        }
        // Acknowledging what was never sent, or older than any window reaches (RFC 5961 §5.2).
        let oldest = self.snd.una.saturating_sub(u64::from(self.snd.max_wnd));
        let latest = self.believable_ack(now);
        let Some(ack) = ack.filter(|&ack| ack >= oldest && ack <= latest) else {
            self.challenge(now);
            return Err(Arrival::Dropped(Counter::TcpDropState));
        };
        self.note_timestamp(now, segment, place);
        if self.is_lost() {
            self.note_lost_flight(place);
        }
        let ack = self.hear(now, ack);
        if self.resumed.as_ref().is_some_and(|it| it.abort) {
            // The former owner had decided to.
            self.abort();
            return Err(Arrival::Taken);
        }
        self.statistics.probes = 0;
        self.snd.held = false;
        let current = ack >= self.snd.una;
        let window_moved = current && self.update_window(segment, ack);
        let pure = current && place.end == place.start && !window_moved;
        self.take_ack(now, segment, ack.max(self.snd.una), pure);
        if self.state == State::Closed {
            return Err(Arrival::Taken);
        }
        Ok(())
    }

    /// What an ACK and its SACK blocks say, and what follows. `pure`: without data and without a new window.
    fn take_ack(&mut self, now: Instant, segment: &Segment, ack: u64, pure: bool) {
        let advances = ack > self.snd.una;
        let idle = self.snd.una == self.snd.nxt;
        let mut news = self.gather(now, segment, ack);
        if idle && !advances {
            self.end_tail_probe(now, &news, pure);
            self.take_back(&news);
            return;
        }
        self.count_duplicates(&mut news, pure);
        let rtt = self.note_round_trip(now, segment, &news);
        if advances {
            self.advance(now, ack);
        }
        self.end_tail_probe(now, &news, pure);
        self.repair(now, &mut news);
        self.take_echo(now, segment, &news);
        if let (Some(sample), Some(transit)) = (&mut news.rate, &self.transit) {
            transit.rate.complete(sample);
        }
        self.move_window(now, &news, rtt);
        self.restart_loss_timer(now, advances);
        if advances {
            self.after_our_fin(now);
        }
    }

    /// Takes what arrived out of what is in flight.
    pub(super) fn gather(&mut self, now: Instant, segment: &Segment, ack: u64) -> News {
        let una = self.snd.una;
        let mut news = News {
            acked: ack - una,
            prior_in_flight: self.in_flight(),
            echo: segment.options.timestamps.map(|(_, echo)| echo),
            ..News::default()
        };
        if self.snd.sack && !segment.options.sack.is_empty() {
            news.reports_duplicate = self.take_duplicate_report(segment, ack);
        }
        if una == self.snd.nxt {
            return news;
        }
        let blocks = self.believable_blocks(segment, ack);
        let min_rtt = self.rtt.min_rtt();
        let mss = u64::from(self.effective_mss());
        let point = self.recovery.as_ref().map_or(0, |it| it.point);
        let Transit {
            flight,
            detection,
            rate,
            ..
        } = self.transit(now);
        let mut deliver = |piece: &Piece, news: &mut News| {
            if piece.fate == Fate::Sacked {
                return;
            }
            news.delivered += piece.bytes();
            news.original |= piece.is_unambiguous() && piece.end <= point;
            detection.on_delivered(now, piece, min_rtt.unwrap_or_default());
            let sent = (piece.sent_at, piece.end);
            rate.on_delivered(now, sent, piece.bytes(), piece.stamp);
        };
        // In the order of the stream, or they would look reordered.
        flight.acknowledge(ack, |piece| {
            deliver(piece, &mut news);
            news.time_acked(piece);
        });
        for (left, right) in blocks {
            let (left, right) = flight.whole_segments(left, right, mss);
            flight.sack(left, right, |piece| {
                deliver(piece, &mut news);
                news.sacked += piece.bytes();
                news.time_sacked(piece);
            });
        }
        news.rate = rate.sample(now, min_rtt);
        news.total_delivered = rate.delivered();
        if let Detection::Time(rack) = detection
            && let Some(late_by) = rack.take_late()
        {
            self.reordering.on_late(late_by, mss);
        }
        news
    }

    /// The SACK blocks above `ack`, ascending. Those that are not report duplicates, or are old (RFC 2883); what was never
    /// sent is nonsense.
    fn believable_blocks(&self, segment: &Segment, ack: u64) -> ArrayVec<(u64, u64), 4> {
        if !self.snd.sack {
            return ArrayVec::new();
        }
        let place = |&(left, right): &(u32, u32)| {
            let (left, right) = (self.our_position(left)?, self.our_position(right)?);
            let above = left < right && left >= ack && right <= self.snd.nxt;
            above.then_some((left, right))
        };
        let mut blocks: ArrayVec<_, 4> = segment.options.sack.iter().filter_map(place).collect();
        blocks.sort_unstable();
        blocks
    }

    /// Without SACK a duplicate ACK is for some segment above (RFC 5681 §3.2; RFC 9937 §5).
    fn count_duplicates(&mut self, news: &mut News, pure: bool) {
        news.duplicate_ack = news.acked == 0 && pure;
        let mss = u64::from(self.effective_mss());
        let outstanding = self.snd.nxt - self.snd.una;
        let Some(transit) = self.transit.as_mut().filter(|_| !self.snd.sack) else {
            return;
        };
        let before = transit.detection.arrived_somewhere();
        if news.acked > 0 {
            transit.detection.on_advance(news.acked, mss);
        } else if news.duplicate_ack {
            transit
                .detection
                .on_duplicate(outstanding.div_ceil(mss) as u32);
        }
        let after = transit.detection.arrived_somewhere();
        news.delivered += u64::from(after.saturating_sub(before)) * mss;
        let counted = u64::from(before.saturating_sub(after)) * mss;
        news.delivered = news.delivered.saturating_sub(counted);
    }

    /// In SYN-RECEIVED: exactly our SYN, or a RST that says so.
    fn ack_of_syn(
        &mut self,
        now: Instant,
        segment: &Segment,
        ack: Option<u64>,
        place: Place,
    ) -> Result<(), Stop> {
        // Taken over before it was known to stand, the peer may have more than our SYN.
        let latest = self.believable_ack(now);
        let Some(ack) = ack.filter(|&ack| ack > self.snd.una && ack <= latest) else {
            self.pending.refusal = Some(segment.ack);
            return Err(Arrival::Dropped(Counter::TcpDropState));
        };
        self.note_timestamp(now, segment, place);
        let ack = self.hear(now, ack);
        self.take_reflection(segment);
        self.acknowledge_syn(now, segment, ack);
        // Data that went ahead of the handshake (RFC 7413 §4.2.2).
        let acked = self.snd.una.min(self.send_queue.end());
        self.send_queue.release_to(acked);
        self.establish(now, segment);
        if self.snd.nxt > self.snd.una {
            self.timers.start_retransmit(now + self.rtt.rto());
        }
        Ok(())
    }

    /// SND.WND, unless the segment is older than the one that set it last. True when it changed.
    fn update_window(&mut self, segment: &Segment, ack: u64) -> bool {
        let newer_seq = segment.seq.wrapping_sub(self.snd.wl1) as i32;
        let newer_ack = segment.ack.wrapping_sub(self.snd.wl2) as i32;
        if ack == self.snd.una && (newer_seq < 0 || (newer_seq == 0 && newer_ack < 0)) {
            return false;
        }
        let window = u32::from(segment.window) << self.snd.scale;
        self.snd.wl1 = segment.seq;
        self.snd.wl2 = segment.ack;
        if window == self.snd.wnd {
            return false;
        }
        if window > self.snd.wnd && self.timers.persisting() {
            self.timers.stop_retransmit();
            self.rtt.reset_back_off();
        }
        self.snd.wnd = window;
        if window > self.snd.max_wnd {
            self.snd.max_wnd = window;
            self.apply_mss();
        }
        true
    }

    /// Our SYN is acknowledged, and perhaps what another host sent behind it.
    pub(super) fn acknowledge_syn(&mut self, now: Instant, segment: &Segment, ack: u64) {
        let news = self.gather(now, segment, ack);
        self.note_round_trip(now, segment, &news);
        self.snd.una = ack;
        if ack == self.snd.nxt {
            self.transit = None;
        }
    }

    /// `snd.una` moves.
    fn advance(&mut self, now: Instant, ack: u64) {
        self.snd.una = ack;
        self.send_queue.release_to(ack.min(self.send_queue.end()));
        self.statistics.retries = 0;
        self.statistics.progress_at = now;
        self.soft_error = None;
        self.pass_landmarks(now);
        self.pass_mtu_probe(now);
        if ack == self.snd.nxt {
            self.transit = None;
            self.rest_pacer(now);
        }
    }

    /// Lets the congestion window follow: reduced in proportion, or grown.
    fn move_window(&mut self, now: Instant, news: &News, rtt: Option<Duration>) {
        self.tell_delivery(now, news);
        let (in_flight, mss) = (self.in_flight(), u64::from(self.effective_mss()));
        if let Some(prr) = self.recovery.as_mut().and_then(|it| it.prr.as_mut()) {
            let safe = news.acked > 0 && news.lost == 0;
            prr.on_ack(news.delivered, in_flight, safe, mss);
        } else if self.counts_for_growth(news) && self.may_grow() {
            let slow_start = self.congestion.in_slow_start();
            let cwnd_limited = self.snd.usage.limits(self.cwnd(), slow_start);
            self.congestion.on_ack(&AckEvent {
                now,
                // What had been SACKed before is not news (as Linux counts).
                acked_bytes: news.delivered as usize,
                in_flight: news.prior_in_flight as usize,
                srtt: self.rtt.srtt(),
                rtt,
                una: self.snd.una,
                nxt: self.snd.nxt,
                cwnd_limited,
            });
        }
    }

    /// On a path that is known to reorder, what is SACKed has arrived as well as what is acknowledged (as Linux).
    fn counts_for_growth(&self, news: &News) -> bool {
        news.acked > 0 || news.sacked > 0 && self.reordering.segments() > DUP_THRESH
    }

    /// Tells congestion control what arrived, and what did not, in whatever state the connection is.
    fn tell_delivery(&mut self, now: Instant, news: &News) {
        let in_flight = self.in_flight();
        self.congestion.on_delivery(&Delivery {
            now,
            rate: news.rate,
            delivered: news.delivered,
            total_delivered: news.total_delivered,
            in_flight,
            rtt: news.newest_sent().map(|sent_at| now.since(sent_at)),
            cwnd_limited: self.snd.usage.limits(self.cwnd(), false),
            selective: self.snd.sack,
        });
        if self.congestion.ignores_low_rates()
            && let Some(transit) = &mut self.transit
        {
            transit.rate.lack_data(in_flight);
        }
    }

    /// A sample for the RTT: of what was sent once, or by timestamps if it had to be sent again (Karn; RFC 6298 §3,
    /// RFC 7323 §4). Returns the time that the newest segment took, for congestion control.
    fn note_round_trip(
        &mut self,
        now: Instant,
        segment: &Segment,
        news: &News,
    ) -> Option<Duration> {
        let times = if news.again {
            None
        } else {
            news.acked_sent.or(news.sacked_sent)
        };
        if let Some((oldest, newest)) = times {
            self.rtt.sample(now.since(oldest));
            return Some(now.since(newest));
        }
        if news.acked == 0 {
            return None;
        }
        let (_, echo) = segment.options.timestamps.filter(|_| self.timestamps.on)?;
        let millis = self.timestamps.value(now).wrapping_sub(echo);
        // A longer time is no echo of ours.
        let ours = echo != 0 && millis < 1 << 24 && !self.is_foreign_echo(echo);
        let sample = ours.then(|| Duration::from_millis(u64::from(millis.max(1))))?;
        let sample = if self.statistics.retries == 0 {
            sample
        } else {
            // After time-outs the echo may be of a copy that arrived long ago, its ACK having been
            // lost (RFC 7323 §5.3 R2 before R3). Believed as it is, it would let the RTO grow with
            // every time-out of a path that loses ACKs, to minutes. If the path has really become so
            // slow, the next samples will say so too.
            let usual = self.rtt.srtt().map(|srtt| srtt + self.rtt.rttvar());
            sample.min(usual.unwrap_or(self.rtt.base_rto()))
        };
        self.rtt.sample(sample);
        Some(sample)
    }

    /// What follows when our FIN is acknowledged.
    pub(super) fn after_our_fin(&mut self, now: Instant) {
        if !self.fin_acknowledged() {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.enter(State::FinWait2);
                self.wait_for_fin(now);
            }
            State::Closing => self.start_time_wait(now),
            State::LastAck => self.finish(None),
            _ => {}
        }
    }
}
