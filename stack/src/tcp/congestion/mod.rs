//! How much may be in flight: congestion control behind one narrow trait.
//!
//! Loss recovery decides *what* to send again; this decides *how much* may be in the network. Windows
//! are bytes. The algorithms are CUBIC (RFC 9438, the default) and NewReno (RFC 5681, RFC 6582), which share
//! `slow_start`, and BBR (draft-ietf-ccwg-bbr). Marks of congestion (RFC 3168) reach the first two as a loss.
//! When what may be in flight leaves is the business of `pacing`.

mod bbr;
mod cubic;
mod new_reno;
mod slow_start;
mod window;

use std::time::Duration;

use super::delivery_rate::Sample;
use crate::time::Instant;

pub use self::bbr::Bbr;
pub use self::cubic::Cubic;
pub use self::new_reno::NewReno;
pub use self::window::Window;

/// Which algorithm moves the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681.
    NewReno,
    /// Version 3 of draft-ietf-ccwg-bbr; always paced.
    Bbr,
}

/// An ACK of new data outside of fast recovery.
#[derive(Clone, Copy, Debug)]
pub struct AckEvent {
    /// When it came.
    pub now: Instant,
    /// Bytes that it newly acknowledged, by SACK too.
    pub acked_bytes: usize,
    /// Bytes in the network before it came.
    pub in_flight: usize,
    /// Smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// The round-trip time that this ACK measured.
    pub rtt: Option<Duration>,
    /// `snd.una`, this ACK included.
    pub una: u64,
    /// `snd.nxt`.
    pub nxt: u64,
    /// True when the congestion window, and neither the peer's window nor a lack of data, kept more from
    /// being sent. Otherwise the window does not grow: it would be one that was never tried.
    pub cwnd_limited: bool,
}

/// What any ACK tells of the network.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// When it came.
    pub now: Instant,
    /// How fast things arrive.
    pub rate: Option<Sample>,
    /// Bytes that arrived, as far as it says.
    pub delivered: u64,
    /// All that ever did.
    pub total_delivered: u64,
    /// Bytes in the network after it.
    pub in_flight: u64,
    /// The round-trip time of the newest segment that it acknowledges, if sent once.
    pub rtt: Option<Duration>,
    /// The congestion window is the limit.
    pub cwnd_limited: bool,
    /// The receiver says which segments it has (RFC 2018).
    pub selective: bool,
}

/// A piece of what was in flight is thought to be lost.
#[derive(Clone, Copy, Debug)]
pub struct LostPiece {
    /// When that was found.
    pub now: Instant,
    /// Position of its first octet.
    pub start: u64,
    /// Position after its last.
    pub end: u64,
    /// Bytes in flight when it was sent, itself included.
    pub tx_in_flight: u64,
    /// Bytes lost since, itself included.
    pub lost: u64,
    /// It was sent when data was lacking.
    pub app_limited: bool,
    /// All that ever arrived.
    pub total_delivered: u64,
    /// The receiver says which segments it has (RFC 2018).
    pub selective: bool,
}

/// What a congestion controller does. All sizes in bytes.
pub trait CongestionControl {
    /// New data was acknowledged. Not to be called in fast recovery, where the window is fixed.
    fn on_ack(&mut self, ack: &AckEvent);
    /// Loss was found by duplicate or selective ACKs: once per recovery episode. `flight_size` is what was
    /// sent and not cumulatively acknowledged (RFC 5681 §2), *not* the pipe.
    fn on_loss(&mut self, now: Instant, flight_size: usize);
    /// Fast recovery ended.
    fn on_recovered(&mut self, now: Instant);
    /// The retransmission timer expired.
    fn on_timeout(&mut self, timeout: &Timeout);
    /// Sending begins again after `idle` with nothing in flight.
    fn on_idle(&mut self, now: Instant, idle: Duration, rto: Duration);
    /// The last loss or time-out was none: takes the window back (RFC 4015, RFC 5682).
    fn on_undo(&mut self);
    /// Something arrived, or not: for every ACK, in recovery too, after everything else was told.
    fn on_delivery(&mut self, _delivery: &Delivery) {}
    /// It wants to hear [`CongestionControl::on_lost`].
    fn watches_losses(&self) -> bool {
        false
    }
    /// For each piece found lost.
    fn on_lost(&mut self, _lost: &LostPiece) {}
    /// The peer echoes marks of congestion (RFC 3168): once per round trip, before [`CongestionControl::on_loss`].
    fn on_mark(&mut self, _now: Instant, _in_flight: u64) {}
    /// Sending begins again after a lack of data, with nothing in flight.
    fn on_restart(&mut self, _now: Instant) {}
    /// Bytes per second at which segments are to leave; none to leave that to the window.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
    /// Little is in flight on purpose: low rates of delivery say nothing of the path.
    fn ignores_low_rates(&self) -> bool {
        false
    }
    /// After a loss the window goes down to the threshold in proportion to what arrives (RFC 9937).
    fn reduces_in_proportion(&self) -> bool {
        true
    }
    /// What it moves.
    fn window(&self) -> &Window;
    /// The same, to be changed.
    fn window_mut(&mut self) -> &mut Window;
    /// The congestion window.
    fn cwnd(&self) -> usize {
        self.window().cwnd as usize
    }
    /// The slow start threshold; `usize::MAX` while there is none.
    fn ssthresh(&self) -> usize {
        self.window().ssthresh()
    }
    /// The segment size changed.
    fn set_mss(&mut self, mss: usize) {
        self.window_mut().set_mss(mss);
    }
}

/// The retransmission timer expired.
#[derive(Clone, Copy, Debug)]
pub struct Timeout {
    /// When.
    pub now: Instant,
    /// Bytes outstanding.
    pub flight_size: usize,
    /// Bytes of them that are not thought to be lost.
    pub in_flight: usize,
    /// The threshold was not lowered yet for what is outstanding (RFC 5681 §3.1).
    pub fresh: bool,
}

/// The initial window (RFC 6928 §2) for `segments` of `mss` bytes; with 10 segments, 14,600 bytes or two
/// segments at most.
#[must_use]
pub fn initial_window(segments: u32, mss: usize) -> usize {
    let segments = segments as usize;
    (segments * mss).min((2 * mss).max(segments * 1460))
}

/// Any of the algorithms. Detail is boxed, and only while it is used.
#[derive(Clone, Debug)]
pub enum Congestion {
    /// RFC 5681.
    NewReno(NewReno),
    /// RFC 9438.
    Cubic(Cubic),
    /// draft-ietf-ccwg-bbr.
    Bbr(Bbr),
}

impl Congestion {
    /// A window of `initial_window` bytes for segments of `mss` bytes, without a threshold.
    #[must_use]
    pub fn new(algorithm: Algorithm, mss: usize, initial_window: usize) -> Self {
        let window = Window::new(mss, initial_window);
        match algorithm {
            Algorithm::NewReno => Self::NewReno(NewReno::new(window)),
            Algorithm::Cubic => Self::Cubic(Cubic::new(window)),
            Algorithm::Bbr => Self::Bbr(Bbr::new(window)),
        }
    }

    /// Which one it is.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::NewReno(_) => Algorithm::NewReno,
            Self::Cubic(_) => Algorithm::Cubic,
            Self::Bbr(_) => Algorithm::Bbr,
        }
    }

    /// True while the window is below the threshold.
    #[must_use]
    pub fn in_slow_start(&self) -> bool {
        self.cwnd() < self.ssthresh()
    }

    fn get(&self) -> &dyn CongestionControl {
        match self {
            Self::NewReno(new_reno) => new_reno,
            Self::Cubic(cubic) => cubic,
            Self::Bbr(bbr) => bbr,
        }
    }

    fn get_mut(&mut self) -> &mut dyn CongestionControl {
        match self {
            Self::NewReno(new_reno) => new_reno,
            Self::Cubic(cubic) => cubic,
            Self::Bbr(bbr) => bbr,
        }
    }
}

impl CongestionControl for Congestion {
    fn on_ack(&mut self, ack: &AckEvent) {
        self.get_mut().on_ack(ack);
    }

    fn on_loss(&mut self, now: Instant, flight_size: usize) {
        self.get_mut().on_loss(now, flight_size);
    }

    fn on_recovered(&mut self, now: Instant) {
        self.get_mut().on_recovered(now);
    }

    fn on_timeout(&mut self, timeout: &Timeout) {
        self.get_mut().on_timeout(timeout);
    }

    fn on_idle(&mut self, now: Instant, idle: Duration, rto: Duration) {
        self.get_mut().on_idle(now, idle, rto);
    }

    fn on_undo(&mut self) {
        self.get_mut().on_undo();
    }

    fn on_delivery(&mut self, delivery: &Delivery) {
        self.get_mut().on_delivery(delivery);
    }

    fn watches_losses(&self) -> bool {
        self.get().watches_losses()
    }

    fn on_lost(&mut self, lost: &LostPiece) {
        self.get_mut().on_lost(lost);
    }

    fn on_mark(&mut self, now: Instant, in_flight: u64) {
        self.get_mut().on_mark(now, in_flight);
    }

    fn on_restart(&mut self, now: Instant) {
        self.get_mut().on_restart(now);
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.get().pacing_rate()
    }

    fn ignores_low_rates(&self) -> bool {
        self.get().ignores_low_rates()
    }

    fn reduces_in_proportion(&self) -> bool {
        self.get().reduces_in_proportion()
    }

    fn window(&self) -> &Window {
        self.get().window()
    }

    fn window_mut(&mut self) -> &mut Window {
        self.get_mut().window_mut()
    }
}

#[cfg(test)]
mod test_path {
    //! A path without jitter that acknowledges one window per round trip.

    use super::*;

    pub(super) struct Path {
        pub(super) now: Instant,
        pub(super) rtt: Duration,
        pub(super) mss: usize,
        pub(super) nxt: u64,
    }

    impl Path {
        pub(super) const fn new(rtt_ms: u64, mss: usize) -> Self {
            Self {
                now: Instant::from_millis(1000),
                rtt: Duration::from_millis(rtt_ms),
                mss,
                nxt: 1,
            }
        }

        /// Sends a window and acknowledges it, an ACK per two segments, spread over the round trip.
        pub(super) fn round(&mut self, control: &mut dyn CongestionControl) -> usize {
            let window = control.cwnd() / self.mss * self.mss;
            let (una, start) = (self.nxt, self.now);
            self.nxt += window as u64;
            let mut acked = 0;
            while acked < window {
                let acked_bytes = (2 * self.mss).min(window - acked);
                acked += acked_bytes;
                self.now = start + self.rtt.mul_f64(acked as f64 / window as f64);
                control.on_ack(&AckEvent {
                    now: self.now,
                    acked_bytes,
                    in_flight: window,
                    srtt: Some(self.rtt),
                    rtt: Some(self.rtt),
                    una: una + acked as u64,
                    nxt: self.nxt,
                    cwnd_limited: true,
                });
            }
            self.now = start + self.rtt;
            window
        }

        pub(super) fn rounds(&mut self, control: &mut dyn CongestionControl, rounds: usize) {
            for _ in 0..rounds {
                self.round(control);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_path::Path;
    use super::*;

    const MSS: usize = 1000;

    fn both() -> [Congestion; 2] {
        [Algorithm::NewReno, Algorithm::Cubic]
            .map(|algorithm| Congestion::new(algorithm, MSS, 10 * MSS))
    }

    fn timeout(outstanding: usize, fresh: bool) -> Timeout {
        Timeout {
            now: Instant::from_millis(2000),
            flight_size: outstanding * MSS,
            in_flight: 0,
            fresh,
        }
    }

    #[test]
    fn the_initial_window_is_that_of_rfc_6928() {
        assert_eq!(initial_window(10, 1460), 14_600);
        assert_eq!(initial_window(10, 536), 5_360);
        assert_eq!(initial_window(10, 8960), 17_920);
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Congestion>() <= 40, "{}", size_of::<Congestion>());
    }

    #[test]
    fn slow_start_doubles_each_round_trip_while_the_window_is_the_limit() {
        for mut control in both() {
            let mut path = Path::new(20, MSS);
            for window in [10, 20, 40, 80, 160] {
                assert_eq!(path.round(&mut control), window * MSS);
            }
            let unlimited = AckEvent {
                now: path.now,
                acked_bytes: MSS,
                in_flight: MSS,
                srtt: None,
                rtt: None,
                una: 1,
                nxt: 1,
                cwnd_limited: false,
            };
            let before = control.cwnd();
            control.on_ack(&unlimited);
            assert_eq!(control.cwnd(), before);
        }
    }

    #[test]
    fn a_time_out_leaves_one_segment_and_the_same_threshold_however_often_it_repeats() {
        for mut control in both() {
            let mut path = Path::new(20, MSS);
            path.round(&mut control);
            control.on_timeout(&timeout(20, true));
            let ssthresh = control.ssthresh();
            assert_eq!(control.cwnd(), MSS);
            assert!((10 * MSS..=14 * MSS).contains(&ssthresh));
            control.on_timeout(&timeout(1, false));
            assert_eq!((control.cwnd(), control.ssthresh()), (MSS, ssthresh));
            path.rounds(&mut control, 4);
            assert!(control.cwnd() >= ssthresh && !control.in_slow_start());
        }
    }

    #[test]
    fn undo_restores_the_window() {
        for mut control in both() {
            let mut path = Path::new(20, MSS);
            path.round(&mut control);
            let before = (control.cwnd(), control.ssthresh());
            control.on_loss(path.now, 20 * MSS);
            assert!(control.cwnd() < before.0);
            control.on_undo();
            assert_eq!((control.cwnd(), control.ssthresh()), before);
            control.on_timeout(&timeout(20, true));
            control.on_timeout(&timeout(20, false));
            control.on_undo();
            assert_eq!((control.cwnd(), control.ssthresh()), before);
            control.on_undo();
            assert_eq!((control.cwnd(), control.ssthresh()), before);
        }
    }

    #[test]
    fn idleness_halves_the_window_for_every_rto_down_to_the_initial_one() {
        let rto = Duration::from_millis(200);
        for mut control in both() {
            let mut path = Path::new(20, MSS);
            path.rounds(&mut control, 3);
            assert_eq!(control.cwnd(), 80 * MSS);
            control.on_idle(path.now, Duration::from_millis(199), rto);
            assert_eq!(control.cwnd(), 80 * MSS);
            control.on_idle(path.now, Duration::from_millis(450), rto);
            assert_eq!(control.cwnd(), 20 * MSS);
            control.on_idle(path.now, Duration::from_secs(4000), rto);
            assert_eq!(control.cwnd(), 10 * MSS);
        }
    }

    #[test]
    fn windows_never_fall_below_two_segments_after_loss() {
        for mut control in both() {
            for _ in 0..20 {
                control.on_loss(Instant::ZERO, 0);
                assert!(control.cwnd() >= 2 * MSS && control.ssthresh() >= 2 * MSS);
            }
        }
    }
}
