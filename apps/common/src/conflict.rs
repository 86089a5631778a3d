//! Is somebody else on the link using our address? Asked once before the stack starts, because then a
//! person still reads the answer.
//!
//! A shortened RFC 5227 §2.1.1: two probes and a quarter of a second, instead of three and up to seven
//! seconds. The stack goes on watching for conflicts, and defends its address (§2.4).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use outlive::engine::clock;
use outlive::wire::arp::{self, Operation};
use outlive::wire::ethernet::{self, MacAddr};
use outlive_driver::{Interface, RxFrame, TxFrame};

const PROBES: u32 = 2;
const WAIT_PER_PROBE: Duration = Duration::from_millis(125);
const BATCH: usize = 64;

/// Asks the link for the address.
///
/// # Errors
/// When another station answers for it, or asks for it too.
pub(crate) fn check(interface: &mut Interface, address: IpAddr) -> anyhow::Result<()> {
    let (Some(mac), IpAddr::V4(address)) = (interface.capabilities.mac, address) else {
        return Ok(()); // no link layer, or no ARP
    };
    let mac = MacAddr(mac);
    for _ in 0..PROBES {
        send_probe(interface, mac, address)?;
        if let Some(other) = listen(interface, mac, address)? {
            anyhow::bail!(
                "address {address} is in use by {other} on {}; choose another with --address",
                interface.name
            );
        }
    }
    Ok(())
}

fn send_probe(interface: &mut Interface, mac: MacAddr, address: Ipv4Addr) -> std::io::Result<()> {
    let probe = arp::Packet {
        operation: Operation::Request,
        sender_mac: mac,
        sender: Ipv4Addr::UNSPECIFIED,
        target_mac: MacAddr::UNSPECIFIED,
        target: address,
    };
    let header = ethernet::Header {
        destination: MacAddr::BROADCAST,
        source: mac,
        vlan_tci: None,
        ether_type: ethernet::TYPE_ARP,
    };
    let mut frame = TxFrame::default();
    probe.emit(frame.head.prepend(arp::LEN));
    header.emit(frame.head.prepend(ethernet::HEADER_LEN));
    interface.queues[0]
        .transmit
        .transmit(&mut VecDeque::from([frame]))
}

/// Who else claims `address` within a while.
fn listen(
    interface: &mut Interface,
    mac: MacAddr,
    address: Ipv4Addr,
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
fn claimant(frame: &RxFrame, mac: MacAddr, address: Ipv4Addr) -> Option<MacAddr> {
    let header = ethernet::parse(&frame.data).ok()?;
    if header.ether_type != ethernet::TYPE_ARP {
        return None;
    }
    let packet = arp::parse(frame.data.get(header.len()..)?).ok()?;
    let owns = packet.sender == address;
    let probes = packet.sender.is_unspecified()
        && packet.target == address
        && packet.operation == Operation::Request;
    ((owns || probes) && packet.sender_mac != mac).then_some(packet.sender_mac)
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
        let claims = |frame: RxFrame| claimant(&frame, ours, OURS.into()).is_some();
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
            claimant(&mine, MacAddr([2, 0, 0, 0, 0, 9]), OURS.into()).is_none(),
            "our own frame"
        );
    }
}
