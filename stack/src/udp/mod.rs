//! UDP (RFC 768, RFC 1122 §4.1): sockets over datagrams.
//!
//! [`Udp`] is the table of sockets, [`UdpReader`] fills their queues; a [`Socket`] builds a datagram
//! itself and hands it to its caller, who hands it to the IP writer. Left out: UDP-Lite, and options of
//! RFC 9868.

mod error;
mod reader;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use error::Error;
pub use reader::{Outcome, UdpReader};
pub use socket::{Readiness, Received, Socket};
pub use table::{Config, Udp};
