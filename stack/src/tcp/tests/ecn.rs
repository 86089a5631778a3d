//! Explicit congestion notification (RFC 3168): who asks, what is marked, and what a mark does.

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, Sent, defaults, parameters};
use crate::tcp::config::Ecn;
use crate::tcp::{Flags, Parameters};

const SEGMENT: usize = 1448;
const ECT0: u8 = 2;

fn asking() -> Parameters {
    parameters(|config, _| config.ecn = Ecn::Active)
}

fn refusing() -> Parameters {
    parameters(|config, _| config.ecn = Ecn::Off)
}

/// ECE and CWR.
fn bits(sent: &Sent) -> (bool, bool) {
    (sent.has(Flags::ECE), sent.has(Flags::CWR))
}

/// Marks the client's data with these numbers, counted from 0.
fn marking(numbers: &'static [usize]) -> Box<dyn FnMut(&Sent) -> Fate> {
    let mut count = 0;
    Box::new(move |sent| {
        let data = sent.by == CLIENT && sent.len() > 0;
        count += usize::from(data);
        if data && numbers.contains(&(count - 1)) {
            Fate::Mark
        } else {
            Fate::Deliver
        }
    })
}

#[test]
fn a_syn_asks_with_both_flags_and_is_granted_with_one() {
    for (client, server, on) in [
        (asking(), defaults(), true),
        (asking(), refusing(), false),
        (defaults(), asking(), false),
        (refusing(), defaults(), false),
    ] {
        let asks = client.config.ecn == Ecn::Active;
        let mut pair = Pair::new(client, server);
        pair.open();
        pair.run_for(Duration::from_millis(100));
        assert_eq!(bits(&pair.sent[0]), (asks, asks), "SYN");
        assert_eq!(bits(&pair.sent[1]), (on, false), "SYN-ACK");
        assert_eq!(bits(&pair.sent[2]), (false, false), "ACK");
        assert!(pair.sent.iter().all(|sent| sent.segment.ecn == 0));
        for side in [CLIENT, SERVER] {
            assert_eq!(pair.tcb(side).info().ecn, on);
        }
    }
}

#[test]
fn a_syn_that_gets_no_answer_asks_no_more() {
    let mut pair = Pair::new(asking(), defaults());
    pair.filter = Box::new(|sent| {
        if sent.has(Flags::ECE) {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.open();
    pair.run_for(Duration::from_secs(2));
    assert_eq!(bits(&pair.sent[1]), (false, false));
    assert!(!pair.tcb(CLIENT).info().ecn && !pair.tcb(SERVER).info().ecn);
}

#[test]
fn only_new_data_is_sent_as_capable() {
    let mut pair = Pair::established(asking(), defaults());
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.len() > 0);
        if count == 3 && sent.len() > 0 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.write(CLIENT, &[1; 20 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.sent.iter().any(|sent| sent.segment.retransmission));
    for sent in &pair.sent {
        let capable = sent.len() > 0 && !sent.segment.retransmission;
        assert_eq!(sent.segment.ecn, if capable { ECT0 } else { 0 }, "{sent}");
    }
}

#[test]
fn a_mark_is_echoed_until_the_sender_says_that_it_reduced_its_window() {
    let mut pair = Pair::established(asking(), defaults());
    pair.spacing = Duration::from_micros(100);
    pair.filter = marking(&[3]);
    pair.write(CLIENT, &[1; 60 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    let echoes: Vec<bool> = pair
        .sent_by(SERVER)
        .iter()
        .map(|sent| sent.has(Flags::ECE))
        .collect();
    let first = echoes.iter().position(|&echo| echo).expect("an echo");
    let last = echoes.iter().rposition(|&echo| echo).expect("an echo");
    assert!(echoes[first..=last].iter().all(|&echo| echo), "{echoes:?}");
    assert!(last + 1 < echoes.len(), "it ends");
    let reduced: Vec<Sent> = pair
        .sent_by(CLIENT)
        .into_iter()
        .filter(|sent| sent.has(Flags::CWR))
        .collect();
    assert_eq!(reduced.len(), 1);
    assert!(reduced[0].len() > 0 && !reduced[0].segment.retransmission);
    assert_eq!(pair.tcb(CLIENT).info().retransmitted_segments, 0);
}

#[test]
fn marks_reduce_the_window_once_a_round_trip_and_nothing_is_sent_again() {
    let mut pair = Pair::established(asking(), defaults());
    pair.spacing = Duration::from_micros(100);
    // All of the second round trip, 20 segments, is marked.
    pair.filter = marking(&[
        10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
    ]);
    pair.write(CLIENT, &[1; 100 * SEGMENT]);
    pair.run_for(Duration::from_millis(62));
    let info = pair.tcb(CLIENT).info();
    // From 20 segments: 0.7 of them, perhaps less if the second half of the marks came after that.
    let threshold = info.ssthresh / SEGMENT;
    assert!((13..=18).contains(&threshold), "{threshold}");
    assert_eq!(info.retransmitted_segments, 0);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].received.len(), 100 * SEGMENT);
}

#[test]
fn a_lost_segment_is_announced_as_a_reduction_too() {
    let mut pair = Pair::established(asking(), defaults());
    pair.spacing = Duration::from_micros(100);
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.len() > 0);
        if count == 3 && sent.len() > 0 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.write(CLIENT, &[1; 60 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    let announced = |sent: &&Sent| sent.has(Flags::CWR);
    assert_eq!(pair.sent_by(CLIENT).iter().filter(announced).count(), 1);
}

#[test]
fn what_was_agreed_survives_in_the_record_and_without_it_marks_mean_nothing() {
    let mut pair = Pair::established(asking(), defaults());
    let record = pair.tcb(SERVER).record().unwrap();
    assert!(record.ecn);
    let snapshot = pair.tcb(CLIENT).export().unwrap();
    let (now, parameters) = (pair.now, defaults());
    let again = crate::tcp::Tcb::from_snapshot(parameters, now, snapshot);
    assert!(again.info().ecn);

    let mut pair = Pair::established(refusing(), defaults());
    pair.filter = marking(&[1, 2, 3]);
    pair.write(CLIENT, &[1; 20 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.sent.iter().all(|sent| bits(sent) == (false, false)));
}
