//! What is sent again when something is lost, and how fast?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, Sent, defaults, parameters, path, rough};
use crate::tcp::{Error, Flags, Parameters, Segment, State};

const SMALL: Duration = Duration::from_millis(200);

/// Drops the data segments of the client with these numbers, counted from 1, retransmissions included.
fn dropping(numbers: &'static [usize]) -> Box<dyn FnMut(&Sent) -> Fate> {
    let mut count = 0;
    Box::new(move |sent| {
        if sent.by != CLIENT || sent.len() == 0 {
            return Fate::Deliver;
        }
        count += 1;
        if numbers.contains(&count) {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    })
}

fn again(pair: &Pair) -> Vec<u32> {
    let sent = pair.sent_by(CLIENT);
    let first = sent[0].segment.seq;
    let again = sent.iter().filter(|sent| sent.segment.retransmission);
    again
        .map(|sent| sent.segment.seq.wrapping_sub(first) / 1448)
        .collect()
}

fn plain() -> Parameters {
    parameters(|config, _| config.sack = false)
}

#[test]
fn with_sack_only_what_is_missing_comes_again_and_within_a_round_trip() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = dropping(&[2, 4, 5]);
    pair.write(CLIENT, &[1; 14_480]);
    let start = pair.now;
    pair.run_to(|pair| pair.ends[SERVER].received.len() == 14_480);
    assert_eq!(again(&pair), [1, 3, 4]);
    assert!(pair.now.since(start) <= Duration::from_millis(31));
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 0);
}

#[test]
fn without_sack_one_is_sent_again_per_round_trip() {
    let mut pair = Pair::established(plain(), plain());
    pair.filter = dropping(&[2, 4, 5]);
    pair.write(CLIENT, &[1; 14_480]);
    let start = pair.now;
    pair.run_to(|pair| pair.ends[SERVER].received.len() == 14_480);
    assert_eq!(again(&pair), [1, 3, 4]);
    assert!(pair.now.since(start) <= Duration::from_millis(71));
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 0);
}

#[test]
fn the_window_is_reduced_once_per_episode() {
    for parameters in [defaults(), plain()] {
        let mut pair = Pair::established(parameters.clone(), parameters);
        pair.filter = dropping(&[2, 4, 5]);
        pair.write(CLIENT, &[1; 14_480]);
        pair.run_for(SMALL);
        // CUBIC: 0.7 of ten segments, and what congestion avoidance added since.
        let cwnd = pair.tcb(CLIENT).info().cwnd / 1448;
        assert!((6..=8).contains(&cwnd), "{cwnd}");
    }
}

#[test]
fn two_duplicates_send_new_data_and_nothing_again() {
    // RFC 3042.
    for parameters in [defaults(), plain()] {
        let mut pair = Pair::established(parameters.clone(), parameters);
        pair.spacing = Duration::from_micros(10);
        let first = pair.tcb(CLIENT).our_wire(1);
        pair.filter = Box::new(move |sent| {
            // The second segment is overtaken by two others.
            if sent.len() > 0 && sent.segment.seq == first.wrapping_add(1448) {
                return Fate::Delay(Duration::from_micros(25));
            }
            Fate::Deliver
        });
        pair.write(CLIENT, &[1; 100_000]);
        pair.transmit();
        assert_eq!(pair.sent_by(CLIENT).len(), 10, "the initial window");
        pair.run_for(Duration::from_secs(1));
        assert_eq!(again(&pair), []);
        assert_eq!(pair.ends[SERVER].received.len(), 100_000);
        let duplicates = pair.sent_by(SERVER).into_iter();
        let gap = |sent: &Sent| sent.segment.ack == first.wrapping_add(1448);
        assert_eq!(
            duplicates.filter(gap).count(),
            3,
            "the ACK and two duplicates"
        );
    }
}

#[test]
fn a_lost_tail_waits_for_the_time_out_and_starts_slowly() {
    let unprobed = parameters(|config, _| config.tail_loss_probe = false);
    let mut pair = Pair::established(unprobed, defaults());
    pair.filter = dropping(&[9, 10]);
    pair.write(CLIENT, &[1; 14_480]);
    pair.run_for(Duration::from_millis(190));
    assert_eq!(again(&pair), []);
    pair.run_for(SMALL);
    assert_eq!(again(&pair), [8, 9]);
    let info = pair.tcb(CLIENT).info();
    assert_eq!((info.timeouts, info.retries), (1, 0));
    assert_eq!(pair.ends[SERVER].received.len(), 14_480);
}

#[test]
fn time_outs_back_off_and_give_up_after_a_quarter_of_an_hour() {
    let unprobed = parameters(|config, _| config.tail_loss_probe = false);
    let mut pair = Pair::established(unprobed, defaults());
    pair.filter = Box::new(|sent| {
        if sent.by == CLIENT {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.write(CLIENT, b"anybody?");
    let start = pair.now;
    pair.run_to(|pair| pair.states()[CLIENT] == State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::TimedOut));
    // Linux: 924.6 s with a minimal RTO of 200 ms; R2 is at least 100 s (SHLD-11).
    let lasted = pair.now.since(start).as_secs();
    assert!((920..1100).contains(&lasted), "{lasted}");
    let gaps: Vec<u64> = pair
        .sent
        .windows(2)
        .map(|two| two[1].at.since(two[0].at).as_millis() as u64)
        .collect();
    for two in gaps.windows(2) {
        assert!(two[1] == (2 * two[0]).min(120_000), "{gaps:?}");
    }
}

#[test]
fn the_user_time_out_is_kept() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(|_| Fate::Drop);
    let ten = Some(Duration::from_secs(10));
    pair.tcb(CLIENT).set_user_timeout(ten);
    pair.write(CLIENT, b"anybody?");
    pair.run_for(Duration::from_millis(9_990));
    assert_eq!(pair.states()[CLIENT], State::Established);
    pair.run_for(Duration::from_millis(20));
    assert_eq!(pair.error(CLIENT), Some(Error::TimedOut));
}

#[test]
fn a_time_out_that_was_unnecessary_is_undone() {
    // RFC 3522: the path stands still for 400 ms, nothing is lost.
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 50_000]);
    pair.run_for(SMALL);
    let before = pair.tcb(CLIENT).info().cwnd;
    let until = pair.now + Duration::from_millis(400);
    pair.filter = Box::new(move |sent| Fate::Delay(until.since(sent.at)));
    pair.write(CLIENT, &[2; 14_480]);
    pair.run_for(Duration::from_secs(1));
    let info = pair.tcb(CLIENT).info();
    assert!(info.timeouts >= 1);
    assert!(info.cwnd >= before, "{} < {before}", info.cwnd);
    assert_eq!(pair.ends[SERVER].received.len(), 64_480);
}

#[test]
fn a_receiver_that_reneges_gets_everything_again() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 1448 * 5]);
    pair.transmit();
    // The peer SACKs two to five, then forgets them, and acknowledges the first.
    let una = pair.tcb(CLIENT).our_wire(1);
    let ack = |pair: &mut Pair, ack: u32, sack: &[(u32, u32)]| {
        let mut segment: Segment = pair.forged(CLIENT);
        segment.ack = ack;
        segment.options.sack = sack.iter().copied().collect();
        pair.deliver(CLIENT, segment)
    };
    let second = una.wrapping_add(1448);
    ack(&mut pair, una, &[(second, una.wrapping_add(1448 * 5))]);
    ack(&mut pair, second, &[]);
    for end in &mut pair.ends {
        end.forget();
    }
    pair.sent.clear();
    pair.filter = Box::new(|_| Fate::Drop);
    // Sooner than the retransmission timer.
    pair.run_for(Duration::from_millis(20));
    assert!(
        pair.sent_by(CLIENT)
            .iter()
            .any(|sent| sent.segment.seq == second)
    );
    // Until it is acknowledged nothing was given away.
    assert_eq!(pair.tcb(CLIENT).info().send_queue_bytes, 1448 * 4);
}

#[test]
fn retransmissions_refer_to_the_same_memory() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = dropping(&[1]);
    pair.write(CLIENT, &[1; 14_480]);
    pair.run_for(SMALL);
    let sent = pair.sent_by(CLIENT);
    let again = sent
        .iter()
        .find(|sent| sent.segment.retransmission)
        .unwrap();
    let address = |sent: &Sent| sent.segment.payload[0].as_ptr();
    assert_eq!(address(&sent[0]), address(again));
}

/// A path that takes segments of 960 bytes, and says nothing about larger ones.
fn narrow(sent: &Sent) -> Fate {
    if sent.len() > 960 {
        Fate::Drop
    } else {
        Fate::Deliver
    }
}

#[test]
fn a_smaller_path_is_followed_without_a_smaller_window() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(narrow);
    pair.write(CLIENT, &[1; 14_480]);
    pair.transmit();
    let before = pair.tcb(CLIENT).info().cwnd;
    let now = pair.now;
    let seq = pair.sent_by(CLIENT)[0].segment.seq;
    let kind = crate::ip::ErrorKind::TooBig { mtu: 1000 };
    let smaller = path(1000, 1000);
    assert!(
        !pair
            .tcb(CLIENT)
            .on_icmp_error(now, kind, seq.wrapping_sub(1), &smaller)
    );
    assert!(pair.tcb(CLIENT).on_icmp_error(now, kind, seq, &smaller));
    pair.run_for(SMALL);
    assert_eq!(pair.ends[SERVER].received.len(), 14_480);
    let info = pair.tcb(CLIENT).info();
    assert_eq!((info.snd_mss, info.timeouts), (948, 0));
    assert!(info.cwnd >= before);
}

#[test]
fn a_black_hole_is_suspected_when_full_segments_vanish() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(narrow);
    pair.write(CLIENT, &[1; 14_480]);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.tcb(CLIENT).take_hints().black_hole);
    let now = pair.now;
    pair.tcb(CLIENT).on_path_change(now, &path(1000, 1000));
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.ends[SERVER].received.len(), 14_480);
}

#[test]
fn a_black_hole_that_was_left_by_too_small_a_step_is_suspected_again() {
    let mut pair = Pair::established(defaults(), defaults());
    // As large as what is left of a segment when what fits every path was cut from it.
    pair.filter = Box::new(narrow);
    pair.write(CLIENT, &[1; 14_480]);
    for step in [1280, 1000] {
        let mut suspected = false;
        let end = pair.now + Duration::from_secs(600);
        pair.run_until(end, |pair| {
            suspected |= pair.tcb(CLIENT).take_hints().black_hole;
            suspected
        });
        assert!(suspected, "before {step}");
        let now = pair.now;
        pair.tcb(CLIENT).on_path_change(now, &path(step, step));
    }
    pair.run_for(Duration::from_secs(300));
    assert_eq!(pair.ends[SERVER].received.len(), 14_480);
}

#[test]
fn the_tail_is_probed_with_no_more_than_the_path_carries_now() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(narrow);
    pair.write(CLIENT, &[1; 1448]);
    pair.transmit();
    let before = pair.sent_by(CLIENT).len();
    let now = pair.now;
    // Another connection found out.
    pair.tcb(CLIENT).on_path_change(now, &path(1000, 1000));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ends[SERVER].received.len(), 1448);
    let sent = pair.sent_by(CLIENT);
    assert!(sent.len() > before);
    for sent in &sent[before..] {
        assert!(sent.len() <= 948, "{} bytes", sent.len());
        assert_eq!(sent.segment.segment_bytes, None);
    }
}

#[test]
fn an_outage_is_no_black_hole() {
    for outage_s in [1, 5, 20, 100, 300] {
        let mut pair = Pair::established(defaults(), defaults());
        let up = pair.now + Duration::from_secs(outage_s);
        pair.filter = Box::new(move |sent| {
            if sent.at < up {
                Fate::Drop
            } else {
                Fate::Deliver
            }
        });
        pair.write(CLIENT, &[1; 100_000]);
        let mut suspected = false;
        let end = pair.now + Duration::from_secs(600);
        pair.run_until(end, |pair| {
            suspected |= pair.tcb(CLIENT).take_hints().black_hole;
            pair.ends[SERVER].received.len() == 100_000
        });
        assert_eq!(pair.ends[SERVER].received.len(), 100_000, "{outage_s} s");
        assert!(!suspected, "{outage_s} s");
    }
}

#[test]
fn icmp_errors_end_only_what_is_not_yet_established() {
    use crate::ip::ErrorKind::{PortUnreachable, Unreachable};
    let mut pair = Pair::new(defaults(), defaults());
    pair.open();
    pair.transmit();
    let (now, seq) = (pair.now, pair.ends[CLIENT].iss);
    let way = path(1500, 1500);
    assert!(
        pair.tcb(CLIENT)
            .on_icmp_error(now, Unreachable { code: 1 }, seq, &way)
    );
    assert_eq!(pair.states()[CLIENT], State::SynSent);
    assert!(
        pair.tcb(CLIENT)
            .on_icmp_error(now, PortUnreachable, seq, &way)
    );
    assert_eq!(pair.error(CLIENT), Some(Error::Refused));

    for (code, error) in [
        (9, Error::NetworkUnreachable),
        (10, Error::HostUnreachable),
        (13, Error::HostUnreachable),
    ] {
        let mut pair = Pair::new(defaults(), defaults());
        pair.open();
        pair.transmit();
        let (now, seq) = (pair.now, pair.ends[CLIENT].iss);
        let forbidden = Unreachable { code };
        assert!(
            pair.tcb(CLIENT)
                .on_icmp_error(now, forbidden, seq, &path(1500, 1500))
        );
        assert_eq!(pair.error(CLIENT), Some(error), "a filter does not go away");
    }

    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(|_| Fate::Drop);
    pair.write(CLIENT, b"data");
    pair.transmit();
    let (now, seq) = (pair.now, pair.sent_by(CLIENT)[0].segment.seq);
    for kind in [PortUnreachable, Unreachable { code: 1 }] {
        assert!(pair.tcb(CLIENT).on_icmp_error(now, kind, seq, &way));
    }
    assert_eq!(pair.states()[CLIENT], State::Established);
    // When it gives up at last, it says what the router said.
    pair.run_to(|pair| pair.states()[CLIENT] == State::Closed);
    assert_eq!(pair.error(CLIENT), Some(Error::HostUnreachable));
}

#[test]
fn goodput_at_one_percent_loss_and_20_ms_follows_the_window_and_not_the_time_outs() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.spacing = Duration::from_micros(120);
    pair.filter = rough(7, 1, 0, 0);
    let data = vec![1; 100_000];
    let end = pair.now + Duration::from_secs(60);
    pair.run_until(end, |pair| {
        pair.write(CLIENT, &data);
        pair.sent.clear();
        false
    });
    let megabits = pair.ends[SERVER].received.len() as f64 * 8.0 / 60e6;
    let timeouts = pair.tcb(CLIENT).info().timeouts;
    println!("{megabits:.2} Mbit/s, {timeouts} time-outs");
    // CUBIC in its Reno-friendly region: sqrt(3/2p) segments per round trip (RFC 9438 §4.3, RFC 3448).
    let expected = (1.5 / 0.01f64).sqrt() * 1448.0 * 8.0 / 0.02 / 1e6;
    assert!(megabits > 0.9 * expected, "{megabits} of {expected}");
    assert!(timeouts <= 20, "{timeouts}");
    assert!(pair.sent.iter().all(|sent| !sent.has(Flags::RST)));
}

#[test]
fn what_was_selectively_acknowledged_before_lets_the_window_grow_once() {
    let mut pair = Pair::established(defaults(), defaults());
    let first = pair.tcb(CLIENT).our_wire(1);
    pair.filter = Box::new(move |sent| {
        // The first segment comes after the next two, and everything else long after that.
        match sent.segment.seq.wrapping_sub(first) / 1448 {
            _ if sent.by == SERVER || sent.len() == 0 => Fate::Deliver,
            0 => Fate::Delay(Duration::from_millis(1)),
            1 | 2 => Fate::Deliver,
            _ => Fate::Delay(Duration::from_millis(50)),
        }
    });
    pair.write(CLIENT, &[1; 14_480]);
    let una = pair.tcb(CLIENT).snd.una;
    let cwnd = pair.tcb(CLIENT).info().cwnd;
    pair.run_to(|pair| pair.tcb(CLIENT).snd.una > una);
    assert_eq!(pair.tcb(CLIENT).snd.una, una + 3 * 1448);
    // Of the three, two were known to have arrived.
    assert_eq!(pair.tcb(CLIENT).info().cwnd, cwnd + 1448);
}

#[test]
fn how_far_and_how_often_the_path_reorders_can_be_asked() {
    let mut pair = Pair::established(defaults(), defaults());
    let first = pair.tcb(CLIENT).our_wire(1);
    pair.filter = Box::new(move |sent| {
        // The eighth comes at once, then the second, then the others.
        match sent.segment.seq.wrapping_sub(first) / 1448 {
            _ if sent.by == SERVER || sent.len() == 0 => Fate::Deliver,
            1 => Fate::Delay(Duration::from_millis(1)),
            2..7 => Fate::Delay(Duration::from_millis(2)),
            _ => Fate::Deliver,
        }
    });
    let info = pair.tcb(CLIENT).info();
    assert_eq!((info.reordering_segments, info.reordering_seen), (3, 0));
    pair.write(CLIENT, &[1; 8 * 1448]);
    pair.run_for(SMALL);
    // The second was behind the eighth: seven segments, from its beginning to the end of that. So were the others, which
    // one ACK tells.
    let info = pair.tcb(CLIENT).info();
    assert_eq!((info.reordering_segments, info.reordering_seen), (7, 2));
    assert_eq!(again(&pair), []);
}
