//! Clients that are nothing but a few numbers each. No segment between them and the servers is lost.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use outlive::checksum;
use outlive::engine::clock;
use outlive::packet::{RxChecksum, RxFrame};
use outlive::wire::ethernet::{self, MacAddr, TYPE_ARP, TYPE_IPV4};
use outlive::wire::tcp::{self, Flags, Options};
use outlive::wire::{arp, ipv4};
use outlive_driver::TxFrame;

use super::pair::{PORT, SERVICE, SERVICE_MAC};

/// Clients behind one address.
const PER_ADDRESS: usize = 50_000;
const FIRST_PORT: u16 = 1024;
/// Their initial sequence number.
const IRS: u32 = 1_000_000;
/// What they let a server send ahead: a few segments.
const WINDOW: u16 = 4096;
/// So that a small answer is one segment, which a client acknowledges whole.
const MSS: u16 = 1460;
const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
/// Bytes that a client takes before it counts as ready.
const TASTE: u32 = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Closed,
    Opening,
    /// It has asked.
    Asked,
    /// It has the beginning of the answer.
    Ready,
}

#[derive(Clone, Copy, Debug, Default)]
struct Client {
    stage: Stage,
    iss: u32,
    /// Next byte that it expects.
    expected: u32,
    probed: bool,
    answered: bool,
    served: bool,
}

/// How many clients saw what since the server changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Something came from the new server.
    pub(super) probed: usize,
    /// The new server has the answer to that.
    pub(super) answered: usize,
    /// Data came that continues the response.
    pub(super) served: usize,
}

/// All of them.
pub(super) struct Clients {
    all: Vec<Client>,
    called: usize,
    ready: usize,
    request: Bytes,
    watching: bool,
    seen: Seen,
    /// Of which an answer is on its way.
    answering: Vec<usize>,
    spent: Duration,
}

impl Clients {
    pub(super) fn new(count: usize, path: &str) -> Self {
        Self {
            all: vec![Client::default(); count],
            called: 0,
            ready: 0,
            request: format!("GET {path} HTTP/1.1\r\nHost: takeover\r\n\r\n").into(),
            watching: false,
            seen: Seen::default(),
            answering: Vec::new(),
            spent: Duration::ZERO,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) const fn ready(&self) -> usize {
        self.ready
    }

    pub(super) fn are_ready(&self) -> bool {
        self.ready == self.all.len()
    }

    pub(super) const fn seen(&self) -> Seen {
        self.seen
    }

    /// Time that the clients took, which is nobody's cost.
    pub(super) const fn spent(&self) -> Duration {
        self.spent
    }

    /// Until now clients that are ready said nothing; from now on they answer.
    pub(super) fn begin_watch(&mut self) {
        self.watching = true;
        self.spent = Duration::ZERO;
    }

    /// More clients call, until so many are not ready yet.
    pub(super) fn call(&mut self, at_once: usize, into: &mut Vec<RxFrame>) {
        while self.called < self.all.len() && self.called < self.ready + at_once {
            self.all[self.called].stage = Stage::Opening;
            let syn = tcp::Header {
                seq: IRS,
                flags: Flags::SYN,
                options: Options {
                    mss: Some(MSS),
                    ..Options::default()
                },
                ..tcp::Header::default()
            };
            into.push(segment(self.called, syn, b""));
            self.called += 1;
        }
    }

    /// All have received so many bytes more; the position in the stream where they are then.
    pub(super) fn advance(&mut self, bytes: u64) -> u64 {
        let mut position = 0;
        for client in &mut self.all {
            position = u64::from(client.expected.wrapping_sub(client.iss)) + bytes;
            client.expected = client.iss.wrapping_add(position as u32);
        }
        position
    }

    /// What they said has reached the server.
    pub(super) fn delivered(&mut self) {
        for index in self.answering.drain(..) {
            let client = &mut self.all[index];
            self.seen.answered += usize::from(!client.answered);
            client.answered = true;
        }
    }

    /// Looks at what a server sent, and answers.
    pub(super) fn take(&mut self, frames: &mut VecDeque<TxFrame>, into: &mut Vec<RxFrame>) {
        let start = clock::now();
        for frame in frames.drain(..) {
            // Short ones are in one piece.
            let whole = frame.head.as_slice().is_empty().then(|| frame.to_vec());
            let (head, payload) = match &whole {
                Some(whole) => (whole.as_slice(), 0),
                None => (frame.head.as_slice(), frame.payload_len()),
            };
            let Ok(link) = ethernet::parse(head) else {
                continue;
            };
            match link.ether_type {
                TYPE_ARP => into.extend(neighbour(&head[link.len()..])),
                TYPE_IPV4 => self.datagram(&head[link.len()..], payload, into),
                _ => {}
            }
        }
        self.spent += clock::now().since(start);
    }

    fn datagram(&mut self, head: &[u8], payload: usize, into: &mut Vec<RxFrame>) {
        let Ok(ip) = ipv4::parse_quoted(head) else {
            return;
        };
        let Ok(tcp) = tcp::parse(&head[usize::from(ip.header_len)..]) else {
            return;
        };
        let index = index_of(ip.destination, tcp.destination_port);
        let Some(client) = self.all.get_mut(index) else {
            return;
        };
        if tcp.flags.contains(Flags::SYN) {
            (client.iss, client.expected) = (tcp.seq, tcp.seq.wrapping_add(1));
            if client.stage == Stage::Opening {
                client.stage = Stage::Asked;
                into.push(segment(index, acknowledgement(client, 0), &self.request));
            }
            return;
        }
        let asked = self.request.len() as u32;
        if client.stage == Stage::Ready {
            if !self.watching {
                return;
            }
            // Of the new server: a probe before the window, or what comes next.
            self.seen.probed += usize::from(!client.probed);
            client.probed = true;
            if payload > 0 && tcp.seq == client.expected {
                self.seen.served += usize::from(!client.served);
                client.served = true;
            } else if !client.answered {
                into.push(segment(index, acknowledgement(client, asked), b""));
                self.answering.push(index);
            }
        } else if payload > 0 && tcp.seq == client.expected {
            client.expected = client.expected.wrapping_add(payload as u32);
            into.push(segment(index, acknowledgement(client, asked), b""));
            if client.expected.wrapping_sub(client.iss) >= TASTE {
                client.stage = Stage::Ready;
                self.ready += 1;
            }
        }
    }
}

fn acknowledgement(client: &Client, sent: u32) -> tcp::Header {
    tcp::Header {
        seq: IRS.wrapping_add(1 + sent),
        ack: client.expected,
        flags: Flags::ACK,
        ..tcp::Header::default()
    }
}

fn address_of(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, (index / PER_ADDRESS) as u8)
}

fn index_of(address: Ipv4Addr, port: u16) -> usize {
    let port = usize::from(port.saturating_sub(FIRST_PORT));
    usize::from(address.octets()[3]) * PER_ADDRESS + port
}

/// A frame of a client. Its checksum never left the machine.
fn segment(index: usize, header: tcp::Header, payload: &[u8]) -> RxFrame {
    let header = tcp::Header {
        source_port: FIRST_PORT + (index % PER_ADDRESS) as u16,
        destination_port: PORT,
        window: WINDOW,
        ..header
    };
    let len = header.emitted_len();
    let mut data = vec![0; ethernet::HEADER_LEN + ipv4::HEADER_LEN + len];
    let (link, rest) = data.split_at_mut(ethernet::HEADER_LEN);
    ethernet_header(TYPE_IPV4).emit(link);
    let (ip, tcp) = rest.split_at_mut(ipv4::HEADER_LEN);
    ipv4::Header {
        header_len: ipv4::HEADER_LEN as u8,
        tos: 0,
        total_len: (ipv4::HEADER_LEN + len + payload.len()) as u16,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: ipv4::PROTOCOL_TCP,
        checksum: 0,
        source: address_of(index),
        destination: SERVICE,
    }
    .emit(&[], ip);
    let checksum = checksum::checksum(ip).to_be_bytes();
    ip[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum);
    header.emit(tcp);
    data.extend_from_slice(payload);
    RxFrame {
        data: data.into(),
        checksum: RxChecksum::Verified,
        ..RxFrame::default()
    }
}

fn ethernet_header(ether_type: u16) -> ethernet::Header {
    ethernet::Header {
        destination: MacAddr(SERVICE_MAC),
        source: CLIENT_MAC,
        vlan_tci: None,
        ether_type,
    }
}

/// The answer to a server that asks for a client.
fn neighbour(packet: &[u8]) -> Option<RxFrame> {
    let asked = arp::parse(packet).ok()?;
    if asked.operation != arp::Operation::Request || asked.target == SERVICE {
        return None;
    }
    let answer = arp::Packet {
        operation: arp::Operation::Reply,
        sender_mac: CLIENT_MAC,
        sender: asked.target,
        target_mac: asked.sender_mac,
        target: asked.sender,
    };
    let mut data = vec![0; ethernet::HEADER_LEN + arp::LEN];
    let (link, rest) = data.split_at_mut(ethernet::HEADER_LEN);
    ethernet_header(TYPE_ARP).emit(link);
    answer.emit(rest);
    Some(RxFrame {
        data: data.into(),
        ..RxFrame::default()
    })
}
