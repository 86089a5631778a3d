//! Formats against themselves (what is emitted is parsed again), against two foreign decoders, and
//! against arbitrary bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Ipv4HeaderSlice, TcpHeaderSlice, TcpOptionElement};
use pnet::packet::Packet as _;
use proptest::prelude::*;

use super::ethernet::MacAddr;
use super::*;

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn tcp_options(syn: bool) -> impl Strategy<Value = tcp::Options> {
    (
        proptest::option::of(any::<u16>()),
        proptest::option::of(any::<u8>()),
        any::<bool>(),
        proptest::option::of(any::<(u32, u32)>()),
        proptest::collection::vec(any::<(u32, u32)>(), 0..=4),
    )
        .prop_map(move |(mss, scale, permitted, timestamps, mut sack)| {
            let fits = if timestamps.is_some() { 3 } else { 4 };
            sack.truncate(if syn { 0 } else { fits });
            tcp::Options {
                mss: mss.filter(|_| syn),
                window_scale: scale.filter(|_| syn),
                sack_permitted: permitted && syn,
                timestamps,
                sack: sack.into_iter().collect(),
                ..tcp::Options::default()
            }
        })
}

fn tcp_header() -> impl Strategy<Value = tcp::Header> {
    let options = prop_oneof![
        tcp_options(true).prop_map(|options| (options, true)),
        tcp_options(false).prop_map(|options| (options, false)),
    ];
    (
        any::<(u16, u16, u32, u32, u8)>(),
        any::<(u16, u16, u16)>(),
        options,
    )
        .prop_map(
            |(
                (source_port, destination_port, seq, ack, flags),
                (window, checksum, urgent),
                (options, syn),
            )| {
                let syn_bit = if syn { tcp::Flags::SYN.0 } else { 0 };
                tcp::Header {
                    source_port,
                    destination_port,
                    seq,
                    ack,
                    flags: tcp::Flags(flags & !tcp::Flags::SYN.0 | syn_bit),
                    ae: seq & 1 == 1,
                    window,
                    checksum,
                    urgent,
                    header_len: (tcp::HEADER_LEN + tcp::options_len(&options)) as u8,
                    options,
                }
            },
        )
}

fn emit_tcp(header: &tcp::Header) -> Vec<u8> {
    let mut bytes = vec![0xee; header.emitted_len()];
    header.emit(&mut bytes);
    bytes
}

fn ipv4_header() -> impl Strategy<Value = (ipv4::Header, Vec<u8>)> {
    let options = proptest::collection::vec(any::<u8>(), 0..=40);
    (
        any::<(u8, u16, bool, bool, u16, u8, u8, u16)>(),
        v4(),
        v4(),
        0..1400_u16,
        options,
    )
        .prop_map(|(fields, source, destination, payload_len, options)| {
            let (
                tos,
                identification,
                dont_fragment,
                more_fragments,
                offset,
                ttl,
                protocol,
                checksum,
            ) = fields;
            let header_len = ipv4::header_len(options.len()) as u8;
            let header = ipv4::Header {
                header_len,
                tos,
                total_len: u16::from(header_len) + payload_len,
                identification,
                dont_fragment,
                more_fragments,
                fragment_offset: offset & 0xfff8,
                ttl,
                protocol,
                checksum,
                source,
                destination,
            };
            (header, options)
        })
}

fn emit_ipv4(header: &ipv4::Header, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(header.total_len)];
    header.emit(options, &mut bytes[..usize::from(header.header_len)]);
    bytes
}

proptest! {
    #[test]
    fn ethernet_round_trip(
        destination in mac(), source in mac(), tci in proptest::option::of(any::<u16>()), ether_type: u16,
    ) {
        prop_assume!(ether_type != ethernet::TYPE_VLAN);
        let header = ethernet::Header { destination, source, vlan_tci: tci, ether_type };
        let mut bytes = vec![0xee; header.len()];
        header.emit(&mut bytes);
        prop_assert_eq!(ethernet::parse(&bytes), Ok(header));
        prop_assert_eq!(ethernet::parse(&bytes[..header.len() - 1]), Err(Malformed::Truncated));
        let foreign = pnet::packet::ethernet::EthernetPacket::new(&bytes).unwrap();
        prop_assert_eq!(foreign.get_destination().octets(), destination.0);
        prop_assert_eq!(foreign.get_source().octets(), source.0);
        if let Some(tci) = tci {
            let tag = pnet::packet::vlan::VlanPacket::new(foreign.payload()).unwrap();
            prop_assert_eq!(tag.get_vlan_identifier(), tci & 0x0fff);
            prop_assert_eq!(tag.get_ethertype().0, ether_type);
        } else {
            prop_assert_eq!(foreign.get_ethertype().0, ether_type);
        }
    }

    #[test]
    fn arp_round_trip(request: bool, sender_mac in mac(), sender in v4(), target_mac in mac(), target in v4()) {
        let operation = if request { arp::Operation::Request } else { arp::Operation::Reply };
        let packet = arp::Packet { operation, sender_mac, sender, target_mac, target };
        let mut bytes = [0xee; arp::LEN];
        packet.emit(&mut bytes);
        prop_assert_eq!(arp::parse(&bytes), Ok(packet));
        let foreign = pnet::packet::arp::ArpPacket::new(&bytes).unwrap();
        prop_assert_eq!(foreign.get_operation().0, if request { 1 } else { 2 });
        prop_assert_eq!(foreign.get_sender_hw_addr().octets(), sender_mac.0);
        prop_assert_eq!(foreign.get_sender_proto_addr(), sender);
        prop_assert_eq!(foreign.get_target_hw_addr().octets(), target_mac.0);
        prop_assert_eq!(foreign.get_target_proto_addr(), target);
    }

    #[test]
    fn ipv4_round_trip((header, options) in ipv4_header()) {
        let bytes = emit_ipv4(&header, &options);
        prop_assert_eq!(ipv4::parse(&bytes), Ok(header));
        prop_assert_eq!(&bytes[20..20 + options.len()], &options[..]);
        let foreign = Ipv4HeaderSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(foreign.total_len(), header.total_len);
        prop_assert_eq!(foreign.dcp().value() << 2 | foreign.ecn().value(), header.tos);
        prop_assert_eq!(foreign.identification(), header.identification);
        prop_assert_eq!(foreign.dont_fragment(), header.dont_fragment);
        prop_assert_eq!(foreign.more_fragments(), header.more_fragments);
        prop_assert_eq!(foreign.fragments_offset().byte_offset(), header.fragment_offset);
        prop_assert_eq!((foreign.ttl(), foreign.protocol().0), (header.ttl, header.protocol));
        prop_assert_eq!(foreign.header_checksum(), header.checksum);
        prop_assert_eq!(foreign.source_addr(), header.source);
        prop_assert_eq!(foreign.destination_addr(), header.destination);
    }

    #[test]
    fn ipv4_cut_short_is_malformed((header, options) in ipv4_header(), cut: prop::sample::Index) {
        let bytes = emit_ipv4(&header, &options);
        prop_assert_eq!(ipv4::parse(&bytes[..cut.index(bytes.len())]), Err(Malformed::Truncated));
    }

    #[test]
    fn ipv6_round_trip(class: u8, label in 0..1_u32 << 20, len in 0..64_u16, next: u8, hops: u8, a: u128, b: u128) {
        let header = ipv6::Header {
            traffic_class: class,
            flow_label: label,
            payload_len: len,
            next_header: next,
            hop_limit: hops,
            source: Ipv6Addr::from(a),
            destination: Ipv6Addr::from(b),
        };
        let mut bytes = vec![0; ipv6::HEADER_LEN + usize::from(len)];
        header.emit(&mut bytes[..ipv6::HEADER_LEN]);
        prop_assert_eq!(ipv6::parse(&bytes), Ok(header));
        let foreign = pnet::packet::ipv6::Ipv6Packet::new(&bytes).unwrap();
        prop_assert_eq!(foreign.get_traffic_class(), class);
        prop_assert_eq!(foreign.get_flow_label(), label);
        prop_assert_eq!(foreign.get_payload_length(), len);
        prop_assert_eq!((foreign.get_next_header().0, foreign.get_hop_limit()), (next, hops));
        prop_assert_eq!((foreign.get_source(), foreign.get_destination()), (a.into(), b.into()));
    }

    #[test]
    fn udp_round_trip(source_port: u16, destination_port: u16, len in 8_u16.., checksum: u16) {
        let header = udp::Header { source_port, destination_port, len, checksum };
        let mut bytes = [0xee; udp::HEADER_LEN];
        header.emit(&mut bytes);
        prop_assert_eq!(udp::parse(&bytes), Ok(header));
        let foreign = pnet::packet::udp::UdpPacket::new(&bytes).unwrap();
        prop_assert_eq!((foreign.get_source(), foreign.get_destination()), (source_port, destination_port));
        prop_assert_eq!((foreign.get_length(), foreign.get_checksum()), (len, checksum));
    }

    #[test]
    fn icmp_round_trip(kind: u8, code: u8, rest: [u8; 4]) {
        let bytes = [&[kind, code, 0, 0][..], &rest].concat();
        let message = icmpv4::parse(&bytes).unwrap();
        let mut again = [0xee; icmpv4::HEADER_LEN];
        message.emit(&mut again);
        prop_assert_eq!(icmpv4::parse(&again), Ok(message));
        prop_assert_eq!((again[0], again[1]), (kind, code));
        let foreign = pnet::packet::icmp::IcmpPacket::new(&again).unwrap();
        prop_assert_eq!((foreign.get_icmp_type().0, foreign.get_icmp_code().0), (kind, code));
    }

    #[test]
    fn tcp_round_trip(header in tcp_header()) {
        let bytes = emit_tcp(&header);
        prop_assert_eq!(bytes.len() % 4, 0);
        prop_assert_eq!(tcp::parse(&bytes), Ok(header.clone()));
        prop_assert_eq!(
            tcp::parse_quoted(&bytes[..8]),
            Ok((header.source_port, header.destination_port, header.seq))
        );
    }

    #[test]
    fn a_foreign_decoder_reads_the_same_tcp_header(header in tcp_header()) {
        let bytes = emit_tcp(&header);
        let foreign = TcpHeaderSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(foreign.source_port(), header.source_port);
        prop_assert_eq!(foreign.destination_port(), header.destination_port);
        prop_assert_eq!((foreign.sequence_number(), foreign.acknowledgment_number()), (header.seq, header.ack));
        prop_assert_eq!(foreign.window_size(), header.window);
        prop_assert_eq!((foreign.checksum(), foreign.urgent_pointer()), (header.checksum, header.urgent));
        let flags = [foreign.fin(), foreign.syn(), foreign.rst(), foreign.psh(), foreign.ack(),
            foreign.urg(), foreign.ece(), foreign.cwr()];
        for (bit, flag) in flags.into_iter().enumerate() {
            prop_assert_eq!(flag, header.flags.0 >> bit & 1 == 1);
        }
        prop_assert_eq!(foreign.ns(), header.ae);
        let mut options = tcp::Options::default();
        for element in foreign.options_iterator() {
            match element.unwrap() {
                TcpOptionElement::MaximumSegmentSize(mss) => options.mss = Some(mss),
                TcpOptionElement::WindowScale(shift) => options.window_scale = Some(shift),
                TcpOptionElement::SelectiveAcknowledgementPermitted => options.sack_permitted = true,
                TcpOptionElement::Timestamp(value, echo) => options.timestamps = Some((value, echo)),
                TcpOptionElement::SelectiveAcknowledgement(first, others) => {
                    options.sack.push(first);
                    options.sack.extend(others.into_iter().flatten());
                }
                TcpOptionElement::Noop => {}
            }
        }
        prop_assert_eq!(options, header.options);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = ethernet::parse(&bytes);
        let _ = arp::parse(&bytes);
        let _ = icmpv4::parse(&bytes);
        let _ = udp::parse(&bytes);
        let _ = tcp::parse(&bytes);
        let _ = tcp::parse_quoted(&bytes);
        let _ = ipv6::parse(&bytes);
        let _ = ipv4::parse_quoted(&bytes);
        if let Ok(header) = ipv4::parse(&bytes) {
            prop_assert!(usize::from(header.total_len) <= bytes.len());
            prop_assert!(usize::from(header.header_len) <= usize::from(header.total_len));
        }
        for option in ipv4::options(&bytes).flatten() {
            prop_assert!(option.1.len() >= 2 && option.1.end <= bytes.len());
        }
    }

    #[test]
    fn almost_tcp_never_panics(header in tcp_header(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = emit_tcp(&header);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = tcp::parse(&bytes);
        let cut = cut.index(bytes.len());
        if bytes[12] >> 4 >= 5 && usize::from(bytes[12] >> 4) * 4 > cut {
            prop_assert_eq!(tcp::parse(&bytes[..cut]), Err(Malformed::Truncated));
        }
    }
}

#[test]
fn groups_map_to_group_stations() {
    let group = MacAddr::from_ipv4_group(Ipv4Addr::new(239, 129, 2, 3));
    assert_eq!(group, MacAddr([0x01, 0x00, 0x5e, 0x01, 2, 3]));
    assert!(group.is_group() && !group.is_broadcast() && !group.is_station());
    let group = MacAddr::from_ipv6_group("ff02::1:ff00:1234".parse().unwrap());
    assert_eq!(group, MacAddr([0x33, 0x33, 0xff, 0x00, 0x12, 0x34]));
}

#[test]
fn impossible_headers_are_named() {
    assert_eq!(ipv4::parse(&[0x65; 40]), Err(Malformed::Version));
    assert_eq!(ipv4::parse(&[0x44; 40]), Err(Malformed::HeaderLength));
    let mut bytes = [0x45; 40];
    bytes[2..4].copy_from_slice(&19_u16.to_be_bytes());
    assert_eq!(ipv4::parse(&bytes), Err(Malformed::TotalLength));
    assert_eq!(ipv6::parse(&[0x45; 40]), Err(Malformed::Version));
    assert_eq!(
        udp::parse(&[0, 1, 0, 2, 0, 7, 0, 0]),
        Err(Malformed::TotalLength)
    );
    let mut bytes = [0; 20];
    bytes[12] = 0x4f;
    assert_eq!(tcp::parse(&bytes), Err(Malformed::HeaderLength));
}
