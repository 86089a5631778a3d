//! `struct virtio_net_hdr` (virtio 1.2 §5.1.6; `linux/virtio_net.h`): the ten bytes in front of a frame
//! that carry its offload facts through TAP, TUN and AF_PACKET.
//!
//! Fields are in the machine's byte order, as these devices have them by default. Left out: receive
//! coalescing (`num_buffers`, `RSC_INFO`) and UFO, which Linux no longer makes.

use crate::frame::{
    Checksum, PartialChecksum, RxChecksum, RxFrame, Segmentation, SegmentationKind, TxFrame,
};

/// Bytes of the header.
pub const VNET_HEADER_BYTES: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const TCP_CHECKSUM_OFFSET: u16 = 16;

/// The header for a frame to be sent.
#[must_use]
pub fn encode(frame: &TxFrame) -> [u8; VNET_HEADER_BYTES] {
    let mut header = [0; VNET_HEADER_BYTES];
    if let Checksum::Partial(partial) = frame.checksum {
        header[0] = NEEDS_CSUM;
        put(&mut header, 6, partial.start);
        put(&mut header, 8, partial.offset);
    }
    if let Some(segmentation) = frame.segmentation {
        let ecn = if segmentation.ecn { GSO_ECN } else { 0 };
        header[1] = ecn
            | match segmentation.kind {
                SegmentationKind::Tcp4 => GSO_TCPV4,
                SegmentationKind::Tcp6 => GSO_TCPV6,
                SegmentationKind::Udp => GSO_UDP_L4,
            };
        put(&mut header, 2, segmentation.header_len);
        put(&mut header, 4, segmentation.size);
    }
    header
}

/// What a header says about the frame behind it; `None` if it contradicts the frame or is of a kind that
/// nobody asked for.
#[must_use]
pub fn decode(
    header: &[u8; VNET_HEADER_BYTES],
    frame: &[u8],
) -> Option<(RxChecksum, Option<Segmentation>)> {
    let partial = PartialChecksum {
        start: get(header, 6),
        offset: get(header, 8),
    };
    let checksum = if header[0] & NEEDS_CSUM != 0 {
        let end = usize::from(partial.start) + usize::from(partial.offset) + 2;
        if end > frame.len() {
            return None;
        }
        RxChecksum::Partial(partial)
    } else if header[0] & DATA_VALID != 0 {
        RxChecksum::Verified
    } else {
        RxChecksum::Unknown
    };
    let kind = match header[1] & !GSO_ECN {
        GSO_NONE => return Some((checksum, None)),
        GSO_TCPV4 => SegmentationKind::Tcp4,
        GSO_TCPV6 => SegmentationKind::Tcp6,
        GSO_UDP_L4 => SegmentationKind::Udp,
        _ => return None,
    };
    let size = get(header, 4);
    if size == 0 {
        return None;
    }
    let segmentation = Segmentation {
        kind,
        size,
        header_len: header_len(kind, checksum, get(header, 2), frame),
        ecn: header[1] & GSO_ECN != 0,
    };
    Some((checksum, Some(segmentation)))
}

/// Linux fills `hdr_len` with however much of the frame lies in its first buffer, so the length of the
/// headers is read from the transport header wherever `csum_start` says where that is.
fn header_len(kind: SegmentationKind, checksum: RxChecksum, hint: u16, frame: &[u8]) -> u16 {
    let RxChecksum::Partial(partial) = checksum else {
        return hint.min(u16::try_from(frame.len()).unwrap_or(u16::MAX));
    };
    let transport_len = match kind {
        SegmentationKind::Udp => 8,
        SegmentationKind::Tcp4 | SegmentationKind::Tcp6
            if partial.offset == TCP_CHECKSUM_OFFSET =>
        {
            let data_offset = frame
                .get(usize::from(partial.start) + 12)
                .copied()
                .unwrap_or(0);
            u16::from(data_offset >> 4) * 4
        }
        _ => return hint,
    };
    partial.start.saturating_add(transport_len)
}

/// A received frame from its header and its bytes; `None` as in [`decode`].
#[must_use]
pub fn receive(
    header: &[u8; VNET_HEADER_BYTES],
    data: bytes::Bytes,
    vlan_tci: Option<u16>,
) -> Option<RxFrame> {
    let (checksum, segmentation) = decode(header, &data)?;
    Some(RxFrame {
        data,
        checksum,
        segmentation,
        vlan_tci,
    })
}

fn put(header: &mut [u8; VNET_HEADER_BYTES], at: usize, value: u16) {
    header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

fn get(header: &[u8; VNET_HEADER_BYTES], at: usize) -> u16 {
    u16::from_ne_bytes([header[at], header[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = SegmentationKind> {
        prop_oneof![
            Just(SegmentationKind::Tcp4),
            Just(SegmentationKind::Tcp6),
            Just(SegmentationKind::Udp)
        ]
    }

    proptest! {
        #[test]
        fn what_is_asked_of_the_device_is_what_the_other_side_reads(
            kind in kinds(), size in 1u16.., ecn: bool, segmented: bool, start in 14u16..80
        ) {
            let offset = if kind == SegmentationKind::Udp { 6 } else { TCP_CHECKSUM_OFFSET };
            let transport_len = if kind == SegmentationKind::Udp { 8 } else { 32 };
            let partial = PartialChecksum { start, offset };
            let header_len = start + transport_len;
            let segmentation = segmented.then_some(Segmentation { kind, size, header_len, ecn });
            let sent = TxFrame { checksum: Checksum::Partial(partial), segmentation, ..TxFrame::default() };
            let mut bytes = vec![0; 200];
            bytes[usize::from(start) + 12] = 0x80; // data offset of 8 words
            let decoded = decode(&encode(&sent), &bytes);
            prop_assert_eq!(decoded, Some((RxChecksum::Partial(partial), segmentation)));
        }

        #[test]
        fn any_header_is_refused_or_stays_inside_the_frame(header: [u8; VNET_HEADER_BYTES], frame: Vec<u8>) {
            if let Some((RxChecksum::Partial(partial), _)) = decode(&header, &frame) {
                prop_assert!(usize::from(partial.start) + usize::from(partial.offset) + 2 <= frame.len());
            }
        }
    }

    #[test]
    fn a_complete_frame_has_an_empty_header() {
        assert_eq!(encode(&TxFrame::default()), [0; VNET_HEADER_BYTES]);
        assert_eq!(
            decode(&[0; VNET_HEADER_BYTES], b"frame"),
            Some((RxChecksum::Unknown, None))
        );
    }

    #[test]
    fn checked_by_the_carrier_means_verified() {
        let mut header = [0; VNET_HEADER_BYTES];
        header[0] = DATA_VALID;
        assert_eq!(
            decode(&header, b"frame"),
            Some((RxChecksum::Verified, None))
        );
    }

    #[test]
    fn segments_of_no_size_and_unknown_kinds_are_refused() {
        let mut header = [0; VNET_HEADER_BYTES];
        header[1] = GSO_TCPV4;
        assert_eq!(decode(&header, b"frame"), None);
        header[1] = 3; // UFO
        put(&mut header, 4, 1000);
        assert_eq!(decode(&header, b"frame"), None);
    }
}
