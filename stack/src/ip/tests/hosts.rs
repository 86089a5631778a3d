//! Smaller rules for hosts (RFC 1122 §3.2).

use super::*;
use crate::wire::icmpv4::{self, Message};

#[test]
fn a_ttl_of_0_is_not_sent_and_small_ones_are_taken() {
    // §3.2.1.7.
    let mut host = Host::new(1500);
    let dead = TxDatagram {
        ttl: 0,
        ..datagram(PEER, b"x")
    };
    let (packets, _) = host.send([dead]);
    assert!(
        packets
            .iter()
            .all(|packet| decoded(packet).0.time_to_live > 0)
    );
    for ttl in [0, 1] {
        let arriving = ipv4::Header {
            ttl,
            ..header(PEER, OURS, ipv4::PROTOCOL_UDP)
        };
        assert_eq!(host.receive([packet(arriving, b"data")]).udp.len(), 1);
    }
}

#[test]
fn an_obsolete_option_is_ignored() {
    // §3.2.1.8 (b): stream identifier.
    let mut host = Host::new(1500);
    let bytes = bytes_with_options(
        header(PEER, OURS, ipv4::PROTOCOL_UDP),
        &[136, 4, 0, 7],
        b"data",
    );
    let outcome = host.receive([received(bytes)]);
    assert_eq!(outcome.udp[0].payload, &b"data"[..]);
    assert!(outcome.replies.is_empty());
}

#[test]
fn a_message_of_an_unknown_type_is_dropped_in_silence() {
    // §3.2.2.
    for kind in [1, 2, 6, 7, 41, 255] {
        let mut host = Host::new(1500);
        let mut bytes = [kind, 0, 0, 0, 1, 2, 3, 4];
        let sum = checksum::checksum(&bytes);
        bytes[icmpv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
        let outcome = host.receive([packet(header(PEER, OURS, ipv4::PROTOCOL_ICMP), &bytes)]);
        assert!(outcome.replies.is_empty() && outcome.errors.is_empty());
        assert_eq!(host.count(Counter::IcmpDropIgnored), 1);
    }
}

#[test]
fn an_error_is_sent_with_a_tos_of_0() {
    // §3.2.2.
    let mut host = Host::new(1500);
    let asked = ipv4::Header {
        tos: 0xb8,
        ..header(PEER, OURS, UNKNOWN)
    };
    let outcome = host.receive([packet(asked, &[5; 20])]);
    let (packets, _) = host.send(outcome.replies);
    let (header, payload) = decoded(&packets[0]);
    let message = icmpv4::parse(&payload).unwrap();
    assert!(matches!(message, Message::Unreachable { code: 2, .. }));
    assert_eq!((header.dscp.value(), header.ecn.value()), (0, 0));
}
