//! One direction of a bad link, in virtual time: seeded, pure, and the same for the same seed.
//!
//! A frame meets, in this order: the MTU, the bottleneck with its finite queue, loss (independent and in
//! bursts), corruption, duplication, delay with jitter, reordering. Every kind of fate draws from a random
//! stream of its own, so that "the 17th frame is lost" stays true when another setting changes.
//!
//! Frames are wire-sized: `segment.rs` cuts what offloads left whole.

use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::device::Medium;
use crate::random::Random;
use crate::segment::link_len;
use crate::time::Instant;

/// Bytes that one direction holds at most, whatever the settings: a quarter of a second at 8 Gbit/s.
const IN_FLIGHT_BYTES: usize = 256 << 20;

/// What a link does to frames. Probabilities are per frame, 0 to 1. The default does nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Impairment {
    /// Independent loss.
    pub loss: f64,
    /// Loss in bursts, besides.
    pub burst: Option<Burst>,
    /// The frame arrives twice.
    pub duplicate: f64,
    /// The frame is held back by [`Self::reorder_delay`], so that later ones overtake it.
    pub reorder: f64,
    /// How long a reordered frame is held back.
    pub reorder_delay: Duration,
    /// One bit that a checksum covers is flipped: in an IP datagram (of IPv6, behind the header).
    pub corrupt: f64,
    /// Propagation delay.
    pub delay: Duration,
    /// Up to this much more delay, drifting at random between none and all of it. Order is kept.
    pub jitter: Duration,
    /// The bottleneck, if there is one.
    pub rate: Option<Rate>,
    /// Larger IP datagrams are dropped in silence.
    pub mtu: Option<usize>,
}

/// A two-state loss model (Gilbert-Elliott): in the bad state frames are lost with probability `loss`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Probability per frame of turning bad.
    pub begin: f64,
    /// Probability per frame of turning good again: bursts last 1/`end` frames on average.
    pub end: f64,
    /// Probability of loss while bad.
    pub loss: f64,
}

/// A bottleneck with a drop-tail queue in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Speed in bits per second of frame bytes; 0 lets nothing through.
    pub bits_per_second: u64,
    /// Frames that wait or are being sent, at most.
    pub queue_frames: usize,
    /// Bytes of them, at most.
    pub queue_bytes: usize,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: None,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(1),
            corrupt: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            mtu: None,
        }
    }
}

/// What became of the frames so far. `offered + duplicated` is the sum of delivered, the drops and what is
/// still in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTotals {
    /// Frames that came in.
    pub offered: u64,
    /// Frames that came out.
    pub delivered: u64,
    /// Bytes in them.
    pub delivered_bytes: u64,
    /// Dropped: larger than the MTU.
    pub too_long: u64,
    /// Dropped: no room in the queue, or too much in flight.
    pub overflowed: u64,
    /// Dropped by chance.
    pub lost: u64,
    /// Delivered with a flipped bit.
    pub corrupted: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
}

/// One direction of a link.
pub struct Link {
    impairment: Impairment,
    medium: Medium,
    random: Streams,
    bad: bool,
    /// Frames that have not passed the bottleneck: when each will have, and its length.
    queue: VecDeque<(Instant, usize)>,
    queue_bytes: usize,
    in_flight: BinaryHeap<InFlight>,
    in_flight_bytes: usize,
    serial: u64,
    last_in_order: Instant,
    drift: Drift,
    totals: LinkTotals,
}

/// A random stream per kind of fate.
struct Streams {
    loss: Random,
    burst: Random,
    duplicate: Random,
    reorder: Random,
    corrupt: Random,
    jitter: Random,
}

/// The extra delay: a line from one random value to the next. An independent draw per frame would have to
/// be clamped to keep the order, which on a busy link makes every delay the longest one.
#[derive(Default)]
struct Drift {
    from: (Instant, Duration),
    to: (Instant, Duration),
}

struct InFlight {
    at: Instant,
    serial: u64,
    frame: Bytes,
}

impl Link {
    /// A link that repeats itself for the same `seed` and the same frames.
    #[must_use]
    pub fn new(impairment: Impairment, medium: Medium, seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        Self {
            impairment,
            medium,
            random: Streams {
                loss: random.fork(),
                burst: random.fork(),
                duplicate: random.fork(),
                reorder: random.fork(),
                corrupt: random.fork(),
                jitter: random.fork(),
            },
            bad: false,
            queue: VecDeque::new(),
            queue_bytes: 0,
            in_flight: BinaryHeap::new(),
            in_flight_bytes: 0,
            serial: 0,
            last_in_order: Instant::ZERO,
            drift: Drift::default(),
            totals: LinkTotals::default(),
        }
    }

    /// Changes what the link does from now on; frames in flight stay as they are.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// What the link does now.
    #[must_use]
    pub const fn impairment(&self) -> &Impairment {
        &self.impairment
    }

    /// What became of the frames so far.
    #[must_use]
    pub const fn totals(&self) -> LinkTotals {
        self.totals
    }

    /// A frame enters the link.
    pub fn offer(&mut self, now: Instant, frame: Bytes) {
        self.totals.offered += 1;
        // Every stream moves once per frame, whatever happens to it.
        let lost = chance(&mut self.random.loss, self.impairment.loss);
        let lost = self.lost_in_burst() || lost;
        let duplicate = chance(&mut self.random.duplicate, self.impairment.duplicate);
        let reorder = chance(&mut self.random.reorder, self.impairment.reorder);
        let corrupt = chance(&mut self.random.corrupt, self.impairment.corrupt);
        let flip = self.random.corrupt.next_u64();

        if self
            .impairment
            .mtu
            .is_some_and(|mtu| self.datagram_len(&frame) > mtu)
        {
            self.totals.too_long += 1;
            return;
        }
        let Some(sent_at) = self.pass_bottleneck(now, frame.len()) else {
            self.totals.overflowed += 1;
            return;
        };
        if lost {
            self.totals.lost += 1;
            return;
        }
        let frame = if corrupt {
            self.corrupted(frame, flip)
        } else {
            frame
        };
        if duplicate {
            self.totals.duplicated += 1;
            self.propagate(sent_at, frame.clone(), false);
        }
        self.propagate(sent_at, frame, reorder);
    }

    /// Appends the frames that have arrived by `now`.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        while self.in_flight.peek().is_some_and(|next| next.at <= now) {
            let Some(InFlight { frame, .. }) = self.in_flight.pop() else {
                break;
            };
            self.in_flight_bytes -= frame.len();
            self.totals.delivered += 1;
            self.totals.delivered_bytes += frame.len() as u64;
            out.push(frame);
        }
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.in_flight.peek().map(|next| next.at)
    }

    fn lost_in_burst(&mut self) -> bool {
        let random = &mut self.random.burst;
        let Some(burst) = self.impairment.burst else {
            self.bad = false;
            return false;
        };
        let turn = chance(random, if self.bad { burst.end } else { burst.begin });
        self.bad ^= turn;
        chance(random, burst.loss) && self.bad
    }

    /// When the last bit of the frame leaves the bottleneck; `None` if its queue is full.
    fn pass_bottleneck(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.impairment.rate else {
            return Some(now);
        };
        while let Some(&(_, sent)) = self.queue.front().filter(|(at, _)| *at <= now) {
            self.queue.pop_front();
            self.queue_bytes -= sent;
        }
        let full =
            self.queue.len() >= rate.queue_frames || self.queue_bytes + len > rate.queue_bytes;
        if full || rate.bits_per_second == 0 {
            return None;
        }
        let start = self.queue.back().map_or(now, |(at, _)| *at);
        let nanos = len as u128 * 8 * 1_000_000_000 / u128::from(rate.bits_per_second);
        let at = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.queue.push_back((at, len));
        self.queue_bytes += len;
        Some(at)
    }

    fn propagate(&mut self, sent_at: Instant, frame: Bytes, held_back: bool) {
        if self.in_flight_bytes + frame.len() > IN_FLIGHT_BYTES {
            self.totals.overflowed += 1;
            return;
        }
        let extra = self
            .drift
            .at(sent_at, self.impairment.jitter, &mut self.random.jitter);
        let mut at = (sent_at + self.impairment.delay + extra).max(self.last_in_order);
        if held_back {
            self.totals.reordered += 1;
            at += self.impairment.reorder_delay;
        } else {
            self.last_in_order = at;
        }
        self.in_flight_bytes += frame.len();
        self.serial += 1;
        self.in_flight.push(InFlight {
            at,
            serial: self.serial,
            frame,
        });
    }

    fn datagram_len(&self, frame: &[u8]) -> usize {
        match self.medium {
            Medium::Ip => frame.len(),
            Medium::Ethernet => frame.len() - link_len(frame).unwrap_or(0).min(frame.len()),
        }
    }

    /// Flips a bit that the receiver's checksum covers. A real wire's frame check covers the rest, ARP
    /// too: nothing above would notice if that were changed.
    fn corrupted(&mut self, frame: Bytes, flip: u64) -> Bytes {
        let network = match self.medium {
            Medium::Ip => Some(0),
            Medium::Ethernet => link_len(&frame)
                .filter(|at| matches!(frame.get(at - 2..*at), Some([0x08, 0x00] | [0x86, 0xdd]))),
        };
        let covered = network.and_then(|at| match frame.get(at)? >> 4 {
            4 => Some(at..frame.len().min(at + total_len(&frame[at..])?)),
            6 => Some(at + 40..frame.len()),
            _ => None,
        });
        let Some(covered) = covered.filter(|range| !range.is_empty()) else {
            return frame;
        };
        self.totals.corrupted += 1;
        let mut bytes = BytesMut::from(frame);
        let bit = flip % (covered.len() as u64 * 8);
        bytes[covered.start + (bit / 8) as usize] ^= 1 << (bit % 8);
        bytes.freeze()
    }
}

/// The length of an IPv4 datagram: what is behind it is padding.
fn total_len(datagram: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([
        *datagram.get(2)?,
        *datagram.get(3)?,
    ])))
}

/// True with probability `p`, and always one draw.
fn chance(random: &mut Random, p: f64) -> bool {
    // 53 bits are what a double holds exactly.
    let drawn = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    drawn < p
}

impl Drift {
    fn at(&mut self, now: Instant, jitter: Duration, random: &mut Random) -> Duration {
        if jitter.is_zero() {
            return Duration::ZERO;
        }
        let nanos = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
        // Twice the jitter apart, the line falls at most half as fast as time passes: order is kept.
        let step = jitter.saturating_mul(2);
        if now >= self.to.0 {
            let idle = now.since(self.to.0) >= step;
            self.from = if idle {
                (now, self.to.1.min(jitter))
            } else {
                self.to
            };
            self.to = (
                self.from.0 + step,
                Duration::from_nanos(random.below(nanos.saturating_add(1))),
            );
        }
        let part = now.since(self.from.0).as_secs_f64() / step.as_secs_f64();
        let (from, to) = (self.from.1.as_secs_f64(), self.to.1.as_secs_f64());
        Duration::from_secs_f64((from + (to - from) * part).clamp(0.0, jitter.as_secs_f64()))
    }
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    /// The earliest is the greatest, since the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

#[cfg(test)]
#[path = "impairment_tests.rs"]
mod tests;
