//! The timers of a connection, and what happens when one is due (RFC 6298 §5, RFC 9293 §3.8.3, §3.10.8).
//!
//! One deadline each; the engine only ever asks for the earliest ([`Tcb::next_deadline`]).

use std::time::Duration;

use super::Error;
use super::recovery::Phase;
use super::state::State;
use super::tcb::Tcb;
use crate::counters::Counter;
use crate::time::Instant;

/// Time-outs in a row after which a segment that fits every path is tried.
const SMALL_AFTER: u8 = 4;
/// Time-outs in a row after that one arrived which mean that larger ones do not.
const BLACK_HOLE_AFTER: u8 = 2;
/// Options of one segment at most (RFC 9293 §3.1).
const MAX_OPTIONS_BYTES: u64 = 40;
/// Retransmissions of a SYN-ACK: a minute, as Linux.
const SYN_ACK_RETRIES: u8 = 5;
/// Time-outs in a row after which the application can learn of them (RFC 9293 §3.8.3, SHLD-9, SHLD-10).
const R1: u8 = 3;
/// Two of the longest time-outs: one answer may be lost.
const CLOSED_WINDOW_HEARD_WITHIN: Duration = Duration::from_secs(240);
/// Time-outs of a connection that nobody holds any more (as Linux, `tcp_orphan_retries`).
const ORPHAN_RETRIES: u8 = 8;

/// When each is due; [`Instant::FAR_FUTURE`] while it does not run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// Due when `watch` says that something is to be done.
    retransmit: Instant,
    watch: Watch,
    ack: Instant,
    keep_alive: Instant,
    /// The end of TIME-WAIT, or of an abandoned FIN-WAIT-2.
    close: Instant,
}

/// What the one timer is for that watches over the peer's side: never two of these at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// Retransmission (RFC 6298).
    Retransmit,
    /// A tail loss probe (RFC 8985 §7).
    TailProbe,
    /// Losses that reordering might explain (RFC 8985 §6.2).
    Reorder,
    /// The probe of a closed window (RFC 9293 §3.8.6.1).
    Persist,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            retransmit: Instant::FAR_FUTURE,
            ack: Instant::FAR_FUTURE,
            keep_alive: Instant::FAR_FUTURE,
            close: Instant::FAR_FUTURE,
            watch: Watch::Retransmit,
        }
    }
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        let Self {
            retransmit,
            ack,
            keep_alive,
            close,
            watch: _,
        } = *self;
        let earliest = retransmit.min(ack).min(keep_alive).min(close);
        (earliest != Instant::FAR_FUTURE).then_some(earliest)
    }

    fn start_watch(&mut self, at: Instant, watch: Watch) {
        self.retransmit = at;
        self.watch = watch;
    }

    pub(super) fn start_retransmit(&mut self, at: Instant) {
        self.start_watch(at, Watch::Retransmit);
    }

    pub(super) fn start_probe(&mut self, at: Instant) {
        self.start_watch(at, Watch::TailProbe);
    }

    pub(super) fn start_reorder(&mut self, at: Instant) {
        self.start_watch(at, Watch::Reorder);
    }

    pub(super) fn start_persist(&mut self, at: Instant) {
        self.start_watch(at, Watch::Persist);
    }

    pub(super) fn stop_retransmit(&mut self) {
        self.start_retransmit(Instant::FAR_FUTURE);
    }

    fn watches(&self, watch: Watch) -> bool {
        self.retransmit != Instant::FAR_FUTURE && self.watch == watch
    }

    /// The retransmission timer runs, or one that comes before it.
    pub(super) fn retransmitting(&self) -> bool {
        self.retransmit != Instant::FAR_FUTURE && self.watch != Watch::Persist
    }

    /// The timer runs after which what may be reordered counts as lost.
    pub(super) fn reordering(&self) -> bool {
        self.watches(Watch::Reorder)
    }

    /// The persist timer runs.
    pub(super) fn persisting(&self) -> bool {
        self.watches(Watch::Persist)
    }

    /// Starts the delayed ACK, unless it runs already.
    pub(super) fn start_ack(&mut self, at: Instant) {
        self.ack = self.ack.min(at);
    }

    pub(super) fn stop_ack(&mut self) {
        self.ack = Instant::FAR_FUTURE;
    }

    pub(super) fn start_keep_alive(&mut self, at: Instant) {
        self.keep_alive = at;
    }

    pub(super) fn stop_keep_alive(&mut self) {
        self.keep_alive = Instant::FAR_FUTURE;
    }

    pub(super) fn start_close(&mut self, at: Instant) {
        self.close = at;
    }

    pub(super) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Takes a deadline that has come, so that it fires once.
    fn take(deadline: &mut Instant, now: Instant) -> bool {
        let due = *deadline <= now;
        if due {
            *deadline = Instant::FAR_FUTURE;
        }
        due
    }
}

impl Tcb {
    /// When [`Tcb::on_timer`] has something to do. Right after [`Tcb::poll_transmit`] gave none.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let paced = self.paced_until();
        self.timers.next().into_iter().chain(paced).min()
    }

    /// Acts on every timer that is due; then there may be something to transmit. Returns what is to be
    /// counted. Calling it early does no harm.
    pub fn on_timer(&mut self, now: Instant) -> Option<Counter> {
        let mut event = None;
        if self.is_dormant() {
            self.timers.stop_all();
        }
        if self.paced_until().is_some_and(|at| at <= now) {
            // Whoever may send asks the pacer again; whoever may not is not to be woken for it without end.
            self.forget_pacing_wait();
        }
        let watch = self.timers.watch;
        if Timers::take(&mut self.timers.retransmit, now) {
            self.timers.watch = Watch::Retransmit;
            match watch {
                Watch::Persist => self.on_persist_timer(now),
                Watch::Reorder => self.on_reorder_timer(now),
                Watch::TailProbe => {
                    event = Some(Counter::TcpTailLossProbes);
                    self.on_probe_timer(now);
                }
                Watch::Retransmit => {
                    event = Some(Counter::TcpTimeouts);
                    self.on_retransmission_timer(now);
                }
            }
        }
        if Timers::take(&mut self.timers.ack, now) {
            self.acknowledge_now();
        }
        if Timers::take(&mut self.timers.keep_alive, now) {
            self.on_keep_alive_timer(now);
        }
        if Timers::take(&mut self.timers.close, now) {
            self.finish(None);
        }
        self.check();
        event
    }

    fn on_retransmission_timer(&mut self, now: Instant) {
        let statistics = &mut self.statistics;
        statistics.timeouts = statistics.timeouts.saturating_add(1);
        statistics.retries = statistics.retries.saturating_add(1);
        if self.gave_up(now) {
            let error = self.soft_error.take().unwrap_or(Error::TimedOut);
            self.finish(Some(error));
            return;
        }
        if self.statistics.retries == R1 {
            // For who asks; a router that said something more precise was heard before or will be.
            self.soft_error = self.soft_error.or(Some(Error::TimedOut));
        }
        self.rtt.back_off();
        if self.state.is_synchronized() {
            self.suspect_black_hole();
            self.recover_from_timeout(now);
        } else {
            self.pending.syn = true;
        }
        self.restart_retransmit(now);
    }

    /// The retransmission timer starts anew, after something was sent again. It is not to sleep over the end of
    /// the user time-out (as Linux).
    pub(super) fn restart_retransmit(&mut self, now: Instant) {
        let limit = self.user_timeout();
        let end = limit.map(|limit| self.statistics.progress_at + limit);
        let end = end.filter(|&end| end > now);
        let due = now + self.rtt.rto();
        self.timers
            .start_retransmit(end.map_or(due, |end| due.min(end)));
    }

    /// R2 (RFC 9293 §3.8.3): so many time-outs, or so much time, without progress.
    fn gave_up(&self, now: Instant) -> bool {
        let config = self.settings.config();
        let retries = self.statistics.retries;
        if !self.state.is_synchronized() {
            let most = if self.passive {
                config.syn_retries.min(SYN_ACK_RETRIES)
            } else {
                let chosen = self.settings.options().syn_retries;
                chosen.unwrap_or(config.syn_retries)
            };
            return retries > most || self.overdue(now);
        }
        if self.released && retries > self.retry_limit() {
            return true;
        }
        // A peer that took its window back, and goes on to say that it is closed, is there (SHLD-17).
        let heard = now.since(self.statistics.received_at) <= CLOSED_WINDOW_HEARD_WITHIN;
        if self.snd.wnd == 0 && heard {
            return false;
        }
        match self.user_timeout() {
            Some(_) => self.overdue(now),
            None => retries > config.retries,
        }
    }

    /// Time-outs or unanswered probes in a row after which the peer counts as gone.
    pub(super) fn retry_limit(&self) -> u8 {
        let retries = self.settings.config().retries;
        if self.released {
            retries.min(ORPHAN_RETRIES)
        } else {
            retries
        }
    }

    /// The user time-out, if there is one, has passed without progress.
    pub(super) fn overdue(&self, now: Instant) -> bool {
        self.user_timeout()
            .is_some_and(|limit| now.since(self.statistics.progress_at) >= limit)
    }

    /// RFC 2923 §2.1, RFC 4821 §7.7: when only full-sized segments fail, the path MTU may be smaller than
    /// anybody told. A peer that is only away for a while looks the same until a small segment arrives
    /// ([`Tcb::small_retransmission`]) and larger ones behind it still do not.
    fn suspect_black_hole(&mut self) {
        let outstanding = self.snd.nxt - self.snd.una;
        if self.statistics.retries != BLACK_HOLE_AFTER || outstanding <= self.fits_every_path() {
            return;
        }
        if let Some(recovery) = &mut self.recovery
            && std::mem::take(&mut recovery.small_passed)
        {
            self.hints.black_hole = true;
        }
    }

    /// Most bytes of a segment to be sent again that is to tell a path that is too narrow from one that is
    /// interrupted; none while a full-sized one will do.
    pub(super) fn small_retransmission(&self, start: u64) -> Option<u64> {
        let phase = self.recovery.as_ref().map(|recovery| recovery.phase);
        let doubtful = phase == Some(Phase::Timeout) && self.statistics.retries >= SMALL_AFTER;
        let fits = self.fits_every_path();
        (doubtful && start == self.snd.una && u64::from(self.effective_mss()) > fits)
            .then_some(fits)
    }

    /// Bytes of data that pass everywhere, with all options.
    fn fits_every_path(&self) -> u64 {
        u64::from(self.path.default_mss()) - MAX_OPTIONS_BYTES
    }

    /// TIME-WAIT, from now on for 2 MSL (RFC 9293 §3.4.2). Only a little is kept.
    pub(super) fn start_time_wait(&mut self, now: Instant) {
        if self.state != State::TimeWait {
            self.enter(State::TimeWait);
            self.timers.stop_all();
            self.recovery = None;
            self.transit = None;
        }
        let wait = self.settings.config().time_wait;
        self.timers.start_close(now + wait);
    }

    /// FIN-WAIT-2 of a connection that nobody holds ends after a while (as Linux): the peer may never
    /// close.
    pub(super) fn wait_for_fin(&mut self, now: Instant) {
        if !self.released || self.state != State::FinWait2 {
            return;
        }
        let chosen = self.settings.options().fin_wait_2;
        let wait = chosen.unwrap_or(self.settings.config().fin_wait_2);
        if wait.is_zero() {
            self.reset_and_finish(Error::Aborted);
        } else {
            self.timers.start_close(now + wait);
        }
    }
}
