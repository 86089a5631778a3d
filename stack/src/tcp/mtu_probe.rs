//! Packetisation-layer path MTU discovery (RFC 4821), upward: a segment larger than the others tells whether the path has become
//! wider than it was found to be. What sizes are tried is `mtu_search`'s to say; how a path is found to be narrower, `timers`'.
//!
//! A probe is made of data that was due anyway, sent in one piece. It leaves when nothing is being repaired, when so much
//! follows it that its loss is noticed like any other, and when the congestion window has room for it (§7.2, §7.5; the conditions
//! are Linux's). If it alone is lost, its data is sent again in segments of the usual size, and the congestion window stays as it is
//! (§7.6.2). Where more is lost, or the retransmission timer expires, nothing follows for the search (§7.6.3).
//!
//! Nothing runs for it: whether a larger size is due is asked when there is data to send. A connection that goes on at another host
//! begins anew with what is known of the path there.

use super::TxSegment;
use super::config::ProbeWhen;
use super::detection::DUP_THRESH;
use super::mtu_search::{MtuSearch, Probe};
use super::recovery::Phase;
use super::tcb::Tcb;
use crate::ip::Path;
use crate::time::Instant;

/// Least congestion window of a connection that probes, in segments (as Linux).
const LEAST_WINDOW_SEGMENTS: u64 = 11;
/// Segments that follow a probe, so that three of them tell of its loss.
const FOLLOWING_SEGMENTS: u64 = DUP_THRESH as u64 + 1;

/// Whose turn it is when there is new data.
#[derive(Debug)]
pub(super) enum Turn {
    /// A probe's, with so many bytes of data.
    Probe(Probe, usize),
    /// It will have room as soon as something arrives: nothing else is to take that.
    Wait,
    /// There is nothing to probe.
    Usual,
}

impl Tcb {
    fn mtu_search(&self) -> Option<&MtuSearch> {
        self.aside.as_ref()?.mtu_search.as_deref()
    }

    fn mtu_search_mut(&mut self) -> Option<&mut MtuSearch> {
        self.aside.as_mut()?.mtu_search.as_deref_mut()
    }

    fn set_mtu_search(&mut self, search: Option<MtuSearch>) {
        if search.is_some() || self.mtu_search().is_some() {
            let aside = self.aside.get_or_insert_default();
            aside.mtu_search = search.map(Box::new);
            self.tidy_aside();
        }
    }

    /// Largest datagram to be sent as the path is known, in bytes.
    pub(super) fn usable_mtu(&self) -> u32 {
        let found = self.mtu_search().map_or(u32::MAX, MtuSearch::low);
        self.path.mtu.min(found)
    }

    /// A connection begins on a path that is narrower than the link, or is to find that out by itself.
    pub(super) fn begin_mtu_search(&mut self, now: Instant, link_mtu: u32) {
        let choices = &self.settings.config().mtu_probing;
        let (mtu, again_at) = (self.path.mtu, now + choices.interval);
        let search = if choices.when == ProbeWhen::Always {
            let base = choices.base_mss.max(choices.floor_mss);
            let low = u32::from(base) + u32::from(self.path.header_bytes);
            Some(MtuSearch::from_base(low.min(mtu), mtu, link_mtu, again_at))
        } else {
            let narrow = choices.when == ProbeWhen::Reduced && mtu < link_mtu;
            narrow.then(|| MtuSearch::told(mtu, link_mtu, again_at))
        };
        self.set_mtu_search(search);
    }

    /// The path was found to be narrower than `before`: told by a router, or because what is larger vanishes.
    pub(super) fn narrow_mtu_search(&mut self, now: Instant, before: u32, path: &Path, told: bool) {
        let (mtu, link) = (self.path.mtu, path.link_mtu as u32);
        let choices = &self.settings.config().mtu_probing;
        if choices.when == ProbeWhen::Never {
            return;
        }
        let again_at = now + choices.interval;
        if mtu < before {
            let search = if told {
                MtuSearch::told(mtu, link, again_at)
            } else {
                MtuSearch::black_hole(mtu, before, link, again_at)
            };
            self.set_mtu_search((mtu < link).then_some(search));
        } else if self.mtu_search().is_some() {
            // Wider than what is known to pass may be true, but is to be found out. A device that cuts nothing takes no more.
            if self.path.max_segmented == self.path.mtu {
                self.path.max_segmented = before;
            }
            self.path.mtu = before;
        }
    }

    /// A router has no room for the probe, which may be what it told about a segment at `position`.
    pub(super) fn refuse_mtu_probe(&mut self, now: Instant, position: u64, told: u32) {
        let Some(search) = self.mtu_search_mut() else {
            return;
        };
        let probe = search
            .probe
            .filter(|it| (it.start..it.end).contains(&position));
        if let Some(probe) = probe {
            search.on_lost(Some(told));
            self.resend_mtu_probe(now, probe);
        }
    }

    /// Whether a segment of a larger size is due.
    pub(super) fn mtu_probe_turn(&mut self, now: Instant) -> Turn {
        let Some((probe, len)) = self.next_mtu_probe(now) else {
            return Turn::Usual;
        };
        let mss = u64::from(self.effective_mss());
        let in_flight = self.in_flight();
        let needed = probe.end - probe.start + FOLLOWING_SEGMENTS * mss;
        if self.snd.nxt + needed > self.snd.window_end()
            || in_flight > 0 && in_flight + (len as u64).max(2 * mss) > self.cwnd()
            || !self.pacing_allows(now)
        {
            return Turn::Wait;
        }
        Turn::Probe(probe, len)
    }

    /// Its turn has come.
    pub(super) fn send_mtu_probe(
        &mut self,
        now: Instant,
        probe: Probe,
        len: usize,
    ) -> Option<TxSegment> {
        let mut draft = self.draft(probe.start, len, false)?;
        draft.whole = true;
        tracing::debug!(?now, mtu = probe.mtu, "probes for a larger path MTU");
        let segment = self.send_new(now, draft);
        if let Some(search) = self.mtu_search_mut() {
            search.probe = Some(probe);
        }
        segment
    }

    /// The probe that may leave once there is room for it, and the bytes of data in it.
    fn next_mtu_probe(&mut self, now: Instant) -> Option<(Probe, usize)> {
        if self.mtu_search()?.probe.is_some() || !self.may_probe_mtu() {
            return None;
        }
        let ceiling = self.mtu_ceiling();
        let choices = self.settings.config().mtu_probing;
        let search = self.mtu_search_mut()?;
        if search.is_over(ceiling) {
            self.set_mtu_search(None);
            return None;
        }
        let mtu = search.next(now, ceiling, &choices)?;
        let overhead = u32::from(self.path.header_bytes) + u32::from(self.timestamps_bytes());
        let len = u64::from(mtu.saturating_sub(overhead));
        let (from, mss) = (self.snd.nxt, u64::from(self.effective_mss()));
        let needed = len + FOLLOWING_SEGMENTS * mss;
        let queued = self.send_queue.end().min(self.barrier());
        let enough = from + needed <= queued
            && from + len <= self.send_queue.reach(from)
            && needed <= u64::from(self.snd.wnd);
        let probe = Probe {
            start: from,
            end: from + len,
            mtu,
        };
        (len > mss && enough).then_some((probe, len as usize))
    }

    /// Nothing is being repaired or doubted in either direction, and the window is that of a connection under way.
    fn may_probe_mtu(&self) -> bool {
        self.phase() == Phase::Over
            && self.statistics.retries == 0
            && self.snd.tail_probe_end == 0
            && self.sacked_bytes() == 0
            && self.lost_bytes() == 0
            && self.receive_queue.out_of_order_bytes() == 0
            && self.state.may_transmit_data()
            && !self.is_early()
            && self.keeps_step()
            && self.cwnd() >= LEAST_WINDOW_SEGMENTS * u64::from(self.effective_mss())
    }

    /// The largest datagram that the peer takes, and that we mean to send.
    fn mtu_ceiling(&self) -> u32 {
        let chosen = self.settings.options().max_segment_size;
        let mss = self.snd.peer_mss.min(chosen.unwrap_or(u16::MAX));
        u32::from(mss) + u32::from(self.path.header_bytes)
    }

    /// `snd.una` moved: past the probe, the path is as wide as that.
    pub(super) fn pass_mtu_probe(&mut self, now: Instant) {
        let una = self.snd.una;
        let Some(search) = self.mtu_search_mut() else {
            return;
        };
        if search.probe.is_none_or(|probe| una < probe.end) {
            return;
        }
        let Some(mtu) = search.on_arrived() else {
            return;
        };
        if mtu > self.path.mtu {
            self.path.mtu = mtu;
            self.path.max_segmented = self.path.max_segmented.max(mtu);
            self.hints.wider_mtu = mtu as u16;
        }
        self.apply_mss();
        tracing::debug!(
            ?now,
            mtu,
            mss = self.snd.mss,
            "larger segments from here on"
        );
    }

    /// True if the probe, and nothing else, was just found lost: then its data goes again, and nothing else follows.
    pub(super) fn lost_only_mtu_probe(&mut self, now: Instant) -> bool {
        let (una, sack) = (self.snd.una, self.snd.sack);
        let probe = self.mtu_search().and_then(|search| search.probe);
        let Some(probe) = probe.filter(|probe| probe.start == una) else {
            return false;
        };
        let lost = self.lost_bytes();
        // Without SACK only the first segment is known to be lost, which is the probe.
        let alone = if sack {
            lost == probe.end - probe.start
        } else {
            lost > 0
        };
        let first = self.transit.as_ref().and_then(|it| it.flight.first_lost());
        if !alone || first.is_none_or(|(start, _)| start != una) {
            return false;
        }
        if let Some(search) = self.mtu_search_mut() {
            search.on_lost(None);
        }
        self.resend_mtu_probe(now, probe);
        true
    }

    /// Something is sent again: if that was part of the probe, or delays what comes behind it, it tells nothing.
    pub(super) fn doubt_mtu_probe(&mut self) {
        if let Some(search) = self.mtu_search_mut() {
            search.on_inconclusive();
        }
    }
}
