//! A hierarchical timer wheel (Varghese and Lauck 1987): constant-time insertion, exact deadlines.
//!
//! Eight levels of 64 slots cover every [`Instant`]. A slot of level 0 spans one tick of 131 µs, a slot
//! of each level above spans the whole level below. Entries keep their exact deadline: the wheel only
//! sorts them coarsely, and hands out none before its time and none later than asked.
//!
//! Entries are never removed before they are due. Whoever restarts a timer lets the old entry fire and
//! looks whether it still means anything ("lazy cancellation"); [`crate::engine::timers`] does so.

use crate::time::Instant;

const TICK_SHIFT: u32 = 17;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;

/// Timers with a value of `T` each.
#[derive(Debug)]
pub(crate) struct TimerWheel<T> {
    /// The tick up to which everything has been handed out.
    tick: u64,
    levels: [Level<T>; LEVELS],
}

#[derive(Debug)]
struct Level<T> {
    /// Bit `n` is set while slot `n` has entries.
    occupied: u64,
    /// Allocated with the first entry.
    slots: Vec<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    earliest: Instant,
    entries: Vec<(Instant, T)>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            earliest: Instant::FAR_FUTURE,
            entries: Vec::new(),
        }
    }
}

impl<T> TimerWheel<T> {
    /// An empty wheel; `now` is the earliest time that it will ever be asked about.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            tick: tick(now),
            levels: std::array::from_fn(|_| Level {
                occupied: 0,
                slots: Vec::new(),
            }),
        }
    }

    /// Starts a timer. One whose deadline has passed is due at once; one for
    /// [`Instant::FAR_FUTURE`] never fires and is dropped here.
    pub(crate) fn insert(&mut self, deadline: Instant, value: T) {
        if deadline == Instant::FAR_FUTURE {
            return;
        }
        let when = tick(deadline).max(self.tick);
        // The highest digit in which `when` differs from the present decides the level; so entries of a
        // lower level are always due before those of a higher one, and lower slots before higher ones.
        let differing = (self.tick ^ when) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS) as usize;
        let slot = (when >> (level as u32 * SLOT_BITS)) as usize % SLOTS;
        self.levels[level].insert(slot, deadline, value);
    }

    /// The earliest deadline, exactly.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let (level, slot) = self.first()?;
        Some(self.levels[level].slots[slot].earliest)
    }

    /// Moves out everything due at `now`, with its deadline.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<(Instant, T)>) {
        let target = tick(now);
        while let Some((level, slot)) = self.first() {
            let start = self.slot_start(level, slot);
            if start > target {
                break;
            }
            self.tick = self.tick.max(start);
            let entries = self.levels[level].take(slot);
            let mut kept = false;
            for (deadline, value) in entries {
                if deadline <= now {
                    due.push((deadline, value));
                } else {
                    self.insert(deadline, value);
                    kept = true;
                }
            }
            if level == 0 && kept {
                // Later within the present tick: the slot is its own, nothing earlier can follow.
                break;
            }
        }
        self.tick = self.tick.max(target);
    }

    fn first(&self) -> Option<(usize, usize)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        Some((level, self.levels[level].occupied.trailing_zeros() as usize))
    }

    /// First tick of a slot.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let below = (1u64 << (shift + SLOT_BITS)) - 1;
        (self.tick & !below) | (slot as u64) << shift
    }
}

impl<T> Level<T> {
    fn insert(&mut self, slot: usize, deadline: Instant, value: T) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::default);
        }
        self.occupied |= 1 << slot;
        let slot = &mut self.slots[slot];
        slot.earliest = slot.earliest.min(deadline);
        slot.entries.push((deadline, value));
    }

    fn take(&mut self, slot: usize) -> Vec<(Instant, T)> {
        self.occupied &= !(1 << slot);
        std::mem::take(&mut self.slots[slot]).entries
    }
}

const fn tick(instant: Instant) -> u64 {
    instant.as_nanos() >> TICK_SHIFT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timer_fires_at_its_deadline_and_not_a_nanosecond_before() {
        let start = Instant::from_millis(5);
        let mut wheel = TimerWheel::new(start);
        for delay_ns in [
            0,
            1,
            999,
            131_072,
            10_000_000,
            200_000_000,
            7_200_000_000_000,
        ] {
            let deadline = start + Duration::from_nanos(delay_ns);
            let mut due = Vec::new();
            wheel.insert(deadline, delay_ns);
            assert_eq!(wheel.next_deadline(), Some(deadline));
            wheel.expire(deadline - Duration::from_nanos(1), &mut due);
            if delay_ns > 0 {
                assert!(due.is_empty(), "early: {delay_ns}");
            }
            wheel.expire(deadline, &mut due);
            assert_eq!(due, [(deadline, delay_ns)]);
            assert_eq!(wheel.next_deadline(), None);
        }
    }

    #[test]
    fn a_timer_that_is_not_running_takes_no_room() {
        let mut wheel = TimerWheel::new(Instant::ZERO);
        wheel.insert(Instant::FAR_FUTURE, ());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = (0u32..50).prop_flat_map(|bits| 0u64..(1 << bits));
        prop_oneof![
            span.clone().prop_map(Step::Insert),
            span.prop_map(Step::Advance)
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(start in 0u64..1 << 40, steps in prop::collection::vec(step(), 1..200)) {
            let mut now = Instant::from_nanos(start);
            let mut wheel = TimerWheel::new(now);
            let mut model = BTreeMap::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(delay_ns) => {
                        let deadline = now + Duration::from_nanos(delay_ns);
                        wheel.insert(deadline, id);
                        model.insert((deadline, id), ());
                    }
                    Step::Advance(by_ns) => {
                        now += Duration::from_nanos(by_ns);
                        let mut due = Vec::new();
                        wheel.expire(now, &mut due);
                        due.sort_unstable();
                        let later = model.split_off(&(now + Duration::from_nanos(1), 0));
                        let expected: Vec<_> = std::mem::replace(&mut model, later).into_keys().collect();
                        prop_assert_eq!(due, expected);
                    }
                }
                prop_assert_eq!(wheel.next_deadline(), model.keys().next().map(|key| key.0));
            }
        }
    }
}
