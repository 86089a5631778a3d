//! Nodes with a witness: who serves is decided by themselves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::{Capabilities, memory};
use parking_lot::Mutex;

use super::applications::{Shared, ask, replay, serve};
use super::world::{CLIENT, DELAY, stack_config};
use crate::counters::Counter;
use crate::engine::{Stack, Stepped};
use crate::packet::RxFrame;
use crate::replication::membership::{
    self, Arbitration, Durable, Incarnation, Membership, Output, PathId,
};
use crate::replication::message::Message;
use crate::replication::view::HostId;
use crate::replication::{Backing, Carrier, Channel, NoFence, Node, NodeConfig, Role, Storage};
use crate::time::Instant;
use crate::wire::tcp;

const SECOND: Duration = Duration::from_secs(1);
const WITNESS: usize = 2;
const PATH: PathId = PathId(0);

type Post = Arc<Mutex<Vec<(HostId, HostId, Channel, Bytes)>>>;

struct Mail {
    from: HostId,
    post: Post,
}

impl Carrier for Mail {
    fn send(&self, to: HostId, channel: Channel, message: Bytes) {
        self.post.lock().push((self.from, to, channel, message));
    }
}

#[derive(Default)]
pub(super) struct Disk {
    pub(super) stored: Durable,
    /// A write does not end by itself.
    pub(super) slow: bool,
    pub(super) writing: Option<Durable>,
}

#[derive(Default)]
pub(super) struct Memory(pub(super) Mutex<Disk>);

impl Storage for Memory {
    fn store(&self, durable: &Durable) -> Poll<std::io::Result<()>> {
        let mut disk = self.0.lock();
        assert_eq!(disk.writing, None, "one after the other");
        if disk.slow {
            disk.writing = Some(*durable);
            return Poll::Pending;
        }
        disk.stored = *durable;
        Poll::Ready(Ok(()))
    }
}

enum Passing {
    Frame(usize, RxFrame),
    Mail(HostId, HostId, Channel, Bytes),
}

pub(super) struct Cluster {
    pub(super) now: Instant,
    hosts: Vec<Stepped>,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) memory: [Arc<Memory>; 2],
    pub(super) witness: Membership,
    post: Post,
    wire: VecDeque<(Instant, Passing)>,
    /// Servers that run; one that does not neither receives nor acts.
    running: [bool; 2],
    lives: u64,
    /// Heartbeats of servers are lost.
    pub(super) heartbeats_lost: bool,
    /// Frames that servers sent.
    pub(super) sent: [u64; 2],
    /// Where the streams to the client's ports end, as far as they were sent, and data that was sent again.
    ends: HashMap<u16, u32>,
    sent_again: u64,
}

fn voter(me: usize, life: u64) -> membership::Config {
    let mut config =
        membership::Config::new(HostId(me as u8), Arbitration::Witness, Incarnation(life));
    config.first_start = life < 10;
    (0..3)
        .filter(|&other| other != me)
        .fold(config, |config, other| {
            config.with_link(HostId(other as u8), PATH)
        })
}

impl Cluster {
    fn new() -> Self {
        let now = Instant::from_millis(5000);
        let post = Post::default();
        let memory: [Arc<Memory>; 2] = Default::default();
        let (mut hosts, mut nodes) = (Vec::new(), Vec::new());
        for (host, memory) in memory.iter().enumerate() {
            let (stepped, node) = start(host, 1 + host as u64, now, &post, memory);
            hosts.push(stepped);
            nodes.push(node);
        }
        let client = stack_config("10.7.0.9/24", 2);
        let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 9], 1500);
        hosts.push(Stepped::new(&capabilities, client, now).unwrap());
        let cluster = Self {
            now,
            hosts,
            nodes,
            memory,
            witness: Membership::new(voter(WITNESS, 3), Durable::default(), now),
            post,
            wire: VecDeque::new(),
            running: [true; 2],
            lives: 10,
            heartbeats_lost: false,
            sent: [0; 2],
            ends: HashMap::new(),
            sent_again: 0,
        };
        cluster.connect(true);
        cluster
    }

    pub(super) fn stack(&self, host: usize) -> Stack {
        self.hosts[host].stack()
    }

    fn connect(&self, connected: bool) {
        for host in (0..2).filter(|&host| self.running[host]) {
            let peer = HostId(1 - host as u8);
            self.nodes[host].connected(self.now, peer, connected);
        }
    }

    pub(super) fn primary(&self) -> Option<usize> {
        (0..2).find(|&host| {
            let permit = self.nodes[host].permit();
            self.running[host] && permit.may_send(self.now)
        })
    }

    pub(super) fn is_synced(&self) -> bool {
        self.primary().is_some_and(|host| {
            let status = self.nodes[host].status().service;
            status.backing == Backing::Synced && self.running == [true; 2]
        })
    }

    /// A host stops; its process may be gone, or only asleep.
    pub(super) fn stop(&mut self, host: usize) {
        self.running[host] = false;
        let not_its = |(_, passing): &(Instant, Passing)| match passing {
            Passing::Mail(_, _, channel, _) => matches!(channel, Channel::Heartbeat(_)),
            Passing::Frame(..) => true,
        };
        self.wire.retain(not_its);
        self.connect(false);
    }

    /// A host that was stopped starts anew, remembering nothing but its votes.
    pub(super) fn restart(&mut self, host: usize) {
        self.lives += 1;
        let (stepped, node) = start(host, self.lives, self.now, &self.post, &self.memory[host]);
        self.hosts[host] = stepped;
        self.nodes[host] = node;
        self.running[host] = true;
        self.connect(true);
    }

    fn deadline(&self) -> Option<Instant> {
        let mut next = self.wire.front().map(|passing| passing.0);
        let mut sooner = |at: Option<Instant>| next = next.into_iter().chain(at).min();
        sooner(Some(self.witness.next_deadline(self.now)));
        sooner(self.hosts[CLIENT].next_deadline());
        for host in (0..2).filter(|&host| self.running[host]) {
            sooner(self.hosts[host].next_deadline());
            sooner(Some(self.nodes[host].next_deadline(self.now)));
        }
        next
    }

    fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.deadline().filter(|&next| next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        while self
            .wire
            .front()
            .is_some_and(|passing| passing.0 <= self.now)
        {
            if let Some((_, passing)) = self.wire.pop_front() {
                self.deliver(passing);
            }
        }
        let mut outputs = Vec::new();
        self.witness.poll(self.now, &mut outputs);
        for output in outputs {
            if let Output::Send { to, path, message } = output {
                let bytes = Message::Membership(message).to_bytes();
                let channel = Channel::Heartbeat(path);
                self.post.lock().push((HostId::WITNESS, to, channel, bytes));
            }
        }
        for host in 0..3 {
            self.turn(host);
        }
        let at = self.now + DELAY;
        let post = std::mem::take(&mut *self.post.lock());
        post.iter()
            .for_each(|(from, _, _, bytes)| self.check(*from, bytes));
        let mails = post
            .into_iter()
            .map(|(from, to, channel, bytes)| (at, Passing::Mail(from, to, channel, bytes)));
        self.wire.extend(mails);
        true
    }

    /// Whatever a server says of votes is on its disk.
    fn check(&self, from: HostId, bytes: &Bytes) {
        let memory = self.memory.get(usize::from(from.0));
        if let (Some(memory), Ok(Message::Membership(message))) =
            (memory, Message::decode(bytes.clone()))
        {
            let stored = memory.0.lock().stored.newest.epoch();
            assert!(message.newest.epoch() <= stored, "{from}: {message:?}");
        }
    }

    /// What a host's disk was writing is written.
    pub(super) fn finish_write(&self, host: usize) {
        let mut disk = self.memory[host].0.lock();
        if let Some(durable) = disk.writing.take() {
            disk.stored = durable;
            drop(disk);
            self.nodes[host].stored(self.now, &Ok(()));
        }
    }

    fn deliver(&mut self, passing: Passing) {
        match passing {
            Passing::Frame(to, frame) => {
                if to == CLIENT || self.running[to] {
                    self.hosts[to].receive(self.now, &mut vec![frame]);
                }
            }
            Passing::Mail(from, HostId::WITNESS, _, bytes) => {
                if let Ok(Message::Membership(message)) = Message::decode(bytes) {
                    self.witness.receive(self.now, from, PATH, &message);
                }
            }
            Passing::Mail(from, to, channel, bytes) => {
                let ordered = !matches!(channel, Channel::Heartbeat(_));
                if !ordered && from.is_server() && self.heartbeats_lost {
                    return;
                }
                if self.running[to.0 as usize] && (!ordered || self.running == [true; 2]) {
                    self.nodes[to.0 as usize].received(self.now, from, channel, bytes);
                }
            }
        }
    }

    fn turn(&mut self, host: usize) {
        if host != CLIENT && !self.running[host] {
            return;
        }
        if host != CLIENT {
            self.nodes[host].poll(self.now);
        }
        let mut out = VecDeque::new();
        self.hosts[host].poll(self.now, &mut out);
        if host != CLIENT {
            self.sent[host] += out.len() as u64;
        }
        if host != CLIENT {
            out.iter()
                .for_each(|frame| self.watch(&memory::received(frame).data));
        }
        let at = self.now + DELAY;
        for frame in &out {
            for to in (0..3).filter(|&to| to != host) {
                let frame = memory::received(frame);
                self.wire.push_back((at, Passing::Frame(to, frame)));
            }
        }
    }

    /// Looks whether a server sends data that was sent before.
    fn watch(&mut self, frame: &[u8]) {
        if frame.len() < 54 || frame[12..14] != [8, 0] {
            return;
        }
        let header = tcp::parse(&frame[34..]).expect("our own segment");
        let len = frame.len() - 34 - usize::from(header.header_len);
        let end = header.seq.wrapping_add(len as u32);
        let last = self
            .ends
            .entry(header.destination_port)
            .or_insert(header.seq);
        if len > 0 && (header.seq.wrapping_sub(*last) as i32) < 0 {
            self.sent_again += 1;
        }
        if (end.wrapping_sub(*last) as i32) > 0 {
            *last = end;
        }
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    pub(super) fn run_until(&mut self, within: Duration, mut condition: impl FnMut(&Self) -> bool) {
        let until = self.now + within;
        while !condition(self) {
            assert!(self.step(until), "it takes too long");
        }
    }

    pub(super) fn finish(&mut self, got: &Shared) {
        self.run_until(200 * SECOND, |_| got.lock().done);
        assert_eq!(got.lock().wrong, None);
    }
}

fn start(
    host: usize,
    life: u64,
    now: Instant,
    post: &Post,
    memory: &Arc<Memory>,
) -> (Stepped, Arc<Node>) {
    let carrier = Arc::new(Mail {
        from: HostId(host as u8),
        post: Arc::clone(post),
    });
    let durable = memory.0.lock().stored;
    let storage = Arc::clone(memory) as Arc<dyn Storage>;
    let config = NodeConfig::new(voter(host, life));
    let node = Node::new(config, carrier, storage, Arc::new(NoFence), durable, now);
    let mut config = stack_config("10.7.0.1/24", host as u64);
    config.permit = node.permit();
    config.gate = Some(node.gate());
    let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500);
    let stepped = Stepped::new(&capabilities, config, now).unwrap();
    node.attach(&stepped.stack());
    serve(&stepped.stack(), replay(256 << 10));
    (stepped, node)
}

pub(super) fn serving() -> (Cluster, usize) {
    let mut cluster = Cluster::new();
    cluster.run_until(10 * SECOND, Cluster::is_synced);
    let primary = cluster.primary().unwrap();
    (cluster, primary)
}

#[test]
fn the_other_host_takes_over_and_the_first_comes_back() {
    let (mut cluster, mut primary) = serving();
    let download = ask(&cluster.stack(CLIENT), vec![(10, 8_000_000)]);
    let upload = ask(&cluster.stack(CLIENT), vec![(8_000_000, 10)]);
    for _ in 0..4 {
        cluster.run_for(Duration::from_millis(200));
        cluster.stop(primary);
        let died = cluster.now;
        cluster.run_until(SECOND, |c| c.primary() == Some(1 - primary));
        let outage = cluster.now.since(died);
        assert!(outage < Duration::from_millis(60), "{outage:?}");
        cluster.run_for(Duration::from_millis(100));
        cluster.restart(primary);
        cluster.run_until(10 * SECOND, Cluster::is_synced);
        primary = 1 - primary;
    }
    cluster.finish(&download);
    cluster.finish(&upload);
}

#[test]
fn service_goes_on_without_the_backup_and_waits_for_nothing() {
    let (mut cluster, primary) = serving();
    let got = ask(&cluster.stack(CLIENT), vec![(100_000, 100_000); 30]);
    cluster.run_until(10 * SECOND, |_| got.lock().bytes > 300_000);
    cluster.stop(1 - primary);
    let before = got.lock().bytes;
    let lost = cluster.now;
    cluster.run_until(SECOND, |_| got.lock().bytes > before + 200_000);
    assert!(cluster.now.since(lost) < Duration::from_millis(400));
    assert_eq!(cluster.primary(), Some(primary));
    cluster.finish(&got);
}

#[test]
fn a_new_process_that_copies_before_its_heartbeats_are_heard_is_taken_in() {
    let (mut cluster, primary) = serving();
    cluster.stop(1 - primary);
    cluster.run_for(Duration::from_millis(300));
    cluster.heartbeats_lost = true;
    cluster.restart(1 - primary);
    cluster.run_for(Duration::from_millis(100));
    assert!(!cluster.is_synced());
    cluster.heartbeats_lost = false;
    cluster.run_until(5 * SECOND, Cluster::is_synced);
    assert_eq!(cluster.primary(), Some(primary));
}

#[test]
fn a_host_that_slept_says_nothing_and_follows() {
    let (mut cluster, primary) = serving();
    let got = ask(&cluster.stack(CLIENT), vec![(10, 8_000_000)]);
    cluster.run_for(Duration::from_millis(100));
    cluster.stop(primary);
    cluster.run_until(SECOND, |c| c.primary() == Some(1 - primary));
    cluster.run_for(Duration::from_millis(300));
    let said = cluster.sent[primary];
    cluster.running[primary] = true;
    cluster.connect(true);
    cluster.run_for(Duration::from_millis(50));
    assert_eq!(cluster.sent[primary], said, "a zombie spoke");
    cluster.run_until(10 * SECOND, Cluster::is_synced);
    assert_eq!(cluster.nodes[primary].status().service.role, Role::Backup);
    cluster.finish(&got);
}

#[test]
fn a_planned_handover_loses_nothing() {
    let (mut cluster, mut primary) = serving();
    let download = ask(&cluster.stack(CLIENT), vec![(10, 8_000_000); 4]);
    let upload = ask(&cluster.stack(CLIENT), vec![(8_000_000, 10); 4]);
    cluster.run_for(Duration::from_millis(100));
    for _ in 0..3 {
        let before = cluster.now;
        cluster.nodes[primary].handover(cluster.now).unwrap();
        cluster.run_until(SECOND, |c| c.primary() == Some(1 - primary));
        let gap = cluster.now.since(before);
        // The backup is told where connections stand and says that it knows; the lease is given up, votes are asked for
        // and given: five ways, and what is on its way through the stack.
        assert!(gap <= 5 * DELAY + DELAY / 2, "{gap:?}");
        cluster.run_until(10 * SECOND, Cluster::is_synced);
        primary = 1 - primary;
        assert_eq!(cluster.primary(), Some(primary));
        // Peers answer probes twice a second at most.
        cluster.run_for(Duration::from_millis(600));
    }
    cluster.finish(&download);
    cluster.finish(&upload);
    // What is sent on may be overtaken by what already finds the new host, but nothing is missing.
    let client = cluster.stack(CLIENT);
    assert_eq!(client.counters().get(Counter::TcpTimeouts), 0);
    assert_eq!(cluster.sent_again, 0, "what was on its way was sent again");
}
