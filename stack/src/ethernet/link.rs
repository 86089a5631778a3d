//! What the stages of one link share: our station, our addresses, our neighbours.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use outlive_driver::{Capabilities, Medium};
use parking_lot::Mutex;

use super::conflict::{Claimed, Probing, Say};
use super::groups::OfLink;
use super::ndp::Routers;
use super::neighbours::{Neighbours, Question, Told};
use super::{Claim, Config, TxPacket, arp, ndp};
use crate::counters::{Counter, Counters};
use crate::ip::Cidr;
use crate::keyed::Keyed;
use crate::packet::{TxFrame, grow};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ethernet::{Header, MacAddr};
use crate::wire::ipv6;

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
    /// What routers say, if anybody is to listen.
    pub(super) routers: Option<Mutex<Routers>>,
    /// The groups that routers are told of.
    pub(super) groups: Mutex<OfLink>,
    addresses: Mutex<Addresses>,
    pub(super) config: Config,
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
        let mac = config.station_on(capabilities).unwrap_or_default();
        let listens = config.autoconfigure && capabilities.medium == Medium::Ethernet;
        let routers = listens.then(|| {
            let secret = Keyed::new(config.stable_secret.unwrap_or(secret)).derive(1);
            Mutex::new(Routers::new(secret, mac, now, &mut random))
        });
        let link = Self {
            groups: Mutex::new(OfLink::new(random.fork())),
            routers,
            medium: capabilities.medium,
            mac,
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
        // Whoever asks for the address asks in this group, and switches may want to know (RFC 4862 §5.4.2).
        if let IpAddr::V6(address) = address.address() {
            self.join(now, ipv6::solicited_node(address).into());
        }
        let times = self.config.conflict.clone();
        let probing = self.probing(address.address());
        let mut addresses = self.addresses.lock();
        let claimed = Claimed::new(times, probing, now, &mut addresses.random);
        addresses.claims.push((address, claimed));
    }

    /// How others are to be asked for `address` before it is used.
    fn probing(&self, address: IpAddr) -> Option<Probing> {
        let conflict = &self.config.conflict;
        // Where there are no stations there is nobody to ask.
        if self.medium != Medium::Ethernet {
            return None;
        }
        match address {
            IpAddr::V4(_) => conflict.probe.then_some(Probing::IPV4),
            // Our other half has it too, and the same station.
            IpAddr::V6(_) if self.config.shared || conflict.duplicate_detections == 0 => None,
            IpAddr::V6(_) => Some(Probing::ipv6(conflict.duplicate_detections)),
        }
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
        self.tell_groups_again(now);
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

    /// Our station; zeros where there are none.
    #[must_use]
    pub const fn station(&self) -> MacAddr {
        self.mac
    }

    /// Random numbers for somebody else on this link.
    pub(crate) fn fork_random(&self) -> Random {
        self.addresses.lock().random.fork()
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
        self.neighbours.lock().get(address)
    }

    /// Drops what waits until it is known where a neighbour is: another host speaks for us, and what this one was
    /// about to say is not true any more when it speaks again.
    pub(crate) fn drop_waiting(&self) {
        let dropped = self.neighbours.lock().drop_waiting();
        let counter = Counter::NeighbourDropUnresolved;
        self.counters.add(counter, dropped as u64);
    }

    /// True if we answer questions about `address`.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.claim(address) == Some(Claim::Held)
    }

    /// Tells the neighbour cache; returns the packets that waited for that.
    pub(super) fn learn(
        &self,
        now: Instant,
        address: IpAddr,
        mac: Option<MacAddr>,
        told: Told,
    ) -> VecDeque<TxPacket> {
        let mut neighbours = self.neighbours.lock();
        let released = neighbours.learn(now, address, mac, told);
        let evicted = neighbours.take_evicted();
        drop(neighbours);
        self.counters.add(Counter::NeighbourEvicted, evicted);
        released
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
            let address = cidr.address();
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

    /// Has IP hear of an address that was won or lost.
    pub(super) fn tell(&self, cidr: Cidr, claim: Claim) {
        self.addresses.lock().changes.push((cidr, claim));
    }

    /// Gives `address` up, and has IP hear of it.
    pub(super) fn give_up(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock();
        let claims = &mut addresses.claims;
        if let Some(at) = claims
            .iter()
            .position(|(cidr, _)| cidr.address() == address)
        {
            let (cidr, _) = claims.remove(at);
            addresses.changes.push((cidr, Claim::Lost));
        }
    }

    /// Our addresses that others turned out to have.
    pub(super) fn lost(&self) -> Vec<IpAddr> {
        let addresses = self.addresses.lock();
        let lost = addresses.claims.iter();
        lost.filter(|(_, claimed)| claimed.claim() == Claim::Lost)
            .map(|(cidr, _)| cidr.address())
            .collect()
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
        let claims = addresses.claims.iter();
        let routers = self.routers.as_ref();
        claims
            .filter_map(|(_, claimed)| claimed.next_deadline())
            .chain(routers.and_then(|routers| routers.lock().next_deadline()))
            .chain(self.next_group_deadline())
            .min()
    }

    /// Another station shows itself with `address`; true if that is one of ours whose claim `counts`, and
    /// what to say about it.
    pub(super) fn observe(
        &self,
        now: Instant,
        address: IpAddr,
        station: MacAddr,
        counts: impl Fn(Claim) -> bool,
    ) -> (bool, Option<TxFrame>) {
        if station == self.mac {
            return (false, None);
        }
        let mut addresses = self.addresses.lock();
        let Addresses {
            claims, changes, ..
        } = &mut *addresses;
        let ours = claims
            .iter_mut()
            .find(|(cidr, claimed)| cidr.address() == address && counts(claimed.claim()));
        let Some((cidr, claimed)) = ours else {
            return (false, None);
        };
        self.counters.count(match address {
            IpAddr::V4(_) => Counter::ArpConflicts,
            IpAddr::V6(_) => Counter::NdpConflicts,
        });
        tracing::warn!(%address, %station, "another station has our address");
        let before = claimed.claim();
        let answer = claimed.observe(now).map(|say| self.say(say, address));
        if claimed.claim() != before {
            changes.push((*cidr, claimed.claim()));
        }
        (true, answer)
    }

    fn say(&self, say: Say, address: IpAddr) -> TxFrame {
        match address {
            IpAddr::V4(address) => arp::say(self, say, address),
            IpAddr::V6(address) => ndp::say(self, say, address),
        }
    }

    /// The frame that asks `question`.
    pub(super) fn ask(&self, question: &Question) -> TxFrame {
        match question.target {
            IpAddr::V4(target) => arp::ask(self, target, question.station),
            IpAddr::V6(target) => ndp::ask(self, target, question.station),
        }
    }

    /// Our address to ask for `target` with: of the same network, else the first of its family.
    pub(super) fn asker(&self, target: IpAddr) -> Option<IpAddr> {
        let addresses = self.addresses.lock();
        let held = || {
            addresses
                .claims
                .iter()
                .filter(|(cidr, claimed)| {
                    cidr.address().is_ipv4() == target.is_ipv4() && claimed.claim() == Claim::Held
                })
                .map(|(cidr, _)| cidr)
        };
        let asker = held()
            .find(|cidr| cidr.contains(target))
            .or_else(|| held().next());
        asker.map(Cidr::address)
    }

    /// Puts the Ethernet header in front.
    pub(super) fn put_header(&self, frame: &mut TxFrame, destination: MacAddr, ether_type: u16) {
        let header = Header {
            destination,
            source: self.config.source.unwrap_or(self.mac),
            vlan_tci: self.vlan,
            ether_type,
        };
        header.emit(grow(frame, header.len()));
    }
}
