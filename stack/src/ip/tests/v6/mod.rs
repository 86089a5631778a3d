//! A host's Internet layer between two hand-made wires, in IPv6.

mod errors;
mod fragments;
mod incoming;
mod outgoing;

use std::net::Ipv6Addr;

use super::fragments::{random_bytes, ranges};
use super::*;
use crate::wire::ipv6_extension::Fragment;
use crate::wire::{icmpv6, ipv6};

const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xfe);
const STRANGER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn host(mtu: usize) -> Host {
    host_at(mtu, OURS)
}

fn host_at(mtu: usize, address: Ipv6Addr) -> Host {
    Host::with(mtu, super::OURS, |config| {
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, address.segments()[7]);
        config.addresses = vec![
            Cidr::new(address.into(), 64).unwrap(),
            Cidr::new(link_local.into(), 64).unwrap(),
        ];
        config.routes = vec![Route::default_via(GATEWAY.into())];
    })
}

/// A header to be changed by tests; the length is filled in by [`packet`].
fn header(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8) -> ipv6::Header {
    ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 0,
        next_header,
        hop_limit: 64,
        source,
        destination,
    }
}

fn bytes(header: ipv6::Header, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header {
        payload_len: payload.len() as u16,
        ..header
    };
    let mut bytes = vec![0; ipv6::HEADER_LEN];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn packet(header: ipv6::Header, payload: &[u8]) -> RxPacket {
    received(bytes(header, payload))
}

/// A datagram for the writer.
fn datagram(destination: Ipv6Addr, payload: &[u8]) -> TxDatagram {
    TxDatagram {
        source: OURS.into(),
        ..super::datagram(destination, payload)
    }
}

/// An options or routing header: `content` is all behind its first two bytes.
fn extension(next_header: u8, content: &[u8]) -> Vec<u8> {
    assert_eq!((content.len() + 2) % 8, 0);
    let units = (content.len() + 2) / 8 - 1;
    [&[next_header, units as u8], content].concat()
}

/// What a foreign decoder makes of a packet: header and payload.
fn decoded(packet: &TxPacket) -> (etherparse::Ipv6Header, Vec<u8>) {
    let bytes = packet.frame.to_vec();
    let (header, rest) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
    assert_eq!(usize::from(header.payload_length), rest.len());
    (header, rest.to_vec())
}
