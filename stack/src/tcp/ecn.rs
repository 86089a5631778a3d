//! Explicit congestion notification (RFC 3168): routers mark instead of dropping, the receiver echoes the marks, and
//! the sender reduces its window as if something had been lost.
//!
//! As in Linux where the RFC leaves a choice: a SYN that has to be sent again does not ask for ECN any more, only new
//! data is sent as ECN-capable, marks and CWR hasten the next ACKs.
//!
//! This is the classic feedback; the accurate one (RFC 9768), which goes before it where both sides know it, is in
//! `accurate_ecn`. Left out: the nonce (RFC 3540, historic), ECN-capable control packets (RFC 8311).

use super::accurate_ecn::Accurate;
use super::acknowledge::News;
use super::tcb::Tcb;
use super::undo::Undo;
use super::{Flags, Segment, TxSegment};
use crate::time::Instant;

/// ECT(0): the sender understands marks.
pub(super) const CAPABLE: u8 = 0b10;
/// CE: congestion experienced.
pub(super) const MARKED: u8 = 0b11;
/// ACKs sent at once when the sender's window is likely to be small (as Linux).
const QUICK_ACKS: u8 = 2;

/// Who asks for ECN (as Linux's `tcp_ecn`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Nobody.
    Off,
    /// It is granted when the peer asks, with the feedback that it asks for.
    #[default]
    Passive,
    /// We ask for it, too, with classic feedback.
    Active,
    /// We ask for accurate feedback (RFC 9768), and take the classic one.
    Accurate,
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
    /// Both sides use accurate feedback; what follows from that is elsewhere.
    pub accurate: bool,
}

impl Marking {
    /// Both sides use ECN with classic feedback.
    const fn is_classic(&self) -> bool {
        self.on && !self.accurate
    }
}

const fn both() -> Flags {
    Flags::ECE.with(Flags::CWR)
}

impl Tcb {
    /// The flags of our SYN or SYN-ACK (RFC 3168 §6.1.1).
    pub(super) fn ecn_flags_of_syn(&self, answers: bool, again: bool) -> Flags {
        if answers && let Some((_, flags)) = self.accurate_bits_of_syn_ack() {
            return flags;
        }
        match (answers, self.marking.on) {
            (true, true) => Flags::ECE,
            (false, _) if !again && self.asks_for_ecn() => both(),
            _ => Flags::default(),
        }
    }

    fn asks_for_ecn(&self) -> bool {
        matches!(self.settings.config().ecn, Ecn::Active | Ecn::Accurate)
    }

    /// What the peer's SYN or SYN-ACK settles. A SYN that is marked itself is not to be trusted: something on the way
    /// sets these bits.
    pub(super) fn negotiate_ecn(&mut self, syn: &Segment) {
        let wanted = Flags(syn.flags.0 & both().0);
        let ecn = self.settings.config().ecn;
        self.marking.on = match (syn.flags.contains(Flags::ACK), ecn) {
            (_, Ecn::Off) | (true, Ecn::Passive) => false,
            (true, Ecn::Active) => wanted == Flags::ECE,
            (true, Ecn::Accurate) => self.settle_accurate(syn),
            (false, _) => self.grant_accurate(syn) || (wanted == both() && syn.ecn == 0),
        };
    }

    /// AE of our SYN or SYN-ACK that has these other flags.
    fn ae_of_syn(&self, flags: Flags) -> bool {
        match self.accurate_bits_of_syn_ack() {
            Some((ae, _)) => ae,
            None => self.settings.config().ecn == Ecn::Accurate && flags.contains(both()),
        }
    }

    /// Sets the ECN bits of `segment` with `len` bytes of data: those of IP, and the flags.
    pub(super) fn mark(&mut self, len: usize, segment: &mut TxSegment) {
        if segment.flags.contains(Flags::SYN) {
            segment.ae = self.ae_of_syn(segment.flags);
            return;
        }
        if !self.marking.on || segment.flags.contains(Flags::RST) {
            return;
        }
        let new = len > 0 && !segment.retransmission;
        if let Some((ae, flags)) = self.accurate_bits() {
            segment.ae = ae;
            segment.flags = segment.flags.with(flags);
            let capable = self.accurate().is_some_and(Accurate::is_capable);
            segment.ecn = if new && capable { CAPABLE } else { 0 };
            return;
        }
        let (flags, ecn) = self.mark_classic(new, segment.flags);
        segment.flags = flags;
        segment.ecn = ecn;
    }

    fn mark_classic(&mut self, new: bool, flags: Flags) -> (Flags, u8) {
        let mut flags = flags;
        if self.marking.echo {
            flags = flags.with(Flags::ECE);
        }
        if !new {
            return (flags, 0);
        }
        if std::mem::take(&mut self.marking.reduced) {
            flags = flags.with(Flags::CWR);
        }
        (flags, CAPABLE)
    }

    /// A segment with data arrived (§6.1.3).
    pub(super) fn take_mark(&mut self, segment: &Segment) {
        self.marking.seen |= self.marking.on && segment.ecn & MARKED != 0;
        if !self.marking.is_classic() {
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
            }
            _ => {}
        }
    }

    /// The peer echoes a mark: the window is reduced, once per round trip (§6.1.2), and no reduction before that
    /// is taken back.
    pub(super) fn take_echo(&mut self, now: Instant, segment: &Segment, news: &News) {
        let marked = if self.marking.is_classic() {
            segment.flags.contains(Flags::ECE)
        } else {
            self.accurate_news(segment, news.delivered) > 0
        };
        if !marked || self.snd.una == self.snd.nxt {
            return;
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.undo = Undo::none();
        }
        self.reduce(now, news.delivered);
    }

    /// The window was reduced, for whatever reason: the peer is to know (§6.1.2).
    pub(super) fn announce_reduction(&mut self) {
        self.marking.reduced = self.marking.is_classic();
    }
}
