//! Neighbour discovery (RFC 4861) with duplicate address detection (RFC 4862 §5.4): what IPv6 says on the
//! link. Its messages are IPv6 datagrams, but about stations; they are taken off here, as ARP is.
//!
//! Left out: redirects, and messages behind extension headers, which nobody sends.

mod frames;
mod incoming;

pub(super) use frames::{ask, say};
pub(super) use incoming::is_message;
