//! IPv6 fragments as [`Reassembly`](crate::ip::reassembly::Reassembly) takes them, and the header of the
//! datagram that they give (RFC 8200 §4.5).

use bytes::Bytes;

use super::headers::{End, Next, walk};
use crate::ip::Cast;
use crate::ip::partial::{Arriving, ECN_CE, Whole};
use crate::ip::reassembly::Key;
use crate::wire::ipv6::{
    self, HEADER_LEN, MAX_PAYLOAD_LEN, NEXT_FRAGMENT, NEXT_ICMPV6, PAYLOAD_LEN_OFFSET,
};
use crate::wire::ipv6_extension::{FRAGMENT_LEN, Fragment};
use crate::wire::{icmpv6, ipv4, tcp, udp};

/// Bits of the first two bytes of a header that carry ECN: the traffic class begins at bit 4.
const ECN_SHIFT: u8 = 4;

/// Name and content of the fragment `data`, whose fragment header stands at `at`, and how long the
/// fragmentable part of its datagram may be.
pub(super) fn arriving<'a>(
    header: &ipv6::Header,
    fragment: &Fragment,
    at: usize,
    data: &'a [u8],
    cast: Cast,
) -> (Key, Arriving<'a>, usize) {
    let key = Key {
        source: header.source.into(),
        destination: header.destination.into(),
        protocol: NEXT_FRAGMENT,
        identification: fragment.identification,
    };
    let (header_bytes, payload) = data.split_at(at + FRAGMENT_LEN);
    let arriving = Arriving {
        header: header_bytes,
        payload,
        offset: fragment.offset,
        more: fragment.more,
        tos: header.traffic_class,
        cast,
    };
    (key, arriving, MAX_PAYLOAD_LEN - (at - HEADER_LEN))
}

/// The datagram without its fragment header, which is the last thing in the header of its first fragment.
pub(super) fn finish(whole: Whole) -> Option<Bytes> {
    let Whole {
        mut data,
        header_len,
        congested,
        ..
    } = whole;
    let at = header_len.checked_sub(FRAGMENT_LEN)?;
    unwrap(&mut data, at)?;
    if congested {
        data[1] |= ECN_CE << ECN_SHIFT;
    }
    Some(data.into())
}

/// Takes the fragment header at `at` out of `data`.
pub(super) fn unwrap(data: &mut Vec<u8>, at: usize) -> Option<()> {
    let Ok(End::Fragment(fragment, next)) = walk(data, Next::first(data)) else {
        return None;
    };
    debug_assert_eq!(next.at, at, "the first fragment header ends a chain");
    data[next.named_at] = fragment.next_header;
    data.drain(at..at + FRAGMENT_LEN);
    let payload_len = u16::try_from(data.len() - HEADER_LEN).ok()?;
    data[PAYLOAD_LEN_OFFSET..][..2].copy_from_slice(&payload_len.to_be_bytes());
    Some(())
}

/// True if a first fragment has all headers in it, that of the transport included, so that nobody on the
/// way had to guess (RFC 7112 §4).
pub(super) fn has_all_headers(data: &[u8], fragment: &Fragment, at: usize) -> bool {
    let first = Next {
        kind: fragment.next_header,
        at: at + FRAGMENT_LEN,
        named_at: at,
    };
    match walk(data, first) {
        Ok(End::Upper(next)) => {
            let least = match next.kind {
                ipv4::PROTOCOL_TCP => tcp::HEADER_LEN,
                ipv4::PROTOCOL_UDP => udp::HEADER_LEN,
                NEXT_ICMPV6 => icmpv6::HEADER_LEN,
                _ => 0,
            };
            data.len() >= next.at + least
        }
        // What else is wrong will be told about the whole.
        Ok(End::Fragment(..)) => true,
        Err(refusal) => refusal != super::headers::Refusal::Truncated,
    }
}
