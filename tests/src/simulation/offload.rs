//! What a network card does: finishes checksums and cuts large segments, so that simulated wires carry
//! what real ones would. Written from the virtio rules and not with the stack's own code.

use bytes::Bytes;
use etherparse::checksum::Sum16BitWords;
use outlive_driver::{Checksum, Segmentation, SegmentationKind, TxFrame};

const ETHERNET: usize = 14;
const IPV6: usize = 40;

/// The frames that appear on the wire for one that the stack handed to its device.
///
/// # Errors
/// When the offload facts contradict the bytes.
pub fn wire_frames(frame: &TxFrame) -> Result<Vec<Bytes>, String> {
    let mut bytes = frame.to_vec();
    let Some(segmentation) = frame.segmentation else {
        if let Checksum::Partial(partial) = frame.checksum {
            finish_checksum(
                &mut bytes,
                usize::from(partial.start),
                usize::from(partial.offset),
            )?;
        }
        return Ok(vec![Bytes::from(bytes)]);
    };
    if !matches!(frame.checksum, Checksum::Partial(_)) {
        return Err("a frame to be cut needs a partial checksum".into());
    }
    cut(&bytes, segmentation)
}

fn finish_checksum(bytes: &mut [u8], start: usize, offset: usize) -> Result<(), String> {
    if start + offset + 2 > bytes.len() {
        return Err(format!(
            "checksum at {start}+{offset} is outside of {} bytes",
            bytes.len()
        ));
    }
    let sum = Sum16BitWords::new()
        .add_slice(&bytes[start..])
        .ones_complement();
    // The sum is over words in memory order, and so is the result.
    bytes[start + offset..start + offset + 2].copy_from_slice(&sum.to_ne_bytes());
    Ok(())
}

fn cut(bytes: &[u8], segmentation: Segmentation) -> Result<Vec<Bytes>, String> {
    let (header_len, size) = (
        usize::from(segmentation.header_len),
        usize::from(segmentation.size),
    );
    let ip_len = match bytes[ETHERNET] >> 4 {
        4 => usize::from(bytes[ETHERNET] & 0x0F) * 4,
        _ => IPV6,
    };
    let transport = ETHERNET + ip_len;
    let expected = match segmentation.kind {
        SegmentationKind::Tcp4 | SegmentationKind::Tcp6 => {
            transport + usize::from(bytes[transport + 12] >> 4) * 4
        }
        SegmentationKind::Udp => transport + 8,
    };
    if header_len != expected || size == 0 {
        return Err(format!(
            "headers of {expected} bytes called {header_len}, size {size}"
        ));
    }
    let (head, payload) = bytes.split_at(header_len);
    let pieces = payload.len().div_ceil(size);
    let frames = payload.chunks(size).enumerate().map(|(index, piece)| {
        let mut frame = head.to_vec();
        frame.extend_from_slice(piece);
        match segmentation.kind {
            SegmentationKind::Tcp6 => {
                let payload = (frame.len() - ETHERNET - IPV6) as u16;
                frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&payload.to_be_bytes());
            }
            _ => ipv4_header(&mut frame, transport, index as u16),
        }
        transport_header(
            &mut frame,
            transport,
            segmentation,
            (index * size) as u32,
            index == 0,
            index + 1 == pieces,
        );
        Bytes::from(frame)
    });
    Ok(frames.collect())
}

/// Puts right the IPv4 header of the piece number `index`.
fn ipv4_header(frame: &mut [u8], transport: usize, index: u16) {
    let total = (frame.len() - ETHERNET) as u16;
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
    let id = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]).wrapping_add(index);
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&id.to_be_bytes());
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = Sum16BitWords::new()
        .add_slice(&frame[ETHERNET..transport])
        .ones_complement();
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_ne_bytes());
}

/// Puts right the transport header of the piece at `offset`.
fn transport_header(
    frame: &mut [u8],
    at: usize,
    segmentation: Segmentation,
    offset: u32,
    first: bool,
    last: bool,
) {
    let len = (frame.len() - at) as u16;
    let (protocol, checksum) = match segmentation.kind {
        SegmentationKind::Udp => (17, 6),
        _ => (6, 16),
    };
    if segmentation.kind == SegmentationKind::Udp {
        frame[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
    } else {
        let seq = u32::from_be_bytes(frame[at + 4..at + 8].try_into().expect("four bytes"));
        frame[at + 4..at + 8].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
        if !first {
            frame[at + 13] &= !0x80; // CWR only on the first
        }
        if !last {
            frame[at + 13] &= !0x09; // FIN and PSH only on the last
        }
    }
    frame[at + checksum..at + checksum + 2].fill(0);
    let addresses = match segmentation.kind {
        SegmentationKind::Tcp6 => &frame[ETHERNET + 8..ETHERNET + IPV6],
        _ => &frame[ETHERNET + 12..ETHERNET + 20],
    };
    let sum = Sum16BitWords::new()
        .add_slice(addresses)
        .add_2bytes([0, protocol])
        .add_2bytes(len.to_be_bytes())
        .add_slice(&frame[at..])
        .ones_complement();
    frame[at + checksum..at + checksum + 2].copy_from_slice(&sum.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use outlive_driver::PartialChecksum;

    use super::*;
    use crate::decode::{Decoded, decode};

    #[test]
    fn a_large_segment_becomes_segments_that_decode() {
        let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
        let v4 = ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let v6 = ethernet().ipv6([1; 16], [2; 16], 64);
        cut_in_three(v4, SegmentationKind::Tcp4, 34);
        cut_in_three(v6, SegmentationKind::Tcp6, 54);
    }

    fn cut_in_three(
        builder: etherparse::PacketBuilderStep<etherparse::IpHeaders>,
        kind: SegmentationKind,
        start: u16,
    ) {
        let builder = builder.tcp(1, 2, 1000, 500).ack(9).psh();
        let data: Vec<u8> = (0..3500u32).map(|i| i as u8).collect();
        let mut whole = Vec::new();
        builder.write(&mut whole, &data).expect("a Vec takes it");
        let head = usize::from(start) + 20;
        let mut frame = TxFrame::default();
        frame.head.prepend(head).copy_from_slice(&whole[..head]);
        frame.payload.push(Bytes::copy_from_slice(&whole[head..]));
        frame.checksum = Checksum::Partial(PartialChecksum { start, offset: 16 });
        frame.segmentation = Some(Segmentation {
            kind,
            size: 1400,
            header_len: head as u16,
            ecn: false,
        });
        let frames = wire_frames(&frame).expect("well-formed");
        let mut joined = Vec::new();
        for (frame, seq) in frames.iter().zip([1000, 2400, 3800]) {
            let Ok(Decoded::Tcp(segment)) = decode(frame) else {
                panic!("{:?}", decode(frame));
            };
            assert_eq!(segment.seq, seq);
            joined.extend_from_slice(&frame[segment.payload]);
        }
        assert_eq!((frames.len(), joined), (3, data));
    }
}
