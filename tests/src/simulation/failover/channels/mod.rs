//! The network between the replicas, as their process sees it: datagrams that may be lost on every path,
//! and ordered channels that are reliable while they are connected, break, and come up again.
//!
//! The ordered channels of a pair ride on its first path. When a direction of that path is cut, or an end
//! does not answer, they stall, and break after a while; what was under way is lost then. A process that
//! ends closes its channels at once: the other end gets what was sent before, then the end.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::impairment::{Impairment, Link};
use outlive_driver::{Instant, Medium, Random};

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A datagram on the path of that number: 0 is the replication network, 1 the service network.
    Heartbeat(u8),
    /// Ordered and reliable while connected.
    Commit,
    /// The same, for what is large.
    Bulk,
}

/// What reaches a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message of the host of that number.
    Message(usize, Lane, Bytes),
    /// The ordered channels to that host came up, or broke.
    Connected(usize, bool),
}

/// How good this network is.
#[derive(Clone, Debug)]
pub struct Quality {
    /// What datagrams meet.
    pub heartbeats: Impairment,
    /// Delay of the ordered channels: at least, and how much more at most.
    pub delay: (Duration, Duration),
    /// How long a stalled channel lives.
    pub breaks_after: Duration,
    /// How long it takes to connect again.
    pub connects_after: Duration,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            heartbeats: Impairment {
                delay: Duration::from_micros(100),
                ..Impairment::default()
            },
            delay: (Duration::from_micros(100), Duration::ZERO),
            breaks_after: Duration::from_millis(300),
            connects_after: Duration::from_millis(5),
        }
    }
}

/// What a host is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It works.
    Works,
    /// Its process stands still; its kernel still takes what arrives.
    ProcessStopped,
    /// Nothing there answers.
    Gone,
    /// The process has ended; its kernel closed its channels.
    ProcessEnded,
}

struct Datagrams {
    link: Link,
    cut: bool,
}

/// One direction of one ordered channel.
#[derive(Default)]
struct Queue {
    messages: VecDeque<(Instant, Bytes)>,
    last: Instant,
}

/// One direction of a pair.
#[derive(Default)]
struct Direction {
    commit: Queue,
    bulk: Queue,
    /// What the receiving end is to be told about the channels, after all messages before it.
    notices: VecDeque<(Instant, bool)>,
    /// What it was told last.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be tried at that time.
    Down(Instant),
    Up,
    /// Stalled; breaks at that time.
    Stalled(Instant),
}

struct Pair {
    phase: Phase,
    /// Towards the lower and towards the higher host.
    directions: [Direction; 2],
}

/// The network between the replicas.
pub struct Channels {
    quality: Quality,
    presence: Vec<Presence>,
    datagrams: BTreeMap<(usize, usize, u8), Datagrams>,
    pairs: BTreeMap<(usize, usize), Pair>,
    random: Random,
    /// Messages and bytes handed to the ordered channels.
    pub carried: (u64, u64),
}

impl Channels {
    /// Between `hosts` hosts, over `paths` paths.
    #[must_use]
    pub fn new(hosts: usize, paths: u8, quality: Quality, random: &mut Random) -> Self {
        let mut channels = Self {
            presence: vec![Presence::ProcessEnded; hosts],
            datagrams: BTreeMap::new(),
            pairs: BTreeMap::new(),
            random: random.fork(),
            quality,
            carried: (0, 0),
        };
        for from in 0..hosts {
            for to in (0..hosts).filter(|&to| to != from) {
                for path in 0..paths {
                    channels.add_datagrams(from, to, path);
                }
            }
            for to in from + 1..hosts {
                let pair = Pair {
                    phase: Phase::Down(Instant::ZERO),
                    directions: Default::default(),
                };
                channels.pairs.insert((from, to), pair);
            }
        }
        channels
    }

    fn add_datagrams(&mut self, from: usize, to: usize, path: u8) {
        let impairment = self.quality.heartbeats.clone();
        let link = Link::new(impairment, Medium::Ip, self.random.next_u64());
        let datagrams = Datagrams { link, cut: false };
        self.datagrams.insert((from, to, path), datagrams);
    }

    /// Cuts or mends one direction of one path.
    pub fn cut(&mut self, from: usize, to: usize, path: u8, cut: bool) {
        if let Some(datagrams) = self.datagrams.get_mut(&(from, to, path)) {
            datagrams.cut = cut;
        }
    }

    /// Says what has become of a host.
    pub(super) fn set_presence(&mut self, now: Instant, host: usize, presence: Presence) {
        let Some(slot) = self.presence.get_mut(host) else {
            return;
        };
        *slot = presence;
        if presence != Presence::ProcessEnded {
            return;
        }
        let retry = now + self.quality.connects_after;
        for (&(low, high), pair) in &mut self.pairs {
            let Some(peer) = other_end(low, high, host) else {
                continue;
            };
            pair.direction(peer, host).forget();
            if pair.phase == (Phase::Down(Instant::ZERO)) {
                continue;
            }
            let towards_peer = pair.direction(host, peer);
            let end = towards_peer
                .commit
                .last
                .max(towards_peer.bulk.last)
                .max(now);
            if towards_peer.is_up() {
                towards_peer.notices.push_back((end, false));
            }
            pair.phase = Phase::Down(end.max(retry));
        }
    }

    /// A replica sends; what cannot be carried is lost.
    pub(super) fn send(
        &mut self,
        now: Instant,
        from: usize,
        to: usize,
        lane: Lane,
        message: Bytes,
    ) {
        if let Lane::Heartbeat(path) = lane {
            let datagrams = self.datagrams.get_mut(&(from, to, path));
            if let Some(datagrams) = datagrams.filter(|datagrams| !datagrams.cut) {
                datagrams.link.offer(now, message);
            }
            return;
        }
        let (least, more) = self.quality.delay;
        let jitter = Duration::from_nanos(self.random.below(more.as_nanos() as u64 + 1));
        let Some(pair) = self.pairs.get_mut(&(from.min(to), from.max(to))) else {
            return;
        };
        let connected = !matches!(pair.phase, Phase::Down(_)) && pair.direction(to, from).told;
        if !connected {
            return;
        }
        self.carried.0 += 1;
        self.carried.1 += message.len() as u64;
        let direction = pair.direction(from, to);
        let up_at = direction
            .notices
            .back()
            .map_or(Instant::ZERO, |&(at, _)| at);
        let queue = if lane == Lane::Commit {
            &mut direction.commit
        } else {
            &mut direction.bulk
        };
        queue.last = (now + least + jitter).max(queue.last).max(up_at);
        queue.messages.push_back((queue.last, message));
    }

    /// Appends what has arrived, with the host that it is for.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Arrival)>) {
        let mut scratch = Vec::new();
        for (&(from, to, path), datagrams) in &mut self.datagrams {
            datagrams.link.poll(now, &mut scratch);
            let hears = matches!(
                self.presence[to],
                Presence::Works | Presence::ProcessStopped
            );
            let arrivals = scratch.drain(..).filter(|_| hears);
            out.extend(
                arrivals.map(|bytes| (to, Arrival::Message(from, Lane::Heartbeat(path), bytes))),
            );
        }
        let keys: Vec<_> = self.pairs.keys().copied().collect();
        for (low, high) in keys {
            self.move_on(now, low, high);
            for (from, to) in [(low, high), (high, low)] {
                if self.passes(from, to) {
                    let pair = self.pairs.get_mut(&(low, high)).expect("a key of it");
                    pair.direction(from, to).deliver(now, from, to, out);
                }
            }
        }
    }

    /// True when what `from` sends on the first path reaches the kernel of `to`.
    fn passes(&self, from: usize, to: usize) -> bool {
        let cut = self.datagrams.get(&(from, to, 0)).is_none_or(|d| d.cut);
        !cut && matches!(
            self.presence[to],
            Presence::Works | Presence::ProcessStopped
        )
    }

    fn move_on(&mut self, now: Instant, low: usize, high: usize) {
        let both = [low, high].map(|host| self.presence[host]);
        let open =
            |host: &Self, from, to| host.datagrams.get(&(from, to, 0)).is_some_and(|d| !d.cut);
        let whole = open(self, low, high) && open(self, high, low);
        let answers = whole && both.iter().all(|&presence| presence != Presence::Gone);
        let (breaks, connects) = (self.quality.breaks_after, self.quality.connects_after);
        let slack = Duration::from_nanos(self.random.below(breaks.as_nanos() as u64 / 4 + 1));
        let pair = self.pairs.get_mut(&(low, high)).expect("a key of it");
        match pair.phase {
            Phase::Down(at) if at <= now => {
                let works = whole && both.iter().all(|&presence| presence == Presence::Works);
                if works {
                    pair.connect(now);
                } else {
                    pair.phase = Phase::Down(now + connects);
                }
            }
            Phase::Up if !answers => pair.phase = Phase::Stalled(now + breaks),
            Phase::Stalled(_) if answers => pair.phase = Phase::Up,
            Phase::Stalled(at) if at <= now => {
                for (direction, late) in pair.directions.iter_mut().zip([slack, Duration::ZERO]) {
                    direction.break_off(now + late);
                }
                pair.phase = Phase::Down(now + connects + slack);
            }
            _ => {}
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let datagrams = self.datagrams.values();
        let datagrams = datagrams.filter_map(|datagrams| datagrams.link.next_deadline());
        let pairs = self.pairs.iter().filter_map(|(&(low, high), pair)| {
            let phase = match pair.phase {
                Phase::Down(at) | Phase::Stalled(at) => Some(at),
                Phase::Up => None,
            };
            let ways = [
                (low, high, &pair.directions[1]),
                (high, low, &pair.directions[0]),
            ];
            let queued = ways
                .into_iter()
                .filter(|&(from, to, _)| self.passes(from, to));
            let queued = queued.filter_map(|(_, _, direction)| direction.next_deadline());
            queued.chain(phase).min()
        });
        datagrams.chain(pairs).min()
    }
}

fn other_end(low: usize, high: usize, host: usize) -> Option<usize> {
    match host {
        _ if host == low => Some(high),
        _ if host == high => Some(low),
        _ => None,
    }
}

impl Pair {
    fn direction(&mut self, from: usize, to: usize) -> &mut Direction {
        &mut self.directions[usize::from(to > from)]
    }

    fn connect(&mut self, now: Instant) {
        self.phase = Phase::Up;
        for direction in &mut self.directions {
            direction.commit = Queue::default();
            direction.bulk = Queue::default();
            let after = direction.notices.back().map_or(now, |&(at, _)| at.max(now));
            direction.notices.push_back((after, true));
        }
    }
}

impl Direction {
    /// True when the receiving end takes the channels for connected, or will.
    fn is_up(&self) -> bool {
        self.notices.back().map_or(self.told, |&(_, up)| up)
    }

    /// The receiving end is no more.
    fn forget(&mut self) {
        *self = Self::default();
    }

    fn break_off(&mut self, at: Instant) {
        self.commit.messages.clear();
        self.bulk.messages.clear();
        if self.is_up() {
            self.notices.push_back((at, false));
        }
    }

    fn deliver(&mut self, now: Instant, from: usize, to: usize, out: &mut Vec<(usize, Arrival)>) {
        loop {
            let lanes = [
                (Lane::Commit, &mut self.commit),
                (Lane::Bulk, &mut self.bulk),
            ];
            let notice = self.notices.front().copied().filter(|&(at, _)| at <= now);
            let first = lanes
                .into_iter()
                .filter_map(|(lane, queue)| Some((queue.messages.front()?.0, lane, queue)))
                .min_by_key(|&(at, lane, _)| (at, lane));
            let ready = first.filter(|&(at, ..)| at <= now);
            match (notice, ready) {
                // Channels come up before their messages, and end after them.
                (Some((at, up)), message)
                    if message
                        .as_ref()
                        .is_none_or(|m| at < m.0 || (up && at == m.0)) =>
                {
                    self.notices.pop_front();
                    self.told = up;
                    out.push((to, Arrival::Connected(from, up)));
                }
                (_, Some((_, lane, queue))) => {
                    let (_, bytes) = queue.messages.pop_front().expect("it was looked at");
                    out.push((to, Arrival::Message(from, lane, bytes)));
                }
                _ => return,
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let queues = [&self.commit, &self.bulk];
        let messages = queues
            .into_iter()
            .filter_map(|queue| queue.messages.front());
        let messages = messages.map(|&(at, _)| at);
        let notices = self.notices.front().map(|&(at, _)| at);
        messages.chain(notices).min()
    }
}
