//! Neighbour discovery (RFC 4861) with duplicate address detection and addresses by prefix (RFC 4862): what
//! IPv6 says on the link. Its messages are IPv6 datagrams, but about stations; they are taken off here, as ARP is.
//!
//! Left out: redirects, and messages behind extension headers, which nobody sends.

mod frames;
mod incoming;
mod polling;
mod routers;
mod stable;

pub(super) use frames::{ask, say};
pub(super) use incoming::is_message;
pub(super) use routers::Routers;
