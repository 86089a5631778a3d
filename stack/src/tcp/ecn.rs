//! Explicit congestion notification (RFC 3168): routers mark instead of dropping, the receiver echoes the marks, and
//! the sender reduces its window as if something had been lost.
//!
//! As in Linux where the RFC leaves a choice: a SYN that has to be sent again does not ask for ECN any more, only new
//! data is sent as ECN-capable, marks and CWR hasten the next ACKs.
//!
//! Left out: AccECN (RFC 9768; a SYN that offers it is answered as RFC 3168 says), the nonce (RFC 3540, historic),
//! ECN-capable control packets (RFC 8311).

use super::acknowledge::News;
use super::tcb::Tcb;
use super::undo::Undo;
use super::{Flags, Segment};
use crate::time::Instant;

/// ECT(0): the sender understands marks.
const CAPABLE: u8 = 0b10;
/// CE: congestion experienced.
const MARKED: u8 = 0b11;
/// ACKs sent at once when the sender's window is likely to be small (as Linux).
const QUICK_ACKS: u8 = 2;

/// Who asks for ECN (as Linux's `tcp_ecn`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Nobody.
    Off,
    /// It is granted when the peer asks.
    #[default]
    Passive,
    /// We ask for it, too.
    Active,
}

/// What a connection knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marking {
    /// Both sides use it.
    pub on: bool,
    /// A mark arrived, and no CWR since: every ACK says so.
    echo: bool,
    /// The window was reduced: the next new data says so.
    reduced: bool,
    /// The peer sends ECN-capable segments.
    pub seen: bool,
}

const fn both() -> Flags {
    Flags::ECE.with(Flags::CWR)
}

impl Tcb {
    /// The flags of our SYN or SYN-ACK (RFC 3168 §6.1.1).
    pub(super) fn ecn_flags_of_syn(&self, answers: bool, again: bool) -> Flags {
        match (answers, self.marking.on) {
            (true, true) => Flags::ECE,
            (false, _) if !again && self.asks_for_ecn() => both(),
            _ => Flags::default(),
        }
    }

    fn asks_for_ecn(&self) -> bool {
        self.settings.config().ecn == Ecn::Active
    }

    /// What the peer's SYN or SYN-ACK settles. A SYN that is marked itself is not to be trusted: something on the way
    /// sets these bits.
    pub(super) fn negotiate_ecn(&mut self, syn: &Segment) {
        let wanted = Flags(syn.flags.0 & both().0);
        self.marking.on = if syn.flags.contains(Flags::ACK) {
            self.asks_for_ecn() && wanted == Flags::ECE
        } else {
            self.settings.config().ecn != Ecn::Off && wanted == both() && syn.ecn == 0
        };
    }

    /// The IP bits of a segment with `len` bytes of data, and the flags that go with it.
    pub(super) fn mark(&mut self, len: usize, retransmission: bool, flags: Flags) -> (Flags, u8) {
        let quiet = flags.contains(Flags::SYN) || flags.contains(Flags::RST);
        if !self.marking.on || quiet {
            return (flags, 0);
        }
        let mut flags = flags;
        if self.marking.echo {
            flags = flags.with(Flags::ECE);
        }
        if len == 0 || retransmission {
            return (flags, 0);
        }
        if std::mem::take(&mut self.marking.reduced) {
            flags = flags.with(Flags::CWR);
        }
        (flags, CAPABLE)
    }

    /// A segment with data arrived (§6.1.3).
    pub(super) fn take_mark(&mut self, segment: &Segment) {
        if !self.marking.on {
            return;
        }
        if segment.flags.contains(Flags::CWR) {
            // Its window may be one segment: it is not to wait.
            self.marking.echo = false;
            self.acknowledge_now();
        }
        match segment.ecn & MARKED {
            // A sender that was capable before: this was sent again, or its window is small.
            0 if !self.marking.seen => {}
            0 => self.rcv.quick = self.rcv.quick.max(QUICK_ACKS),
            MARKED => {
                if !self.marking.echo {
                    self.rcv.quick = self.rcv.quick.max(QUICK_ACKS);
                }
                self.marking.echo = true;
                self.marking.seen = true;
            }
            _ => self.marking.seen = true,
        }
    }

    /// The peer echoes a mark: the window is reduced, once per round trip (§6.1.2), and no reduction before that
    /// is taken back.
    pub(super) fn take_echo(&mut self, now: Instant, segment: &Segment, news: &News) {
        if !self.marking.on || !segment.flags.contains(Flags::ECE) || self.snd.una == self.snd.nxt {
            return;
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.undo = Undo::none();
        }
        self.reduce(now, news.delivered);
    }

    /// The window was reduced, for whatever reason: the peer is to know (§6.1.2).
    pub(super) fn announce_reduction(&mut self) {
        self.marking.reduced = self.marking.on;
    }
}
