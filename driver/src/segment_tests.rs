//! The cut segments, judged by an independent decoder.

use super::*;
use crate::checksum;
use pnet::packet::Packet;
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet::packet::tcp::{self, MutableTcpPacket, TcpPacket};
use pnet::packet::udp::{self, MutableUdpPacket, UdpPacket};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const A4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const SEQ: u32 = u32::MAX - 1000; // wraps within the frame
const ID: u16 = u16::MAX - 1;

/// An IPv4 datagram around `transport`.
fn ipv4(protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + transport.len()];
    let mut ip = MutableIpv4Packet::new(&mut bytes).unwrap();
    ip.set_version(4);
    ip.set_header_length(5);
    ip.set_total_length((20 + transport.len()) as u16);
    ip.set_identification(ID);
    ip.set_ttl(64);
    ip.set_next_level_protocol(pnet::packet::ip::IpNextHeaderProtocol(protocol));
    ip.set_source(A4);
    ip.set_destination(B4);
    ip.set_payload(transport);
    bytes
}

fn ipv6(protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40 + transport.len()];
    let mut ip = MutableIpv6Packet::new(&mut bytes).unwrap();
    ip.set_version(6);
    ip.set_payload_length(transport.len() as u16);
    ip.set_next_header(pnet::packet::ip::IpNextHeaderProtocol(protocol));
    ip.set_hop_limit(64);
    ip.set_source(A6);
    ip.set_destination(B6);
    ip.set_payload(transport);
    bytes
}

fn tcp_segment(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 32 + payload.len()];
    let mut tcp = MutableTcpPacket::new(&mut bytes).unwrap();
    tcp.set_source(1);
    tcp.set_destination(2);
    tcp.set_sequence(SEQ);
    tcp.set_data_offset(8);
    tcp.set_flags(flags);
    tcp.set_payload(payload);
    bytes
}

fn segmentation(kind: SegmentationKind, size: u16, header_len: u16) -> Option<Segmentation> {
    Some(Segmentation {
        kind,
        size,
        header_len,
        ecn: false,
    })
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    (1usize..60_000, any::<u8>()).prop_map(|(n, seed)| {
        (0..n)
            .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn tcp_over_ipv4_is_cut_as_the_rfcs_say(payload in payloads(), size in 500u16..9000, flags: u8) {
        let flags = flags | 0x10;
        let frame = ipv4(TCP, &tcp_segment(flags, &payload));
        let mut out = Vec::new();
        let count = cut(&frame, Medium::Ip, None, segmentation(SegmentationKind::Tcp4, size, 52), &mut out);
        prop_assume!(count > 1);
        prop_assert_eq!(count, payload.len().div_ceil(usize::from(size)));
        let mut rebuilt = Vec::new();
        for (i, segment) in out.iter().enumerate() {
            let ip = Ipv4Packet::new(segment).unwrap();
            prop_assert_eq!(usize::from(ip.get_total_length()), segment.len());
            prop_assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
            prop_assert_eq!(ip.get_identification(), ID.wrapping_add(i as u16));
            let tcp = TcpPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(tcp.get_checksum(), tcp::ipv4_checksum(&tcp, &A4, &B4));
            prop_assert_eq!(tcp.get_sequence(), SEQ.wrapping_add(rebuilt.len() as u32));
            let (first, last) = (i == 0, i + 1 == count);
            let mut expected = flags;
            if !last { expected &= !(FIN | PSH); }
            if !first { expected &= !CWR; }
            prop_assert_eq!(tcp.get_flags(), expected);
            prop_assert!(tcp.payload().len() <= usize::from(size));
            rebuilt.extend_from_slice(tcp.payload());
        }
        prop_assert_eq!(rebuilt, payload);
    }

    #[test]
    fn tcp_over_ipv6_too(payload in payloads(), size in 500u16..9000) {
        let frame = ipv6(TCP, &tcp_segment(0x18, &payload));
        let mut out = Vec::new();
        cut(&frame, Medium::Ip, None, segmentation(SegmentationKind::Tcp6, size, 72), &mut out);
        prop_assume!(out.len() > 1);
        let mut rebuilt = Vec::new();
        for segment in &out {
            let ip = Ipv6Packet::new(segment).unwrap();
            prop_assert_eq!(usize::from(ip.get_payload_length()) + 40, segment.len());
            let tcp = TcpPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(tcp.get_checksum(), tcp::ipv6_checksum(&tcp, &A6, &B6));
            rebuilt.extend_from_slice(tcp.payload());
        }
        prop_assert_eq!(rebuilt, payload);
    }

    #[test]
    fn udp_becomes_datagrams_of_their_own(payload in payloads(), size in 500u16..9000) {
        let mut bytes = vec![0; 8 + payload.len()];
        let mut udp = MutableUdpPacket::new(&mut bytes).unwrap();
        udp.set_destination(7);
        udp.set_length((8 + payload.len()) as u16);
        udp.set_payload(&payload);
        let frame = ipv4(UDP, &bytes);
        let mut out = Vec::new();
        cut(&frame, Medium::Ip, None, segmentation(SegmentationKind::Udp, size, 28), &mut out);
        prop_assume!(out.len() > 1);
        let mut rebuilt = Vec::new();
        for segment in &out {
            let ip = Ipv4Packet::new(segment).unwrap();
            let udp = UdpPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(usize::from(udp.get_length()), ip.payload().len());
            prop_assert_eq!(udp.get_checksum(), udp::ipv4_checksum(&udp, &A4, &B4));
            rebuilt.extend_from_slice(udp.payload());
        }
        prop_assert_eq!(rebuilt, payload);
    }

    #[test]
    fn no_bytes_make_it_panic(
        frame: Vec<u8>, size in 1u16.., start: u16, offset: u16, ethernet: bool, kind in 0..3, tci: Option<u16>
    ) {
        let kind = [SegmentationKind::Tcp4, SegmentationKind::Tcp6, SegmentationKind::Udp][kind as usize];
        let frame = RxFrame {
            data: Bytes::from(frame),
            checksum: RxChecksum::Partial(PartialChecksum { start: start % 100, offset: offset % 100 }),
            segmentation: segmentation(kind, size, 0),
            vlan_tci: tci,
        };
        let medium = if ethernet { Medium::Ethernet } else { Medium::Ip };
        cut_received(&frame, medium, &mut Vec::new());
    }
}

/// A whole frame with the pseudo-header sum in its checksum field.
fn unfinished(payload: &[u8]) -> TxFrame {
    let mut segment = tcp_segment(0x18, payload);
    let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let pseudo = checksum::pseudo_header(source, destination, TCP, segment.len());
    put(&mut segment, 16, pseudo);
    let datagram = ipv4(IpNextHeaderProtocols::Tcp.0, &segment);
    let mut frame = TxFrame::default();
    frame.head.prepend(52).copy_from_slice(&datagram[..52]);
    frame.head.prepend(14)[12..].copy_from_slice(&[8, 0]);
    frame.payload.push(Bytes::copy_from_slice(&datagram[52..]));
    frame.checksum = Checksum::Partial(PartialChecksum {
        start: 34,
        offset: 16,
    });
    frame
}

#[test]
fn an_unfinished_checksum_is_completed() {
    for payload in [&b"odd"[..], b"even", b""] {
        let mut out = Vec::new();
        assert_eq!(
            cut_transmitted(&unfinished(payload), Medium::Ethernet, &mut out),
            1
        );
        let ip = Ipv4Packet::new(&out[0][14..]).unwrap();
        let tcp = TcpPacket::new(ip.payload()).unwrap();
        assert_eq!(tcp.get_checksum(), tcp::ipv4_checksum(&tcp, &A4, &B4));
    }
}

#[test]
fn a_tag_beside_the_frame_is_put_into_each_segment() {
    let frame = crate::memory::received(&TxFrame {
        segmentation: segmentation(SegmentationKind::Tcp4, 100, 66),
        ..unfinished(&[7; 250])
    });
    let mut out = Vec::new();
    let tagged = RxFrame {
        vlan_tci: Some(0x2005),
        ..frame
    };
    assert_eq!(cut_received(&tagged, Medium::Ethernet, &mut out), 3);
    for segment in &out {
        assert_eq!(segment[12..18], [0x81, 0x00, 0x20, 0x05, 8, 0]);
        let ip = Ipv4Packet::new(&segment[18..]).unwrap();
        let tcp = TcpPacket::new(ip.payload()).unwrap();
        assert_eq!(tcp.get_checksum(), tcp::ipv4_checksum(&tcp, &A4, &B4));
    }
}
