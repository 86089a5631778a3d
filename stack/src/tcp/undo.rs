//! Losses that were none: the window goes back to what it was (RFC 4015). Told by timestamps (Eifel, RFC 3522), by the
//! receiver's reports of duplicates (DSACK, RFC 2883; RFC 3708), and after a time-out by F-RTO (`recovery`).

use super::Segment;
use super::acknowledge::News;
use super::congestion::CongestionControl;
use super::recovery::Phase;
use super::tcb::Tcb;

/// What was sent again in an episode, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    /// `snd.una` when it began; none if there is nothing to go back to.
    marker: Option<u64>,
    /// Segments sent again that the peer has not reported as duplicates.
    unreported: u32,
    /// Something was sent again.
    sent_again: bool,
    /// TSval of the first of them.
    first_value: u32,
}

impl Undo {
    pub(super) const fn none() -> Self {
        Self {
            marker: None,
            unreported: 0,
            sent_again: false,
            first_value: 0,
        }
    }

    pub(super) const fn new(una: u64) -> Self {
        Self {
            marker: Some(una),
            ..Self::none()
        }
    }

    /// So many segments leave again, with this TSval.
    pub(super) const fn on_sent_again(&mut self, segments: u32, value: u32) {
        if !self.sent_again {
            self.first_value = value;
        }
        self.sent_again = true;
        self.unreported += segments;
    }

    /// Of the stretch up to `end` so many segments arrived twice.
    pub(super) fn on_duplicates(&mut self, end: u64, segments: u32) {
        if self.marker.is_some_and(|marker| end > marker) {
            self.unreported = self.unreported.saturating_sub(segments);
        }
    }

    /// Everything that was sent again arrived twice.
    const fn all_reported(&self) -> bool {
        self.marker.is_some() && self.sent_again && self.unreported == 0
    }

    /// An ACK that echoes `value` is for something sent before anything was sent again.
    const fn precedes(&self, value: u32) -> bool {
        self.marker.is_some()
            && self.sent_again
            && (value.wrapping_sub(self.first_value) as i32) < 0
    }
}

impl Tcb {
    /// The first SACK block reports what arrived twice if it is not above the ACK, or lies within the second
    /// (RFC 2883 §4). True if it does.
    pub(super) fn take_duplicate_report(&mut self, segment: &Segment, ack: u64) -> bool {
        let blocks = &segment.options.sack;
        let place = |&(left, right): &(u32, u32)| {
            let (left, right) = (self.our_position(left)?, self.our_position(right)?);
            (left < right && right <= self.snd.nxt).then_some((left, right))
        };
        let Some((left, right)) = blocks.first().and_then(place) else {
            return false;
        };
        let within = |&(from, to): &(u64, u64)| from <= left && right <= to;
        let inner = blocks.get(1).and_then(place).is_some_and(|it| within(&it));
        // Older than any window: of an earlier life of the network.
        let oldest = ack.saturating_sub(u64::from(self.snd.max_wnd));
        if (right > ack && !inner) || left < oldest {
            return false;
        }
        let segments = (right - left).div_ceil(u64::from(self.snd.mss)) as u32;
        if let Some(recovery) = &mut self.recovery {
            recovery.undo.on_duplicates(right, segments);
        }
        // What a tail probe duplicated says nothing of the reordering window (as in Linux).
        if self.reordering.seen > 0 && self.snd.tail_probe_end == 0 {
            self.reordering
                .on_duplicate_report(self.snd.una, self.snd.nxt);
        }
        true
    }

    /// Goes back if this ACK shows that nothing had been lost.
    pub(super) fn take_back(&mut self, news: &News) {
        let Some(recovery) = &self.recovery else {
            return;
        };
        let undo = &recovery.undo;
        let echo = news.echo.filter(|_| self.timestamps.on && news.acked > 0);
        let eifel = matches!(recovery.phase, Phase::Fast | Phase::Timeout)
            && echo.is_some_and(|echo| undo.precedes(echo));
        if eifel || (news.reports_duplicate && undo.all_reported()) {
            self.undo();
        }
    }

    /// Takes the last reduction of the window back, and what counts as lost.
    pub(super) fn undo(&mut self) {
        self.congestion.on_undo();
        if let Some(transit) = &mut self.transit {
            transit.flight.forgive();
        }
        if let Some(recovery) = &mut self.recovery {
            // What came late was overtaken (unless the whole path stood still).
            if recovery.phase != Phase::Timeout && self.reordering.seen == 0 {
                self.reordering.on_seen();
            }
            recovery.end();
            recovery.undo = Undo::none();
        }
    }
}
