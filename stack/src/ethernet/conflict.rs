//! Claiming and defending our addresses (RFC 5227, RFC 4862 §5.4): probes if wanted, announcements
//! (gratuitous ARP, unsolicited advertisements), and what to do when another station has the same address.
//! RFC 4862 has no defence once an address is in use; there IPv6 does as IPv4 does.
//!
//! Plain state for one address: what to send is the answer of [`Claimed::poll`] and [`Claimed::observe`].

use std::time::Duration;

use super::{ConflictTimes, Defence};
use crate::random::Random;
use crate::time::Instant;

/// RFC 5227 §1.1.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_NUM: u32 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
/// RFC 4861 §10: RETRANS_TIMER. The random wait before the first is that of RFC 5227.
const RETRANS_TIMER: Duration = Duration::from_secs(1);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// Whether an address is ours to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Not yet: others are still being asked.
    Probing,
    /// Ours.
    Held,
    /// Another station has it.
    Lost,
}

/// What to put on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// Does anybody have it? (RFC 5227 §2.1.1)
    Probe,
    /// It is ours. (§2.3)
    Announcement,
}

/// How others are asked before an address is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probing {
    count: u32,
    between: (Duration, Duration),
    /// After the last one.
    wait: Duration,
}

impl Probing {
    /// As RFC 5227 §2.1.1 has it.
    pub(super) const IPV4: Self = Self {
        count: PROBE_NUM,
        between: (PROBE_MIN, PROBE_MAX),
        wait: ANNOUNCE_WAIT,
    };

    /// As RFC 4862 §5.4.2 has it.
    pub(super) const fn ipv6(count: u32) -> Self {
        Self {
            count,
            between: (RETRANS_TIMER, RETRANS_TIMER),
            wait: RETRANS_TIMER,
        }
    }
}

#[derive(Debug)]
enum State {
    Probing {
        probing: Probing,
        sent: u32,
        at: Instant,
    },
    Held {
        left: u32,
        at: Instant,
        conflict_at: Option<Instant>,
    },
    Lost,
}

/// One of our addresses.
#[derive(Debug)]
pub(super) struct Claimed {
    times: ConflictTimes,
    state: State,
}

impl Claimed {
    pub(super) fn new(
        times: ConflictTimes,
        probing: Option<Probing>,
        now: Instant,
        random: &mut Random,
    ) -> Self {
        let state = if let Some(probing) = probing {
            State::Probing {
                probing,
                sent: 0,
                at: now + between(Duration::ZERO, PROBE_WAIT, random),
            }
        } else {
            State::Held {
                left: times.announcements,
                at: now,
                conflict_at: None,
            }
        };
        Self { times, state }
    }

    pub(super) const fn claim(&self) -> Claim {
        match self.state {
            State::Probing { .. } => Claim::Probing,
            State::Held { .. } => Claim::Held,
            State::Lost => Claim::Lost,
        }
    }

    /// Announces it once more, at once.
    pub(super) fn announce(&mut self, now: Instant) {
        if let State::Held { left, at, .. } = &mut self.state {
            *left = (*left).max(1);
            *at = now;
        }
    }

    /// Announces it at once, and `times` more.
    pub(super) fn announce_repeatedly(&mut self, now: Instant, times: u32, every: Duration) {
        self.times.announce_every = every;
        if let State::Held { left, at, .. } = &mut self.state {
            *left = (*left).max(times + 1);
            *at = now;
        }
    }

    /// What is due.
    pub(super) fn poll(&mut self, now: Instant, random: &mut Random) -> Option<Say> {
        match &mut self.state {
            State::Probing { probing, sent, at } if *at <= now => {
                if *sent < probing.count {
                    *sent += 1;
                    let wait = if *sent < probing.count {
                        between(probing.between.0, probing.between.1, random)
                    } else {
                        probing.wait
                    };
                    *at = now + wait;
                    return Some(Say::Probe);
                }
                self.state = State::Held {
                    left: self.times.announcements,
                    at: now,
                    conflict_at: None,
                };
                self.poll(now, random)
            }
            State::Held { left, at, .. } if *left > 0 && *at <= now => {
                *left -= 1;
                *at = now + self.times.announce_every;
                Some(Say::Announcement)
            }
            _ => None,
        }
    }

    /// When [`Claimed::poll`] has something to do.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Probing { at, .. } => Some(at),
            State::Held { left, at, .. } if left > 0 => Some(at),
            _ => None,
        }
    }

    /// Another station showed itself with this address: as sender, or as one that probes for it too.
    /// Returns what to say to that.
    pub(super) fn observe(&mut self, now: Instant) -> Option<Say> {
        match &mut self.state {
            State::Probing { .. } => {
                self.state = State::Lost;
                None
            }
            State::Lost => None,
            State::Held { conflict_at, .. } => {
                let recent = conflict_at.is_some_and(|at| now.since(at) < DEFEND_INTERVAL);
                let give_up = match self.times.defence {
                    Defence::Always => false,
                    Defence::Once => recent,
                    Defence::Never => true,
                };
                if give_up {
                    self.state = State::Lost;
                    return None;
                }
                if recent {
                    // Two that defend the same address would otherwise shout at each other (§2.4 (c)).
                    return None;
                }
                *conflict_at = Some(now);
                Some(Say::Announcement)
            }
        }
    }
}

fn between(from: Duration, to: Duration, random: &mut Random) -> Duration {
    let span = (to - from).as_nanos() as u64;
    from + Duration::from_nanos(random.below(span + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_millis(1000);

    fn claimed(probe: bool, defence: Defence, random: &mut Random) -> Claimed {
        let times = ConflictTimes {
            defence,
            ..ConflictTimes::default()
        };
        Claimed::new(times, probe.then_some(Probing::IPV4), START, random)
    }

    /// Everything said until nothing more is due, with the time of each.
    fn run(claimed: &mut Claimed, random: &mut Random) -> Vec<(Instant, Say)> {
        let mut said = Vec::new();
        while let Some(at) = claimed.next_deadline() {
            if let Some(say) = claimed.poll(at, random) {
                said.push((at, say));
            }
        }
        said
    }

    #[test]
    fn by_default_an_address_is_announced_and_used_at_once() {
        let mut random = Random::from_seed(1);
        let mut claimed = claimed(false, Defence::Always, &mut random);
        assert_eq!(claimed.claim(), Claim::Held);
        let said = run(&mut claimed, &mut random);
        let second = START + Duration::from_secs(2);
        assert_eq!(
            said,
            [(START, Say::Announcement), (second, Say::Announcement)]
        );
    }

    #[test]
    fn probing_keeps_the_times_of_rfc_5227() {
        for seed in 0..100 {
            let mut random = Random::from_seed(seed);
            let mut claimed = claimed(true, Defence::Always, &mut random);
            assert_eq!(claimed.claim(), Claim::Probing);
            let said = run(&mut claimed, &mut random);
            assert_eq!(claimed.claim(), Claim::Held);
            let what: Vec<_> = said.iter().map(|&(_, say)| say).collect();
            let (p, a) = (Say::Probe, Say::Announcement);
            assert_eq!(what, [p, p, p, a, a]);
            let gaps: Vec<_> = said.windows(2).map(|w| w[1].0.since(w[0].0)).collect();
            assert!(said[0].0.since(START) <= PROBE_WAIT);
            for gap in &gaps[..2] {
                assert!((PROBE_MIN..=PROBE_MAX).contains(gap));
            }
            assert_eq!(gaps[2..], [ANNOUNCE_WAIT, Duration::from_secs(2)]);
        }
    }

    #[test]
    fn duplicate_detection_keeps_the_times_of_rfc_4862() {
        for (count, seed) in [(1, 1), (1, 2), (2, 3)] {
            let mut random = Random::from_seed(seed);
            let probing = Some(Probing::ipv6(count));
            let times = ConflictTimes::default();
            let mut claimed = Claimed::new(times, probing, START, &mut random);
            let said = run(&mut claimed, &mut random);
            let probes = said.iter().filter(|(_, say)| *say == Say::Probe).count();
            assert_eq!(probes, count as usize);
            assert!(said[0].0.since(START) <= Duration::from_secs(1));
            let second = Duration::from_secs(1);
            assert_eq!(said[probes].0, said[0].0 + second * count);
            assert_eq!(said[probes].1, Say::Announcement);
        }
    }

    #[test]
    fn a_conflict_while_probing_loses_the_address() {
        let mut random = Random::from_seed(1);
        let mut claimed = claimed(true, Defence::Always, &mut random);
        assert_eq!(claimed.observe(START), None);
        assert_eq!(claimed.claim(), Claim::Lost);
        assert_eq!(claimed.next_deadline(), None);
    }

    #[test]
    fn defence_is_limited_to_once_in_ten_seconds() {
        let mut random = Random::from_seed(1);
        let mut claimed = claimed(false, Defence::Always, &mut random);
        let at = |seconds| START + Duration::from_secs(seconds);
        let defended: Vec<_> = (0..25)
            .filter(|&s| claimed.observe(at(s)).is_some())
            .collect();
        assert_eq!(defended, [0, 10, 20]);
        assert_eq!(claimed.claim(), Claim::Held);
    }

    #[test]
    fn the_other_policies_give_up() {
        let mut random = Random::from_seed(1);
        let mut once = claimed(false, Defence::Once, &mut random);
        assert_eq!(once.observe(START), Some(Say::Announcement));
        assert_eq!(
            once.observe(START + Duration::from_secs(11)),
            Some(Say::Announcement)
        );
        assert_eq!(once.observe(START + Duration::from_secs(12)), None);
        assert_eq!(once.claim(), Claim::Lost);
        let mut never = claimed(false, Defence::Never, &mut random);
        assert_eq!(never.observe(START), None);
        assert_eq!(never.claim(), Claim::Lost);
    }
}
