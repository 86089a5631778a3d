//! Frames, and what their carrier knows or is to do about them.

use bytes::Bytes;
use smallvec::SmallVec;

/// Room in front of a payload for every header that the stack may build: Ethernet with one VLAN tag
/// (18), IPv4 with options (60) and TCP with options (60), and a little to spare.
pub const HEADROOM_BYTES: usize = 144;

/// The header block of a frame: filled from the back, each layer putting its header in front.
#[derive(Clone)]
pub struct Head {
    room: [u8; HEADROOM_BYTES],
    start: u8,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            room: [0; HEADROOM_BYTES],
            start: HEADROOM_BYTES as u8,
        }
    }
}

impl Head {
    /// Grows the block by `length` bytes at its front and returns them, unspecified in content.
    ///
    /// # Panics
    /// When the headers exceed [`HEADROOM_BYTES`]: a bug in the stack, never a matter of input.
    pub fn prepend(&mut self, length: usize) -> &mut [u8] {
        let end = usize::from(self.start);
        let start = end.checked_sub(length).expect("headers fit the headroom");
        self.start = start as u8;
        &mut self.room[start..end]
    }

    /// The headers, outermost first.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.room[usize::from(self.start)..]
    }

    /// The headers, outermost first, to patch in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.room[usize::from(self.start)..]
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({:02x?})", self.as_slice())
    }
}

/// A checksum left for whoever comes next, as in `virtio_net_hdr`: sum from `start` to the end of the
/// frame, store at `start + offset`. The field already holds the folded pseudo-header sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// First byte to sum, from the start of the frame (of the IP datagram once the link header is off).
    pub start: u16,
    /// Where the result goes, from `start`.
    pub offset: u16,
}

impl PartialChecksum {
    /// Where the checksum stands in a UDP header, and in no other.
    const UDP_OFFSET: u16 = 6;

    /// What belongs in the field when everything from `start` sums to `sum`. Only UDP writes a checksum of
    /// zero as all ones, since zero there says that there is none (RFC 768); from TCP that would be the
    /// wrong one of the two zeros (RFC 1624 §3), though most receivers take it.
    #[must_use]
    pub const fn field(self, sum: u16) -> u16 {
        match !sum {
            0 if self.offset == Self::UDP_OFFSET => 0xffff,
            checksum => checksum,
        }
    }
}

/// What a transmitted frame asks of the device about its transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The bytes are complete.
    #[default]
    Complete,
    /// To be filled in by the device or by the peer side.
    Partial(PartialChecksum),
}

/// What is known about a received frame's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Nothing: sum it in software.
    #[default]
    Unknown,
    /// Checked by the carrier.
    Verified,
    /// Never filled in, because the frame did not cross a real wire: the bytes are as the sender wrote
    /// them, the field holds only the pseudo-header sum.
    Partial(PartialChecksum),
}

/// How a large frame is, or is to be, cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams (USO).
    Udp,
}

/// A super-frame: one set of headers over a payload of several segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What the headers are.
    pub kind: SegmentationKind,
    /// Payload bytes per segment.
    pub size: u16,
    /// Bytes of all headers from the start of the frame.
    pub header_len: u16,
    /// CWR is set: only the first segment may carry it (RFC 3168 §6.1.2).
    pub ecn: bool,
}

/// A frame to be sent: headers built by the stack in front of untouched payload slices.
#[derive(Clone, Debug, Default)]
pub struct TxFrame {
    /// All headers, outermost first.
    pub head: Head,
    /// The payload, in order; never copied in user space.
    pub payload: SmallVec<[Bytes; 3]>,
    /// What is to be done about the transport checksum.
    pub checksum: Checksum,
    /// How the frame is to be cut, if it is larger than the MTU.
    pub segmentation: Option<Segmentation>,
}

impl TxFrame {
    /// A frame that is complete, headers and all.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self {
            payload: SmallVec::from_iter([bytes]),
            ..Self::default()
        }
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.payload.iter().map(Bytes::len).sum()
    }

    /// Bytes of the whole frame.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.head.as_slice().len() + self.payload_len()
    }

    /// The whole frame in one piece: a copy, for captures, wires in memory and tests.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(self.head.as_slice());
        for slice in &self.payload {
            bytes.extend_from_slice(slice);
        }
        bytes
    }
}

/// A received frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RxFrame {
    /// From the link header (Ethernet) or the IP header (TUN) to the end. Real devices receive many frames
    /// into one block of memory, which lives as long as the last of them: who keeps a few bytes for
    /// long copies them.
    pub data: Bytes,
    /// What is known about the transport checksum.
    pub checksum: RxChecksum,
    /// Set when several segments were merged into this frame.
    pub segmentation: Option<Segmentation>,
    /// Tag control information of a VLAN tag that was delivered beside the frame, not in it.
    pub vlan_tci: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_puts_its_header_in_front() {
        let mut frame = TxFrame::default();
        frame.payload.push(Bytes::from_static(b"data"));
        frame.head.prepend(3).copy_from_slice(b"TCP");
        frame.head.prepend(2).copy_from_slice(b"IP");
        assert_eq!(frame.to_vec(), b"IPTCPdata");
        assert_eq!(frame.len(), 9);
    }
}
