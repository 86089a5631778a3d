//! Datagrams in: to the socket they are for, or back as Port Unreachable (RFC 1122 §4.1.3.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use super::{Received, Udp};
use crate::checksum::{combine, pseudo_header, sum};
use crate::counters::Counter;
use crate::ip::{Cast, Datagram, ErrorKind, IcmpError, TxDatagram};
use crate::time::Instant;
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::udp::{self, HEADER_LEN, Header};

/// What a batch leaves to do.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the IP writer: ICMP errors.
    pub datagrams: Vec<TxDatagram>,
    /// Tasks that can go on.
    pub wakers: Vec<Waker>,
}

/// The stage that takes datagrams from IP.
#[derive(Debug)]
pub struct UdpReader {
    udp: Arc<Udp>,
}

impl UdpReader {
    /// A reader of its own for each queue.
    #[must_use]
    pub const fn new(udp: Arc<Udp>) -> Self {
        Self { udp }
    }

    /// Takes all of `datagrams`, and those of `errors` that are about UDP.
    pub fn process(
        &mut self,
        now: Instant,
        datagrams: &mut Vec<Datagram>,
        errors: &mut Vec<IcmpError>,
        outcome: &mut Outcome,
    ) {
        let counters = &self.udp.counters;
        counters.add(Counter::UdpRxDatagrams, datagrams.len() as u64);
        for datagram in datagrams.drain(..) {
            self.datagram(now, &datagram, outcome);
        }
        errors.retain(|error| {
            let ours = error.protocol == PROTOCOL_UDP;
            if ours {
                self.error(now, error, outcome);
            }
            !ours
        });
    }

    fn datagram(&self, now: Instant, datagram: &Datagram, outcome: &mut Outcome) {
        let counters = &self.udp.counters;
        let header = match udp::parse(&datagram.payload) {
            Ok(header) if usize::from(header.len) <= datagram.payload.len() => header,
            _ => return counters.drop_packet(Counter::UdpDropMalformed, &datagram.source),
        };
        if !is_intact(datagram, &header) {
            return counters.drop_packet(Counter::UdpDropChecksum, &datagram.source);
        }
        let local = SocketAddr::new(datagram.destination, header.destination_port);
        let remote = SocketAddr::new(datagram.source, header.source_port);
        if datagram.cast == Cast::Unicast {
            match self.udp.table.find(local, remote) {
                Some(socket) => self.deliver(now, &socket, datagram, &header, outcome),
                None => {
                    counters.drop_packet(Counter::UdpDropNoSocket, &(remote, local));
                    let error = self
                        .udp
                        .ip
                        .error_for(now, datagram, ErrorKind::PortUnreachable);
                    outcome.datagrams.extend(error);
                }
            }
            return;
        }
        let mut taken = false;
        for socket in self.udp.table.find_all(local, remote) {
            taken = true;
            self.deliver(now, &socket, datagram, &header, outcome);
        }
        if !taken {
            counters.drop_packet(Counter::UdpDropNoSocket, &(remote, local));
        }
    }

    fn deliver(
        &self,
        now: Instant,
        socket: &super::Socket,
        datagram: &Datagram,
        header: &Header,
        outcome: &mut Outcome,
    ) {
        let from = SocketAddr::new(datagram.source, header.source_port);
        let mut data = datagram.payload.slice(HEADER_LEN..usize::from(header.len));
        // Several datagrams of a flow may come merged in one; applications see them as they were sent.
        let each = datagram
            .segment_bytes
            .map_or(usize::MAX, usize::from)
            .max(1);
        loop {
            let received = Received {
                data: data.split_to(each.min(data.len())),
                from,
                to: datagram.destination,
                ttl: datagram.ttl,
                tos: datagram.tos,
                at: now,
            };
            if !socket.deliver(received, &mut outcome.wakers) {
                let counters = &self.udp.counters;
                counters.drop_packet(Counter::UdpDropFull, &(from, socket.local_addr()));
            }
            if data.is_empty() {
                break;
            }
        }
    }

    fn error(&self, now: Instant, error: &IcmpError, outcome: &mut Outcome) {
        let counters = &self.udp.counters;
        let Ok(quoted) = udp::parse(&error.quoted) else {
            return counters.drop_packet(Counter::IcmpDropMalformed, error);
        };
        let local = SocketAddr::new(error.source, quoted.source_port);
        let remote = SocketAddr::new(error.destination, quoted.destination_port);
        let Some(socket) = self.udp.table.find(local, remote) else {
            return counters.drop_packet(Counter::IcmpDropIgnored, error);
        };
        if let ErrorKind::TooBig { mtu } = error.kind {
            self.udp.ip.lower_mtu(now, error.destination, mtu as usize);
        }
        if !socket.report(error.kind, remote, &mut outcome.wakers) {
            counters.drop_packet(Counter::IcmpDropIgnored, error);
        }
    }
}

/// Checks the checksum, if nobody did and the sender made one (RFC 768).
fn is_intact(datagram: &Datagram, header: &Header) -> bool {
    if datagram.checksum_ok || (header.checksum == 0 && datagram.source.is_ipv4()) {
        return true;
    }
    let len = usize::from(header.len);
    let pseudo = pseudo_header(datagram.source, datagram.destination, PROTOCOL_UDP, len);
    combine(pseudo, sum(&datagram.payload[..len]), false) == 0xffff
}
