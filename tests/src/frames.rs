//! Frames as a stranger on the wire would build them, right or wrong in any way.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::checksum::Sum16BitWords;
use outlive_driver::Random;

const ETHERNET: usize = 14;

/// A TCP segment to be built. Nothing in it is checked for sense.
#[derive(Clone, Debug)]
pub struct TcpFrame {
    /// Ethernet destination and source.
    pub macs: ([u8; 6], [u8; 6]),
    /// Who it claims to come from.
    pub source: SocketAddrV4,
    /// Whom it is for.
    pub destination: SocketAddrV4,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The flags byte.
    pub flags: u8,
    /// The window field.
    pub window: u16,
    /// Options as they are on the wire; padded to a multiple of four.
    pub options: Vec<u8>,
    /// Data.
    pub data: Vec<u8>,
}

/// FIN, SYN, RST and ACK in the flags byte.
pub const FIN: u8 = 1;
/// See [`FIN`].
pub const SYN: u8 = 2;
/// See [`FIN`].
pub const RST: u8 = 4;
/// See [`FIN`].
pub const ACK: u8 = 16;

impl TcpFrame {
    /// The frame, with right lengths and checksums.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend_from_slice(&self.source.port().to_be_bytes());
        tcp.extend_from_slice(&self.destination.port().to_be_bytes());
        tcp.extend_from_slice(&self.seq.to_be_bytes());
        tcp.extend_from_slice(&self.ack.to_be_bytes());
        let options = self.options.len().next_multiple_of(4);
        tcp.extend_from_slice(&[((5 + options / 4) << 4) as u8, self.flags]);
        tcp.extend_from_slice(&self.window.to_be_bytes());
        tcp.extend_from_slice(&[0; 4]);
        tcp.extend_from_slice(&self.options);
        tcp.resize(20 + options, 0);
        tcp.extend_from_slice(&self.data);
        let mut frame = ipv4(
            self.macs,
            *self.source.ip(),
            *self.destination.ip(),
            6,
            (0, 0),
            &tcp,
        );
        fix_checksums(&mut frame);
        frame
    }
}

/// An IPv4 datagram or fragment; `fragment` is identification and the flags-and-offset field.
#[must_use]
pub fn ipv4(
    macs: ([u8; 6], [u8; 6]),
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    fragment: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + 20 + payload.len());
    frame.extend_from_slice(&macs.0);
    frame.extend_from_slice(&macs.1);
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    frame.extend_from_slice(&fragment.0.to_be_bytes());
    frame.extend_from_slice(&fragment.1.to_be_bytes());
    frame.extend_from_slice(&[64, protocol, 0, 0]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&destination.octets());
    frame.extend_from_slice(payload);
    fix_ip_checksum(&mut frame);
    frame
}

/// An ARP packet: operation, sender and target.
#[must_use]
pub fn arp(
    operation: u16,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
    to: [u8; 6],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&sender.0);
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
    frame.extend_from_slice(&operation.to_be_bytes());
    frame.extend_from_slice(&sender.0);
    frame.extend_from_slice(&sender.1.octets());
    frame.extend_from_slice(&target.0);
    frame.extend_from_slice(&target.1.octets());
    frame
}

fn fix_ip_checksum(frame: &mut [u8]) {
    let end = (ETHERNET + usize::from(frame[ETHERNET] & 0x0F) * 4).min(frame.len());
    if end < ETHERNET + 20 {
        return;
    }
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = Sum16BitWords::new()
        .add_slice(&frame[ETHERNET..end])
        .ones_complement();
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_ne_bytes());
}

/// Makes the checksums of IP, TCP, UDP and ICMP right again, as far as their headers are there: so that a
/// mutated frame gets past them and into the code behind.
pub fn fix_checksums(frame: &mut [u8]) {
    if frame.len() < ETHERNET + 20 || frame[12..14] != [8, 0] {
        return;
    }
    fix_ip_checksum(frame);
    let start = ETHERNET + usize::from(frame[ETHERNET] & 0x0F) * 4;
    let total = usize::from(u16::from_be_bytes([
        frame[ETHERNET + 2],
        frame[ETHERNET + 3],
    ]));
    let end = (ETHERNET + total).min(frame.len());
    let (protocol, field) = match frame[ETHERNET + 9] {
        6 => (6, 16),
        17 => (17, 6),
        1 => (1, 2),
        _ => return,
    };
    if start + field + 2 > end {
        return;
    }
    frame[start + field..start + field + 2].fill(0);
    let mut sum = Sum16BitWords::new().add_slice(&frame[start..end]);
    if protocol != 1 {
        sum = sum
            .add_slice(&frame[ETHERNET + 12..ETHERNET + 20])
            .add_2bytes([0, protocol])
            .add_2bytes(((end - start) as u16).to_be_bytes());
    }
    frame[start + field..start + field + 2].copy_from_slice(&sum.ones_complement().to_ne_bytes());
}

/// A valid frame made invalid in one of many ways; half of the time with right checksums.
#[must_use]
pub fn mutated(frame: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..=random.below(3) {
        let len = frame.len().max(1) as u64;
        match random.below(7) {
            0 => frame.truncate(random.below(len) as usize),
            1 => frame.extend((0..random.below(64)).map(|i| i as u8)),
            2 => flip(&mut frame, random, 0),
            3 | 4 => flip(&mut frame, random, ETHERNET),
            5 => set(&mut frame, random),
            _ => {
                let from = random.below(len) as usize;
                let slice = frame[from..].to_vec();
                frame.extend_from_slice(&slice);
            }
        }
    }
    if random.chance(1, 2) {
        fix_checksums(&mut frame);
    }
    frame
}

/// Flips a bit, more often than not in the headers.
fn flip(frame: &mut [u8], random: &mut Random, from: usize) {
    let headers = frame.len().min(ETHERNET + 60);
    let end = if random.chance(3, 4) {
        headers
    } else {
        frame.len()
    };
    if end > from {
        let at = from + random.below((end - from) as u64) as usize;
        frame[at] ^= 1 << random.below(8);
    }
}

/// Puts an extreme value into a byte of the headers.
fn set(frame: &mut [u8], random: &mut Random) {
    let end = frame.len().min(ETHERNET + 60);
    if end > ETHERNET {
        let at = ETHERNET + random.below((end - ETHERNET) as u64) as usize;
        frame[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoded, decode};

    #[test]
    fn what_is_built_decodes() {
        let frame = TcpFrame {
            macs: ([2; 6], [4; 6]),
            source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 7),
            destination: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 9),
            seq: 5,
            ack: 6,
            flags: ACK | FIN,
            window: 100,
            options: vec![1, 1, 1],
            data: b"odd".to_vec(),
        };
        let Ok(Decoded::Tcp(segment)) = decode(&frame.build()) else {
            panic!("{:?}", decode(&frame.build()));
        };
        assert_eq!(
            (segment.seq, segment.ack, segment.fin, segment.payload.len()),
            (5, Some(6), true, 3)
        );
    }
}
