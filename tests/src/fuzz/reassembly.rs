//! Fragments of any cut, order and repetition: whatever comes out is a datagram that was sent.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use outlive::checksum;
use outlive::counters::Counters;
use outlive::ip::{Config, Ip, IpReader, Outcome, RxPacket};
use outlive::time::Instant;
use outlive::wire::ipv4;
use outlive_driver::Capabilities;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MOST_STEPS: usize = 300;

/// Runs one input.
pub fn run(bytes: &[u8]) {
    let _ = steps(&mut Unstructured::new(bytes));
}

fn steps(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let config = Config {
        addresses: vec!["10.0.0.1/24".parse().expect("an address")],
        ..Config::default()
    };
    let capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500);
    let ip = Arc::new(Ip::new(
        config,
        &capabilities,
        Arc::new(Counters::default()),
        [7; 16],
    ));
    let mut reader = IpReader::new(ip);
    let mut now = Instant::from_millis(5_000);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        let mut outcome = Outcome::default();
        if input.ratio(1, 16)? {
            now += Duration::from_millis(u64::from(input.arbitrary::<u16>()?));
            reader.poll(now, &mut outcome);
        } else {
            let packet = RxPacket {
                data: fragment(input)?.into(),
                ..RxPacket::default()
            };
            reader.process(now, &mut vec![packet], &mut outcome);
        }
        for datagram in &outcome.udp {
            let IpAddrV4(source) = v4(datagram.source);
            let salt = source.octets()[3];
            // Which identification it had does not show; its first byte tells.
            let id = datagram.payload.first().copied().unwrap_or_default() ^ byte(0, 0, salt);
            for (at, &seen) in datagram.payload.iter().enumerate() {
                assert_eq!(seen, byte(at, id, salt), "mixed at {at}");
            }
        }
    }
    Ok(())
}

struct IpAddrV4(Ipv4Addr);

fn v4(address: std::net::IpAddr) -> IpAddrV4 {
    match address {
        std::net::IpAddr::V4(v4) => IpAddrV4(v4),
        std::net::IpAddr::V6(v6) => panic!("{v6} out of nowhere"),
    }
}

/// What stands at `at` of a datagram.
const fn byte(at: usize, id: u8, salt: u8) -> u8 {
    (at ^ (at >> 8)) as u8 ^ id ^ salt.rotate_left(3)
}

/// A fragment, mostly in units of 8 bytes and of few datagrams, so that they meet.
fn fragment(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let (id, salt) = (input.int_in_range(0..=3_u8)?, input.int_in_range(2..=4_u8)?);
    let offset = usize::from(input.int_in_range(0..=40_u16)?) * 8;
    let more = input.arbitrary::<bool>()?;
    let len = match more && input.ratio(7, 8)? {
        true => usize::from(input.int_in_range(1..=20_u16)?) * 8,
        false => usize::from(input.int_in_range(0..=200_u16)?),
    };
    let header = ipv4::Header {
        header_len: 20,
        tos: 0,
        total_len: (20 + len) as u16,
        identification: u16::from(id),
        dont_fragment: false,
        more_fragments: more,
        fragment_offset: offset as u16,
        ttl: 64,
        protocol: ipv4::PROTOCOL_UDP,
        checksum: 0,
        source: Ipv4Addr::new(10, 0, 0, salt),
        destination: OURS,
    };
    let mut bytes = vec![0; 20];
    header.emit(&[], &mut bytes);
    bytes[10..12].fill(0);
    let sum = checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend((offset..offset + len).map(|at| byte(at, id, salt)));
    Ok(bytes)
}
