//! How long clients see nothing new when their server is killed or hands over, in virtual time: what of it is the
//! protocol's doing, without any processor's. Heartbeats come every 10 ms, and three missing are a failure.

use std::time::Duration;

use outlive::replication::{Hot, ReplayOptions, Survival};
use outlive_tests::simulation::failover::calling::Manner;
use outlive_tests::simulation::failover::cluster::{Cluster, Setting};
use outlive_tests::simulation::failover::fault::{Fault, Keep};
use outlive_tests::simulation::failover::script::{Script, Step};

const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 40;
/// Time between two writes of the server, or two requests.
const PACE_MS: u64 = 10;

/// Streams of 2 Mbit/s, or requests one after the other, for a second and a half.
fn begin(cluster: &mut Cluster, requests: bool) {
    let step = if requests {
        [Step::Wait(PACE_MS), Step::Read(300), Step::Write(900)]
    } else {
        [Step::Wait(PACE_MS), Step::Read(0), Step::Write(2_500)]
    };
    for salt in 0..CONNECTIONS {
        let mut steps: Vec<_> = step.iter().copied().cycle().take(3 * 150).collect();
        steps.extend([Step::ReadToEnd, Step::Digest]);
        let manner = Manner {
            in_turns: requests,
            begins: Duration::from_micros(salt * 300),
            ..Manner::plain(100)
        };
        let client = salt as usize % cluster.clients();
        cluster.call(client, Script::new(salt, steps), manner);
    }
}

/// The longest gaps of all connections, ascending, when `fault` strikes; and segments sent again.
fn gaps(requests: bool, fault: impl Fn(usize) -> Option<Fault>) -> (Vec<Duration>, u64) {
    let mut cluster = Cluster::pair(&Setting {
        clients: 4,
        // Otherwise the handlers would go through all of their waits once more.
        survival: Survival::Replay(ReplayOptions {
            hot: Hot::Always,
            ..ReplayOptions::default()
        }),
        ..Setting::default()
    });
    cluster.settle(LIMIT).expect("a pair");
    begin(&mut cluster, requests);
    let run = cluster.world.run_for(Duration::from_millis(703));
    run.expect("no violation");
    let owner = cluster.owner().expect("somebody serves");
    if let Some(fault) = fault(owner) {
        cluster.world.apply(fault);
    }
    let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
    assert_eq!(result, Ok(()));
    let mut gaps: Vec<_> = cluster
        .connections
        .iter()
        .map(|c| c.record.borrow().gap)
        .collect();
    gaps.sort();
    (gaps, cluster.world.oracle.watcher().retransmissions)
}

/// What `fault` adds to the gaps of an undisturbed run: the median, and the worst.
fn added(requests: bool, fault: impl Fn(usize) -> Option<Fault>) -> (Duration, Duration, u64) {
    let (calm, before) = gaps(requests, |_| None);
    let (gaps, again) = gaps(requests, fault);
    let usual = calm[calm.len() / 2];
    let worst = gaps.last().copied().unwrap_or_default();
    let result = (
        gaps[gaps.len() / 2].saturating_sub(usual),
        worst.saturating_sub(usual),
        again - before,
    );
    println!("median, worst, sent again: {result:?}");
    result
}

#[test]
fn streams_go_on_soon_after_a_kill() {
    let (median, worst, _) = added(false, |owner| Some(Fault::Kill(owner, Keep::Nothing)));
    assert!(median < Duration::from_millis(60), "{median:?}");
    assert!(worst < Duration::from_millis(120), "{worst:?}");
}

#[test]
fn requests_go_on_soon_after_the_power_fails() {
    // A request that was lost with the host comes again when the client's own timer says so.
    let (_, worst, _) = added(true, |owner| Some(Fault::PowerOff(owner, Keep::Nothing)));
    assert!(worst < Duration::from_millis(300), "{worst:?}");
}

#[test]
fn a_planned_handover_is_hardly_noticed_and_nothing_is_sent_again() {
    for requests in [false, true] {
        let (_, worst, again) = added(requests, |owner| Some(Fault::HandOver(owner)));
        assert!(worst < Duration::from_millis(5), "{worst:?}");
        assert_eq!(again, 0, "requests: {requests}");
    }
}
