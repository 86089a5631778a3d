//! Internet group management (RFC 3376 §4; RFC 2236 §2 and RFC 1112 for older versions). Sources are not
//! told apart: reports are about groups as a whole.

use std::net::Ipv4Addr;

use super::Malformed;
use super::group_report::{self, RecordKind};

/// The protocol's number in IPv4.
pub const PROTOCOL: u8 = 2;
/// Type of a query.
pub const QUERY: u8 = 0x11;
/// Type of a report of the second version.
pub const REPORT_V2: u8 = 0x16;
/// Type of the message that a member of the second version leaves with.
pub const LEAVE_V2: u8 = 0x17;
/// Type of a report of the third version.
pub const REPORT: u8 = 0x22;
/// Where the checksum stands.
pub const CHECKSUM_OFFSET: usize = 2;
/// Bytes of a message of the second version.
pub const V2_LEN: usize = 8;

const QUERY_V3_LEN: usize = 12;
/// The unit of times, in milliseconds.
const TENTH_MS: u32 = 100;
/// What a query of the first version allows, which says nothing (RFC 3376 §7.2.1).
const V1_RESPONSE_MS: u32 = 10_000;

/// Those who want to hear reports (RFC 3376 §4.2.14).
pub const REPORTS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// All routers, who are told of members that leave (RFC 2236 §3).
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);

/// Who is in a group?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// In this one, or in any.
    pub group: Option<Ipv4Addr>,
    /// Answers may take this long, in milliseconds.
    pub max_response_ms: u32,
    /// From a router that speaks an older version.
    pub is_old: bool,
}

/// Reads the query that is all of `data`.
///
/// # Errors
/// [`Malformed`] for anything else.
pub fn parse_query(data: &[u8]) -> Result<Query, Malformed> {
    let is_old = data.len() == V2_LEN;
    if data.len() < QUERY_V3_LEN && !is_old {
        return Err(Malformed::Truncated);
    }
    if data[0] != QUERY {
        return Err(Malformed::Value);
    }
    let group: &[u8; 4] = data[4..].first_chunk().ok_or(Malformed::Truncated)?;
    let group = Ipv4Addr::from(*group);
    if !group.is_unspecified() && !group.is_multicast() {
        return Err(Malformed::Value);
    }
    let max_response_ms = match data[1] {
        0 if is_old => V1_RESPONSE_MS,
        code if is_old => u32::from(code) * TENTH_MS,
        code => response_tenths(code) * TENTH_MS,
    };
    Ok(Query {
        group: (!group.is_unspecified()).then_some(group),
        max_response_ms,
        is_old,
    })
}

/// A floating-point number for long times (RFC 3376 §4.1.1).
fn response_tenths(code: u8) -> u32 {
    if code < 0x80 {
        return code.into();
    }
    let (exponent, mantissa) = (u32::from(code >> 4) & 7, u32::from(code & 0x0f));
    (mantissa | 0x10) << (exponent + 3)
}

/// Bytes of a report with so many records.
#[must_use]
pub const fn report_len(records: usize) -> usize {
    group_report::len(records, 4)
}

/// Writes a report to `out`, its checksum field zero.
///
/// # Panics
/// When `out` is not exactly [`report_len`] long.
pub fn emit_report(records: &[(RecordKind, Ipv4Addr)], out: &mut [u8]) {
    let records = records.iter().map(|(kind, group)| (*kind, group.octets()));
    group_report::emit(REPORT, records, out);
}

/// Writes a message of the second version to `out`, its checksum field zero.
///
/// # Panics
/// When `out` is not exactly [`V2_LEN`] long.
pub fn emit_v2(kind: u8, group: Ipv4Addr, out: &mut [u8]) {
    out[..4].copy_from_slice(&[kind, 0, 0, 0]);
    out[4..].copy_from_slice(&group.octets());
}
