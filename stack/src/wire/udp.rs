//! UDP headers (RFC 768).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 6;

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's port; 0 if no answer is wanted.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Bytes of header and data.
    pub len: u16,
    /// The checksum; 0 if the sender made none.
    pub checksum: u16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    source_port: U16,
    destination_port: U16,
    len: U16,
    checksum: U16,
}

impl Header {
    /// Writes the header to `out`.
    ///
    /// # Panics
    /// When `out` is not exactly [`HEADER_LEN`] long.
    pub fn emit(&self, out: &mut [u8]) {
        let raw = Raw {
            source_port: self.source_port.into(),
            destination_port: self.destination_port.into(),
            len: self.len.into(),
            checksum: self.checksum.into(),
        };
        out.copy_from_slice(raw.as_bytes());
    }
}

/// Reads the header at the front of `data`. Whether `len` bytes are there is left to the caller, since
/// the first bytes of a datagram are quoted in ICMP errors.
///
/// # Errors
/// [`Malformed`] if truncated or if the length is below that of the header.
pub fn parse(data: &[u8]) -> Result<Header, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let header = Header {
        source_port: raw.source_port.get(),
        destination_port: raw.destination_port.get(),
        len: raw.len.get(),
        checksum: raw.checksum.get(),
    };
    if usize::from(header.len) < HEADER_LEN {
        return Err(Malformed::TotalLength);
    }
    Ok(header)
}
