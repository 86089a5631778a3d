//! Telling routers and switches which groups we listen to: IGMPv3 (RFC 3376 §5) and MLDv2 (RFC 3810 §6),
//! which are the same but for the size of addresses. Of the groups of IPv6 one is told for each of our
//! addresses: the one in which neighbours ask for it.
//!
//! We want all sources of a group or none, so that a group has two states. A router of an older version is
//! answered in that version while it is there (RFC 3376 §7.2, RFC 3810 §8.2). Left out: filters of sources.
//!
//! Plain state of one family: what to say is the answer of [`Groups::poll`].

mod frames;
mod incoming;
mod of_link;

use std::net::IpAddr;
use std::time::Duration;

use frames::report;
pub(super) use incoming::is_query;
pub(super) use of_link::OfLink;

use crate::random::Random;
use crate::time::Instant;
use crate::wire::group_report::RecordKind;

/// How often a change is told (RFC 3376 §8.1, RFC 3810 §9.1).
const ROBUSTNESS: u32 = 2;
/// Between two reports of one change at most (RFC 3376 §8.11, RFC 3810 §9.11).
const UNSOLICITED_MS: u64 = 1000;
/// How long a router of an older version is believed to be there, without the time that its answers may
/// take (RFC 3376 §8.12).
const OLD_ROUTER: Duration = Duration::from_secs(250);
/// Groups that are told of.
const MAX_GROUPS: usize = 256;
/// Records of one report: they fit every link.
const MAX_RECORDS: usize = 50;

/// What is to be said now.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    records: Vec<(RecordKind, IpAddr)>,
    /// In the words of the older version.
    old: bool,
}

#[derive(Debug)]
struct Membership {
    group: IpAddr,
    joined: bool,
    /// Reports of the last change that are still to be sent, and when the next.
    change: Option<(u32, Instant)>,
    /// An answer to a query about this group.
    answer_at: Option<Instant>,
}

/// Our groups of one family.
#[derive(Debug, Default)]
struct Groups {
    memberships: Vec<Membership>,
    /// An answer to a query about all groups.
    answer_at: Option<Instant>,
    old_until: Option<Instant>,
}

impl Groups {
    /// We listen to `group` from now on.
    fn join(&mut self, now: Instant, group: IpAddr) {
        self.change(now, group, true);
    }

    /// We listen no more.
    fn leave(&mut self, now: Instant, group: IpAddr) {
        if self.memberships.iter().any(|it| it.group == group) {
            self.change(now, group, false);
        }
    }

    fn change(&mut self, now: Instant, group: IpAddr, joined: bool) {
        let change = Some((ROBUSTNESS, now));
        let room = self.memberships.len() < MAX_GROUPS;
        match self.memberships.iter_mut().find(|it| it.group == group) {
            Some(known) if known.joined == joined => {}
            Some(known) => {
                (known.joined, known.change) = (joined, change);
            }
            None if room => self.memberships.push(Membership {
                group,
                joined,
                change,
                answer_at: None,
            }),
            None => tracing::debug!(%group, "too many groups to tell of"),
        }
    }

    /// All groups are told once more: the switches may not know that we are here.
    fn tell_again(&mut self, now: Instant) {
        for known in &mut self.memberships {
            known.change.get_or_insert((1, now));
        }
    }

    /// A router asks (RFC 3376 §5.2, RFC 3810 §6.2).
    fn asked(
        &mut self,
        now: Instant,
        group: Option<IpAddr>,
        within: Duration,
        old: bool,
        random: &mut Random,
    ) {
        if old {
            self.old_until = Some(now + OLD_ROUTER + within);
        }
        let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        let at = now + Duration::from_nanos(random.below(nanos.saturating_add(1).max(1)));
        // Whatever is to be answered sooner is answered with it.
        let sooner = |before: Option<Instant>| Some(before.map_or(at, |before| before.min(at)));
        match group {
            None => self.answer_at = sooner(self.answer_at),
            Some(group) => {
                let known = self.memberships.iter_mut().find(|it| it.group == group);
                if let Some(known) = known.filter(|it| it.joined) {
                    known.answer_at = sooner(known.answer_at);
                }
            }
        }
    }

    /// What is due.
    fn poll(&mut self, now: Instant, random: &mut Random) -> Option<Report> {
        self.old_until = self.old_until.filter(|&until| until > now);
        let due = |at: Instant| at <= now;
        let all = self.answer_at.take_if(|at| due(*at)).is_some();
        let mut records = Vec::new();
        for known in &mut self.memberships {
            let asked = known.answer_at.take_if(|at| due(*at)).is_some();
            if let Some((left, at)) = &mut known.change
                && due(*at)
            {
                *left -= 1;
                *at = now + Duration::from_millis(1 + random.below(UNSOLICITED_MS));
                if *left == 0 {
                    known.change = None;
                }
                let kind = if known.joined {
                    RecordKind::ToExclude
                } else {
                    RecordKind::ToInclude
                };
                records.push((kind, known.group));
            } else if (all || asked) && known.joined {
                records.push((RecordKind::IsExclude, known.group));
            }
        }
        self.memberships
            .retain(|it| it.joined || it.change.is_some());
        (!records.is_empty()).then_some(Report {
            records,
            old: self.old_until.is_some(),
        })
    }

    /// When [`Groups::poll`] has something to do.
    fn next_deadline(&self) -> Option<Instant> {
        let of_groups = self.memberships.iter().flat_map(|known| {
            let change = known.change.map(|(_, at)| at);
            [change, known.answer_at]
        });
        of_groups.chain([self.answer_at]).flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_millis(1000);
    const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 2, 3));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 2, 4));

    fn after(seconds: u64) -> Instant {
        START + Duration::from_secs(seconds)
    }

    /// All that is said until then.
    fn until(groups: &mut Groups, end: Instant) -> Vec<(Instant, Report)> {
        let mut random = Random::from_seed(1);
        let mut said = Vec::new();
        while let Some(at) = groups.next_deadline().filter(|&at| at <= end) {
            said.extend(groups.poll(at, &mut random).map(|report| (at, report)));
        }
        said
    }

    fn kinds(said: &[(Instant, Report)]) -> Vec<(RecordKind, IpAddr)> {
        said.iter().flat_map(|(_, it)| it.records.clone()).collect()
    }

    #[test]
    fn every_change_is_told_twice_within_a_second() {
        let mut groups = Groups::default();
        groups.join(START, GROUP);
        groups.join(START, GROUP);
        let said = until(&mut groups, after(100));
        assert_eq!(kinds(&said), [(RecordKind::ToExclude, GROUP); 2]);
        assert_eq!(said[0].0, START);
        assert!(said[1].0 > START && said[1].0 <= after(1));
        groups.leave(after(100), GROUP);
        groups.leave(after(100), OTHER);
        let said = until(&mut groups, after(200));
        assert_eq!(kinds(&said), [(RecordKind::ToInclude, GROUP); 2]);
        assert_eq!(groups.next_deadline(), None);
    }

    #[test]
    fn a_query_is_answered_within_the_time_that_it_gives() {
        let mut random = Random::from_seed(2);
        let mut groups = Groups::default();
        groups.join(START, GROUP);
        groups.join(START, OTHER);
        until(&mut groups, after(10));
        let within = Duration::from_secs(5);
        groups.asked(after(10), None, within, false, &mut random);
        let said = until(&mut groups, after(100));
        let is = RecordKind::IsExclude;
        assert_eq!(kinds(&said), [(is, GROUP), (is, OTHER)]);
        assert!(said.len() == 1 && said[0].0 <= after(15));
        groups.asked(after(100), Some(OTHER), within, false, &mut random);
        assert_eq!(kinds(&until(&mut groups, after(200))), [(is, OTHER)]);
        let stranger = IpAddr::from([239, 9, 9, 9]);
        groups.asked(after(200), Some(stranger), within, false, &mut random);
        assert_eq!(groups.next_deadline(), None);
    }

    #[test]
    fn an_old_router_hears_old_words_until_it_is_gone() {
        let mut random = Random::from_seed(2);
        let mut groups = Groups::default();
        groups.join(START, GROUP);
        until(&mut groups, after(1));
        let mut old = |groups: &mut Groups, at: Instant, is_old| {
            groups.asked(at, None, Duration::ZERO, is_old, &mut random);
            until(groups, at)[0].1.old
        };
        assert!(!old(&mut groups, after(10), false));
        assert!(old(&mut groups, after(20), true));
        assert!(old(&mut groups, after(269), false));
        assert!(!old(&mut groups, after(270), false));
    }

    #[test]
    fn groups_are_bounded() {
        let mut groups = Groups::default();
        for n in 0..10_000_u32 {
            groups.join(START, std::net::Ipv4Addr::from(0xe000_0000 + n).into());
        }
        assert_eq!(groups.memberships.len(), MAX_GROUPS);
    }
}
