//! What has a deadline: solicitations of routers, and lifetimes of what they said.

use std::net::{IpAddr, Ipv6Addr};

use super::frames::{Way, frame};
use crate::ethernet::{Claim, Link};
use crate::ip::Cidr;
use crate::packet::TxFrame;
use crate::time::Instant;
use crate::wire::ipv6::ALL_ROUTERS;
use crate::wire::ndp::{Message, Options, Router};

/// An address alone: which hosts are neighbours the router says beside it (RFC 5942 §4).
pub(super) fn alone(address: Ipv6Addr) -> Option<Cidr> {
    Cidr::new(address.into(), 128).ok()
}

impl Link {
    /// Takes what a router says.
    pub(super) fn hear_router(
        &self,
        now: Instant,
        router: Ipv6Addr,
        said: &Router,
        options: &Options,
    ) {
        let Some(routers) = &self.routers else {
            return;
        };
        let made = routers.lock().hear(now, router, said, options);
        for cidr in made.into_iter().filter_map(alone) {
            self.claim_anew(now, cidr);
        }
        let millis = |ms: u32| (ms > 0).then(|| std::time::Duration::from_millis(ms.into()));
        let (reachable, ask) = (millis(said.reachable_ms), millis(said.retransmit_ms));
        self.neighbours.lock().set_times(reachable, ask);
    }

    /// Asks routers if that is due, forgets what is over, and tries another address where one was taken.
    pub(in crate::ethernet) fn poll_routers(&self, now: Instant, mut each: impl FnMut(TxFrame)) {
        let Some(routers) = &self.routers else {
            return;
        };
        let (solicits, gone) = {
            let mut routers = routers.lock();
            (routers.solicits(now), routers.expire(now))
        };
        for address in gone {
            self.give_up(address.into());
        }
        for address in self.lost() {
            let IpAddr::V6(address) = address else {
                continue;
            };
            if let Some(next) = routers.lock().retry(address).and_then(alone) {
                self.remove_address(address.into());
                self.claim_anew(now, next);
            }
        }
        if solicits {
            each(self.solicitation());
        }
    }

    fn solicitation(&self) -> TxFrame {
        let source = match self.asker(ALL_ROUTERS.into()) {
            Some(IpAddr::V6(address)) if address.is_unicast_link_local() => address,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let options = Options {
            source: (!source.is_unspecified()).then_some(self.mac),
            ..Options::default()
        };
        let way = Way::to_group(source, ALL_ROUTERS);
        frame(self, &way, &Message::RouterSolicitation, &options)
    }

    /// Claims an address of which IP does not know yet: it will be told when it is ours.
    fn claim_anew(&self, now: Instant, cidr: Cidr) {
        self.add_address(now, cidr);
        if self.claim(cidr.address()) == Some(Claim::Held) {
            self.tell(cidr, Claim::Held);
        }
    }
}
