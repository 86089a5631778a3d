//! Packets out: finds the station, puts the header in front, completes checksums that the device leaves to
//! us. The last stage before the device.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use outlive_driver::Medium;

use super::neighbours::{Neighbours, Question, Sent};
use super::{Claim, Link, TxPacket, complete_checksum};
use crate::counters::Counter;
use crate::ip::{Cidr, Learned};
use crate::packet::TxFrame;
use crate::time::Instant;
use crate::wire::ethernet::{MacAddr, TYPE_IPV4, TYPE_IPV6};

/// Reports that are kept for somebody who does not ask.
const MAX_REPORTS: usize = 64;

/// The stage that hands frames to the device.
#[derive(Debug)]
pub struct EthernetWriter {
    link: Arc<Link>,
    questions: Vec<Question>,
    unreachable: Vec<IpAddr>,
    claims: Vec<(Cidr, Claim)>,
}

impl EthernetWriter {
    /// A writer of its own for each queue.
    #[must_use]
    pub const fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            questions: Vec::new(),
            unreachable: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// Takes all of `packets` and appends what can leave now to `frames`; packets for a neighbour who is
    /// not known yet wait in the [`Link`].
    pub fn process(
        &mut self,
        now: Instant,
        packets: &mut Vec<TxPacket>,
        frames: &mut VecDeque<TxFrame>,
    ) {
        let link = Arc::clone(&self.link);
        let before = frames.len();
        match link.medium {
            Medium::Ip => {
                for packet in packets.drain(..) {
                    self.push(packet.frame, frames);
                }
            }
            Medium::Ethernet if packets.is_empty() => {}
            Medium::Ethernet => {
                let mut neighbours = link.neighbours.lock();
                // Most of a batch go to the same neighbour, and are spared the look-up.
                let mut last = None;
                for packet in packets.drain(..) {
                    self.packet(now, &mut neighbours, &mut last, packet, frames);
                }
                self.collect(&mut neighbours);
            }
        }
        self.ask(frames);
        self.count(frames, before);
    }

    /// Asks again, gives up, probes, announces: whatever is due.
    pub fn poll(&mut self, now: Instant, frames: &mut VecDeque<TxFrame>) {
        let link = Arc::clone(&self.link);
        let before = frames.len();
        link.poll_claims(now, |frame| frames.push_back(frame));
        link.poll_routers(now, |frame| frames.push_back(frame));
        link.poll_groups(now, |frame| frames.push_back(frame));
        keep_latest(&mut self.claims, link.take_changes());
        {
            let mut neighbours = link.neighbours.lock();
            let dropped = neighbours.poll(now);
            self.count_dropped(dropped);
            self.collect(&mut neighbours);
        }
        self.ask(frames);
        self.count(frames, before);
    }

    /// When [`EthernetWriter::poll`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let neighbours = self.link.neighbours.lock().next_deadline();
        neighbours
            .into_iter()
            .chain(self.link.next_claim_deadline())
            .min()
    }

    /// Addresses won by probing or lost to another station since the last call, for
    /// [`crate::ip::Ip::add_address`] and [`crate::ip::Ip::remove_address`].
    pub fn take_claims(&mut self) -> Vec<(Cidr, Claim)> {
        std::mem::take(&mut self.claims)
    }

    /// What routers said, if it changed since the last call, for [`crate::ip::Ip::learn`].
    pub fn take_learned(&mut self) -> Option<Learned> {
        self.link.routers.as_ref()?.lock().take_learned()
    }

    /// Next hops found unreachable since the last call, for [`crate::ip::Ip::report_unreachable`].
    pub fn take_unreachable(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.unreachable)
    }

    fn packet(
        &self,
        now: Instant,
        neighbours: &mut Neighbours,
        last: &mut Option<(IpAddr, MacAddr)>,
        packet: TxPacket,
        frames: &mut VecDeque<TxFrame>,
    ) {
        if let Some((next_hop, mac)) = *last
            && next_hop == packet.next_hop
        {
            return self.send(mac, packet, frames);
        }
        let mac = match packet.next_hop {
            IpAddr::V4(Ipv4Addr::BROADCAST) => MacAddr::BROADCAST,
            IpAddr::V4(group) if group.is_multicast() => MacAddr::from_ipv4_group(group),
            IpAddr::V6(group) if group.is_multicast() => MacAddr::from_ipv6_group(group),
            next_hop => {
                match neighbours.send(now, next_hop, packet) {
                    Sent::To(mac, packet) => {
                        *last = Some((packet.next_hop, mac));
                        self.send(mac, packet, frames);
                    }
                    Sent::Waits { dropped } => self.count_dropped(dropped),
                    Sent::Unreachable(packet) => {
                        let counter = Counter::NeighbourDropUnresolved;
                        self.link.counters.drop_packet(counter, &packet.next_hop);
                    }
                }
                return;
            }
        };
        self.send(mac, packet, frames);
    }

    fn send(&self, mac: MacAddr, mut packet: TxPacket, frames: &mut VecDeque<TxFrame>) {
        let ether_type = match packet.next_hop {
            IpAddr::V4(_) => TYPE_IPV4,
            IpAddr::V6(_) => TYPE_IPV6,
        };
        self.link.put_header(&mut packet.frame, mac, ether_type);
        self.push(packet.frame, frames);
    }

    fn push(&self, mut frame: TxFrame, frames: &mut VecDeque<TxFrame>) {
        if !self.link.tx_checksum {
            complete_checksum(&mut frame);
        }
        frames.push_back(frame);
    }

    /// Takes what the neighbour cache left behind.
    fn collect(&mut self, neighbours: &mut Neighbours) {
        neighbours.take_questions(&mut self.questions);
        let unreachable = neighbours.take_unreachable();
        keep_latest(&mut self.unreachable, unreachable);
        let evicted = neighbours.take_evicted();
        self.link.counters.add(Counter::NeighbourEvicted, evicted);
    }

    fn ask(&mut self, frames: &mut VecDeque<TxFrame>) {
        for question in self.questions.drain(..) {
            frames.push_back(self.link.ask(&question));
        }
    }

    fn count_dropped(&self, dropped: usize) {
        if dropped > 0 {
            tracing::debug!(dropped, "waited for a neighbour in vain");
            let counter = Counter::NeighbourDropUnresolved;
            self.link.counters.add(counter, dropped as u64);
        }
    }

    fn count(&self, frames: &VecDeque<TxFrame>, before: usize) {
        let sent = frames.range(before..);
        let bytes: usize = sent.map(TxFrame::len).sum();
        let counters = &self.link.counters;
        counters.add(Counter::EthernetTxFrames, (frames.len() - before) as u64);
        counters.add(Counter::EthernetTxBytes, bytes as u64);
    }
}

fn keep_latest<T>(kept: &mut Vec<T>, new: impl IntoIterator<Item = T>) {
    kept.extend(new);
    let excess = kept.len().saturating_sub(MAX_REPORTS);
    kept.drain(..excess);
}
