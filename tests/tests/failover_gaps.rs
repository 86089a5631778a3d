//! How long clients see nothing new when their server is killed or hands over, in virtual time: what of it is the
//! protocol's doing, without any processor's. Heartbeats come every 10 ms, and three missing are a failure.

use std::time::Duration;

use outlive::replication::{Hot, ReplayOptions, Survival};
use outlive_tests::simulation::failover::calling::Manner;
use outlive_tests::simulation::failover::cluster::{Cluster, Setting};
use outlive_tests::simulation::failover::fault::{Fault, Keep};
use outlive_tests::simulation::failover::script::{Script, Step};
use outlive_tests::simulation::failover::world::World;

const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 40;
/// Time between two writes of the server, or two requests.
const PACE_MS: u64 = 10;
/// When something happens.
const AT: Duration = Duration::from_millis(703);

/// What connections carry, for about a second and a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// Streams of 2 Mbit/s.
    Streams,
    /// Requests one after the other.
    Requests,
    /// Uploads that always fill their window.
    Uploads,
}

fn begin(cluster: &mut Cluster, load: Load) {
    let step = match load {
        Load::Streams => [Step::Wait(PACE_MS), Step::Read(0), Step::Write(2_500)],
        Load::Requests => [Step::Wait(PACE_MS), Step::Read(300), Step::Write(900)],
        Load::Uploads => [Step::Read(20_000), Step::Read(20_000), Step::Wait(PACE_MS)],
    };
    for salt in 0..CONNECTIONS {
        let mut steps: Vec<_> = step.iter().copied().cycle().take(3 * 150).collect();
        steps.extend([Step::ReadToEnd, Step::Digest]);
        let manner = Manner {
            in_turns: load == Load::Requests,
            begins: Duration::from_micros(salt * 300),
            writes: 4_000,
            ..Manner::plain(100)
        };
        let client = salt as usize % cluster.clients();
        cluster.call(client, Script::new(salt, steps), manner);
    }
}

fn settled(load: Load, flooded: bool) -> Cluster {
    let mut setting = Setting {
        clients: 4,
        flooded,
        // Otherwise the handlers would go through all of their waits once more.
        survival: Survival::Replay(ReplayOptions {
            hot: Hot::Always,
            ..ReplayOptions::default()
        }),
        ..Setting::default()
    };
    if load == Load::Uploads {
        // So that the window is what holds them back.
        setting.server.tcp.socket.receive_buffer_bytes = Some(64 << 10);
        setting.client.tcp.socket.send_buffer_bytes = Some(80 << 10);
    }
    let mut cluster = Cluster::pair(&setting);
    cluster.settle(LIMIT).expect("a pair");
    begin(&mut cluster, load);
    cluster.world.run_for(AT).expect("no violation");
    cluster
}

/// The longest gaps of all connections, ascending, when `fault` strikes; and segments sent again.
fn gaps(load: Load, flooded: bool, fault: impl Fn(usize) -> Option<Fault>) -> (Vec<Duration>, u64) {
    let mut cluster = settled(load, flooded);
    let owner = cluster.owner().expect("somebody serves");
    if let Some(fault) = fault(owner) {
        cluster.world.apply(fault);
    }
    let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
    assert_eq!(result, Ok(()));
    let seen = cluster.connections.iter().map(|c| c.record.borrow());
    let mut gaps: Vec<_> = seen
        .map(|seen| match load {
            Load::Uploads => seen.stall,
            Load::Streams | Load::Requests => seen.gap,
        })
        .collect();
    gaps.sort();
    (gaps, cluster.world.oracle.watcher().retransmissions)
}

/// What `fault` adds to the gaps of an undisturbed run: the median, and the worst.
fn added(
    load: Load,
    flooded: bool,
    fault: impl Fn(usize) -> Option<Fault>,
) -> (Duration, Duration, u64) {
    let (calm, before) = gaps(load, flooded, |_| None);
    let (gaps, again) = gaps(load, flooded, fault);
    let usual = calm[calm.len() / 2];
    let worst = gaps.last().copied().unwrap_or_default();
    let result = (
        gaps[gaps.len() / 2].saturating_sub(usual),
        worst.saturating_sub(usual),
        again - before,
    );
    println!("{load:?}: median, worst, sent again: {result:?}");
    result
}

fn power_off(owner: usize) -> Option<Fault> {
    Some(Fault::PowerOff(owner, Keep::Nothing))
}

#[test]
fn streams_go_on_soon_after_a_kill() {
    let kill = |owner| Some(Fault::Kill(owner, Keep::Nothing));
    let (median, worst, _) = added(Load::Streams, false, kill);
    assert!(median < Duration::from_millis(60), "{median:?}");
    assert!(worst < Duration::from_millis(120), "{worst:?}");
}

#[test]
fn requests_and_uploads_go_on_soon_after_the_power_fails() {
    // A request that was lost with the host comes again when the client's own timer says so.
    for load in [Load::Requests, Load::Uploads] {
        let (_, worst, _) = added(load, false, power_off);
        assert!(worst < Duration::from_millis(300), "{load:?}: {worst:?}");
    }
}

#[test]
fn nothing_is_lost_where_both_servers_hear_everything() {
    for load in [Load::Streams, Load::Requests, Load::Uploads] {
        let (median, worst, _) = added(load, true, power_off);
        assert!(median < Duration::from_millis(60), "{load:?}: {median:?}");
        assert!(worst < Duration::from_millis(120), "{load:?}: {worst:?}");
    }
}

#[test]
fn a_planned_handover_is_hardly_noticed_and_nothing_is_sent_again() {
    for (load, flooded) in [
        (Load::Streams, false),
        (Load::Requests, false),
        (Load::Requests, true),
    ] {
        let (_, worst, again) = added(load, flooded, |owner| Some(Fault::HandOver(owner)));
        assert!(worst < Duration::from_millis(5), "{worst:?}");
        assert_eq!(again, 0, "{load:?}, flooded: {flooded}");
    }
}

#[test]
fn whoever_handed_over_is_the_backup_at_once_and_gets_nothing_again() {
    let mut cluster = settled(Load::Uploads, false);
    for _ in 0..3 {
        let before = cluster.owner();
        cluster
            .world
            .apply(Fault::HandOver(before.expect("somebody serves")));
        let snapshots = cluster.world.snapshots();
        let whole = |world: &World| {
            let owner = world.owners().first().copied();
            owner.is_some() && owner != before && world.is_whole()
        };
        let done = cluster.world.run_until(Duration::from_millis(10), whole);
        assert_eq!(done, Ok(true));
        assert_eq!(cluster.world.snapshots(), snapshots);
        cluster
            .world
            .run_for(Duration::from_millis(40))
            .expect("no violation");
    }
    let owner = cluster.owner().expect("somebody serves");
    // It really has everything.
    cluster.world.apply(Fault::Kill(owner, Keep::Nothing));
    let result = cluster.finish(LIMIT).and_then(|()| cluster.judge());
    assert_eq!(result, Ok(()));
}
