//! Are losses found by time, tails probed, and mistakes taken back (RFC 8985, RFC 2883, RFC 5682)?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, Sent, defaults, parameters};
use crate::tcp::{Flags, Parameters};

const SEGMENT: usize = 1448;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Numbers of the segments that the client sent again, counted from 0.
fn again(pair: &Pair) -> Vec<u32> {
    let sent = pair.sent_by(CLIENT);
    let first = sent[0].segment.seq;
    let again = sent.iter().filter(|sent| sent.segment.retransmission);
    again
        .map(|sent| sent.segment.seq.wrapping_sub(first) / SEGMENT as u32)
        .collect()
}

/// Does `fate` to the transmissions of the client's data with these numbers, counted from 0.
fn treating(numbers: &'static [usize], fate: Fate) -> Box<dyn FnMut(&Sent) -> Fate> {
    let mut count = 0;
    Box::new(move |sent| {
        let data = sent.by == CLIENT && sent.len() > 0;
        count += usize::from(data);
        if data && numbers.contains(&(count - 1)) {
            fate
        } else {
            Fate::Deliver
        }
    })
}

/// An established pair with a measured round trip of 20 ms and a window of at least `segments`.
fn warm(change: fn() -> Parameters, segments: usize) -> Pair {
    let mut pair = Pair::established(change(), change());
    pair.spacing = Duration::from_micros(100);
    while pair.tcb(CLIENT).info().cwnd < segments * SEGMENT {
        pair.write(CLIENT, &vec![0; 2 * segments * SEGMENT]);
        // Not so long that it counts as idle.
        pair.run_for(ms(150));
    }
    pair.sent.clear();
    pair.ends[SERVER].received.clear();
    pair
}

fn without_timestamps() -> Parameters {
    parameters(|config, _| config.timestamps = false)
}

fn all_there(pair: &mut Pair, segments: usize) {
    let len = segments * SEGMENT;
    pair.run_to(|pair| pair.ends[SERVER].received.len() >= len);
}

#[test]
fn a_retransmission_that_is_lost_too_is_sent_again_without_a_time_out() {
    let mut pair = warm(defaults, 30);
    // The third of thirty, and what comes 31st: that one again.
    pair.filter = treating(&[2, 30], Fate::Drop);
    let start = pair.now;
    pair.write(CLIENT, &[1; 80 * SEGMENT]);
    all_there(&mut pair, 80);
    let third = again(&pair).iter().filter(|&&number| number == 2).count();
    let lost_first: Vec<bool> = pair
        .sent_by(CLIENT)
        .iter()
        .map(|sent| sent.segment.retransmission)
        .collect();
    assert!(third >= 1, "{lost_first:?}");
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 0);
    assert!(
        pair.now.since(start) < ms(190),
        "{:?}",
        pair.now.since(start)
    );
}

#[test]
fn the_same_segment_lost_three_times_is_still_repaired_by_time() {
    // A window that goes on in spite of the gap: something has to be sent later to tell.
    let wide = || parameters(|_, options| options.receive_buffer_bytes = Some(1 << 20));
    let mut pair = warm(wide, 30);
    let mut left = 3;
    let third = pair.tcb(CLIENT).send_queue.end() + 2 * SEGMENT as u64;
    let seq = pair.tcb(CLIENT).our_wire(third);
    pair.filter = Box::new(move |sent| {
        if sent.by == CLIENT && sent.segment.seq == seq && left > 0 {
            left -= 1;
            return Fate::Drop;
        }
        Fate::Deliver
    });
    pair.write(CLIENT, &[1; 170 * SEGMENT]);
    all_there(&mut pair, 170);
    assert_eq!(again(&pair), [2, 2, 2]);
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 0);
}

#[test]
fn a_lost_tail_is_probed_after_two_round_trips() {
    let mut pair = warm(defaults, 10);
    pair.filter = treating(&[8, 9], Fate::Drop);
    let start = pair.now;
    pair.write(CLIENT, &[1; 10 * SEGMENT]);
    all_there(&mut pair, 10);
    // The last one is the probe; its SACK finds the one before lost.
    assert_eq!(again(&pair), [9, 8]);
    let info = pair.tcb(CLIENT).info();
    assert_eq!(info.timeouts, 0);
    // An ACK of the eighth after 21 ms, 2 * SRTT + 2 ms, a round trip, a quarter of one, half of one.
    assert!(
        pair.now.since(start) < ms(110),
        "{:?}",
        pair.now.since(start)
    );
}

#[test]
fn without_probes_a_lost_tail_waits_for_the_retransmission_timer() {
    let mut pair = warm(
        || parameters(|config, _| config.tail_loss_probe = false),
        10,
    );
    pair.filter = treating(&[8, 9], Fate::Drop);
    pair.write(CLIENT, &[1; 10 * SEGMENT]);
    all_there(&mut pair, 10);
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 1);
}

#[test]
fn a_probe_is_new_data_if_there_is_some_whatever_the_window_says() {
    let mut pair = warm(defaults, 10);
    let cwnd = pair.tcb(CLIENT).info().cwnd / SEGMENT;
    // A whole window is lost, ACKs too: nothing tells.
    pair.filter = Box::new(|_| Fate::Drop);
    pair.write(CLIENT, &vec![1; (cwnd + 5) * SEGMENT]);
    pair.run_for(ms(60));
    let sent = pair.sent_by(CLIENT);
    assert_eq!(sent.len(), cwnd + 1);
    assert!(sent.iter().all(|sent| !sent.segment.retransmission));
    // One probe, and then the retransmission timer, counted from the probe.
    pair.run_for(ms(180));
    assert_eq!(pair.sent_by(CLIENT).len(), cwnd + 1);
    pair.run_for(ms(60));
    assert_eq!(pair.tcb(CLIENT).info().timeouts, 1);
}

#[test]
fn a_probe_that_repairs_the_loss_reduces_the_window_and_one_in_vain_does_not() {
    for lost in [true, false] {
        let mut pair = warm(without_timestamps, 10);
        let before = pair.tcb(CLIENT).info();
        if lost {
            pair.filter = treating(&[9], Fate::Drop);
        } else {
            // Only the ACKs are late.
            let until = pair.now + ms(110);
            pair.filter = Box::new(move |sent| {
                if sent.by == SERVER {
                    Fate::Delay(until.since(sent.at))
                } else {
                    Fate::Deliver
                }
            });
        }
        pair.write(CLIENT, &[1; 10 * SEGMENT]);
        pair.run_for(ms(300));
        assert_eq!(again(&pair), [9]);
        pair.filter = Box::new(|_| Fate::Deliver);
        pair.write(CLIENT, &[1; 2 * SEGMENT]);
        pair.run_for(ms(100));
        let info = pair.tcb(CLIENT).info();
        assert_eq!(info.timeouts, 0);
        assert_eq!(info.ssthresh < before.ssthresh, lost, "{info:?}");
    }
}

#[test]
fn what_is_reordered_by_less_than_a_quarter_of_a_round_trip_is_not_sent_again() {
    let mut pair = warm(defaults, 40);
    // The first time three duplicates are enough, and teach that this path reorders.
    pair.filter = treating(&[3], Fate::Delay(Duration::from_micros(900)));
    pair.write(CLIENT, &[1; 40 * SEGMENT]);
    pair.run_for(ms(200));
    assert_eq!(again(&pair), [3]);
    pair.sent.clear();
    pair.filter = treating(&[3, 14, 25], Fate::Delay(Duration::from_micros(2_500)));
    pair.write(CLIENT, &[1; 40 * SEGMENT]);
    pair.run_for(ms(200));
    assert_eq!(again(&pair), []);
}

#[test]
fn a_report_of_duplicates_takes_a_fast_retransmit_back() {
    // Without timestamps only DSACK tells.
    let mut pair = warm(without_timestamps, 40);
    let before = pair.tcb(CLIENT).info();
    pair.filter = treating(&[3], Fate::Delay(ms(3)));
    pair.write(CLIENT, &[1; 40 * SEGMENT]);
    pair.run_for(ms(200));
    assert_eq!(again(&pair), [3]);
    let reports = pair.sent_by(SERVER).into_iter().filter(|sent| {
        let sack = &sent.segment.options.sack;
        sack.first()
            .is_some_and(|block| (block.1.wrapping_sub(sent.segment.ack) as i32) <= 0)
    });
    assert_eq!(reports.count(), 1, "the receiver's DSACK (RFC 2883 §4)");
    let info = pair.tcb(CLIENT).info();
    assert!(info.cwnd >= before.cwnd, "{} < {}", info.cwnd, before.cwnd);
    assert_eq!(info.ssthresh, before.ssthresh);
}

#[test]
fn a_spurious_time_out_is_found_by_new_data_without_timestamps() {
    // RFC 5682: the path stands still for 500 ms, nothing is lost.
    let mut pair = warm(without_timestamps, 20);
    pair.spacing = Duration::ZERO;
    let before = pair.tcb(CLIENT).info();
    let until = pair.now + ms(500);
    pair.filter = Box::new(move |sent| Fate::Delay(until.since(sent.at)));
    pair.write(CLIENT, &[1; 60 * SEGMENT]);
    all_there(&mut pair, 60);
    pair.run_for(ms(100));
    let info = pair.tcb(CLIENT).info();
    assert!(info.timeouts >= 1);
    assert!(info.cwnd >= before.cwnd, "{} < {}", info.cwnd, before.cwnd);
    // The tail probe or its successor, and the first segment; not the window.
    assert!(again(&pair).len() <= 3, "{:?}", again(&pair));
}

#[test]
fn a_real_time_out_is_not_mistaken_for_a_spurious_one() {
    let mut pair = warm(without_timestamps, 20);
    let before = pair.tcb(CLIENT).info();
    let until = pair.now + ms(100);
    pair.filter = Box::new(move |sent| {
        if sent.at < until {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.write(CLIENT, &[1; 60 * SEGMENT]);
    all_there(&mut pair, 60);
    let info = pair.tcb(CLIENT).info();
    assert_eq!(info.timeouts, 1);
    assert!(info.ssthresh < before.cwnd, "{info:?}");
}

#[test]
fn while_the_window_shrinks_sending_goes_on_without_pause_or_burst() {
    for sack in [true, false] {
        let parameters = parameters(|config, _| config.sack = sack);
        let mut pair = Pair::established(parameters.clone(), parameters);
        pair.spacing = Duration::from_micros(500);
        pair.filter = treating(&[12], Fate::Drop);
        pair.write(CLIENT, &[1; 120 * SEGMENT]);
        pair.run_to(|pair| pair.tcb(CLIENT).info().retransmitted_segments > 0);
        let began = pair.now;
        let lost_at = pair.sent.len() - 1;
        all_there(&mut pair, 120);
        // While it lasts an ACK releases one segment at most (two where it also catches up), and no ACK
        // of two leaves both unanswered.
        let during: Vec<Sent> = pair.sent[lost_at..]
            .iter()
            .filter(|sent| sent.by == CLIENT && sent.len() > 0 && sent.at.since(began) < ms(7))
            .cloned()
            .collect();
        assert!(during.len() >= 8, "{} in seven milliseconds", during.len());
        for three in during.windows(3) {
            assert!(three[0].at < three[2].at, "a burst at {:?}", three[0].at);
        }
        for two in during.windows(2) {
            let pause = two[1].at.since(two[0].at);
            assert!(pause <= ms(5), "a pause of {pause:?}");
        }
        assert_eq!(pair.tcb(CLIENT).info().timeouts, 0);
        assert!(pair.sent.iter().all(|sent| !sent.has(Flags::RST)));
    }
}
