//! Two Tcbs joined by a wire in virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::ip::Path;
use crate::random::Random;
use crate::tcp::{
    Arrival, Config, Error, Flags, Parameters, Segment, SocketOptions, State, Tcb, TxSegment,
};
use crate::time::Instant;

/// Who opens.
pub(super) const CLIENT: usize = 0;
/// Who listens.
pub(super) const SERVER: usize = 1;

/// A segment that was put on the wire.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub at: Instant,
    pub by: usize,
    pub segment: TxSegment,
}

impl Sent {
    pub(super) fn len(&self) -> usize {
        self.segment.payload.iter().map(Bytes::len).sum()
    }

    pub(super) fn has(&self, flags: Flags) -> bool {
        self.segment.flags.contains(flags)
    }
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TxSegment {
            seq,
            ack,
            flags,
            window,
            ..
        } = &self.segment;
        let (at, by, len) = (self.at, self.by, self.len());
        let sack = &self.segment.options.sack;
        let again = if self.segment.retransmission {
            " again"
        } else {
            ""
        };
        write!(
            f,
            "{at:?} {by} {flags:?} {seq}+{len} ack {ack} win {window} {sack:?}{again}"
        )
    }
}

/// What the wire does to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Deliver,
    Drop,
    /// Later than usual by so much.
    Delay(Duration),
    Duplicate,
    /// With congestion experienced (RFC 3168).
    Mark,
}

type Filter = Box<dyn FnMut(&Sent) -> Fate>;

/// One side.
pub(super) struct End {
    pub tcb: Option<Tcb>,
    pub parameters: Parameters,
    pub iss: u32,
    /// Arrived and read.
    pub received: Vec<u8>,
    /// Read as it comes.
    pub reads: bool,
    arriving: VecDeque<(Instant, Segment)>,
}

pub(super) struct Pair {
    pub now: Instant,
    pub ends: [End; 2],
    pub delay: Duration,
    /// Time that the wire takes for each segment, each way; and when it is free again.
    pub spacing: Duration,
    free_at: [Instant; 2],
    /// Everything sent.
    pub sent: Vec<Sent>,
    pub arrivals: Vec<(usize, Arrival)>,
    pub filter: Filter,
    /// Prints what is sent; on when the variable TRACE is set.
    trace: bool,
    /// Gated sides are permitted everything at once.
    pub always_consult: bool,
}

/// A path with that MTU whose device cuts segments of up to `max_segmented` bytes.
pub(super) fn path(mtu: usize, max_segmented: usize) -> Path {
    Path {
        source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        mtu,
        link_mtu: mtu,
        max_segmented_bytes: max_segmented,
    }
}

/// Parameters with the defaults, changed.
pub(super) fn parameters(change: impl FnOnce(&mut Config, &mut SocketOptions)) -> Parameters {
    let (mut config, mut options) = (Config::default(), SocketOptions::default());
    change(&mut config, &mut options);
    Parameters {
        config: Arc::new(config),
        options: Arc::new(options),
        path: path(1500, 1500),
        timestamp_offset: 0xffff_f000,
        gated: false,
        terms: crate::tcp::gate::Terms::default(),
    }
}

pub(super) fn defaults() -> Parameters {
    parameters(|_, _| {})
}

/// Bytes that tell their position.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

impl Pair {
    pub(super) fn new(client: Parameters, server: Parameters) -> Self {
        let end = |parameters: Parameters, iss| End {
            tcb: None,
            parameters,
            iss,
            received: Vec::new(),
            reads: true,
            arriving: VecDeque::new(),
        };
        Self {
            now: Instant::from_millis(10_000),
            ends: [end(client, u32::MAX - 1000), end(server, 0x7fff_fff0)],
            delay: Duration::from_millis(10),
            spacing: Duration::ZERO,
            free_at: [Instant::ZERO; 2],
            sent: Vec::new(),
            arrivals: Vec::new(),
            filter: Box::new(|_| Fate::Deliver),
            trace: std::env::var_os("TRACE").is_some(),
            always_consult: false,
        }
    }

    /// A connection, established, with nothing of it in `sent`.
    pub(super) fn established(client: Parameters, server: Parameters) -> Self {
        let mut pair = Self::new(client, server);
        pair.open();
        pair.run_for(Duration::from_millis(100));
        assert_eq!(pair.states(), [State::Established; 2]);
        pair.sent.clear();
        pair
    }

    pub(super) fn open(&mut self) {
        let end = &mut self.ends[CLIENT];
        end.tcb = Some(Tcb::connect(end.parameters.clone(), self.now, end.iss));
    }

    pub(super) fn tcb(&mut self, side: usize) -> &mut Tcb {
        self.ends[side].tcb.as_mut().expect("open")
    }

    pub(super) fn states(&self) -> [State; 2] {
        [0, 1].map(|side| {
            self.ends[side]
                .tcb
                .as_ref()
                .map_or(State::Closed, Tcb::state)
        })
    }

    /// Writes as much as fits.
    pub(super) fn write(&mut self, side: usize, bytes: &[u8]) -> usize {
        self.tcb(side).send_copy(bytes).expect("writable")
    }

    /// Everything sent by `side` since `sent` was cleared.
    pub(super) fn sent_by(&self, side: usize) -> Vec<Sent> {
        let by = |sent: &&Sent| sent.by == side;
        self.sent.iter().filter(by).cloned().collect()
    }

    /// A segment as if from the other side, with valid numbers, to be bent and delivered by hand.
    pub(super) fn forged(&mut self, to: usize) -> Segment {
        let timestamps = self.tcb(to).timestamps;
        let now = self.now;
        let tcb = self.tcb(to);
        let mut segment = Segment {
            seq: tcb.peer_wire(tcb.rcv.nxt),
            ack: tcb.our_wire(tcb.snd.una),
            flags: Flags::ACK,
            window: 500,
            ..Segment::default()
        };
        if timestamps.on {
            segment.options.timestamps = Some((timestamps.recent, timestamps.value(now)));
        }
        segment
    }

    pub(super) fn deliver(&mut self, to: usize, segment: Segment) -> Arrival {
        let now = self.now;
        self.tcb(to).on_segment(now, segment)
    }

    /// Runs for that time.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
        self.now = end;
        self.transmit();
    }

    /// Runs until `done`, or panics after a day. Where a quarter of all segments is lost each way, and no timestamps
    /// are there to measure by, Karn's rule leaves the RTO at two minutes for long (RFC 6298 §5): an hour is too little.
    pub(super) fn run_to(&mut self, done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(24 * 3600);
        assert!(self.run_until(end, done), "not done after a day");
    }

    /// Runs until `done`, at most to `end`; whether it was done.
    pub(super) fn run_until(
        &mut self,
        end: Instant,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        loop {
            self.transmit();
            if done(self) {
                return true;
            }
            self.transmit();
            let Some(next) = self.next_event().filter(|&next| next <= end) else {
                return false;
            };
            self.now = self.now.max(next);
            for side in [CLIENT, SERVER] {
                self.step(side);
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let arrivals = self
            .ends
            .iter()
            .filter_map(|end| end.arriving.front().map(|a| a.0));
        let timers = self
            .ends
            .iter()
            .filter_map(|end| end.tcb.as_ref()?.next_deadline());
        arrivals.chain(timers).min()
    }

    fn step(&mut self, side: usize) {
        let now = self.now;
        let end = &mut self.ends[side];
        if let Some(tcb) = &mut end.tcb
            && tcb.next_deadline().is_some_and(|due| due <= now)
        {
            tcb.on_timer(now);
        }
        while end
            .arriving
            .front()
            .is_some_and(|arriving| arriving.0 <= now)
        {
            let (_, segment) = end.arriving.pop_front().expect("is there");
            match &mut end.tcb {
                Some(tcb) if tcb.is_closed() => {
                    if let Some(reset) = answer_of_nobody(&segment) {
                        let at = now + self.delay;
                        enqueue(&mut self.ends[1 - side].arriving, at, reset);
                        return;
                    }
                }
                Some(tcb) => self.arrivals.push((side, tcb.on_segment(now, segment))),
                None if segment.flags.contains(Flags::SYN) => {
                    end.tcb = Some(Tcb::accept(end.parameters.clone(), now, end.iss, &segment));
                }
                None => {}
            }
        }
        if end.reads {
            self.read(side);
        }
    }

    /// Reads all that can be read.
    pub(super) fn read(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let Some(tcb) = &mut end.tcb else { return };
        while let Ok(Some(bytes)) = tcb.recv_bytes(usize::MAX)
            && !bytes.is_empty()
        {
            end.received.extend_from_slice(&bytes);
        }
    }

    /// True when `side` has read everything up to the peer's FIN.
    pub(super) fn at_end(&mut self, side: usize) -> bool {
        matches!(self.tcb(side).recv(&mut [0]), Ok(Some(0)))
    }

    pub(super) fn error(&self, side: usize) -> Option<Error> {
        self.ends[side].tcb.as_ref().and_then(Tcb::error)
    }

    /// Lets both sides send what they have to.
    pub(super) fn transmit(&mut self) {
        if self.always_consult {
            self.consult_all();
        }
        let now = self.now;
        for by in [CLIENT, SERVER] {
            while let Some(segment) = self.ends[by]
                .tcb
                .as_mut()
                .and_then(|tcb| tcb.poll_transmit(now))
            {
                let sent = Sent {
                    at: now,
                    by,
                    segment,
                };
                let fate = (self.filter)(&sent);
                if self.trace {
                    println!("{sent} {fate:?}");
                }
                let queue = &mut self.ends[1 - by].arriving;
                for mut piece in on_the_wire(&sent.segment) {
                    self.free_at[by] = self.free_at[by].max(now) + self.spacing;
                    let at = self.free_at[by] + self.delay;
                    match fate {
                        Fate::Drop => {}
                        Fate::Deliver => enqueue(queue, at, piece),
                        Fate::Mark => {
                            piece.ecn = 3;
                            enqueue(queue, at, piece);
                        }
                        Fate::Delay(more) => enqueue(queue, at + more, piece),
                        Fate::Duplicate => {
                            enqueue(queue, at, piece.clone());
                            enqueue(queue, at, piece);
                        }
                    }
                }
                self.sent.push(sent);
            }
        }
    }
}

/// RST to a segment for a connection that is closed (RFC 9293 §3.10.7.1).
fn answer_of_nobody(segment: &Segment) -> Option<Segment> {
    let ack = segment.flags.contains(Flags::ACK) && !segment.flags.contains(Flags::RST);
    ack.then(|| Segment {
        seq: segment.ack,
        flags: Flags::RST,
        ..Segment::default()
    })
}

impl End {
    /// Loses everything on its way here.
    pub(super) fn forget(&mut self) {
        self.arriving.clear();
    }
}

fn enqueue(queue: &mut VecDeque<(Instant, Segment)>, at: Instant, segment: Segment) {
    let index = queue.partition_point(|arriving| arriving.0 <= at);
    queue.insert(index, (at, segment));
}

/// A segment as it arrives, cut as a device would.
pub(super) fn on_the_wire(sent: &TxSegment) -> Vec<Segment> {
    let payload: Vec<u8> = sent.payload.concat();
    let size = sent.segment_bytes.map_or(usize::MAX, usize::from);
    let pieces = payload.chunks(size.min(payload.len().max(1)));
    let count = pieces.len().max(1);
    let mut segments: Vec<Segment> = pieces
        .enumerate()
        .map(|(index, piece)| {
            let last = index + 1 == count;
            let only_last = Flags::FIN.with(Flags::PSH).0;
            let flags = if last {
                sent.flags.0
            } else {
                sent.flags.0 & !only_last
            };
            Segment {
                seq: sent.seq.wrapping_add((index * size.min(1 << 20)) as u32),
                ack: sent.ack,
                flags: Flags(flags),
                ae: sent.ae,
                window: sent.window,
                urgent: sent.urgent,
                options: sent.options.clone(),
                payload: Bytes::copy_from_slice(piece),
                ecn: sent.ecn,
                ..Segment::default()
            }
        })
        .collect();
    if segments.is_empty() {
        segments.push(Segment {
            seq: sent.seq,
            ack: sent.ack,
            flags: sent.flags,
            ae: sent.ae,
            window: sent.window,
            urgent: sent.urgent,
            options: sent.options.clone(),
            ..Segment::default()
        });
    }
    segments
}

/// A filter that drops, delays and duplicates at random; rates in percent.
pub(super) fn rough(seed: u64, loss: u64, duplication: u64, delay: u64) -> Filter {
    let mut random = Random::from_seed(seed);
    Box::new(move |_| {
        if random.chance(loss, 100) {
            Fate::Drop
        } else if random.chance(duplication, 100) {
            Fate::Duplicate
        } else if random.chance(delay, 100) {
            Fate::Delay(Duration::from_micros(random.below(30_000)))
        } else {
            Fate::Deliver
        }
    })
}
