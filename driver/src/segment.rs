//! Cuts what a stack hands to an offloading device into what a real wire carries: segments no larger
//! than the MTU, every checksum filled in (what Linux calls GSO).
//!
//! TCP over IPv4 and IPv6 and UDP (`UDP_SEGMENT`). Extension headers of IPv6 are not walked: a
//! super-frame that has them is left whole.

use bytes::{BufMut, Bytes, BytesMut};

use crate::checksum::{combine, sum};
use crate::complete::complete;
use crate::device::Medium;
use crate::frame::{
    Checksum, PartialChecksum, RxChecksum, RxFrame, Segmentation, SegmentationKind, TxFrame,
};

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Appends a transmitted frame to `out` as the wire carries it. Returns how many frames that made.
pub fn cut_transmitted(frame: &TxFrame, medium: Medium, out: &mut Vec<Bytes>) -> usize {
    let partial = match frame.checksum {
        Checksum::Complete => None,
        Checksum::Partial(partial) => Some(partial),
    };
    cut(&frame.to_vec(), medium, partial, frame.segmentation, out)
}

/// The same for a frame that was received with its checksum or its segmentation unfinished. A VLAN tag
/// beside the frame is put into it.
pub fn cut_received(frame: &RxFrame, medium: Medium, out: &mut Vec<Bytes>) -> usize {
    let partial = match frame.checksum {
        RxChecksum::Unknown | RxChecksum::Verified => None,
        RxChecksum::Partial(partial) => Some(partial),
    };
    let Some(tci) = frame.vlan_tci else {
        return cut(&frame.data, medium, partial, frame.segmentation, out);
    };
    let tagged = insert_tag(&frame.data, tci);
    let partial = partial.map(|p| PartialChecksum {
        start: p.start.saturating_add(4),
        ..p
    });
    cut(&tagged, medium, partial, frame.segmentation, out)
}

/// The frame with an 802.1Q tag behind its addresses.
pub(crate) fn insert_tag(frame: &[u8], tci: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(frame.len().min(12));
    [addresses, &[0x81, 0x00], &tci.to_be_bytes(), rest].concat()
}

fn cut(
    frame: &[u8],
    medium: Medium,
    partial: Option<PartialChecksum>,
    segmentation: Option<Segmentation>,
    out: &mut Vec<Bytes>,
) -> usize {
    let layout = segmentation.and_then(|segmentation| {
        let layout = Layout::of(frame, medium, segmentation.kind)?;
        (layout.end - layout.payload > usize::from(segmentation.size))
            .then_some((layout, segmentation))
    });
    let Some((layout, segmentation)) = layout else {
        let mut whole = BytesMut::from(frame);
        if let Some(partial) = partial {
            complete(&mut whole, partial);
        }
        out.push(whole.freeze());
        return 1;
    };
    let (headers, payload) = (&frame[..layout.payload], &frame[layout.payload..layout.end]);
    let size = usize::from(segmentation.size);
    let count = payload.len().div_ceil(size);
    let mut room = BytesMut::with_capacity(payload.len() + count * headers.len());
    for (i, data) in payload.chunks(size).enumerate() {
        room.put_slice(headers);
        room.put_slice(data);
        let mut segment = room.split();
        layout.patch(&mut segment, i, size, i + 1 == count);
        out.push(segment.freeze());
    }
    count
}

/// Where the headers of a frame are.
#[derive(Clone, Copy)]
struct Layout {
    network: usize,
    transport: usize,
    payload: usize,
    end: usize,
    protocol: u8,
    version: u8,
}

impl Layout {
    fn of(frame: &[u8], medium: Medium, kind: SegmentationKind) -> Option<Self> {
        let network = match medium {
            Medium::Ip => 0,
            Medium::Ethernet => link_len(frame)?,
        };
        let version = frame.get(network)? >> 4;
        let (transport, protocol, end) = match version {
            4 => {
                let transport = network + usize::from(frame[network] & 15) * 4;
                let total =
                    u16::from_be_bytes([*frame.get(network + 2)?, *frame.get(network + 3)?]);
                (
                    transport,
                    *frame.get(network + 9)?,
                    network + usize::from(total),
                )
            }
            6 => (network + 40, *frame.get(network + 6)?, frame.len()),
            _ => return None,
        };
        // `total` is 0 where a sender handed over more than 16 bits can say.
        let end = if end <= transport {
            frame.len()
        } else {
            end.min(frame.len())
        };
        let payload = match (kind, protocol) {
            (SegmentationKind::Tcp4 | SegmentationKind::Tcp6, TCP) => {
                let len = usize::from(frame.get(transport + 12)? >> 4) * 4;
                if len < 20 {
                    return None;
                }
                transport + len
            }
            (SegmentationKind::Udp, UDP) => transport + 8,
            _ => return None,
        };
        let sound = transport >= network + 20 && payload <= end;
        sound.then_some(Self {
            network,
            transport,
            payload,
            end,
            protocol,
            version,
        })
    }

    /// Makes a copy of the headers in front of segment `i` its own.
    fn patch(&self, segment: &mut [u8], i: usize, size: usize, last: bool) {
        let length = segment.len();
        let network = &mut segment[self.network..self.transport];
        if self.version == 4 {
            put(network, 2, (length - self.network) as u16);
            let id = u16::from_be_bytes([network[4], network[5]]).wrapping_add(i as u16);
            put(network, 4, id);
            put(network, 10, 0);
            let checksum = !sum(network);
            put(network, 10, checksum);
        } else {
            put(network, 4, (length - self.network - 40) as u16);
        }
        let transport = &mut segment[self.transport..];
        let field = if self.protocol == TCP {
            let at = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
            let seq = at.wrapping_add((i * size) as u32);
            transport[4..8].copy_from_slice(&seq.to_be_bytes());
            if !last {
                transport[13] &= !(FIN | PSH);
            }
            if i > 0 {
                transport[13] &= !CWR; // RFC 3168 §6.1.2: once per window
            }
            16
        } else {
            put(transport, 4, (length - self.transport) as u16);
            6
        };
        let pseudo = self.pseudo_header(segment);
        put(&mut segment[self.transport..], field, pseudo);
        let partial = PartialChecksum {
            start: self.transport as u16,
            offset: field as u16,
        };
        complete(segment, partial);
    }

    /// RFC 9293 §3.1, RFC 8200 §8.1.
    fn pseudo_header(&self, segment: &[u8]) -> u16 {
        let addresses = if self.version == 4 { 12..20 } else { 8..40 };
        let network = &segment[self.network..];
        let length = (segment.len() - self.transport) as u16;
        let numbers = combine(u16::from(self.protocol), length, false);
        combine(sum(&network[addresses]), numbers, false)
    }
}

/// Bytes of the Ethernet header with its VLAN tags (802.1Q, 802.1ad).
pub(crate) fn link_len(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    while let [0x81, 0x00] | [0x88, 0xa8] = frame.get(at..at + 2)? {
        at += 4;
    }
    Some(at + 2)
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
