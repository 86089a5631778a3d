//! The chain of headers in front of what a datagram carries (RFC 8200 §4). All of it is the sender's to
//! choose, so it is bounded (RFC 8504 §5.3), and looked at once, from front to end.
//!
//! Options and routing headers change nothing here: they are stepped over, or refuse the datagram as their
//! sender asked (§4.2, §4.4). Source routes are refused (RFC 5095).

use crate::counters::Counter;
use crate::wire::Malformed;
use crate::wire::icmpv6::{CODE_FIELD, CODE_NEXT_HEADER, CODE_OPTION};
use crate::wire::ipv6::{
    HEADER_LEN, NEXT_DESTINATION, NEXT_FRAGMENT, NEXT_HEADER_OFFSET, NEXT_HOP_BY_HOP, NEXT_ROUTING,
};
use crate::wire::ipv6_extension::{
    self as extension, FRAGMENT_LEN, Fragment, OPTION_ROUTER_ALERT, ROUTING_SOURCE_ROUTE,
};

/// Extension headers of one datagram.
const MAX_HEADERS: usize = 8;
/// Options of one header, padding not counted.
const MAX_OPTIONS: usize = 16;

/// A header: what it is, where it begins, and where the byte that said so stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) kind: u8,
    pub(super) at: usize,
    pub(super) named_at: usize,
}

impl Next {
    /// The first one behind the fixed header.
    pub(super) fn first(data: &[u8]) -> Self {
        Self {
            kind: data[NEXT_HEADER_OFFSET],
            at: HEADER_LEN,
            named_at: NEXT_HEADER_OFFSET,
        }
    }
}

/// What a chain ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A transport protocol, or something that nobody knows.
    Upper(Next),
    /// A fragment header, and where it stands.
    Fragment(Fragment, Next),
}

/// Why a chain refuses its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is longer than the datagram.
    Truncated,
    /// Nobody is told.
    Silent(Counter),
    /// The sender is told, by a Parameter Problem.
    Problem {
        counter: Counter,
        code: u8,
        pointer: usize,
        /// Even about what went to a group (RFC 4443 §2.4 (e.3)).
        even_to_groups: bool,
    },
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Truncated
    }
}

/// Steps from header to header of `data`, which begins with the fixed header, starting at `next`.
pub(super) fn walk(data: &[u8], mut next: Next) -> Result<End, Refusal> {
    for _ in 0..=MAX_HEADERS {
        let rest = data.get(next.at..).ok_or(Refusal::Truncated)?;
        match next.kind {
            NEXT_HOP_BY_HOP if next.at != HEADER_LEN => {
                return Err(problem(CODE_NEXT_HEADER, next.named_at));
            }
            NEXT_HOP_BY_HOP | NEXT_DESTINATION => {
                check_options(extension::parse(rest)?.content, next.at + 2)?;
            }
            NEXT_ROUTING => check_routing(extension::parse(rest)?.content, next.at)?,
            NEXT_FRAGMENT => return Ok(End::Fragment(extension::parse_fragment(rest)?, next)),
            _ => return Ok(End::Upper(next)),
        }
        let header = extension::parse(rest)?;
        next = Next {
            kind: header.next_header,
            named_at: next.at,
            at: next.at + header.len,
        };
    }
    Err(Refusal::Silent(Counter::IpDropExtension))
}

const fn problem(code: u8, pointer: usize) -> Refusal {
    Refusal::Problem {
        counter: Counter::IpDropExtension,
        code,
        pointer,
        even_to_groups: false,
    }
}

/// What the two highest bits of an unknown option ask for (RFC 8200 §4.2). `at` is where `content` stands.
fn check_options(content: &[u8], at: usize) -> Result<(), Refusal> {
    for (count, option) in extension::options(content).enumerate() {
        let (kind, start, _) = option?;
        if count >= MAX_OPTIONS {
            return Err(Refusal::Silent(Counter::IpDropExtension));
        }
        if kind == OPTION_ROUTER_ALERT || kind >> 6 == 0 {
            continue;
        }
        return Err(match kind >> 6 {
            1 => Refusal::Silent(Counter::IpDropExtension),
            action => Refusal::Problem {
                counter: Counter::IpDropExtension,
                code: CODE_OPTION,
                pointer: at + start,
                even_to_groups: action == 2,
            },
        });
    }
    Ok(())
}

/// A route that is at its end is stepped over, any other is not understood (RFC 8200 §4.4).
fn check_routing(content: &[u8], at: usize) -> Result<(), Refusal> {
    let (kind, segments_left) = extension::routing(content).ok_or(Refusal::Truncated)?;
    if segments_left == 0 {
        return Ok(());
    }
    let counter = match kind {
        ROUTING_SOURCE_ROUTE => Counter::IpDropSourceRoute,
        _ => Counter::IpDropExtension,
    };
    Err(Refusal::Problem {
        counter,
        code: CODE_FIELD,
        pointer: at + 2,
        even_to_groups: false,
    })
}

/// The transport protocol of a datagram of which perhaps only the beginning is there, as ICMP errors
/// quote it, and where its header begins. None for later fragments.
pub(super) fn quoted_upper(data: &[u8]) -> Option<(u8, usize)> {
    let mut next = Next::first(data);
    for _ in 0..=MAX_HEADERS {
        let rest = data.get(next.at..)?;
        let (kind, len) = match next.kind {
            NEXT_HOP_BY_HOP | NEXT_DESTINATION | NEXT_ROUTING => {
                let header = extension::parse(rest).ok()?;
                (header.next_header, header.len)
            }
            NEXT_FRAGMENT => {
                let header = extension::parse_fragment(rest).ok()?;
                if header.offset != 0 {
                    return None;
                }
                (header.next_header, FRAGMENT_LEN)
            }
            kind => return Some((kind, next.at)),
        };
        next = Next {
            kind,
            named_at: next.at,
            at: next.at + len,
        };
    }
    None
}
