//! What a call on a connection would meet now: what `poll` and `epoll` are made of.

use super::Error;
use super::state::State;
use super::tcb::Tcb;

/// What a call would meet at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The state.
    pub state: State,
    /// Bytes that can be read.
    pub readable_bytes: usize,
    /// No more will come, or is to be read.
    pub read_closed: bool,
    /// The peer's FIN arrived, and everything before it.
    pub finished: bool,
    /// It ended before the peer had acknowledged our FIN, which is no error to RFC 9293 (§3.10.7.4, second: a RST in CLOSING and
    /// LAST-ACK) and one to Linux.
    pub cut_short: bool,
    /// Our side is closed, or the connection is over.
    pub write_closed: bool,
    /// So much room that a writer should be woken.
    pub writable: bool,
    /// Bytes received in order since the beginning, and one for the peer's FIN: grows with every arrival.
    pub received: u64,
    /// Why the connection ended, if not in order.
    pub error: Option<Error>,
}

impl Tcb {
    fn is_cut_short(&self) -> bool {
        let closed = self.state == State::Closed && self.error.is_none();
        closed && self.snd.fin && self.snd.una <= self.send_queue.end()
    }

    /// What a call would meet now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness {
            state: self.state,
            readable_bytes: self.readable_bytes(),
            read_closed: self.at_end().unwrap_or(true),
            finished: self.rcv.fin < self.rcv.committed,
            cut_short: self.is_cut_short(),
            write_closed: self.snd.fin || self.state == State::Closed,
            writable: self.is_worth_waking_writer(),
            received: self.rcv.committed,
            error: self.error,
        }
    }
}
