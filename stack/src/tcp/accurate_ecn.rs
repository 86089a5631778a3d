//! Accurate ECN feedback (RFC 9768): the receiver counts the marks that arrive, and every segment says how many there
//! were, in three bits of the header (AE, CWR and ECE, together ACE) and, where there is room, in bytes in an option.
//!
//! Granted when the peer asks, unless ECN is off; asked for only if configured ([`super::config::Ecn::Accurate`]). What the
//! sender does about marks is the same as with classic feedback: one reduction of the window per round trip.
//! After a takeover the count of marks begins anew, which at worst costs the peer one reduction.
//!
//! Left out: ECN-capable control packets and retransmissions (RFC 8311), the test whether *every* packet is marked
//! (§3.2.2.5 is about single ones), and the option's beacon by time: it is repeated after so many bytes.

use super::ecn::{CAPABLE, MARKED};
use super::state::State;
use super::tcb::Tcb;
use super::{Flags, Segment};
use crate::wire::tcp::AccurateEcn;

/// What the count of marked packets begins with (§3.2.1), so that ACE is not zero where marks are forged.
const FIRST_COUNT: u32 = 5;
/// ACE has three bits.
const ACE_MASK: u32 = 7;
/// Marks that may arrive before an ACK has to say so (§3.2.2.5.1; at most 6).
const MARKS_PER_ACK: u8 = 2;
/// Bytes that arrive without a mark before the option is repeated.
const REPEAT_AFTER_BYTES: u32 = 32 << 10;
/// The counters of the option have 24 bits.
const COUNTER_MASK: u32 = 0xff_ffff;
/// Bytes of the option with three counters and with two, padded.
const THREE_COUNTERS_BYTES: usize = 12;
const TWO_COUNTERS_BYTES: usize = 8;

/// What a connection with accurate feedback knows.
#[derive(Clone, Debug)]
pub(super) struct Accurate {
    /// r.cep: marked packets that arrived, from [`FIRST_COUNT`] on.
    received: u32,
    /// s.cep: what the peer told of ours, none until it has.
    told: Option<u32>,
    /// r.e0b, r.ceb, r.e1b.
    received_bytes: Counts,
    /// s.ceb: what the peer told of ours, none until it has.
    told_bytes: Option<u32>,
    /// Marks counted since it told.
    told_since: u32,
    /// What the last option said.
    sent_bytes: Counts,
    /// Marks that no ACK has told of yet.
    unsaid: u8,
    /// The ECN field of the last packet that arrived with data.
    last: u8,
    /// How the peer's SYN or SYN-ACK was marked, for as long as that is to be reflected (§3.1.1).
    reflects: Option<u8>,
    /// The ECN field, or the ACE field, is changed on the way: nothing is sent as capable (§3.2.2.3, §3.2.2.4).
    mangled: bool,
    /// Something on the way zeroes the counters of the option.
    ignores_option: bool,
    /// The next segment with room has the option.
    due: bool,
    /// Marks that the peer has told of.
    pub delivered_marks: u32,
}

/// Bytes of data that arrived with each mark, modulo 2^24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    ect0: u32,
    ce: u32,
    ect1: u32,
}

/// AE, CWR and ECE as a number.
const fn ace(segment: &Segment) -> u32 {
    (segment.ae as u32) << 2
        | (segment.flags.contains(Flags::CWR) as u32) << 1
        | segment.flags.contains(Flags::ECE) as u32
}

/// Table 3: the ECN field of a SYN or SYN-ACK as the answer to it reflects it.
const fn reflection(ecn: u8) -> u32 {
    match ecn & MARKED {
        0 => 0b010,
        1 => 0b011,
        2 => 0b100,
        _ => 0b110,
    }
}

impl Accurate {
    /// After a SYN or SYN-ACK that arrived with these ECN bits.
    fn new(ecn: u8) -> Self {
        let first = Counts {
            ect0: 1,
            ce: 0,
            ect1: 1,
        };
        Self {
            received: FIRST_COUNT,
            told: None,
            received_bytes: first,
            told_bytes: None,
            told_since: 0,
            sent_bytes: first,
            unsaid: 0,
            last: 0,
            reflects: Some(ecn),
            mangled: false,
            ignores_option: false,
            due: true,
            delivered_marks: 0,
        }
    }

    /// Of a connection that another host has set up: what the peer says next is believed.
    pub(super) fn resumed() -> Self {
        Self {
            reflects: None,
            ..Self::new(0)
        }
    }

    /// Marked packets that arrived.
    pub(super) const fn received_marks(&self) -> u32 {
        self.received.wrapping_sub(FIRST_COUNT)
    }

    /// A device that cuts segments would clear CWR on all but the first, and change the count.
    pub(super) const fn needs_whole_segments(&self) -> bool {
        self.received & 0b010 != 0 || matches!(self.reflects, Some(0 | 1 | 3))
    }

    pub(super) const fn is_capable(&self) -> bool {
        !self.mangled
    }

    /// What our segments say; the first, to a SYN-ACK, how that arrived.
    fn ace(&mut self, answers: bool) -> u32 {
        self.unsaid = 0;
        let reflects = self.reflects.take_if(|_| answers);
        reflects.map_or(self.received & ACE_MASK, reflection)
    }

    /// Packets arrived with these ECN bits and so much data; true if an ACK has to say so.
    fn count(&mut self, ecn: u8, packets: u32, bytes: u32) -> bool {
        let ecn = ecn & MARKED;
        let counter = match ecn {
            0 => None,
            1 => Some(&mut self.received_bytes.ect1),
            CAPABLE => Some(&mut self.received_bytes.ect0),
            _ => {
                self.received = self.received.wrapping_add(packets);
                self.unsaid = self.unsaid.saturating_add(packets.min(255) as u8);
                Some(&mut self.received_bytes.ce)
            }
        };
        if let Some(counter) = counter {
            *counter = counter.wrapping_add(bytes) & COUNTER_MASK;
        }
        if bytes == 0 {
            return false;
        }
        let (said, now) = (&self.sent_bytes, &self.received_bytes);
        let unmarked = now.ect0.wrapping_sub(said.ect0) & COUNTER_MASK;
        self.due |= (said.ce, said.ect1) != (now.ce, now.ect1) || unmarked >= REPEAT_AFTER_BYTES;
        // Change-triggered, increment-triggered.
        let changed = std::mem::replace(&mut self.last, ecn) != ecn;
        changed && ecn == MARKED || self.unsaid >= MARKS_PER_ACK
    }

    /// What the peer says of our packets, of which `packets` have arrived since: the marks that are news (§3.2.2.5).
    fn take(&mut self, said: u32, packets: u32, option: &AccurateEcn, mss: u32) -> u32 {
        let heard = option.ce.filter(|_| !self.ignores_option);
        let bytes = heard.zip(self.told_bytes);
        let bytes = bytes.map(|(now, before)| now.wrapping_sub(before) & COUNTER_MASK);
        self.told_bytes = heard.or(self.told_bytes);
        let Some(told) = self.told.replace(said) else {
            return 0;
        };
        let mut news = said.wrapping_sub(told) & ACE_MASK;
        let counted = self.told_since.saturating_add(news);
        // With more than seven packets acknowledged the count may have wrapped. The option tells; without it as many
        // as fit are assumed, if there was any at all.
        if packets > ACE_MASK {
            news = match bytes {
                Some(bytes) => {
                    let missing = bytes.saturating_sub(counted.saturating_mul(mss));
                    let wraps = missing.div_ceil((ACE_MASK + 1) * mss);
                    news + (wraps * (ACE_MASK + 1)).min(packets)
                }
                None if news > 0 => packets - (packets.wrapping_sub(news) & ACE_MASK),
                None => 0,
            };
        }
        self.told_since = if bytes.is_some() {
            0
        } else {
            self.told_since.saturating_add(news)
        };
        self.delivered_marks = self.delivered_marks.wrapping_add(news);
        news
    }

    /// The option of the first segment after a SYN or with a SYN-ACK: neither of these counters begins with zero
    /// (§3.2.3.2.4).
    fn take_first_option(&mut self, option: &AccurateEcn) {
        self.ignores_option = option.ect0 == Some(0) || option.ect1 == Some(0);
        self.told_bytes = option.ce.filter(|_| !self.ignores_option);
    }
}

impl Tcb {
    /// A SYN asks for accurate feedback: any of the three bits, but for those of classic ECN (§3.1.1, §3.1.3).
    pub(super) fn grant_accurate(&mut self, syn: &Segment) -> bool {
        let asks = !matches!(ace(syn), 0b000 | 0b011);
        if asks {
            self.set_accurate(Accurate::new(syn.ecn));
        }
        asks
    }

    /// Our SYN asked for accurate feedback, and this SYN-ACK answers it (table 2). True if the peer uses ECN, be it of
    /// the classic kind.
    pub(super) fn settle_accurate(&mut self, syn_ack: &Segment) -> bool {
        match ace(syn_ack) {
            0b000 | 0b111 => false,
            0b001 | 0b101 => true,
            reflected => {
                let mut accurate = Accurate::new(syn_ack.ecn);
                accurate.count(syn_ack.ecn, 1, 0);
                // Our SYN was not capable of ECN; if it arrived as such, something changes the field.
                accurate.mangled = reflected != reflection(0);
                accurate.told = Some(FIRST_COUNT);
                accurate.take_first_option(&syn_ack.options.accurate_ecn);
                self.set_accurate(accurate);
                true
            }
        }
    }

    /// The ACK of our SYN-ACK reflects how that arrived (tables 3 and 4).
    pub(super) fn take_reflection(&mut self, segment: &Segment) {
        let Some(accurate) = self.accurate_mut() else {
            return;
        };
        let said = ace(segment);
        // Zero is what no endpoint sends; and our SYN-ACK was not capable of ECN.
        accurate.mangled |= matches!(said, 0b000 | 0b011 | 0b100 | 0b110);
        accurate.told = Some(if said == 0b110 {
            FIRST_COUNT + 1
        } else {
            FIRST_COUNT
        });
        // What reflects is not repeated: our SYN-ACK is through.
        accurate.reflects = None;
        accurate.take_first_option(&segment.options.accurate_ecn);
    }

    /// An acceptable segment arrived, marked or not.
    pub(super) fn count_marks(&mut self, segment: &Segment) {
        let Some(accurate) = self.accurate_mut() else {
            return;
        };
        let bytes = segment.payload.len() as u32;
        let packets = segment
            .segment_bytes
            .map_or(1, |size| bytes.div_ceil(u32::from(size.max(1))).max(1));
        if accurate.count(segment.ecn, packets, bytes) {
            self.acknowledge_now();
        }
    }

    /// Marks that an ACK tells of, which is news if it says that something arrived.
    pub(super) fn accurate_news(&mut self, segment: &Segment, delivered: u64) -> u32 {
        let mss = u32::from(self.effective_mss());
        let Some(accurate) = self.accurate_mut().filter(|_| delivered > 0) else {
            return 0;
        };
        let packets = delivered.div_ceil(u64::from(mss)).min(u64::from(u32::MAX)) as u32;
        accurate.take(ace(segment), packets, &segment.options.accurate_ecn, mss)
    }

    /// The bits of a segment other than a SYN that asks: AE apart from the others.
    pub(super) fn accurate_bits(&mut self) -> Option<(bool, Flags)> {
        // In SYN-RECEIVED it is the SYN-ACK that reflects, and data may go before its ACK (RFC 7413).
        let answers = self.state != State::SynReceived;
        let bits = self.accurate_mut()?.ace(answers);
        Some(split(bits))
    }

    /// The same of a SYN-ACK, which may have to be sent again.
    pub(super) fn accurate_bits_of_syn_ack(&self) -> Option<(bool, Flags)> {
        let accurate = self.accurate()?;
        Some(split(reflection(accurate.reflects.unwrap_or_default())))
    }

    /// The option, if it is due and fits into `room` bytes besides what else there is.
    pub(super) fn accurate_option(&mut self, room: usize) -> AccurateEcn {
        let due = self.accurate_mut().filter(|it| it.due);
        let Some(accurate) = due.filter(|_| room >= TWO_COUNTERS_BYTES) else {
            return AccurateEcn::default();
        };
        accurate.due = false;
        let Counts { ect0, ce, ect1 } = accurate.received_bytes;
        accurate.sent_bytes = accurate.received_bytes;
        let all = room >= THREE_COUNTERS_BYTES;
        AccurateEcn {
            ect0: (all || ect1 <= 1).then_some(ect0),
            ce: Some(ce),
            ect1: (all || ect1 > 1).then_some(ect1),
        }
    }
}

/// ACE as AE, and as CWR and ECE.
fn split(bits: u32) -> (bool, Flags) {
    let mut flags = Flags::default();
    if bits & 0b010 != 0 {
        flags = flags.with(Flags::CWR);
    }
    if bits & 0b001 != 0 {
        flags = flags.with(Flags::ECE);
    }
    (bits & 0b100 != 0, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(ce: u32) -> AccurateEcn {
        AccurateEcn {
            ce: Some(ce),
            ..AccurateEcn::default()
        }
    }

    fn none() -> AccurateEcn {
        AccurateEcn::default()
    }

    #[test]
    fn the_count_wraps_and_news_is_what_was_added() {
        let mut sender = Accurate::new(0);
        let mut receiver = Accurate::new(0);
        receiver.reflects = None;
        sender.told = Some(FIRST_COUNT);
        for marks in [1, 2, 0, 3, 6, 7, 0, 5] {
            receiver.count(MARKED, marks, 0);
            assert_eq!(sender.take(receiver.ace(true), 7, &none(), 1000), marks);
        }
        assert_eq!(sender.delivered_marks, 24);
        assert_eq!(receiver.received_marks(), 24);
    }

    #[test]
    fn when_many_are_acknowledged_at_once_the_option_tells_whether_the_count_wrapped() {
        let fresh = || Accurate {
            told: Some(5),
            told_bytes: Some(0),
            ..Accurate::new(0)
        };
        // 20 packets, one more on ACE: one mark, or 9, or 17.
        assert_eq!(fresh().take(6, 20, &option(1000), 1000), 1);
        assert_eq!(fresh().take(6, 20, &option(17_000), 1000), 17);
        assert_eq!(fresh().take(6, 20, &none(), 1000), 17);
        assert_eq!(fresh().take(5, 20, &none(), 1000), 0);
        assert_eq!(fresh().take(5, 20, &option(8000), 1000), 8);
    }

    #[test]
    fn marks_are_told_of_at_once_when_they_begin_and_then_every_two() {
        let mut receiver = Accurate::new(0);
        assert!(!receiver.count(CAPABLE, 1, 1000));
        assert!(receiver.count(MARKED, 1, 1000));
        receiver.ace(true);
        assert!(!receiver.count(MARKED, 1, 1000));
        assert!(receiver.count(MARKED, 1, 1000));
    }

    #[test]
    fn counters_of_bytes_wrap_at_24_bits() {
        let mut receiver = Accurate::new(0);
        receiver.received_bytes.ce = COUNTER_MASK;
        receiver.count(MARKED, 1, 2);
        assert_eq!(receiver.received_bytes.ce, 1);
    }
}
