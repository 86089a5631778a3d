//! Datagrams that arrive at a host after it has handed the service over, on their way to the one that has it
//! (FAILOVER §6): without them, what a client sent in those moments would have to be sent again.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::message::{Decoded, Malformed};
use crate::ip::{Cast, RxPacket};
use crate::packet::{RxChecksum, Segmentation, SegmentationKind};

/// Most datagrams that wait for a host to take the service over.
pub(crate) const MOST_WAITING: usize = 4096;

/// One datagram, with what the device knew of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// From the IP header on.
    pub data: Bytes,
    /// Its transport checksum was checked, or never left the machine.
    pub verified: bool,
    /// Several segments in one.
    pub segmentation: Option<Segmentation>,
}

impl Forwarded {
    pub(crate) fn from_packet(packet: RxPacket) -> Option<Self> {
        (packet.cast == Cast::Unicast).then_some(Self {
            data: packet.data,
            verified: packet.checksum != RxChecksum::Unknown,
            segmentation: packet.segmentation,
        })
    }

    pub(crate) fn into_packet(self) -> RxPacket {
        RxPacket {
            data: self.data,
            cast: Cast::Unicast,
            checksum: if self.verified {
                RxChecksum::Verified
            } else {
                RxChecksum::Unknown
            },
            segmentation: self.segmentation,
        }
    }

    pub(super) fn encode(&self, into: &mut BytesMut) {
        let kind = self.segmentation.map_or(0, |it| match it.kind {
            SegmentationKind::Tcp4 => 1,
            SegmentationKind::Tcp6 => 2,
            SegmentationKind::Udp => 3,
        });
        into.put_u8(u8::from(self.verified) | kind << 1);
        if let Some(segmentation) = self.segmentation {
            into.put_u16(segmentation.size);
            into.put_u16(segmentation.header_len);
            into.put_u8(segmentation.ecn.into());
        }
        into.put_slice(&self.data);
    }

    /// The rest of a message.
    pub(super) fn decode(mut from: Bytes) -> Decoded<Self> {
        let head = from.try_get_u8()?;
        let kind = match head >> 1 {
            0 => None,
            1 => Some(SegmentationKind::Tcp4),
            2 => Some(SegmentationKind::Tcp6),
            3 => Some(SegmentationKind::Udp),
            _ => return Err(Malformed::Value),
        };
        let segmentation = match kind {
            None => None,
            Some(kind) => Some(Segmentation {
                kind,
                size: from.try_get_u16()?,
                header_len: from.try_get_u16()?,
                ecn: match from.try_get_u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed::Value),
                },
            }),
        };
        Ok(Self {
            data: from,
            verified: head & 1 != 0,
            segmentation,
        })
    }
}
