//! Failure detection in the manner of BFD (RFC 5880 §6.8), one session per path to a host.
//!
//! Each side sends a heartbeat per interval and says what it thinks of the path: `Down` (nothing heard), `Init` (heard, maybe
//! not hearing us), `Up` (both ways). So both ends call a path down that works in one direction only. A path is down when
//! `multiplier` heartbeats of the peer are missing, at the slower of both intervals. A path that failed is held down for a
//! while after it works again, twice as long each time, so that a bad cable does not make the hosts join and part.
//!
//! Left out: demand mode, authentication (the link's), discriminators (a path is known by where it comes from), jitter.

use std::time::Duration;

use super::message::{Echo, Heartbeat, Session};
use crate::time::Instant;

/// How this side watches a path.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between our heartbeats.
    pub interval: Duration,
    /// So many of ours missing mean down.
    pub multiplier: u8,
    /// First hold-down.
    pub hold_down: Duration,
    /// Longest hold-down.
    pub hold_down_max: Duration,
}

/// One look at the other host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// What to add to our clock to have its.
    pub offset_ns: i64,
    /// Time on the way, there and back.
    pub round_trip: Duration,
}

/// One path to one host.
#[derive(Clone, Debug)]
pub struct Detector {
    timing: Timing,
    session: Session,
    /// What was last reported.
    reported: bool,
    /// Down unless a heartbeat comes before.
    detect_at: Option<Instant>,
    /// The last heartbeat: its time, and when it came.
    last: Option<(Instant, Instant)>,
    /// Not up before.
    held_until: Instant,
    /// The next hold-down.
    hold_down: Duration,
    came_up: Option<Instant>,
    next_send: Instant,
}

impl Detector {
    /// A path of which nothing is known.
    #[must_use]
    pub fn new(now: Instant, timing: Timing) -> Self {
        Self {
            timing,
            session: Session::Down,
            reported: false,
            detect_at: None,
            last: None,
            held_until: Instant::ZERO,
            hold_down: timing.hold_down,
            came_up: None,
            next_send: now,
        }
    }

    /// True if both ends hear each other.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.session == Session::Up
    }

    /// Whether it is up, if that is news.
    pub fn changed(&mut self) -> Option<bool> {
        let up = self.is_up();
        let news = up != self.reported;
        self.reported = up;
        news.then_some(up)
    }

    /// A heartbeat came (RFC 5880 §6.8.6). A look at its sender's clock if it gives one of ours back.
    pub fn heard(&mut self, now: Instant, heartbeat: &Heartbeat) -> Option<ClockSample> {
        // What was overtaken says nothing new, but still that the path works.
        let newer = self.last.is_none_or(|(sent, _)| heartbeat.sent >= sent);
        if newer {
            self.last = Some((heartbeat.sent, now));
            self.session = self.after(now, heartbeat.session);
        }
        let interval =
            Duration::from_micros(heartbeat.interval_us.into()).max(self.timing.interval);
        self.detect_at = Some(now + interval * heartbeat.multiplier.into());
        heartbeat
            .echo
            .and_then(|echo| clock_sample(now, heartbeat.sent, echo))
    }

    fn after(&mut self, now: Instant, theirs: Session) -> Session {
        let next = match (self.session, theirs) {
            (Session::Down, Session::Down) => Session::Init,
            (Session::Down, Session::Init) | (Session::Init, Session::Init | Session::Up) => {
                Session::Up
            }
            // Up seen while down: it has not yet noticed that we did not hear it.
            (Session::Down, Session::Up) => Session::Down,
            (Session::Up, Session::Down) => Session::Down,
            (mine, _) => mine,
        };
        match (self.session, next) {
            (Session::Up, Session::Down) => self.hold(now),
            (Session::Down | Session::Init, Session::Up) => {
                if now < self.held_until {
                    return Session::Init;
                }
                self.came_up = Some(now);
            }
            _ => {}
        }
        next
    }

    /// Time passes: down if too many heartbeats are missing.
    pub fn expire(&mut self, now: Instant) {
        self.excuse(now);
        if self.detect_at.is_some_and(|at| at <= now) {
            self.fail(now);
        }
    }

    /// Time in which this host stood still, and sent none of its own, is not held against the other one: what that said
    /// meanwhile lies there unread.
    fn excuse(&mut self, now: Instant) {
        let still = now.since(self.next_send);
        if still >= self.timing.interval {
            self.detect_at = self.detect_at.map(|at| at + still);
            self.next_send = now;
        }
    }

    /// Down at once: somebody knows.
    pub fn fail(&mut self, now: Instant) {
        self.detect_at = None;
        if self.session == Session::Up {
            self.hold(now);
        }
        self.session = Session::Down;
    }

    /// The host's process is another one: its clock may be too.
    pub fn restarted(&mut self, now: Instant) {
        self.fail(now);
        self.last = None;
    }

    fn hold(&mut self, now: Instant) {
        let max = self.timing.hold_down_max;
        // What worked for long has not failed often.
        if self.came_up.is_none_or(|at| now.since(at) > max * 4) {
            self.hold_down = self.timing.hold_down;
        }
        self.held_until = now + self.hold_down;
        self.hold_down = (self.hold_down * 2).min(max.max(self.timing.hold_down));
    }

    /// The heartbeat to send, if one is due.
    pub fn heartbeat(&mut self, now: Instant) -> Option<Heartbeat> {
        if now < self.next_send {
            return None;
        }
        // In step with the interval, but after a pause not all that were missed.
        let next = self.next_send + self.timing.interval;
        self.next_send = if next > now {
            next
        } else {
            now + self.timing.interval
        };
        let micros = self.timing.interval.as_micros();
        Some(Heartbeat {
            sent: now,
            interval_us: u32::try_from(micros).unwrap_or(u32::MAX).max(1),
            multiplier: self.timing.multiplier.max(1),
            session: self.session,
            echo: self.last.map(|(sent, received)| Echo {
                sent,
                held: now.since(received),
            }),
        })
    }

    /// When [`Self::expire`] or [`Self::heartbeat`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.detect_at
            .unwrap_or(Instant::FAR_FUTURE)
            .min(self.next_send)
    }
}

/// The other clock was at `sent` somewhere between our sending and our receiving; in the middle, if both ways take as long.
fn clock_sample(now: Instant, sent: Instant, echo: Echo) -> Option<ClockSample> {
    let there_and_back = now.as_nanos().checked_sub(echo.sent.as_nanos())?;
    let held = u64::try_from(echo.held.as_nanos()).ok()?;
    let round_trip = there_and_back.checked_sub(held)?;
    let here = i128::from(now.as_nanos()) - i128::from(round_trip / 2);
    Some(ClockSample {
        offset_ns: i64::try_from(i128::from(sent.as_nanos()) - here).ok()?,
        round_trip: Duration::from_nanos(round_trip),
    })
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
