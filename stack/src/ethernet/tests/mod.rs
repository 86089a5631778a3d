//! A link between hand-made stations.

mod frames;
mod groups;
mod ndp;
mod neighbours;
mod routers;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outlive_driver::Capabilities;

use super::*;
use crate::counters::{Counter, Counters};
use crate::packet::{RxFrame, TxFrame};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::arp::{self, Operation};
use crate::wire::ethernet::{self as wire, MacAddr};

const NOW: Instant = Instant::from_millis(5_000);
const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

struct Station {
    link: Arc<Link>,
    reader: EthernetReader,
    writer: EthernetWriter,
    counters: Arc<Counters>,
}

impl Station {
    /// A station that is silent unless asked.
    fn new() -> Self {
        Self::with(&Capabilities::plain_ethernet(OUR_MAC.0, 1500), |_| {})
    }

    fn with(capabilities: &Capabilities, change: impl FnOnce(&mut Config)) -> Self {
        let addresses = [
            "10.0.0.1/24".parse().unwrap(),
            "192.168.7.1/24".parse().unwrap(),
        ];
        Self::with_addresses(capabilities, &addresses, change)
    }

    fn with_addresses(
        capabilities: &Capabilities,
        addresses: &[crate::ip::Cidr],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.conflict.announcements = 0;
        config.tell_groups = false;
        change(&mut config);
        let counters = Arc::new(Counters::default());
        let link = Arc::new(Link::new(
            config,
            capabilities,
            addresses,
            Arc::clone(&counters),
            Random::from_seed(1),
            NOW,
        ));
        Self {
            reader: EthernetReader::new(Arc::clone(&link)),
            writer: EthernetWriter::new(Arc::clone(&link)),
            link,
            counters,
        }
    }

    fn receive(&mut self, now: Instant, frames: impl IntoIterator<Item = RxFrame>) -> Outcome {
        let mut outcome = Outcome::default();
        self.reader
            .process(now, &mut frames.into_iter().collect(), &mut outcome);
        outcome
    }

    fn send(&mut self, now: Instant, packets: impl IntoIterator<Item = TxPacket>) -> Vec<TxFrame> {
        let mut frames = VecDeque::new();
        self.writer
            .process(now, &mut packets.into_iter().collect(), &mut frames);
        frames.into()
    }

    fn poll(&mut self, now: Instant) -> Vec<TxFrame> {
        let mut frames = VecDeque::new();
        self.writer.poll(now, &mut frames);
        frames.into()
    }

    /// Makes the peer's station known.
    fn meet_peer(&mut self) {
        self.send(NOW, [packet(PEER, b"hello")]);
        self.receive(NOW, [arp_reply(PEER, PEER_MAC)]);
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }
}

fn packet(next_hop: impl Into<IpAddr>, payload: &[u8]) -> TxPacket {
    let mut frame = TxFrame::default();
    frame.payload.push(Bytes::copy_from_slice(payload));
    TxPacket {
        frame,
        next_hop: next_hop.into(),
    }
}

fn frame(header: wire::Header, payload: &[u8]) -> RxFrame {
    let mut bytes = vec![0; header.len()];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    RxFrame {
        data: bytes.into(),
        ..RxFrame::default()
    }
}

fn from_peer(destination: MacAddr, ether_type: u16) -> wire::Header {
    wire::Header {
        destination,
        source: PEER_MAC,
        vlan_tci: None,
        ether_type,
    }
}

fn arp_frame(packet: arp::Packet, destination: MacAddr) -> RxFrame {
    let mut bytes = [0; arp::LEN];
    packet.emit(&mut bytes);
    let header = wire::Header {
        source: packet.sender_mac,
        ..from_peer(destination, wire::TYPE_ARP)
    };
    frame(header, &bytes)
}

/// `sender` answers us.
fn arp_reply(sender: Ipv4Addr, sender_mac: MacAddr) -> RxFrame {
    let packet = arp::Packet {
        operation: Operation::Reply,
        sender_mac,
        sender,
        target_mac: OUR_MAC,
        target: OURS,
    };
    arp_frame(packet, OUR_MAC)
}

/// `sender` asks everybody for `target`.
fn arp_request(sender: Ipv4Addr, sender_mac: MacAddr, target: Ipv4Addr) -> RxFrame {
    let packet = arp::Packet {
        operation: Operation::Request,
        sender_mac,
        sender,
        target_mac: MacAddr::UNSPECIFIED,
        target,
    };
    arp_frame(packet, MacAddr::BROADCAST)
}

/// The ARP packet in a frame of ours, and to whom it goes.
fn as_arp(frame: &TxFrame) -> Option<(arp::Packet, MacAddr)> {
    let bytes = frame.to_vec();
    let header = wire::parse(&bytes).unwrap();
    assert_eq!(header.source, OUR_MAC);
    (header.ether_type == wire::TYPE_ARP).then(|| {
        (
            arp::parse(&bytes[header.len()..]).unwrap(),
            header.destination,
        )
    })
}

/// Destination and payload of a data frame of ours.
fn as_data(frame: &TxFrame) -> Option<(MacAddr, Vec<u8>)> {
    let bytes = frame.to_vec();
    let header = wire::parse(&bytes).unwrap();
    (header.ether_type == wire::TYPE_IPV4)
        .then(|| (header.destination, bytes[header.len()..].to_vec()))
}
