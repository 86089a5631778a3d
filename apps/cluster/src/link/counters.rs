//! What happens on the links, counted by name; every reason to refuse something has one.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! events {
    ($($(#[doc = $text:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Event {
            $($(#[doc = $text])+ $variant,)+
        }

        impl Event {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in summaries and in `outlive status --json`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

events! {
    /// Datagrams sent.
    DatagramsSent = "link datagrams sent",
    /// Genuine datagrams received.
    DatagramsReceived = "link datagrams received",
    /// Datagrams that could not be sent: no session yet, or the kernel refused.
    DatagramsUnsent = "link datagrams unsent",
    /// Sessions for datagrams agreed on.
    SessionsAgreed = "link sessions agreed",
    /// Messages sent on ordered channels.
    MessagesSent = "link messages sent",
    /// Bytes of them, without what protects them.
    MessageBytesSent = "link message bytes sent",
    /// Messages received on ordered channels.
    MessagesReceived = "link messages received",
    /// Bytes of them.
    MessageBytesReceived = "link message bytes received",
    /// Messages for a host that is not connected.
    MessagesUnsent = "link messages unsent",
    /// Pairs of ordered channels that came up.
    Connected = "link connected",
    /// Pairs of ordered channels that broke.
    Broken = "link broken",
    /// Channels broken because the other host did not take what was sent.
    Overflows = "link overflows",
    /// Neither header nor length make sense.
    RefusedMalformed = "link refused malformed",
    /// A host number that is not in the configuration, or that is not us.
    RefusedHost = "link refused host",
    /// A handshake that was not made with our key.
    RefusedKey = "link refused key",
    /// A seal that does not fit: mutated, or of another key.
    RefusedSeal = "link refused seal",
    /// Seen before, or too old to know.
    RefusedReplay = "link refused replay",
    /// Of a session that is over, or never was.
    RefusedSession = "link refused session",
    /// Arrived on another path than it was sent on.
    RefusedPath = "link refused path",
    /// A message beyond the limit.
    RefusedLength = "link refused length",
    /// Connections beyond what is dealt with at a time, or from an address that is no peer's.
    RefusedConnection = "link refused connection",
    /// Handshakes that took too long.
    RefusedSlow = "link refused slow",
}

/// How often each [`Event`] happened.
#[derive(Debug)]
pub struct Counters([AtomicU64; Event::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    /// Counts one.
    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    /// Counts several at once.
    pub(crate) fn add(&self, event: Event, amount: u64) {
        self.0[event as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// How often it happened.
    #[must_use]
    pub fn get(&self, event: Event) -> u64 {
        self.0[event as usize].load(Ordering::Relaxed)
    }

    /// What happened at all, by name.
    #[must_use]
    pub fn non_zero(&self) -> Vec<(&'static str, u64)> {
        let all = Event::ALL
            .iter()
            .map(|event| (event.name(), self.get(*event)));
        all.filter(|(_, amount)| *amount > 0).collect()
    }
}
