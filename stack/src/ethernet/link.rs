//! What the stages of one link share: our station, our addresses, our neighbours.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use outlive_driver::{Capabilities, Medium};
use parking_lot::Mutex;

use super::conflict::{Claimed, Say, is_conflict};
use super::neighbours::{Neighbours, Question};
use super::{Claim, Config};
use crate::counters::{Counter, Counters};
use crate::ip::Cidr;
use crate::keyed::Keyed;
use crate::packet::{TxFrame, grow};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::arp::{self, Operation};
use crate::wire::ethernet::{Header, MacAddr, TYPE_ARP};

/// Frames of another host as our station are answered by an announcement this often at most.
const STRAY_EVERY: Duration = Duration::from_millis(5);

/// One link.
#[derive(Debug)]
pub struct Link {
    pub(super) medium: Medium,
    pub(super) mac: MacAddr,
    pub(super) tx_checksum: bool,
    pub(super) vlan: Option<u16>,
    pub(super) counters: Arc<Counters>,
    pub(super) neighbours: Mutex<Neighbours>,
    addresses: Mutex<Addresses>,
    config: Config,
}

#[derive(Debug)]
struct Addresses {
    claims: Vec<(Cidr, Claimed)>,
    /// What changed, until a writer takes it: addresses won or lost.
    changes: Vec<(Cidr, Claim)>,
    /// When we announced ourselves because somebody else used our station.
    stray_at: Option<Instant>,
    random: Random,
}

impl Link {
    /// A link on a device with `capabilities`, on which `addresses` are ours from `now` on.
    #[must_use]
    pub fn new(
        config: Config,
        capabilities: &Capabilities,
        addresses: &[Cidr],
        counters: Arc<Counters>,
        mut random: Random,
        now: Instant,
    ) -> Self {
        let mut secret = [0; 16];
        for half in secret.as_chunks_mut::<8>().0 {
            *half = random.next_u64().to_le_bytes();
        }
        let link = Self {
            medium: capabilities.medium,
            mac: config
                .station
                .unwrap_or(MacAddr(capabilities.mac.unwrap_or_default())),
            tx_checksum: capabilities.tx_checksum,
            vlan: config.vlan,
            counters,
            neighbours: Mutex::new(Neighbours::new(
                config.neighbours.clone(),
                Keyed::new(secret),
            )),
            addresses: Mutex::new(Addresses {
                claims: Vec::new(),
                changes: Vec::new(),
                stray_at: None,
                random,
            }),
            config,
        };
        for &address in addresses {
            link.add_address(now, address);
        }
        link
    }

    /// Takes an address, beginning with probes or announcements.
    pub fn add_address(&self, now: Instant, address: Cidr) {
        let mut times = self.config.conflict.clone();
        // Only ARP can ask.
        times.probe &= self.medium == Medium::Ethernet && address.address().is_ipv4();
        let mut addresses = self.addresses.lock();
        let claimed = Claimed::new(times, now, &mut addresses.random);
        addresses.claims.push((address, claimed));
    }

    /// Gives an address up, in silence.
    pub fn remove_address(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock();
        addresses
            .claims
            .retain(|(cidr, _)| cidr.address() != address);
    }

    /// Announces all our addresses once more, with the next poll.
    pub fn announce(&self, now: Instant) {
        for (_, claimed) in &mut self.addresses.lock().claims {
            claimed.announce(now);
        }
    }

    /// Announces all our addresses at once and then `times` more, `every` so often: after they were
    /// taken over from another host (RFC 9568 §8.2.2 is content with one; switches and peers may be
    /// slow).
    pub fn announce_repeatedly(&self, now: Instant, times: u32, every: Duration) {
        for (_, claimed) in &mut self.addresses.lock().claims {
            claimed.announce_repeatedly(now, times, every);
        }
    }

    /// A frame from our own station that we did not send; true if claims are due to be renewed.
    pub(super) fn station_was_used(&self, now: Instant) -> bool {
        if !self.config.shared {
            return false;
        }
        self.counters.count(Counter::EthernetStrayFrames);
        let mut addresses = self.addresses.lock();
        let recent = |at: Instant| now.since(at) < STRAY_EVERY;
        if addresses.stray_at.is_some_and(recent) {
            return false;
        }
        addresses.stray_at = Some(now);
        for (_, claimed) in &mut addresses.claims {
            claimed.announce(now);
        }
        true
    }

    /// Whether `address` is ours to use; none if it was never claimed.
    #[must_use]
    pub fn claim(&self, address: IpAddr) -> Option<Claim> {
        let addresses = self.addresses.lock();
        let (_, claimed) = addresses
            .claims
            .iter()
            .find(|(cidr, _)| cidr.address() == address)?;
        Some(claimed.claim())
    }

    /// The station of a neighbour, if it is known.
    #[must_use]
    pub fn neighbour(&self, address: IpAddr) -> Option<MacAddr> {
        match address {
            IpAddr::V4(address) => self.neighbours.lock().get(address),
            IpAddr::V6(_) => None,
        }
    }

    /// True if we answer questions about `address`.
    pub(super) fn holds(&self, address: Ipv4Addr) -> bool {
        self.claim(address.into()) == Some(Claim::Held)
    }

    /// Probes and announcements that are due.
    pub(super) fn poll_claims(&self, now: Instant, mut each: impl FnMut(TxFrame)) {
        if self.medium != Medium::Ethernet {
            return;
        }
        let mut addresses = self.addresses.lock();
        let Addresses {
            claims,
            changes,
            random,
            stray_at: _,
        } = &mut *addresses;
        for (cidr, claimed) in claims {
            let IpAddr::V4(address) = cidr.address() else {
                continue;
            };
            let before = claimed.claim();
            let say = claimed.poll(now, random);
            if claimed.claim() != before {
                changes.push((*cidr, claimed.claim()));
            }
            if let Some(say) = say {
                each(self.say(say, address));
            }
        }
    }

    /// Addresses won or lost since the last call.
    pub(super) fn take_changes(&self) -> Vec<(Cidr, Claim)> {
        std::mem::take(&mut self.addresses.lock().changes)
    }

    /// When [`Link::poll_claims`] has something to do.
    pub(super) fn next_claim_deadline(&self) -> Option<Instant> {
        if self.medium != Medium::Ethernet {
            return None;
        }
        let addresses = self.addresses.lock();
        if !addresses.changes.is_empty() {
            return Some(Instant::ZERO);
        }
        let of_v4 = addresses
            .claims
            .iter()
            .filter(|(cidr, _)| cidr.address().is_ipv4());
        of_v4
            .filter_map(|(_, claimed)| claimed.next_deadline())
            .min()
    }

    /// Looks whether an ARP packet shows another station with an address of ours; returns true if so,
    /// and what to say about it.
    pub(super) fn watch_conflict(
        &self,
        now: Instant,
        packet: &arp::Packet,
    ) -> (bool, Option<TxFrame>) {
        let mut addresses = self.addresses.lock();
        let Addresses {
            claims, changes, ..
        } = &mut *addresses;
        for (cidr, claimed) in claims {
            let IpAddr::V4(address) = cidr.address() else {
                continue;
            };
            if is_conflict(packet, address, self.mac, claimed.claim()) {
                self.counters.count(Counter::ArpConflicts);
                tracing::warn!(%address, station = %packet.sender_mac, "another station has our address");
                let before = claimed.claim();
                let answer = claimed.observe(now).map(|say| self.say(say, address));
                if claimed.claim() != before {
                    changes.push((*cidr, claimed.claim()));
                }
                return (true, answer);
            }
        }
        (false, None)
    }

    fn say(&self, say: Say, address: Ipv4Addr) -> TxFrame {
        let sender = match say {
            Say::Probe => Ipv4Addr::UNSPECIFIED,
            Say::Announcement => address,
        };
        let packet = arp::Packet {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender,
            target_mac: MacAddr::UNSPECIFIED,
            target: address,
        };
        self.arp_frame(&packet, MacAddr::BROADCAST)
    }

    /// The frame that asks `question`.
    pub(super) fn ask(&self, question: &Question) -> TxFrame {
        let packet = arp::Packet {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender: self.asker(question.target),
            target_mac: question.station.unwrap_or_default(),
            target: question.target,
        };
        self.arp_frame(&packet, question.station.unwrap_or(MacAddr::BROADCAST))
    }

    /// The frame that answers `question`.
    pub(super) fn answer(&self, question: &arp::Packet) -> TxFrame {
        let packet = arp::Packet {
            operation: Operation::Reply,
            sender_mac: self.mac,
            sender: question.target,
            target_mac: question.sender_mac,
            target: question.sender,
        };
        self.arp_frame(&packet, question.sender_mac)
    }

    /// Our address to ask for `target` with: of the same network, else the first.
    fn asker(&self, target: Ipv4Addr) -> Ipv4Addr {
        let addresses = self.addresses.lock();
        let held = || {
            addresses
                .claims
                .iter()
                .filter(|(cidr, claimed)| {
                    cidr.address().is_ipv4() && claimed.claim() == Claim::Held
                })
                .map(|(cidr, _)| cidr)
        };
        let asker = held()
            .find(|cidr| cidr.contains(target.into()))
            .or_else(|| held().next());
        match asker.map(Cidr::address) {
            Some(IpAddr::V4(address)) => address,
            // Asking for a neighbour before any address is ours looks like a probe, and teaches nobody.
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }

    fn arp_frame(&self, packet: &arp::Packet, destination: MacAddr) -> TxFrame {
        let mut frame = TxFrame::default();
        packet.emit(frame.head.prepend(arp::LEN));
        self.put_header(&mut frame, destination, TYPE_ARP);
        frame
    }

    /// Puts the Ethernet header in front.
    pub(super) fn put_header(&self, frame: &mut TxFrame, destination: MacAddr, ether_type: u16) {
        let header = Header {
            destination,
            source: self.mac,
            vlan_tci: self.vlan,
            ether_type,
        };
        header.emit(grow(frame, header.len()));
    }
}
