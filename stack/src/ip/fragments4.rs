//! IPv4 fragments as [`Reassembly`](super::reassembly::Reassembly) takes them, and the header of the
//! datagram that they give (RFC 791 §3.2).

use bytes::Bytes;

use super::Cast;
use super::partial::{Arriving, ECN_CE, Whole};
use super::reassembly::Key;
use crate::checksum;
use crate::wire::ipv4;

/// Name and content of the fragment `data`, and how long the payload of its datagram may be: a datagram
/// longer than 65,535 bytes cannot be described by its own header.
pub(super) fn arriving<'a>(
    header: &ipv4::Header,
    data: &'a [u8],
    cast: Cast,
) -> (Key, Arriving<'a>, usize) {
    let key = Key {
        source: header.source.into(),
        destination: header.destination.into(),
        protocol: header.protocol,
        identification: header.identification.into(),
    };
    let header_len = usize::from(header.header_len);
    let (header_bytes, payload) = data.split_at(header_len);
    let arriving = Arriving {
        header: header_bytes,
        payload,
        offset: header.fragment_offset,
        more: header.more_fragments,
        tos: header.tos,
        cast,
    };
    (key, arriving, ipv4::MAX_LEN - header_len)
}

/// Sets the header right: it is no fragment any more.
pub(super) fn finish(whole: Whole) -> Option<(ipv4::Header, Bytes)> {
    let mut data = whole.data;
    let total_len = u16::try_from(data.len()).ok()?;
    let (front, _) = data.split_at_mut(whole.header_len);
    let mut header = ipv4::parse_quoted(front).ok()?;
    header.total_len = total_len;
    header.more_fragments = false;
    header.checksum = 0;
    if whole.congested {
        header.tos |= ECN_CE;
    }
    let options = front[ipv4::HEADER_LEN..].to_vec();
    header.emit(&options, front);
    header.checksum = checksum::checksum(front);
    front[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&header.checksum.to_be_bytes());
    Some((header, data.into()))
}
