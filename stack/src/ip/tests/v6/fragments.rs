//! Cutting and putting together (RFC 8200 §4.5, RFC 5722, RFC 6946, RFC 7112).

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::wire::ipv6::{NEXT_DESTINATION, NEXT_FRAGMENT};
use crate::wire::ipv6_extension::FRAGMENT_LEN;

const UDP: u8 = ipv4::PROTOCOL_UDP;

/// One fragment of `payload`, with a destination options header in front if wanted.
fn fragment(payload: &[u8], range: std::ops::Range<usize>, options: bool) -> RxPacket {
    let fragment = Fragment {
        next_header: UDP,
        offset: range.start as u16,
        more: range.end < payload.len(),
        identification: 77,
    };
    wrapped(fragment, &payload[range], options)
}

fn wrapped(fragment: Fragment, payload: &[u8], options: bool) -> RxPacket {
    let mut head = [0; FRAGMENT_LEN];
    fragment.emit(&mut head);
    let (first, front) = if options {
        (NEXT_DESTINATION, extension(NEXT_FRAGMENT, &[0; 6]))
    } else {
        (NEXT_FRAGMENT, Vec::new())
    };
    packet(
        header(PEER, OURS, first),
        &[&front[..], &head, payload].concat(),
    )
}

proptest! {
    #[test]
    fn any_cut_order_and_duplication_gives_the_original(
        seed: u64,
        len in 9..6000_usize,
        cuts in proptest::collection::vec(any::<Index>(), 1..12),
        order in proptest::collection::vec(any::<Index>(), 40),
        options: bool,
    ) {
        let payload = random_bytes(seed, len);
        let mut pieces = ranges(len, &cuts);
        // A first fragment has the transport's header in it.
        if pieces[0].end < 8 {
            pieces.remove(0);
            pieces[0].start = 0;
        }
        prop_assume!(pieces.len() > 1);
        let mut sequence: Vec<_> = order.iter().map(|index| index.index(pieces.len())).collect();
        sequence.extend(0..pieces.len());
        let mut host = host(1500);
        let mut seen = vec![false; pieces.len()];
        for piece in sequence {
            let outcome = host.receive([fragment(&payload, pieces[piece].clone(), options)]);
            seen[piece] = true;
            if seen.iter().all(|&seen| seen) {
                prop_assert_eq!(outcome.udp.len(), 1);
                let datagram = &outcome.udp[0];
                prop_assert_eq!(&datagram.payload[..], &payload[..]);
                // As if it had never been cut.
                let front = if options { extension(UDP, &[0; 6]) } else { Vec::new() };
                let first = if options { NEXT_DESTINATION } else { UDP };
                let whole = bytes(header(PEER, OURS, first), &[&front[..], &payload].concat());
                prop_assert_eq!(&datagram.original[..], &whole[..]);
                prop_assert_eq!(host.count(Counter::IpDropFragment), 0);
                return Ok(());
            }
            prop_assert!(outcome.udp.is_empty());
        }
    }

    #[test]
    fn what_we_cut_is_put_together_by_another(
        seed: u64,
        mtu in 1280..1500_usize,
        head_len in 0..40_usize,
        lens in proptest::collection::vec(0..6000_usize, 1..4),
    ) {
        let mut ours = host(mtu);
        let mut whole = datagram(PEER, b"");
        whole.frame.head.prepend(head_len).copy_from_slice(&random_bytes(seed, head_len));
        whole.frame.payload = lens.iter().map(|&len| random_bytes(seed ^ len as u64, len).into()).collect();
        whole.protocol = UDP;
        let payload = whole.frame.to_vec();
        prop_assume!(payload.len() >= 8);
        let (packets, _) = ours.send([whole]);
        let mut peer = host_at(mtu, PEER);
        let mut outcome = Outcome::default();
        for packet in &packets {
            let (_, rest) = decoded(packet);
            prop_assert!(rest.len() + 40 <= mtu);
            if packets.len() > 1 {
                let (foreign, _) = etherparse::Ipv6FragmentHeader::from_slice(&rest).unwrap();
                prop_assert_eq!(foreign.next_header.0, UDP);
                prop_assert!(!foreign.more_fragments || (rest.len() - 8) % 8 == 0);
            }
            outcome = peer.receive([received(packet.frame.to_vec())]);
        }
        prop_assert_eq!(outcome.udp.len(), 1);
        prop_assert_eq!(&outcome.udp[0].payload[..], &payload[..]);
    }
}

#[test]
fn an_overlap_refuses_the_whole_and_all_that_comes_later() {
    let payload = random_bytes(1, 32);
    let mut host = host(1500);
    host.receive([fragment(&payload, 0..16, false)]);
    let outcome = host.receive([
        fragment(&payload, 8..24, false),
        fragment(&payload, 0..16, false),
        fragment(&payload, 16..32, false),
    ]);
    assert!(outcome.udp.is_empty() && outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IpDropFragment), 3);
}

#[test]
fn an_atomic_fragment_meets_no_other() {
    let mut host = host(1500);
    let atomic = Fragment {
        next_header: UDP,
        offset: 0,
        more: false,
        identification: 77,
    };
    let payload = random_bytes(1, 32);
    host.receive([fragment(&payload, 0..16, false)]);
    let outcome = host.receive([wrapped(atomic, b"all of it", false)]);
    assert_eq!(outcome.udp[0].payload, &b"all of it"[..]);
    let outcome = host.receive([fragment(&payload, 16..32, false)]);
    assert_eq!(
        outcome.udp[0].payload,
        &payload[..],
        "the other is unharmed"
    );
    // A fragment header within a fragment is nobody's idea of a datagram.
    let mut inner = [0; FRAGMENT_LEN];
    atomic.emit(&mut inner);
    let outer = Fragment {
        next_header: NEXT_FRAGMENT,
        ..atomic
    };
    let outcome = host.receive([wrapped(
        outer,
        &[&inner[..], b"twelve bytes"].concat(),
        false,
    )]);
    assert!(outcome.udp.is_empty());
    assert_eq!(host.count(Counter::IpDropFragment), 1);
}

#[test]
fn impossible_fragments_are_told_to_their_sender() {
    let base = Fragment {
        next_header: UDP,
        offset: 0,
        more: true,
        identification: 77,
    };
    let table = [
        // Not a multiple of eight: the payload length is wrong.
        (base, 9, (4, 0, 4)),
        // Beyond the largest datagram: the offset is wrong.
        (
            Fragment {
                offset: 65_528,
                more: false,
                ..base
            },
            100,
            (4, 0, 42),
        ),
        // Without all of the transport's header (RFC 7112).
        (
            Fragment {
                next_header: ipv4::PROTOCOL_TCP,
                ..base
            },
            16,
            (4, 3, 0),
        ),
    ];
    for (fragment, len, expected) in table {
        let mut host = host(1500);
        let outcome = host.receive([wrapped(fragment, &vec![0; len], false)]);
        assert_eq!(host.count(Counter::IpDropFragment), 1);
        assert_eq!(host.reader.next_deadline(), None, "nothing is held");
        let (packets, _) = host.send(outcome.replies);
        let (_, message) = decoded(&packets[0]);
        let pointer = u32::from_be_bytes(message[4..8].try_into().unwrap());
        assert_eq!((message[0], message[1], pointer), expected);
    }
}

#[test]
fn the_sender_is_told_of_a_time_out_if_its_first_fragment_came() {
    let payload = random_bytes(1, 64);
    for (range, told) in [(0..32, true), (32..64, false)] {
        let mut host = host(1500);
        let first = fragment(&payload, range, false);
        host.receive([first.clone()]);
        let outcome = host.poll(NOW + Duration::from_secs(60));
        assert_eq!(host.count(Counter::IpReassemblyTimeouts), 1);
        assert_eq!(outcome.replies.len(), usize::from(told));
        if told {
            let (packets, _) = host.send(outcome.replies);
            let (_, message) = decoded(&packets[0]);
            assert_eq!(message[..2], [3, 1], "Time Exceeded, in reassembly");
            assert_eq!(message[8..], first.data);
        }
    }
}

#[test]
fn congestion_marks_survive() {
    let payload = random_bytes(1, 16);
    let mut host = host(1500);
    let mut marked = fragment(&payload, 8..16, false).data.to_vec();
    marked[1] |= 3 << 4;
    let mut unmarked = fragment(&payload, 0..8, false).data.to_vec();
    unmarked[1] |= 2 << 4;
    let outcome = host.receive([received(marked), received(unmarked)]);
    assert_eq!(outcome.udp[0].tos, 3);
}
