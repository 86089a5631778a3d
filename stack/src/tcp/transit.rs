//! What a connection needs while something of it is in flight, and only then: the pieces, how their loss is found,
//! and how fast they are delivered.

use super::congestion::CongestionControl;
use super::delivery_rate::DeliveryRate;
use super::detection::{Detection, LossDetection};
use super::flight::Flight;
use super::tcb::Tcb;
use crate::time::Instant;

/// Exists while `snd.una < snd.nxt`.
#[derive(Clone, Debug)]
pub(super) struct Transit {
    pub flight: Flight,
    pub detection: Detection,
    pub rate: DeliveryRate,
    /// When to look for losses again, though no ACK may have come until then.
    pub look_at: Option<Instant>,
}

impl Tcb {
    /// Bytes thought to be in the network.
    pub(super) fn in_flight(&self) -> u64 {
        let all = self.snd.nxt - self.snd.una;
        let Some(transit) = &self.transit else {
            return all;
        };
        let unknown = self.snd.nxt - transit.flight.end().clamp(self.snd.una, self.snd.nxt);
        let arrived = u64::from(transit.detection.arrived_somewhere());
        let arrived = arrived * u64::from(self.effective_mss());
        (transit.flight.outstanding() + unknown).saturating_sub(arrived)
    }

    /// Bytes that the peer has beyond `snd.una`, as far as it said.
    pub(super) fn sacked_bytes(&self) -> u64 {
        let transit = self.transit.as_ref();
        transit.map_or(0, |transit| transit.flight.sacked())
    }

    /// Bytes that are lost and wait to be sent again.
    pub(super) fn lost_bytes(&self) -> u64 {
        let transit = self.transit.as_ref();
        transit.map_or(0, |transit| transit.flight.lost())
    }

    /// The state of what is in flight, which covers everything from `snd.una` to `snd.nxt`; made if need be.
    pub(super) fn transit(&mut self, now: Instant) -> &mut Transit {
        let (una, nxt, sack) = (self.snd.una, self.snd.nxt, self.snd.sack);
        let starved = self.was_starved();
        let reports = self.congestion.watches_losses();
        let transit = self.transit.get_or_insert_with(|| {
            let mut rate = DeliveryRate::new(una, now);
            if starved {
                rate.lack_data(0);
            }
            Box::new(Transit {
                flight: Flight::new(reports),
                detection: Detection::new(sack),
                rate,
                look_at: None,
            })
        });
        // Another host may have said what the peer has, or what was sent.
        if transit.flight.first().is_some_and(|it| it.start < una) {
            transit.flight.acknowledge(una, |_| {});
        }
        transit.flight.cover(una, nxt, now);
        transit
    }

    /// New data (or SYN, or FIN) up to `end` leaves: `snd.nxt` moves there.
    /// `whole`: as one segment, however large.
    pub(super) fn note_sent(&mut self, now: Instant, end: u64, whole: bool) {
        let start = self.snd.nxt;
        let segments = if whole {
            1
        } else {
            self.wire_segments(end - start)
        };
        let in_flight = self.in_flight() + end - start;
        let transit = self.transit(now);
        let stamp = transit.rate.stamp(in_flight);
        transit.flight.send(start, end, segments, now, stamp);
        self.snd.nxt = end;
        self.pass_landmarks(now);
    }

    /// What was sent before leaves again.
    pub(super) fn note_sent_again(&mut self, now: Instant, start: u64, end: u64) {
        let segments = self.wire_segments(end - start);
        let in_flight = self.in_flight() + end - start;
        let transit = self.transit(now);
        let stamp = transit.rate.stamp(in_flight);
        transit.flight.resend(start, end, segments, now, stamp);
    }

    fn wire_segments(&self, bytes: u64) -> u16 {
        let segments = bytes.div_ceil(u64::from(self.effective_mss()));
        u16::try_from(segments).unwrap_or(u16::MAX)
    }
}
