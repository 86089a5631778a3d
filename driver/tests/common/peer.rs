//! A TCP peer without a protocol engine: it knows the next sequence numbers and nothing else, which is
//! enough to talk to a kernel over a clean link.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use outlive_driver::{
    Checksum, Interface, Medium, PartialChecksum, RxChecksum, RxFrame, Segmentation,
    SegmentationKind, TxFrame,
};
use pnet::packet::Packet;
use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet::packet::tcp::{self, MutableTcpPacket, TcpFlags, TcpPacket};

/// The kernel's address in these tests, and the peer's.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The address that no kernel has.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

const PATIENCE: Duration = Duration::from_secs(20);

/// A segment that arrived.
pub(crate) struct Arrived {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) port: u16,
    pub(crate) data: Vec<u8>,
    pub(crate) frame: RxFrame,
}

/// One end of TCP connections over `interface`.
pub(crate) struct Peer {
    pub(crate) interface: Interface,
    pub(crate) host_mac: Option<[u8; 6]>,
    /// Leave checksums to the device.
    pub(crate) offload: bool,
    received: VecDeque<RxFrame>,
}

impl Peer {
    pub(crate) fn new(interface: Interface, host_mac: Option<[u8; 6]>) -> Self {
        let offload = interface.capabilities.tx_checksum;
        Self {
            interface,
            host_mac,
            offload,
            received: VecDeque::new(),
        }
    }

    fn link_len(&self) -> usize {
        if self.interface.capabilities.medium == Medium::Ethernet {
            14
        } else {
            0
        }
    }

    /// Sends one segment, as a super-frame if it is longer than `mss`.
    pub(crate) fn send(
        &mut self,
        ports: (u16, u16),
        seq: u32,
        ack: u32,
        flags: u8,
        data: &[u8],
        mss: u16,
    ) {
        let mut header = [0; 20];
        let mut tcp = MutableTcpPacket::new(&mut header).unwrap();
        tcp.set_source(ports.0);
        tcp.set_destination(ports.1);
        tcp.set_sequence(seq);
        tcp.set_acknowledgement(ack);
        tcp.set_data_offset(5);
        tcp.set_flags(flags);
        tcp.set_window(u16::MAX);
        let mut frame = TxFrame::default();
        let link_len = self.link_len();
        if self.offload {
            let length = (20 + data.len()) as u32;
            tcp.set_checksum(pseudo(PEER, HOST, IpNextHeaderProtocols::Tcp, length));
            let partial = PartialChecksum {
                start: link_len as u16 + 20,
                offset: 16,
            };
            frame.checksum = Checksum::Partial(partial);
        } else {
            let whole = [tcp.packet(), data].concat();
            let whole = TcpPacket::new(&whole).unwrap();
            tcp.set_checksum(tcp::ipv4_checksum(&whole, &PEER, &HOST));
        }
        if data.len() > usize::from(mss) {
            frame.segmentation = Some(Segmentation {
                kind: SegmentationKind::Tcp4,
                size: mss,
                header_len: link_len as u16 + 40,
                ecn: false,
            });
        }
        frame
            .payload
            .extend(data.chunks(20_000).map(Bytes::copy_from_slice));
        frame.head.prepend(20).copy_from_slice(&header);
        let total = 40 + data.len();
        self.emit_ip(frame, total);
    }

    fn emit_ip(&mut self, mut frame: TxFrame, total: usize) {
        let mut ip = MutableIpv4Packet::new(frame.head.prepend(20)).unwrap();
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(total as u16);
        ip.set_flags(2);
        ip.set_ttl(64);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
        ip.set_source(PEER);
        ip.set_destination(HOST);
        ip.set_checksum(ipv4::checksum(&ip.to_immutable()));
        if let Some(host_mac) = self.host_mac {
            let mac = self.interface.capabilities.mac.unwrap();
            frame
                .head
                .prepend(14)
                .copy_from_slice(&[&host_mac[..], &mac, &[8, 0]].concat());
        }
        self.transmit(frame);
    }

    pub(crate) fn transmit(&mut self, frame: TxFrame) {
        let mut batch = VecDeque::from([frame]);
        self.interface.queues[0]
            .transmit
            .transmit(&mut batch)
            .unwrap();
        assert!(batch.is_empty(), "the device takes one frame");
    }

    /// The next frame; ARP is answered on the way.
    pub(crate) fn frame(&mut self) -> RxFrame {
        loop {
            if let Some(frame) = self.received.pop_front() {
                match self.arp_reply(&frame) {
                    None => return frame,
                    Some(reply) => self.transmit(reply),
                }
                continue;
            }
            let receive = &mut self.interface.queues[0].receive;
            let mut into = Vec::new();
            if receive.receive(&mut into, 16).unwrap() == 0 {
                wait(receive.wait_fd().unwrap());
            }
            self.received.extend(into);
        }
    }

    fn arp_reply(&self, frame: &RxFrame) -> Option<TxFrame> {
        let mac = self.interface.capabilities.mac?;
        let request = &frame.data;
        let wanted = request.get(12..14)? == [8, 6] && request.get(38..42)? == PEER.octets();
        if !wanted || request[21] != 1 {
            return None;
        }
        let sender = &request[22..32];
        let reply = [
            &request[6..12],
            &mac,
            &[8, 6],
            &request[14..21],
            &[2],
            &mac,
            &PEER.octets(),
            sender,
        ]
        .concat();
        let mut frame = TxFrame::default();
        frame.head.prepend(reply.len()).copy_from_slice(&reply);
        Some(frame)
    }

    /// The next TCP segment for the peer; other traffic of the host is passed over.
    pub(crate) fn segment(&mut self) -> Arrived {
        loop {
            let frame = self.frame();
            let link_len = self.link_len();
            let Some(ip) = frame.data.get(link_len..).and_then(Ipv4Packet::new) else {
                continue;
            };
            if ip.get_version() != 4 || ip.get_next_level_protocol() != IpNextHeaderProtocols::Tcp {
                continue;
            }
            let segment = &ip.packet()[20..usize::from(ip.get_total_length())];
            let tcp = TcpPacket::new(segment).unwrap();
            let partial = matches!(frame.checksum, RxChecksum::Partial(_));
            let good = tcp.get_checksum() == tcp::ipv4_checksum(&tcp, &HOST, &PEER);
            assert!(partial || good, "a checksum that is not left open is right");
            return Arrived {
                seq: tcp.get_sequence(),
                ack: tcp.get_acknowledgement(),
                flags: tcp.get_flags(),
                port: tcp.get_destination(),
                data: segment[usize::from(tcp.get_data_offset()) * 4..].to_vec(),
                frame: frame.clone(),
            };
        }
    }

    /// Opens a connection to the host's `port`; returns our and its next sequence number.
    pub(crate) fn connect(&mut self, from: u16, port: u16) -> (u32, u32) {
        self.send((from, port), 1000, 0, TcpFlags::SYN, &[], 1400);
        // What connections before it still have to say is passed over.
        let answer = std::iter::repeat_with(|| self.segment())
            .find(|s| s.port == from)
            .unwrap();
        assert_eq!(answer.flags, TcpFlags::SYN | TcpFlags::ACK);
        assert_eq!(answer.ack, 1001);
        self.send((from, port), 1001, answer.seq + 1, TcpFlags::ACK, &[], 1400);
        (1001, answer.seq + 1)
    }

    /// Receives `len` bytes in order, acknowledging each segment; also tells the largest segment.
    pub(crate) fn receive(
        &mut self,
        ports: (u16, u16),
        seq: u32,
        mut ack: u32,
        len: usize,
    ) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut largest = 0;
        while bytes.len() < len {
            let arrived = self.segment();
            if arrived.port != ports.0 || arrived.seq != ack || arrived.data.is_empty() {
                continue;
            }
            if let Some(segmentation) = arrived.frame.segmentation {
                assert!(arrived.data.len() > usize::from(segmentation.size));
                let headers = arrived.frame.data.len() - arrived.data.len();
                assert_eq!(usize::from(segmentation.header_len), headers);
            }
            largest = largest.max(arrived.data.len());
            ack = ack.wrapping_add(arrived.data.len() as u32);
            bytes.extend_from_slice(&arrived.data);
            self.send(ports, seq, ack, TcpFlags::ACK, &[], 1400);
        }
        (bytes, largest)
    }
}

/// The folded pseudo-header sum (RFC 9293 §3.1), as the checksum field of an unfinished frame holds it.
pub(crate) fn pseudo(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpNextHeaderProtocol,
    len: u32,
) -> u16 {
    let addresses = [source.octets(), destination.octets()].concat();
    let words = addresses
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum = words.sum::<u32>() + u32::from(protocol.0) + len;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Waits until the descriptor is readable.
pub(crate) fn wait(fd: BorrowedFd<'_>) {
    wait_for_any([fd]);
}

/// Waits until one of the descriptors is readable.
pub(crate) fn wait_for_any<'a>(fds: impl IntoIterator<Item = BorrowedFd<'a>>) {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    let fds = fds.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let ready = poll(&mut fds.collect::<Vec<_>>(), timeout).unwrap();
    assert!(ready > 0, "nothing arrived within {PATIENCE:?}");
}

/// Bytes whose order shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}
