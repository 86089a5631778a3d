//! Is somebody else on the link using our address? Asked once before the stack starts, because then a
//! person still reads the answer.
//!
//! A shortened RFC 5227 §2.1.1 (in IPv6 RFC 4862 §5.4): two probes and a quarter of a second, instead of three
//! and up to seven seconds. The stack goes on watching for conflicts, and defends its address (§2.4).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use outlive::checksum;
use outlive::engine::clock;
use outlive::wire::arp::{self, Operation};
use outlive::wire::ethernet::{self, MacAddr};
use outlive::wire::{ipv6, ndp};
use outlive_driver::{Interface, RxFrame, TxFrame};

const PROBES: u32 = 2;
const WAIT_PER_PROBE: Duration = Duration::from_millis(125);
const BATCH: usize = 64;

/// Asks the link for the address.
///
/// # Errors
/// When another station answers for it, or asks for it too.
pub(crate) fn check(interface: &mut Interface, address: IpAddr) -> anyhow::Result<()> {
    let Some(mac) = interface.capabilities.mac else {
        return Ok(()); // no link layer, and nobody to ask
    };
    let mac = MacAddr(mac);
    for _ in 0..PROBES {
        let frame = match address {
            IpAddr::V4(address) => arp_probe(mac, address),
            IpAddr::V6(address) => ndp_probe(mac, address),
        };
        let mut frames = VecDeque::from([frame]);
        interface.queues[0].transmit.transmit(&mut frames)?;
        if let Some(other) = listen(interface, mac, address)? {
            anyhow::bail!(
                "address {address} is in use by {other} on {}; choose another with --address",
                interface.name
            );
        }
    }
    Ok(())
}

fn arp_probe(mac: MacAddr, address: Ipv4Addr) -> TxFrame {
    let probe = arp::Packet {
        operation: Operation::Request,
        sender_mac: mac,
        sender: Ipv4Addr::UNSPECIFIED,
        target_mac: MacAddr::UNSPECIFIED,
        target: address,
    };
    let mut frame = TxFrame::default();
    probe.emit(frame.head.prepend(arp::LEN));
    put_header(&mut frame, mac, MacAddr::BROADCAST, ethernet::TYPE_ARP);
    frame
}

/// From nobody, to those who may have the address.
fn ndp_probe(mac: MacAddr, address: Ipv6Addr) -> TxFrame {
    let message = ndp::Message::NeighbourSolicitation { target: address };
    let options = ndp::Options::default();
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: message.emitted_len(&options) as u16,
        next_header: ipv6::NEXT_ICMPV6,
        hop_limit: ndp::HOP_LIMIT,
        source: Ipv6Addr::UNSPECIFIED,
        destination: ipv6::solicited_node(address),
    };
    let mut frame = TxFrame::default();
    let body = frame.head.prepend(header.payload_len.into());
    message.emit(&options, body);
    let sum = checksum::combine(pseudo_header(&header), checksum::sum(body), false);
    body[ndp::CHECKSUM_OFFSET..][..2].copy_from_slice(&(!sum).to_be_bytes());
    header.emit(frame.head.prepend(ipv6::HEADER_LEN));
    let group = MacAddr::from_ipv6_group(header.destination);
    put_header(&mut frame, mac, group, ethernet::TYPE_IPV6);
    frame
}

fn pseudo_header(header: &ipv6::Header) -> u16 {
    let (source, destination) = (header.source.into(), header.destination.into());
    let len = usize::from(header.payload_len);
    checksum::pseudo_header(source, destination, ipv6::NEXT_ICMPV6, len)
}

fn put_header(frame: &mut TxFrame, source: MacAddr, destination: MacAddr, ether_type: u16) {
    let header = ethernet::Header {
        destination,
        source,
        vlan_tci: None,
        ether_type,
    };
    header.emit(frame.head.prepend(ethernet::HEADER_LEN));
}

/// Who else claims `address` within a while.
fn listen(
    interface: &mut Interface,
    mac: MacAddr,
    address: IpAddr,
) -> std::io::Result<Option<MacAddr>> {
    let deadline = clock::now() + WAIT_PER_PROBE;
    let mut frames: Vec<RxFrame> = Vec::new();
    loop {
        for queue in &mut interface.queues {
            queue.receive.receive(&mut frames, BATCH)?;
        }
        if let Some(other) = frames
            .drain(..)
            .find_map(|frame| claimant(&frame, mac, address))
        {
            return Ok(Some(other));
        }
        let left = deadline.since(clock::now());
        if left.is_zero() {
            return Ok(None);
        }
        wait_for_frames(interface, left)?;
    }
}

fn wait_for_frames(interface: &Interface, at_most: Duration) -> std::io::Result<()> {
    let queues = interface.queues.iter();
    let mut readable: Vec<_> = queues
        .filter_map(|queue| queue.receive.wait_fd())
        .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
        .collect();
    let at_most =
        PollTimeout::try_from(at_most + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
    match poll(&mut readable, at_most) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The station that claims `address` in this frame, by owning it or by probing for it as we do.
fn claimant(frame: &RxFrame, mac: MacAddr, address: IpAddr) -> Option<MacAddr> {
    let header = ethernet::parse(&frame.data).ok()?;
    let body = frame.data.get(header.len()..)?;
    let station = match (header.ether_type, address) {
        (ethernet::TYPE_ARP, IpAddr::V4(address)) => arp_claimant(body, address),
        (ethernet::TYPE_IPV6, IpAddr::V6(address)) => {
            claims(body, address).then_some(header.source)
        }
        _ => None,
    };
    station.filter(|station| *station != mac)
}

fn arp_claimant(body: &[u8], address: Ipv4Addr) -> Option<MacAddr> {
    let packet = arp::parse(body).ok()?;
    let owns = packet.sender == address;
    let probes = packet.sender.is_unspecified()
        && packet.target == address
        && packet.operation == Operation::Request;
    (owns || probes).then_some(packet.sender_mac)
}

fn claims(datagram: &[u8], address: Ipv6Addr) -> bool {
    let Ok(header) = ipv6::parse(datagram) else {
        return false;
    };
    let body = &datagram[ipv6::HEADER_LEN..][..usize::from(header.payload_len)];
    let neighbourly = header.next_header == ipv6::NEXT_ICMPV6 && header.hop_limit == ndp::HOP_LIMIT;
    match ndp::parse(body) {
        Ok((ndp::Message::NeighbourAdvertisement { target, .. }, _)) => {
            neighbourly && target == address
        }
        Ok((ndp::Message::NeighbourSolicitation { target }, _)) => {
            let probes = header.source.is_unspecified() && target == address;
            neighbourly && (probes || header.source == address)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(operation: Operation, sender: [u8; 4], target: [u8; 4]) -> RxFrame {
        let packet = arp::Packet {
            operation,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 9]),
            sender: sender.into(),
            target_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            target: target.into(),
        };
        let header = ethernet::Header {
            destination: MacAddr::BROADCAST,
            source: packet.sender_mac,
            vlan_tci: None,
            ether_type: ethernet::TYPE_ARP,
        };
        let mut data = vec![0; ethernet::HEADER_LEN + arp::LEN];
        header.emit(&mut data[..ethernet::HEADER_LEN]);
        packet.emit(&mut data[ethernet::HEADER_LEN..]);
        RxFrame {
            data: data.into(),
            ..RxFrame::default()
        }
    }

    #[test]
    fn owners_and_rivals_are_claimants_and_others_are_not() {
        const OURS: [u8; 4] = [10, 0, 0, 2];
        const OTHER: [u8; 4] = [10, 0, 0, 1];
        let ours = MacAddr([2, 0, 0, 0, 0, 1]);
        let claims = |frame: RxFrame| claimant(&frame, ours, IpAddr::from(OURS)).is_some();
        assert!(claims(frame(Operation::Reply, OURS, [0; 4])));
        assert!(
            claims(frame(Operation::Request, OURS, OURS)),
            "an announcement"
        );
        assert!(claims(frame(Operation::Request, [0; 4], OURS)), "a probe");
        assert!(
            !claims(frame(Operation::Request, OTHER, OURS)),
            "somebody looks for us"
        );
        assert!(!claims(frame(Operation::Reply, OTHER, OURS)));
        let mine = frame(Operation::Reply, OURS, [0; 4]);
        assert!(
            claimant(&mine, MacAddr([2, 0, 0, 0, 0, 9]), IpAddr::from(OURS)).is_none(),
            "our own frame"
        );
    }

    #[test]
    fn a_probe_for_an_ipv6_address_is_a_claim_of_whoever_sent_it() {
        let address: Ipv6Addr = "fd00::2".parse().unwrap();
        let (theirs, ours) = (MacAddr([2, 0, 0, 0, 0, 9]), MacAddr([2, 0, 0, 0, 0, 1]));
        let probe = RxFrame {
            data: ndp_probe(theirs, address).to_vec().into(),
            ..RxFrame::default()
        };
        let claims = |mac, address: &str| claimant(&probe, mac, address.parse().unwrap());
        assert_eq!(claims(ours, "fd00::2"), Some(theirs));
        assert_eq!(claims(ours, "fd00::3"), None);
        assert_eq!(claims(theirs, "fd00::2"), None, "our own frame");
        assert_eq!(claims(ours, "10.0.0.2"), None);
    }
}
