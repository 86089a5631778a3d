//! From a segment to a datagram: the header in front, the checksum left for the last stage.

use super::{Flags, FourTuple, Segment, TxSegment};
use crate::checksum;
use crate::ip::TxDatagram;
use crate::packet::{Checksum, PartialChecksum, Segmentation, SegmentationKind, TxFrame, grow};
use crate::wire::tcp::{CHECKSUM_OFFSET, Header};

/// The protocol number of TCP.
pub(super) const PROTOCOL: u8 = 6;
/// Of the TOS byte or traffic class, what belongs to ECN (RFC 3168 §5).
const ECN_BITS: u8 = 0b11;

/// The datagram that carries `segment`. Its payload is referred to; the checksum field holds the sum of
/// the pseudo-header (of the whole, if the device is to cut it). `tos` gives the DSCP alone, the segment its ECN bits.
pub(super) fn datagram(id: &FourTuple, segment: TxSegment, ttl: u8, tos: u8) -> TxDatagram {
    let payload_len: usize = segment.payload.iter().map(bytes::Bytes::len).sum();
    let mut header = Header {
        source_port: id.local_port,
        destination_port: id.remote_port,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        ae: segment.ae,
        window: segment.window,
        urgent: segment.urgent,
        options: segment.options,
        ..Header::default()
    };
    let header_len = header.emitted_len();
    let len = header_len + payload_len;
    header.checksum = checksum::pseudo_header(id.local, id.remote, PROTOCOL, len);
    let mut frame = TxFrame {
        payload: segment.payload,
        ..TxFrame::default()
    };
    header.emit(grow(&mut frame, header_len));
    frame.checksum = Checksum::Partial(PartialChecksum {
        start: 0,
        offset: CHECKSUM_OFFSET as u16,
    });
    frame.segmentation = segment
        .segment_bytes
        .filter(|&size| payload_len > usize::from(size))
        .map(|size| Segmentation {
            kind: if id.local.is_ipv4() {
                SegmentationKind::Tcp4
            } else {
                SegmentationKind::Tcp6
            },
            size,
            header_len: header_len as u16,
            ecn: segment.flags.contains(Flags::CWR),
        });
    TxDatagram {
        frame,
        source: id.local,
        destination: id.remote,
        protocol: PROTOCOL,
        tos: tos & !ECN_BITS | segment.ecn & ECN_BITS,
        ttl,
        options: None,
        // Path MTU discovery (RFC 1191): the IP layer clears DF where it gave that up.
        may_fragment: false,
    }
}

/// The RST for a segment that belongs to no connection (RFC 9293 §3.10.7.1); none for a RST.
pub(super) fn refusal(segment: &Segment) -> Option<TxSegment> {
    if segment.flags.contains(Flags::RST) {
        return None;
    }
    if segment.flags.contains(Flags::ACK) {
        return Some(TxSegment {
            seq: segment.ack,
            flags: Flags::RST,
            ..TxSegment::default()
        });
    }
    let octet = |flag| u32::from(segment.flags.contains(flag));
    let len = segment.payload.len() as u32 + octet(Flags::SYN) + octet(Flags::FIN);
    Some(TxSegment {
        ack: segment.seq.wrapping_add(len),
        flags: Flags::RST.with(Flags::ACK),
        ..TxSegment::default()
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use smallvec::smallvec;

    use super::*;
    use crate::wire::tcp;

    fn id() -> FourTuple {
        let [a, b] = ["10.0.0.1:80", "10.0.0.2:4000"].map(|text| text.parse().unwrap());
        FourTuple::new(a, b)
    }

    #[test]
    fn the_checksum_is_right_once_the_payload_is_added() {
        let segment = TxSegment {
            seq: 7,
            flags: Flags::ACK,
            payload: smallvec![Bytes::from_static(b"abc"), Bytes::from_static(b"defg")],
            ..TxSegment::default()
        };
        let datagram = datagram(&id(), segment, 64, 0);
        let mut bytes = datagram.frame.to_vec();
        let sum = checksum::checksum(&bytes);
        bytes[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
        let pseudo = checksum::pseudo_header(id().local, id().remote, PROTOCOL, bytes.len());
        assert_eq!(
            checksum::combine(pseudo, checksum::sum(&bytes), false),
            0xffff
        );
        assert_eq!(tcp::parse(&bytes).unwrap().seq, 7);
        assert_eq!(&bytes[20..], b"abcdefg");
    }

    #[test]
    fn the_segment_and_not_the_socket_decides_about_ecn() {
        let marked = |ecn| {
            let segment = TxSegment {
                ecn,
                ..TxSegment::default()
            };
            datagram(&id(), segment, 64, 0xb9).tos
        };
        assert_eq!([0, 1, 2, 3].map(marked), [0xb8, 0xb9, 0xba, 0xbb]);
    }

    #[test]
    fn only_what_is_larger_than_a_segment_is_cut() {
        let segment = |size| TxSegment {
            payload: smallvec![Bytes::from_static(b"abcdef")],
            segment_bytes: size,
            ..TxSegment::default()
        };
        let cut = |size| datagram(&id(), segment(size), 64, 0).frame.segmentation;
        assert_eq!(cut(None), None);
        assert_eq!(cut(Some(6)), None);
        assert_eq!(
            cut(Some(4)).map(|it| (it.size, it.header_len)),
            Some((4, 20))
        );
    }

    #[test]
    fn a_refusal_is_acceptable_to_whoever_sent_the_segment() {
        let mut segment = Segment {
            seq: 100,
            ack: 55,
            flags: Flags::SYN,
            payload: Bytes::from_static(b"xyz"),
            ..Segment::default()
        };
        let rst = refusal(&segment).unwrap();
        assert_eq!(
            (rst.seq, rst.ack, rst.flags),
            (0, 104, Flags::RST.with(Flags::ACK))
        );
        segment.flags = Flags::ACK;
        let rst = refusal(&segment).unwrap();
        assert_eq!((rst.seq, rst.flags), (55, Flags::RST));
        segment.flags = Flags::RST;
        assert!(refusal(&segment).is_none());
    }
}
