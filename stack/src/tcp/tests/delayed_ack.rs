//! When are ACKs sent?

use std::time::Duration;

use bytes::Bytes;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters};
use crate::tcp::Flags;

/// Past its first, quick ACKs.
fn seasoned() -> Pair {
    let no_delay = parameters(|_, options| options.no_delay = true);
    let mut pair = Pair::established(no_delay, defaults());
    for _ in 0..40 {
        pair.write(CLIENT, &[0; 1448]);
        pair.run_for(Duration::from_millis(100));
    }
    pair.sent.clear();
    pair
}

fn acks(pair: &Pair) -> Vec<u128> {
    let sent = pair.sent_by(SERVER);
    let start = pair.sent[0].at;
    sent.iter()
        .map(|sent| sent.at.since(start).as_millis())
        .collect()
}

#[test]
fn a_lone_segment_is_acknowledged_after_40_ms() {
    let mut pair = seasoned();
    pair.write(CLIENT, &[0; 1448]);
    pair.run_for(Duration::from_millis(200));
    assert_eq!(acks(&pair), [10 + 40]);
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let mut pair = seasoned();
    // Each arrives by itself.
    for _ in 0..6 {
        pair.write(CLIENT, &[0; 1448]);
        pair.run_for(Duration::from_millis(1));
    }
    pair.run_for(Duration::from_millis(200));
    assert_eq!(acks(&pair), [11, 13, 15]);
}

#[test]
fn a_merged_segment_counts_as_its_parts() {
    let mut pair = seasoned();
    let mut merged = pair.forged(SERVER);
    merged.payload = Bytes::from(vec![0; 2896]);
    merged.segment_bytes = Some(1448);
    pair.deliver(SERVER, merged);
    pair.transmit();
    assert_eq!(pair.sent_by(SERVER).len(), 1);
}

#[test]
fn a_batch_is_acknowledged_once() {
    // MUST-58, MUST-59: all that is queued is processed before the ACK is sent.
    let mut pair = seasoned();
    pair.write(CLIENT, &[0; 1448 * 8]);
    pair.run_for(Duration::from_millis(30));
    assert_eq!(acks(&pair).len(), 1);
}

#[test]
fn data_carries_the_ack() {
    let mut pair = seasoned();
    pair.write(CLIENT, b"request");
    pair.run_for(Duration::from_millis(15));
    pair.write(SERVER, b"reply");
    pair.run_for(Duration::from_millis(300));
    let sent = pair.sent_by(SERVER);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].len(), 5);
}

#[test]
fn while_young_a_connection_acknowledges_everything_at_once() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[0; 100]);
    pair.run_for(Duration::from_millis(200));
    assert_eq!(acks(&pair), [10]);
}

#[test]
fn a_gap_is_told_at_once_and_so_is_its_filling() {
    let mut pair = seasoned();
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.len() > 0);
        if sent.len() > 0 && count == 1 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    for _ in 0..3 {
        pair.write(CLIENT, &[0; 1448]);
        pair.run_for(Duration::from_millis(1));
    }
    pair.run_for(Duration::from_millis(15));
    let sent = pair.sent_by(SERVER);
    assert_eq!(sent.len(), 2);
    let (first, second) = (&sent[0].segment, &sent[1].segment);
    assert_eq!(first.ack, second.ack);
    let start = first.ack.wrapping_add(1448);
    assert_eq!(first.options.sack[..], [(start, start.wrapping_add(1448))]);
    assert_eq!(second.options.sack[..], [(start, start.wrapping_add(2896))]);
    pair.run_for(Duration::from_secs(1));
    let sent = pair.sent_by(SERVER);
    let filled = sent
        .iter()
        .find(|sent| sent.segment.ack != first.ack)
        .unwrap();
    assert_eq!(filled.segment.ack, first.ack.wrapping_add(1448 * 3));
    assert!(filled.segment.options.sack.is_empty());
}

#[test]
fn what_arrives_twice_is_reported_first() {
    let mut pair = seasoned();
    let mut twice = pair.forged(SERVER);
    twice.payload = Bytes::from_static(b"0123456789");
    let seq = twice.seq;
    pair.deliver(SERVER, twice.clone());
    pair.run_for(Duration::from_millis(100));
    pair.sent.clear();
    pair.deliver(SERVER, twice);
    pair.transmit();
    let sent = pair.sent_by(SERVER);
    assert_eq!(sent.len(), 1);
    // RFC 2883 4: a block below the ACK.
    assert_eq!(
        sent[0].segment.options.sack[..],
        [(seq, seq.wrapping_add(10))]
    );
    assert_eq!(sent[0].segment.ack, seq.wrapping_add(10));
    assert_eq!(sent[0].segment.flags, Flags::ACK);
}
