//! Whole frames: ARP, neighbour discovery, IPv4 and IPv6 with their options, extension headers, fragments and ICMP. Nothing
//! panics, nobody is answered more than he sent, and all that is answered can be sent.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use outlive::checksum;
use outlive::counters::Counters;
use outlive::ethernet::{self, EthernetReader, EthernetWriter, Link};
use outlive::ip::{self, Cidr, Ip, IpReader, IpWriter};
use outlive::packet::{RxChecksum, RxFrame};
use outlive::random::Random;
use outlive::time::Instant;
use outlive::wire::{ipv4, ipv6};
use outlive_driver::Capabilities;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OURS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const TYPES: [u16; 4] = [0x0800, 0x86dd, 0x0806, 0x8100];
const MOST_FRAMES: usize = 100;
/// Solicitations of our own, beside answers.
const OF_ITS_OWN: usize = 16;

/// Runs one input.
pub fn run(bytes: &[u8]) {
    let _ = steps(&mut Unstructured::new(bytes));
}

struct Station {
    ethernet: (EthernetReader, EthernetWriter),
    ip: (IpReader, IpWriter),
}

impl Station {
    fn new(now: Instant) -> Self {
        let addresses: Vec<Cidr> = ["10.0.0.1/24", "2001:db8::1/64"]
            .map(|text| text.parse().expect("an address"))
            .to_vec();
        let capabilities = Capabilities::plain_ethernet(MAC, 1500);
        let counters = Arc::new(Counters::default());
        let config = ip::Config {
            addresses: addresses.clone(),
            ..ip::Config::default()
        };
        let ip = Arc::new(Ip::new(
            config,
            &capabilities,
            Arc::clone(&counters),
            [7; 16],
        ));
        let config = ethernet::Config::default();
        let random = Random::from_seed(1);
        let link = Link::new(config, &capabilities, &addresses, counters, random, now);
        let link = Arc::new(link);
        Self {
            ethernet: (
                EthernetReader::new(Arc::clone(&link)),
                EthernetWriter::new(link),
            ),
            ip: (IpReader::new(Arc::clone(&ip)), IpWriter::new(ip)),
        }
    }

    /// Takes a frame; what leaves for it.
    fn receive(&mut self, now: Instant, frame: RxFrame) -> usize {
        let (mut below, mut above) = (ethernet::Outcome::default(), ip::Outcome::default());
        self.ethernet.0.process(now, &mut vec![frame], &mut below);
        self.ip.0.process(now, &mut below.packets, &mut above);
        let (mut packets, mut loopback) = (below.released, Vec::new());
        self.ip
            .1
            .process(now, &mut above.replies, &mut packets, &mut loopback);
        let mut frames: VecDeque<_> = below.replies.into();
        self.ethernet.1.process(now, &mut packets, &mut frames);
        frames.iter().for_each(|frame| drop(frame.to_vec()));
        frames.len()
    }

    fn wait(&mut self, now: Instant) {
        let (mut above, mut frames) = (ip::Outcome::default(), VecDeque::new());
        self.ip.0.poll(now, &mut above);
        self.ethernet.1.poll(now, &mut frames);
    }
}

fn steps(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut now = Instant::from_millis(5_000);
    let mut station = Station::new(now);
    let (mut received, mut sent) = (0, 0);
    for _ in 0..MOST_FRAMES {
        if input.is_empty() {
            break;
        }
        if input.ratio(1, 8)? {
            now += Duration::from_millis(u64::from(input.arbitrary::<u16>()?));
            station.wait(now);
            continue;
        }
        let frame = RxFrame {
            data: frame(input)?.into(),
            // Half of them have a checksum that somebody below has found right.
            checksum: if input.arbitrary()? {
                RxChecksum::Verified
            } else {
                RxChecksum::Unknown
            },
            ..RxFrame::default()
        };
        received += 1;
        sent += station.receive(now, frame);
        assert!(
            sent <= 4 * received + OF_ITS_OWN,
            "{sent} frames for {received}"
        );
    }
    Ok(())
}

fn frame(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let to = match input.int_in_range(0..=3_u8)? {
        0 | 1 => MAC,
        2 => [0xff; 6],
        _ => [0x33, 0x33, 0xff, 0, 0, 1],
    };
    let kind = *input.choose(&TYPES)?;
    let mut bytes = [&to[..], &PEER_MAC, &kind.to_be_bytes()].concat();
    let len = usize::from(input.arbitrary::<u8>()?);
    let body = input.bytes(len.min(input.len()))?;
    match kind {
        0x0800 if input.ratio(7, 8)? => bytes.extend(over_ipv4(input, body)?),
        0x86dd if input.ratio(7, 8)? => bytes.extend(over_ipv6(input, body)?),
        _ => bytes.extend_from_slice(body),
    }
    Ok(bytes)
}

/// `body` behind an IPv4 header that is right.
fn over_ipv4(input: &mut Unstructured<'_>, body: &[u8]) -> arbitrary::Result<Vec<u8>> {
    let options = vec![input.arbitrary::<u8>()?; 4 * usize::from(input.int_in_range(0..=2_u8)?)];
    let header_len = ipv4::header_len(options.len());
    let header = ipv4::Header {
        header_len: header_len as u8,
        tos: input.arbitrary()?,
        total_len: (header_len + body.len()) as u16,
        identification: input.int_in_range(0..=3)?,
        dont_fragment: false,
        more_fragments: input.ratio(1, 4)?,
        fragment_offset: u16::from(input.int_in_range(0..=7_u8)?)
            * 8
            * u16::from(input.ratio(1, 4)?),
        ttl: 64,
        protocol: *input.choose(&[1, 6, 17, 253])?,
        checksum: 0,
        source: PEER,
        destination: OURS,
    };
    let mut bytes = vec![0; header_len];
    header.emit(&options, &mut bytes);
    bytes[10..12].fill(0);
    let sum = checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// `body` behind an IPv6 header that is right.
fn over_ipv6(input: &mut Unstructured<'_>, body: &[u8]) -> arbitrary::Result<Vec<u8>> {
    let solicited: Ipv6Addr = "ff02::1:ff00:1".parse().expect("an address");
    let all: Ipv6Addr = "ff02::1".parse().expect("an address");
    let header = ipv6::Header {
        traffic_class: input.arbitrary()?,
        flow_label: 7,
        payload_len: body.len() as u16,
        next_header: *input.choose(&[0, 43, 44, 58, 58, 59, 60, 17])?,
        hop_limit: if input.arbitrary()? { 255 } else { 64 },
        source: *input.choose(&[
            PEER6,
            Ipv6Addr::UNSPECIFIED,
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
        ])?,
        destination: *input.choose(&[OURS6, OURS6, solicited, all])?,
    };
    let mut bytes = vec![0; ipv6::HEADER_LEN];
    header.emit(&mut bytes);
    bytes.extend_from_slice(body);
    Ok(bytes)
}
