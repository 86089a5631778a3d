//! A network in virtual time: hosts on one Ethernet, an impaired link for every ordered pair of them, and
//! one clock. Nothing happens but by events in the order of their time, so a seed replays exactly.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::impairment::{Impairment, Link};
use outlive_driver::memory::received;
use outlive_driver::{Instant, Medium, Random, RxFrame, TxFrame};

use super::node::Node;
use super::offload::wire_frames;
use super::tasks::{Clock, Spawner, Tasks};
use super::watcher::{Sender, Watcher};
use crate::decode::{Decoded, decode};

/// Frames that wait for a frozen host, as in the queue of its network card.
const FROZEN_QUEUE_FRAMES: usize = 256;
/// Turns without time moving on before the world is called stuck.
const TURNS_PER_INSTANT: u32 = 20_000;

/// A host of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Frozen,
    Dead,
}

struct Host {
    node: Box<dyn Node>,
    tasks: Tasks,
    state: State,
    inbox: Vec<RxFrame>,
    due: Option<Instant>,
    thaws_at: Option<Instant>,
}

/// What is to happen to a host when a given number of events has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It loses all state and says nothing more.
    Kill(HostId),
    /// It stops for so long, and keeps its state.
    Freeze(HostId, Duration),
}

enum Wire {
    /// Carries what a real wire would: whole frames with complete checksums.
    Impaired(Box<Link>),
    /// As veth does: hands large segments and unfinished checksums over as they are.
    Fused(Duration, VecDeque<(Instant, RxFrame)>),
}

/// Why a run ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Time,
    TasksDone,
    Idle,
}

/// Hosts, links and the clock.
pub struct World {
    clock: Clock,
    hosts: Vec<Host>,
    links: BTreeMap<(usize, usize), Wire>,
    default_link: Option<Impairment>,
    random: Random,
    events: u64,
    faults: Vec<(u64, Fault)>,
    trace: bool,
    watching: bool,
    recorded: Option<Vec<Bytes>>,
    /// The oracle on the wires.
    pub watcher: Watcher,
    scratch: Vec<Bytes>,
    out: VecDeque<TxFrame>,
}

impl World {
    /// An empty world whose links draw from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            clock: Clock::default(),
            hosts: Vec::new(),
            links: BTreeMap::new(),
            default_link: Some(Impairment::default()),
            random: Random::from_seed(seed),
            events: 0,
            faults: Vec::new(),
            trace: std::env::var_os("OUTLIVE_TRACE").is_some(),
            watching: true,
            recorded: None,
            watcher: Watcher::default(),
            scratch: Vec::new(),
            out: VecDeque::new(),
        }
    }

    /// The clock, for applications.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// The present virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Events so far: frames that arrived and turns of hosts whose time had come.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Adds a host.
    pub fn add(&mut self, node: impl Node + 'static) -> HostId {
        self.hosts.push(Host {
            node: Box::new(node),
            tasks: Tasks::default(),
            state: State::Running,
            inbox: Vec::new(),
            due: Some(Instant::ZERO),
            thaws_at: None,
        });
        HostId(self.hosts.len() - 1)
    }

    /// Runs an application on a host.
    pub fn spawn(&mut self, host: HostId, application: impl Future<Output = ()> + 'static) {
        self.hosts[host.0].tasks.spawn(application);
    }

    /// Runs an application on a host that nobody waits for: a server.
    pub fn spawn_service(&mut self, host: HostId, application: impl Future<Output = ()> + 'static) {
        self.hosts[host.0].tasks.spawn_service(application);
    }

    /// What the applications of a host use to start others.
    #[must_use]
    pub fn spawner(&self, host: HostId) -> Spawner {
        self.hosts[host.0].tasks.spawner()
    }

    /// Ends the services of all hosts, which drops their listeners.
    pub fn stop_services(&mut self) {
        self.hosts
            .iter_mut()
            .for_each(|host| host.tasks.stop_services());
    }

    /// What every link does that is not set otherwise; to be called before frames flow.
    pub fn set_links(&mut self, impairment: &Impairment) {
        self.default_link = Some(impairment.clone());
        for wire in self.links.values_mut() {
            if let Wire::Impaired(link) = wire {
                link.set(impairment.clone());
            }
        }
    }

    /// Makes all links hand over large segments and unfinished checksums as they are, after `delay`.
    pub fn fuse_links(&mut self, delay: Duration) {
        self.links.clear();
        self.default_link = None;
        for from in 0..self.hosts.len() {
            for to in (0..self.hosts.len()).filter(|&to| to != from) {
                self.links
                    .insert((from, to), Wire::Fused(delay, VecDeque::new()));
            }
        }
    }

    /// What the link does that leads from one host to another.
    pub fn set_link(&mut self, from: HostId, to: HostId, impairment: Impairment) {
        match self.wire(from.0, to.0) {
            Wire::Impaired(link) => link.set(impairment),
            Wire::Fused(..) => {}
        }
    }

    /// Nothing passes between two hosts any more, until the links are set again.
    pub fn cut(&mut self, a: HostId, b: HostId) {
        let nothing = Impairment {
            loss: 1.0,
            ..Impairment::default()
        };
        self.set_link(a, b, nothing.clone());
        self.set_link(b, a, nothing);
    }

    /// A host loses all its state and falls silent.
    pub fn kill(&mut self, host: HostId) {
        let host = &mut self.hosts[host.0];
        host.state = State::Dead;
        host.thaws_at = None;
        host.tasks.clear();
        host.inbox.clear();
        host.due = None;
    }

    /// False once a host was killed.
    #[must_use]
    pub fn is_alive(&self, host: HostId) -> bool {
        self.hosts[host.0].state != State::Dead
    }

    /// A host stops, and keeps its state; its network card still takes a few frames.
    pub fn freeze(&mut self, host: HostId) {
        let host = &mut self.hosts[host.0];
        if host.state == State::Running {
            host.state = State::Frozen;
        }
    }

    /// A frozen host goes on.
    pub fn thaw(&mut self, host: HostId) {
        let host = &mut self.hosts[host.0];
        if host.state == State::Frozen {
            host.state = State::Running;
            host.due = Some(Instant::ZERO);
            host.thaws_at = None;
        }
    }

    /// Has a fault happen right after event number `event` (see [`World::events`]).
    pub fn at_event(&mut self, event: u64, fault: Fault) {
        self.faults.push((event, fault));
        self.faults
            .sort_by_key(|&(event, _)| std::cmp::Reverse(event));
    }

    /// Puts a frame into a host's inbox, as if a stranger on the wire had sent it.
    pub fn inject(&mut self, host: HostId, frame: impl Into<Bytes>) {
        let data = frame.into();
        self.watcher.arrived(&data);
        self.hosts[host.0].inbox.push(RxFrame {
            data,
            ..RxFrame::default()
        });
    }

    /// Keeps a copy of every frame that a host sends from now on.
    pub fn record_frames(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// The frames since [`World::record_frames`].
    #[must_use]
    pub fn recorded_frames(&self) -> &[Bytes] {
        self.recorded.as_deref().unwrap_or_default()
    }

    /// Turns the watcher on or off: it cannot tell a forged frame from the peer's.
    pub fn watch(&mut self, on: bool) {
        self.watching = on;
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Violation> {
        let end = self.now() + duration;
        self.run(Until::Time, end)?;
        self.clock.advance(end);
        Ok(())
    }

    /// Runs until every application has finished; `Ok(false)` if some have not after `limit`.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn run_until_done(&mut self, limit: Duration) -> Result<bool, Violation> {
        let end = self.now() + limit;
        self.run(Until::TasksDone, end)?;
        Ok(self.hosts.iter().all(|host| host.tasks.alive() == 0))
    }

    /// Runs until nothing is left to happen; `Ok(false)` if something still is after `limit`.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn run_until_idle(&mut self, limit: Duration) -> Result<bool, Violation> {
        let end = self.now() + limit;
        self.run(Until::Idle, end)?;
        Ok(self.next_event().is_none())
    }

    fn run(&mut self, until: Until, end: Instant) -> Result<(), Violation> {
        let mut turns = 0;
        loop {
            let moved = self.turn_all()?;
            if until == Until::TasksDone && self.hosts.iter().all(|host| host.tasks.alive() == 0) {
                return Ok(());
            }
            let Some(next) = self.next_event() else {
                return Ok(());
            };
            if next > self.now() {
                turns = 0;
                if next > end {
                    return Ok(());
                }
                self.clock.advance(next);
            } else {
                turns += 1;
                if turns > TURNS_PER_INSTANT {
                    return Err(self.violation(&format!(
                        "time stands still; progress in the last turn: {moved}"
                    )));
                }
            }
        }
    }

    /// Delivers what has arrived and gives every host with work a turn; true if anything happened.
    fn turn_all(&mut self) -> Result<bool, Violation> {
        let mut moved = self.deliver();
        let now = self.now();
        for index in 0..self.hosts.len() {
            if self.hosts[index].thaws_at.is_some_and(|at| at <= now) {
                self.thaw(HostId(index));
            }
        }
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let due = host.due.is_some_and(|due| due <= now);
            let wanted = due || !host.inbox.is_empty() || host.tasks.is_ready();
            if host.state == State::Running && wanted {
                moved = true;
                self.events += 1;
                self.turn(index)?;
                self.apply_faults();
            }
        }
        Ok(moved)
    }

    /// One host's turn: frames in, applications, frames out, until it has nothing more to do now.
    fn turn(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now();
        let mut out = std::mem::take(&mut self.out);
        for _ in 0..TURNS_PER_INSTANT {
            let host = &mut self.hosts[index];
            if !host.inbox.is_empty() {
                host.node.receive(now, &mut host.inbox);
                host.inbox.clear();
            }
            host.node.poll(now, &mut out);
            let ran = host.tasks.run();
            if !ran && out.is_empty() {
                host.due = host.node.next_deadline(now);
                self.out = out;
                return Ok(());
            }
            for frame in out.drain(..) {
                self.send(index, &frame)?;
            }
        }
        Err(self.violation(&format!("host {index} does not come to rest")))
    }

    /// Puts a frame on the wires that lead from `from` to whom it is for.
    fn send(&mut self, from: usize, frame: &TxFrame) -> Result<(), Violation> {
        let now = self.now();
        let wire = wire_frames(frame)
            .map_err(|what| self.violation(&format!("host {from} sends: {what}")))?;
        let node = &self.hosts[from].node;
        let mtu = node.mtu();
        let sender = Sender {
            strict: node.strict(),
            loses: node.has_lost_frames(),
            ..Sender::default()
        };
        for bytes in &wire {
            self.trace("sends", from, bytes);
            if let Some(recorded) = &mut self.recorded {
                recorded.push(bytes.clone());
            }
            if !self.watching {
                continue;
            }
            if let Err(what) = self.watcher.sent_by(bytes, mtu, sender) {
                return Err(self.violation(&format!("host {from} sends: {what}")));
            }
        }
        for to in self.addressees(from, &wire[0]) {
            match self.wire(from, to) {
                Wire::Impaired(link) => {
                    for bytes in &wire {
                        link.offer(now, bytes.clone());
                    }
                }
                Wire::Fused(delay, queue) => queue.push_back((now + *delay, received(frame))),
            }
        }
        Ok(())
    }

    /// The hosts that a switch hands a frame to.
    fn addressees(&self, from: usize, frame: &[u8]) -> Vec<usize> {
        let destination = &frame[..6];
        let group = destination[0] & 1 == 1;
        (0..self.hosts.len())
            .filter(|&to| to != from && (group || self.hosts[to].node.mac() == destination))
            .collect()
    }

    fn wire(&mut self, from: usize, to: usize) -> &mut Wire {
        let (random, default) = (&mut self.random, &self.default_link);
        self.links
            .entry((from, to))
            .or_insert_with(|| match default {
                Some(impairment) => Wire::Impaired(Box::new(Link::new(
                    impairment.clone(),
                    Medium::Ethernet,
                    random.next_u64(),
                ))),
                None => Wire::Fused(Duration::ZERO, VecDeque::new()),
            })
    }

    /// Moves what has arrived into the inboxes.
    fn deliver(&mut self) -> bool {
        let now = self.now();
        let mut arrived = Vec::new();
        for (&(_, to), wire) in &mut self.links {
            match wire {
                Wire::Impaired(link) => {
                    link.poll(now, &mut self.scratch);
                    arrived.extend(self.scratch.drain(..).map(|data| {
                        (
                            to,
                            RxFrame {
                                data,
                                ..RxFrame::default()
                            },
                        )
                    }));
                }
                Wire::Fused(_, queue) => {
                    while queue.front().is_some_and(|&(at, _)| at <= now) {
                        arrived.extend(queue.pop_front().map(|(_, frame)| (to, frame)));
                    }
                }
            }
        }
        let moved = !arrived.is_empty();
        for (to, frame) in arrived {
            self.events += 1;
            self.trace("gets", to, &frame.data);
            self.note_arrival(&frame);
            let host = &mut self.hosts[to];
            let room = host.state == State::Running || host.inbox.len() < FROZEN_QUEUE_FRAMES;
            if host.state != State::Dead && room {
                host.inbox.push(frame);
            }
            self.apply_faults();
        }
        moved
    }

    /// Tells the watcher; a fused frame arrives as the wire frames that it stands for.
    fn note_arrival(&mut self, frame: &RxFrame) {
        if frame.segmentation.is_none() && frame.checksum == outlive_driver::RxChecksum::Unknown {
            return self.watcher.arrived(&frame.data);
        }
        let mut sent = TxFrame::default();
        sent.payload.push(frame.data.clone());
        sent.segmentation = frame.segmentation;
        if let outlive_driver::RxChecksum::Partial(partial) = frame.checksum {
            sent.checksum = outlive_driver::Checksum::Partial(partial);
        }
        for bytes in wire_frames(&sent).unwrap_or_default() {
            self.watcher.arrived(&bytes);
        }
    }

    fn apply_faults(&mut self) {
        while self
            .faults
            .last()
            .is_some_and(|&(event, _)| event <= self.events)
        {
            match self.faults.pop() {
                Some((_, Fault::Kill(host))) => self.kill(host),
                Some((_, Fault::Freeze(host, duration))) => {
                    self.freeze(host);
                    self.hosts[host.0].thaws_at = Some(self.now() + duration);
                }
                None => {}
            }
        }
    }

    /// When something happens next.
    fn next_event(&self) -> Option<Instant> {
        let links = self.links.values().filter_map(|wire| match wire {
            Wire::Impaired(link) => link.next_deadline(),
            Wire::Fused(_, queue) => queue.front().map(|&(at, _)| at),
        });
        let running = self
            .hosts
            .iter()
            .filter(|host| host.state == State::Running);
        let hosts = running.filter_map(|host| {
            let busy = !host.inbox.is_empty() || host.tasks.is_ready();
            if busy { Some(self.now()) } else { host.due }
        });
        let thaws = self.hosts.iter().filter_map(|host| host.thaws_at);
        let sleepers = self.clock.next_deadline();
        links.chain(thaws).chain(hosts).chain(sleepers).min()
    }

    fn violation(&self, what: &str) -> Violation {
        Violation(format!(
            "at {:?}, event {}: {what}",
            self.now(),
            self.events
        ))
    }

    /// With `OUTLIVE_TRACE` set, prints every frame.
    fn trace(&self, verb: &str, host: usize, frame: &[u8]) {
        if !self.trace {
            return;
        }
        let what = match decode(frame) {
            Ok(Decoded::Tcp(segment)) => segment.summary(),
            other => format!("{other:?}").chars().take(120).collect(),
        };
        println!("{:?} host {host} {verb} {what}", self.now());
    }
}
