//! Why something that arrived is refused: counted under a name, logged at debug, never answered.

use std::net::SocketAddr;

use thiserror::Error;

use super::counters::{Counters, Event};

/// Why something that arrived is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Neither header nor length make sense.
    #[error("malformed")]
    Malformed,
    /// From a host that is not in the configuration, or for another.
    #[error("wrong host number: compare `me` and `[[hosts]]` in the configurations")]
    Host,
    /// A handshake that was not made with our key.
    #[error("wrong key, or spoilt: compare the key files")]
    Key,
    /// The seal does not fit.
    #[error("the seal does not fit")]
    Seal,
    /// Seen before.
    #[error("replayed, or too late to tell")]
    Replay,
    /// Of a session that is over or never was.
    #[error("of another session")]
    Session,
    /// Sent on another path than it arrived on.
    #[error("sent on another path: compare the order of `paths` in the configurations")]
    Path,
    /// Longer than any message may be.
    #[error("too long a message")]
    Length,
    /// A stranger, or too many at once.
    #[error("not a peer's address, or too many handshakes at a time")]
    Connection,
    /// A handshake that does not come to an end.
    #[error("the handshake takes too long")]
    Slow,
}

impl Refusal {
    /// The counter of this reason.
    #[must_use]
    pub const fn event(self) -> Event {
        match self {
            Self::Malformed => Event::RefusedMalformed,
            Self::Host => Event::RefusedHost,
            Self::Key => Event::RefusedKey,
            Self::Seal => Event::RefusedSeal,
            Self::Replay => Event::RefusedReplay,
            Self::Session => Event::RefusedSession,
            Self::Path => Event::RefusedPath,
            Self::Length => Event::RefusedLength,
            Self::Connection => Event::RefusedConnection,
            Self::Slow => Event::RefusedSlow,
        }
    }

    /// Counts it and says so at debug; a wrong key is a mistake that somebody should hear of, once.
    pub(crate) fn note(self, counters: &Counters, from: SocketAddr, what: &str) {
        if self == Self::Key && counters.get(self.event()) == 0 {
            tracing::warn!(%from, "refused: {self}; further ones are counted in `outlive status --json`");
        }
        counters.count(self.event());
        tracing::debug!(%from, reason = %self, "refused {what}");
    }
}
