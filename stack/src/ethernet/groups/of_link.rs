//! The groups of one link, of both families.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use outlive_driver::Medium;

use super::{Groups, report};
use crate::ethernet::Link;
use crate::packet::TxFrame;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ipv6;

/// Groups by family.
#[derive(Debug)]
pub(in crate::ethernet) struct OfLink {
    v4: Groups,
    v6: Groups,
    random: Random,
}

impl OfLink {
    pub(in crate::ethernet) fn new(random: Random) -> Self {
        Self {
            v4: Groups::default(),
            v6: Groups::default(),
            random,
        }
    }

    const fn of(&mut self, is_v6: bool) -> &mut Groups {
        if is_v6 { &mut self.v6 } else { &mut self.v4 }
    }
}

/// All hosts are in these groups, or they end with the host, and nobody is told (RFC 3376 §5, RFC 3810 §6).
fn is_silent(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group == Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(group) => group == ipv6::ALL_NODES || group.octets()[1] & 0x0f < 2,
    }
}

impl Link {
    /// Tells routers and switches that we listen to `group`.
    pub fn join(&self, now: Instant, group: IpAddr) {
        let tells = self.config.tell_groups && self.medium == Medium::Ethernet;
        if tells && group.is_multicast() && !is_silent(group) {
            let groups = &mut *self.groups.lock();
            groups.of(group.is_ipv6()).join(now, group);
        }
    }

    /// Tells routers and switches that we listen to `group` no more.
    pub fn leave(&self, now: Instant, group: IpAddr) {
        let groups = &mut *self.groups.lock();
        groups.of(group.is_ipv6()).leave(now, group);
    }

    /// Tells of all groups once more: the switches may not know that we are here.
    pub(in crate::ethernet) fn tell_groups_again(&self, now: Instant) {
        let groups = &mut *self.groups.lock();
        groups.v4.tell_again(now);
        groups.v6.tell_again(now);
    }

    /// A router asks who listens to `group`, or to any.
    pub(super) fn asked_of_groups(
        &self,
        now: Instant,
        is_v6: bool,
        group: Option<IpAddr>,
        within: Duration,
        old: bool,
    ) {
        let OfLink { v4, v6, random } = &mut *self.groups.lock();
        let groups = if is_v6 { v6 } else { v4 };
        groups.asked(now, group, within, old, random);
    }

    /// Reports that are due.
    pub(in crate::ethernet) fn poll_groups(&self, now: Instant, mut each: impl FnMut(TxFrame)) {
        let due = {
            let OfLink { v4, v6, random } = &mut *self.groups.lock();
            [v4.poll(now, random), v6.poll(now, random)]
        };
        for due in due.iter().flatten() {
            report(self, due, &mut each);
        }
    }

    /// When [`Link::poll_groups`] has something to do.
    pub(in crate::ethernet) fn next_group_deadline(&self) -> Option<Instant> {
        let groups = self.groups.lock();
        let v4 = groups.v4.next_deadline();
        v4.into_iter().chain(groups.v6.next_deadline()).min()
    }
}
