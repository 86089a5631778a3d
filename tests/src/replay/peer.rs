//! The recorded peer as a host in a world: it says what it said then, as soon as we have said what it
//! answers to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::{Instant, RxFrame, TxFrame};

use super::exchange::{Event, Exchange, Kind, offset};
use super::rewrite::{self, Translation};
use crate::decode::{Decoded, Segment, decode};
use crate::simulation::node::Node;

/// What is known about our stack's side.
#[derive(Debug, Default)]
pub struct Heard {
    /// Our first sequence number.
    pub iss: Option<u32>,
    /// Our segments in order, and when they came.
    pub segments: Vec<(Instant, Segment)>,
    /// Events of the peer that are still to be played.
    pub left: usize,
    port: Option<u16>,
    tsval: u32,
    highest: i64,
}

/// What we must have sent before an event of the peer makes sense.
#[derive(Clone, Debug, Default)]
struct Needs {
    /// Everything below this position.
    highest: i64,
    /// The byte at a position, this many times: losses that were repaired.
    times: Vec<(i64, usize)>,
    /// Anything at all.
    segments: usize,
}

/// The peer of a recorded exchange.
pub struct Peer {
    mac: [u8; 6],
    our_mac: [u8; 6],
    local_iss: u32,
    recorded_port: u16,
    events: VecDeque<(Event, Needs)>,
    /// When the next event may be played, by the gap between the recorded ones.
    next_at: Instant,
    last_recorded: Duration,
    replies: Vec<Vec<u8>>,
    heard: Rc<RefCell<Heard>>,
}

impl Peer {
    /// The peer of `exchange`.
    #[must_use]
    pub fn new(exchange: &Exchange) -> Self {
        let events = with_needs(exchange);
        let heard = Heard {
            left: events.len(),
            ..Heard::default()
        };
        Self {
            mac: exchange.macs.1,
            our_mac: exchange.macs.0,
            local_iss: exchange.iss.0.unwrap_or(0),
            recorded_port: exchange.local.port(),
            last_recorded: events.front().map_or(Duration::ZERO, |(event, _)| event.at),
            events,
            next_at: Instant::ZERO,
            replies: Vec::new(),
            heard: Rc::new(RefCell::new(heard)),
        }
    }

    /// What it hears from us; shared, to be looked at afterwards.
    #[must_use]
    pub fn heard(&self) -> Rc<RefCell<Heard>> {
        Rc::clone(&self.heard)
    }

    fn hear(&mut self, now: Instant, frame: &[u8]) {
        match decode(frame) {
            Ok(Decoded::Arp(1, asker, wanted)) if asker != wanted => {
                self.replies
                    .push(arp_reply(self.mac, wanted, self.our_mac, asker));
            }
            Ok(Decoded::Tcp(segment)) => self.heard.borrow_mut().note(now, segment),
            _ => {}
        }
    }

    fn is_ready(&self, needs: &Needs) -> bool {
        let heard = self.heard.borrow();
        heard.highest >= needs.highest
            && heard.segments.len() >= needs.segments
            && needs
                .times
                .iter()
                .all(|&(position, times)| heard.times_sent(position) >= times)
    }

    fn translate(&self, event: &Event) -> Vec<u8> {
        let heard = self.heard.borrow();
        let translation = Translation {
            shift: heard
                .iss
                .unwrap_or(self.local_iss)
                .wrapping_sub(self.local_iss),
            port: heard.port.unwrap_or(self.recorded_port),
            echo: heard.tsval,
        };
        match event.kind {
            Kind::Tcp(_) => rewrite::segment(&event.frame, translation),
            Kind::Icmp(_) => rewrite::icmp(&event.frame, translation),
        }
    }
}

impl Heard {
    fn note(&mut self, now: Instant, segment: Segment) {
        if segment.syn {
            self.iss = Some(segment.seq);
            self.port = Some(segment.source.port());
        }
        if let Some((value, _)) = segment.timestamps {
            self.tsval = value;
        }
        if let Some(iss) = self.iss.filter(|_| !segment.rst) {
            let end = offset(segment.seq, iss) + i64::from(segment.sequence_len());
            self.highest = self.highest.max(end);
        }
        self.segments.push((now, segment));
    }

    fn times_sent(&self, position: i64) -> usize {
        let Some(iss) = self.iss else { return 0 };
        let covers = |segment: &Segment| {
            let start = offset(segment.seq, iss);
            (start..start + i64::from(segment.sequence_len())).contains(&position)
        };
        self.segments
            .iter()
            .filter(|(_, segment)| covers(segment))
            .count()
    }
}

impl Node for Peer {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        65_535
    }

    fn strict(&self) -> bool {
        false
    }

    fn receive(&mut self, now: Instant, frames: &mut Vec<RxFrame>) {
        for frame in frames.drain(..) {
            self.hear(now, &frame.data);
        }
    }

    fn poll(&mut self, now: Instant, out: &mut VecDeque<TxFrame>) {
        let mut send = |bytes: Vec<u8>| {
            let mut frame = TxFrame::default();
            frame.payload.push(Bytes::from(bytes));
            out.push_back(frame);
        };
        self.replies.drain(..).for_each(&mut send);
        while let Some((event, needs)) = self.events.front() {
            if now < self.next_at || !self.is_ready(needs) {
                break;
            }
            send(self.translate(event));
            self.last_recorded = event.at;
            self.events.pop_front();
            if let Some((next, _)) = self.events.front() {
                self.next_at = now + next.at.saturating_sub(self.last_recorded);
            }
        }
        self.heard.borrow_mut().left = self.events.len();
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let (_, needs) = self.events.front()?;
        // Not ready means waiting for us, not for time.
        self.is_ready(needs).then(|| self.next_at.max(now))
    }
}

/// The peer's events, each with what the recorded local end had sent that it answers to.
fn with_needs(exchange: &Exchange) -> VecDeque<(Event, Needs)> {
    let Some(iss) = exchange.iss.0 else {
        return exchange
            .events
            .iter()
            .filter(|event| !event.local)
            .map(|event| (event.clone(), Needs::default()))
            .collect();
    };
    let mut sent: Vec<(i64, usize)> = Vec::new();
    let (mut highest, mut count, mut covered) = (0, 0, 0);
    let mut events = VecDeque::new();
    for event in &exchange.events {
        if event.local {
            let Some(segment) = event.segment().filter(|segment| !segment.rst) else {
                continue;
            };
            let start = offset(segment.seq, iss);
            count += 1;
            highest = highest.max(start + i64::from(segment.sequence_len()));
            if segment.sequence_len() > 0 {
                match sent.iter_mut().find(|(position, _)| *position == start) {
                    Some((_, times)) => *times += 1,
                    None => sent.push((start, 1)),
                }
            }
            continue;
        }
        let mut needs = Needs::default();
        match &event.kind {
            Kind::Icmp(seq) => needs.highest = offset(*seq, iss) + 1,
            Kind::Tcp(segment) => {
                needs.segments = usize::from(count > 0);
                if segment.rst || segment.ack.is_none() {
                    needs.highest = highest;
                }
                let ack = segment.ack.map_or(0, |ack| offset(ack, iss));
                let edges = segment.sack.iter().map(|&(_, right)| offset(right, iss));
                needs.highest = edges.chain([ack, needs.highest]).max().unwrap_or(0);
                // What a DSACK reports (RFC 2883) was sent again without need.
                let needless = |position: i64| {
                    segment.sack.first().is_some_and(|&(left, right)| {
                        let (left, right) = (offset(left, iss), offset(right, iss));
                        right <= ack && (left..right).contains(&position)
                    })
                };
                let newly =
                    |position: i64| (covered..ack).contains(&position) && !needless(position);
                needs.times = sent
                    .iter()
                    .filter(|&&(position, times)| times > 1 && newly(position))
                    .copied()
                    .collect();
                covered = covered.max(ack);
            }
        }
        events.push_back((event.clone(), needs));
    }
    events
}

fn arp_reply(mac: [u8; 6], address: Ipv4Addr, to_mac: [u8; 6], to: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend_from_slice(&to_mac);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&to_mac);
    frame.extend_from_slice(&to.octets());
    frame
}
