//! Probing an idle peer (RFC 9293 §3.8.4): off unless asked for (MUST-25), and then only while nothing is
//! outstanding, since retransmissions and window probes tell as much.

use super::Error;
use super::tcb::Tcb;
use crate::time::Instant;

impl Tcb {
    /// Starts or stops the timer as the options say.
    pub(super) fn restart_keep_alive(&mut self, now: Instant) {
        match self.settings.options().keep_alive {
            Some(keep_alive) if self.state.is_synchronized() => {
                self.timers.start_keep_alive(now + keep_alive.idle);
            }
            _ => self.timers.stop_keep_alive(),
        }
    }

    pub(super) fn on_keep_alive_timer(&mut self, now: Instant) {
        let Some(keep_alive) = self.settings.options().keep_alive else {
            return;
        };
        let outstanding = self.snd.una != self.snd.nxt || self.timers.persisting();
        let heard_at = self.statistics.received_at;
        if outstanding || now.since(heard_at) < keep_alive.idle {
            let from = if outstanding { now } else { heard_at };
            self.timers.start_keep_alive(from + keep_alive.idle);
            return;
        }
        // Lost probes and lost answers are no proof: several in a row are (MUST-29).
        if self.statistics.probes >= keep_alive.probes {
            self.reset_and_finish(Error::TimedOut);
            return;
        }
        self.statistics.probes += 1;
        self.pending.probe = true;
        self.timers.start_keep_alive(now + keep_alive.interval);
    }
}
