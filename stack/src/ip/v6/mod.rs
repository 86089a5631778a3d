//! What is particular to IPv6 (RFC 8200): its header and extension headers, ICMPv6 (RFC 4443), source
//! addresses (RFC 6724). Reassembly, routes, path MTUs and limits are those of IPv4.
//!
//! Neighbours are the business of the link layer, as in IPv4. Left out: jumbograms (RFC 2675), source
//! routes of any kind (RFC 5095), IPsec, mobility.

mod address;
mod fragments;
mod headers;
pub(super) mod icmp;
mod incoming;
mod outgoing;
pub(super) mod source;

pub(super) use address::link_local;
pub(super) use incoming::{is_never_a_source, reassembly_expired};
pub(super) use outgoing::V6;
