//! Do segments leave spread over time when they are to, and does BBR find what the path carries?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, Sent, defaults, parameters};
use crate::tcp::config::Ecn;
use crate::tcp::{Algorithm, Parameters};
use crate::time::Instant;

const SEGMENT: usize = 1448;

fn paced(most: Option<u64>) -> Parameters {
    parameters(|_, options| {
        options.pacing = true;
        options.max_pacing_rate = most;
    })
}

fn bbr() -> Parameters {
    parameters(|_, options| options.algorithm = Algorithm::Bbr)
}

/// The largest number of segments with data that the client sent at the same instant, after the first `skip`.
fn largest_burst(pair: &Pair, skip: usize) -> usize {
    let sent = pair.sent_by(CLIENT).into_iter();
    let data: Vec<Sent> = sent.filter(|sent| sent.len() > 0).skip(skip).collect();
    let same = |a: &Sent, b: &Sent| a.at == b.at;
    data.chunk_by(same).map(<[Sent]>::len).max().unwrap_or(0)
}

/// A connection of BBR over a bottleneck of a megabyte and a half a second, 20 ms long.
fn bbr_at_a_bottleneck() -> Pair {
    let mut pair = Pair::established(bbr(), defaults());
    pair.spacing = Duration::from_millis(1);
    pair
}

/// Transfers for that time; `each` sees every moment. Returns the bytes that arrived.
fn transfer(pair: &mut Pair, time: Duration, mut each: impl FnMut(&mut Pair)) -> usize {
    let piece = vec![1; 256 << 10];
    let end = pair.now + time;
    let before = pair.ends[SERVER].received.len();
    pair.run_until(end, |pair| {
        pair.write(CLIENT, &piece);
        each(pair);
        pair.sent.clear();
        false
    });
    pair.ends[SERVER].received.len() - before
}

#[test]
fn a_window_leaves_in_bursts_only_without_pacing() {
    for (parameters, spread) in [(defaults(), false), (paced(None), true)] {
        let mut pair = Pair::established(parameters, defaults());
        pair.write(CLIENT, &[1; 100 * SEGMENT]);
        pair.run_for(Duration::from_millis(300));
        assert_eq!(pair.ends[SERVER].received.len(), 100 * SEGMENT);
        let burst = largest_burst(&pair, 10);
        // At the end 80 segments are in flight, and leave within 10 ms.
        assert_eq!(burst <= 8, spread, "{burst}");
        assert!(spread || pair.tcb(CLIENT).pacer().is_none());
    }
}

#[test]
fn a_device_that_cuts_gets_what_a_millisecond_takes() {
    let rate = 20_000_000;
    let parameters = Parameters {
        path: super::pair::path(1500, 65_535),
        ..paced(Some(rate))
    };
    let mut pair = Pair::established(parameters, defaults());
    pair.run_for(Duration::from_millis(10));
    transfer(&mut pair, Duration::from_secs(1), |_| {});
    let end = pair.now + Duration::from_millis(200);
    pair.run_until(end, |pair| {
        pair.write(CLIENT, &[1; 256 << 10]);
        false
    });
    let largest = pair.sent_by(CLIENT).iter().map(Sent::len).max().unwrap();
    let quantum = rate as usize / 1024;
    assert!(
        (quantum - SEGMENT..=quantum).contains(&largest),
        "{largest}"
    );
}

#[test]
fn the_highest_rate_is_kept_while_every_segment_is_acknowledged_before_the_next() {
    // Two segments take 290 ms, a round trip 20.
    let mut pair = Pair::established(paced(Some(10_000)), defaults());
    let bytes = transfer(&mut pair, Duration::from_secs(30), |_| {});
    // The first ten segments leave at once.
    let rate = (bytes - 10 * SEGMENT) / 30;
    assert!((9_000..=10_200).contains(&rate), "{rate}");
}

#[test]
fn an_idle_connection_keeps_no_pacer() {
    let mut pair = Pair::established(paced(Some(1_000_000)), defaults());
    pair.write(CLIENT, &[1; 100 * SEGMENT]);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].received.len(), 100 * SEGMENT);
    assert!(pair.tcb(CLIENT).pacer().is_none());
    assert!(pair.tcb(CLIENT).next_deadline().is_none());
}

#[test]
fn what_is_sent_again_is_paced_too() {
    let mut pair = Pair::established(paced(None), defaults());
    let mut lost = 0;
    pair.filter = Box::new(move |sent| {
        let drop = sent.len() > 0 && !sent.segment.retransmission && lost < 40;
        lost += u32::from(sent.len() > 0);
        if drop && lost > 20 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.write(CLIENT, &[1; 150 * SEGMENT]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ends[SERVER].received.len(), 150 * SEGMENT);
    assert!(largest_burst(&pair, 10) <= 10);
}

#[test]
fn bbr_fills_the_bottleneck_and_not_the_queue() {
    let mut pair = bbr_at_a_bottleneck();
    let bytes = transfer(&mut pair, Duration::from_secs(10), |_| {});
    assert!(bytes > 9_000 * SEGMENT, "{}", bytes / SEGMENT);
    // The path holds 20 segments; the queue has no end.
    let info = pair.tcb(CLIENT).info();
    assert!(info.cwnd <= 60 * SEGMENT, "{}", info.cwnd / SEGMENT);
    assert!(info.rtt < Some(Duration::from_millis(45)), "{:?}", info.rtt);
}

#[test]
fn bbr_empties_the_queue_every_five_seconds_for_a_fifth_of_one() {
    let mut pair = bbr_at_a_bottleneck();
    let mut little: Vec<Instant> = Vec::new();
    transfer(&mut pair, Duration::from_secs(23), |pair| {
        let cwnd = pair.tcb(CLIENT).info().cwnd;
        if cwnd <= 12 * SEGMENT && pair.now > Instant::from_millis(12_000) {
            little.push(pair.now);
        }
    });
    let apart = |a: &Instant, b: &Instant| b.since(*a) < Duration::from_secs(1);
    let times: Vec<&[Instant]> = little.chunk_by(apart).collect();
    assert!((3..=5).contains(&times.len()), "{}", times.len());
    for time in &times {
        let lasted = time[time.len() - 1].since(time[0]);
        let range = Duration::from_millis(150)..Duration::from_millis(400);
        assert!(range.contains(&lasted), "{lasted:?}");
    }
    for two in times.windows(2) {
        let apart = two[1][0].since(two[0][0]);
        assert!(apart >= Duration::from_secs(5), "{apart:?}");
    }
}

#[test]
fn an_application_that_sends_little_does_not_teach_bbr_that_the_path_is_slow() {
    let mut pair = bbr_at_a_bottleneck();
    transfer(&mut pair, Duration::from_secs(3), |_| {});
    pair.run_for(Duration::from_secs(2));
    let rate = |pair: &mut Pair| pair.tcb(CLIENT).info().pacing_rate.unwrap();
    let before = rate(&mut pair);
    for _ in 0..150 {
        pair.write(CLIENT, &[1; SEGMENT]);
        pair.run_for(Duration::from_millis(20));
    }
    assert!(
        rate(&mut pair) > before * 7 / 10,
        "{before} {}",
        rate(&mut pair)
    );
    // And after a pause it goes on at that rate, not in one burst.
    pair.run_for(Duration::from_secs(3));
    pair.sent.clear();
    pair.write(CLIENT, &[1; 40 * SEGMENT]);
    pair.run_for(Duration::from_millis(300));
    assert!(largest_burst(&pair, 0) <= 3, "{}", largest_burst(&pair, 0));
}

#[test]
fn bbr_notices_that_the_path_has_become_faster_or_slower() {
    let mut pair = bbr_at_a_bottleneck();
    transfer(&mut pair, Duration::from_secs(5), |_| {});
    pair.spacing = Duration::from_micros(250);
    transfer(&mut pair, Duration::from_secs(5), |_| {});
    let bytes = transfer(&mut pair, Duration::from_secs(5), |_| {});
    assert!(bytes > 17_000 * SEGMENT, "{}", bytes / SEGMENT);
    pair.spacing = Duration::from_micros(500);
    transfer(&mut pair, Duration::from_secs(20), |_| {});
    let bytes = transfer(&mut pair, Duration::from_secs(5), |_| {});
    assert!(bytes > 9_000 * SEGMENT, "{}", bytes / SEGMENT);
    let rtt = pair.tcb(CLIENT).info().rtt;
    assert!(rtt < Some(Duration::from_millis(100)), "{rtt:?}");
}

#[test]
fn marks_keep_the_window_of_bbr_below_what_it_would_be() {
    let window = |marks: bool| {
        let ecn = |algorithm| {
            parameters(move |config, options| {
                config.ecn = Ecn::Active;
                options.algorithm = algorithm;
            })
        };
        let mut pair = Pair::established(ecn(Algorithm::Bbr), ecn(Algorithm::Cubic));
        pair.spacing = Duration::from_millis(1);
        let mut count = 0;
        pair.filter = Box::new(move |sent| {
            count += u32::from(sent.len() > 0);
            if marks && sent.len() > 0 && count % 20 == 0 {
                Fate::Mark
            } else {
                Fate::Deliver
            }
        });
        transfer(&mut pair, Duration::from_secs(5), |_| {});
        pair.tcb(CLIENT).info().cwnd
    };
    let (marked, clean) = (window(true), window(false));
    assert!(marked * 10 < clean * 9, "{marked} {clean}");
}

#[test]
fn another_algorithm_can_be_chosen_at_any_time() {
    let mut pair = bbr_at_a_bottleneck();
    transfer(&mut pair, Duration::from_secs(1), |_| {});
    pair.tcb(CLIENT).set_algorithm(Algorithm::Cubic);
    let bytes = transfer(&mut pair, Duration::from_secs(2), |_| {});
    assert!(bytes > 1_800 * SEGMENT, "{}", bytes / SEGMENT);
    assert_eq!(pair.tcb(CLIENT).info().pacing_rate, None);
    pair.tcb(CLIENT).set_algorithm(Algorithm::Bbr);
    let bytes = transfer(&mut pair, Duration::from_secs(5), |_| {});
    assert!(bytes > 4_500 * SEGMENT, "{}", bytes / SEGMENT);
    assert!(pair.tcb(CLIENT).info().pacing_rate.is_some());
}
