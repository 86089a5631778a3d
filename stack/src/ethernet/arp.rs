//! ARP (RFC 826) with address conflict detection (RFC 5227): what IPv4 says on the link.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use super::conflict::Say;
use super::neighbours::Told;
use super::reader::EthernetReader;
use super::{Claim, Link, Outcome, TxPacket};
use crate::counters::Counter;
use crate::packet::TxFrame;
use crate::time::Instant;
use crate::wire::arp::{LEN, Operation, Packet, parse};
use crate::wire::ethernet::{Header, MacAddr, TYPE_ARP};

impl EthernetReader {
    /// RFC 826, "Packet Reception", with what RFC 5227 adds.
    pub(super) fn arp(&self, now: Instant, header: &Header, data: &[u8], outcome: &mut Outcome) {
        let link = &self.link;
        let Ok(packet) = parse(data) else {
            return link.counters.drop_packet(Counter::ArpDropMalformed, header);
        };
        if !packet.sender_mac.is_station() || !is_plausible(&packet) {
            return link.counters.drop_packet(Counter::ArpDropBogus, &packet);
        }
        let (conflict, defence) = watch_conflict(link, now, &packet);
        outcome.replies.extend(defence);
        if conflict {
            return link.counters.drop_packet(Counter::ArpDropBogus, &packet);
        }
        let for_us = link.holds(packet.target.into());
        if !packet.sender.is_unspecified() {
            outcome.released.extend(learn(link, now, &packet, for_us));
        }
        if for_us && packet.operation == Operation::Request {
            outcome.replies.push(answer(link, &packet));
        }
    }

    /// Learns who our neighbours are, and says nothing.
    pub(super) fn overhear_arp(&self, now: Instant, data: &[u8], outcome: &mut Outcome) {
        let link = &self.link;
        let Ok(packet) = parse(data) else {
            return;
        };
        let named = packet.sender_mac.is_station() && !packet.sender.is_unspecified();
        if named && is_plausible(&packet) && !link.holds(packet.sender.into()) {
            // Whoever asks for us will have to be answered by the host that takes over.
            let for_us = link.holds(packet.target.into());
            outcome.released.extend(learn(link, now, &packet, for_us));
        }
    }
}

fn learn(link: &Link, now: Instant, packet: &Packet, for_us: bool) -> VecDeque<TxPacket> {
    let told = if for_us { Told::US } else { Told::EVERYBODY };
    link.learn(now, packet.sender.into(), Some(packet.sender_mac), told)
}

/// Looks whether `packet` shows another station with an address of ours, as its sender or because it
/// probes for it too (RFC 5227 §2.1.1, §2.4); returns true if so, and what to say about it.
fn watch_conflict(link: &Link, now: Instant, packet: &Packet) -> (bool, Option<TxFrame>) {
    let station = packet.sender_mac;
    if packet.sender.is_unspecified() && packet.operation == Operation::Request {
        let probes_too = |claim| claim == Claim::Probing;
        return link.observe(now, packet.target.into(), station, probes_too);
    }
    link.observe(now, packet.sender.into(), station, |_| true)
}

/// False for senders that no host can be.
fn is_plausible(packet: &Packet) -> bool {
    let sender = packet.sender;
    let unspecified = sender.is_unspecified() && packet.operation == Operation::Request;
    let a_host = !sender.is_unspecified()
        && !sender.is_multicast()
        && !sender.is_broadcast()
        && !sender.is_loopback();
    (unspecified || a_host) && packet.sender_mac != MacAddr::BROADCAST
}

/// A probe for our address, or its announcement.
pub(super) fn say(link: &Link, say: Say, address: Ipv4Addr) -> TxFrame {
    let sender = match say {
        Say::Probe => Ipv4Addr::UNSPECIFIED,
        Say::Announcement => address,
    };
    let packet = Packet {
        operation: Operation::Request,
        sender_mac: link.mac,
        sender,
        target_mac: MacAddr::UNSPECIFIED,
        target: address,
    };
    frame(link, &packet, MacAddr::BROADCAST)
}

/// The frame that asks for `target`, of whom `station` was known.
pub(super) fn ask(link: &Link, target: Ipv4Addr, station: Option<MacAddr>) -> TxFrame {
    let sender = match link.asker(target.into()) {
        Some(IpAddr::V4(address)) => address,
        // Asking for a neighbour before any address is ours looks like a probe, and teaches nobody.
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let packet = Packet {
        operation: Operation::Request,
        sender_mac: link.mac,
        sender,
        target_mac: station.unwrap_or_default(),
        target,
    };
    frame(link, &packet, station.unwrap_or(MacAddr::BROADCAST))
}

fn answer(link: &Link, question: &Packet) -> TxFrame {
    let packet = Packet {
        operation: Operation::Reply,
        sender_mac: link.mac,
        sender: question.target,
        target_mac: question.sender_mac,
        target: question.sender,
    };
    frame(link, &packet, question.sender_mac)
}

fn frame(link: &Link, packet: &Packet, destination: MacAddr) -> TxFrame {
    let mut frame = TxFrame::default();
    packet.emit(frame.head.prepend(LEN));
    link.put_header(&mut frame, destination, TYPE_ARP);
    frame
}
