//! A host's Internet layer between two hand-made wires.

mod errors;
mod fragments;
mod hosts;
mod incoming;
mod outgoing;
mod v6;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::Capabilities;

use super::*;
use crate::checksum;
use crate::counters::{Counter, Counters};
use crate::ethernet::TxPacket;
use crate::packet::TxFrame;
use crate::time::Instant;
use crate::wire::ipv4;

const NOW: Instant = Instant::from_millis(5_000);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// A protocol that nobody speaks here.
const UNKNOWN: u8 = 253;

struct Host {
    ip: Arc<Ip>,
    reader: IpReader,
    writer: IpWriter,
    counters: Arc<Counters>,
}

impl Host {
    fn new(mtu: usize) -> Self {
        Self::with(mtu, OURS, |_| {})
    }

    fn with(mtu: usize, address: Ipv4Addr, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            addresses: vec![Cidr::new(address.into(), 24).unwrap()],
            routes: vec![Route::default_via(GATEWAY.into())],
            ..Config::default()
        };
        change(&mut config);
        let counters = Arc::new(Counters::default());
        let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], mtu);
        let ip = Arc::new(Ip::new(
            config,
            &capabilities,
            Arc::clone(&counters),
            [9; 16],
        ));
        Self {
            reader: IpReader::new(Arc::clone(&ip)),
            writer: IpWriter::new(Arc::clone(&ip)),
            ip,
            counters,
        }
    }

    fn receive(&mut self, packets: impl IntoIterator<Item = RxPacket>) -> Outcome {
        self.receive_at(NOW, packets)
    }

    fn receive_at(&mut self, now: Instant, packets: impl IntoIterator<Item = RxPacket>) -> Outcome {
        let mut outcome = Outcome::default();
        self.reader
            .process(now, &mut packets.into_iter().collect(), &mut outcome);
        outcome
    }

    fn poll(&mut self, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        self.reader.poll(now, &mut outcome);
        outcome
    }

    fn send(
        &mut self,
        datagrams: impl IntoIterator<Item = TxDatagram>,
    ) -> (Vec<TxPacket>, Vec<RxPacket>) {
        let (mut packets, mut loopback) = (Vec::new(), Vec::new());
        let mut datagrams = datagrams.into_iter().collect();
        self.writer
            .process(NOW, &mut datagrams, &mut packets, &mut loopback);
        assert!(datagrams.is_empty());
        (packets, loopback)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }
}

/// A header to be changed by tests; lengths and checksum are filled in by [`packet`].
fn header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> ipv4::Header {
    ipv4::Header {
        header_len: 20,
        tos: 0,
        total_len: 0,
        identification: 77,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        checksum: 0,
        source,
        destination,
    }
}

fn bytes_with_options(mut header: ipv4::Header, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = ipv4::header_len(options.len());
    header.header_len = header_len as u8;
    header.total_len = (header_len + payload.len()) as u16;
    let mut bytes = vec![0; header_len];
    header.emit(options, &mut bytes);
    let checksum = checksum::checksum(&bytes);
    bytes[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn packet(header: ipv4::Header, payload: &[u8]) -> RxPacket {
    received(bytes_with_options(header, &[], payload))
}

fn received(bytes: impl Into<Bytes>) -> RxPacket {
    RxPacket {
        data: bytes.into(),
        ..RxPacket::default()
    }
}

fn datagram(destination: impl Into<IpAddr>, payload: &[u8]) -> TxDatagram {
    let mut frame = TxFrame::default();
    frame.payload.push(Bytes::copy_from_slice(payload));
    TxDatagram {
        frame,
        source: OURS.into(),
        destination: destination.into(),
        protocol: UNKNOWN,
        tos: 0,
        ttl: 64,
        may_fragment: true,
        options: None,
    }
}

/// What a foreign decoder makes of a packet: header and payload, after checking the checksum.
fn decoded(packet: &TxPacket) -> (etherparse::Ipv4Header, Vec<u8>) {
    let bytes = packet.frame.to_vec();
    let (header, _) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(usize::from(header.total_len), bytes.len());
    let payload = bytes[header.header_len()..].to_vec();
    (header, payload)
}
