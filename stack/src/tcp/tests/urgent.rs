//! Does the urgent pointer say what it should (RFC 9293 3.8.5)?

use std::task::{Context, Waker};
use std::time::Duration;

use super::pair::{CLIENT, Pair, SERVER, defaults, parameters};
use crate::tcp::Flags;

#[test]
fn it_names_the_first_byte_that_is_not_urgent() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, b"normal");
    pair.tcb(CLIENT).send_urgent(b"hurry").unwrap();
    pair.write(CLIENT, b"rest");
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(pair.tcb(SERVER).poll_readable(noop).is_pending());
    pair.run_for(Duration::from_millis(15));
    let sent = &pair.sent_by(CLIENT)[0];
    assert!(sent.has(Flags::URG));
    assert_eq!(sent.segment.urgent, 11);
    // MUST-32, MUST-33: told, and how much is ahead.
    assert!(pair.tcb(SERVER).take_urgent_news());
    assert!(!pair.tcb(SERVER).take_urgent_news());
    assert_eq!(pair.tcb(SERVER).urgent_ahead(), 11);
    let mut into = [0; 8];
    pair.tcb(SERVER).recv(&mut into).unwrap();
    assert_eq!(pair.tcb(SERVER).urgent_ahead(), 3);
    pair.read(SERVER);
    assert_eq!(pair.tcb(SERVER).urgent_ahead(), 0);
    assert_eq!(pair.ends[SERVER].received, b"rryrest");
    // Once acknowledged it is over.
    pair.run_for(Duration::from_millis(100));
    pair.sent.clear();
    pair.write(CLIENT, b"later");
    pair.transmit();
    assert!(!pair.sent_by(CLIENT)[0].has(Flags::URG));
}

#[test]
fn urgent_data_may_be_longer_than_the_pointer() {
    let mut pair = Pair::established(defaults(), defaults());
    let data = vec![1; 200_000];
    assert_eq!(pair.tcb(CLIENT).send_urgent(&data), Ok(200_000));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ends[SERVER].received, data);
    let pointers: Vec<u16> = pair
        .sent_by(CLIENT)
        .iter()
        .map(|s| s.segment.urgent)
        .collect();
    assert_eq!(pointers[0], u16::MAX);
    assert!(pair.tcb(SERVER).take_urgent_news());
}

#[test]
fn the_pointer_arrives_although_the_window_is_closed() {
    // MUST-66.
    let server = parameters(|_, options| options.receive_buffer_bytes = Some(4096));
    let mut pair = Pair::established(defaults(), server);
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &[0; 20_000]);
    pair.run_for(Duration::from_secs(2));
    assert!(!pair.tcb(SERVER).take_urgent_news());
    let mut segment = pair.forged(SERVER);
    segment.flags = Flags::ACK.with(Flags::URG);
    segment.urgent = 5;
    pair.deliver(SERVER, segment);
    assert!(pair.tcb(SERVER).take_urgent_news());
}

#[test]
fn who_waits_for_data_is_woken_for_urgent_data_alone() {
    // MUST-32: the pointer comes before its data.
    let mut pair = Pair::established(defaults(), defaults());
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(pair.tcb(SERVER).poll_readable(noop).is_pending());
    let mut wakers = Vec::new();
    pair.tcb(SERVER).take_wakers(&mut wakers);
    assert!(wakers.is_empty());
    let mut segment = pair.forged(SERVER);
    segment.flags = Flags::ACK.with(Flags::URG);
    segment.urgent = 5;
    pair.deliver(SERVER, segment);
    pair.tcb(SERVER).take_wakers(&mut wakers);
    assert_eq!(wakers.len(), 1);
    assert!(pair.tcb(SERVER).take_urgent_news());
    assert_eq!(pair.tcb(SERVER).urgent_ahead(), 5);
}
