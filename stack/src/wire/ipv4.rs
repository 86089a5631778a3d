//! IPv4 headers (RFC 791 §3.1) and their options.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Bytes of options at most.
pub const MAX_OPTIONS_LEN: usize = 40;
/// Bytes of a datagram at most.
pub const MAX_LEN: usize = 65_535;
/// Bytes that every link carries and every router forwards uncut (RFC 791 §3.1).
pub const MIN_MTU: usize = 68;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 10;

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// An IPv4 header; its options lie between [`HEADER_LEN`] and `header_len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header with options; a multiple of 4.
    pub header_len: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Bytes of the datagram, or of this fragment, header included.
    pub total_len: u16,
    /// What the fragments of one datagram have in common.
    pub identification: u16,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// Where this fragment's payload begins in the datagram's, in bytes; a multiple of 8.
    pub fragment_offset: u16,
    /// Hops left.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: u8,
    /// The header checksum as it stands there.
    pub checksum: u16,
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Who is to have it.
    pub destination: Ipv4Addr,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    version_ihl: u8,
    tos: u8,
    total_len: U16,
    identification: U16,
    flags_offset: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

impl Header {
    /// True for anything but a whole datagram.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Bytes of the payload.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.total_len as usize - self.header_len as usize
    }

    /// Writes the header to `out`, followed by `options`, padded with end-of-list. The checksum is
    /// written as it is in `self`; `header_len` must fit the options.
    ///
    /// # Panics
    /// When `out` is not exactly `header_len` long, or the options do not fit in it.
    pub fn emit(&self, options: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), usize::from(self.header_len));
        let mut flags_offset = self.fragment_offset / 8;
        if self.dont_fragment {
            flags_offset |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            flags_offset |= MORE_FRAGMENTS;
        }
        let raw = Raw {
            version_ihl: 0x40 | (self.header_len / 4),
            tos: self.tos,
            total_len: self.total_len.into(),
            identification: self.identification.into(),
            flags_offset: flags_offset.into(),
            ttl: self.ttl,
            protocol: self.protocol,
            checksum: self.checksum.into(),
            source: self.source.octets(),
            destination: self.destination.octets(),
        };
        let (fixed, room) = out.split_at_mut(HEADER_LEN);
        fixed.copy_from_slice(raw.as_bytes());
        let (used, padding) = room.split_at_mut(options.len());
        used.copy_from_slice(options);
        padding.fill(OPTION_END);
    }
}

/// Bytes of a header with `options_len` bytes of options.
#[must_use]
pub const fn header_len(options_len: usize) -> usize {
    HEADER_LEN + options_len.next_multiple_of(4)
}

/// Reads the header at the front of `data`, which must hold at least `total_len` bytes (link padding may
/// follow).
///
/// # Errors
/// [`Malformed`] if truncated, of another version, or if the lengths contradict each other.
pub fn parse(data: &[u8]) -> Result<Header, Malformed> {
    let header = parse_quoted(data)?;
    if usize::from(header.total_len) > data.len() {
        return Err(Malformed::Truncated);
    }
    Ok(header)
}

/// The same for a datagram of which only the beginning is there, as ICMP errors quote it.
///
/// # Errors
/// As [`parse`], but only the header must be there whole.
pub fn parse_quoted(data: &[u8]) -> Result<Header, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    if raw.version_ihl >> 4 != 4 {
        return Err(Malformed::Version);
    }
    let header_len = (raw.version_ihl & 0x0f) * 4;
    if usize::from(header_len) < HEADER_LEN {
        return Err(Malformed::HeaderLength);
    }
    if usize::from(header_len) > data.len() {
        return Err(Malformed::Truncated);
    }
    let flags_offset = raw.flags_offset.get();
    let header = Header {
        header_len,
        tos: raw.tos,
        total_len: raw.total_len.get(),
        identification: raw.identification.get(),
        dont_fragment: flags_offset & DONT_FRAGMENT != 0,
        more_fragments: flags_offset & MORE_FRAGMENTS != 0,
        fragment_offset: (flags_offset & OFFSET_MASK) * 8,
        ttl: raw.ttl,
        protocol: raw.protocol,
        checksum: raw.checksum.get(),
        source: raw.source.into(),
        destination: raw.destination.into(),
    };
    if header.total_len < u16::from(header_len) {
        return Err(Malformed::TotalLength);
    }
    Ok(header)
}

/// End of the option list.
pub const OPTION_END: u8 = 0;
/// One byte of padding.
pub const OPTION_NOP: u8 = 1;
/// Record Route.
pub const OPTION_RECORD_ROUTE: u8 = 7;
/// Internet Timestamp.
pub const OPTION_TIMESTAMP: u8 = 68;
/// Loose Source and Record Route.
pub const OPTION_LOOSE_SOURCE_ROUTE: u8 = 131;
/// Strict Source and Record Route.
pub const OPTION_STRICT_SOURCE_ROUTE: u8 = 137;

/// The options of a header (the bytes behind its fixed part): type byte, and the range of the whole
/// option. Padding is skipped; what has no sensible length ends the list with an error.
pub fn options(
    bytes: &[u8],
) -> impl Iterator<Item = Result<(u8, std::ops::Range<usize>), Malformed>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while bytes.get(at) == Some(&OPTION_NOP) {
            at += 1;
        }
        let &kind = bytes.get(at)?;
        if kind == OPTION_END {
            at = bytes.len();
            return None;
        }
        let len = bytes.get(at + 1).map_or(0, |&len| usize::from(len));
        if len < 2 || at + len > bytes.len() {
            at = bytes.len();
            return Some(Err(Malformed::HeaderLength));
        }
        let range = at..at + len;
        at += len;
        Some(Ok((kind, range)))
    })
}

/// True if a copy of the option goes into every fragment (RFC 791 §3.1, the copied flag).
#[must_use]
pub const fn is_copied(kind: u8) -> bool {
    kind & 0x80 != 0
}
