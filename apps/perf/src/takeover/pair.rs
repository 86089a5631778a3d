//! Two servers with one address, and what is between them and their clients.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use outlive::engine::{self, Stack, Stepped, clock};
use outlive::packet::RxFrame;
use outlive::replication::membership::{Lease, Term};
use outlive::replication::message::{Hint, Message};
use outlive::replication::view::{Epoch, HostId, HostSet, View};
use outlive::replication::{Carrier, Channel, Service, Status};
use outlive::tcp::gate::Gate;
use outlive::time::Instant;
use outlive_driver::{Capabilities, TxFrame};
use parking_lot::Mutex;

use super::clients::Clients;

pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PORT: u16 = 80;
pub(super) const SERVICE_MAC: [u8; 6] = [2, 0, 0x5e, 0, 0, 2];
const MTU: usize = 1500;
/// Most bytes of all journals.
const JOURNAL_BYTES: usize = 8 << 30;
/// A lease that lasts.
const LEASE: Duration = Duration::from_secs(3600);
/// Hints in one message.
const HINTS: usize = 4096;
/// Connections that are being opened at a time.
const OPENING: usize = 512;

/// Messages that one server has for the other.
#[derive(Default)]
struct Mail(Mutex<Vec<Bytes>>);

impl Carrier for Mail {
    fn send(&self, _: HostId, _: Channel, message: Bytes) {
        self.0.lock().push(message);
    }
}

struct Host {
    stack: Stepped,
    service: Arc<Service>,
    lease: Arc<Lease>,
    mail: Arc<Mail>,
}

/// The servers and their clients.
pub(super) struct Pair {
    hosts: Vec<Host>,
    pub(super) clients: Clients,
    out: VecDeque<TxFrame>,
    answers: Vec<RxFrame>,
}

impl Pair {
    /// The first one serves, the second one has everything that it promises.
    pub(super) fn new(clients: Clients) -> anyhow::Result<Self> {
        let now = clock::now();
        let hosts = (0..2).map(|me| Host::new(me, now));
        let pair = Self {
            hosts: hosts.collect::<anyhow::Result<_>>()?,
            clients,
            out: VecDeque::new(),
            answers: Vec::new(),
        };
        pair.decide(now, Epoch(2), 0, HostSet::SERVERS);
        for host in &pair.hosts {
            host.service.connected(now, true);
        }
        Ok(pair)
    }

    pub(super) fn stack(&self, host: usize) -> Stack {
        self.hosts[host].stack.stack()
    }

    pub(super) fn status(&self) -> Status {
        self.hosts[1].service.status()
    }

    fn decide(&self, now: Instant, epoch: Epoch, primary: u8, in_sync: HostSet) {
        let view = View {
            epoch,
            primary: HostId(primary),
            in_sync,
        };
        let host = &self.hosts[usize::from(primary)];
        Term::new(Arc::clone(&host.lease), epoch, now + LEASE).apply();
        for host in &self.hosts {
            host.service.view(now, view);
        }
    }

    /// Opens all connections at the first server.
    pub(super) fn open(&mut self, patience: Duration) -> anyhow::Result<()> {
        let start = clock::now();
        while !self.clients.are_ready() {
            let now = clock::now();
            ensure!(
                now.since(start) < patience,
                "only {} clients were answered",
                self.clients.ready()
            );
            self.clients.call(OPENING, &mut self.answers);
            self.turn(0, now);
            self.post(now);
        }
        // What was committed last.
        for _ in 0..3 {
            self.turn(0, clock::now());
            self.post(clock::now());
        }
        Ok(())
    }

    /// All clients have so many bytes more, and the second server was told.
    pub(super) fn advance(&mut self, bytes: u64) {
        let position = self.clients.advance(bytes);
        // The first server gave them their numbers, from 1 on.
        let hint = |connection| Hint {
            connection,
            position,
        };
        let hints: Vec<_> = (1..=self.clients.len() as u64).map(hint).collect();
        for hints in hints.chunks(HINTS) {
            let message = Message::Hints {
                epoch: Epoch(2),
                hints: hints.to_vec(),
            };
            self.hosts[1].service.receive(clock::now(), message);
        }
    }

    /// The first server is heard of no more, and the second one serves.
    pub(super) fn take_over(&mut self, now: Instant) {
        self.hosts[0].lease.revoke();
        self.answers.clear();
        let view = View {
            epoch: Epoch(3),
            primary: HostId(1),
            in_sync: HostSet::only(HostId(1)),
        };
        let host = &self.hosts[1];
        Term::new(Arc::clone(&host.lease), view.epoch, now + LEASE).apply();
        host.service.view(now, view);
    }

    /// One look of a server at what arrived, and of the clients at what it sent.
    pub(super) fn turn(&mut self, host: usize, now: Instant) {
        let host = &self.hosts[host];
        if !self.answers.is_empty() {
            host.stack.receive(now, &mut self.answers);
            self.answers.clear();
            self.clients.delivered();
        }
        host.service.poll(now);
        host.stack.poll(now, &mut self.out);
        self.clients.take(&mut self.out, &mut self.answers);
    }

    /// The servers speak with each other.
    fn post(&self, now: Instant) {
        for _ in 0..2 {
            for (from, to) in [(0, 1), (1, 0)] {
                let letters = std::mem::take(&mut *self.hosts[from].mail.0.lock());
                for message in letters
                    .into_iter()
                    .filter_map(|it| Message::decode(it).ok())
                {
                    self.hosts[to].service.receive(now, message);
                }
            }
        }
    }
}

impl Host {
    fn new(me: u8, now: Instant) -> anyhow::Result<Self> {
        let (mail, lease) = (Arc::<Mail>::default(), Arc::<Lease>::default());
        let service = Service::new(
            HostId(me),
            HostId(1 - me),
            JOURNAL_BYTES,
            Arc::clone(&lease),
            Arc::clone(&mail) as Arc<dyn Carrier>,
        );
        let mut config = engine::Config::default();
        config.ip.addresses = vec![format!("{SERVICE}/8").parse()?];
        config.ethernet.shared = true;
        config.permit = service.permit();
        config.gate = Some(Arc::clone(&service) as Arc<dyn Gate>);
        let capabilities = Capabilities::plain_ethernet(SERVICE_MAC, MTU);
        let stack = Stepped::new(&capabilities, config, now)?;
        service.attach(&stack.stack());
        Ok(Self {
            stack,
            service,
            lease,
            mail,
        })
    }
}
