//! Is a path that became wider used, and what does it cost to find out (RFC 4821)?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, Sent, parameters, path, pattern};
use crate::ip::{ErrorKind, Path};
use crate::tcp::config::{MtuProbing, ProbeWhen};
use crate::tcp::{Algorithm, Parameters, Tcb};

const INTERVAL: Duration = Duration::from_secs(600);
/// Data of the largest segment on a path of 1500 and of 1000 bytes.
const WIDE: u16 = 1448;
const NARROW: usize = 948;

/// Both ends begin with a small size, and look for the largest.
fn searching(sack: bool) -> Parameters {
    parameters(|config, _| {
        config.sack = sack;
        config.mtu_probing = MtuProbing {
            when: ProbeWhen::Always,
            base_mss: 512,
            ..MtuProbing::default()
        };
    })
}

/// Nothing larger than `bytes` of data passes.
fn narrow(bytes: usize) -> Box<dyn FnMut(&Sent) -> Fate> {
    Box::new(move |sent| {
        let longest = sent.segment.segment_bytes.map_or(sent.len(), usize::from);
        if longest > bytes {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    })
}

/// A way of `mtu` bytes on a link of 1500.
fn way(mtu: usize) -> Path {
    Path {
        link_mtu: 1500,
        ..path(mtu, mtu)
    }
}

/// A connection whose client was told that the path carries 1000 bytes.
fn told(chosen: Parameters) -> Pair {
    let mut pair = Pair::established(chosen.clone(), chosen);
    pair.filter = narrow(NARROW);
    pair.write(CLIENT, &[1; 14_480]);
    pair.transmit();
    let (now, seq) = (pair.now, pair.sent_by(CLIENT)[0].segment.seq);
    let kind = ErrorKind::TooBig { mtu: 1000 };
    assert!(pair.tcb(CLIENT).on_icmp_error(now, kind, seq, &way(1000)));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.tcb(CLIENT).info().snd_mss, NARROW as u16);
    pair.sent.clear();
    pair
}

/// Sends 100 kB every five seconds; the largest segment of that time.
fn send_for(pair: &mut Pair, time: Duration) -> usize {
    let (end, mut largest) = (pair.now + time, 0);
    while pair.now < end {
        pair.write(CLIENT, &[1; 100_000]);
        pair.run_for(Duration::from_secs(5));
        let sizes = pair.sent_by(CLIENT).into_iter().map(|sent| sent.len());
        largest = largest.max(sizes.max().unwrap_or_default());
        pair.sent.clear();
    }
    largest
}

#[test]
fn a_path_that_became_wider_again_is_used_again_and_not_before_its_time() {
    let mut pair = told(parameters(|_, _| {}));
    pair.filter = Box::new(|_| Fate::Deliver);
    let soon = send_for(&mut pair, INTERVAL / 2);
    assert_eq!(soon, NARROW, "RFC 1191 §6.3: not within minutes");
    send_for(&mut pair, INTERVAL / 2 + Duration::from_secs(10));
    let info = pair.tcb(CLIENT).info();
    assert_eq!(
        (info.snd_mss, info.path_mtu, info.timeouts),
        (WIDE, 1500, 0)
    );
    assert_eq!(
        pair.tcb(CLIENT).take_hints().wider_mtu,
        1500,
        "for all others"
    );
    assert!(pair.tcb(CLIENT).aside.is_none(), "nothing is left to do");
}

#[test]
fn a_path_that_stays_narrow_costs_one_segment_now_and_then() {
    for algorithm in [Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr] {
        let mut pair = told(parameters(|_, options| options.algorithm = algorithm));
        let again = pair.tcb(CLIENT).info().retransmitted_segments;
        send_for(&mut pair, INTERVAL * 3);
        let info = pair.tcb(CLIENT).info();
        assert_eq!((info.snd_mss, info.timeouts), (NARROW as u16, 0));
        let lost = info.retransmitted_segments - again;
        assert!((2..40).contains(&lost), "{algorithm:?}: {lost}");
    }
}

#[test]
fn switched_off_nothing_is_tried() {
    let mut pair = told(parameters(|config, _| {
        config.mtu_probing.when = ProbeWhen::Never;
    }));
    pair.filter = Box::new(|_| Fate::Deliver);
    assert_eq!(send_for(&mut pair, INTERVAL * 2), NARROW);
}

#[test]
fn a_lost_probe_is_no_congestion_and_its_data_comes_again_within_a_round_trip() {
    for (sack, most) in [(true, 948), (false, 948), (true, 1200)] {
        let chosen = searching(sack);
        let mut pair = Pair::established(chosen.clone(), chosen);
        pair.filter = narrow(most);
        let data = pattern(2_000_000);
        let (mut written, mut cwnd) = (0, 0);
        let end = pair.now + Duration::from_secs(60);
        pair.run_until(end, |pair| {
            written += pair.write(CLIENT, &data[written..]);
            let info = pair.tcb(CLIENT).info();
            assert!(info.cwnd >= cwnd, "{cwnd} shrank to {}", info.cwnd);
            cwnd = info.cwnd;
            pair.ends[SERVER].received.len() == data.len()
        });
        assert!(pair.ends[SERVER].received == data);
        let info = pair.tcb(CLIENT).info();
        assert_eq!(info.timeouts, 0);
        let mss = usize::from(info.snd_mss);
        assert!(mss <= most && mss + 8 > most, "{mss} of {most}");
        // Each lost probe comes again as two or three segments, and nothing else does.
        let probes = pair.sent_by(CLIENT);
        let probes = probes.iter().filter(|it| it.len() > most).count() as u32;
        assert!((1..8).contains(&probes), "{probes}");
        assert!(info.retransmitted_segments <= 3 * probes);
    }
}

#[test]
fn a_loss_beside_the_probes_is_congestion_and_says_nothing_of_the_size() {
    let chosen = searching(true);
    let mut pair = Pair::established(chosen.clone(), chosen);
    let mut drop_next = false;
    let mut spared = true;
    pair.filter = Box::new(move |sent| {
        // The first probe, and the segment behind it.
        let first = sent.by == CLIENT && sent.len() > 900 && std::mem::take(&mut spared);
        let drop = first || std::mem::take(&mut drop_next);
        drop_next = first;
        if drop { Fate::Drop } else { Fate::Deliver }
    });
    pair.write(CLIENT, &[1; 200_000]);
    let before = pair.tcb(CLIENT).info().cwnd;
    let mut reduced = false;
    let end = pair.now + Duration::from_secs(20);
    pair.run_until(end, |pair| {
        reduced |= pair.tcb(CLIENT).info().ssthresh < 1 << 24;
        false
    });
    assert!(reduced, "from {before}");
    assert_eq!(pair.ends[SERVER].received.len(), 200_000);
    assert!(pair.tcb(CLIENT).info().snd_mss > 1400, "tried again");
}

#[test]
fn a_router_that_says_how_much_passes_ends_the_search() {
    let mut pair = told(parameters(|_, _| {}));
    // Another way, of 1400 bytes, whose router speaks up.
    pair.filter = narrow(1348);
    let end = pair.now + INTERVAL * 2;
    while pair.now < end {
        pair.write(CLIENT, &[1; 30_000]);
        pair.transmit();
        let now = pair.now;
        let probe = pair.sent_by(CLIENT).into_iter().find(|it| it.len() > 1348);
        if let Some(probe) = probe {
            let (kind, seq) = (ErrorKind::TooBig { mtu: 1400 }, probe.segment.seq);
            pair.tcb(CLIENT).on_icmp_error(now, kind, seq, &way(1400));
        }
        pair.sent.clear();
        pair.run_for(Duration::from_secs(5));
        pair.sent.clear();
    }
    let info = pair.tcb(CLIENT).info();
    assert_eq!((info.snd_mss, info.timeouts), (1348, 0));
}

#[test]
fn the_search_begins_anew_where_the_connection_goes_on() {
    let mut pair = told(parameters(|_, _| {}));
    pair.filter = Box::new(|_| Fate::Deliver);
    let now = pair.now;
    let snapshot = pair.tcb(CLIENT).export().expect("established");
    let chosen = Parameters {
        path: way(1000),
        ..parameters(|_, _| {})
    };
    pair.ends[CLIENT].tcb = Some(Tcb::from_snapshot(chosen, now, snapshot));
    assert_eq!(pair.tcb(CLIENT).info().snd_mss, NARROW as u16);
    send_for(&mut pair, INTERVAL + Duration::from_secs(10));
    assert_eq!(pair.tcb(CLIENT).info().snd_mss, WIDE);
}
