//! ICMP for IPv6 (RFC 4443 §2 to §4). Behind the 8 bytes read here comes the data of an echo or the
//! beginning of the datagram that an error is about. Neighbour discovery is in `ndp.rs`, multicast
//! listeners in `mld.rs`.

use super::Malformed;
use super::icmp::{self, Fields, pair};
pub use super::icmp::{CHECKSUM_OFFSET, HEADER_LEN};

/// Code of Destination Unreachable: no route.
pub const CODE_NO_ROUTE: u8 = 0;
/// Code of Destination Unreachable: the port.
pub const CODE_PORT: u8 = 4;
/// Code of Time Exceeded: in reassembly.
pub const CODE_REASSEMBLY: u8 = 1;
/// Code of Parameter Problem: a field with a value that makes no sense.
pub const CODE_FIELD: u8 = 0;
/// Code of Parameter Problem: nobody speaks the next header.
pub const CODE_NEXT_HEADER: u8 = 1;
/// Code of Parameter Problem: an option that is not known.
pub const CODE_OPTION: u8 = 2;
/// Code of Parameter Problem: a first fragment without all headers (RFC 7112 §5).
pub const CODE_HEADER_CHAIN: u8 = 3;

/// What an ICMPv6 message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The datagram could not be delivered.
    Unreachable {
        /// Why.
        code: u8,
    },
    /// The datagram is larger than the next link carries.
    PacketTooBig {
        /// Bytes that it carries.
        mtu: u32,
    },
    /// The hop limit ran out, or reassembly did not finish.
    TimeExceeded {
        /// Which of the two.
        code: u8,
    },
    /// Something in the headers was not understood.
    ParameterProblem {
        /// What kind of thing.
        code: u8,
        /// Byte of the datagram that was the trouble.
        pointer: u32,
    },
    /// An echo is wanted.
    EchoRequest {
        /// To be repeated.
        identifier: u16,
        /// To be repeated.
        sequence: u16,
    },
    /// Answer to an echo request.
    EchoReply {
        /// As in the request.
        identifier: u16,
        /// As in the request.
        sequence: u16,
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
            Self::Unreachable { code } => (1, code, [0; 4]),
            Self::PacketTooBig { mtu } => (2, 0, mtu.to_be_bytes()),
            Self::TimeExceeded { code } => (3, code, [0; 4]),
            Self::ParameterProblem { code, pointer } => (4, code, pointer.to_be_bytes()),
            Self::EchoRequest {
                identifier,
                sequence,
            } => (128, 0, pair(identifier, sequence)),
            Self::EchoReply {
                identifier,
                sequence,
            } => (129, 0, pair(identifier, sequence)),
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

    /// True for messages that report about a datagram, known or not (RFC 4443 §2.1), and for redirects:
    /// nothing may be reported about them in turn (§2.4 (e)).
    #[must_use]
    pub const fn is_error(&self) -> bool {
        let (kind, ..) = self.fields();
        kind < 128 || kind == 137
    }
}

/// Reads the header at the front of `data`.
///
/// # Errors
/// [`Malformed::Truncated`].
pub fn parse(data: &[u8]) -> Result<Message, Malformed> {
    let (kind, code, rest) = icmp::read(data)?;
    let word = u32::from_be_bytes(rest);
    let (first, second) = ((word >> 16) as u16, word as u16);
    Ok(match (kind, code) {
        (1, _) => Message::Unreachable { code },
        // The code is to be ignored (RFC 4443 §3.2).
        (2, _) => Message::PacketTooBig { mtu: word },
        (3, _) => Message::TimeExceeded { code },
        (4, _) => Message::ParameterProblem {
            code,
            pointer: word,
        },
        (128, 0) => Message::EchoRequest {
            identifier: first,
            sequence: second,
        },
        (129, 0) => Message::EchoReply {
            identifier: first,
            sequence: second,
        },
        _ => Message::Other { kind, code, rest },
    })
}
