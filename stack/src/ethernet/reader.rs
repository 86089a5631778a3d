//! Frames in: what is for this station and this VLAN goes up, what is about stations and addresses (ARP,
//! neighbour discovery) is taken here.

use std::sync::Arc;

use bytes::Buf;
use outlive_driver::Medium;

use super::{Link, TxPacket, groups, ndp};
use crate::counters::Counter;
use crate::ip::{Cast, RxPacket};
use crate::packet::{RxFrame, Segmentation, TxFrame, strip_checksum};
use crate::time::Instant;
use crate::wire::ethernet::{self, Header, TYPE_ARP, TYPE_IPV4, TYPE_IPV6};

/// The bits of a tag that name the VLAN.
const VLAN_MASK: u16 = 0x0fff;

/// What came in, by what is to be done with it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the IP reader.
    pub packets: Vec<RxPacket>,
    /// For the device: answers to questions about us, and defences.
    pub replies: Vec<TxFrame>,
    /// For the Ethernet writer: what waited for a neighbour that has answered now.
    pub released: Vec<TxPacket>,
    /// For the Ethernet writer: claims are due to be renewed.
    pub announcements_due: bool,
}

/// The stage that takes frames from the device.
#[derive(Debug)]
pub struct EthernetReader {
    pub(super) link: Arc<Link>,
}

impl EthernetReader {
    /// A reader of its own for each queue.
    #[must_use]
    pub const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Takes all of `frames` and appends to `outcome`.
    pub fn process(&mut self, now: Instant, frames: &mut Vec<RxFrame>, outcome: &mut Outcome) {
        let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
        let counters = &self.link.counters;
        counters.add(Counter::EthernetRxFrames, frames.len() as u64);
        counters.add(Counter::EthernetRxBytes, bytes as u64);
        match self.link.medium {
            Medium::Ethernet => {
                for frame in frames.drain(..) {
                    self.frame(now, frame, outcome);
                }
            }
            Medium::Ip => outcome
                .packets
                .extend(frames.drain(..).map(|frame| RxPacket {
                    data: frame.data,
                    cast: Cast::Unicast,
                    checksum: frame.checksum,
                    segmentation: frame.segmentation,
                })),
        }
    }

    /// Learns who our neighbours are, says nothing, and takes nothing of `frames`: for a host that
    /// may have to take our addresses over from another one. With `divert`, datagrams for our station are
    /// returned.
    pub fn overhear(
        &mut self,
        now: Instant,
        frames: &mut Vec<RxFrame>,
        divert: bool,
        outcome: &mut Outcome,
    ) -> Vec<RxPacket> {
        let closed = Counter::EthernetDropClosed;
        self.link.counters.add(closed, frames.len() as u64);
        let mut diverted = Vec::new();
        for mut frame in frames.drain(..) {
            let Ok(header) = ethernet::parse(&frame.data) else {
                continue;
            };
            let heard = self.link.medium == Medium::Ethernet
                && self.is_our_vlan(frame.vlan_tci, header.vlan_tci);
            let Some(cast) = self.cast(&header).filter(|_| heard) else {
                continue;
            };
            match header.ether_type {
                TYPE_ARP => {
                    frame.data.advance(header.len());
                    self.overhear_arp(now, &frame.data, outcome);
                }
                TYPE_IPV6 if ndp::is_message(&frame.data[header.len()..]) => {
                    let checksum = frame.checksum;
                    frame.data.advance(header.len());
                    self.overhear_ndp(now, header.source, &frame.data, checksum, outcome);
                }
                TYPE_IPV4 | TYPE_IPV6 if divert => {
                    diverted.push(packet(frame, header.len(), cast));
                }
                _ => {}
            }
        }
        diverted
    }

    fn frame(&self, now: Instant, mut frame: RxFrame, outcome: &mut Outcome) {
        let counters = &self.link.counters;
        let Ok(header) = ethernet::parse(&frame.data) else {
            return counters.drop_packet(Counter::EthernetDropTruncated, &frame.data.len());
        };
        if header.source == self.link.mac {
            outcome.announcements_due |= self.link.station_was_used(now);
        }
        let Some(cast) = self.cast(&header) else {
            return counters.drop_packet(Counter::EthernetDropForeign, &header);
        };
        if !self.is_our_vlan(frame.vlan_tci, header.vlan_tci) {
            return counters.drop_packet(Counter::EthernetDropVlan, &header);
        }
        match header.ether_type {
            TYPE_IPV6 if ndp::is_message(&frame.data[header.len()..]) => {
                let checksum = frame.checksum;
                frame.data.advance(header.len());
                self.ndp(now, header.source, &frame.data, checksum, outcome);
            }
            TYPE_IPV4 | TYPE_IPV6
                if groups::is_query(header.ether_type, &frame.data[header.len()..]) =>
            {
                frame.data.advance(header.len());
                let link = &self.link;
                link.hear_of_groups(now, header.source, header.ether_type, &frame.data);
                outcome.announcements_due = true;
            }
            TYPE_IPV4 | TYPE_IPV6 => outcome.packets.push(packet(frame, header.len(), cast)),
            TYPE_ARP => {
                frame.data.advance(header.len());
                self.arp(now, &header, &frame.data, outcome);
            }
            _ => counters.drop_packet(Counter::EthernetDropType, &header),
        }
    }

    /// How the frame was addressed, or none if not to us. Senders that are no stations, and frames of our
    /// own that come back, are not for us either.
    fn cast(&self, header: &Header) -> Option<Cast> {
        if header.source.is_group() || header.source == self.link.mac {
            None
        } else if header.destination == self.link.mac {
            Some(Cast::Unicast)
        } else if header.destination.is_broadcast() {
            Some(Cast::Broadcast)
        } else if header.destination.is_group() {
            Some(Cast::Multicast)
        } else {
            None
        }
    }

    /// A tag may have been taken off the frame and delivered beside it. VLAN 0 only carries a priority
    /// (IEEE 802.1Q §9.6).
    fn is_our_vlan(&self, beside: Option<u16>, inside: Option<u16>) -> bool {
        let vlan = |tci: Option<u16>| tci.map(|tci| tci & VLAN_MASK).filter(|&vlan| vlan != 0);
        match (vlan(beside), vlan(inside)) {
            (Some(_), Some(_)) => false,
            (outer, inner) => outer.or(inner) == self.link.vlan,
        }
    }
}

/// The datagram behind a header of that length.
fn packet(mut frame: RxFrame, header_len: usize, cast: Cast) -> RxPacket {
    frame.data.advance(header_len);
    RxPacket {
        cast,
        checksum: strip_checksum(frame.checksum, header_len),
        segmentation: frame.segmentation.map(|segmentation| Segmentation {
            header_len: segmentation.header_len.saturating_sub(header_len as u16),
            ..segmentation
        }),
        data: frame.data,
    }
}
