//! Multicast listener discovery (RFC 3810 §5; RFC 2710 §3 for its first version): ICMPv6 messages from the
//! type on. Sources are not told apart: reports are about groups as a whole.

use std::net::Ipv6Addr;

use super::Malformed;
use super::group_report::{self, RecordKind};

/// Type of a query.
pub const QUERY: u8 = 130;
/// Type of a report of the first version.
pub const REPORT_V1: u8 = 131;
/// Type of the message that a listener of the first version leaves with.
pub const DONE_V1: u8 = 132;
/// Type of a report of the second version.
pub const REPORT: u8 = 143;
/// Where the checksum stands.
pub const CHECKSUM_OFFSET: usize = 2;
/// Bytes of a message of the first version.
pub const V1_LEN: usize = 24;

const QUERY_V2_LEN: usize = 28;

/// Those who want to hear reports (RFC 3810 §5.2.14).
pub const REPORTS_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// Who listens?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// To this group, or to any.
    pub group: Option<Ipv6Addr>,
    /// Answers may take this long, in milliseconds.
    pub max_response_ms: u32,
    /// From a router that speaks the first version alone.
    pub is_v1: bool,
}

/// Reads the query that is all of `data`.
///
/// # Errors
/// [`Malformed`] for anything else.
pub fn parse_query(data: &[u8]) -> Result<Query, Malformed> {
    let is_v1 = data.len() == V1_LEN;
    if data.len() < QUERY_V2_LEN && !is_v1 {
        return Err(Malformed::Truncated);
    }
    if data[0] != QUERY || data[1] != 0 {
        return Err(Malformed::Value);
    }
    let code = u16::from_be_bytes([data[4], data[5]]);
    let group: &[u8; 16] = data[8..].first_chunk().ok_or(Malformed::Truncated)?;
    let group = Ipv6Addr::from(*group);
    if !group.is_unspecified() && !group.is_multicast() {
        return Err(Malformed::Value);
    }
    Ok(Query {
        group: (!group.is_unspecified()).then_some(group),
        max_response_ms: if is_v1 {
            code.into()
        } else {
            response_ms(code)
        },
        is_v1,
    })
}

/// A floating-point number for long times (RFC 3810 §5.1.3).
fn response_ms(code: u16) -> u32 {
    if code < 0x8000 {
        return code.into();
    }
    let (exponent, mantissa) = (u32::from(code >> 12) & 7, u32::from(code & 0x0fff));
    (mantissa | 0x1000) << (exponent + 3)
}

/// Bytes of a report with so many records.
#[must_use]
pub const fn report_len(records: usize) -> usize {
    group_report::len(records, 16)
}

/// Writes a report to `out`, its checksum field zero.
///
/// # Panics
/// When `out` is not exactly [`report_len`] long.
pub fn emit_report(records: &[(RecordKind, Ipv6Addr)], out: &mut [u8]) {
    let records = records.iter().map(|(kind, group)| (*kind, group.octets()));
    group_report::emit(REPORT, records, out);
}

/// Writes a message of the first version to `out`, its checksum field zero.
///
/// # Panics
/// When `out` is not exactly [`V1_LEN`] long.
pub fn emit_v1(kind: u8, group: Ipv6Addr, out: &mut [u8]) {
    out[..8].copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    out[8..].copy_from_slice(&group.octets());
}
