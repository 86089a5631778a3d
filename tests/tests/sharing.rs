//! What BBR is for, and how transfers with different congestion control get along at one bottleneck, in virtual time.

use std::time::Duration;

use outlive::tcp::Algorithm::{Bbr, Cubic, NewReno};
use outlive_tests::simulation::bottleneck::{Bottleneck, Transfer, fairness};

fn all(transfers: &[Transfer]) -> f64 {
    transfers.iter().map(|it| it.share).sum()
}

/// Whoever waits until there is more to cut sends it in one go, and a short queue has no room for that.
#[test]
fn a_device_that_cuts_fills_no_short_queue_with_bursts() {
    for buffer in [0.1, 0.5] {
        let run = |cuts| {
            let short = Bottleneck {
                buffer,
                cuts,
                ..Bottleneck::new(&[Cubic])
            };
            short.run(1)[0].share
        };
        let (cut, whole) = (run(true), run(false));
        println!(
            "buffer {buffer}: {cut:.3} of a device that cuts, {whole:.3} of one that does not"
        );
        assert!(cut > 0.9 * whole, "buffer {buffer}: {cut:.3}, {whole:.3}");
    }
}

#[test]
fn bbr_keeps_a_deep_queue_short_that_cubic_fills() {
    let run = |algorithm| {
        let deep = Bottleneck {
            buffer: 8.0,
            seconds: 20,
            ..Bottleneck::new(&[algorithm])
        };
        deep.run(1)[0]
    };
    let (ours, cubic) = (run(Bbr), run(Cubic));
    println!("{ours:?}\n{cubic:?}");
    assert!(ours.share > 0.9 && cubic.share > 0.9);
    // The path takes 20 ms, the queue up to 160.
    assert!(ours.rtt < Duration::from_millis(35), "{ours:?}");
    assert!(cubic.rtt > 2 * ours.rtt, "{cubic:?}");
}

#[test]
fn bbr_goes_on_through_losses_that_stop_the_others() {
    for (loss_percent, least) in [(1.0, 0.7), (2.0, 0.5), (5.0, 0.25)] {
        let run = |algorithm| {
            let lossy = Bottleneck {
                rtt_ms: 40,
                loss_percent,
                seconds: 20,
                ..Bottleneck::new(&[algorithm])
            };
            lossy.run(1)[0].share
        };
        let (ours, cubic) = (run(Bbr), run(Cubic));
        println!("{loss_percent}: {ours:.3} {cubic:.3}");
        assert!(ours > least, "{ours} at {loss_percent}%");
        assert!(ours > 1.5 * cubic, "{ours} and {cubic} at {loss_percent}%");
    }
}

#[test]
fn flows_of_bbr_share() {
    let shared = Bottleneck {
        seconds: 40,
        ..Bottleneck::new(&[Bbr, Bbr])
    };
    let transfers = shared.run(1);
    println!("{transfers:?}");
    assert!(all(&transfers) > 0.9);
    assert!(fairness(&transfers) > 0.85, "{transfers:?}");
}

#[test]
fn bbr_and_the_others_leave_each_other_room() {
    for other in [Cubic, NewReno] {
        let shared = Bottleneck {
            seconds: 40,
            ..Bottleneck::new(&[Bbr, other])
        };
        let transfers = shared.run(1);
        println!("{transfers:?}");
        assert!(all(&transfers) > 0.9);
        let least = transfers.iter().map(|it| it.share).fold(1.0, f64::min);
        assert!(least > 0.15, "{other:?} {transfers:?}");
    }
}

#[test]
fn pacing_does_not_slow_the_others_down() {
    for algorithm in [Cubic, NewReno] {
        let paced = Bottleneck {
            pacing: true,
            ..Bottleneck::new(&[algorithm])
        };
        let share = paced.run(1)[0].share;
        assert!(share > 0.9, "{algorithm:?} {share}");
    }
}

#[test]
fn a_short_buffer_suits_paced_segments() {
    let run = |pacing| {
        let short = Bottleneck {
            pacing,
            buffer: 0.05,
            rtt_ms: 100,
            ..Bottleneck::new(&[Cubic])
        };
        short.run(1)[0].share
    };
    let (paced, bursts) = (run(true), run(false));
    println!("{paced} {bursts}");
    assert!(paced > bursts, "{paced} {bursts}");
}

#[test]
fn cubic_fills_long_paths_and_those_with_deep_or_short_buffers() {
    for (rtt_ms, buffer, least) in [
        (200, 1.0, 0.85),
        (100, 8.0, 0.85),
        (20, 20.0, 0.95),
        (20, 0.05, 0.75),
        (5, 0.2, 0.85),
    ] {
        let path = Bottleneck {
            rtt_ms,
            buffer,
            seconds: 30,
            ..Bottleneck::new(&[Cubic])
        };
        let got = path.run(1)[0];
        println!("{rtt_ms} ms {buffer}: {got:?}");
        assert!(got.share > least, "{rtt_ms} ms {buffer} {got:?}");
    }
}

#[test]
fn a_flow_of_cubic_that_comes_late_gets_its_share() {
    for (rtt_ms, buffer) in [(20, 1.0), (20, 8.0), (80, 1.0), (80, 0.2)] {
        let shared = Bottleneck {
            rtt_ms,
            buffer,
            seconds: 60,
            apart: Duration::from_secs(5),
            ..Bottleneck::new(&[Cubic, Cubic])
        };
        let transfers = shared.run(1);
        println!("{rtt_ms} ms {buffer}: {transfers:?}");
        assert!(all(&transfers) > 0.85, "{rtt_ms} ms {buffer} {transfers:?}");
        // Five of the sixty seconds belong to the first alone: 54 to 46 is even.
        let late = transfers[1].share / all(&transfers);
        assert!(late > 0.3, "{rtt_ms} ms {buffer} {late}");
    }
}

#[test]
fn cubic_and_new_reno_share_where_paths_are_short() {
    let shared = Bottleneck {
        seconds: 60,
        ..Bottleneck::new(&[Cubic, NewReno])
    };
    let transfers = shared.run(1);
    println!("{transfers:?}");
    assert!(fairness(&transfers) > 0.9, "{transfers:?}");
}
