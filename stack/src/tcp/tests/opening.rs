//! How do connections open, and how do they fail to?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters};
use crate::counters::Counter;
use crate::tcp::{Arrival, Error, Flags, Segment, State, Tcb};

#[test]
fn the_handshake_offers_and_agrees_on_every_option() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.run_for(Duration::from_millis(100));
    let [syn, syn_ack, ack] = &pair.sent[..] else {
        panic!("{} segments", pair.sent.len())
    };
    assert_eq!(syn.segment.flags, Flags::SYN);
    assert_eq!(syn_ack.segment.flags, Flags::SYN.with(Flags::ACK));
    assert_eq!(ack.segment.flags, Flags::ACK);
    for sent in [syn, syn_ack] {
        let options = &sent.segment.options;
        assert_eq!((options.mss, options.window_scale), (Some(1460), Some(7)));
        assert!(options.sack_permitted && options.timestamps.is_some());
    }
    // Not scaled (RFC 7323 §2.2), and whole segments: with timestamps, once it is known that there are any.
    assert_eq!(syn.segment.window, 64_240);
    assert_eq!(syn_ack.segment.window, 65_160);
    assert_eq!(syn.segment.options.timestamps.unwrap().1, 0);
    let echo = syn_ack.segment.options.timestamps.unwrap().1;
    assert_eq!(echo, syn.segment.options.timestamps.unwrap().0);
    // MSS only on SYN (MUST-65).
    assert_eq!(
        (ack.segment.options.mss, ack.segment.options.window_scale),
        (None, None)
    );
    let info = pair.tcb(CLIENT).info();
    assert!(info.sack && info.timestamps);
    assert_eq!((info.snd_mss, info.window_scales), (1448, (7, 7)));
    assert_eq!(info.rtt, Some(Duration::from_millis(20)));
}

#[test]
fn what_one_side_does_not_offer_is_not_used() {
    let plain = parameters(|config, _| {
        config.sack = false;
        config.timestamps = false;
        config.window_scaling = false;
    });
    for sides in [[plain.clone(), defaults()], [defaults(), plain]] {
        let [client, server] = sides;
        let mut pair = Pair::established(client, server);
        for side in [CLIENT, SERVER] {
            let info = pair.tcb(side).info();
            assert!(!info.sack && !info.timestamps);
            assert_eq!((info.snd_mss, info.window_scales), (1460, (0, 0)));
        }
    }
}

#[test]
fn without_an_mss_option_the_default_holds() {
    let mut pair = Pair::new(defaults(), defaults());
    let (now, iss) = (pair.now, pair.ends[SERVER].iss);
    let syn = Segment {
        flags: Flags::SYN,
        window: 20_000,
        ..Segment::default()
    };
    let mut tcb = Tcb::accept(pair.ends[SERVER].parameters.clone(), now, iss, &syn);
    let syn_ack = tcb.poll_transmit(now).unwrap();
    assert_eq!(tcb.info().snd_mss, 536);
    let options = &syn_ack.options;
    assert!(!options.sack_permitted && options.timestamps.is_none());
    assert_eq!(options.window_scale, None);
    pair.ends[SERVER].tcb = Some(tcb);
}

#[test]
fn both_may_open_at_once() {
    let mut pair = Pair::new(defaults(), defaults());
    for side in [CLIENT, SERVER] {
        let end = &mut pair.ends[side];
        end.tcb = Some(Tcb::connect(end.parameters.clone(), pair.now, end.iss));
    }
    pair.run_for(Duration::from_millis(15));
    assert_eq!(pair.states(), [State::SynReceived; 2]);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.states(), [State::Established; 2]);
    pair.write(CLIENT, b"one");
    pair.write(SERVER, b"two");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.ends[SERVER].received, b"one");
    assert_eq!(pair.ends[CLIENT].received, b"two");
    assert!(pair.sent.iter().all(|sent| !sent.has(Flags::RST)));
}

#[test]
fn lost_syns_come_again_and_the_window_starts_small() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    let mut dropped = 0;
    pair.filter = Box::new(move |sent| {
        dropped += usize::from(sent.by == CLIENT);
        if dropped <= 2 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    let start = pair.now;
    pair.run_to(|pair| pair.states() == [State::Established; 2]);
    let syns: Vec<u128> = pair
        .sent_by(CLIENT)
        .iter()
        .filter(|sent| sent.has(Flags::SYN))
        .map(|sent| sent.at.since(start).as_millis())
        .collect();
    assert_eq!(syns, [0, 1000, 3000]);
    assert_eq!(pair.tcb(CLIENT).info().cwnd, 1448, "RFC 5681 3.1");
}

#[test]
fn a_lost_syn_ack_comes_again_for_a_repeated_syn() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.by == SERVER);
        if sent.by == SERVER && count == 1 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn nobody_answers_for_three_minutes_at_least() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.filter = Box::new(|_| Fate::Drop);
    // MUST-23: R2 for a SYN is at least 3 minutes.
    let start = pair.now;
    pair.run_to(|pair| pair.states()[CLIENT] == State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::TimedOut));
    let lasted = pair.now.since(start);
    assert!(lasted >= Duration::from_secs(180), "{lasted:?}");
}

#[test]
fn a_rst_that_acknowledges_the_syn_refuses() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.transmit();
    let iss = pair.ends[CLIENT].iss;
    let reset = |ack| Segment {
        ack,
        flags: Flags::RST.with(Flags::ACK),
        ..Segment::default()
    };
    assert_eq!(
        pair.deliver(CLIENT, reset(iss.wrapping_add(2))),
        Arrival::Dropped(Counter::TcpDropState)
    );
    assert_eq!(pair.states()[CLIENT], State::SynSent);
    pair.deliver(CLIENT, reset(iss.wrapping_add(1)));
    assert_eq!(pair.states()[CLIENT], State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::Refused));
}

#[test]
fn an_ack_of_nothing_that_was_sent_is_refused() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.transmit();
    pair.sent.clear();
    let odd = Segment {
        ack: 77,
        flags: Flags::ACK.with(Flags::SYN),
        ..Segment::default()
    };
    pair.deliver(CLIENT, odd);
    pair.transmit();
    // <SEQ=SEG.ACK><CTL=RST>, and still SYN-SENT.
    assert_eq!(pair.sent.len(), 1);
    assert_eq!(
        (pair.sent[0].segment.seq, pair.sent[0].segment.flags),
        (77, Flags::RST)
    );
    assert_eq!(pair.states()[CLIENT], State::SynSent);
}

#[test]
fn data_written_before_the_handshake_is_over_follows_it() {
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.write(CLIENT, b"early");
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.ends[SERVER].received, b"early");
    assert!(pair.at_end(SERVER));
    assert_eq!(pair.states(), [State::FinWait2, State::CloseWait]);
}

#[test]
fn over_ipv6_the_segment_sizes_are_those_of_ipv6() {
    let mut over_ipv6 = defaults();
    over_ipv6.path.source = "2001:db8::1".parse().unwrap();
    let mut pair = Pair::new(over_ipv6.clone(), over_ipv6.clone());
    pair.open();
    pair.transmit();
    assert_eq!(pair.sent[0].segment.options.mss, Some(1440));
    let syn = Segment {
        flags: Flags::SYN,
        window: 20_000,
        ..Segment::default()
    };
    let tcb = Tcb::accept(over_ipv6, pair.now, 1, &syn);
    assert_eq!(tcb.info().snd_mss, 1220, "MUST-15");
}
