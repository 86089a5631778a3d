//! Two servers with one address, a client, and a network between them, in virtual time. Views are made by
//! hand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::{Capabilities, memory};
use parking_lot::Mutex;

use crate::engine::{Config, Stack, Stepped};
use crate::packet::RxFrame;
use crate::replication::membership::{Lease, Term};
use crate::replication::message::Message;
use crate::replication::view::{Epoch, HostId, HostSet, View};
use crate::replication::{Carrier, Channel, Service};
use crate::tcp::gate::Gate;
use crate::time::Instant;

/// One way over the network, and between the servers.
pub(super) const DELAY: Duration = Duration::from_millis(2);
pub(super) const CLIENT: usize = 2;

/// Messages on their way between the servers.
#[derive(Default)]
pub(super) struct Mail {
    queue: Mutex<Vec<(Channel, Bytes)>>,
}

impl Carrier for Mail {
    fn send(&self, _: HostId, channel: Channel, message: Bytes) {
        self.queue.lock().push((channel, message));
    }
}

pub(super) struct Server {
    pub(super) service: Arc<Service>,
    pub(super) lease: Arc<Lease>,
    mail: Arc<Mail>,
}

/// A frame or a message on its way.
enum Passing {
    Frame(usize, RxFrame),
    Mail(usize, Bytes),
}

/// What a test looks at before a message is delivered; false loses it.
pub(super) type Censor = Box<dyn FnMut(usize, &Message) -> bool + Send>;
/// The same for frames, with who sent it.
pub(super) type Tap = Box<dyn FnMut(usize, &[u8]) -> bool + Send>;

pub(super) struct World {
    pub(super) now: Instant,
    hosts: Vec<Stepped>,
    pub(super) servers: Vec<Server>,
    pub(super) alive: [bool; 3],
    wire: VecDeque<(Instant, Passing)>,
    pub(super) censor: Censor,
    pub(super) tap: Tap,
    connected: bool,
    /// A server has said that the other's copy is complete.
    pub(super) complete: bool,
}

pub(super) fn service_address() -> SocketAddr {
    "10.7.0.1:80".parse().unwrap()
}

pub(super) fn stack_config(address: &str, seed: u64) -> Config {
    let mut config = Config {
        seed: Some(seed),
        ..Config::default()
    };
    config.ip.addresses = vec![address.parse().unwrap()];
    config.ethernet.shared = seed < 2;
    config
}

fn start_host(
    host: usize,
    now: Instant,
    change: &dyn Fn(usize, &mut Config),
) -> (Stepped, Option<Server>) {
    let address = if host == CLIENT {
        "10.7.0.9/24"
    } else {
        "10.7.0.1/24"
    };
    let mut config = stack_config(address, host as u64);
    let mac = [2, 0, 0, 0, 0, if host == CLIENT { 9 } else { 1 }];
    let capabilities = Capabilities::plain_ethernet(mac, 1500);
    let mail = Arc::new(Mail::default());
    let lease = Arc::new(Lease::default());
    let (me, peer) = (HostId(host as u8), HostId(1 - host.min(1) as u8));
    let carrier = Arc::clone(&mail) as Arc<dyn Carrier>;
    let service = Service::new(me, peer, 64 << 20, Arc::clone(&lease), carrier);
    if host != CLIENT {
        config.permit = service.permit();
        config.gate = Some(Arc::clone(&service) as Arc<dyn Gate>);
    }
    change(host, &mut config);
    let stepped = Stepped::new(&capabilities, config, now).unwrap();
    if host == CLIENT {
        return (stepped, None);
    }
    service.attach(&stepped.stack());
    let server = Server {
        service,
        lease,
        mail,
    };
    (stepped, Some(server))
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_, _| ())
    }

    pub(super) fn with(change: impl Fn(usize, &mut Config)) -> Self {
        let start = Instant::from_millis(5000);
        let (mut hosts, mut servers) = (Vec::new(), Vec::new());
        for host in 0..3 {
            let (stepped, server) = start_host(host, start, &change);
            hosts.push(stepped);
            servers.extend(server);
        }
        Self {
            now: start,
            hosts,
            servers,
            alive: [true; 3],
            wire: VecDeque::new(),
            censor: Box::new(|_, _| true),
            tap: Box::new(|_, _| true),
            connected: false,
            complete: false,
        }
    }

    /// A host that was killed starts again, with nothing.
    pub(super) fn revive(&mut self, host: usize) {
        let (stepped, server) = start_host(host, self.now, &|_, _| ());
        self.hosts[host] = stepped;
        if let Some(server) = server {
            self.servers[host] = server;
        }
        self.alive[host] = true;
        self.complete = false;
        self.connect(true);
    }

    pub(super) fn stack(&self, host: usize) -> Stack {
        self.hosts[host].stack()
    }

    /// A view that both servers that live learn of.
    pub(super) fn decide(&mut self, epoch: u64, primary: usize, in_sync: &[usize]) {
        let view = View {
            epoch: Epoch(epoch),
            primary: HostId(primary as u8),
            in_sync: in_sync
                .iter()
                .map(|&host| HostId(host as u8))
                .collect::<HostSet>(),
        };
        for host in 0..2 {
            if !self.alive[host] {
                continue;
            }
            let server = &self.servers[host];
            if host == primary {
                Term::new(Arc::clone(&server.lease), view.epoch, Instant::FAR_FUTURE).apply();
            } else {
                server.lease.revoke();
                server.service.close();
            }
            server.service.view(self.now, view);
        }
    }

    pub(super) fn connect(&mut self, connected: bool) {
        self.connected = connected;
        if !connected {
            self.wire
                .retain(|(_, passing)| matches!(passing, Passing::Frame(..)));
        }
        for host in 0..2 {
            if self.alive[host] {
                self.servers[host].service.connected(self.now, connected);
            }
        }
    }

    /// A host stops, with everything that it was about to say.
    pub(super) fn kill(&mut self, host: usize) {
        self.alive[host] = false;
        self.servers[host].mail.queue.lock().clear();
        self.connect(false);
    }

    /// Goes to the next moment at which anything happens; false when nothing ever will.
    fn step(&mut self, until: Instant) -> bool {
        let mut next = self.wire.front().map(|passing| passing.0);
        for host in (0..3).filter(|&host| self.alive[host]) {
            next = next
                .into_iter()
                .chain(self.hosts[host].next_deadline())
                .min();
            if let Some(server) = self.servers.get(host) {
                next = next.into_iter().chain(server.service.next_deadline()).min();
            }
        }
        let Some(next) = next.filter(|&next| next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        while self
            .wire
            .front()
            .is_some_and(|passing| passing.0 <= self.now)
        {
            let Some((_, passing)) = self.wire.pop_front() else {
                break;
            };
            self.deliver(passing);
        }
        for host in 0..3 {
            if self.alive[host] {
                self.turn(host);
            }
        }
        true
    }

    fn deliver(&mut self, passing: Passing) {
        match passing {
            Passing::Frame(to, frame) if self.alive[to] => {
                self.hosts[to].receive(self.now, &mut vec![frame]);
            }
            Passing::Mail(to, bytes) if self.alive[to] && self.connected => {
                let message = Message::decode(bytes).expect("our own message");
                if (self.censor)(to, &message) {
                    self.servers[to].service.receive(self.now, message);
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, host: usize) {
        let mut out = VecDeque::new();
        self.hosts[host].poll(self.now, &mut out);
        let at = self.now + DELAY;
        for frame in &out {
            let received = memory::received(frame);
            if !(self.tap)(host, &received.data) {
                continue;
            }
            for to in (0..3).filter(|&to| to != host) {
                let frame = memory::received(frame);
                self.wire.push_back((at, Passing::Frame(to, frame)));
            }
        }
        if let Some(server) = self.servers.get(host) {
            server.service.poll(self.now);
            self.complete |= server.service.take_join();
            for (_, bytes) in server.mail.queue.lock().drain(..) {
                if self.connected {
                    self.wire.push_back((at, Passing::Mail(1 - host, bytes)));
                }
            }
        }
    }

    /// Lets everything happen that happens within `duration`.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets things happen until `condition` holds.
    pub(super) fn run_until(&mut self, within: Duration, mut condition: impl FnMut(&Self) -> bool) {
        let until = self.now + within;
        while !condition(self) {
            assert!(
                self.step(until),
                "nothing more happens, or it takes too long"
            );
        }
    }
}
