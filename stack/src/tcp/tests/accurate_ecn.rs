//! Accurate ECN feedback (RFC 9768): who gets it, and what it says.

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, Sent, defaults, parameters, path};
use crate::tcp::config::Ecn;
use crate::tcp::{Flags, Parameters, State, Tcb};

const SEGMENT: usize = 1448;
const ECT0: u8 = 2;

fn with(ecn: Ecn) -> Parameters {
    parameters(|config, _| config.ecn = ecn)
}

/// AE, CWR and ECE as a number.
fn ace(sent: &Sent) -> u8 {
    u8::from(sent.segment.ae) << 2
        | u8::from(sent.has(Flags::CWR)) << 1
        | u8::from(sent.has(Flags::ECE))
}

/// ACE of SYN, SYN-ACK and ACK, and whether ECN and its accurate feedback are on at both sides.
fn handshake(client: Ecn, server: Ecn) -> ([u8; 3], [(bool, bool); 2]) {
    let mut pair = Pair::new(with(client), with(server));
    pair.open();
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Established; 2]);
    let said = [0, 1, 2].map(|at| ace(&pair.sent[at]));
    let on = [CLIENT, SERVER].map(|side| {
        let info = pair.tcb(side).info();
        (info.ecn, info.accurate_ecn)
    });
    (said, on)
}

#[test]
fn both_sides_agree_on_the_best_that_both_know() {
    let none = [(false, false); 2];
    let classic = [(true, false); 2];
    let accurate = [(true, true); 2];
    for (client, server, said, on) in [
        (Ecn::Accurate, Ecn::Passive, [0b111, 0b010, 0b010], accurate),
        (
            Ecn::Accurate,
            Ecn::Accurate,
            [0b111, 0b010, 0b010],
            accurate,
        ),
        (Ecn::Accurate, Ecn::Off, [0b111, 0b000, 0b000], none),
        (Ecn::Active, Ecn::Accurate, [0b011, 0b001, 0b000], classic),
        (Ecn::Passive, Ecn::Accurate, [0b000, 0b000, 0b000], none),
    ] {
        assert_eq!(
            handshake(client, server),
            (said, on),
            "{client:?} {server:?}"
        );
    }
}

/// The client asks for accurate feedback and gets this ACE in the SYN-ACK: is ECN on, is it accurate, is data capable?
fn answered(bits: u8) -> (bool, bool, bool) {
    let mut pair = Pair::new(with(Ecn::Accurate), defaults());
    pair.filter = Box::new(|sent| {
        if sent.by == SERVER {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.open();
    pair.transmit();
    let mut answer = pair.forged(CLIENT);
    answer.seq = 77;
    answer.ack = pair.ends[CLIENT].iss.wrapping_add(1);
    answer.flags = Flags::SYN.with(Flags::ACK);
    answer.ae = bits & 4 != 0;
    for (bit, flag) in [(2, Flags::CWR), (1, Flags::ECE)] {
        if bits & bit != 0 {
            answer.flags = answer.flags.with(flag);
        }
    }
    answer.options.mss = Some(1460);
    pair.deliver(CLIENT, answer);
    pair.sent.clear();
    pair.write(CLIENT, &[1; 400]);
    pair.transmit();
    let info = pair.tcb(CLIENT).info();
    let capable = pair.sent.iter().any(|sent| sent.segment.ecn == ECT0);
    (info.ecn, info.accurate_ecn, capable)
}

#[test]
fn every_answer_of_table_2_is_understood() {
    let (none, classic) = ((false, false, false), (true, false, true));
    let accurate = (true, true, true);
    // A SYN that was not capable of ECN cannot arrive as if it were: the feedback is on, data is not capable.
    let mangled = (true, true, false);
    let answers = [
        (0b000, none),
        (0b001, classic),
        (0b010, accurate),
        (0b011, mangled),
        (0b100, mangled),
        (0b101, classic),
        (0b110, mangled),
        (0b111, none),
    ];
    for (bits, expected) in answers {
        assert_eq!(answered(bits), expected, "{bits:03b}");
    }
}

#[test]
fn a_syn_reflects_how_it_arrived_and_combinations_of_the_future_ask_too() {
    for (ecn, bits, reflected) in [
        (0, 0b111, 0b010),
        (1, 0b111, 0b011),
        (2, 0b111, 0b100),
        (3, 0b111, 0b110),
        (0, 0b100, 0b010),
        (0, 0b101, 0b010),
        (0, 0b011, 0b001),
        (0, 0b000, 0b000),
    ] {
        let mut pair = Pair::new(defaults(), defaults());
        pair.open();
        let mut syn = crate::tcp::Segment {
            seq: 500,
            flags: Flags::SYN,
            ae: bits & 4 != 0,
            window: 1000,
            ecn,
            ..crate::tcp::Segment::default()
        };
        for (bit, flag) in [(2, Flags::CWR), (1, Flags::ECE)] {
            if bits & bit != 0 {
                syn.flags = syn.flags.with(flag);
            }
        }
        let mut server = Tcb::accept(defaults(), pair.now, 9, &syn);
        let answer = server.poll_transmit(pair.now).expect("a SYN-ACK");
        let sent = Sent {
            at: pair.now,
            by: SERVER,
            segment: answer,
        };
        assert_eq!(ace(&sent), reflected, "{ecn} {bits:03b}");
    }
}

fn accurate_pair() -> Pair {
    Pair::established(with(Ecn::Accurate), defaults())
}

/// Marks every so manieth segment of the client's data.
fn marking_every(interval: u32) -> Box<dyn FnMut(&Sent) -> Fate> {
    let mut count = 0;
    Box::new(move |sent| {
        let data = sent.by == CLIENT && sent.len() > 0;
        count += u32::from(data);
        if data && count % interval == 0 {
            Fate::Mark
        } else {
            Fate::Deliver
        }
    })
}

#[test]
fn every_mark_is_told_of_though_the_count_wraps() {
    let mut pair = accurate_pair();
    pair.spacing = Duration::from_micros(100);
    pair.filter = marking_every(5);
    pair.write(CLIENT, &[1; 150 * SEGMENT]);
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ends[SERVER].received.len(), 150 * SEGMENT);
    let (sender, receiver) = (pair.tcb(CLIENT).info(), pair.tcb(SERVER).info());
    assert_eq!(receiver.received_marks, 30);
    // The last ones may be acknowledged together with everything.
    assert!(
        (29..=30).contains(&sender.delivered_marks),
        "{}",
        sender.delivered_marks
    );
    assert_eq!(sender.retransmitted_segments, 0);
    assert!(sender.ssthresh < usize::MAX, "the window was reduced");
    let options = pair.sent_by(SERVER);
    let told = options
        .iter()
        .filter_map(|sent| sent.segment.options.accurate_ecn.ce)
        .max();
    assert_eq!(told, Some(30 * SEGMENT as u32));
}

#[test]
fn without_marks_nothing_is_reduced_and_the_option_is_rare() {
    let mut pair = accurate_pair();
    pair.spacing = Duration::from_micros(100);
    pair.write(CLIENT, &[1; 150 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    let info = pair.tcb(CLIENT).info();
    assert_eq!((info.delivered_marks, info.ssthresh), (0, usize::MAX));
    let acks = pair.sent_by(SERVER);
    let with = acks
        .iter()
        .filter(|sent| sent.segment.options.accurate_ecn.ce.is_some())
        .count();
    assert!(
        with > 2 && with * 4 < acks.len(),
        "{with} of {}",
        acks.len()
    );
}

#[test]
fn a_field_that_is_zeroed_on_the_way_stops_the_sender_from_being_capable() {
    let mut pair = Pair::new(with(Ecn::Accurate), defaults());
    pair.open();
    pair.run_for(Duration::from_millis(12));
    // The client's ACK gets lost; what comes in its place has no bits.
    pair.filter = Box::new(|sent| {
        if sent.by == CLIENT {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.run_for(Duration::from_millis(30));
    assert_eq!(pair.states()[SERVER], State::SynReceived);
    let mut ack = pair.forged(SERVER);
    ack.ack = pair.ends[SERVER].iss.wrapping_add(1);
    pair.deliver(SERVER, ack);
    assert_eq!(pair.states()[SERVER], State::Established);
    pair.sent.clear();
    pair.write(SERVER, &[1; 400]);
    pair.transmit();
    let data: Vec<Sent> = pair
        .sent_by(SERVER)
        .into_iter()
        .filter(|it| it.len() > 0)
        .collect();
    assert!(!data.is_empty() && data.iter().all(|sent| sent.segment.ecn == 0));
    assert!(pair.tcb(SERVER).info().accurate_ecn);
}

#[test]
fn a_device_that_would_clear_cwr_is_given_whole_segments() {
    let cutting = Parameters {
        path: path(1500, 65_535),
        ..with(Ecn::Accurate)
    };
    let mut pair = Pair::established(cutting, defaults());
    pair.write(CLIENT, &[1; 20 * SEGMENT]);
    pair.run_for(Duration::from_millis(100));
    assert!(pair.sent_by(CLIENT).iter().any(|sent| sent.len() > SEGMENT));
    // One mark: the count is 6, which has CWR's bit.
    let mut marked = false;
    pair.filter = Box::new(move |sent| {
        let mark = sent.by == SERVER && sent.len() > 0 && !std::mem::replace(&mut marked, true);
        if mark { Fate::Mark } else { Fate::Deliver }
    });
    pair.write(SERVER, &[1; 400]);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.tcb(CLIENT).info().received_marks, 1);
    pair.sent.clear();
    pair.write(CLIENT, &[1; 20 * SEGMENT]);
    pair.run_for(Duration::from_millis(100));
    let data = pair.sent_by(CLIENT);
    assert!(
        data.iter()
            .all(|sent| sent.len() <= SEGMENT && ace(sent) == 6)
    );
}

#[test]
fn accurate_feedback_survives_on_another_host() {
    let mut pair = accurate_pair();
    pair.filter = marking_every(3);
    pair.write(CLIENT, &[1; 30 * SEGMENT]);
    pair.run_for(Duration::from_millis(300));
    let now = pair.now;
    let snapshot = pair.tcb(SERVER).export().expect("established");
    assert!(snapshot.record.accurate_ecn);
    pair.ends[SERVER].tcb = Some(Tcb::from_snapshot(defaults(), now, snapshot));
    assert!(pair.tcb(SERVER).info().accurate_ecn && pair.tcb(SERVER).info().ecn);
    pair.filter = Box::new(|_| Fate::Deliver);
    pair.write(SERVER, &[1; 30 * SEGMENT]);
    pair.write(CLIENT, &[1; 30 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].received.len(), 60 * SEGMENT);
    assert_eq!(pair.ends[CLIENT].received.len(), 30 * SEGMENT);
    // What the client says is believed from here on, not taken for marks.
    assert_eq!(pair.tcb(SERVER).info().delivered_marks, 0);
}
