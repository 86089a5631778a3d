//! Datagrams from fragments (RFC 791 §3.2, RFC 1122 §3.3.2, RFC 8200 §4.5), of either family.
//!
//! Fragments are the cheapest way to make a host hold memory and the best way to smuggle bytes past a
//! filter, so there are limits on everything, oldest out first, and a datagram is refused whole, with all
//! fragments yet to come, as soon as two fragments disagree: on a byte (any overlap but an exact
//! duplicate, as RFC 5722 has it), on the end, or on ECN (RFC 3168 §5.3).
//!
//! What is held are copies: a slice would keep a whole receive buffer alive.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;

use super::partial::{Arriving, OVERHEAD_BYTES, Partial, Taken};
use super::{Cast, FragmentLimits};
use crate::keyed::Keyed;
use crate::time::Instant;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// The same for all datagrams in IPv6 (RFC 8200 §4.5).
    pub(super) protocol: u8,
    pub(super) identification: u32,
}

/// What is left of a datagram that never became whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expired {
    /// Its first fragment, if that had come: header and payload.
    pub(super) first: Option<Bytes>,
    /// How it was addressed.
    pub(super) cast: Cast,
}

#[derive(Debug, Default)]
struct Source {
    cost: usize,
    datagrams: usize,
}

/// All incomplete datagrams.
#[derive(Debug)]
pub(super) struct Reassembly {
    limits: FragmentLimits,
    partials: HashMap<Key, Partial, Keyed>,
    sources: HashMap<IpAddr, Source, Keyed>,
    /// Oldest first; may name generations that are gone.
    order: VecDeque<(Instant, Key, u64)>,
    cost: usize,
    generations: u64,
}

impl Reassembly {
    pub(super) fn new(limits: FragmentLimits, keyed: Keyed) -> Self {
        Self {
            limits,
            partials: HashMap::with_hasher(keyed.clone()),
            sources: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            cost: 0,
            generations: 0,
        }
    }

    /// Bytes held, bookkeeping included.
    #[cfg(test)]
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Bytes held of one source.
    #[cfg(test)]
    pub(super) fn cost_of(&self, source: IpAddr) -> usize {
        self.sources.get(&source).map_or(0, |held| held.cost)
    }

    /// Incomplete datagrams, of all sources and of one.
    #[cfg(test)]
    pub(super) fn counts(&self, source: IpAddr) -> (usize, usize) {
        let of_source = self.sources.get(&source).map_or(0, |held| held.datagrams);
        (self.partials.len(), of_source)
    }

    /// Takes one fragment; `most_bytes` is what the payload of a datagram with its header may have.
    pub(super) fn take(
        &mut self,
        now: Instant,
        key: Key,
        arriving: &Arriving<'_>,
        most_bytes: usize,
    ) -> Taken {
        let len = arriving.payload.len();
        let aligned = !arriving.more || len.is_multiple_of(8);
        if len == 0 || !aligned || arriving.end() > most_bytes {
            return Taken::Refused;
        }
        let taken = self.insert(now, key, arriving);
        match taken {
            Taken::Held => {
                if self.partials.get(&key).is_some_and(Partial::is_whole) {
                    return self.finish(key);
                }
                self.enforce_limits(key.source);
                // The limits may have cost this very datagram.
                if self.partials.contains_key(&key) {
                    Taken::Held
                } else {
                    Taken::Refused
                }
            }
            other => other,
        }
    }

    fn insert(&mut self, now: Instant, key: Key, arriving: &Arriving<'_>) -> Taken {
        let source = self.sources.entry(key.source).or_default();
        let partial = match self.partials.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.generations += 1;
                let deadline = now + self.limits.timeout;
                self.order.push_back((deadline, key, self.generations));
                source.datagrams += 1;
                source.cost += OVERHEAD_BYTES;
                self.cost += OVERHEAD_BYTES;
                entry.insert(Partial::new(arriving.cast, self.generations))
            }
        };
        let before = partial.cost;
        let taken = partial.insert(arriving, self.limits.fragments_per_datagram);
        self.cost = self.cost - before + partial.cost;
        source.cost = source.cost - before + partial.cost;
        taken
    }

    /// Drops the oldest until the limits hold: first of the source that sent, then of all.
    fn enforce_limits(&mut self, source: IpAddr) {
        while self.sources.get(&source).is_some_and(|held| {
            held.cost > self.limits.bytes_per_source
                || held.datagrams > self.limits.datagrams_per_source
        }) {
            let oldest = self.order.iter().position(|(_, key, generation)| {
                key.source == source && self.is_current(*key, *generation)
            });
            let Some((_, key, _)) = oldest.and_then(|at| self.order.remove(at)) else {
                break;
            };
            self.remove(key);
        }
        while self.cost > self.limits.bytes || self.partials.len() > self.limits.datagrams {
            let Some((_, key, generation)) = self.order.pop_front() else {
                break;
            };
            if self.is_current(key, generation) {
                self.remove(key);
            }
        }
        // Whole datagrams leave their place in the order behind.
        while self
            .order
            .front()
            .is_some_and(|&(_, key, generation)| !self.is_current(key, generation))
        {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.limits.datagrams {
            let partials = &self.partials;
            self.order.retain(|(_, key, generation)| {
                partials
                    .get(key)
                    .is_some_and(|partial| partial.generation == *generation)
            });
        }
    }

    fn is_current(&self, key: Key, generation: u64) -> bool {
        let partial = self.partials.get(&key);
        partial.is_some_and(|partial| partial.generation == generation)
    }

    fn remove(&mut self, key: Key) -> Option<Partial> {
        let partial = self.partials.remove(&key)?;
        self.cost -= partial.cost;
        if let Entry::Occupied(mut entry) = self.sources.entry(key.source) {
            let source = entry.get_mut();
            source.cost -= partial.cost;
            source.datagrams -= 1;
            if source.datagrams == 0 {
                entry.remove();
            }
        }
        Some(partial)
    }

    fn finish(&mut self, key: Key) -> Taken {
        let whole = self.remove(key).and_then(Partial::assemble);
        whole.map_or(Taken::Refused, Taken::Whole)
    }

    /// Gives up datagrams whose time is over.
    pub(super) fn expire(&mut self, now: Instant, mut each: impl FnMut(Expired)) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let Some((_, key, generation)) = self.order.pop_front() else {
                return;
            };
            if !self.is_current(key, generation) {
                continue;
            }
            if let Some(partial) = self.remove(key).filter(|partial| !partial.refused) {
                each(Expired {
                    first: partial.first(),
                    cast: partial.cast,
                });
            }
        }
    }

    /// When [`Reassembly::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|&(deadline, _, _)| deadline)
    }
}
