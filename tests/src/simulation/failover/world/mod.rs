//! The world of a pair of servers: a switched service network, a network between the replicas, hosts with
//! clocks of their own, and one true time. Nothing happens but by events in the order of their time, so a
//! seed replays exactly.

mod faults;

use std::future::Future;
use std::time::Duration;

use outlive::replication::message::Message;
use outlive_driver::impairment::Impairment;
use outlive_driver::memory::received;
use outlive_driver::{Instant, Random, RxFrame, TxFrame};

use super::channels::{Arrival, Channels, Lane, Quality};
use super::commits::Commits;
use super::fault::{Fault, When};
use super::local_clock::LocalClock;
use super::machine::{Input, Machine, Output};
use super::oracle::{Leaving, Oracle};
use super::switch::Switch;
use crate::decode::{Decoded, decode};
use crate::simulation::offload::wire_frames;
use crate::simulation::tasks::{Clock, Tasks};
use crate::simulation::world::Violation;

/// Frames that wait for a host that stands still, as in the queue of its network card.
const CARD_FRAMES: usize = 256;
/// Turns without time moving on before the world is called stuck.
const TURNS_PER_INSTANT: u32 = 20_000;

/// Makes a host's machine when it starts, and starts its applications.
pub type Boot = Box<dyn Fn(Instant, &mut Tasks) -> Box<dyn Machine>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Until then.
    Still(Instant),
    Off,
}

/// What a host was entitled to when it sent something.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// As [`Machine::may_send`].
    allowed: Option<bool>,
    /// As [`Machine::is_replicated`].
    replicated: bool,
}

struct Host {
    boot: Boot,
    machine: Option<Box<dyn Machine>>,
    tasks: Tasks,
    state: State,
    clock: LocalClock,
    input: Input,
    /// What had passed the check for permission when the host stood still.
    late: Output,
    /// Of the world's time.
    due: Option<Instant>,
    turns: u64,
}

/// Hosts, networks and the time.
pub struct World {
    clock: Clock,
    hosts: Vec<Host>,
    /// The service network; the ports have the numbers of the hosts.
    pub switch: Switch,
    /// The network between the replicas; the first hosts.
    pub channels: Channels,
    /// What judges every frame.
    pub oracle: Oracle,
    random: Random,
    faults: Vec<(When, Fault)>,
    happened: Vec<String>,
    commits: Commits,
    /// The last that held a lease.
    owner: Option<usize>,
    /// Until then a new owner may know all that the former one knew.
    handing_over_until: Instant,
    /// Times that the service address moved to another host, or to another process.
    pub takeovers: u64,
    trace: bool,
}

impl World {
    /// A world whose first `replicas` hosts are joined by a network of this quality.
    #[must_use]
    pub fn new(seed: u64, replicas: usize, quality: Quality) -> Self {
        let mut random = Random::from_seed(seed);
        let channels = Channels::new(replicas, 2, quality, &mut random);
        Self {
            clock: Clock::default(),
            hosts: Vec::new(),
            switch: Switch::default(),
            channels,
            oracle: Oracle::default(),
            random,
            faults: Vec::new(),
            happened: Vec::new(),
            commits: Commits::default(),
            owner: None,
            handing_over_until: Instant::ZERO,
            takeovers: 0,
            trace: std::env::var_os("OUTLIVE_TRACE").is_some(),
        }
    }

    /// The clock, for applications.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Adds a host on cables with `impairment`, and starts it. Replicas come first.
    pub fn add(&mut self, clock: LocalClock, impairment: &Impairment, boot: Boot) -> usize {
        self.switch.plug(impairment, &mut self.random);
        self.plugged(clock, boot)
    }

    /// Adds a host on cables that carry large segments as they are, and starts it.
    pub fn add_fused(&mut self, clock: LocalClock, delay: Duration, boot: Boot) -> usize {
        self.switch.plug_fused(delay);
        self.plugged(clock, boot)
    }

    fn plugged(&mut self, clock: LocalClock, boot: Boot) -> usize {
        self.hosts.push(Host {
            boot,
            machine: None,
            tasks: Tasks::default(),
            state: State::Off,
            clock,
            input: Input::default(),
            late: Output::default(),
            due: None,
            turns: 0,
        });
        let number = self.hosts.len() - 1;
        self.start(number);
        number
    }

    /// Runs an application on a host.
    pub fn spawn(&mut self, host: usize, application: impl Future<Output = ()> + 'static) {
        self.hosts[host].tasks.spawn(application);
    }

    /// Has a fault happen.
    pub fn schedule(&mut self, when: When, fault: Fault) {
        self.faults.push((when, fault));
    }

    /// Turns of a host so far in which frames or ordered messages moved.
    #[must_use]
    pub fn turns(&self, host: usize) -> u64 {
        self.hosts[host].turns
    }

    /// False while a host stands still or has no process.
    #[must_use]
    pub fn is_running(&self, host: usize) -> bool {
        self.hosts[host].state == State::Running
    }

    /// False while a host has no process.
    #[must_use]
    pub fn is_on(&self, host: usize) -> bool {
        self.hosts[host].state != State::Off
    }

    /// The hosts that may send on the service address now, by their own clocks.
    #[must_use]
    pub fn owners(&self) -> Vec<usize> {
        let now = self.now();
        let hosts = self.hosts.iter().enumerate();
        let owners = hosts.filter(|(_, host)| {
            let machine = host.machine.as_ref();
            machine.and_then(|it| it.may_send(host.clock.local(now))) == Some(true)
        });
        owners.map(|(number, _)| number).collect()
    }

    /// Times that a host began to be brought up from nothing.
    #[must_use]
    pub const fn snapshots(&self) -> u64 {
        self.commits.snapshots
    }

    /// True when one host serves and the other has a complete copy.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let owners = self.owners();
        let machine = owners
            .first()
            .and_then(|&owner| self.hosts[owner].machine.as_ref());
        // For a moment a primary does not know that its backup was replaced by a process without a copy.
        let machines = || self.hosts.iter().filter_map(|host| host.machine.as_ref());
        machine.is_some_and(|machine| machine.is_replicated()) && machines().any(|it| it.has_copy())
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Violation> {
        let end = self.now() + duration;
        self.run(end, |_| false)?;
        self.clock.advance(end);
        Ok(())
    }

    /// Runs until `done`; `Ok(false)` if that is not so after `limit`.
    ///
    /// # Errors
    /// When an oracle is violated.
    pub fn run_until(
        &mut self,
        limit: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Result<bool, Violation> {
        let end = self.now() + limit;
        self.run(end, &done)?;
        Ok(done(self))
    }

    fn run(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        let mut turns = 0;
        loop {
            self.turn_all()?;
            if done(self) {
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
                    return Err(self.violation("time stands still"));
                }
            }
        }
    }

    fn turn_all(&mut self) -> Result<(), Violation> {
        self.faults_by_time();
        self.wake();
        self.deliver();
        let now = self.now();
        for number in 0..self.hosts.len() {
            let host = &self.hosts[number];
            let due = host.due.is_some_and(|due| due <= now);
            let wanted = due || !host.input.is_empty() || host.tasks.is_ready();
            if host.state == State::Running && wanted {
                self.turn(number)?;
            }
        }
        self.check_leases()
    }

    /// One host's turn: what arrived, applications, what leaves, until it has nothing more to do now.
    fn turn(&mut self, number: usize) -> Result<(), Violation> {
        let now = self.now();
        for _ in 0..TURNS_PER_INSTANT {
            let frames_first = self.random.chance(1, 2);
            let host = &mut self.hosts[number];
            let Some(machine) = &mut host.machine else {
                return Ok(());
            };
            let local = host.clock.local(now);
            let mut out = Output::default();
            host.input.frames_first = frames_first;
            let counts = counts(&host.input);
            for arrival in &host.input.arrivals {
                if self.trace {
                    trace_entries(now, number, arrival);
                }
                self.commits.note(arrival, &mut self.oracle);
            }
            machine.turn(local, &mut host.input, &mut out);
            let standing = Standing {
                allowed: machine.may_send(local),
                replicated: machine.is_replicated(),
            };
            let ran = host.tasks.run();
            let idle = !ran && out.is_empty();
            if counts || !out.frames.is_empty() || out.messages.iter().any(|m| is_ordered(m.1)) {
                host.turns += 1;
            }
            if idle {
                let due = machine.next_deadline(local);
                host.due = due.map(|due| host.clock.world(due));
            }
            // It may have become the owner in this turn, and speak as that already.
            self.check_leases()?;
            let out = self.faults_of_turn(number, out);
            self.send(number, out, Some(standing))?;
            if idle || self.hosts[number].state != State::Running {
                return Ok(());
            }
        }
        Err(self.violation(&format!("host {number} does not come to rest")))
    }

    fn send(
        &mut self,
        from: usize,
        out: Output,
        standing: Option<Standing>,
    ) -> Result<(), Violation> {
        let now = self.now();
        for (to, lane, message) in out.messages {
            self.channels.send(now, from, to, lane, message);
        }
        for frame in &out.frames {
            self.send_frame(from, frame, standing)?;
        }
        Ok(())
    }

    fn send_frame(
        &mut self,
        from: usize,
        frame: &TxFrame,
        standing: Option<Standing>,
    ) -> Result<(), Violation> {
        let now = self.now();
        if self.oracle.is_fused() {
            self.switch.send(now, from, received(frame));
            return Ok(());
        }
        let wire = wire_frames(frame).map_err(|what| self.violation(&what))?;
        let host = &self.hosts[from];
        let machine = host.machine.as_ref();
        let (mtu, strict) = machine.map_or((65_535, false), |it| (it.mtu(), it.strict()));
        let loses = machine.is_some_and(|it| it.has_lost_frames());
        // A batch that leaves late may contradict what the new owner said: only its bytes are judged.
        let late = standing.is_none();
        let standing = standing.unwrap_or_default();
        for data in wire {
            self.trace("sends", from, &data);
            let judged = self.oracle.sent(&Leaving {
                frame: &data,
                mtu,
                now,
                strict: strict && !late,
                loses,
                owner: standing.allowed == Some(true),
                replicated: standing.replicated,
            });
            judged.map_err(|what| self.violation(&format!("host {from} sends: {what}")))?;
            if standing.allowed == Some(false) {
                return Err(self.violation(&format!("host {from} sends without a lease")));
            }
            let frame = RxFrame {
                data,
                ..RxFrame::default()
            };
            self.switch.send(now, from, frame);
        }
        Ok(())
    }

    /// Moves what has arrived into the hosts' inputs.
    fn deliver(&mut self) {
        let now = self.now();
        let mut frames = Vec::new();
        self.switch.poll(now, &mut frames);
        let owner = self.owners().first().copied();
        for (to, frame) in frames {
            self.trace("gets", to, &frame.data);
            let host = &mut self.hosts[to];
            let room = host.state == State::Running || host.input.frames.len() < CARD_FRAMES;
            if host.state != State::Off && room {
                self.oracle.arrived(now, to, &frame.data, owner == Some(to));
                host.input.frames.push(frame);
            }
        }
        let mut arrivals = Vec::new();
        self.channels.poll(now, &mut arrivals);
        for (to, arrival) in arrivals {
            if let Arrival::Connected(..) = arrival {
                self.trace_line(&format!("host {to} is told {arrival:?}"));
            }
            let host = &mut self.hosts[to];
            if host.state != State::Off {
                host.input.arrivals.push_back(arrival);
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let hosts = self.hosts.iter().filter_map(|host| match host.state {
            State::Running if !host.input.is_empty() || host.tasks.is_ready() => Some(self.now()),
            State::Running => host.due,
            State::Still(until) => Some(until),
            State::Off => None,
        });
        let faults = self.faults.iter().filter_map(|(when, _)| match when {
            When::At(at) => Some(*at),
            When::Turn(..) => None,
        });
        let networks = [self.switch.next_deadline(), self.channels.next_deadline()];
        let networks = networks.into_iter().flatten();
        let sleepers = self.clock.next_deadline();
        hosts.chain(faults).chain(networks).chain(sleepers).min()
    }

    /// At no time may two hosts send on the service address.
    fn check_leases(&mut self) -> Result<(), Violation> {
        let owners = self.owners();
        if owners.len() > 1 {
            return Err(self.violation(&format!("hosts {owners:?} all hold a lease")));
        }
        if let Some(&owner) = owners.first()
            && self.owner != Some(owner)
        {
            let moved = self.owner.is_some() && self.now() < self.handing_over_until;
            self.takeovers += 1;
            self.owner = Some(owner);
            self.oracle.taken_over(self.now(), owner, moved);
            self.trace_line(&format!("host {owner} owns the service address"));
        }
        Ok(())
    }

    /// A violation, and what led to it.
    #[must_use]
    pub fn violation(&self, what: &str) -> Violation {
        let machines = self.hosts.iter().filter_map(|host| host.machine.as_ref());
        let states: Vec<_> = machines.map(|it| it.describe()).collect();
        Violation(format!(
            "at {:?}: {what}; happened before: {:?}; hosts: {states:?}",
            self.now(),
            self.happened
        ))
    }

    fn trace_line(&self, what: &str) {
        if self.trace {
            println!("{:?} {what}", self.now());
        }
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

/// Prints what a replica is told of connections.
fn trace_entries(now: Instant, number: usize, arrival: &Arrival) {
    let Arrival::Message(_, Lane::Commit | Lane::Bulk, bytes) = arrival else {
        return;
    };
    match Message::decode(bytes.clone()) {
        Ok(Message::Entries { first, entries, .. }) => {
            for entry in entries {
                let what: String = format!("{entry:?}").chars().take(400).collect();
                println!("{now:?} host {number} is told {first:?} {what}");
            }
        }
        other => println!("{now:?} host {number} is told {other:?}"),
    }
}

fn is_ordered(lane: Lane) -> bool {
    !matches!(lane, Lane::Heartbeat(_))
}

/// True when a turn with this input is worth counting.
fn counts(input: &Input) -> bool {
    let ordered = input.arrivals.iter().any(|arrival| match arrival {
        Arrival::Message(_, lane, _) => is_ordered(*lane),
        Arrival::Connected(..) => true,
    });
    ordered || !input.frames.is_empty()
}
