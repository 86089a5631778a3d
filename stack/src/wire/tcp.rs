//! TCP headers (RFC 9293 §3.1). The options are in `tcp_options.rs`.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;
pub use super::tcp_options::{AccurateEcn, FastOpen, MAX_OPTIONS_LEN, Options, options_len};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 16;

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

/// A TCP header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningful with [`Flags::ACK`].
    pub ack: u32,
    /// The flags.
    pub flags: Flags,
    /// AE, the ninth flag (RFC 9768 §3.1).
    pub ae: bool,
    /// The window, unscaled.
    pub window: u16,
    /// The checksum as it stands there.
    pub checksum: u16,
    /// The urgent pointer; meaningful with [`Flags::URG`].
    pub urgent: u16,
    /// Bytes of the header with options. [`Header::emit`] computes its own.
    pub header_len: u8,
    /// The options understood.
    pub options: Options,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    source_port: U16,
    destination_port: U16,
    seq: U32,
    ack: U32,
    data_offset: u8,
    flags: u8,
    window: U16,
    checksum: U16,
    urgent: U16,
}

impl Header {
    /// Bytes that [`Header::emit`] writes: [`HEADER_LEN`] and the padded options.
    #[must_use]
    pub fn emitted_len(&self) -> usize {
        HEADER_LEN + options_len(&self.options)
    }

    /// Writes the header to `out`; the checksum is written as it is in `self`.
    ///
    /// # Panics
    /// When `out` is not exactly [`Header::emitted_len`] long.
    pub fn emit(&self, out: &mut [u8]) {
        let header_len = self.emitted_len();
        assert_eq!(out.len(), header_len);
        let raw = Raw {
            source_port: self.source_port.into(),
            destination_port: self.destination_port.into(),
            seq: self.seq.into(),
            ack: self.ack.into(),
            data_offset: (header_len as u8 / 4) << 4 | u8::from(self.ae),
            flags: self.flags.0,
            window: self.window.into(),
            checksum: self.checksum.into(),
            urgent: self.urgent.into(),
        };
        let (fixed, options) = out.split_at_mut(HEADER_LEN);
        fixed.copy_from_slice(raw.as_bytes());
        self.options.emit(options);
    }
}

/// Reads the header at the front of `data`.
///
/// # Errors
/// [`Malformed`] if truncated or with a data offset that is too small or too large. Options never make a
/// segment malformed: see [`Options::parse`].
pub fn parse(data: &[u8]) -> Result<Header, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let header_len = (raw.data_offset >> 4) * 4;
    if usize::from(header_len) < HEADER_LEN {
        return Err(Malformed::HeaderLength);
    }
    let options = data
        .get(HEADER_LEN..usize::from(header_len))
        .ok_or(Malformed::Truncated)?;
    let flags = Flags(raw.flags);
    Ok(Header {
        source_port: raw.source_port.get(),
        destination_port: raw.destination_port.get(),
        seq: raw.seq.get(),
        ack: raw.ack.get(),
        flags,
        ae: raw.data_offset & 1 != 0,
        window: raw.window.get(),
        checksum: raw.checksum.get(),
        urgent: raw.urgent.get(),
        header_len,
        options: Options::parse(options, flags.contains(Flags::SYN)),
    })
}

/// Ports and sequence number from the first 8 bytes, all that an ICMP error need quote.
///
/// # Errors
/// [`Malformed::Truncated`].
pub fn parse_quoted(data: &[u8]) -> Result<(u16, u16, u32), Malformed> {
    let (ports, _) = <[U16; 2]>::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let seq = data.get(4..8).ok_or(Malformed::Truncated)?;
    let seq = U32::read_from_bytes(seq).map_err(|_| Malformed::Truncated)?;
    Ok((ports[0].get(), ports[1].get(), seq.get()))
}
