//! How do connections end?

use std::time::Duration;

use bytes::Bytes;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters};
use crate::tcp::{Arrival, Error, Flags, Options, Parameters, Segment, State};

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn one_after_the_other() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, b"last words");
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
    assert_eq!(pair.ends[SERVER].received, b"last words");
    assert!(pair.at_end(SERVER));
    // Half-closed: the other direction still works.
    pair.write(SERVER, &[7; 50_000]);
    pair.run_for(SHORT);
    assert_eq!(pair.ends[CLIENT].received, [7; 50_000]);
    assert_eq!(pair.tcb(CLIENT).send_copy(b"no"), Err(Error::BrokenPipe));
    pair.tcb(SERVER).shutdown_write().unwrap();
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::TimeWait, State::Closed]);
    assert!(pair.at_end(CLIENT));
}

#[test]
fn both_at_once() {
    let mut pair = Pair::established(defaults(), defaults());
    for side in [CLIENT, SERVER] {
        pair.write(side, b"bye");
        pair.tcb(side).shutdown_write().unwrap();
    }
    pair.run_for(Duration::from_millis(15));
    assert_eq!(pair.states(), [State::Closing; 2]);
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::TimeWait; 2]);
    assert_eq!(pair.ends[CLIENT].received, b"bye");
    assert_eq!(pair.ends[SERVER].received, b"bye");
}

#[test]
fn time_wait_lasts_two_msl_and_acknowledges_a_repeated_fin() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.run_for(SHORT);
    let fin = pair.tcb(SERVER).snd.nxt;
    pair.tcb(SERVER).shutdown_write().unwrap();
    pair.run_for(SHORT);
    assert_eq!(pair.states()[CLIENT], State::TimeWait);
    pair.run_for(Duration::from_secs(40));
    pair.sent.clear();
    pair.filter = Box::new(|_| Fate::Drop);
    let mut again = pair.forged(CLIENT);
    again.seq = pair.tcb(CLIENT).peer_wire(fin);
    again.ack = pair.tcb(CLIENT).our_wire(2);
    again.flags = Flags::FIN.with(Flags::ACK);
    pair.deliver(CLIENT, again);
    pair.transmit();
    assert_eq!(pair.sent_by(CLIENT).len(), 1);
    // The wait begins anew.
    pair.run_for(Duration::from_secs(40));
    assert_eq!(pair.states()[CLIENT], State::TimeWait);
    pair.run_for(Duration::from_secs(21));
    assert_eq!(pair.states()[CLIENT], State::Closed);
    assert!(pair.tcb(CLIENT).is_closed());
}

#[test]
fn a_newer_syn_takes_over_from_time_wait() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.run_for(SHORT);
    pair.tcb(SERVER).shutdown_write().unwrap();
    pair.run_for(SHORT);
    let expected = pair.forged(CLIENT).seq;
    let highest = pair.tcb(CLIENT).our_wire(2);
    let syn = |seq: u32, timestamps| Segment {
        seq,
        flags: Flags::SYN,
        options: Options {
            timestamps,
            ..Options::default()
        },
        ..Segment::default()
    };
    // An old duplicate: neither sequence number nor timestamp is newer.
    let arrival = pair.deliver(CLIENT, syn(expected.wrapping_sub(5000), Some((0, 0))));
    assert!(matches!(arrival, Arrival::Dropped(_)));
    assert_eq!(pair.states()[CLIENT], State::TimeWait);
    let arrival = pair.deliver(CLIENT, syn(expected.wrapping_add(5000), None));
    assert_eq!(arrival, Arrival::Reopen { iss_after: highest });
    assert_eq!(pair.states()[CLIENT], State::Closed);
}

#[test]
fn closing_with_unread_data_resets() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, b"never read");
    pair.run_for(SHORT);
    let now = pair.now;
    pair.tcb(SERVER).close(now);
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert_eq!(pair.error(CLIENT), Some(Error::Reset));
}

#[test]
fn data_for_nobody_resets() {
    let mut pair = Pair::established(defaults(), defaults());
    let now = pair.now;
    pair.tcb(SERVER).close(now);
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::CloseWait, State::FinWait2]);
    pair.write(CLIENT, b"hello?");
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert_eq!(pair.error(CLIENT), Some(Error::Reset));
}

#[test]
fn an_abandoned_fin_wait_2_ends() {
    let mut pair = Pair::established(defaults(), defaults());
    let now = pair.now;
    pair.tcb(SERVER).close(now);
    pair.run_for(Duration::from_secs(59));
    assert_eq!(pair.states()[SERVER], State::FinWait2);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.states()[SERVER], State::Closed);
}

#[test]
fn an_aborted_connection_says_so_on_both_sides() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 5000]);
    pair.tcb(CLIENT).abort();
    assert_eq!(pair.error(CLIENT), Some(Error::Aborted));
    assert!(!pair.tcb(CLIENT).is_closed(), "the RST is still to be sent");
    pair.run_for(SHORT);
    assert!(pair.tcb(CLIENT).is_closed());
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert_eq!(pair.tcb(SERVER).recv(&mut [0]), Err(Error::Reset));
    assert_eq!(
        pair.tcb(SERVER).send(Bytes::from_static(b"x")),
        Err(Error::Reset)
    );
}

#[test]
fn an_abort_before_the_fin_has_left_is_told_to_the_peer() {
    let mut pair = Pair::established(defaults(), defaults());
    let now = pair.now;
    pair.tcb(CLIENT).close(now);
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
    assert!(pair.tcb(SERVER).send(Bytes::from_static(b"lost")).is_ok());
    pair.tcb(SERVER).shutdown_write().unwrap();
    pair.tcb(SERVER).abort();
    pair.run_for(SHORT);
    assert_eq!(pair.states(), [State::Closed; 2]);
    assert_eq!(pair.error(CLIENT), Some(Error::Reset));
}

#[test]
fn what_arrived_before_a_reset_can_be_read() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, b"in time");
    pair.run_for(SHORT);
    pair.tcb(CLIENT).abort();
    pair.run_for(SHORT);
    assert_eq!(
        pair.tcb(SERVER).recv_bytes(100),
        Ok(Some(Bytes::from_static(b"in time")))
    );
    assert_eq!(pair.tcb(SERVER).recv_bytes(100), Err(Error::Reset));
}

#[test]
fn a_fin_out_of_order_waits_for_what_is_missing() {
    let mut pair = Pair::established(defaults(), defaults());
    let mut fin = pair.forged(SERVER);
    fin.flags = Flags::FIN.with(Flags::ACK);
    let mut text = fin.clone();
    fin.seq = fin.seq.wrapping_add(5);
    pair.deliver(SERVER, fin);
    assert_eq!(pair.states()[SERVER], State::Established);
    text.flags = Flags::ACK;
    text.payload = Bytes::from_static(b"12345");
    pair.deliver(SERVER, text);
    assert_eq!(pair.states()[SERVER], State::CloseWait);
    pair.read(SERVER);
    assert_eq!(pair.ends[SERVER].received, b"12345");
}

/// The client is in TIME-WAIT.
fn waiting(client: Parameters) -> Pair {
    let mut pair = Pair::established(client, defaults());
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.run_for(SHORT);
    pair.tcb(SERVER).shutdown_write().unwrap();
    pair.run_for(SHORT);
    assert_eq!(pair.states()[CLIENT], State::TimeWait);
    pair
}

#[test]
fn a_newer_timestamp_takes_over_from_time_wait() {
    // RFC 6191: the sequence number is one of the old connection, the clock is not.
    let mut pair = waiting(defaults());
    let expected = pair.forged(CLIENT).seq;
    let recent = pair.tcb(CLIENT).timestamps.recent;
    let syn = |value: u32| Segment {
        seq: expected.wrapping_sub(5000),
        flags: Flags::SYN,
        options: Options {
            timestamps: Some((value, 0)),
            ..Options::default()
        },
        ..Segment::default()
    };
    let same = pair.deliver(CLIENT, syn(recent));
    assert!(matches!(same, Arrival::Dropped(_)));
    let newer = pair.deliver(CLIENT, syn(recent.wrapping_add(1)));
    assert!(matches!(newer, Arrival::Reopen { .. }));
}

#[test]
fn time_wait_can_be_protected_from_its_assassination() {
    // RFC 1337: an old duplicate makes us acknowledge, and a peer that knows nothing any more answers that with a RST,
    // exactly where we stand.
    let protected = parameters(|config, _| config.time_wait_ignores_resets = true);
    for (client, left) in [(protected, State::TimeWait), (defaults(), State::Closed)] {
        let mut pair = waiting(client);
        let mut rst = pair.forged(CLIENT);
        rst.flags = Flags::RST;
        pair.deliver(CLIENT, rst);
        assert_eq!(pair.states()[CLIENT], left);
        pair.run_for(Duration::from_secs(61));
        assert_eq!(pair.states()[CLIENT], State::Closed);
    }
}

#[test]
fn data_for_nobody_is_refused_where_the_peer_stands() {
    let mut pair = Pair::established(defaults(), defaults());
    // The FIN is lost: the peer would doubt a RST that stands behind it.
    pair.filter = Box::new(|sent| match sent.has(Flags::FIN) {
        true => Fate::Drop,
        false => Fate::Deliver,
    });
    let now = pair.now;
    pair.tcb(SERVER).close(now);
    pair.transmit();
    pair.sent.clear();
    pair.write(CLIENT, b"too late");
    pair.run_for(Duration::from_millis(15));
    let sent = pair.sent_by(SERVER);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].segment.flags, Flags::RST);
    let iss = pair.ends[SERVER].iss;
    assert_eq!(sent[0].segment.seq, iss.wrapping_add(1));
    assert!(pair.tcb(SERVER).is_closed());
    pair.run_for(SHORT);
    assert_eq!(pair.error(CLIENT), Some(Error::Reset));
}

#[test]
fn fin_wait_2_lasts_as_long_as_is_chosen() {
    let mut pair = Pair::established(defaults(), defaults());
    let now = pair.now;
    pair.tcb(SERVER)
        .set_fin_wait_2(Some(Duration::from_secs(5)));
    pair.tcb(SERVER).close(now);
    pair.run_for(Duration::from_secs(4));
    assert_eq!(pair.states()[SERVER], State::FinWait2);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.states()[SERVER], State::Closed);
}

#[test]
fn a_fin_wait_2_of_no_length_ends_with_a_rst() {
    let mut pair = Pair::established(defaults(), defaults());
    let now = pair.now;
    pair.tcb(SERVER).set_fin_wait_2(Some(Duration::ZERO));
    pair.tcb(SERVER).close(now);
    pair.run_for(SHORT);
    assert_eq!(pair.states()[SERVER], State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::Reset));
}
