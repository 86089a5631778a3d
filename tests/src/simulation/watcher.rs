//! The watcher on the wire: sees every frame when a host sends it and when one receives it, and knows
//! from that alone what the host may say.
//!
//! Checked on every frame that a host sends (RFC 9293 unless noted):
//! checksums, lengths and options are right and the MTU is kept; the ACK number never goes back, never
//! covers what did not arrive; the right edge of the window never moves left (nor does that of SYNs, whose windows
//! have no scale); no data beyond the window
//! that has arrived (but for a probe of one byte) nor above the peer's MSS; a retransmission carries
//! the same bytes; nothing follows a FIN; SACK blocks name only what arrived (RFC 2018, RFC 2883);
//! TSval never goes back and TSecr is one that arrived (RFC 7323).

use std::collections::HashMap;
use std::net::SocketAddrV4;

use super::ranges::Ranges;
use super::sent::Sent;
use crate::decode::{Decoded, Segment, decode};

type Key = (SocketAddrV4, SocketAddrV4);

/// What is known about one direction of a connection: all that its sender sent, and what the sender has
/// been told. Positions count from the SYN.
#[derive(Debug, Default)]
struct Flow {
    iss: u32,
    /// Its SYN answered one.
    answers: bool,
    mss: Option<u16>,
    window_scale: Option<u8>,
    sack_permitted: bool,
    timestamps: bool,
    /// Data as first sent; index 0 is position 1.
    sent: Sent,
    fin_at: Option<i64>,
    last_ack: i64,
    right_edge: i64,
    /// That of the SYNs alone.
    syn_edge: i64,
    last_tsval: Option<u32>,
    /// What of this direction has arrived.
    arrived: Ranges,
    /// The highest position after what has arrived.
    arrived_max: i64,
    /// The highest and lowest TSval that has arrived at the other end.
    arrived_tsval: Option<(u32, u32)>,
    /// The right edge that the sender has been told by the other end.
    told_edge: i64,
    /// Where the last segment began that asks for an answer (data, SYN, FIN, probe), and how often it was
    /// sent without anything arriving from the other end in between.
    unanswered: (u32, u32),
    /// The most of these.
    most_unanswered: u32,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender {
    /// A foreign stack is not: of it only well-formedness is asked.
    pub strict: bool,
    /// It has inherited the connection and not yet heard its peer, or just now. A single byte that the peer has
    /// acknowledged may be any from it, because it never had it; and it may say that the end of what the peer has sent
    /// arrived.
    pub stranger: bool,
    /// It has lost frames before they reached the wire, because nobody said where the next hop is: to it they are
    /// sent.
    pub loses: bool,
}

/// Watches all links of a world.
#[derive(Debug, Default)]
pub struct Watcher {
    flows: HashMap<Key, Flow>,
    /// TCP segments seen leaving.
    pub segments: u64,
    /// Of those, segments with data that had been sent before.
    pub retransmissions: u64,
    /// Probes of a closed window: one byte beyond it, or none at a position that was sent already.
    pub probes: u64,
    /// Segments with RST seen leaving.
    pub resets: u64,
}

fn offset(seq: u32, base: u32) -> i64 {
    i64::from(seq.wrapping_sub(base) as i32)
}

impl Watcher {
    /// Looks at a frame that a host with this `mtu` sends. `strict` is false for foreign stacks, of
    /// which only well-formedness is asked.
    ///
    /// # Errors
    /// Says which rule the frame breaks.
    pub fn sent(&mut self, frame: &[u8], mtu: usize, strict: bool) -> Result<(), String> {
        let sender = Sender {
            strict,
            ..Sender::default()
        };
        self.sent_by(frame, mtu, sender)
    }

    /// The same of any sender.
    ///
    /// # Errors
    /// As [`Watcher::sent`].
    pub fn sent_by(&mut self, frame: &[u8], mtu: usize, sender: Sender) -> Result<(), String> {
        let decoded = decode(frame)?;
        if frame.len() > mtu + 14 && !matches!(decoded, Decoded::Other) {
            return Err(format!(
                "{} bytes of frame exceed the MTU of {mtu}",
                frame.len()
            ));
        }
        let Decoded::Tcp(segment) = decoded else {
            return Ok(());
        };
        self.segments += 1;
        self.resets += u64::from(segment.rst);
        if segment.rst {
            return Ok(());
        }
        self.segment_sent(&segment, &frame[segment.payload.clone()], sender)
            .map_err(|what| format!("{what}: {}", segment.summary()))
    }

    /// Looks at a frame that reaches a host, perhaps damaged on the way.
    pub fn arrived(&mut self, frame: &[u8]) {
        let Ok(Decoded::Tcp(segment)) = decode(frame) else {
            return;
        };
        if segment.rst {
            return;
        }
        let key = (segment.source, segment.destination);
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        if segment.syn && segment.seq != flow.iss {
            return;
        }
        let start = offset(segment.seq, flow.iss);
        let end = start + i64::from(segment.sequence_len());
        flow.arrived.insert(start, end);
        flow.arrived_max = flow.arrived_max.max(end);
        if let Some((value, _)) = segment.timestamps {
            let (low, high) = flow.arrived_tsval.unwrap_or((value, value));
            let low = if offset(value, low) < 0 { value } else { low };
            let high = if offset(value, high) > 0 { value } else { high };
            flow.arrived_tsval = Some((low, high));
        }
        let scale = flow.scale(&segment);
        let Some(other) = self.flows.get_mut(&(key.1, key.0)) else {
            return;
        };
        other.unanswered.1 = 0;
        if let Some(ack) = segment.ack {
            let scale = if other.window_scale.is_some() {
                scale
            } else {
                0
            };
            let edge = offset(ack, other.iss) + (i64::from(segment.window) << scale);
            other.told_edge = other.told_edge.max(edge);
        }
    }

    /// How often one segment was sent to or from `client` without anything coming back, at worst: what a
    /// connection that failed may blame.
    #[must_use]
    pub fn most_unanswered(&self, client: SocketAddrV4) -> u32 {
        let flows = self
            .flows
            .iter()
            .filter(|(key, _)| key.0 == client || key.1 == client);
        flows
            .map(|(_, flow)| flow.most_unanswered)
            .max()
            .unwrap_or(0)
    }

    /// True when both ends of a connection have closed, and both have been told so.
    #[must_use]
    pub fn has_ended(&self, one: SocketAddrV4, other: SocketAddrV4) -> bool {
        let acknowledged = |from: SocketAddrV4, to: SocketAddrV4| {
            let fin_at = self.flows.get(&(from, to)).and_then(|flow| flow.fin_at);
            let back = self.flows.get(&(to, from));
            fin_at.is_some_and(|at| back.is_some_and(|back| back.last_ack > at))
        };
        acknowledged(one, other) && acknowledged(other, one)
    }

    /// True for a RST that answers a segment of a connection that has ended: it is where that segment acknowledged,
    /// and acknowledges nothing.
    #[must_use]
    pub fn refuses_what_has_ended(&self, rst: &Segment) -> bool {
        let flow = self.flows.get(&(rst.source, rst.destination));
        let within = flow.is_some_and(|flow| {
            let at = offset(rst.seq, flow.iss);
            flow.fin_at
                .is_some_and(|fin_at| (1..=fin_at + 1).contains(&at))
        });
        within && rst.ack.is_none() && self.has_ended(rst.source, rst.destination)
    }

    /// True when the receiver of `segment` has acknowledged everything in it: it drops it unseen.
    #[must_use]
    pub fn is_old(&self, segment: &Segment) -> bool {
        let there = self.flows.get(&(segment.source, segment.destination));
        let back = self.flows.get(&(segment.destination, segment.source));
        there.zip(back).is_some_and(|(there, back)| {
            let end = offset(segment.seq, there.iss) + i64::from(segment.sequence_len());
            back.last_ack >= end
        })
    }

    /// True when `segment` lies before what its receiver has acknowledged, who only answers it.
    #[must_use]
    pub fn is_before(&self, segment: &Segment) -> bool {
        let there = self.flows.get(&(segment.source, segment.destination));
        let back = self.flows.get(&(segment.destination, segment.source));
        there.zip(back).is_some_and(|(there, back)| {
            offset(segment.seq, there.iss) + i64::from(segment.sequence_len()) < back.last_ack
        })
    }

    /// [`Watcher::most_unanswered`] of all connections together.
    #[must_use]
    pub fn most_unanswered_of_all(&self) -> u32 {
        self.flows
            .values()
            .map(|flow| flow.most_unanswered)
            .max()
            .unwrap_or(0)
    }

    fn segment_sent(
        &mut self,
        segment: &Segment,
        data: &[u8],
        sender: Sender,
    ) -> Result<(), String> {
        let key = (segment.source, segment.destination);
        if segment.syn {
            self.syn_sent(key, segment);
        }
        let Some(mut flow) = self.flows.remove(&key) else {
            return Ok(());
        };
        flow.count_unanswered(segment);
        self.probes += u64::from(flow.is_probe(segment, data.len()));
        let result = match self.flows.get(&(key.1, key.0)) {
            Some(other) => {
                let acknowledging = check_acknowledgement(&mut flow, other, segment, sender);
                let sending = check_data(&mut flow, Some(other), segment, data, sender);
                acknowledging.and(sending)
            }
            None => check_data(&mut flow, None, segment, data, sender).map(|_| false),
        };
        self.flows.insert(key, flow);
        match result {
            Ok(again) => {
                self.retransmissions += u64::from(again);
                Ok(())
            }
            Err(what) if sender.strict => Err(what),
            Err(_) => Ok(()),
        }
    }

    /// Begins a flow, unless the SYN is one sent again.
    fn syn_sent(&mut self, key: Key, segment: &Segment) {
        let known = self.flows.get(&key).map(|flow| flow.iss);
        if known != Some(segment.seq) {
            // The ports are used again: what the other end still says is about the earlier connection. (A new
            // SYN-ACK is another answer to the same SYN, as long as no answer was acknowledged.)
            let back = (key.1, key.0);
            let other = self.flows.get(&back);
            let earlier = match (known, segment.ack) {
                (Some(_), None) => true,
                (Some(_), Some(_)) => other.is_some_and(|flow| flow.last_ack > 0),
                // It answered a SYN that came late, when its connection was over already.
                (None, None) => other.is_some_and(|flow| flow.answers),
                (None, Some(_)) => false,
            };
            if earlier {
                self.flows.remove(&back);
            }
            let flow = Flow {
                iss: segment.seq,
                answers: segment.ack.is_some(),
                ..Flow::default()
            };
            self.flows.insert(key, flow);
        }
        let flow = self.flows.entry(key).or_default();
        flow.mss = segment.mss;
        flow.window_scale = segment.window_scale;
        flow.sack_permitted = segment.sack_permitted;
        flow.timestamps = segment.timestamps.is_some();
    }
}

impl Flow {
    /// The position after all that was sent.
    fn sent_end(&self) -> i64 {
        let data = self.sent.len() as i64 + 1;
        self.fin_at.map_or(data, |fin| data.max(fin + 1))
    }

    fn is_probe(&self, segment: &Segment, len: usize) -> bool {
        let start = offset(segment.seq, self.iss);
        match len {
            0 => segment.sequence_len() == 0 && start <= self.sent.len() as i64,
            1 => start + 1 > self.told_edge,
            _ => false,
        }
    }

    fn count_unanswered(&mut self, segment: &Segment) {
        if segment.sequence_len() == 0 && !self.is_probe(segment, 0) {
            return;
        }
        if self.unanswered.0 != segment.seq {
            self.unanswered = (segment.seq, 0);
        }
        self.unanswered.1 += 1;
        self.most_unanswered = self.most_unanswered.max(self.unanswered.1);
    }

    /// The shift that this sender's window fields have, if the other end offered scaling too.
    fn scale(&self, segment: &Segment) -> u8 {
        if segment.syn {
            0
        } else {
            self.window_scale.unwrap_or(0)
        }
    }
}

/// What `flow`'s sender says about `other`, the direction towards it.
fn check_acknowledgement(
    flow: &mut Flow,
    other: &Flow,
    segment: &Segment,
    sender: Sender,
) -> Result<(), String> {
    let Some(ack) = segment.ack else {
        return if segment.syn {
            Ok(())
        } else {
            Err("no ACK after the handshake".into())
        };
    };
    let ack = offset(ack, other.iss);
    if ack < flow.last_ack {
        return Err(format!("ACK goes back from {} to {ack}", flow.last_ack));
    }
    if !other.arrived.contains(0, ack) {
        return Err(format!(
            "ACK {ack} covers what did not arrive: {:?}",
            other.arrived
        ));
    }
    flow.last_ack = ack;
    let scale = if other.window_scale.is_some() {
        flow.scale(segment)
    } else {
        0
    };
    let edge = ack + (i64::from(segment.window) << scale);
    // Whoever gets a SYN-ACK again takes nothing from its window, which has no scale; it says what it said.
    let before = if segment.syn {
        flow.syn_edge
    } else {
        flow.right_edge
    };
    if edge < before {
        return Err(format!(
            "the window's right edge moves left from {before} to {edge}"
        ));
    }
    if segment.syn {
        flow.syn_edge = edge;
    }
    flow.right_edge = edge.max(flow.right_edge);
    check_sack(flow, other, segment, ack, sender)?;
    check_timestamps(flow, other, segment)
}

fn check_sack(
    flow: &Flow,
    other: &Flow,
    segment: &Segment,
    ack: i64,
    sender: Sender,
) -> Result<(), String> {
    let agreed = flow.sack_permitted && other.sack_permitted;
    if !segment.sack.is_empty() && !agreed {
        return Err("SACK without permission".into());
    }
    for (index, &(left, right)) in segment.sack.iter().enumerate() {
        let (left, right) = (offset(left, other.iss), offset(right, other.iss));
        // Whoever inherited the connection has the peer send again what was lost with the former owner.
        let claim = sender.stranger && right <= other.sent_end();
        if left >= right || !(claim || other.arrived.contains(left, right)) {
            return Err(format!(
                "SACK block {left}..{right} names what did not arrive"
            ));
        }
        // RFC 2883 §4: only the first block may report a duplicate.
        if left < ack && index > 0 {
            return Err(format!(
                "SACK block {left}..{right} below ACK {ack} is not the first"
            ));
        }
        // RFC 2018 §3: what adjoins the ACK number is acknowledged, not SACKed.
        if left == ack {
            return Err(format!("SACK block {left}..{right} adjoins ACK {ack}"));
        }
    }
    Ok(())
}

fn check_timestamps(flow: &mut Flow, other: &Flow, segment: &Segment) -> Result<(), String> {
    let Some((value, echo)) = segment.timestamps else {
        // RFC 7323 §3.2: once negotiated, on every segment but RST.
        let negotiated = flow.timestamps && other.timestamps && !segment.syn;
        return if negotiated {
            Err("no timestamps option".into())
        } else {
            Ok(())
        };
    };
    let agreed = flow.timestamps && other.timestamps;
    if !segment.syn && !agreed {
        return Err("timestamps without agreement".into());
    }
    if flow.last_tsval.is_some_and(|last| offset(value, last) < 0) {
        return Err("TSval goes back".into());
    }
    flow.last_tsval = Some(value);
    let Some((low, high)) = other.arrived_tsval else {
        return Ok(());
    };
    if segment.ack.is_some() && (offset(echo, low) < 0 || offset(echo, high) > 0) {
        return Err(format!("TSecr {echo} outside what arrived, {low}..={high}"));
    }
    Ok(())
}

/// Data and FIN of one segment; true if some of it had been sent before.
fn check_data(
    flow: &mut Flow,
    other: Option<&Flow>,
    segment: &Segment,
    data: &[u8],
    sender: Sender,
) -> Result<bool, String> {
    let start = offset(segment.seq, flow.iss) + i64::from(segment.syn);
    let end = start + data.len() as i64;
    let mut known = flow.sent.len() as i64 + 1;
    if sender.loses && start > known {
        flow.sent.lose_to((start - 1) as usize);
        known = start;
    }
    if start > known + i64::from(flow.fin_at.is_some()) {
        return Err(format!(
            "sequence number leaves a gap: {known} was next, not {start}"
        ));
    }
    if let Some(fin_at) = flow.fin_at
        && (end > fin_at || (segment.fin && end != fin_at))
        && !data.is_empty()
    {
        return Err(format!("data beyond the FIN at {fin_at}"));
    }
    if segment.fin {
        if flow.fin_at.is_some_and(|fin_at| fin_at != end) {
            return Err(format!("FIN moves from {:?} to {end}", flow.fin_at));
        }
        flow.fin_at = Some(end);
    }
    if data.is_empty() {
        return Ok(false);
    }
    let limit = other.and_then(|other| other.mss).map_or(536, usize::from);
    if data.len() > limit {
        return Err(format!(
            "{} bytes exceed the peer's MSS of {limit}",
            data.len()
        ));
    }
    let probe = data.len() == 1;
    if other.is_some() && end > flow.told_edge + i64::from(probe) {
        return Err(format!(
            "data up to {end} beyond the window that ends at {}",
            flow.told_edge
        ));
    }
    let from = (start - 1) as usize;
    // A probe by an owner that never had the byte: its receiver has acknowledged it, and drops it unseen.
    let acknowledged = other.is_some_and(|other| other.last_ack >= end);
    let unknown = probe && acknowledged && sender.stranger;
    if !unknown && !flow.sent.agrees(from, data) {
        return Err("a retransmission with other bytes".into());
    }
    Ok(flow.sent.add(from, data) > 0)
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, TcpOptionElement};

    use super::*;

    struct Wire(Watcher);

    /// One segment from host 1 to host 2 or back; the flags are S, F and `.` for ACK.
    fn frame(from: u8, flags: &str, seq: u32, ack: u32, window: u16, data: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [2; 6])
            .ipv4([10, 0, 0, from], [10, 0, 0, 3 - from], 64)
            .tcp(80, 80, seq, window);
        let builder = if flags.contains('S') {
            builder
                .syn()
                .options(&[TcpOptionElement::MaximumSegmentSize(1100)])
                .expect("fits")
        } else {
            builder
        };
        let builder = if flags.contains('F') {
            builder.fin()
        } else {
            builder
        };
        let builder = if flags.contains('.') {
            builder.ack(ack)
        } else {
            builder
        };
        let mut frame = Vec::new();
        builder.write(&mut frame, data).expect("a Vec takes it");
        frame
    }

    impl Wire {
        fn connected() -> Self {
            let mut wire = Self(Watcher::default());
            wire.carry(&frame(1, "S", 100, 0, 1000, b"")).unwrap();
            wire.carry(&frame(2, "S.", 500, 101, 1000, b"")).unwrap();
            wire.carry(&frame(1, ".", 101, 501, 1000, b"")).unwrap();
            wire
        }

        fn carry(&mut self, frame: &[u8]) -> Result<(), String> {
            self.0.sent(frame, 1500, true)?;
            self.0.arrived(frame);
            Ok(())
        }
    }

    #[test]
    fn a_proper_exchange_passes() {
        let mut wire = Wire::connected();
        wire.carry(&frame(1, ".", 101, 501, 1000, b"hello"))
            .unwrap();
        wire.carry(&frame(2, ".", 501, 106, 995, b"")).unwrap();
        wire.carry(&frame(1, "F.", 106, 501, 1000, b"")).unwrap();
        wire.carry(&frame(2, "F.", 501, 107, 995, b"")).unwrap();
        assert_eq!(wire.0.retransmissions, 0);
    }

    #[test]
    fn every_broken_rule_is_named() {
        let cases: [(&str, Vec<u8>); 8] = [
            (
                "covers what did not arrive",
                frame(2, ".", 501, 102, 1000, b""),
            ),
            ("right edge moves left", frame(2, ".", 501, 101, 999, b"")),
            (
                "beyond the window",
                frame(1, ".", 101, 501, 1000, &[7; 1001]),
            ),
            (
                "exceed the peer's MSS",
                frame(1, ".", 101, 501, 1000, &[7; 1101]),
            ),
            ("leaves a gap", frame(1, ".", 105, 501, 1000, b"x")),
            ("goes back", frame(1, ".", 101, 500, 1001, b"")),
            ("no ACK", frame(1, "", 101, 0, 1000, b"x")),
            ("exceed the MTU", frame(1, ".", 101, 501, 1000, &[7; 1600])),
        ];
        for (rule, frame) in cases {
            let error = Wire::connected().carry(&frame).expect_err(rule);
            assert!(error.contains(rule), "{rule}: {error}");
        }
    }

    #[test]
    fn who_still_answers_a_late_syn_says_nothing_of_the_next_connection() {
        let mut wire = Wire::connected();
        wire.carry(&frame(2, "F.", 501, 101, 1000, b"")).unwrap();
        wire.carry(&frame(1, "F.", 101, 502, 1000, b"")).unwrap();
        // The first SYN arrives once more, with the server having forgotten the connection.
        wire.carry(&frame(2, "S.", 9500, 101, 1000, b"")).unwrap();
        wire.carry(&frame(1, "S", 7100, 0, 1000, b"")).unwrap();
        wire.carry(&frame(2, ".", 9501, 101, 1000, b"")).unwrap();
        // After that it is held to everything.
        wire.carry(&frame(2, "S.", 20_500, 7101, 1000, b""))
            .unwrap();
        let error = wire.carry(&frame(2, ".", 20_501, 7102, 1000, b""));
        assert!(error.unwrap_err().contains("covers what did not arrive"));
    }

    #[test]
    fn only_a_stranger_probes_with_a_byte_that_he_never_had() {
        let mut wire = Wire::connected();
        wire.carry(&frame(1, ".", 101, 501, 1000, b"hello"))
            .unwrap();
        let probe = frame(1, ".", 101, 501, 1000, &[0]);
        let known = Sender {
            strict: true,
            ..Sender::default()
        };
        let stranger = Sender {
            stranger: true,
            ..known
        };
        assert!(wire.0.sent_by(&probe, 1500, stranger).is_err());
        wire.carry(&frame(2, ".", 501, 106, 995, b"")).unwrap();
        assert!(wire.0.sent_by(&probe, 1500, known).is_err());
        wire.0.sent_by(&probe, 1500, stranger).unwrap();
    }

    #[test]
    fn only_who_lost_frames_leaves_a_gap() {
        let mut wire = Wire::connected();
        let beyond = frame(1, ".", 105, 501, 1000, b"o");
        assert!(wire.carry(&beyond).is_err());
        let loser = Sender {
            strict: true,
            loses: true,
            ..Sender::default()
        };
        wire.0.sent_by(&beyond, 1500, loser).unwrap();
        wire.carry(&frame(1, ".", 101, 501, 1000, b"hello"))
            .unwrap();
        let error = wire.carry(&frame(1, ".", 101, 501, 1000, b"jello"));
        assert!(error.unwrap_err().contains("other bytes"));
    }

    #[test]
    fn a_retransmission_has_to_carry_the_same_bytes() {
        let mut wire = Wire::connected();
        wire.carry(&frame(1, ".", 101, 501, 1000, b"hello"))
            .unwrap();
        wire.carry(&frame(1, ".", 101, 501, 1000, b"hello"))
            .unwrap();
        assert_eq!(wire.0.retransmissions, 1);
        let error = wire
            .carry(&frame(1, ".", 103, 501, 1000, b"LLo"))
            .unwrap_err();
        assert!(error.contains("other bytes"), "{error}");
    }
}
