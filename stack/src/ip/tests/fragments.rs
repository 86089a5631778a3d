//! Cutting and putting together (RFC 791 §3.2, RFC 5722).

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::fragments4;
use super::super::partial::Taken;
use super::super::reassembly::Reassembly;
use super::*;
use crate::keyed::Keyed;

/// One fragment of `payload`, in units of 8 bytes but for the end.
fn fragment(payload: &[u8], range: std::ops::Range<usize>) -> RxPacket {
    let header = ipv4::Header {
        fragment_offset: range.start as u16,
        more_fragments: range.end < payload.len(),
        ..header(PEER, OURS, ipv4::PROTOCOL_UDP)
    };
    packet(header, &payload[range])
}

/// Cuts at these places, rounded to what a fragment may begin at.
pub(super) fn ranges(len: usize, cuts: &[Index]) -> Vec<std::ops::Range<usize>> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(len) / 8 * 8).collect();
    at.extend([0, len]);
    at.sort_unstable();
    at.dedup();
    at.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

pub(super) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = crate::random::Random::from_seed(seed);
    (0..len).map(|_| random.next_u32() as u8).collect()
}

proptest! {
    #[test]
    fn any_cut_order_and_duplication_gives_the_original(
        seed: u64,
        len in 9..6000_usize,
        cuts in proptest::collection::vec(any::<Index>(), 1..12),
        order in proptest::collection::vec(any::<Index>(), 40),
    ) {
        let payload = random_bytes(seed, len);
        let pieces = ranges(len, &cuts);
        prop_assume!(pieces.len() > 1);
        // Any pieces in any order, then all that have not come.
        let mut sequence: Vec<_> = order.iter().map(|index| index.index(pieces.len())).collect();
        sequence.extend(0..pieces.len());
        let mut host = Host::new(1500);
        let mut seen = vec![false; pieces.len()];
        for piece in sequence {
            let outcome = host.receive([fragment(&payload, pieces[piece].clone())]);
            seen[piece] = true;
            if seen.iter().all(|&seen| seen) {
                prop_assert_eq!(outcome.udp.len(), 1);
                let datagram = &outcome.udp[0];
                prop_assert_eq!(&datagram.payload[..], &payload[..]);
                prop_assert_eq!(checksum::checksum(&datagram.original[..20]), 0);
                let whole = ipv4::parse(&datagram.original).unwrap();
                prop_assert!(!whole.is_fragment());
                prop_assert_eq!(host.count(Counter::IpReassembled), 1);
                prop_assert_eq!(host.count(Counter::IpDropFragment), 0);
                return Ok(());
            }
            prop_assert!(outcome.udp.is_empty());
        }
    }

    #[test]
    fn fragments_that_disagree_are_never_mixed(
        len in 32..400_usize,
        pieces in proptest::collection::vec((any::<Index>(), 1..12_usize, any::<bool>(), any::<u8>()), 1..40),
    ) {
        let mut host = Host::new(1500);
        // What was taken so far: range, end of datagram, content. `None` once two of them disagreed.
        let mut model: Option<Vec<(std::ops::Range<usize>, bool, u8)>> = Some(Vec::new());
        for (start, units, last, content) in pieces {
            let start = start.index(len) / 8 * 8;
            if start == 0 && last {
                // Not a fragment but a whole datagram.
                continue;
            }
            let end = if last { len } else { start + 8 * units };
            let content = content % 3;
            let header = ipv4::Header {
                fragment_offset: start as u16,
                more_fragments: !last,
                ..header(PEER, OURS, ipv4::PROTOCOL_UDP)
            };
            let outcome = host.receive([packet(header, &vec![content; end - start])]);
            let new = (start..end, last, content);
            if let Some(taken) = &mut model {
                let agrees = |(range, was_last, byte): &(std::ops::Range<usize>, bool, u8)| {
                    let identical = (range, was_last, byte) == (&new.0, &new.1, &new.2);
                    let disjoint = range.end <= start || end <= range.start;
                    let order = (!was_last || end <= range.end) && (!last || range.end <= end);
                    identical || (disjoint && order)
                };
                if !taken.iter().all(agrees) {
                    model = None;
                } else if !taken.contains(&new) {
                    taken.push(new);
                }
            }
            match outcome.udp.as_slice() {
                [] => {}
                [datagram] => {
                    let mut taken = model.take().expect("refused as a whole");
                    taken.sort_unstable_by_key(|piece| piece.0.start);
                    let expected: Vec<u8> =
                        taken.iter().flat_map(|(range, _, byte)| vec![*byte; range.len()]).collect();
                    prop_assert_eq!(&datagram.payload[..], &expected[..]);
                    model = Some(Vec::new());
                }
                _ => prop_assert!(false, "two datagrams at once"),
            }
        }
    }

    #[test]
    fn what_we_cut_is_put_together_by_another(
        seed: u64,
        mtu in 68..1500_usize,
        head_len in 0..40_usize,
        lens in proptest::collection::vec(0..3000_usize, 1..4),
        options in prop_oneof![Just(vec![]), Just(vec![148, 4, 0, 0]), Just(vec![7, 7, 4, 0, 0, 0, 0, 0])],
    ) {
        let mut host = Host::new(mtu);
        let mut whole = datagram(PEER, b"");
        whole.frame.head.prepend(head_len).copy_from_slice(&random_bytes(seed, head_len));
        whole.frame.payload = lens.iter().map(|&len| random_bytes(seed ^ len as u64, len).into()).collect();
        whole.protocol = ipv4::PROTOCOL_UDP;
        whole.options = Some(options.clone().into());
        let payload = whole.frame.to_vec();
        let (packets, _) = host.send([whole]);
        let mut peer = Host::with(mtu, PEER, |config| config.fragments.bytes_per_source = 4 << 20);
        let mut outcome = Outcome::default();
        for packet in &packets {
            let (header, data) = decoded(packet);
            prop_assert!(usize::from(header.total_len) <= mtu);
            prop_assert!(!data.is_empty() || payload.is_empty());
            // Only options with the copied flag are in later fragments.
            let first = header.fragment_offset.value() == 0;
            let copied = options.first() == Some(&148);
            prop_assert_eq!(header.options.is_empty(), options.is_empty() || !(first || copied));
            outcome = peer.receive([received(packet.frame.to_vec())]);
        }
        prop_assert_eq!(outcome.udp.len(), 1);
        prop_assert_eq!(&outcome.udp[0].payload[..], &payload[..]);
    }

    #[test]
    fn memory_stays_within_its_limits(
        fragments in proptest::collection::vec((0..6_u32, any::<u16>(), 0..100_u16, any::<bool>(), 1..180_usize), 1..800),
    ) {
        let limits = FragmentLimits {
            bytes: 20_000,
            bytes_per_source: 8_000,
            datagrams: 40,
            datagrams_per_source: 12,
            fragments_per_datagram: 20,
            timeout: Duration::from_secs(60),
        };
        let mut reassembly = Reassembly::new(limits, Keyed::new([1; 16]));
        for (source, identification, unit, more, units) in fragments {
            let header = ipv4::Header {
                identification: identification % 30,
                fragment_offset: unit * 8,
                more_fragments: more,
                ..header(Ipv4Addr::from(source + 1), OURS, 17)
            };
            let bytes = Bytes::from(bytes_with_options(header, &[], &vec![0; units * 8]));
            let header = ipv4::parse(&bytes).unwrap();
            let (key, arriving, most) = fragments4::arriving(&header, &bytes, Cast::Unicast);
            reassembly.take(NOW, key, &arriving, most);
            prop_assert!(reassembly.cost() <= 20_000);
            let (total, of_source) = reassembly.counts(key.source);
            prop_assert!(total <= 40 && of_source <= 12);
            prop_assert!(reassembly.cost_of(key.source) <= 8_000);
        }
        reassembly.expire(NOW + Duration::from_secs(60), |_| {});
        prop_assert_eq!(reassembly.cost(), 0);
        prop_assert_eq!(reassembly.next_deadline(), None);
    }
}

#[test]
fn after_a_disagreement_the_rest_is_refused_too() {
    let mut host = Host::new(1500);
    let payload = random_bytes(1, 32);
    host.receive([fragment(&payload, 0..16)]);
    host.receive([fragment(&payload, 8..16)]);
    let outcome = host.receive([fragment(&payload, 0..16), fragment(&payload, 16..32)]);
    assert!(outcome.udp.is_empty());
    assert_eq!(host.count(Counter::IpDropFragment), 3);
    // Its time over, the same identification may be used again.
    let later = NOW + Duration::from_secs(60);
    assert!(host.poll(later).replies.is_empty());
    let outcome = host.receive_at(
        later,
        [fragment(&payload, 0..16), fragment(&payload, 16..32)],
    );
    assert_eq!(outcome.udp.len(), 1);
}

#[test]
fn fragments_of_different_datagrams_do_not_meet() {
    let mut host = Host::new(1500);
    let base = header(PEER, OURS, ipv4::PROTOCOL_UDP);
    let others = [
        ipv4::Header {
            identification: 78,
            ..base
        },
        ipv4::Header {
            source: STRANGER,
            ..base
        },
        ipv4::Header {
            protocol: ipv4::PROTOCOL_TCP,
            ..base
        },
    ];
    let first = |header| {
        packet(
            ipv4::Header {
                more_fragments: true,
                ..header
            },
            &[0; 8],
        )
    };
    let last = |header| {
        packet(
            ipv4::Header {
                fragment_offset: 8,
                ..header
            },
            &[1; 8],
        )
    };
    let outcome = host.receive(
        others
            .iter()
            .map(|&header| last(header))
            .chain([first(base)]),
    );
    assert!(outcome.udp.is_empty() && outcome.tcp.is_empty());
    let outcome = host.receive([last(base)]);
    assert_eq!(outcome.udp.len(), 1);
}

#[test]
fn impossible_fragments_are_dropped() {
    let base = header(PEER, OURS, ipv4::PROTOCOL_UDP);
    let impossible = [
        // Not the last, but not a multiple of 8 long.
        (
            ipv4::Header {
                more_fragments: true,
                ..base
            },
            9,
        ),
        // Empty.
        (
            ipv4::Header {
                more_fragments: true,
                ..base
            },
            0,
        ),
        // Beyond the largest datagram ("ping of death").
        (
            ipv4::Header {
                fragment_offset: 65_528,
                ..base
            },
            100,
        ),
        (
            ipv4::Header {
                fragment_offset: 65_512,
                ..base
            },
            8,
        ),
    ];
    for (header, len) in impossible {
        let mut host = Host::new(1500);
        host.receive([packet(header, &vec![0; len])]);
        assert_eq!(host.count(Counter::IpDropFragment), 1);
        assert_eq!(host.reader.next_deadline(), None, "nothing is held");
    }
}

#[test]
fn the_sender_is_told_of_a_time_out_if_its_first_fragment_came() {
    let payload = random_bytes(1, 64);
    for (range, told) in [(0..32, true), (32..64, false)] {
        let mut host = Host::new(1500);
        let first = fragment(&payload, range);
        host.receive([first.clone()]);
        assert_eq!(
            host.reader.next_deadline(),
            Some(NOW + Duration::from_secs(60))
        );
        assert!(host.poll(NOW + Duration::from_secs(59)).replies.is_empty());
        let outcome = host.poll(NOW + Duration::from_secs(60));
        assert_eq!(host.count(Counter::IpReassemblyTimeouts), 1);
        assert_eq!(outcome.replies.len(), usize::from(told));
        if told {
            let (packets, _) = host.send(outcome.replies);
            let (_, message) = decoded(&packets[0]);
            assert_eq!(message[..2], [11, 1], "Time Exceeded, in reassembly");
            assert_eq!(message[8..], first.data);
        }
    }
}

#[test]
fn congestion_marks_survive_and_mixed_ones_do_not() {
    let payload = random_bytes(1, 16);
    let marked = |range: std::ops::Range<usize>, ecn| {
        let header = ipv4::Header {
            tos: ecn,
            fragment_offset: range.start as u16,
            more_fragments: range.end < 16,
            ..header(PEER, OURS, ipv4::PROTOCOL_UDP)
        };
        packet(header, &payload[range])
    };
    let table = [
        (2, 3, Some(3)),
        (3, 2, Some(3)),
        (2, 2, Some(2)),
        (0, 0, Some(0)),
        (0, 3, None),
        (3, 0, None),
    ];
    for (first, second, expected) in table {
        let mut host = Host::new(1500);
        let outcome = host.receive([marked(0..8, first), marked(8..16, second)]);
        assert_eq!(outcome.udp.first().map(|datagram| datagram.tos), expected);
    }
}

#[test]
fn one_source_cannot_push_out_another() {
    let limits = FragmentLimits::default();
    let mut reassembly = Reassembly::new(limits, Keyed::new([1; 16]));
    let mut take = |source: Ipv4Addr, identification, offset, more| {
        let header = ipv4::Header {
            identification,
            fragment_offset: offset,
            more_fragments: more,
            ..header(source, OURS, 17)
        };
        let bytes = Bytes::from(bytes_with_options(header, &[], &[0; 800]));
        let header = ipv4::parse(&bytes).unwrap();
        let (key, arriving, most) = fragments4::arriving(&header, &bytes, Cast::Unicast);
        reassembly.take(NOW, key, &arriving, most)
    };
    assert_eq!(take(PEER, 1, 0, true), Taken::Held);
    for identification in 0..50_000_u32 {
        take(STRANGER, identification as u16, 0, true);
    }
    assert!(matches!(take(PEER, 1, 800, false), Taken::Whole(_)));
}
