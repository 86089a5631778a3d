//! When did the last byte of a write leave, and when was it acknowledged?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, defaults, pattern};
use crate::tcp::landmarks::Passage::{Acknowledged, Sent};
use crate::time::Instant;

const ROUND_TRIP: Duration = Duration::from_millis(20);

/// What became of the ends of writes, and how many milliseconds after `since`.
fn passages(pair: &mut Pair, since: Instant) -> Vec<(u64, super::super::landmarks::Passage, u64)> {
    let passed = pair.tcb(CLIENT).take_passages();
    let told = passed.iter().map(|it| {
        let millis = it.at.since(since).as_millis() as u64;
        (it.bytes, it.passage, millis)
    });
    told.collect()
}

#[test]
fn the_first_transmission_and_the_acknowledgement_are_told_once() {
    let mut pair = Pair::established(defaults(), defaults());
    let start = pair.now;
    for bytes in [2000, 1000] {
        pair.write(CLIENT, &pattern(bytes));
        pair.tcb(CLIENT).watch_last_byte();
    }
    // The second write's end is lost at first.
    let mut lost = false;
    pair.filter = Box::new(move |sent| {
        if sent.by == CLIENT && sent.len() > 0 && sent.len() < 1000 && !lost {
            lost = true;
            return Fate::Drop;
        }
        Fate::Deliver
    });
    pair.run_for(Duration::from_secs(2));
    let told = passages(&mut pair, start);
    assert_eq!(told[..2], [(2000, Sent, 0), (3000, Sent, 0)]);
    let [first, second] = told[2..] else {
        panic!("{told:?}")
    };
    let round_trip = ROUND_TRIP.as_millis() as u64;
    assert_eq!((first.0, first.1), (2000, Acknowledged));
    assert_eq!((second.0, second.1), (3000, Acknowledged));
    assert!(first.2 >= round_trip && second.2 > round_trip, "{told:?}");
    assert!(pair.tcb(CLIENT).info().retransmitted_segments > 0);
    assert!(passages(&mut pair, start).is_empty());
}

#[test]
fn what_nobody_takes_is_bounded() {
    let mut pair = Pair::established(defaults(), defaults());
    for _ in 0..1000 {
        pair.write(CLIENT, b"x");
        pair.tcb(CLIENT).watch_last_byte();
        pair.run_for(Duration::from_millis(100));
    }
    let (start, told) = (pair.now, 256);
    assert_eq!(passages(&mut pair, start).len(), told);
}
