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

/// Longer than a client takes to be heard by the new owner.
const SLOW_LINK: Duration = Duration::from_millis(3);

/// How things come to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// To whoever serves.
    Switched,
    /// To both.
    Flooded,
    /// To whoever serves; what comes to the other one is overtaken on its way between the hosts.
    SlowLink,
}

/// What a run showed.
struct Run {
    /// The longest gaps of all connections, ascending.
    gaps: Vec<Duration>,
    /// Segments sent again.
    again: u64,
    /// Probes, of a window or of where a client stands.
    probes: u64,
}

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

fn settled(load: Load, path: Path) -> Cluster {
    let mut setting = Setting {
        clients: 4,
        flooded: path == Path::Flooded,
        // Otherwise the handlers would go through all of their waits once more.
        survival: Survival::Replay(ReplayOptions {
            hot: Hot::Always,
            ..ReplayOptions::default()
        }),
        ..Setting::default()
    };
    if path == Path::SlowLink {
        setting.quality.delay = (SLOW_LINK, Duration::ZERO);
    }
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

/// A run in which `fault` strikes.
fn run(load: Load, path: Path, fault: impl Fn(usize) -> Option<Fault>) -> Run {
    let mut cluster = settled(load, path);
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
    let watcher = cluster.world.oracle.watcher();
    Run {
        gaps,
        again: watcher.retransmissions,
        probes: watcher.probes,
    }
}

/// What `fault` adds to an undisturbed run.
struct Added {
    median: Duration,
    worst: Duration,
    again: u64,
    probes: u64,
}

fn added(load: Load, path: Path, fault: impl Fn(usize) -> Option<Fault>) -> Added {
    let calm = run(load, path, |_| None);
    let disturbed = run(load, path, fault);
    let usual = calm.gaps[calm.gaps.len() / 2];
    let worst = disturbed.gaps.last().copied().unwrap_or_default();
    let added = Added {
        median: disturbed.gaps[disturbed.gaps.len() / 2].saturating_sub(usual),
        worst: worst.saturating_sub(usual),
        again: disturbed.again - calm.again,
        probes: disturbed.probes.saturating_sub(calm.probes),
    };
    let Added {
        median,
        worst,
        again,
        probes,
    } = added;
    println!("{load:?}, {path:?}: {median:?}, at worst {worst:?}; {again} again, {probes} probes");
    added
}

fn power_off(owner: usize) -> Option<Fault> {
    Some(Fault::PowerOff(owner, Keep::Nothing))
}

#[test]
fn streams_go_on_soon_after_a_kill() {
    let kill = |owner| Some(Fault::Kill(owner, Keep::Nothing));
    let Added { median, worst, .. } = added(Load::Streams, Path::Switched, kill);
    assert!(median < Duration::from_millis(60), "{median:?}");
    assert!(worst < Duration::from_millis(120), "{worst:?}");
}

#[test]
fn requests_and_uploads_go_on_soon_after_the_power_fails() {
    // A request that was lost with the host comes again when the client's own timer says so.
    for load in [Load::Requests, Load::Uploads] {
        let Added { worst, .. } = added(load, Path::Switched, power_off);
        assert!(worst < Duration::from_millis(300), "{load:?}: {worst:?}");
    }
}

#[test]
fn nothing_is_lost_where_both_servers_hear_everything() {
    for load in [Load::Streams, Load::Requests, Load::Uploads] {
        let Added { median, worst, .. } = added(load, Path::Flooded, power_off);
        assert!(median < Duration::from_millis(60), "{load:?}: {median:?}");
        assert!(worst < Duration::from_millis(120), "{load:?}: {worst:?}");
    }
}

#[test]
fn a_planned_handover_is_hardly_noticed_and_nothing_is_sent_again() {
    for (load, path) in [
        (Load::Streams, Path::Switched),
        (Load::Requests, Path::Switched),
        (Load::Requests, Path::Flooded),
    ] {
        is_hardly_noticed(load, path);
    }
}

#[test]
fn uploads_hardly_notice_a_planned_handover() {
    is_hardly_noticed(Load::Uploads, Path::Switched);
}

fn is_hardly_noticed(load: Load, path: Path) {
    let hand_over = |owner| Some(Fault::HandOver(owner));
    let Added {
        worst,
        again,
        probes,
        ..
    } = added(load, path, hand_over);
    assert!(worst < Duration::from_millis(5), "{load:?}: {worst:?}");
    assert_eq!((again, probes), (0, 0), "{load:?}, {path:?}");
}

#[test]
fn hardly_a_tail_is_sent_again_because_what_was_sent_on_is_overtaken() {
    // Over such a link a handover lasts as long as clients take to probe for a lost tail; a few do. It takes two ways and one
    // more for what is sent on; the acknowledgement of an upload may have waited for its commit before, and waits after.
    for (load, tails, ways) in [(Load::Requests, 0, 3), (Load::Uploads, CONNECTIONS / 20, 7)] {
        let hand_over = |owner| Some(Fault::HandOver(owner));
        let added = added(load, Path::SlowLink, hand_over);
        assert!(added.again <= tails, "{load:?}: {}", added.again);
        assert_eq!(added.probes, 0, "{load:?}");
        assert!(
            added.worst < ways * SLOW_LINK,
            "{load:?}: {:?}",
            added.worst
        );
    }
}

#[test]
fn whoever_handed_over_is_the_backup_at_once_and_gets_nothing_again() {
    let mut cluster = settled(Load::Uploads, Path::Switched);
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
