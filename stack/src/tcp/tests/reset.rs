//! Which RSTs and SYNs are believed (RFC 5961)?

use std::time::Duration;

use super::pair::{CLIENT, Pair, SERVER, defaults};
use crate::counters::Counter;
use crate::tcp::{Arrival, Error, Flags, State};

fn reset(pair: &mut Pair, distance: u32) -> Arrival {
    let mut segment = pair.forged(SERVER);
    segment.flags = Flags::RST;
    segment.seq = segment.seq.wrapping_add(distance);
    pair.deliver(SERVER, segment)
}

#[test]
fn only_one_exactly_at_rcv_nxt_resets() {
    let mut pair = Pair::established(defaults(), defaults());
    // In the window: a challenge ACK.
    assert_eq!(
        reset(&mut pair, 1),
        Arrival::Dropped(Counter::TcpDropWindow)
    );
    pair.transmit();
    let sent = pair.sent_by(SERVER);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].segment.flags, Flags::ACK);
    // Outside: silence.
    pair.sent.clear();
    pair.run_for(Duration::from_secs(5));
    reset(&mut pair, u32::MAX);
    reset(&mut pair, 1 << 20);
    pair.transmit();
    assert!(pair.sent.is_empty());
    assert_eq!(pair.states()[SERVER], State::Established);
    reset(&mut pair, 0);
    assert_eq!(pair.states()[SERVER], State::Closed);
    assert_eq!(pair.error(SERVER), Some(Error::Reset));
    pair.transmit();
    assert!(pair.sent_by(SERVER).is_empty(), "a RST is never answered");
}

#[test]
fn challenges_are_limited_to_two_a_second() {
    let mut pair = Pair::established(defaults(), defaults());
    for _ in 0..100 {
        reset(&mut pair, 1);
        let mut syn = pair.forged(SERVER);
        syn.flags = Flags::SYN;
        pair.deliver(SERVER, syn);
        pair.run_for(Duration::from_millis(10));
    }
    let challenges = pair.sent_by(SERVER).len();
    assert!((2..=3).contains(&challenges), "{challenges}");
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn a_syn_in_a_connection_gets_a_challenge() {
    let mut pair = Pair::established(defaults(), defaults());
    let mut syn = pair.forged(SERVER);
    syn.flags = Flags::SYN;
    assert_eq!(
        pair.deliver(SERVER, syn),
        Arrival::Dropped(Counter::TcpDropState)
    );
    pair.transmit();
    assert_eq!(pair.sent_by(SERVER).len(), 1);
    assert_eq!(pair.states()[SERVER], State::Established);
}

#[test]
fn a_peer_that_restarted_is_found_out() {
    let mut pair = Pair::established(defaults(), defaults());
    // The client crashed and opens again from the same port.
    let syn = {
        let end = &mut pair.ends[CLIENT];
        end.iss = 12_345;
        end.tcb = None;
        end.iss
    };
    pair.open();
    pair.transmit();
    assert_eq!(pair.sent[0].segment.seq, syn);
    // The server's challenge ACK makes the client send a RST, and that one is believed.
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states()[SERVER], State::Closed);
    assert_eq!(pair.error(SERVER), Some(Error::Reset));
}

#[test]
fn rst_counts_even_when_the_window_is_closed() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &vec![0; 200_000]);
    pair.run_for(Duration::from_secs(2));
    assert!(pair.tcb(SERVER).info().rcv_wnd < 1448);
    reset(&mut pair, 0);
    assert_eq!(pair.error(SERVER), Some(Error::Reset));
}

#[test]
fn an_ack_far_from_anything_sent_is_challenged() {
    for distance in [1, 1 << 30, u32::MAX - (1 << 29)] {
        let mut pair = Pair::established(defaults(), defaults());
        let mut segment = pair.forged(SERVER);
        segment.ack = segment.ack.wrapping_add(distance);
        segment.payload = bytes::Bytes::from_static(b"blind data injection");
        assert_eq!(
            pair.deliver(SERVER, segment),
            Arrival::Dropped(Counter::TcpDropState)
        );
        pair.transmit();
        assert_eq!(pair.sent_by(SERVER).len(), 1);
        pair.read(SERVER);
        assert!(pair.ends[SERVER].received.is_empty());
    }
}

#[test]
fn in_syn_received_a_rst_goes_back_to_nothing() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.run_for(Duration::from_millis(15));
    assert_eq!(pair.states()[SERVER], State::SynReceived);
    reset(&mut pair, 0);
    assert_eq!(pair.states()[SERVER], State::Closed);
}

#[test]
fn a_reset_may_carry_data() {
    // SHLD-2: what some hosts put there is text that says why.
    let mut pair = Pair::established(defaults(), defaults());
    let mut segment = pair.forged(SERVER);
    segment.flags = Flags::RST;
    segment.payload = bytes::Bytes::from_static(b"too many connections");
    pair.deliver(SERVER, segment);
    assert_eq!(pair.error(SERVER), Some(Error::Reset));
    assert_eq!(pair.tcb(SERVER).recv(&mut [0]), Err(Error::Reset));
}

#[test]
fn in_syn_received_too_only_one_exactly_at_rcv_nxt_resets() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.run_for(Duration::from_millis(15));
    pair.sent.clear();
    reset(&mut pair, 100);
    pair.transmit();
    let sent = pair.sent_by(SERVER);
    assert_eq!(pair.states()[SERVER], State::SynReceived);
    assert_eq!(sent.len(), 1, "a challenge ACK, not the SYN-ACK again");
    assert_eq!(sent[0].segment.flags, Flags::ACK);
    let (our_iss, peer_iss) = (pair.ends[SERVER].iss, pair.ends[CLIENT].iss);
    assert_eq!(sent[0].segment.seq, our_iss.wrapping_add(1));
    assert_eq!(sent[0].segment.ack, peer_iss.wrapping_add(1));
}
