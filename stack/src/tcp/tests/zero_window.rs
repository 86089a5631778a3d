//! What happens when the peer's window closes?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters};
use crate::tcp::{Error, Flags, State};

/// The server's window is closed and the client has more to send.
fn closed() -> Pair {
    let server = parameters(|_, options| options.receive_buffer_bytes = Some(20_000));
    let mut pair = Pair::established(defaults(), server);
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &[5; 60_000]);
    pair.run_for(Duration::from_secs(5));
    let snd_wnd = pair.tcb(CLIENT).info().snd_wnd;
    assert!(snd_wnd < 1448, "{snd_wnd}");
    assert_eq!(pair.tcb(CLIENT).info().in_flight, 0);
    pair
}

#[test]
fn it_is_probed_less_and_less_often_and_for_ever() {
    let mut pair = closed();
    pair.sent.clear();
    pair.run_for(Duration::from_secs(3600 * 24));
    let probes: Vec<_> = pair.sent_by(CLIENT);
    assert!(probes.iter().all(|probe| probe.len() == 0));
    let una = pair.tcb(CLIENT).snd.una;
    let before = pair.tcb(CLIENT).our_wire(una - 1);
    assert!(probes.iter().all(|probe| probe.segment.seq == before));
    let gaps: Vec<u64> = probes
        .windows(2)
        .map(|pair| pair[1].at.since(pair[0].at).as_secs())
        .collect();
    assert!(gaps.is_sorted(), "{gaps:?}");
    assert_eq!(gaps.last(), Some(&120));
    // As long as the peer answers, the connection stands (MUST-37).
    assert_eq!(pair.states(), [State::Established; 2]);
    pair.ends[SERVER].reads = true;
    pair.read(SERVER);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].received, vec![5; 60_000]);
}

#[test]
fn reading_opens_it_at_once() {
    let mut pair = closed();
    pair.sent.clear();
    pair.read(SERVER);
    pair.ends[SERVER].reads = true;
    pair.run_for(Duration::from_millis(200));
    assert_eq!(pair.ends[SERVER].received, vec![5; 60_000]);
    assert!(pair.sent.iter().all(|sent| !sent.segment.retransmission));
}

#[test]
fn a_lost_window_update_is_made_up_for_by_a_probe() {
    let mut pair = closed();
    let mut lost = false;
    pair.filter = Box::new(move |sent| {
        if sent.by == SERVER && !std::mem::replace(&mut lost, true) {
            return Fate::Drop;
        }
        Fate::Deliver
    });
    pair.read(SERVER);
    pair.ends[SERVER].reads = true;
    pair.run_for(Duration::from_secs(130));
    assert_eq!(pair.ends[SERVER].received, vec![5; 60_000]);
}

#[test]
fn small_reads_do_not_cause_small_updates() {
    let mut pair = closed();
    pair.sent.clear();
    // MUST-39: nothing is said before a segment's worth is free.
    let mut byte = [0; 10];
    for _ in 0..100 {
        assert_eq!(pair.tcb(SERVER).recv(&mut byte), Ok(Some(10)));
        pair.transmit();
    }
    assert!(pair.sent_by(SERVER).is_empty());
    let mut more = [0; 2000];
    assert_eq!(pair.tcb(SERVER).recv(&mut more), Ok(Some(2000)));
    pair.transmit();
    assert_eq!(pair.sent_by(SERVER).len(), 1);
}

#[test]
fn a_peer_that_no_longer_answers_is_given_up() {
    let mut pair = closed();
    pair.filter = Box::new(|sent| {
        if sent.by == SERVER {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.run_to(|pair| pair.states()[CLIENT] == State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::TimedOut));
}

#[test]
fn fin_waits_for_the_window_too() {
    let mut pair = closed();
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.run_for(Duration::from_secs(10));
    assert!(
        pair.sent_by(CLIENT)
            .iter()
            .all(|sent| !sent.has(Flags::FIN))
    );
    pair.read(SERVER);
    pair.ends[SERVER].reads = true;
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].received, vec![5; 60_000]);
    assert!(pair.at_end(SERVER));
}

#[test]
fn the_first_probe_comes_after_an_rto() {
    // SHLD-29. The window is closed exactly, so that no small segment is waiting to be forced through.
    let server = parameters(|_, options| options.receive_buffer_bytes = Some(14_480));
    let mut pair = Pair::established(defaults(), server);
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &[5; 60_000]);
    pair.run_to(|pair| {
        let info = pair.tcb(CLIENT).info();
        info.snd_wnd == 0 && info.in_flight == 0
    });
    let (closed_at, rto) = (pair.now, pair.tcb(CLIENT).info().rto);
    pair.sent.clear();
    pair.run_for(2 * rto);
    let waited = pair.sent_by(CLIENT)[0].at.since(closed_at);
    assert!(waited >= rto && waited < rto * 3 / 2, "{waited:?} {rto:?}");
}

#[test]
fn the_congestion_window_shrinks_when_it_opens_and_not_while_it_is_probed() {
    let mut pair = closed();
    let cwnd = pair.tcb(CLIENT).info().cwnd;
    assert!(cwnd > 10 * 1448, "more than the initial window: {cwnd}");
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.tcb(CLIENT).info().cwnd, cwnd);
    // RFC 5681 §4.1: by then it has lost its ACK clock.
    pair.read(SERVER);
    pair.run_for(Duration::from_millis(15));
    assert_eq!(pair.tcb(CLIENT).info().cwnd, 10 * 1448);
}
