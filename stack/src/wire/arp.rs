//! ARP for IPv4 over Ethernet (RFC 826). Other hardware and protocols are malformed here.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;
use super::ethernet::{MacAddr, TYPE_IPV4};

/// Bytes of a packet.
pub const LEN: usize = 28;
const HARDWARE_ETHERNET: u16 = 1;

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
}

/// One ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Question or answer.
    pub operation: Operation,
    /// Station address of the sender.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender; unspecified in a probe (RFC 5227 §1.1).
    pub sender: Ipv4Addr,
    /// Station address of the target; without meaning in a request.
    pub target_mac: MacAddr,
    /// IPv4 address of the target.
    pub target: Ipv4Addr,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: MacAddr,
    sender: [u8; 4],
    target_mac: MacAddr,
    target: [u8; 4],
}

impl Packet {
    /// Writes the packet to `out`.
    ///
    /// # Panics
    /// When `out` is not exactly [`LEN`] long.
    pub fn emit(&self, out: &mut [u8]) {
        let raw = Raw {
            hardware: HARDWARE_ETHERNET.into(),
            protocol: TYPE_IPV4.into(),
            hardware_len: 6,
            protocol_len: 4,
            operation: match self.operation {
                Operation::Request => 1.into(),
                Operation::Reply => 2.into(),
            },
            sender_mac: self.sender_mac,
            sender: self.sender.octets(),
            target_mac: self.target_mac,
            target: self.target.octets(),
        };
        out.copy_from_slice(raw.as_bytes());
    }
}

/// Reads the packet at the front of `data`.
///
/// # Errors
/// [`Malformed`] for anything but a request or reply of IPv4 over Ethernet.
pub fn parse(data: &[u8]) -> Result<Packet, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    if raw.hardware.get() != HARDWARE_ETHERNET || raw.protocol.get() != TYPE_IPV4 {
        return Err(Malformed::Value);
    }
    if raw.hardware_len != 6 || raw.protocol_len != 4 {
        return Err(Malformed::HeaderLength);
    }
    let operation = match raw.operation.get() {
        1 => Operation::Request,
        2 => Operation::Reply,
        _ => return Err(Malformed::Value),
    };
    Ok(Packet {
        operation,
        sender_mac: raw.sender_mac,
        sender: raw.sender.into(),
        target_mac: raw.target_mac,
        target: raw.target.into(),
    })
}
