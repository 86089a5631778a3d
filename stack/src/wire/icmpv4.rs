//! ICMP for IPv4 (RFC 792, RFC 1191 §4 for the next-hop MTU). Behind the 8 bytes read here comes the
//! data of an echo or the beginning of the datagram that an error is about.

use std::net::Ipv4Addr;

use super::Malformed;
use super::icmp::{self, Fields, pair};
pub use super::icmp::{CHECKSUM_OFFSET, HEADER_LEN};

/// Code of Destination Unreachable: the protocol.
pub const CODE_PROTOCOL: u8 = 2;
/// Code of Destination Unreachable: the port.
pub const CODE_PORT: u8 = 3;
/// Code of Destination Unreachable: fragmentation needed.
pub const CODE_TOO_BIG: u8 = 4;
/// Code of Time Exceeded: in reassembly.
pub const CODE_REASSEMBLY: u8 = 1;

/// What an ICMP message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Answer to an echo request.
    EchoReply {
        /// As in the request.
        identifier: u16,
        /// As in the request.
        sequence: u16,
    },
    /// The datagram could not be delivered.
    Unreachable {
        /// Why.
        code: u8,
        /// MTU of the next hop in bytes with [`CODE_TOO_BIG`], or 0.
        mtu: u16,
    },
    /// Deprecated (RFC 6633).
    SourceQuench,
    /// There is a better gateway.
    Redirect {
        /// For what the redirect is.
        code: u8,
        /// The better one.
        gateway: Ipv4Addr,
    },
    /// An echo is wanted.
    EchoRequest {
        /// To be repeated.
        identifier: u16,
        /// To be repeated.
        sequence: u16,
    },
    /// TTL ran out, or reassembly did not finish.
    TimeExceeded {
        /// Which of the two.
        code: u8,
    },
    /// Something in the header was not understood.
    ParameterProblem {
        /// With code 0, `pointer` is meaningful.
        code: u8,
        /// Byte of the datagram that was the trouble.
        pointer: u8,
    },
    /// Anything else.
    Other {
        /// The type field.
        kind: u8,
        /// The code field.
        code: u8,
        /// The four bytes behind the checksum.
        rest: [u8; 4],
    },
}

impl Message {
    /// Type, code, and the four bytes behind the checksum.
    const fn fields(&self) -> Fields {
        match *self {
            Self::EchoReply {
                identifier,
                sequence,
            } => (0, 0, pair(identifier, sequence)),
            Self::Unreachable { code, mtu } => (3, code, pair(0, mtu)),
            Self::SourceQuench => (4, 0, [0; 4]),
            Self::Redirect { code, gateway } => (5, code, gateway.octets()),
            Self::EchoRequest {
                identifier,
                sequence,
            } => (8, 0, pair(identifier, sequence)),
            Self::TimeExceeded { code } => (11, code, [0; 4]),
            Self::ParameterProblem { code, pointer } => (12, code, [pointer, 0, 0, 0]),
            Self::Other { kind, code, rest } => (kind, code, rest),
        }
    }

    /// Writes the header to `out`, its checksum field zero.
    ///
    /// # Panics
    /// When `out` is not exactly [`HEADER_LEN`] long.
    pub fn emit(&self, out: &mut [u8]) {
        icmp::emit(self.fields(), out);
    }

    /// True for messages that report about a datagram, which nothing may be reported about in turn.
    /// What is not known is taken for an error, to be safe (RFC 1122 §3.2.2).
    #[must_use]
    pub const fn is_error(&self) -> bool {
        match self {
            Self::EchoReply { .. } | Self::EchoRequest { .. } => false,
            Self::Other { kind, .. } => !matches!(kind, 9 | 10 | 13..=18),
            _ => true,
        }
    }
}

/// Reads the header at the front of `data`.
///
/// # Errors
/// [`Malformed::Truncated`].
pub fn parse(data: &[u8]) -> Result<Message, Malformed> {
    let (kind, code, rest) = icmp::read(data)?;
    let [a, b, c, d] = rest;
    let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ok(match (kind, code) {
        (0, 0) => Message::EchoReply {
            identifier: first,
            sequence: second,
        },
        (3, _) => Message::Unreachable { code, mtu: second },
        (4, 0) => Message::SourceQuench,
        (5, _) => Message::Redirect {
            code,
            gateway: rest.into(),
        },
        (8, 0) => Message::EchoRequest {
            identifier: first,
            sequence: second,
        },
        (11, _) => Message::TimeExceeded { code },
        (12, _) => Message::ParameterProblem { code, pointer: a },
        _ => Message::Other { kind, code, rest },
    })
}
