//! IPv6 extension headers (RFC 8200 §4): options, routing and fragment headers. What they mean is the
//! business of the layer; here is where they end and what stands in them.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;
/// Where the fragment offset stands in it.
pub const FRAGMENT_OFFSET_OFFSET: usize = 2;

/// One byte of padding.
pub const OPTION_PAD1: u8 = 0;
/// Several bytes of padding.
pub const OPTION_PADN: u8 = 1;
/// Routers are to look at this datagram (RFC 2711).
pub const OPTION_ROUTER_ALERT: u8 = 5;

/// The deprecated source route (RFC 5095).
pub const ROUTING_SOURCE_ROUTE: u8 = 0;

const MORE_FRAGMENTS: u16 = 1;
const OFFSET_MASK: u16 = 0xfff8;

/// An extension header that says how long it is: any but the fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// What comes behind it.
    pub next_header: u8,
    /// Bytes of it; a multiple of 8.
    pub len: usize,
    /// What stands behind its first two bytes.
    pub content: &'a [u8],
}

/// Reads the extension header at the front of `data`.
///
/// # Errors
/// [`Malformed::Truncated`].
pub fn parse(data: &[u8]) -> Result<Extension<'_>, Malformed> {
    let &[next_header, units, ..] = data else {
        return Err(Malformed::Truncated);
    };
    let len = (usize::from(units) + 1) * 8;
    Ok(Extension {
        next_header,
        len,
        content: data.get(2..len).ok_or(Malformed::Truncated)?,
    })
}

/// The options of a hop-by-hop or destination options header (its content): type, where it stands in
/// the content, and its data. Padding is skipped; what has no sensible length ends the list with an error.
pub fn options(content: &[u8]) -> impl Iterator<Item = Result<(u8, usize, &[u8]), Malformed>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at;
            let &kind = content.get(at)?;
            if kind == OPTION_PAD1 {
                at += 1;
                continue;
            }
            let data = content.get(at + 1).and_then(|&len| {
                let from = at + 2;
                content.get(from..from + usize::from(len))
            });
            let Some(data) = data else {
                at = content.len();
                return Some(Err(Malformed::HeaderLength));
            };
            at += 2 + data.len();
            if kind != OPTION_PADN {
                return Some(Ok((kind, start, data)));
            }
        }
    })
}

/// Type and segments left of a routing header (its content).
#[must_use]
pub fn routing(content: &[u8]) -> Option<(u8, u8)> {
    match content {
        &[kind, segments_left, ..] => Some((kind, segments_left)),
        _ => None,
    }
}

/// A fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the first fragment begins with.
    pub next_header: u8,
    /// Where this fragment begins in the fragmentable part, in bytes; a multiple of 8.
    pub offset: u16,
    /// Not the last one.
    pub more: bool,
    /// What the fragments of one datagram have in common.
    pub identification: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    next_header: u8,
    reserved: u8,
    offset_more: U16,
    identification: U32,
}

impl Fragment {
    /// True for a fragment that is the whole datagram (RFC 6946).
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }

    /// Writes the header to `out`.
    ///
    /// # Panics
    /// When `out` is not exactly [`FRAGMENT_LEN`] long.
    pub fn emit(&self, out: &mut [u8]) {
        let raw = Raw {
            next_header: self.next_header,
            reserved: 0,
            offset_more: (self.offset & OFFSET_MASK | u16::from(self.more)).into(),
            identification: self.identification.into(),
        };
        out.copy_from_slice(raw.as_bytes());
    }
}

/// Reads the fragment header at the front of `data`.
///
/// # Errors
/// [`Malformed::Truncated`].
pub fn parse_fragment(data: &[u8]) -> Result<Fragment, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let offset_more = raw.offset_more.get();
    Ok(Fragment {
        next_header: raw.next_header,
        offset: offset_more & OFFSET_MASK,
        more: offset_more & MORE_FRAGMENTS != 0,
        identification: raw.identification.get(),
    })
}
