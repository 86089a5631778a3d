//! What ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443 §2.1) have in common: the shape of the first 8 bytes.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 2;

/// Type, code, and the four bytes behind the checksum.
pub(super) type Fields = (u8, u8, [u8; 4]);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    kind: u8,
    code: u8,
    checksum: U16,
    rest: [u8; 4],
}

/// Two numbers in the four bytes behind the checksum.
pub(super) const fn pair(first: u16, second: u16) -> [u8; 4] {
    ((first as u32) << 16 | second as u32).to_be_bytes()
}

/// Writes a header to `out`, its checksum field zero; panics when `out` is not [`HEADER_LEN`] long.
pub(super) fn emit((kind, code, rest): Fields, out: &mut [u8]) {
    let raw = Raw {
        kind,
        code,
        checksum: 0.into(),
        rest,
    };
    out.copy_from_slice(raw.as_bytes());
}

/// Reads the header at the front of `data`.
pub(super) fn read(data: &[u8]) -> Result<Fields, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    Ok((raw.kind, raw.code, raw.rest))
}
