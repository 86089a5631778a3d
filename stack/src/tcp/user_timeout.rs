//! The user time-out, and what both sides tell each other about it (RFC 5482).
//!
//! A side that takes part says in its SYN, in the first segment after it, and whenever it changes its mind, how long it lets
//! data stay unacknowledged; from that and what the peer says both know how long either may be away. What the application
//! chose for itself goes first (CHANGEABLE is false then). Nothing confirms that the option arrived (§3.2). What the peer said is
//! part of the record of a connection, and a note when it changes its mind, so that another host goes on with it.
//!
//! Left out: keeping probes of an idle peer apart from that (§4.2).

use std::time::Duration;

use super::gate::Note;
use super::stamp::OPTIONS_BYTES;
use super::tcb::Tcb;
use super::{Flags, Segment, TxSegment};
use crate::wire::tcp::options_len;

/// Nobody talks us into less (L_LIMIT of §3.1: the least of R2, RFC 1122 §4.2.3.5).
const LOWER_LIMIT: Duration = Duration::from_secs(100);
/// Nor into more, unless we offered it ourselves (U_LIMIT of §3.1): what waits costs memory (§6).
const UPPER_LIMIT: Duration = Duration::from_secs(3600);
/// The value counts minutes.
const IN_MINUTES: u16 = 1 << 15;
/// Bytes of the option.
const OPTION_BYTES: usize = 4;

/// What is known beside the choices of this side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UserTimeouts {
    /// REMOTE_UTO, as the peer said it; 0 if it said nothing.
    remote: u16,
    /// The peer is to be told with the next segment that has room for it.
    due: bool,
}

impl Tcb {
    /// How long sent data may stay unacknowledged; none: the default of so many retransmissions.
    pub(super) fn user_timeout(&self) -> Option<Duration> {
        let options = self.settings.options();
        options.user_timeout.or_else(|| {
            let advertised = options.advertised_user_timeout?;
            // Who has never answered agrees to nothing.
            self.state
                .is_synchronized()
                .then(|| self.agreed(advertised))
        })
    }

    /// USER_TIMEOUT of §3.1.
    fn agreed(&self, advertised: Duration) -> Duration {
        let advertised = decode(encode(advertised));
        advertised
            .max(decode(self.peer_user_timeout()))
            .max(LOWER_LIMIT)
            .min(UPPER_LIMIT.max(advertised))
    }

    /// Tells the peer of another user time-out, at once; or takes part no longer.
    pub fn set_advertised_user_timeout(&mut self, timeout: Option<Duration>) {
        self.settings
            .change(|options| options.advertised_user_timeout = timeout);
        if self.state.is_synchronized() && timeout.is_some() {
            self.tell_user_timeout();
            self.acknowledge_now();
        }
    }

    /// The peer is to be told, if this side takes part.
    pub(super) fn tell_user_timeout(&mut self) {
        if self.settings.options().advertised_user_timeout.is_some() {
            let aside = self.aside.get_or_insert_default();
            aside.user_timeouts.get_or_insert_default().due = true;
        }
    }

    /// What the peer says; nothing is heard by who takes no part. Zero means nothing (§4).
    pub(super) fn hear_user_timeout(&mut self, segment: &Segment) {
        if let Some(said) = segment.options.user_timeout
            && said != self.peer_user_timeout()
            && self.take_user_timeout(said)
            && self.has_asked_for_record()
        {
            self.note(Note::UserTimeout(said));
        }
    }

    /// What the peer said last; 0 if it said nothing.
    pub(super) fn peer_user_timeout(&self) -> u16 {
        let aside = self.aside.as_ref();
        aside
            .and_then(|aside| aside.user_timeouts)
            .map_or(0, |it| it.remote)
    }

    /// True if it counts.
    pub(super) fn take_user_timeout(&mut self, said: u16) -> bool {
        let counts =
            said & !IN_MINUTES != 0 && self.settings.options().advertised_user_timeout.is_some();
        if counts {
            let aside = self.aside.get_or_insert_default();
            aside.user_timeouts.get_or_insert_default().remote = said;
        }
        counts
    }

    /// The option, where it is due and there is room beside `len` bytes of data.
    pub(super) fn stamp_user_timeout(&mut self, len: usize, segment: &mut TxSegment) {
        let Some(advertised) = self.settings.options().advertised_user_timeout else {
            return;
        };
        let used = options_len(&segment.options);
        if segment.flags.contains(Flags::SYN) {
            if used + OPTION_BYTES <= OPTIONS_BYTES {
                segment.options.user_timeout = Some(encode(advertised));
            }
            return;
        }
        // Timestamps are off the MSS already.
        let timestamps = if self.timestamps.on { 12 } else { 0 };
        let fits =
            len == 0 || len + used - timestamps + OPTION_BYTES <= self.effective_mss().into();
        let room = fits && used + OPTION_BYTES <= OPTIONS_BYTES;
        let known = self.aside.as_mut().and_then(|it| it.user_timeouts.as_mut());
        if let Some(known) = known.filter(|known| known.due && room) {
            known.due = false;
            segment.options.user_timeout = Some(encode(advertised));
        }
    }
}

/// In seconds as long as they fit; minutes are rounded up, and zero cannot be said.
fn encode(timeout: Duration) -> u16 {
    let seconds = timeout.as_secs();
    let seconds = seconds.saturating_add((timeout.subsec_nanos() > 0).into());
    if seconds < u64::from(IN_MINUTES) {
        return seconds.max(1) as u16;
    }
    let minutes = seconds.div_ceil(60).min(u64::from(IN_MINUTES - 1));
    IN_MINUTES | minutes as u16
}

fn decode(said: u16) -> Duration {
    let count = u64::from(said & !IN_MINUTES);
    let unit_s = if said & IN_MINUTES == 0 { 1 } else { 60 };
    Duration::from_secs(count * unit_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_was_meant_or_a_little_longer() {
        for (seconds, said) in [(1, 1), (300, 300), (32_767, 32_767), (32_768, 0x8000 | 547)] {
            assert_eq!(encode(Duration::from_secs(seconds)), said);
            assert!(decode(said) >= Duration::from_secs(seconds));
        }
        assert_eq!(encode(Duration::from_millis(1)), 1);
        assert_eq!(encode(Duration::ZERO), 1);
        assert_eq!(encode(Duration::MAX), u16::MAX);
    }
}
