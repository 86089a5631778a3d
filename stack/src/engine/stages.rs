//! The stages, composed by plain calls: frames up, work down. Which thread runs them is not their concern.
//!
//! A reader never calls a writer: it leaves [`Work`], and the topology runs the writers next.

use std::sync::Arc;

use super::egress::{Egress, Permit};
use super::work::{Harvest, Work};
use crate::ethernet::{self, Claim, EthernetReader, EthernetWriter};
use crate::ip::{self, IpReader, IpWriter, RxPacket};
use crate::packet::RxFrame;
use crate::tcp::{self, Connection, TcpReader, TcpWriter};
use crate::time::Instant;
use crate::udp::{self, UdpReader};

/// TCP and UDP side by side: the last stage on the way up.
pub(crate) struct TransportReader {
    tcp: TcpReader,
    udp: UdpReader,
    tcp_outcome: tcp::Outcome<Connection>,
    udp_outcome: udp::Outcome,
}

impl TransportReader {
    pub(crate) fn new(tcp: TcpReader, udp: UdpReader) -> Self {
        Self {
            tcp,
            udp,
            tcp_outcome: empty_outcome(),
            udp_outcome: udp::Outcome::default(),
        }
    }

    /// Takes the datagrams and errors of `input`; its replies go on as they are.
    pub(crate) fn run(&mut self, now: Instant, input: &mut ip::Outcome, harvest: &mut Harvest) {
        self.tcp.process(
            now,
            &mut input.tcp,
            &mut input.errors,
            &mut self.tcp_outcome,
        );
        self.udp.process(
            now,
            &mut input.udp,
            &mut input.errors,
            &mut self.udp_outcome,
        );
        input.errors.clear();
        take_tcp(&mut self.tcp_outcome, harvest);
        harvest
            .work
            .datagrams
            .append(&mut self.udp_outcome.datagrams);
        harvest.wakers.append(&mut self.udp_outcome.wakers);
        harvest.work.datagrams.append(&mut input.replies);
    }
}

fn empty_outcome() -> tcp::Outcome<Connection> {
    tcp::Outcome {
        datagrams: Vec::new(),
        output: Vec::new(),
        timers: Vec::new(),
        wakers: Vec::new(),
    }
}

fn take_tcp(outcome: &mut tcp::Outcome<Connection>, harvest: &mut Harvest) {
    harvest.work.connections.append(&mut outcome.output);
    harvest.work.datagrams.append(&mut outcome.datagrams);
    harvest.timers.append(&mut outcome.timers);
    harvest.wakers.append(&mut outcome.wakers);
}

/// All stages on the way up.
pub(crate) struct Readers {
    pub(crate) ethernet: EthernetReader,
    pub(crate) ip: IpReader,
    pub(crate) transport: TransportReader,
    pub(crate) permit: Arc<dyn Permit>,
    ethernet_outcome: ethernet::Outcome,
    ip_outcome: ip::Outcome,
}

impl Readers {
    pub(crate) fn new(
        ethernet: EthernetReader,
        ip: IpReader,
        transport: TransportReader,
        permit: Arc<dyn Permit>,
    ) -> Self {
        Self {
            ethernet,
            ip,
            transport,
            permit,
            ethernet_outcome: ethernet::Outcome::default(),
            ip_outcome: ip::Outcome::default(),
        }
    }

    /// Runs a batch of frames, and of packets that this host sent to itself, all the way up.
    pub(crate) fn run(
        &mut self,
        now: Instant,
        frames: &mut Vec<RxFrame>,
        loopback: &mut Vec<RxPacket>,
        harvest: &mut Harvest,
    ) {
        let outcome = &mut self.ethernet_outcome;
        if self.permit.may_receive(now) {
            self.ethernet.process(now, frames, outcome);
        } else {
            let diverts = self.permit.diverts(now);
            let diverted = self.ethernet.overhear(now, frames, diverts, outcome);
            if diverts {
                self.permit.divert(diverted);
            }
        }
        harvest.work.frames.append(&mut outcome.replies);
        harvest.work.packets.append(&mut outcome.released);
        harvest.work.neighbours_due |= std::mem::take(&mut outcome.announcements_due);
        outcome.packets.append(loopback);
        self.ip
            .process(now, &mut outcome.packets, &mut self.ip_outcome);
        self.transport.run(now, &mut self.ip_outcome, harvest);
    }

    /// Does what has a deadline on the way up: reassembly.
    pub(crate) fn poll(&mut self, now: Instant, harvest: &mut Harvest) {
        self.ip.poll(now, &mut self.ip_outcome);
        self.transport.run(now, &mut self.ip_outcome, harvest);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.ip.next_deadline()
    }
}

/// The TCP writer with its buffers: the first stage on the way down.
pub(crate) struct TransportWriter {
    tcp: TcpWriter,
    permit: Arc<dyn Permit>,
    outcome: tcp::Outcome<Connection>,
}

impl TransportWriter {
    pub(crate) fn new(tcp: TcpWriter, permit: Arc<dyn Permit>) -> Self {
        Self {
            tcp,
            permit,
            outcome: empty_outcome(),
        }
    }

    /// Gives each connection of `work` a turn: what it has to say is appended to `work.datagrams`, and
    /// connections that have more to say stay in `work.connections` for the next turn.
    pub(crate) fn run(&mut self, now: Instant, work: &mut Work, harvest: &mut Harvest) {
        let (connections, outcome) = (&mut work.connections, &mut self.outcome);
        if connections.is_empty() || self.permit.may_build(now) {
            self.tcp.process(now, connections, outcome);
        } else {
            self.tcp.process_silently(now, connections, outcome);
        }
        work.connections.append(&mut self.outcome.output);
        work.datagrams.append(&mut self.outcome.datagrams);
        harvest.timers.append(&mut self.outcome.timers);
        harvest.wakers.append(&mut self.outcome.wakers);
    }
}

/// All stages on the way down.
pub(crate) struct Writers {
    pub(crate) transport: TransportWriter,
    pub(crate) ip: IpWriter,
    pub(crate) ethernet: EthernetWriter,
    pub(crate) host: Arc<ip::Ip>,
}

impl Writers {
    /// Runs a turn of `work` down into `egress`. What this host sends to itself goes to `loopback`.
    /// Connections that have more to say stay in `work`.
    pub(crate) fn run(
        &mut self,
        now: Instant,
        work: &mut Work,
        egress: &mut Egress,
        loopback: &mut Vec<RxPacket>,
        harvest: &mut Harvest,
    ) {
        egress.frames.extend(work.frames.drain(..));
        self.transport.run(now, work, harvest);
        self.ip
            .process(now, &mut work.datagrams, &mut work.packets, loopback);
        self.ethernet
            .process(now, &mut work.packets, &mut egress.frames);
        if std::mem::take(&mut work.neighbours_due) {
            poll_neighbours(now, &mut self.ethernet, &self.host, egress);
        }
    }
}

/// Does what has a deadline on the way down: questions to neighbours, claims of addresses.
pub(crate) fn poll_neighbours(
    now: Instant,
    ethernet: &mut EthernetWriter,
    host: &ip::Ip,
    egress: &mut Egress,
) {
    ethernet.poll(now, &mut egress.frames);
    for next_hop in ethernet.take_unreachable() {
        host.report_unreachable(now, next_hop);
    }
    if let Some(learned) = ethernet.take_learned() {
        host.learn(learned);
    }
    for (address, claim) in ethernet.take_claims() {
        match claim {
            Claim::Held => host.add_address(address),
            Claim::Lost | Claim::Probing => host.remove_address(address.address()),
        };
    }
}

/// Keeps `loopback` within `limit`; returns how many packets were dropped.
pub(crate) fn bound_loopback(loopback: &mut Vec<RxPacket>, limit: usize) -> u64 {
    let excess = loopback.len().saturating_sub(limit);
    loopback.truncate(limit);
    excess as u64
}

/// The protocol state that all queues of a stack share.
pub(crate) struct Core {
    pub(crate) ip: Arc<ip::Ip>,
    pub(crate) udp: Arc<udp::Udp>,
    pub(crate) tcp: Arc<tcp::Tcp>,
    pub(crate) link: Arc<ethernet::Link>,
    pub(crate) counters: Arc<crate::counters::Counters>,
}
