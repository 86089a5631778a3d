//! Hosts, epochs and views (FAILOVER §6): who is primary, and whose copy has every acknowledged byte.

use std::fmt;

/// A host: 0 and 1 are the servers, 2 is the witness, which only votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u8);

impl HostId {
    /// The witness.
    pub const WITNESS: Self = Self(2);

    /// True for a host that can be primary.
    #[must_use]
    pub const fn is_server(self) -> bool {
        self.0 < 2
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WITNESS => f.write_str("witness"),
            Self(n) => write!(f, "host {n}"),
        }
    }
}

/// The number of a view. Later views have higher epochs; epochs may be left out. Even epochs are proposed by
/// host 0 alone and odd ones by host 1, so that two hosts never propose the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before the first view.
    pub const NONE: Self = Self(0);

    /// The next epoch that `server` may propose after `self`; none at the end of numbers.
    #[must_use]
    pub const fn next_of(self, server: HostId) -> Option<Self> {
        let step = if self.0 % 2 == server.0 as u64 % 2 {
            2
        } else {
            1
        };
        match self.0.checked_add(step) {
            Some(epoch) => Some(Self(epoch)),
            None => None,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Some of the hosts.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostSet(u8);

impl HostSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);
    /// Both servers.
    pub const SERVERS: Self = Self(0b11);

    /// One host alone.
    #[must_use]
    pub const fn only(host: HostId) -> Self {
        Self::EMPTY.with(host)
    }

    /// From one bit per host; none when a bit stands for no host.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 8 { Some(Self(bits)) } else { None }
    }

    /// One bit per host.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The same with `host`; hosts beyond the witness do not exist and are left out.
    #[must_use]
    pub const fn with(self, host: HostId) -> Self {
        if host.0 > HostId::WITNESS.0 {
            return self;
        }
        Self(self.0 | 1 << host.0)
    }

    /// The same without `host`.
    #[must_use]
    pub const fn without(self, host: HostId) -> Self {
        if host.0 > HostId::WITNESS.0 {
            return self;
        }
        Self(self.0 & !(1 << host.0))
    }

    /// True if `host` is in it.
    #[must_use]
    pub const fn contains(self, host: HostId) -> bool {
        host.0 <= HostId::WITNESS.0 && self.0 & 1 << host.0 != 0
    }

    /// The hosts of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if all of it are in `other`.
    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// True for nobody.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The hosts, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = HostId> {
        (0..=HostId::WITNESS.0)
            .map(HostId)
            .filter(move |&host| self.contains(host))
    }
}

impl FromIterator<HostId> for HostSet {
    fn from_iter<I: IntoIterator<Item = HostId>>(hosts: I) -> Self {
        hosts.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|h| h.0)).finish()
    }
}

/// Who is primary, and which hosts have a complete copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    /// Its number.
    pub epoch: Epoch,
    /// Who serves.
    pub primary: HostId,
    /// Who has every byte that was ever acknowledged, the primary included.
    pub in_sync: HostSet,
}

impl View {
    /// Before the first view: nobody serves, and nothing was acknowledged.
    pub const NONE: Self = Self {
        epoch: Epoch::NONE,
        primary: HostId(0),
        in_sync: HostSet::EMPTY,
    };

    /// True before the first view.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.epoch.0 == 0
    }

    /// True if `host` may continue the connections when the primary is gone.
    #[must_use]
    pub const fn is_backup(&self, host: HostId) -> bool {
        self.in_sync.contains(host) && self.primary.0 != host.0
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("no view");
        }
        write!(
            f,
            "epoch {}: primary {}, in sync {:?}",
            self.epoch, self.primary, self.in_sync
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_belongs_to_one_server() {
        for epoch in 0..100 {
            for server in [HostId(0), HostId(1)] {
                let next = Epoch(epoch).next_of(server).unwrap();
                assert!(next.0 > epoch && next.0 <= epoch + 2);
                assert_eq!(next.0 % 2, u64::from(server.0));
            }
        }
        assert_eq!(Epoch(u64::MAX).next_of(HostId(0)), None);
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        for bits in 0..8 {
            let set = HostSet::from_bits(bits).unwrap();
            assert_eq!(set.iter().collect::<HostSet>(), set);
            assert_eq!(set.iter().count(), set.len());
            for host in (0..3).map(HostId) {
                assert!(set.with(host).contains(host));
                assert!(!set.without(host).contains(host));
                assert!(set.without(host).is_subset(set));
            }
        }
        assert_eq!(HostSet::from_bits(8), None);
        assert_eq!(HostSet::EMPTY.with(HostId(9)), HostSet::EMPTY);
    }
}
