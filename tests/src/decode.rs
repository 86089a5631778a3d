//! An independent decoder for frames on simulated links and in captures.
//!
//! Built on the `etherparse` crate, so that a mistake in the stack's own wire formats cannot hide itself:
//! it checks the IP and transport checksums and the lengths, and reads the TCP options.
//!
//! Hosts have IPv4 addresses as their names. In the networks that are simulated an IPv6 address ends with
//! that name ([`name`]), so that whoever judges need not care which family was spoken.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;

use etherparse::{
    Ipv6Slice, NetSlice, SlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
    checksum::Sum16BitWords,
};

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram: source, destination, payload.
    Udp(SocketAddrV4, SocketAddrV4, Vec<u8>),
    /// An ICMP message: source, destination, type, code, everything after the first 4 bytes.
    Icmp(Ipv4Addr, Ipv4Addr, u8, u8, Vec<u8>),
    /// A fragment of a larger datagram.
    Fragment(Fragment),
    /// ARP: operation, sender's address, target's address.
    Arp(u16, Ipv4Addr, Ipv4Addr),
    /// Something else.
    Other,
}

/// A fragment of an IPv4 datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Identification.
    pub identification: u16,
    /// Offset of the first byte.
    pub offset_bytes: usize,
    /// More follow.
    pub more: bool,
    /// Bytes of the whole fragment with its IP header.
    pub ip_len: usize,
    /// The part of the datagram in it.
    pub payload: Vec<u8>,
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source address and port.
    pub source: SocketAddrV4,
    /// Destination address and port.
    pub destination: SocketAddrV4,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, if the flag is set.
    pub ack: Option<u32>,
    /// SYN flag.
    pub syn: bool,
    /// FIN flag.
    pub fin: bool,
    /// RST flag.
    pub rst: bool,
    /// URG flag and pointer.
    pub urgent: Option<u16>,
    /// The window field, unscaled.
    pub window: u16,
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale shift.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks in order.
    pub sack: Vec<(u32, u32)>,
    /// Bytes of the whole datagram.
    pub ip_len: usize,
    /// Where the data is in the frame.
    pub payload: Range<usize>,
}

impl Segment {
    /// Sequence numbers that it occupies.
    #[must_use]
    pub fn sequence_len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.syn) + u32::from(self.fin)
    }

    /// One line for people, in the manner of tcpdump.
    #[must_use]
    pub fn summary(&self) -> String {
        let flags: String = [
            (self.syn, 'S'),
            (self.fin, 'F'),
            (self.rst, 'R'),
            (self.ack.is_some(), '.'),
        ]
        .iter()
        .filter_map(|&(set, letter)| set.then_some(letter))
        .collect();
        format!(
            "{} > {} [{flags}] seq {} len {} ack {:?} win {} ts {:?} sack {:?}",
            self.source,
            self.destination,
            self.seq,
            self.payload.len(),
            self.ack,
            self.window,
            self.timestamps,
            self.sack,
        )
    }
}

/// The name of the host that has this address.
#[must_use]
pub const fn name(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => Ipv4Addr::from_bits(address.to_bits() as u32),
    }
}

/// The same with a port.
#[must_use]
pub const fn name_of(end: SocketAddr) -> SocketAddrV4 {
    SocketAddrV4::new(name(end.ip()), end.port())
}

/// Decodes an Ethernet frame; the error says what is wrong with it.
///
/// # Errors
/// When a header is malformed or a checksum is wrong.
pub fn decode(frame: &[u8]) -> Result<Decoded, String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let ip = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => ip,
        Some(NetSlice::Ipv6(ip)) => return decode6(frame, ip, packet.transport.as_ref()),
        Some(NetSlice::Arp(arp)) => {
            let (Some(sender), Some(target)) = (
                four(arp.sender_protocol_addr()),
                four(arp.target_protocol_addr()),
            ) else {
                return Err("ARP for something other than IPv4".into());
            };
            return Ok(Decoded::Arp(arp.operation().0, sender, target));
        }
        _ => return Ok(Decoded::Other),
    };
    let header = ip.header();
    if Sum16BitWords::new()
        .add_slice(header.slice())
        .ones_complement()
        != 0
    {
        return Err("bad IP header checksum".into());
    }
    let (source, destination) = (header.source_addr(), header.destination_addr());
    let ip_len = usize::from(header.total_len());
    if header.is_fragmenting_payload() {
        return Ok(Decoded::Fragment(Fragment {
            source,
            identification: header.identification(),
            offset_bytes: usize::from(header.fragments_offset().value()) * 8,
            more: header.more_fragments(),
            ip_len,
            payload: ip.payload().payload.to_vec(),
        }));
    }
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let base = tcp.slice().as_ptr() as usize - frame.as_ptr() as usize;
            let pseudo = pseudo_header(source, destination, 6, tcp.slice().len());
            segment((source, destination), pseudo, tcp, ip_len, base).map(Decoded::Tcp)
        }
        Some(TransportSlice::Udp(udp)) => {
            let sum =
                pseudo_header(source, destination, 17, udp.slice().len()).add_slice(udp.slice());
            if udp.checksum() != 0 && sum.ones_complement() != 0 {
                return Err("bad UDP checksum".into());
            }
            Ok(Decoded::Udp(
                SocketAddrV4::new(source, udp.source_port()),
                SocketAddrV4::new(destination, udp.destination_port()),
                udp.payload().to_vec(),
            ))
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            if Sum16BitWords::new()
                .add_slice(icmp.slice())
                .ones_complement()
                != 0
            {
                return Err("bad ICMP checksum".into());
            }
            let rest = icmp.slice()[4..].to_vec();
            Ok(Decoded::Icmp(
                source,
                destination,
                icmp.type_u8(),
                icmp.code_u8(),
                rest,
            ))
        }
        _ => Ok(Decoded::Other),
    }
}

/// Of IPv6 only segments are read; of ICMPv6 the checksum is checked.
fn decode6(
    frame: &[u8],
    ip: &Ipv6Slice<'_>,
    transport: Option<&TransportSlice<'_>>,
) -> Result<Decoded, String> {
    let (source, destination) = (ip.header().source_addr(), ip.header().destination_addr());
    let pseudo = |protocol: u8, len: usize| {
        Sum16BitWords::new()
            .add_16bytes(source.octets())
            .add_16bytes(destination.octets())
            .add_4bytes((len as u32).to_be_bytes())
            .add_2bytes([0, protocol])
    };
    match transport {
        Some(TransportSlice::Tcp(tcp)) if !ip.is_payload_fragmented() => {
            let base = tcp.slice().as_ptr() as usize - frame.as_ptr() as usize;
            let ip_len = 40 + usize::from(ip.header().payload_length());
            let names = (name(source.into()), name(destination.into()));
            let pseudo = pseudo(6, tcp.slice().len());
            segment(names, pseudo, tcp, ip_len, base).map(Decoded::Tcp)
        }
        Some(TransportSlice::Icmpv6(icmp)) if !ip.is_payload_fragmented() => {
            let sum = pseudo(58, icmp.slice().len()).add_slice(icmp.slice());
            if sum.ones_complement() == 0 {
                Ok(Decoded::Other)
            } else {
                Err("bad ICMPv6 checksum".into())
            }
        }
        _ => Ok(Decoded::Other),
    }
}

fn four(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn pseudo_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    len: usize,
) -> Sum16BitWords {
    Sum16BitWords::new()
        .add_4bytes(source.octets())
        .add_4bytes(destination.octets())
        .add_2bytes([0, protocol])
        .add_2bytes((len as u16).to_be_bytes())
}

fn segment(
    (source, destination): (Ipv4Addr, Ipv4Addr),
    pseudo_header: Sum16BitWords,
    tcp: &TcpSlice<'_>,
    ip_len: usize,
    base: usize,
) -> Result<Segment, String> {
    let sum = pseudo_header.add_slice(tcp.slice());
    if sum.ones_complement() != 0 {
        return Err(format!("bad TCP checksum {:#06x}", tcp.checksum()));
    }
    let start = base + usize::from(tcp.data_offset()) * 4;
    let mut segment = Segment {
        source: SocketAddrV4::new(source, tcp.source_port()),
        destination: SocketAddrV4::new(destination, tcp.destination_port()),
        seq: tcp.sequence_number(),
        ack: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        urgent: tcp.urg().then(|| tcp.urgent_pointer()),
        window: tcp.window_size(),
        mss: None,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
        sack: Vec::new(),
        ip_len,
        payload: start..start + tcp.payload().len(),
    };
    for option in tcp.options_iterator() {
        match option.map_err(|error| format!("bad TCP option: {error}"))? {
            TcpOptionElement::Noop => {}
            TcpOptionElement::MaximumSegmentSize(mss) => segment.mss = Some(mss),
            TcpOptionElement::WindowScale(shift) => segment.window_scale = Some(shift),
            TcpOptionElement::SelectiveAcknowledgementPermitted => segment.sack_permitted = true,
            TcpOptionElement::SelectiveAcknowledgement(first, rest) => {
                segment.sack.push(first);
                segment.sack.extend(rest.iter().flatten());
            }
            TcpOptionElement::Timestamp(value, echo) => segment.timestamps = Some((value, echo)),
        }
    }
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn example() -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1000, 80, 77, 500)
            .ack(99);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"hello").expect("a Vec takes it");
        frame
    }

    #[test]
    fn reads_a_segment_and_finds_its_data() {
        let frame = example();
        let Ok(Decoded::Tcp(segment)) = decode(&frame) else {
            panic!("not TCP")
        };
        assert_eq!(
            (segment.seq, segment.ack, segment.window),
            (77, Some(99), 500)
        );
        assert_eq!(&frame[segment.payload], b"hello");
    }

    #[test]
    fn a_host_has_one_name_in_both_families() {
        let octets = |text: &str| {
            text.parse::<std::net::Ipv6Addr>()
                .expect("an address")
                .octets()
        };
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv6(octets("fd00::10.0.0.1"), octets("fd00::10.0.0.2"), 64)
            .tcp(1000, 80, 77, 500);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"hello").expect("a Vec takes it");
        let Ok(Decoded::Tcp(segment)) = decode(&frame) else {
            panic!("not TCP")
        };
        assert_eq!(segment.source, "10.0.0.1:1000".parse().expect("a name"));
        assert_eq!(segment.destination, "10.0.0.2:80".parse().expect("a name"));
        assert_eq!(&frame[segment.payload], b"hello");
        for at in 14 + 8..frame.len() {
            frame[at] ^= 1;
            let seen = decode(&frame);
            assert!(!matches!(seen, Ok(Decoded::Tcp(_))), "byte {at}: {seen:?}");
            frame[at] ^= 1;
        }
    }

    #[test]
    fn any_flipped_bit_above_ethernet_is_noticed() {
        for bit in 14 * 8..example().len() * 8 {
            let mut frame = example();
            frame[bit / 8] ^= 1 << (bit % 8);
            let seen = decode(&frame);
            let is_tcp = matches!(seen, Ok(Decoded::Tcp(_)));
            assert!(!is_tcp, "bit {bit}: {seen:?}");
        }
    }
}
