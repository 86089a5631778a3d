//! Who is where on the link: the neighbour cache (RFC 826, RFC 1122 §2.3.2).
//!
//! An entry comes into being when we send to somebody, or when somebody asks for us; never by what others
//! tell each other. An answer is believed for a while, then checked by unicast while it is still used, so
//! that traffic never waits for a neighbour that is still there. All memory is bounded: entries,
//! acquaintances (who asked for us and got nothing else yet), packets that wait, questions per second.
//!
//! Plain state: what to ask is left in [`Neighbours::take_questions`].

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use super::rate::Rate;
use super::{NeighbourLimits, TxPacket};
use crate::keyed::Keyed;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

/// A question to be put on the link: who has `target`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) target: Ipv4Addr,
    /// To whom it was known to belong, or to all.
    pub(super) station: Option<MacAddr>,
}

/// Why an address came with a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// In a packet for us: an answer, or a question about us.
    Us,
    /// In passing: counts only for those we know or ask for.
    Everybody,
}

/// What happened to a packet.
#[derive(Debug)]
pub(super) enum Sent {
    /// The station it goes to.
    To(MacAddr, TxPacket),
    /// It waits; this many others were dropped to make room.
    Waits { dropped: usize },
    /// The neighbour does not answer.
    Unreachable(TxPacket),
}

#[derive(Debug)]
enum State {
    /// Asked for; packets wait.
    Asking {
        waiting: VecDeque<TxPacket>,
        questions: u32,
    },
    /// Known.
    Known {
        mac: MacAddr,
        confirmed_at: Instant,
        /// Questions since the answer grew old.
        questions: u32,
    },
    /// Did not answer.
    Unreachable { until: Instant },
}

#[derive(Debug)]
struct Neighbour {
    state: State,
    /// When a packet last went there; zero if it only asked for us.
    used_at: Instant,
    /// The time in the queue of timers that counts; others are stale.
    timer: Option<Instant>,
}

/// The neighbour cache.
#[derive(Debug)]
pub(super) struct Neighbours {
    limits: NeighbourLimits,
    entries: HashMap<Ipv4Addr, Neighbour, Keyed>,
    /// Who asked for us and was not sent to since, oldest first; may name others.
    acquaintances: VecDeque<Ipv4Addr>,
    /// All timers run equally long, so that they end in the order they began.
    timers: VecDeque<(Instant, Ipv4Addr)>,
    waiting: usize,
    questions: Vec<Question>,
    unreachable: Vec<Ipv4Addr>,
    rate: Rate,
    evicted: u64,
}

impl Neighbours {
    pub(super) fn new(limits: NeighbourLimits, keyed: Keyed) -> Self {
        Self {
            rate: Rate::new(limits.questions_per_second),
            entries: HashMap::with_hasher(keyed),
            acquaintances: VecDeque::new(),
            timers: VecDeque::new(),
            waiting: 0,
            questions: Vec::new(),
            unreachable: Vec::new(),
            evicted: 0,
            limits,
        }
    }

    /// Finds the station for `packet`, or lets it wait.
    pub(super) fn send(&mut self, now: Instant, target: Ipv4Addr, packet: TxPacket) -> Sent {
        let Some(neighbour) = self.entries.get_mut(&target) else {
            return self.begin(now, target, packet);
        };
        neighbour.used_at = now;
        match &mut neighbour.state {
            State::Known {
                mac,
                confirmed_at,
                questions,
            } => {
                let mac = *mac;
                let old = now.since(*confirmed_at) >= self.limits.believe_for;
                if old && neighbour.timer.is_none() {
                    *questions = 1;
                    self.ask(now, target, Some(mac));
                }
                Sent::To(mac, packet)
            }
            State::Asking { waiting, .. } => {
                waiting.push_back(packet);
                self.waiting += 1;
                let mut dropped = 0;
                if waiting.len() > self.limits.packets_per_neighbour {
                    // The latest is kept (RFC 1122 §2.3.2.2): it is the one most likely still wanted.
                    waiting.pop_front();
                    self.waiting -= 1;
                    dropped = 1;
                }
                Sent::Waits {
                    dropped: dropped + self.shed(target),
                }
            }
            State::Unreachable { until } if *until > now => Sent::Unreachable(packet),
            State::Unreachable { .. } => self.begin(now, target, packet),
        }
    }

    /// Begins to ask for a neighbour of whom nothing is known.
    fn begin(&mut self, now: Instant, target: Ipv4Addr, packet: TxPacket) -> Sent {
        let mut dropped = self.make_room(target);
        let neighbour = Neighbour {
            state: State::Asking {
                waiting: VecDeque::from([packet]),
                questions: 1,
            },
            used_at: now,
            timer: None,
        };
        self.entries.insert(target, neighbour);
        self.waiting += 1;
        self.ask(now, target, None);
        dropped += self.shed(target);
        Sent::Waits { dropped }
    }

    /// Puts a question, unless there were too many, and sets the timer in any case.
    fn ask(&mut self, now: Instant, target: Ipv4Addr, station: Option<MacAddr>) {
        if self.rate.allow(now) {
            self.questions.push(Question { target, station });
        }
        let at = now + self.limits.ask_every;
        if let Some(neighbour) = self.entries.get_mut(&target) {
            neighbour.timer = Some(at);
        }
        self.timers.push_back((at, target));
        if self.timers.len() > 2 * self.limits.entries {
            let entries = &self.entries;
            self.timers
                .retain(|(at, target)| entries.get(target).is_some_and(|n| n.timer == Some(*at)));
        }
    }

    /// Keeps the number of waiting packets within its limit, at the cost of `newcomer`.
    fn shed(&mut self, newcomer: Ipv4Addr) -> usize {
        let mut dropped = 0;
        while self.waiting > self.limits.packets {
            let Some(Neighbour {
                state: State::Asking { waiting, .. },
                ..
            }) = self.entries.get_mut(&newcomer)
            else {
                break;
            };
            if waiting.pop_front().is_none() {
                break;
            }
            self.waiting -= 1;
            dropped += 1;
        }
        dropped
    }

    /// Makes room for `newcomer`; returns how many packets waited for those that had to go.
    fn make_room(&mut self, newcomer: Ipv4Addr) -> usize {
        let mut dropped = 0;
        while self.entries.len() >= self.limits.entries && !self.entries.contains_key(&newcomer) {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(_, neighbour)| neighbour.used_at)
                .map(|(&address, _)| address);
            let Some(oldest) = oldest else { break };
            dropped += self.remove(oldest);
            self.evicted += 1;
        }
        dropped
    }

    /// Forgets a neighbour; returns how many packets waited for it.
    fn remove(&mut self, address: Ipv4Addr) -> usize {
        match self
            .entries
            .remove(&address)
            .map(|neighbour| neighbour.state)
        {
            Some(State::Asking { waiting, .. }) => {
                self.waiting -= waiting.len();
                waiting.len()
            }
            _ => 0,
        }
    }

    /// Learns that `address` is at `mac`; returns the packets that waited for that.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        address: Ipv4Addr,
        mac: MacAddr,
        told: Told,
    ) -> VecDeque<TxPacket> {
        let known = State::Known {
            mac,
            confirmed_at: now,
            questions: 0,
        };
        match (self.entries.get_mut(&address), told) {
            (Some(neighbour), _) => {
                neighbour.timer = None;
                match std::mem::replace(&mut neighbour.state, known) {
                    State::Asking { waiting, .. } => {
                        self.waiting -= waiting.len();
                        waiting
                    }
                    _ => VecDeque::new(),
                }
            }
            (None, Told::Us) => {
                self.meet(address, known);
                VecDeque::new()
            }
            (None, Told::Everybody) => VecDeque::new(),
        }
    }

    /// Remembers somebody who asked for us, in a place that only such others compete for.
    fn meet(&mut self, address: Ipv4Addr, known: State) {
        while self.acquaintances.len() >= self.limits.acquaintances {
            let Some(oldest) = self.acquaintances.pop_front() else {
                return;
            };
            let unused = |neighbour: &Neighbour| neighbour.used_at == Instant::ZERO;
            if self.entries.get(&oldest).is_some_and(unused) {
                self.remove(oldest);
                self.evicted += 1;
            }
        }
        if self.entries.len() >= self.limits.entries {
            return;
        }
        self.acquaintances.push_back(address);
        self.entries.insert(
            address,
            Neighbour {
                state: known,
                used_at: Instant::ZERO,
                timer: None,
            },
        );
    }

    /// Asks again, and gives up those that never answered; returns how many packets that cost.
    pub(super) fn poll(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        while self.timers.front().is_some_and(|&(at, _)| at <= now) {
            let Some((at, target)) = self.timers.pop_front() else {
                break;
            };
            let Some(neighbour) = self.entries.get_mut(&target) else {
                continue;
            };
            if neighbour.timer != Some(at) {
                continue;
            }
            neighbour.timer = None;
            let (questions, station) = match &mut neighbour.state {
                State::Asking { questions, .. } => (questions, None),
                State::Known { mac, questions, .. } => (questions, Some(*mac)),
                State::Unreachable { .. } => continue,
            };
            if *questions < self.limits.questions {
                *questions += 1;
                self.ask(now, target, station);
                continue;
            }
            dropped += self.give_up(now, target);
        }
        dropped
    }

    fn give_up(&mut self, now: Instant, target: Ipv4Addr) -> usize {
        let Some(neighbour) = self.entries.get_mut(&target) else {
            return 0;
        };
        let until = now + self.limits.give_up_for;
        match std::mem::replace(&mut neighbour.state, State::Unreachable { until }) {
            State::Asking { waiting, .. } => {
                self.unreachable.push(target);
                self.waiting -= waiting.len();
                waiting.len()
            }
            // It was there once: the next packet asks all stations, in case it moved.
            _ => {
                self.entries.remove(&target);
                0
            }
        }
    }

    /// When [`Neighbours::poll`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.front().map(|&(at, _)| at)
    }

    /// The questions to be put on the link since the last call.
    pub(super) fn take_questions(&mut self, into: &mut Vec<Question>) {
        into.append(&mut self.questions);
    }

    /// Neighbours found unreachable since the last call.
    pub(super) fn take_unreachable(&mut self) -> Vec<Ipv4Addr> {
        std::mem::take(&mut self.unreachable)
    }

    /// Entries dropped for lack of room since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Entries, timers, waiting packets.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let waiting = |neighbour: &Neighbour| match &neighbour.state {
            State::Asking { waiting, .. } => waiting.len(),
            _ => 0,
        };
        let waiting = self.entries.values().map(waiting).sum();
        assert_eq!(waiting, self.waiting);
        (self.entries.len(), self.timers.len(), waiting)
    }

    /// The station of a neighbour, if it is known.
    pub(super) fn get(&self, address: Ipv4Addr) -> Option<MacAddr> {
        match self.entries.get(&address)?.state {
            State::Known { mac, .. } => Some(mac),
            _ => None,
        }
    }
}
