//! Byte formats: read a header in place, emit one. No state, no I/O, no allocation.
//!
//! Every `parse` takes whatever came from the network and answers with a header or with [`Malformed`];
//! it never panics. Checksums are carried, not checked: that is the business of the layer.

pub mod arp;
pub mod ethernet;
pub mod group_report;
mod icmp;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_extension;
pub mod mld;
pub mod ndp;
pub mod tcp;
mod tcp_options;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests6;
pub mod udp;

/// What is wrong with bytes that should have been a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end before the header does.
    #[error("truncated")]
    Truncated,
    /// A header length field below the minimum.
    #[error("bad header length")]
    HeaderLength,
    /// A total length field that contradicts the header or the bytes.
    #[error("bad total length")]
    TotalLength,
    /// Another version of the protocol.
    #[error("bad version")]
    Version,
    /// A field with a value that makes no sense.
    #[error("bad value")]
    Value,
}
