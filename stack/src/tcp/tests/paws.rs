//! Do timestamps protect against old duplicates (RFC 7323 5)?

use std::time::Duration;

use bytes::Bytes;

use super::pair::{CLIENT, Pair, SERVER, defaults};
use crate::counters::Counter;
use crate::tcp::{Arrival, Flags, Segment, State};

fn with_value(pair: &mut Pair, distance: i32) -> Segment {
    let mut segment = pair.forged(SERVER);
    let recent = pair.tcb(SERVER).timestamps.recent;
    segment.options.timestamps = Some((recent.wrapping_add_signed(distance), 0));
    segment.payload = Bytes::from_static(b"data");
    segment
}

#[test]
fn an_older_segment_is_dropped_and_answered() {
    let mut pair = Pair::established(defaults(), defaults());
    let old = with_value(&mut pair, -1);
    assert_eq!(
        pair.deliver(SERVER, old),
        Arrival::Dropped(Counter::TcpDropPaws)
    );
    pair.transmit();
    assert_eq!(pair.sent_by(SERVER).len(), 1);
    assert_eq!(pair.tcb(SERVER).readable_bytes(), 0);
    for distance in [0, 1000, i32::MAX] {
        let mut pair = Pair::established(defaults(), defaults());
        let young = with_value(&mut pair, distance);
        assert_eq!(pair.deliver(SERVER, young), Arrival::Taken);
        assert_eq!(pair.tcb(SERVER).readable_bytes(), 4);
    }
}

#[test]
fn a_reset_is_exempt() {
    let mut pair = Pair::established(defaults(), defaults());
    let mut reset = with_value(&mut pair, -1000);
    reset.flags = Flags::RST;
    reset.payload = Bytes::new();
    pair.deliver(SERVER, reset);
    assert_eq!(pair.states()[SERVER], State::Closed);
}

#[test]
fn after_24_idle_days_everything_is_young() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.run_for(Duration::from_secs(25 * 24 * 3600));
    let old = with_value(&mut pair, -5);
    assert_eq!(pair.deliver(SERVER, old), Arrival::Taken);
}

#[test]
fn what_lies_beyond_the_last_ack_does_not_become_recent() {
    // RFC 7323 4.3: otherwise the echo would not measure the delayed ACK.
    let mut pair = Pair::established(defaults(), defaults());
    let before = pair.tcb(SERVER).timestamps.recent;
    let mut gap = with_value(&mut pair, 500);
    gap.seq = gap.seq.wrapping_add(100);
    pair.deliver(SERVER, gap);
    assert_eq!(pair.tcb(SERVER).timestamps.recent, before);
    let next = with_value(&mut pair, 500);
    pair.deliver(SERVER, next);
    assert_eq!(pair.tcb(SERVER).timestamps.recent, before.wrapping_add(500));
    pair.transmit();
    let echo = pair.sent_by(SERVER)[0]
        .segment
        .options
        .timestamps
        .unwrap()
        .1;
    assert_eq!(echo, before.wrapping_add(500));
}

#[test]
fn the_clock_may_wrap() {
    // The offset of the pairs lets TSval wrap after four seconds.
    let mut pair = Pair::established(defaults(), defaults());
    for _ in 0..100 {
        pair.write(CLIENT, b"tick");
        pair.run_for(Duration::from_millis(100));
    }
    assert_eq!(pair.ends[SERVER].received.len(), 400);
    assert!(
        pair.arrivals
            .iter()
            .all(|(_, arrival)| !matches!(arrival, Arrival::Dropped(_)))
    );
}

#[test]
fn a_segment_whose_ack_is_not_believed_does_not_set_the_clock() {
    // Else whoever guesses a sequence number could have everything that comes after it dropped as too old.
    let mut pair = Pair::established(defaults(), defaults());
    let before = pair.tcb(SERVER).timestamps.recent;
    let mut forged = with_value(&mut pair, 100_000);
    forged.ack = forged.ack.wrapping_add(9999);
    assert!(matches!(pair.deliver(SERVER, forged), Arrival::Dropped(_)));
    assert_eq!(pair.tcb(SERVER).timestamps.recent, before);
    pair.write(CLIENT, b"still heard");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.ends[SERVER].received, b"still heard");
}
