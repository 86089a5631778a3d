//! What a server gave (RFC 2131 §4.4.5, RFC 3442).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::message::{Reply, option};
use crate::ip::{Cidr, Route};

/// An address for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address and its network.
    pub address: Cidr,
    /// Ways to elsewhere.
    pub routes: Vec<Route>,
    /// Name servers, the preferred one first.
    pub name_servers: Vec<Ipv4Addr>,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// How long it is good for; none if for ever.
    pub duration: Option<Duration>,
    /// After so long its server is asked to go on (T1).
    pub renew_after: Duration,
    /// After so long every server is asked (T2).
    pub rebind_after: Duration,
}

/// A shorter lease is of no use: nobody may have us ask without a pause.
const SHORTEST: Duration = Duration::from_secs(10);
/// All ones stand for ever.
const FOR_EVER: u32 = u32::MAX;

impl Lease {
    /// What `reply` gives; none if that cannot be used.
    pub(super) fn from_reply(reply: &Reply) -> Option<Self> {
        let server = reply.addresses(option::SERVER).next()?;
        let seconds = reply.seconds(option::LEASE_TIME)?;
        let address = reply.yours;
        if !is_for_one_host(address) || !is_for_one_host(server) {
            return None;
        }
        let prefix_len = match reply.addresses(option::SUBNET_MASK).next() {
            Some(mask) => prefix_len(mask)?,
            None => classful(address),
        };
        let endless = seconds == FOR_EVER;
        let whole = Duration::from_secs(seconds.into());
        if whole < SHORTEST {
            return None;
        }
        let given = |number| Some(Duration::from_secs(reply.seconds(number)?.into()));
        let sensible = |at: &Duration| *at > Duration::ZERO && *at < whole;
        let rebind_after = given(option::REBINDING_TIME).filter(sensible);
        let rebind_after = rebind_after.unwrap_or(whole / 8 * 7);
        let renew_after =
            given(option::RENEWAL_TIME).filter(|at| sensible(at) && *at <= rebind_after);
        Some(Self {
            address: Cidr::new(address.into(), prefix_len).ok()?,
            routes: routes(reply),
            name_servers: reply.addresses(option::NAME_SERVER).collect(),
            server,
            duration: (!endless).then_some(whole),
            renew_after: renew_after.unwrap_or(whole / 2).min(rebind_after),
            rebind_after,
        })
    }
}

/// Classless routes, if there are any, stand for the routers as well (RFC 3442).
fn routes(reply: &Reply) -> Vec<Route> {
    if let Some(routes) = reply.classless_routes() {
        let route = |(network, prefix_len, router): (Ipv4Addr, u8, Ipv4Addr)| {
            Some(Route {
                destination: Cidr::new(network.into(), prefix_len).ok()?,
                gateway: (!router.is_unspecified()).then_some(IpAddr::V4(router)),
                metric: 0,
            })
        };
        return routes.into_iter().filter_map(route).collect();
    }
    let routers = reply.addresses(option::ROUTER);
    let routers = routers.filter(|&router| is_for_one_host(router));
    let via = |(metric, router): (u32, Ipv4Addr)| Route {
        metric,
        ..Route::default_via(router.into())
    };
    (0..).zip(routers).map(via).collect()
}

fn is_for_one_host(address: Ipv4Addr) -> bool {
    let never = address.octets()[0] == 0 || address.octets()[0] >= 240;
    !never && !address.is_loopback() && !address.is_multicast()
}

/// None for a mask with a hole.
fn prefix_len(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    (mask.to_bits().count_ones() == ones).then_some(ones as u8)
}

/// Where the server does not say: by class (RFC 950).
const fn classful(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}
