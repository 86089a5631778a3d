//! Kills, partitions and restarts with a witness: who serves, and how soon.

use std::time::Duration;

use super::super::*;
use super::cluster::Cluster;
use crate::replication::view::{HostId, HostSet};

const MS: Duration = Duration::from_millis(1);

fn serving() -> Cluster {
    Cluster::serving(1, Arbitration::Witness)
}

/// Runs until `host` may send.
fn time_until_holder(cluster: &mut Cluster, host: u8) -> Duration {
    let at_most = Duration::from_secs(3);
    let time = cluster.run_until(at_most, |c| c.holder() == Some(HostId(host)));
    time.unwrap_or_else(|| panic!("host {host} never served"))
}

#[test]
fn hosts_without_memory_begin_with_the_preferred_one() {
    for preferred in [0, 1] {
        let mut cluster = Cluster::new(7, Arbitration::Witness, |config| {
            config.preferred = HostId(preferred);
        });
        cluster.start_all();
        time_until_holder(&mut cluster, preferred);
    }
}

#[test]
fn the_other_one_begins_when_the_preferred_one_does_not() {
    let mut cluster = Cluster::new(7, Arbitration::Witness, |config| config.first_start = true);
    cluster.start(1);
    cluster.start(2);
    time_until_holder(&mut cluster, 1);
}

#[test]
fn without_memory_and_without_a_promise_all_have_to_be_heard() {
    let mut cluster = Cluster::new(7, Arbitration::Witness, |_| {});
    cluster.start(0);
    cluster.start(2);
    let early = cluster.run_until(Duration::from_secs(5), |c| c.holder().is_some());
    assert_eq!(early, None);
    cluster.start(1);
    time_until_holder(&mut cluster, 0);
}

#[test]
fn a_killed_primary_is_followed_within_detection_and_a_few_milliseconds() {
    for seed in 0..20 {
        let mut cluster = Cluster::serving(seed, Arbitration::Witness);
        cluster.run(MS * (seed as u32 % 11));
        cluster.kill(0);
        let gap = time_until_holder(&mut cluster, 1);
        assert!(gap <= MS * 33, "{gap:?}");
        assert!(gap >= MS * 15, "the old lease may have been valid: {gap:?}");
    }
}

#[test]
fn reported_death_is_not_waited_for() {
    let mut cluster = Cluster::new(3, Arbitration::Witness, |config| config.multiplier = 100);
    cluster.start_all();
    cluster.run(Duration::from_secs(1));
    cluster.kill(0);
    let now = cluster.now;
    let node = cluster.node(1);
    let local = node.local(now);
    node.membership
        .as_mut()
        .unwrap()
        .process_died(local, HostId(0));
    assert!(time_until_holder(&mut cluster, 1) <= MS * 33);
}

#[test]
fn a_killed_backup_is_left_behind_while_service_goes_on() {
    let mut cluster = serving();
    cluster.kill(1);
    let alone = HostSet::only(HostId(0));
    let solo = cluster.run_until(MS * 100, |c| {
        c.nodes[0].views.last().unwrap().in_sync == alone
    });
    assert!(solo.unwrap() <= MS * 33);
    // Never silent meanwhile.
    assert_eq!(cluster.holder(), Some(HostId(0)));
    assert_eq!(
        cluster.nodes[0]
            .membership
            .as_ref()
            .unwrap()
            .statistics()
            .lapses,
        0
    );
}

#[test]
fn a_lost_witness_is_no_loss() {
    let mut cluster = serving();
    cluster.kill(2);
    for _ in 0..100 {
        cluster.run(MS * 10);
        assert_eq!(cluster.holder(), Some(HostId(0)));
    }
    assert_eq!(
        cluster.nodes[0]
            .membership
            .as_ref()
            .unwrap()
            .statistics()
            .lapses,
        0
    );
}

#[test]
fn hosts_cut_from_each_other_leave_it_to_the_witness() {
    let mut cluster = serving();
    cluster.isolate(0, 1);
    cluster.run(MS * 500);
    assert_eq!(
        cluster.holder(),
        Some(HostId(0)),
        "the primary has the lease"
    );
    let seen = *cluster.nodes[1].views.last().unwrap();
    assert_eq!(
        seen.in_sync,
        HostSet::only(HostId(0)),
        "the outsider learned of it"
    );
    // The primary dies too: nobody with a complete copy is left.
    cluster.kill(0);
    let nobody = cluster.run_until(Duration::from_secs(5), |c| c.holder().is_some());
    assert_eq!(nobody, None);
}

#[test]
fn a_primary_cut_from_all_falls_silent_and_its_backup_follows() {
    let mut cluster = serving();
    cluster.isolate(0, 1);
    cluster.isolate(0, 2);
    assert!(time_until_holder(&mut cluster, 1) <= MS * 40);
    assert!(cluster.node(0).is_primary(), "it does not know yet");
    cluster.cut.clear();
    cluster.run(MS * 100);
    assert!(!cluster.node(0).is_primary());
    assert_eq!(cluster.holder(), Some(HostId(1)));
}

#[test]
fn a_path_that_works_in_one_direction_only_is_down_for_both() {
    for direction in [(0, 1), (1, 0)] {
        let mut cluster = serving();
        cluster.cut.push((HostId(direction.0), HostId(direction.1)));
        cluster.run(MS * 100);
        assert_eq!(cluster.holder(), Some(HostId(0)));
        for (me, peer) in [(0, 1), (1, 0)] {
            let membership = cluster.nodes[me].membership.as_ref().unwrap();
            assert!(!membership.is_up(HostId(peer)));
        }
    }
}

#[test]
fn a_paused_primary_wakes_without_a_lease_and_steps_down() {
    let mut cluster = serving();
    cluster.node(0).paused = true;
    time_until_holder(&mut cluster, 1);
    cluster.run(MS * 300);
    cluster.node(0).paused = false;
    cluster.run(MS * 20);
    assert!(!cluster.node(0).is_primary());
    assert_eq!(cluster.holder(), Some(HostId(1)));
    let both = cluster.run_until(Duration::from_secs(3), |c| {
        c.nodes[1].views.last().unwrap().in_sync == HostSet::SERVERS
    });
    assert!(both.is_some(), "it joins again");
}

#[test]
fn a_lapsed_lease_is_renewed_in_the_same_epoch_when_nobody_followed() {
    let mut cluster = serving();
    let epoch = cluster.nodes[0].views.last().unwrap().epoch;
    cluster.kill(2);
    cluster.node(1).paused = true;
    let silent = cluster.run_until(MS * 100, |c| c.holder().is_none());
    assert!(silent.is_some());
    cluster.run(MS * 100);
    cluster.start(2);
    assert!(time_until_holder(&mut cluster, 0) <= MS * 50);
    // The peer is still paused: going solo is the next view; without a peer's death the epoch would be the same.
    let statistics = cluster.nodes[0].membership.as_ref().unwrap().statistics();
    assert_eq!(statistics.lapses, 1);
    assert!(cluster.nodes[0].views.last().unwrap().epoch >= epoch);
}

#[test]
fn a_restarted_primary_is_no_primary_and_its_backup_follows() {
    let mut cluster = serving();
    cluster.run(MS * 50);
    cluster.kill(0);
    cluster.start(0);
    assert!(time_until_holder(&mut cluster, 1) <= MS * 40);
}

#[test]
fn after_a_power_cut_the_preferred_host_starts_afresh() {
    let mut cluster = serving();
    (0..3).for_each(|host| cluster.kill(host));
    cluster.start(1);
    cluster.start(2);
    let early = cluster.run_until(Duration::from_secs(2), |c| c.holder().is_some());
    assert_eq!(early, None, "host 0 may have everything");
    cluster.start(0);
    time_until_holder(&mut cluster, 0);
}

#[test]
fn the_only_one_in_sync_starts_again_without_waiting_for_the_other() {
    let mut cluster = serving();
    cluster.kill(1);
    cluster.run(MS * 100);
    cluster.kill(0);
    cluster.run(MS * 100);
    cluster.start(0);
    time_until_holder(&mut cluster, 0);
}

#[test]
fn an_outsider_waits_for_who_has_the_connections() {
    let mut cluster = serving();
    cluster.rejoin = false;
    cluster.kill(1);
    cluster.run(MS * 100);
    cluster.start(1);
    cluster.run(MS * 100);
    cluster.kill(0);
    let early = cluster.run_until(Duration::from_secs(2), |c| c.holder().is_some());
    assert_eq!(early, None);
    cluster.start(0);
    time_until_holder(&mut cluster, 0);
}

#[test]
fn a_witness_that_lost_its_memory_votes_only_when_it_heard_both() {
    let mut cluster = serving();
    cluster.isolate(0, 1);
    cluster.run(MS * 100);
    // Host 0 is alone in the newest view; host 1 never heard of it, and the witness forgets it.
    cluster.node(1).paused = true;
    cluster.kill(2);
    cluster.node(2).stored = Durable::default();
    cluster.kill(0);
    cluster.start(2);
    cluster.node(1).paused = false;
    let early = cluster.run_until(Duration::from_secs(2), |c| c.holder().is_some());
    assert_eq!(early, None);
    cluster.cut.clear();
    cluster.start(0);
    time_until_holder(&mut cluster, 0);
}

#[test]
fn clock_samples_bound_the_other_clock() {
    let cluster = serving();
    let (zero, one) = (&cluster.nodes[0], &cluster.nodes[1]);
    let truth =
        one.local(cluster.now).as_nanos() as i64 - zero.local(cluster.now).as_nanos() as i64;
    let samples = zero.clocks.iter().filter(|(host, ..)| *host == HostId(1));
    let mut count = 0;
    for (_, offset_ns, round_trip) in samples {
        // Up to 1000 ppm of drift since the sample was taken.
        let drift = 2_000_000;
        let error = (offset_ns - truth).unsigned_abs();
        assert!(error <= round_trip.as_nanos() as u64 / 2 + drift, "{error}");
        count += 1;
    }
    assert!(count > 5);
}

#[test]
fn who_asks_to_go_solo_too_late_does_not_keep_the_backup_out() {
    let mut cluster = serving();
    let in_sync = |c: &Cluster| c.nodes[0].membership.as_ref().map(|m| m.view().in_sync);
    let solo = Some(HostSet::only(HostId(0)));
    cluster.kill(1);
    let time = cluster.run_until(Duration::from_secs(3), |c| in_sync(c) == solo);
    assert!(time.is_some(), "host 0 leaves it behind");
    let now = cluster.now;
    let node = cluster.node(0);
    let local = node.local(now);
    let asked = node.membership.as_mut().unwrap().propose_solo(local);
    assert!(!asked, "there is nobody to leave");
    cluster.start(1);
    let pair = Some(HostSet::SERVERS);
    let time = cluster.run_until(Duration::from_secs(3), |c| in_sync(c) == pair);
    assert!(time.is_some(), "host 1 was never taken in");
}
