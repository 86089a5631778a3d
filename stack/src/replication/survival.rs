//! How the connections of a listener outlive their server, chosen per listener, and how well one of them
//! is protected at the moment (FAILOVER §5).

use super::Reason;
use crate::tcp::gate::{Hot, Terms};

/// How an application continues on another host. A listener without it is not gated and costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survival {
    /// Not at all: the connection dies with its host.
    #[default]
    Unprotected,
    /// The other host gives the committed input to a fresh handler and discards output that the client
    /// has. The output must be a function of the input, of static content and of what was given to
    /// `decide()`.
    Replay(ReplayOptions),
    /// The other host starts a handler from the last state given to `checkpoint()`.
    Checkpoint,
    /// Output is committed before it is sent, for servers that cannot repeat themselves.
    Mirror,
}

impl Survival {
    /// True when connections are to be continued elsewhere.
    #[must_use]
    pub const fn is_on(self) -> bool {
        !matches!(self, Self::Unprotected)
    }

    /// What is kept of such a connection elsewhere; nothing of one that is not protected.
    #[must_use]
    pub fn terms(self) -> Option<Terms> {
        let terms = Terms {
            log_bytes: ReplayOptions::default().log_bytes,
            hot: Hot::Never,
            mirror: false,
        };
        match self {
            Self::Unprotected => None,
            Self::Replay(ReplayOptions { log_bytes, hot }) => Some(Terms {
                log_bytes,
                hot,
                ..terms
            }),
            Self::Checkpoint => Some(terms),
            Self::Mirror => Some(Terms {
                mirror: true,
                ..terms
            }),
        }
    }
}

/// Choices for [`Survival::Replay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Input that is kept for one connection since its last quiescent point, in bytes.
    pub log_bytes: u32,
    /// When the other host's handler follows along, so that no log is needed.
    pub hot: Hot,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            log_bytes: 256 << 10,
            hot: Hot::WhenFull,
        }
    }
}

/// What would become of a connection if its host died now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// It dies; nobody asked for more.
    #[default]
    Off,
    /// It goes on.
    Protected,
    /// It dies, although its listener asked for more.
    Unprotected(Reason),
}
