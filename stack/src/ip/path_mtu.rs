//! Path MTU discovery (RFC 1191, RFC 8201) with black-hole protection: what is known to be smaller than the link.
//!
//! What routers say only ever makes an entry smaller, and it is forgotten after a while, so that a larger size is tried again.
//! What arrived of larger datagrams (RFC 4821) makes it larger.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::PathMtuLimits;
use crate::keyed::Keyed;
use crate::time::Instant;
use crate::wire::ipv6;

/// Sizes that links have, for routers that do not tell theirs (RFC 1191 §7.1).
const PLATEAUS: [usize; 12] = [
    65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 576, 508, 296, 68,
];

/// Sizes tried when large datagrams vanish and nobody says why: a plain Ethernet, then what every
/// tunnel carries.
const BLACK_HOLE_STEPS: [usize; 3] = [1_500, 1_280, 1_006];

/// Time between two of these steps.
const BLACK_HOLE_PAUSE: Duration = Duration::from_secs(1);

/// The largest plateau below `datagram_len`.
pub(super) fn plateau_below(datagram_len: usize) -> usize {
    PLATEAUS
        .into_iter()
        .find(|&plateau| plateau < datagram_len)
        .unwrap_or(68)
}

/// What is known of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Largest datagram, in bytes.
    pub(super) mtu: usize,
    /// The truth is smaller than we are willing to believe: let routers cut.
    pub(super) let_routers_cut: bool,
    learned_at: Instant,
    expires: Instant,
}

#[derive(Debug)]
pub(super) struct Cache {
    limits: PathMtuLimits,
    entries: HashMap<IpAddr, Known, Keyed>,
    /// In the order of expiry, which is that of insertion; may name entries that are gone or were
    /// renewed since.
    order: VecDeque<(Instant, IpAddr)>,
}

impl Cache {
    pub(super) fn new(limits: PathMtuLimits, keyed: Keyed) -> Self {
        Self {
            limits,
            entries: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, destination: IpAddr) -> Option<Known> {
        self.entries.get(&destination).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Believes that the path carries `mtu` bytes at most, if that is news; returns what is known then. Less
    /// than every IPv6 link carries is a lie or an error (RFC 8201 §4).
    /// `present` is what was known so far.
    pub(super) fn lower(
        &mut self,
        now: Instant,
        destination: IpAddr,
        mtu: usize,
        present: usize,
    ) -> usize {
        let impossible = destination.is_ipv6() && mtu < ipv6::MIN_MTU;
        if mtu >= present || impossible {
            return present;
        }
        let believed = mtu.max(self.limits.minimum_bytes.min(present));
        let known = Known {
            mtu: believed,
            let_routers_cut: mtu < believed,
            learned_at: now,
            expires: now + self.limits.expiry,
        };
        // A path at the minimum is told again and again; nothing new is learned then.
        if self
            .get(destination)
            .is_some_and(|old| (old.mtu, old.let_routers_cut) == (known.mtu, known.let_routers_cut))
        {
            return believed;
        }
        self.entries.insert(destination, known);
        self.order.push_back((known.expires, destination));
        while self.entries.len() > self.limits.entries || self.order.len() > 4 * self.limits.entries
        {
            self.forget_oldest();
        }
        believed
    }

    /// A datagram of `mtu` bytes passed, where the link carries `on_link`.
    pub(super) fn raise(&mut self, now: Instant, destination: IpAddr, mtu: usize, on_link: usize) {
        if mtu >= on_link {
            self.entries.remove(&destination);
        } else if self.get(destination).is_some_and(|known| known.mtu < mtu) {
            // Others need not find it out, too.
            self.entries.remove(&destination);
            self.lower(now, destination, mtu, on_link);
        }
    }

    /// Large datagrams vanish: tries the next smaller usual size. Several connections may notice the same
    /// hole at once, which is one reason to step down and not several.
    pub(super) fn black_hole(
        &mut self,
        now: Instant,
        destination: IpAddr,
        present: usize,
    ) -> usize {
        let recent = |known: Known| known.learned_at + BLACK_HOLE_PAUSE > now;
        if self.get(destination).is_some_and(recent) {
            return present;
        }
        let next = BLACK_HOLE_STEPS
            .into_iter()
            .find(|&step| step < present)
            .unwrap_or(0)
            .max(self.limits.minimum_bytes);
        let next = match destination {
            IpAddr::V4(_) => next,
            IpAddr::V6(_) => next.max(ipv6::MIN_MTU),
        };
        self.lower(now, destination, next, present)
    }

    fn forget_oldest(&mut self) {
        let Some((expires, destination)) = self.order.pop_front() else {
            return;
        };
        if self
            .get(destination)
            .is_some_and(|known| known.expires == expires)
        {
            self.entries.remove(&destination);
        }
    }

    /// Forgets what is old.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.forget_oldest();
        }
    }

    /// When [`Cache::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|&(expires, _)| expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const NOW: Instant = Instant::from_millis(1000);

    fn cache() -> Cache {
        Cache::new(PathMtuLimits::default(), Keyed::new([0; 16]))
    }

    fn peer(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_path_only_shrinks_and_never_below_the_minimum() {
        let mut cache = cache();
        assert_eq!(cache.lower(NOW, peer(1), 1400, 1500), 1400);
        assert_eq!(cache.lower(NOW, peer(1), 1450, 1400), 1400);
        assert_eq!(cache.lower(NOW, peer(1), 600, 1400), 600);
        assert!(!cache.get(peer(1)).unwrap().let_routers_cut);
        assert_eq!(cache.lower(NOW, peer(1), 68, 600), 552);
        assert!(cache.get(peer(1)).unwrap().let_routers_cut);
        assert_eq!(cache.lower(NOW, peer(1), 68, 552), 552);
        assert_eq!(cache.get(peer(2)), None);
    }

    #[test]
    fn no_ipv6_path_is_narrower_than_every_link() {
        let mut cache = cache();
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(cache.lower(NOW, peer, 1279, 1500), 1500);
        assert_eq!(cache.lower(NOW, peer, 1280, 1500), 1280);
        assert_eq!(cache.black_hole(NOW, peer, 1280), 1280);
        let other = "2001:db8::2".parse().unwrap();
        assert_eq!(cache.black_hole(NOW, other, 1500), 1280);
    }

    #[test]
    fn old_knowledge_is_forgotten() {
        let mut cache = cache();
        cache.lower(NOW, peer(1), 1400, 1500);
        let later = NOW + Duration::from_secs(60);
        cache.lower(later, peer(1), 1300, 1400);
        cache.expire(NOW + Duration::from_secs(600));
        assert_eq!(cache.get(peer(1)).unwrap().mtu, 1300, "renewed since");
        cache.expire(later + Duration::from_secs(600));
        assert!(cache.is_empty());
        assert_eq!(cache.next_deadline(), None);
    }

    #[test]
    fn entries_are_bounded() {
        let mut cache = cache();
        for n in 0..10_000 {
            cache.lower(NOW, peer(n), 1400, 1500);
            cache.lower(NOW, peer(n), 1300, 1400);
            cache.lower(NOW, peer(n), 1200, 1300);
        }
        assert_eq!(cache.entries.len(), 4096);
        assert!(cache.order.len() <= 4 * 4096);
        assert!(cache.get(peer(9_999)).is_some());
        assert!(cache.get(peer(0)).is_none());
    }

    #[test]
    fn a_black_hole_is_left_by_steps() {
        let mut cache = cache();
        let mut mtu = 9000;
        let mut steps = Vec::new();
        for second in 0..6 {
            let now = NOW + Duration::from_secs(second);
            mtu = cache.black_hole(now, peer(1), mtu);
            let at_once = cache.black_hole(now, peer(1), mtu);
            assert_eq!(at_once, mtu, "one step for all who notice");
            steps.push(mtu);
        }
        assert_eq!(steps, [1500, 1280, 1006, 552, 552, 552]);
    }

    #[test]
    fn what_passed_widens_a_path_until_nothing_is_left_to_know() {
        let mut cache = cache();
        cache.lower(NOW, peer(1), 600, 1500);
        cache.raise(NOW, peer(1), 1000, 1500);
        assert_eq!(cache.get(peer(1)).unwrap().mtu, 1000);
        cache.raise(NOW, peer(1), 900, 1500);
        assert_eq!(cache.get(peer(1)).unwrap().mtu, 1000, "no news");
        cache.raise(NOW, peer(1), 1500, 1500);
        assert!(cache.is_empty());
        cache.raise(NOW, peer(2), 1400, 1500);
        assert!(cache.is_empty(), "others have no reason to be careful");
    }

    #[test]
    fn a_router_that_tells_nothing_gets_the_next_plateau() {
        assert_eq!(plateau_below(1500), 1492);
        assert_eq!(plateau_below(1492), 1006);
        assert_eq!(plateau_below(68), 68);
    }
}
