//! What routers say of themselves, of the link and of its networks (RFC 4861 §6.3), and the addresses that
//! a host makes for itself from that (RFC 4862 §5.5, RFC 7217).
//!
//! Plain state: what follows for routes and addresses is left in [`Routers::take_learned`]. All lists are
//! bounded; what does not fit is not heard. Left out: the hop limit that routers propose, preferences of
//! routers (RFC 4191), names (RFC 8106), DHCPv6.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::stable;
use crate::ip::{Cidr, Learned, Route};
use crate::keyed::Keyed;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::wire::ipv6::MIN_MTU;
use crate::wire::ndp::{Options, Prefix, Router};

const MAX_ROUTERS: usize = 8;
const MAX_NETWORKS: usize = 16;
const MAX_ADDRESSES: usize = 8;
/// RFC 4861 §10.
const MAX_SOLICITATIONS: u32 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
const SOLICITATION_DELAY_MS: u64 = 1000;
/// RFC 7217 §6: IDGEN_RETRIES.
const MAX_ATTEMPTS: u32 = 3;
/// No forged advertisement shortens the life of an address below this (RFC 4862 §5.5.3 (e)).
const TWO_HOURS: Duration = Duration::from_secs(7200);
const FOR_EVER_S: u32 = u32::MAX;
/// Bits of a network in which hosts can make addresses for themselves (RFC 2464 §4).
const AUTONOMOUS_LEN: u8 = 64;

/// The end of a lifetime; none if it lasts for ever.
type Until = Option<Instant>;

fn until(now: Instant, seconds: u32) -> Until {
    (seconds != FOR_EVER_S).then(|| now + Duration::from_secs(seconds.into()))
}

fn is_over(now: Instant, until: Until) -> bool {
    until.is_some_and(|at| at <= now)
}

/// An address of ours.
#[derive(Debug)]
struct Own {
    address: Ipv6Addr,
    prefix: Ipv6Addr,
    attempts: u32,
    preferred: Until,
    valid: Until,
    deprecated: bool,
}

/// All that routers have said.
#[derive(Debug)]
pub(in crate::ethernet) struct Routers {
    secret: Keyed,
    station: MacAddr,
    /// Solicitations to be sent still, and when the next.
    soliciting: Option<(u32, Instant)>,
    routers: Vec<(Ipv6Addr, Instant)>,
    networks: Vec<(Cidr, Until)>,
    addresses: Vec<Own>,
    mtu: Option<usize>,
    news: bool,
}

impl Routers {
    /// Nothing is known; routers will be asked to speak.
    pub(in crate::ethernet) fn new(
        secret: Keyed,
        station: MacAddr,
        now: Instant,
        random: &mut Random,
    ) -> Self {
        let delay = Duration::from_millis(random.below(SOLICITATION_DELAY_MS));
        Self {
            secret,
            station,
            soliciting: Some((MAX_SOLICITATIONS, now + delay)),
            routers: Vec::new(),
            networks: Vec::new(),
            addresses: Vec::new(),
            mtu: None,
            news: false,
        }
    }

    /// Takes what `router` says; returns the addresses that are to be claimed.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        router: Ipv6Addr,
        said: &Router,
        options: &Options,
    ) -> Vec<Ipv6Addr> {
        self.news = true;
        self.routers.retain(|(address, _)| *address != router);
        if said.lifetime_s > 0 {
            // One that may be a default router is enough (RFC 4861 §6.3.7).
            self.soliciting = None;
            if self.routers.len() < MAX_ROUTERS {
                let lifetime = Duration::from_secs(said.lifetime_s.into());
                self.routers.push((router, now + lifetime));
            }
        }
        if let Some(mtu) = options.mtu.map(|mtu| mtu as usize)
            && mtu >= MIN_MTU
        {
            self.mtu = Some(mtu);
        }
        let mut made = Vec::new();
        for prefix in &options.prefixes {
            let local = prefix.prefix.is_unicast_link_local() || prefix.prefix.is_multicast();
            if local || prefix.preferred_s > prefix.valid_s {
                continue;
            }
            if prefix.on_link {
                self.hear_network(now, prefix);
            }
            if prefix.autonomous && prefix.len == AUTONOMOUS_LEN {
                made.extend(self.hear_autonomous(now, prefix));
            }
        }
        made
    }

    fn hear_network(&mut self, now: Instant, prefix: &Prefix) {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(prefix.len))
            .unwrap_or(0);
        let network = Ipv6Addr::from_bits(prefix.prefix.to_bits() & mask);
        let Ok(network) = Cidr::new(network.into(), prefix.len) else {
            return;
        };
        self.networks.retain(|(known, _)| *known != network);
        if prefix.valid_s > 0 && self.networks.len() < MAX_NETWORKS {
            self.networks.push((network, until(now, prefix.valid_s)));
        }
    }

    /// RFC 4862 §5.5.3.
    fn hear_autonomous(&mut self, now: Instant, prefix: &Prefix) -> Option<Ipv6Addr> {
        let network = Ipv6Addr::from_bits(prefix.prefix.to_bits() >> 64 << 64);
        let valid = until(now, prefix.valid_s);
        let preferred = until(now, prefix.preferred_s);
        if let Some(own) = self.addresses.iter_mut().find(|own| own.prefix == network) {
            own.preferred = preferred;
            own.deprecated = is_over(now, preferred);
            let left = own.valid.map(|at| at.since(now));
            let told = valid.map(|at| at.since(now));
            own.valid = match (told, left) {
                (None, _) => None,
                (Some(told), Some(left)) if told > TWO_HOURS || told > left => valid,
                (Some(told), None) if told > TWO_HOURS => valid,
                (Some(_), Some(left)) if left <= TWO_HOURS => own.valid,
                _ => Some(now + TWO_HOURS),
            };
            return None;
        }
        if prefix.valid_s == 0 || self.addresses.len() >= MAX_ADDRESSES {
            return None;
        }
        let address = stable::address(&self.secret, network, self.station, 0);
        self.addresses.push(Own {
            address,
            prefix: network,
            attempts: 0,
            preferred,
            valid,
            deprecated: is_over(now, preferred),
        });
        Some(address)
    }

    /// `address` is taken by somebody else; returns the next one to try, if it was one of ours.
    pub(in crate::ethernet) fn retry(&mut self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        let at = self
            .addresses
            .iter()
            .position(|own| own.address == address)?;
        let own = &mut self.addresses[at];
        own.attempts += 1;
        if own.attempts > MAX_ATTEMPTS {
            tracing::warn!(prefix = %own.prefix, "no free address in this network");
            self.addresses.remove(at);
            return None;
        }
        own.address = stable::address(&self.secret, own.prefix, self.station, own.attempts);
        Some(own.address)
    }

    /// True if routers are to be asked now.
    pub(super) fn solicits(&mut self, now: Instant) -> bool {
        match &mut self.soliciting {
            Some((left, at)) if *at <= now => {
                *left -= 1;
                *at = now + SOLICITATION_INTERVAL;
                if *left == 0 {
                    self.soliciting = None;
                }
                true
            }
            _ => false,
        }
    }

    /// Forgets what is over; returns the addresses that are ours no longer.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ipv6Addr> {
        let before = (self.routers.len(), self.networks.len());
        self.routers.retain(|(_, at)| *at > now);
        self.networks.retain(|(_, valid)| !is_over(now, *valid));
        self.news |= before != (self.routers.len(), self.networks.len());
        for own in &mut self.addresses {
            let deprecated = is_over(now, own.preferred);
            self.news |= deprecated != own.deprecated;
            own.deprecated = deprecated;
        }
        let over = |own: &mut Own| is_over(now, own.valid);
        let gone: Vec<_> = self.addresses.extract_if(.., over).collect();
        self.news |= !gone.is_empty();
        gone.into_iter().map(|own| own.address).collect()
    }

    /// When one of the above has something to do.
    pub(in crate::ethernet) fn next_deadline(&self) -> Option<Instant> {
        let of_addresses = self.addresses.iter().flat_map(|own| {
            let preferred = own.preferred.filter(|_| !own.deprecated);
            [preferred, own.valid]
        });
        let networks = self.networks.iter().map(|(_, valid)| *valid);
        let routers = self.routers.iter().map(|(_, at)| Some(*at));
        let soliciting = self.soliciting.map(|(_, at)| at);
        of_addresses
            .chain(networks)
            .chain(routers)
            .chain([soliciting])
            .flatten()
            .min()
    }

    /// What follows for routes and addresses, if anything changed since the last call.
    pub(in crate::ethernet) fn take_learned(&mut self) -> Option<Learned> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        let gateways = self
            .routers
            .iter()
            .map(|(address, _)| Route::default_via(IpAddr::V6(*address)));
        let networks = self.networks.iter().map(|&(destination, _)| Route {
            destination,
            gateway: None,
            metric: 0,
        });
        let deprecated = self.addresses.iter().filter(|own| own.deprecated);
        Some(Learned {
            routes: networks.chain(gateways).collect(),
            deprecated: deprecated.map(|own| own.address.into()).collect(),
            mtu: self.mtu,
        })
    }
}
