//! What held sending up, and for how long: the three times of Linux's `tcp_info` (`tcpi_busy_time`, `tcpi_rwnd_limited`,
//! `tcpi_sndbuf_limited`), by which an application learns whether the network, the peer or itself is slow.
//!
//! Looked at whenever nothing more can be sent: that is after every segment and every call. Kept only where asked for
//! ([`super::Config::limited_times`]), since it has to be remembered while nothing is sent.

use std::time::Duration;

use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use crate::time::Instant;

/// Times since the connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitedTimes {
    /// There was data that the peer had not acknowledged, whatever the limit.
    pub busy: Duration,
    /// Of that, the peer's window was the limit.
    pub by_window: Duration,
    /// Of that, the send buffer was: a writer waited for room in it while the network would have taken more.
    pub by_buffer: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Limit {
    #[default]
    Idle,
    Network,
    Window,
    Buffer,
}

/// The times so far, and what counts now.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitAccount {
    since: Instant,
    limit: Limit,
    times: LimitedTimes,
}

impl LimitAccount {
    fn at(&self, now: Instant) -> LimitedTimes {
        let (mut times, passed) = (self.times, now.since(self.since));
        match self.limit {
            Limit::Idle => return times,
            Limit::Network => {}
            Limit::Window => times.by_window += passed,
            Limit::Buffer => times.by_buffer += passed,
        }
        times.busy += passed;
        times
    }
}

impl Tcb {
    /// What held sending up until `now`; nothing where it is not kept.
    #[must_use]
    pub fn limited_times(&self, now: Instant) -> LimitedTimes {
        let aside = self.aside.as_ref();
        let account = aside.and_then(|aside| aside.limits.as_ref());
        account.map_or_else(LimitedTimes::default, |account| account.at(now))
    }

    /// Nothing more can be sent now.
    pub(super) fn account_limits(&mut self, now: Instant) {
        if !self.settings.config().limited_times {
            return;
        }
        let limit = self.present_limit();
        let aside = self.aside.get_or_insert_default();
        let account = aside.limits.get_or_insert_with(|| {
            Box::new(LimitAccount {
                since: now,
                limit,
                times: LimitedTimes::default(),
            })
        });
        if account.limit != limit {
            account.times = account.at(now);
            account.since = now;
            account.limit = limit;
        }
    }

    fn present_limit(&self) -> Limit {
        let data = self.send_queue.end();
        if self.snd.una.max(FIRST_BYTE) >= data {
            return Limit::Idle;
        }
        let from = self.snd.nxt.max(FIRST_BYTE);
        let unsent = data.saturating_sub(from);
        if self.fills_window() {
            return Limit::Network;
        }
        let next = unsent.min(u64::from(self.effective_mss()));
        if unsent > 0 && from + next > self.snd.window_end() {
            return Limit::Window;
        }
        let open = matches!(self.state, State::Established | State::CloseWait);
        if unsent == 0 && open && self.wants_room {
            return Limit::Buffer;
        }
        Limit::Network
    }
}
