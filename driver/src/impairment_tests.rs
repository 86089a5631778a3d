//! The model does what its settings say, and the same again for the same seed.

use super::*;
use proptest::prelude::*;

fn link(impairment: Impairment) -> Link {
    Link::new(impairment, Medium::Ip, 1)
}

/// A datagram whose content tells its number.
fn numbered(i: u32, len: usize) -> Bytes {
    let mut bytes = vec![0; len.max(24)];
    bytes[0] = 0x45;
    let total = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes[20..24].copy_from_slice(&i.to_be_bytes());
    Bytes::from(bytes)
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[20..24].try_into().unwrap())
}

/// Offers `n` frames `gap_us` apart; what arrives, and when, in order of arrival.
fn send(link: &mut Link, n: u32, gap_us: u64) -> Vec<(u64, Bytes)> {
    let mut arrived = Vec::new();
    let mut out = Vec::new();
    for i in 0..n {
        let now = Instant::from_micros(u64::from(i) * gap_us);
        drain(link, now, &mut out, &mut arrived);
        link.offer(now, numbered(i, 1000));
    }
    drain(link, Instant::FAR_FUTURE, &mut out, &mut arrived);
    arrived
}

fn drain(link: &mut Link, until: Instant, out: &mut Vec<Bytes>, arrived: &mut Vec<(u64, Bytes)>) {
    while let Some(at) = link.next_deadline().filter(|at| *at <= until) {
        link.poll(at, out);
        arrived.extend(out.drain(..).map(|frame| (at.as_micros(), frame)));
    }
}

fn numbers(arrived: &[(u64, Bytes)]) -> Vec<u32> {
    arrived.iter().map(|(_, frame)| number(frame)).collect()
}

#[test]
fn a_perfect_link_delivers_at_once_and_in_order() {
    let arrived = send(&mut link(Impairment::default()), 100, 10);
    assert!(
        arrived
            .iter()
            .enumerate()
            .all(|(i, (at, frame))| { *at == i as u64 * 10 && *frame == numbered(i as u32, 1000) })
    );
    assert_eq!(arrived.len(), 100);
}

#[test]
fn loss_has_the_rate_that_was_asked_for() {
    for p in [0.001, 0.01, 0.05, 0.5] {
        let mut link = link(Impairment {
            loss: p,
            ..Impairment::default()
        });
        let n = 100_000;
        let arrived = send(&mut link, n, 1);
        let expected = f64::from(n) * p;
        let sigma = (expected * (1.0 - p)).sqrt();
        assert!(
            (link.totals().lost as f64 - expected).abs() < 5.0 * sigma,
            "{p}"
        );
        assert_eq!(arrived.len() as u64 + link.totals().lost, u64::from(n));
    }
}

#[test]
fn bursts_are_as_long_as_asked_for() {
    let burst = Burst {
        begin: 0.01,
        end: 0.2,
        loss: 1.0,
    };
    let mut link = link(Impairment {
        burst: Some(burst),
        ..Impairment::default()
    });
    let arrived = numbers(&send(&mut link, 200_000, 1));
    let gaps: Vec<_> = arrived
        .windows(2)
        .map(|w| w[1] - w[0] - 1)
        .filter(|gap| *gap > 0)
        .collect();
    let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
    assert!((4.5..5.5).contains(&mean), "bursts of {mean}");
    let share = link.totals().lost as f64 / 200_000.0;
    assert!(
        (0.042..0.053).contains(&share),
        "lost {share}: 0.01 / (0.01 + 0.2)"
    );
}

#[test]
fn another_setting_does_not_change_who_is_lost() {
    let base = Impairment {
        loss: 0.05,
        ..Impairment::default()
    };
    let more = Impairment {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(3),
        duplicate: 0.1,
        reorder: 0.1,
        ..base.clone()
    };
    let all = |impairment| {
        let mut arrived = numbers(&send(&mut link(impairment), 2_000, 10));
        arrived.sort_unstable();
        arrived.dedup();
        arrived
    };
    assert_eq!(all(base), all(more));
}

#[test]
fn delay_and_jitter_stay_in_their_bounds_and_keep_the_order() {
    let mut link = link(Impairment {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        ..Impairment::default()
    });
    let arrived = send(&mut link, 2_000, 100);
    assert!(numbers(&arrived).is_sorted());
    let delays: Vec<_> = arrived
        .iter()
        .map(|(at, f)| at - u64::from(number(f)) * 100)
        .collect();
    assert!(delays.iter().all(|d| (20_000..=25_000).contains(d)));
    assert!(delays.iter().any(|d| *d < 21_000) && delays.iter().any(|d| *d > 24_000));
}

#[test]
fn reordered_frames_are_overtaken_and_none_is_missing() {
    let mut link = link(Impairment {
        reorder: 0.05,
        ..Impairment::default()
    });
    let mut arrived = numbers(&send(&mut link, 10_000, 100));
    assert!(!arrived.is_sorted());
    let held = link.totals().reordered;
    assert!((400..600).contains(&held), "{held}");
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..10_000));
}

#[test]
fn a_duplicate_is_the_same_frame_again() {
    let mut link = link(Impairment {
        duplicate: 0.1,
        ..Impairment::default()
    });
    let mut arrived = numbers(&send(&mut link, 10_000, 1));
    let twice = arrived.len() - 10_000;
    assert!((850..1150).contains(&twice), "{twice}");
    arrived.dedup();
    assert_eq!(arrived.len(), 10_000);
}

#[test]
fn corruption_flips_one_bit_that_a_checksum_covers() {
    let mut link = Link::new(
        Impairment {
            corrupt: 1.0,
            ..Impairment::default()
        },
        Medium::Ethernet,
        3,
    );
    let datagram = numbered(5, 100);
    let mut frame = vec![0xee; 12];
    frame.extend_from_slice(&[8, 0]);
    frame.extend_from_slice(&datagram);
    frame.extend_from_slice(&[0; 6]); // padding
    let arp = [&[0xee; 12][..], &[8, 6], &[1; 46]].concat();
    for _ in 0..2_000 {
        let mut out = Vec::new();
        link.offer(Instant::ZERO, Bytes::from(frame.clone()));
        link.offer(Instant::ZERO, Bytes::from(arp.clone()));
        link.poll(Instant::ZERO, &mut out);
        let changed: Vec<_> = (0..frame.len())
            .filter(|i| out[0][*i] != frame[*i])
            .collect();
        assert_eq!(changed.len(), 1);
        assert!((14..114).contains(&changed[0]));
        assert_eq!((out[0][changed[0]] ^ frame[changed[0]]).count_ones(), 1);
        assert_eq!(out[1], arp);
    }
    assert_eq!(link.totals().corrupted, 2_000);
}

#[test]
fn the_bottleneck_paces_frames_and_its_queue_drops_the_tail() {
    let rate = Rate {
        bits_per_second: 8_000_000,
        queue_frames: 10,
        queue_bytes: 1 << 20,
    };
    let mut link = link(Impairment {
        rate: Some(rate),
        ..Impairment::default()
    });
    let mut out = Vec::new();
    let mut arrived = Vec::new();
    for i in 0..20 {
        link.offer(Instant::ZERO, numbered(i, 1000)); // 1 ms each
    }
    drain(&mut link, Instant::FAR_FUTURE, &mut out, &mut arrived);
    let at: Vec<_> = arrived.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, (1..=10).map(|i| i * 1000).collect::<Vec<_>>());
    assert_eq!(link.totals().overflowed, 10);
    let bytes = Rate {
        queue_bytes: 2_500,
        queue_frames: 100,
        ..rate
    };
    link.set(Impairment {
        rate: Some(bytes),
        ..Impairment::default()
    });
    let later = Instant::from_millis(100);
    for i in 0..20 {
        link.offer(later, numbered(i, 1000));
    }
    assert_eq!(link.totals().overflowed, 28);
}

#[test]
fn what_is_longer_than_the_mtu_vanishes() {
    let mut link = link(Impairment {
        mtu: Some(1000),
        ..Impairment::default()
    });
    link.offer(Instant::ZERO, numbered(0, 1000));
    link.offer(Instant::ZERO, numbered(1, 1001));
    let mut out = Vec::new();
    link.poll(Instant::ZERO, &mut out);
    assert_eq!((out.len(), link.totals().too_long), (1, 1));
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_link(
        seed: u64, loss in 0.0..0.3, duplicate in 0.0..0.3, reorder in 0.0..0.3, corrupt in 0.0..0.3,
        delay in 0u64..10_000, jitter in 0u64..10_000, kbit in 1u64..1_000_000
    ) {
        let impairment = Impairment {
            loss, duplicate, reorder, corrupt,
            burst: Some(Burst { begin: 0.05, end: 0.5, loss: 0.9 }),
            delay: Duration::from_micros(delay),
            jitter: Duration::from_micros(jitter),
            rate: Some(Rate { bits_per_second: kbit * 1000, queue_frames: 50, queue_bytes: 40_000 }),
            ..Impairment::default()
        };
        let run = |seed| {
            let mut link = Link::new(impairment.clone(), Medium::Ip, seed);
            let arrived = send(&mut link, 300, 50);
            (arrived, link.totals())
        };
        let (arrived, totals) = run(seed);
        prop_assert_eq!(totals.offered + totals.duplicated,
            totals.delivered + totals.lost + totals.overflowed + totals.too_long);
        prop_assert_eq!(arrived.len() as u64, totals.delivered);
        prop_assert_eq!((arrived, totals), run(seed));
    }
}
