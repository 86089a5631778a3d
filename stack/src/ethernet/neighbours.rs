//! Who is where on the link: the neighbour cache of both families (RFC 826, RFC 1122 §2.3.2; RFC 4861 §5
//! and §7).
//!
//! An entry comes into being when we send to somebody, or when somebody asks for us; never by what others
//! tell each other. An answer is believed for a while, then checked by unicast while it is still used, so
//! that traffic never waits for a neighbour that is still there. All memory is bounded: entries,
//! acquaintances (who asked for us and got nothing else yet), packets that wait, questions per second.
//!
//! In the words of RFC 4861 §7.3.2 an entry is INCOMPLETE while it is asked for, REACHABLE while its answer is
//! believed, STALE after that; once used then it is in DELAY until its timer ends (at once in IPv4) and in
//! PROBE while questions are put to it. Left out: hints from TCP that it makes progress (§7.3.1).
//!
//! Plain state: what to ask is left in [`Neighbours::take_questions`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::rate::Rate;
use super::{NeighbourLimits, TxPacket};
use crate::keyed::Keyed;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

/// The most that a router may say (RFC 4861 §6.2.1).
const MAX_REACHABLE: Duration = Duration::from_secs(3600);
const MIN_ASK: Duration = Duration::from_millis(100);
const MAX_ASK: Duration = Duration::from_secs(60);

/// A question to be put on the link: who has `target`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) target: IpAddr,
    /// To whom it was known to belong, or to all.
    pub(super) station: Option<MacAddr>,
}

/// How an address came with a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// In a packet for us: then even a stranger is remembered. Otherwise it counts only for those we know
    /// or ask for.
    pub(super) to_us: bool,
    /// As an answer to us, which shows that our packets arrive (RFC 4861 §7.3.1). ARP cannot tell, and is
    /// believed.
    pub(super) confirms: bool,
    /// It may replace another station.
    pub(super) overrides: bool,
}

impl Told {
    /// By ARP: an answer to us, or a question about us.
    pub(super) const US: Self = Self {
        to_us: true,
        confirms: true,
        overrides: true,
    };
    /// By ARP, in passing.
    pub(super) const EVERYBODY: Self = Self {
        to_us: false,
        ..Self::US
    };
    /// By a solicitation or a router (RFC 4861 §7.2.3, §6.3.4).
    pub(super) const IN_PASSING: Self = Self {
        confirms: false,
        ..Self::US
    };
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
        /// Until when it is believed; over at once for what was not confirmed.
        fresh_until: Instant,
        /// Questions since it was believed.
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
    entries: HashMap<IpAddr, Neighbour, Keyed>,
    /// Who asked for us and was not sent to since, oldest first; may name others.
    acquaintances: VecDeque<IpAddr>,
    /// The earliest first.
    timers: BinaryHeap<Reverse<(Instant, IpAddr)>>,
    waiting: usize,
    questions: Vec<Question>,
    unreachable: Vec<IpAddr>,
    rate: Rate,
    evicted: u64,
}

impl Neighbours {
    pub(super) fn new(limits: NeighbourLimits, keyed: Keyed) -> Self {
        Self {
            rate: Rate::new(limits.questions_per_second),
            entries: HashMap::with_hasher(keyed),
            acquaintances: VecDeque::new(),
            timers: BinaryHeap::new(),
            waiting: 0,
            questions: Vec::new(),
            unreachable: Vec::new(),
            evicted: 0,
            limits,
        }
    }

    /// Finds the station for `packet`, or lets it wait.
    pub(super) fn send(&mut self, now: Instant, target: IpAddr, packet: TxPacket) -> Sent {
        let Some(neighbour) = self.entries.get_mut(&target) else {
            return self.begin(now, target, packet);
        };
        neighbour.used_at = now;
        match &mut neighbour.state {
            State::Known {
                mac,
                fresh_until,
                questions,
            } => {
                let mac = *mac;
                let stale = *fresh_until <= now;
                if stale && neighbour.timer.is_none() {
                    *questions = u32::from(target.is_ipv4());
                    match target {
                        IpAddr::V4(_) => self.ask(now, target, Some(mac)),
                        // Perhaps the neighbour speaks first (RFC 4861 §7.3.3).
                        IpAddr::V6(_) => self.start_timer(now + self.limits.delay_probe, target),
                    }
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
    fn begin(&mut self, now: Instant, target: IpAddr, packet: TxPacket) -> Sent {
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
    fn ask(&mut self, now: Instant, target: IpAddr, station: Option<MacAddr>) {
        if self.rate.allow(now) {
            self.questions.push(Question { target, station });
        }
        self.start_timer(now + self.limits.ask_every, target);
    }

    fn start_timer(&mut self, at: Instant, target: IpAddr) {
        if let Some(neighbour) = self.entries.get_mut(&target) {
            neighbour.timer = Some(at);
        }
        self.timers.push(Reverse((at, target)));
        if self.timers.len() > 2 * self.limits.entries {
            let entries = &self.entries;
            self.timers.retain(|Reverse((at, target))| {
                entries.get(target).is_some_and(|n| n.timer == Some(*at))
            });
        }
    }

    /// Keeps the number of waiting packets within its limit, at the cost of `newcomer`.
    fn shed(&mut self, newcomer: IpAddr) -> usize {
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
    fn make_room(&mut self, newcomer: IpAddr) -> usize {
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
    fn remove(&mut self, address: IpAddr) -> usize {
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

    /// Learns that `address` is at `mac`, or without one, that it is where it was (RFC 4861 §7.2.5); returns
    /// the packets that waited for that.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: Option<MacAddr>,
        told: Told,
    ) -> VecDeque<TxPacket> {
        let believed_until = now + self.believe_for(address);
        let known = |mac| State::Known {
            mac,
            fresh_until: if told.confirms { believed_until } else { now },
            questions: 0,
        };
        let Some(neighbour) = self.entries.get_mut(&address) else {
            if let Some(mac) = mac.filter(|_| told.to_us) {
                self.meet(address, known(mac));
            }
            return VecDeque::new();
        };
        if let State::Known {
            mac: present,
            fresh_until,
            ..
        } = &mut neighbour.state
        {
            let moved = mac.is_some_and(|mac| mac != *present);
            if moved && !told.overrides {
                // Two stations say different things: whoever is right, this has to be asked (§7.2.5).
                *fresh_until = (*fresh_until).min(now);
            } else if moved || told.confirms {
                neighbour.state = known(mac.unwrap_or(*present));
                neighbour.timer = None;
            }
            return VecDeque::new();
        }
        let Some(mac) = mac else {
            return VecDeque::new();
        };
        neighbour.timer = None;
        match std::mem::replace(&mut neighbour.state, known(mac)) {
            State::Asking { waiting, .. } => {
                self.waiting -= waiting.len();
                waiting
            }
            _ => VecDeque::new(),
        }
    }

    const fn believe_for(&self, address: IpAddr) -> Duration {
        match address {
            IpAddr::V4(_) => self.limits.believe_for,
            IpAddr::V6(_) => self.limits.reachable_for,
        }
    }

    /// What a router says about time on this link (RFC 4861 §6.3.4), within reason: no longer than it lets
    /// routers say, and no question more often than ten times a second.
    pub(super) fn set_times(&mut self, reachable: Option<Duration>, ask: Option<Duration>) {
        if let Some(reachable) = reachable {
            self.limits.reachable_for = reachable.min(MAX_REACHABLE);
        }
        if let Some(ask) = ask {
            self.limits.ask_every = ask.clamp(MIN_ASK, MAX_ASK);
        }
    }

    /// Remembers somebody who asked for us, in a place that only such others compete for.
    fn meet(&mut self, address: IpAddr, known: State) {
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
        while self.next_deadline().is_some_and(|at| at <= now) {
            let Some(Reverse((at, target))) = self.timers.pop() else {
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

    fn give_up(&mut self, now: Instant, target: IpAddr) -> usize {
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

    /// Drops all packets that wait: how many. The questions go on.
    pub(super) fn drop_waiting(&mut self) -> usize {
        for neighbour in self.entries.values_mut() {
            if let State::Asking { waiting, .. } = &mut neighbour.state {
                waiting.clear();
            }
        }
        std::mem::take(&mut self.waiting)
    }

    /// When [`Neighbours::poll`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// The questions to be put on the link since the last call.
    pub(super) fn take_questions(&mut self, into: &mut Vec<Question>) {
        into.append(&mut self.questions);
    }

    /// Neighbours found unreachable since the last call.
    pub(super) fn take_unreachable(&mut self) -> Vec<IpAddr> {
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
    pub(super) fn get(&self, address: IpAddr) -> Option<MacAddr> {
        match self.entries.get(&address)?.state {
            State::Known { mac, .. } => Some(mac),
            _ => None,
        }
    }
}
