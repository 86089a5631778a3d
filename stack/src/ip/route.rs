//! Which neighbour is next: longest prefix, then metric, then order; gateways that do not answer are
//! passed over while there is another (RFC 1122 §3.3.1).

use std::net::IpAddr;

use super::Cidr;
use crate::time::Instant;

/// One way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network it leads to; of length 0 for a default route.
    pub destination: Cidr,
    /// The neighbour that forwards; none if the network is on the link.
    pub gateway: Option<IpAddr>,
    /// Lower is better, among routes to the same network.
    pub metric: u32,
}

impl Route {
    /// The default route of the gateway's family.
    #[must_use]
    pub fn default_via(gateway: IpAddr) -> Self {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        Self {
            destination: Cidr::new(any, 0).expect("zero fits every address"),
            gateway: Some(gateway),
            metric: 0,
        }
    }
}

/// All routes, best first.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    route: Route,
    dead_until: Option<Instant>,
}

impl Routes {
    /// The networks of `addresses`, and `routes`.
    pub(super) fn new(addresses: &[Cidr], routes: &[Route]) -> Self {
        let on_link = addresses.iter().map(|&destination| Route {
            destination,
            gateway: None,
            metric: 0,
        });
        let mut entries: Vec<_> = on_link
            .chain(routes.iter().copied())
            .map(|route| Entry {
                route,
                dead_until: None,
            })
            .collect();
        entries.sort_by_key(|entry| {
            let longest_first = 128 - entry.route.destination.prefix_len();
            (longest_first, entry.route.metric)
        });
        Self { entries }
    }

    /// The neighbour to which datagrams for `destination` go.
    pub(super) fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        let mut candidates = self
            .entries
            .iter()
            .filter(|entry| entry.route.destination.contains(destination))
            .peekable();
        let best = *candidates.peek()?;
        let prefix_len = best.route.destination.prefix_len();
        // Among routes of the best length the first that lives; if none does, any is as good as another.
        let entry = candidates
            .take_while(|entry| entry.route.destination.prefix_len() == prefix_len)
            .find(|entry| entry.dead_until.is_none())
            .unwrap_or(best);
        Some(entry.route.gateway.unwrap_or(destination))
    }

    /// True if some route goes through `gateway`.
    pub(super) fn has_gateway(&self, gateway: IpAddr) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.route.gateway == Some(gateway))
    }

    /// Passes `gateway` over until then.
    pub(super) fn mark_dead(&mut self, gateway: IpAddr, until: Instant) {
        for entry in &mut self.entries {
            if entry.route.gateway == Some(gateway) {
                entry.dead_until = Some(until);
            }
        }
    }

    /// Gives gateways whose time is over another chance.
    pub(super) fn revive(&mut self, now: Instant) {
        for entry in &mut self.entries {
            entry.dead_until = entry.dead_until.filter(|&until| until > now);
        }
    }

    /// When [`Routes::revive`] has something to do.
    pub(super) fn next_revival(&self) -> Option<Instant> {
        self.entries
            .iter()
            .filter_map(|entry| entry.dead_until)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn via(destination: &str, gateway: &str, metric: u32) -> Route {
        Route {
            destination: destination.parse().unwrap(),
            gateway: Some(ip(gateway)),
            metric,
        }
    }

    fn table(routes: &[Route]) -> Routes {
        Routes::new(&["10.0.0.1/24".parse().unwrap()], routes)
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order_and_metric() {
        let routes = table(&[
            via("0.0.0.0/0", "10.0.0.254", 0),
            via("192.168.0.0/16", "10.0.0.2", 0),
            via("192.168.7.0/24", "10.0.0.3", 9),
        ]);
        assert_eq!(routes.next_hop(ip("192.168.7.7")), Some(ip("10.0.0.3")));
        assert_eq!(routes.next_hop(ip("192.168.8.7")), Some(ip("10.0.0.2")));
        assert_eq!(routes.next_hop(ip("8.8.8.8")), Some(ip("10.0.0.254")));
        assert_eq!(routes.next_hop(ip("10.0.0.77")), Some(ip("10.0.0.77")));
        assert_eq!(routes.next_hop(ip("2001:db8::1")), None);
    }

    #[test]
    fn without_a_default_route_strangers_are_unreachable() {
        assert_eq!(table(&[]).next_hop(ip("8.8.8.8")), None);
    }

    #[test]
    fn a_dead_gateway_is_passed_over_and_tried_again_later() {
        let mut routes = table(&[
            Route::default_via(ip("10.0.0.253")),
            via("0.0.0.0/0", "10.0.0.252", 5),
            via("0.0.0.0/0", "10.0.0.254", 1),
        ]);
        let stranger = ip("8.8.8.8");
        assert_eq!(routes.next_hop(stranger), Some(ip("10.0.0.253")));
        routes.mark_dead(ip("10.0.0.253"), Instant::from_millis(60));
        assert_eq!(routes.next_hop(stranger), Some(ip("10.0.0.254")));
        routes.mark_dead(ip("10.0.0.254"), Instant::from_millis(70));
        assert_eq!(routes.next_hop(stranger), Some(ip("10.0.0.252")));
        assert_eq!(routes.next_revival(), Some(Instant::from_millis(60)));
        routes.revive(Instant::from_millis(60));
        assert_eq!(routes.next_hop(stranger), Some(ip("10.0.0.253")));
    }

    #[test]
    fn a_dead_only_gateway_is_still_used() {
        let mut routes = table(&[Route::default_via(ip("10.0.0.254"))]);
        routes.mark_dead(ip("10.0.0.254"), Instant::from_millis(60));
        assert_eq!(routes.next_hop(ip("8.8.8.8")), Some(ip("10.0.0.254")));
    }
}
