//! TCP (RFC 9293), one idea a file.
//!
//! Positions in a stream are 64-bit inside and become 32-bit sequence numbers only on the wire: position
//! 0 is the SYN, 1 the first byte of data, and position `p` is sequence number `iss + p` (mod 2^32).

use std::sync::Arc;
use std::task::Waker;

use arrayvec::ArrayVec;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::ip::TxDatagram;
use crate::time::Instant;

/// Header flags, as on the wire (RFC 9293 §3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo.
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// True when all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set: Vec<_> = (0..8)
            .filter(|bit| self.0 & (1 << bit) != 0)
            .map(|bit| letters[bit])
            .collect();
        f.write_str(&set.join("|"))
    }
}

/// The options of one segment; sequence numbers as on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size; on SYN only.
    pub mss: Option<u16>,
    /// Window scale shift as received, not yet limited to 14; on SYN only.
    pub window_scale: Option<u8>,
    /// SACK-permitted; on SYN only.
    pub sack_permitted: bool,
    /// TSval and TSecr (RFC 7323).
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks: left and right edge (RFC 2018).
    pub sack: ArrayVec<(u32, u32), 4>,
}

/// A received segment: header parsed, checksum verified. Several wire segments if they were merged.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Sequence number of the first octet (of the SYN, if set).
    pub seq: u32,
    /// Acknowledgement number; meaningful with [`Flags::ACK`].
    pub ack: u32,
    /// The flags.
    pub flags: Flags,
    /// The window field, unscaled.
    pub window: u16,
    /// The urgent pointer; meaningful with [`Flags::URG`].
    pub urgent: u16,
    /// The options understood.
    pub options: Options,
    /// The data.
    pub payload: Bytes,
    /// The two ECN bits of the IP header.
    pub ecn: u8,
    /// Data bytes per wire segment, if several were merged.
    pub segment_bytes: Option<u16>,
}

/// A segment to be sent; [`crate::packet`] puts it on the wire.
#[derive(Clone, Debug, Default)]
pub struct TxSegment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The flags.
    pub flags: Flags,
    /// The window field, already scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Options to write.
    pub options: Options,
    /// The data, referred to and not copied.
    pub payload: SmallVec<[Bytes; 3]>,
    /// Data bytes per wire segment if the device is to cut this one.
    pub segment_bytes: Option<u16>,
    /// True for data (or SYN, FIN) that was sent before.
    pub retransmission: bool,
}

/// What a reader or writer stage leaves for the engine to do, in this order: run the writers over
/// `output`, send `datagrams`, start `timers`, wake `wakers`.
#[derive(Debug, Default)]
pub struct Outcome<Connection> {
    /// Datagrams ready for the IP writer.
    pub datagrams: Vec<TxDatagram>,
    /// Connections for which the TCP writer has to look for something to send.
    pub output: Vec<Arc<Connection>>,
    /// When the TCP writer has to look at a connection again.
    pub timers: Vec<(Instant, Arc<Connection>)>,
    /// Tasks that can go on; woken after all locks are released.
    pub wakers: Vec<Waker>,
}
