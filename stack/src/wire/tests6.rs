//! The formats of IPv6 beside its fixed header: against themselves, against foreign decoders, and against
//! arbitrary bytes.

use std::net::Ipv6Addr;

use pnet::packet::icmpv6::ndp as foreign;
use proptest::prelude::*;

use super::ethernet::MacAddr;
use super::ipv6_extension::{Fragment, OPTION_PADN};
use super::ndp::{Message, Options, Prefix, Router};
use super::*;

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (v6(), 0..=128_u8, any::<(bool, bool, u32, u32)>()).prop_map(
        |(prefix, len, (on_link, autonomous, valid_s, preferred_s))| Prefix {
            prefix,
            len,
            on_link,
            autonomous,
            valid_s,
            preferred_s,
        },
    )
}

fn options() -> impl Strategy<Value = Options> {
    (
        proptest::option::of(mac()),
        proptest::option::of(mac()),
        proptest::option::of(any::<u32>()),
        proptest::collection::vec(prefix(), 0..4),
    )
        .prop_map(|(source, target, mtu, prefixes)| Options {
            source,
            target,
            mtu,
            prefixes: prefixes.into_iter().collect(),
        })
}

fn message() -> impl Strategy<Value = Message> {
    let router = any::<(u8, bool, bool, u16, u32, u32)>().prop_map(
        |(hop_limit, managed, other, lifetime_s, reachable_ms, retransmit_ms)| {
            Message::RouterAdvertisement(Router {
                hop_limit,
                managed,
                other,
                lifetime_s,
                reachable_ms,
                retransmit_ms,
            })
        },
    );
    let advertisement =
        (v6(), any::<(bool, bool, bool)>()).prop_map(|(target, (router, solicited, overrides))| {
            Message::NeighbourAdvertisement {
                target,
                router,
                solicited,
                overrides,
            }
        });
    prop_oneof![
        Just(Message::RouterSolicitation),
        router,
        v6().prop_map(|target| Message::NeighbourSolicitation { target }),
        advertisement,
    ]
}

fn emitted(message: &Message, options: &Options) -> Vec<u8> {
    let mut bytes = vec![0xee; message.emitted_len(options)];
    message.emit(options, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn fragment_round_trip(next_header: u8, offset: u16, more: bool, identification: u32) {
        let fragment = Fragment { next_header, offset: offset & 0xfff8, more, identification };
        let mut bytes = [0xee; ipv6_extension::FRAGMENT_LEN];
        fragment.emit(&mut bytes);
        prop_assert_eq!(ipv6_extension::parse_fragment(&bytes), Ok(fragment));
        let (foreign, _) = etherparse::Ipv6FragmentHeader::from_slice(&bytes).unwrap();
        prop_assert_eq!(foreign.next_header.0, next_header);
        prop_assert_eq!(foreign.fragment_offset.byte_offset(), fragment.offset);
        prop_assert_eq!((foreign.more_fragments, foreign.identification), (more, identification));
    }

    #[test]
    fn extensions_end_where_a_foreign_decoder_ends_them(next: u8, content in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut content = content;
        content.resize((content.len() + 2).next_multiple_of(8) - 2, 0);
        let bytes = [&[next, ((content.len() + 2) / 8 - 1) as u8], &content[..], b"rest"].concat();
        let parsed = ipv6_extension::parse(&bytes).unwrap();
        prop_assert_eq!((parsed.next_header, parsed.content), (next, &content[..]));
        let (foreign, rest) = etherparse::Ipv6RawExtHeader::from_slice(&bytes).unwrap();
        prop_assert_eq!(foreign.payload(), &content[..]);
        prop_assert_eq!(rest, b"rest");
        let short = ipv6_extension::parse(&bytes[..parsed.len - 1]);
        prop_assert_eq!(short, Err(Malformed::Truncated));
    }

    #[test]
    fn options_are_found_between_padding(
        options in proptest::collection::vec((2..=255_u8, proptest::collection::vec(any::<u8>(), 0..9), 0..4_usize), 0..8),
    ) {
        let mut content = Vec::new();
        for (kind, data, padding) in &options {
            match padding {
                0 => {}
                1 => content.push(0),
                more => content.extend([&[OPTION_PADN, *more as u8 - 2][..], &vec![9; more - 2]].concat()),
            }
            content.extend([&[*kind, data.len() as u8][..], data].concat());
        }
        let found: Vec<_> = ipv6_extension::options(&content).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(found.len(), options.len());
        for ((kind, at, data), expected) in found.into_iter().zip(&options) {
            prop_assert_eq!((kind, data), (expected.0, &expected.1[..]));
            prop_assert_eq!(content[at], kind);
        }
    }

    #[test]
    fn icmp_round_trip(kind: u8, code: u8, rest: [u8; 4]) {
        let code = if kind == 2 { 0 } else { code };
        let bytes = [&[kind, code, 0, 0][..], &rest].concat();
        let message = icmpv6::parse(&bytes).unwrap();
        let mut again = [0xee; icmpv6::HEADER_LEN];
        message.emit(&mut again);
        prop_assert_eq!(icmpv6::parse(&again), Ok(message));
        prop_assert_eq!((again[0], again[1]), (kind, code));
        let foreign = etherparse::Icmpv6Slice::from_slice(&again).unwrap();
        prop_assert_eq!((foreign.type_u8(), foreign.code_u8()), (kind, code));
    }

    #[test]
    fn discovery_round_trip(message in message(), options in options()) {
        let bytes = emitted(&message, &options);
        prop_assert_eq!(ndp::parse(&bytes), Ok((message, options)));
        prop_assert!(ndp::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_foreign_decoder_reads_the_same_discovery(message in message(), options in options()) {
        let bytes = emitted(&message, &options);
        match message {
            Message::RouterSolicitation => {
                let packet = foreign::RouterSolicitPacket::new(&bytes).unwrap();
                prop_assert_eq!(packet.get_icmpv6_type().0, 133);
            }
            Message::RouterAdvertisement(router) => {
                let packet = foreign::RouterAdvertPacket::new(&bytes).unwrap();
                prop_assert_eq!(packet.get_hop_limit(), router.hop_limit);
                prop_assert_eq!(packet.get_flags() & 0xc0, u8::from(router.managed) << 7 | u8::from(router.other) << 6);
                prop_assert_eq!(packet.get_lifetime(), router.lifetime_s);
                prop_assert_eq!(packet.get_reachable_time(), router.reachable_ms);
                prop_assert_eq!(packet.get_retrans_time(), router.retransmit_ms);
                prop_assert_eq!(packet.get_options().len(), count(&options));
            }
            Message::NeighbourSolicitation { target } => {
                let packet = foreign::NeighborSolicitPacket::new(&bytes).unwrap();
                prop_assert_eq!(packet.get_target_addr(), target);
                prop_assert_eq!(packet.get_options().len(), count(&options));
            }
            Message::NeighbourAdvertisement { target, router, solicited, overrides } => {
                let packet = foreign::NeighborAdvertPacket::new(&bytes).unwrap();
                prop_assert_eq!(packet.get_target_addr(), target);
                let flags = u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(overrides) << 5;
                prop_assert_eq!(packet.get_flags(), flags);
                prop_assert_eq!(packet.get_options().len(), count(&options));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 130..140_u8, bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = icmpv6::parse(&bytes);
        let _ = ndp::parse(&bytes);
        let _ = ndp::parse(&[&[kind, 0][..], &bytes].concat());
        let _ = mld::parse_query(&[&[mld::QUERY, 0][..], &bytes].concat());
        let _ = igmp::parse_query(&[&[igmp::QUERY][..], &bytes].concat());
        let _ = ipv6_extension::parse_fragment(&bytes);
        let _ = ipv6_extension::routing(&bytes);
        if let Ok(extension) = ipv6_extension::parse(&bytes) {
            prop_assert!(extension.len <= bytes.len());
        }
        for (_, at, data) in ipv6_extension::options(&bytes).flatten() {
            prop_assert!(at + 2 + data.len() <= bytes.len());
        }
    }
}

fn count(options: &Options) -> usize {
    let single = [
        options.source.is_some(),
        options.target.is_some(),
        options.mtu.is_some(),
    ];
    single.iter().filter(|&&there| there).count() + options.prefixes.len()
}

#[test]
fn whoever_may_have_an_address_listens_in_its_group() {
    let group = ipv6::solicited_node("2037::1:800:200e:8c6c".parse().unwrap());
    assert_eq!(group.to_string(), "ff02::1:ff0e:8c6c", "RFC 4291 §2.7.1");
}

#[test]
fn long_times_are_floating_point_numbers() {
    let igmp = |code: u8, len: usize| {
        let mut bytes = vec![igmp::QUERY, code];
        bytes.resize(len, 0);
        igmp::parse_query(&bytes).unwrap().max_response_ms
    };
    // RFC 3376 §4.1.1: (mantissa | 0x10) << (exponent + 3), in tenths of a second.
    assert_eq!(
        [igmp(100, 12), igmp(0x80, 12), igmp(0xff, 12)],
        [10_000, 12_800, 3_174_400]
    );
    assert_eq!(
        [igmp(0, 8), igmp(0xff, 8)],
        [10_000, 25_500],
        "older versions"
    );
    let mld = |code: u16, len: usize| {
        let mut bytes = vec![mld::QUERY, 0, 0, 0];
        bytes.extend(code.to_be_bytes());
        bytes.resize(len, 0);
        mld::parse_query(&bytes).unwrap().max_response_ms
    };
    // RFC 3810 §5.1.3: (mantissa | 0x1000) << (exponent + 3), in milliseconds.
    assert_eq!(
        [mld(10_000, 28), mld(0x8000, 28), mld(0xffff, 28)],
        [10_000, 32_768, 8_387_584]
    );
    assert_eq!(mld(0xffff, 24), 65_535, "the first version");
}

#[test]
fn queries_for_what_is_no_group_are_refused() {
    let mut bytes = [0; 12];
    (bytes[0], bytes[4]) = (igmp::QUERY, 10);
    assert_eq!(igmp::parse_query(&bytes), Err(Malformed::Value));
    let mut bytes = [0; 28];
    (bytes[0], bytes[8]) = (mld::QUERY, 0x20);
    assert_eq!(mld::parse_query(&bytes), Err(Malformed::Value));
    assert_eq!(mld::parse_query(&bytes[..27]), Err(Malformed::Truncated));
}
