//! The harness: hosts with clocks of their own, a bad network between them, and what must always hold.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;

use super::super::*;
use crate::random::Random;
use crate::replication::view::{HostId, HostSet, View};
use crate::time::Instant;

/// Granularity of virtual time.
pub(super) const STEP: Duration = Duration::from_micros(100);
pub(super) const PATHS: u8 = 2;

pub(super) struct Node {
    pub(super) config: Config,
    pub(super) membership: Option<Membership>,
    pub(super) stored: Durable,
    queue: Queue,
    /// What the disk is busy with, and until when.
    writing: Option<(Instant, Durable)>,
    pub(super) paused: bool,
    deadline: Instant,
    lives: u64,
    clock_offset: Duration,
    clock_ppm: i64,
    /// How much of the clients' input this host has, if it has all from the beginning.
    pub(super) copy: Option<u64>,
    pub(super) views: Vec<View>,
    pub(super) fences: Vec<HostId>,
    pub(super) clocks: Vec<(HostId, i64, Duration)>,
}

impl Node {
    pub(super) fn local(&self, now: Instant) -> Instant {
        let nanos = i128::from(now.as_nanos());
        let drift = nanos * i128::from(self.clock_ppm) / 1_000_000;
        Instant::from_nanos((nanos + drift) as u64) + self.clock_offset
    }

    pub(super) fn is_primary(&self) -> bool {
        self.membership.as_ref().is_some_and(Membership::is_primary)
    }
}

pub(super) struct Cluster {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    in_flight: BTreeMap<(Instant, u64), (HostId, HostId, PathId, BytesMut)>,
    sequence: u64,
    pub(super) random: Random,
    /// One in so many is lost; 0 for none.
    pub(super) loss: u64,
    pub(super) max_delay: Duration,
    /// The longest that a disk takes; zero for one that takes no time.
    pub(super) slowest_write: Duration,
    /// Links that carry nothing: from, to.
    pub(super) cut: Vec<(HostId, HostId)>,
    /// Input that a client was told is safe.
    pub(super) acknowledged: u64,
    /// The harness brings a host that came back up to date by itself.
    pub(super) rejoin: bool,
    /// There is input to take.
    pub(super) clients: bool,
    pub(super) sent: u64,
    /// All that were ever accepted, by epoch.
    ballots: BTreeMap<Epoch, Ballot>,
}

impl Cluster {
    pub(super) fn new(seed: u64, arbitration: Arbitration, change: impl Fn(&mut Config)) -> Self {
        let mut random = Random::from_seed(seed);
        let hosts = match arbitration {
            Arbitration::Witness => 3,
            Arbitration::Fence | Arbitration::UnsafePair => 2,
            Arbitration::Alone => 1,
        };
        let nodes = (0..hosts).map(|me| {
            let me = HostId(me);
            let mut config = Config::new(me, arbitration, Incarnation(1));
            for other in (0..hosts).map(HostId).filter(|&other| other != me) {
                for path in 0..PATHS {
                    config = config.with_link(other, PathId(path));
                }
            }
            change(&mut config);
            Node {
                config,
                membership: None,
                stored: Durable::default(),
                queue: Queue::new(&Durable::default()),
                writing: None,
                paused: false,
                deadline: Instant::ZERO,
                lives: 0,
                clock_offset: Duration::from_millis(random.below(1_000_000)),
                clock_ppm: random.below(1_001) as i64 - 500,
                copy: None,
                views: Vec::new(),
                fences: Vec::new(),
                clocks: Vec::new(),
            }
        });
        Self {
            now: Instant::from_millis(1),
            nodes: nodes.collect(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            random,
            loss: 0,
            max_delay: Duration::from_micros(300),
            slowest_write: Duration::ZERO,
            cut: Vec::new(),
            acknowledged: 0,
            rejoin: true,
            clients: arbitration != Arbitration::Alone,
            sent: 0,
            ballots: BTreeMap::new(),
        }
    }

    /// Three hosts that run, with host 0 primary and host 1 in sync.
    pub(super) fn serving(seed: u64, arbitration: Arbitration) -> Self {
        let mut cluster = Self::new(seed, arbitration, |_| {});
        cluster.start_all();
        let ready = cluster.run_until(Duration::from_secs(2), |c| {
            c.holder() == Some(HostId(0))
                && c.nodes.iter().all(|n| {
                    n.views
                        .last()
                        .is_some_and(|v| v.in_sync == HostSet::SERVERS)
                })
        });
        assert!(ready.is_some(), "no service: {:?}", cluster.nodes[0].views);
        cluster
    }

    pub(super) fn node(&mut self, host: u8) -> &mut Node {
        &mut self.nodes[usize::from(host)]
    }

    pub(super) fn start_all(&mut self) {
        for host in 0..self.nodes.len() as u8 {
            self.start(host);
        }
    }

    pub(super) fn start(&mut self, host: u8) {
        let now = self.now;
        // Sessions of the link end with the process.
        self.in_flight.retain(|_, (_, to, _, _)| to.0 != host);
        let node = self.node(host);
        node.lives += 1;
        node.config.incarnation = Incarnation(u64::from(host) * 1_000 + node.lives);
        node.membership = Some(Membership::new(
            node.config.clone(),
            node.stored,
            node.local(now),
        ));
        node.queue = Queue::new(&node.stored);
        node.copy = None;
        node.views.clear();
        node.paused = false;
        node.deadline = Instant::ZERO;
    }

    pub(super) fn kill(&mut self, host: u8) {
        let node = self.node(host);
        (node.membership, node.writing, node.copy) = (None, None, None);
        self.in_flight.retain(|_, (from, _, _, _)| from.0 != host);
    }

    pub(super) fn isolate(&mut self, a: u8, b: u8) {
        self.cut.push((HostId(a), HostId(b)));
        self.cut.push((HostId(b), HostId(a)));
    }

    /// Who may send right now; never two.
    pub(super) fn holder(&self) -> Option<HostId> {
        let mut holders = self.nodes.iter().filter(|node| {
            let valid = |m: &Membership| m.lease().is_valid(node.local(self.now));
            node.membership.as_ref().is_some_and(valid)
        });
        let holder = holders.next().map(|node| node.config.me);
        assert!(
            holders.next().is_none(),
            "two valid leases at {:?}",
            self.now
        );
        holder
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// How long until `condition` held.
    pub(super) fn run_until(
        &mut self,
        at_most: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while self.now < start + at_most {
            if condition(self) {
                return Some(self.now.since(start));
            }
            self.step();
        }
        None
    }

    fn step(&mut self) {
        self.now += STEP;
        while let Some(entry) = self.in_flight.first_entry() {
            let (at, _) = *entry.key();
            if at > self.now {
                break;
            }
            let (from, to, path, bytes) = entry.remove();
            self.deliver(from, to, path, bytes);
        }
        for host in 0..self.nodes.len() as u8 {
            let now = self.now;
            let node = self.node(host);
            let written = node.writing.take_if(|(at, _)| !node.paused && *at <= now);
            if !node.paused && node.deadline <= node.local(now) {
                self.poll(host);
            }
            if let Some((_, durable)) = written {
                self.written(HostId(host), durable);
            }
        }
        self.holder();
        self.serve();
    }

    fn deliver(&mut self, from: HostId, to: HostId, path: PathId, bytes: BytesMut) {
        let now = self.now;
        let node = self.node(to.0);
        if node.paused {
            // It waits in the socket.
            let later = now + Duration::from_millis(1);
            self.sequence += 1;
            let key = (later, self.sequence);
            self.in_flight.insert(key, (from, to, path, bytes));
            return;
        }
        let local = node.local(now);
        if let Some(membership) = &mut node.membership {
            let message = Message::decode(&bytes).expect("what was encoded is decoded");
            membership.receive(local, from, path, &message);
            self.poll(to.0);
        }
    }

    /// Polls one host and does what it wants, in order.
    pub(super) fn poll(&mut self, host: u8) {
        let now = self.now;
        let node = self.node(host);
        let local = node.local(now);
        let Some(membership) = &mut node.membership else {
            return;
        };
        let mut outputs = Vec::new();
        membership.poll(local, &mut outputs);
        if !membership.is_primary() {
            // It names an earlier life of this host.
            outputs.retain(|it| !matches!(it, Output::View(view) if view.primary.0 == host));
        }
        for output in outputs {
            if let Some(output) = self.node(host).queue.admit(output) {
                self.perform(HostId(host), output);
            }
        }
        let node = self.node(host);
        if let Some(membership) = &node.membership {
            node.deadline = membership.next_deadline(local);
            assert!(node.deadline > local, "a deadline in the past");
        }
    }

    fn perform(&mut self, me: HostId, output: Output) {
        match output {
            Output::Persist(durable) => {
                let slowest = self.slowest_write.as_nanos() as u64;
                if slowest == 0 {
                    return self.store(me, durable);
                }
                let at = self.now + Duration::from_nanos(self.random.below(slowest));
                self.node(me.0).writing = Some((at, durable));
                self.node(me.0).queue.storing();
            }
            Output::Send { to, path, message } => self.transmit(me, to, path, &message),
            Output::Lease(term) => term.apply(),
            Output::View(view) => self.enter(me, view),
            Output::Fence(host) => self.node(me.0).fences.push(host),
            Output::Clock {
                host,
                offset_ns,
                round_trip,
            } => self.node(me.0).clocks.push((host, offset_ns, round_trip)),
            Output::Up(_) | Output::Down(_) | Output::Path { .. } | Output::Restarted(_) => {}
        }
    }

    fn store(&mut self, me: HostId, durable: Durable) {
        let mut bytes = BytesMut::new();
        durable.encode(&mut bytes);
        let stored = Durable::decode(&bytes).expect("what was stored is read");
        self.ballots.insert(stored.newest.epoch(), stored.newest);
        self.node(me.0).stored = stored;
    }

    /// A disk is through with it: what waited for it follows.
    fn written(&mut self, me: HostId, durable: Durable) {
        self.store(me, durable);
        self.node(me.0).queue.stored();
        while let Some(output) = self.node(me.0).queue.due() {
            self.perform(me, output);
        }
    }

    fn transmit(&mut self, from: HostId, to: HostId, path: PathId, message: &Message) {
        self.sent += 1;
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        let copies = 1 + u8::from(self.random.chance(1, 50));
        for _ in 0..copies {
            let lost = self.loss > 0 && self.random.chance(1, self.loss);
            if lost || self.cut.contains(&(from, to)) {
                continue;
            }
            let delay = self.random.below(self.max_delay.as_nanos() as u64);
            let straggles = self.loss > 0 && self.random.chance(1, 100);
            let extra = if straggles { 60_000_000 } else { 0 };
            self.sequence += 1;
            let at = self.now + Duration::from_nanos(delay + extra);
            let datagram = (from, to, path, bytes.clone());
            self.in_flight.insert((at, self.sequence), datagram);
        }
    }

    /// A host learns of a view: if it is the new primary, it must have every acknowledged byte, or nobody has.
    fn enter(&mut self, me: HostId, view: View) {
        let was = self.nodes[usize::from(me.0)].views.last().copied();
        let acknowledged = self.acknowledged;
        let now = self.now;
        let node = self.node(me.0);
        if let Some(last) = was {
            assert!(last.epoch < view.epoch, "views go back");
        }
        node.views.push(view);
        if !node.is_primary() {
            if !view.in_sync.contains(me) {
                node.copy = None;
            }
            return;
        }
        if node.copy == Some(acknowledged) {
            return;
        }
        // It starts afresh: legal only when all copies that the view before names are gone.
        let base = node.stored.newest.base;
        let named = self.ballots.get(&base).copied().unwrap_or_default();
        let holder = self.nodes.iter().find(|node| {
            let alive = node.membership.is_some() && node.copy == Some(acknowledged);
            alive && named.has_copy(node.config.me, node.config.incarnation)
        });
        assert!(
            acknowledged == 0 || holder.is_none(),
            "{me} became primary of {view} at {now:?} with less than {acknowledged}"
        );
        self.acknowledged = 0;
        self.node(me.0).copy = Some(0);
    }

    /// The primary takes one more byte, commits and acknowledges it; and takes its peer in.
    fn serve(&mut self) {
        let Some(me) = self.holder().filter(|_| self.clients) else {
            return;
        };
        let node = &self.nodes[usize::from(me.0)];
        let Some(membership) = node.membership.as_ref().filter(|_| !node.paused) else {
            return;
        };
        let peer = node.config.peer();
        // What is decided and still being stored is not acted upon.
        let Some(view) = node.views.last().copied() else {
            return;
        };
        let needed = membership.commit_to().union(view.in_sync);
        let epoch = view.epoch;
        let up = membership.is_up(peer);
        if needed.contains(peer) {
            if self.commits(me, peer, epoch) {
                self.acknowledged += 1;
                self.node(peer.0).copy = Some(self.acknowledged);
            }
        } else {
            self.acknowledged += 1;
            let knows = self.nodes[usize::from(peer.0)].views.last() == Some(&view);
            if self.rejoin && up && knows && self.reachable(me, peer) {
                self.node(peer.0).copy = Some(self.acknowledged);
                let now = self.now;
                let node = self.node(me.0);
                let local = node.local(now);
                node.membership.as_mut().unwrap().propose_join(local, peer);
                self.node(me.0).copy = Some(self.acknowledged);
                self.poll(me.0);
            }
        }
        let acknowledged = self.acknowledged;
        if self.holder() == Some(me) {
            self.node(me.0).copy = Some(acknowledged);
        }
    }

    fn reachable(&self, a: HostId, b: HostId) -> bool {
        let node = &self.nodes[usize::from(b.0)];
        node.membership.is_some()
            && !node.paused
            && !self.cut.contains(&(a, b))
            && !self.cut.contains(&(b, a))
    }

    /// The backup takes an entry: it has all before, and knows of nothing newer than the entry's epoch.
    fn commits(&self, me: HostId, peer: HostId, epoch: Epoch) -> bool {
        let node = &self.nodes[usize::from(peer.0)];
        let newer = node
            .membership
            .as_ref()
            .is_some_and(|m| m.view().epoch > epoch);
        self.reachable(me, peer)
            && !newer
            && !node.is_primary()
            && node.copy == Some(self.acknowledged)
    }
}
