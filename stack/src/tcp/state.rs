//! The states of a connection (RFC 9293 §3.3.2) and the edges between them, in one place.
//!
//! LISTEN is not here: it is the listener's, and a connection made by it begins in SYN-RECEIVED.

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection.
    Closed,
    /// SYN sent, none received.
    SynSent,
    /// SYN received and sent, ours not yet acknowledged.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// We closed; our FIN is not yet acknowledged.
    FinWait1,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2,
    /// The peer closed; we may still send.
    CloseWait,
    /// Both closed at once; our FIN is not yet acknowledged.
    Closing,
    /// The peer closed, then we did; our FIN is not yet acknowledged.
    LastAck,
    /// Both FINs are acknowledged; old segments die out.
    TimeWait,
}

/// Every legal change of state (RFC 9293 §3.3.2, figure 5, and the RST, abort and time-out edges of
/// §3.10). Every state may go to CLOSED.
const EDGES: &[(State, State)] = {
    use State::*;
    &[
        (SynSent, SynReceived),
        (SynSent, Established),
        (SynReceived, Established),
        (SynReceived, FinWait1),
        (SynReceived, CloseWait),
        (Established, FinWait1),
        (Established, CloseWait),
        (FinWait1, FinWait2),
        (FinWait1, Closing),
        (FinWait1, TimeWait),
        (FinWait2, TimeWait),
        (CloseWait, LastAck),
        (Closing, TimeWait),
    ]
};

impl State {
    /// True when a connection in this state may go to `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        next == Self::Closed || EDGES.contains(&(self, next))
    }

    /// True when both sides know each other's sequence numbers (RFC 9293 §3.5: all but CLOSED,
    /// SYN-SENT and SYN-RECEIVED).
    #[must_use]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::Closed | Self::SynSent | Self::SynReceived)
    }

    /// True when the application may still give data to send.
    #[must_use]
    pub const fn accepts_writes(self) -> bool {
        matches!(
            self,
            Self::SynSent | Self::SynReceived | Self::Established | Self::CloseWait
        )
    }

    /// True when data (or our FIN) may be on its way out or waiting for it.
    #[must_use]
    pub const fn may_transmit_data(self) -> bool {
        matches!(
            self,
            Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck
        )
    }

    /// True when the peer may still send data.
    #[must_use]
    pub const fn may_receive_data(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// The name that RFC 9293 and `ss` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_wait_is_left_only_to_closed_and_closed_never() {
        assert!(EDGES.iter().all(|edge| edge.0 != State::TimeWait));
        assert!(EDGES.iter().all(|edge| edge.0 != State::Closed));
        assert!(State::TimeWait.may_become(State::Closed));
    }

    #[test]
    fn every_state_but_closed_and_syn_sent_has_a_way_in() {
        use State::*;
        for state in [
            Established,
            FinWait1,
            FinWait2,
            CloseWait,
            Closing,
            LastAck,
            TimeWait,
        ] {
            assert!(EDGES.iter().any(|edge| edge.1 == state), "{state:?}");
        }
    }
}
