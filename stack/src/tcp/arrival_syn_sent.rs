//! A segment arrives in SYN-SENT (RFC 9293 §3.10.7.3), and what the peer's SYN settles for good.

use super::arrival::{Arrival, Place, Stop};
use super::congestion::{Congestion, initial_window};
use super::settings::MAX_WINDOW_SCALE;
use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use super::{Error, Flags, Segment};
use crate::counters::Counter;
use crate::time::Instant;

/// Smallest MSS that a peer is believed to mean; less would cost more headers than data (as Linux).
const MIN_PEER_MSS: u16 = 48;

impl Tcb {
    pub(super) fn arrives_in_syn_sent(
        &mut self,
        now: Instant,
        segment: Segment,
    ) -> Result<(), Stop> {
        let acked = self.first_ack(now, &segment)?;
        let acknowledged = acked.is_some();
        if segment.flags.contains(Flags::RST) {
            return Err(self.second_rst(acknowledged));
        }
        if !segment.flags.contains(Flags::SYN) {
            return Err(Arrival::Dropped(Counter::TcpDropState));
        }
        self.fourth_syn_in_syn_sent(now, &segment, acked);
        if acked.is_none() {
            // What came with a SYN that crossed ours will come again.
            return Ok(());
        }
        self.text_of_syn_ack(now, segment)
    }

    /// Fifth: data and FIN that came with the SYN-ACK, be it unasked for.
    fn text_of_syn_ack(&mut self, now: Instant, segment: Segment) -> Result<(), Stop> {
        let fin = segment.flags.contains(Flags::FIN);
        let data_end = FIRST_BYTE + segment.payload.len() as u64;
        let place = Place {
            start: 0,
            data: FIRST_BYTE,
            end: data_end + u64::from(fin),
        };
        if !segment.payload.is_empty() {
            self.seventh_text(now, segment, place)?;
        }
        if fin {
            self.eighth_fin(now, fin, place);
        }
        Ok(())
    }

    /// First: an ACK must be for our SYN, and perhaps for data that went with it. Up to where, when there is one.
    fn first_ack(&mut self, now: Instant, segment: &Segment) -> Result<Option<u64>, Stop> {
        if !segment.flags.contains(Flags::ACK) {
            return Ok(None);
        }
        let sent = FIRST_BYTE..=self.snd.nxt;
        let acked = self.our_position(segment.ack);
        if let Some(acked) = acked.filter(|acked| sent.contains(acked))
            && self.echoes_our_syn(now, segment)
        {
            return Ok(Some(acked));
        }
        if !segment.flags.contains(Flags::RST) {
            self.pending.refusal = Some(segment.ack);
        }
        Err(Arrival::Dropped(Counter::TcpDropState))
    }

    /// False for the echo of a time at which we sent no SYN: what answers somebody else's, or nobody's (as Linux).
    fn echoes_our_syn(&self, now: Instant, segment: &Segment) -> bool {
        let echo = segment.options.timestamps.map_or(0, |(_, echo)| echo);
        let first = self.timestamps.value(self.statistics.progress_at);
        let since = |value: u32| value.wrapping_sub(first);
        !self.timestamps.on || echo == 0 || since(echo) <= since(self.timestamps.value(now))
    }

    /// Second: a RST is believed if it acknowledges our SYN.
    fn second_rst(&mut self, acknowledged: bool) -> Stop {
        if !acknowledged {
            return Arrival::Dropped(Counter::TcpDropState);
        }
        self.finish(Some(Error::Refused));
        Arrival::Taken
    }

    /// Fourth: the peer's SYN. With the ACK of ours the connection stands; without, both opened at once.
    fn fourth_syn_in_syn_sent(&mut self, now: Instant, segment: &Segment, acked: Option<u64>) {
        self.synchronize(now, segment);
        if let Some(acked) = acked {
            self.learn_fast_open(segment, acked);
            self.acknowledge_syn(now, segment, acked);
            self.send_queue.release_to(acked);
            self.establish(now, segment);
            // Data that went with our SYN, and was not taken.
            if self.snd.nxt > self.snd.una {
                self.resegment(now);
                self.timers.start_retransmit(now + self.rtt.rto());
            } else if self.snd.nxt < self.send_queue.end() {
                // It is we who have something to say, so that ACKs have something to go along with (as Linux).
                self.rcv.quick = 0;
            }
            self.acknowledge_now();
        } else {
            self.enter(State::SynReceived);
            self.pending.syn = true;
        }
    }

    /// Takes over what a SYN says: sequence numbers, window and options. An option that either side
    /// did not send is off for good (RFC 7323 §1.3, RFC 2018 §2).
    pub(super) fn synchronize(&mut self, now: Instant, syn: &Segment) {
        self.rcv.irs = syn.seq;
        self.rcv.nxt = FIRST_BYTE;
        // The record stands for the SYN: no frame leaves before it is committed.
        self.rcv.committed = FIRST_BYTE;
        self.rcv.edge = FIRST_BYTE;
        self.rcv.tuned_at_us = now.as_micros() as u32;
        let options = &syn.options;
        match options.window_scale {
            Some(shift) if self.settings.config().window_scaling => {
                self.snd.scale = shift.min(MAX_WINDOW_SCALE);
            }
            _ => {
                self.snd.scale = 0;
                self.rcv.scale = 0;
            }
        }
        match options.timestamps {
            Some((value, _)) if self.timestamps.on => {
                self.timestamps.recent = value;
                self.timestamps.recent_at_s = (now.as_millis() / 1000) as u32;
            }
            _ => self.timestamps.on = false,
        }
        self.snd.sack &= options.sack_permitted;
        self.negotiate_ecn(syn);
        self.hear_user_timeout(syn);
        if let Some(mss) = options.mss {
            self.snd.peer_mss = mss.max(MIN_PEER_MSS);
        }
        // The window of a SYN is never scaled (RFC 7323 §2.2).
        self.snd.wnd = u32::from(syn.window);
        self.snd.max_wnd = self.snd.wnd;
        self.snd.wl1 = syn.seq;
        self.snd.wl2 = syn.ack;
        self.statistics.received_at = now;
        self.apply_mss();
        self.rcv.mss = self.peer_segment_guess();
        self.open_window();
    }

    /// ESTABLISHED: our SYN is acknowledged.
    pub(super) fn establish(&mut self, now: Instant, segment: &Segment) {
        let syn_was_lost = self.statistics.retries > 0;
        let had_begun = self.is_early();
        self.enter(State::Established);
        self.pending.syn = false;
        self.statistics.retries = 0;
        self.statistics.progress_at = now;
        self.timers.stop_retransmit();
        self.tell_user_timeout();
        if syn_was_lost {
            // RFC 6298 §5.7.
            self.rtt.syn_was_lost();
        }
        if !segment.flags.contains(Flags::SYN) {
            self.snd.wnd = u32::from(segment.window) << self.snd.scale;
            self.snd.max_wnd = self.snd.max_wnd.max(self.snd.wnd);
        }
        if !had_begun {
            self.begin_congestion_control(syn_was_lost);
        }
        self.snd.wl1 = segment.seq;
        self.snd.wl2 = segment.ack;
        if self.snd.fin {
            self.enter(State::FinWait1);
        }
        self.restart_keep_alive(now);
    }

    /// The initial window, now that the segment size is known; one segment if the SYN was lost (RFC 5681
    /// §3.1).
    pub(super) fn begin_congestion_control(&mut self, syn_was_lost: bool) {
        self.apply_mss();
        let mss = usize::from(self.effective_mss());
        let segments = self.settings.config().initial_window_segments;
        let window = if syn_was_lost {
            mss
        } else {
            initial_window(segments, mss)
        };
        self.congestion = Congestion::new(self.settings.options().algorithm, mss, window);
    }
}
