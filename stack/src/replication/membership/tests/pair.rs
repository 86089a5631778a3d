//! Without a witness: fence, bare pair, alone.

use std::time::Duration;

use super::super::*;
use super::cluster::Cluster;
use crate::replication::view::{HostId, HostSet};

const MS: Duration = Duration::from_millis(1);

fn fenced(cluster: &mut Cluster, host: u8, confirmed: bool) {
    let now = cluster.now;
    let node = cluster.node(host);
    let peer = node.config.peer();
    let local = node.local(now);
    let membership = node.membership.as_mut().unwrap();
    membership.fenced(local, peer, confirmed);
    cluster.poll(host);
}

fn service_answers(cluster: &mut Cluster, host: u8) {
    let now = cluster.now;
    let node = cluster.node(host);
    let local = node.local(now);
    let membership = node.membership.as_mut().unwrap();
    membership.service_answers(local, true);
    cluster.poll(host);
}

#[test]
fn a_backup_follows_only_when_the_fence_is_confirmed() {
    let mut cluster = Cluster::serving(1, Arbitration::Fence);
    cluster.kill(0);
    cluster.run(MS * 250);
    assert_eq!(cluster.node(1).fences, [HostId(0)]);
    cluster.run(MS * 2_000);
    assert_eq!(cluster.holder(), None);
    fenced(&mut cluster, 1, false);
    cluster.run(MS * 1_100);
    assert_eq!(cluster.node(1).fences.len(), 2, "tried again");
    assert_eq!(cluster.holder(), None);
    fenced(&mut cluster, 1, true);
    assert_eq!(cluster.holder(), Some(HostId(1)));
}

#[test]
fn cut_from_each_other_the_primary_fences_first_and_goes_on() {
    let mut cluster = Cluster::serving(1, Arbitration::Fence);
    cluster.isolate(0, 1);
    cluster.run(MS * 100);
    assert_eq!(cluster.node(0).fences, [HostId(1)]);
    assert!(cluster.node(1).fences.is_empty(), "the backup lets it");
    let both = cluster.nodes[0].views.last().unwrap().in_sync;
    assert_eq!(
        both,
        HostSet::SERVERS,
        "not solo before the fence is confirmed"
    );
    cluster.kill(1);
    fenced(&mut cluster, 0, true);
    assert_eq!(
        cluster.nodes[0].views.last().unwrap().in_sync,
        HostSet::only(HostId(0))
    );
    assert_eq!(cluster.holder(), Some(HostId(0)));
}

#[test]
fn a_host_that_just_started_fences_nobody_who_may_serve() {
    let mut cluster = Cluster::serving(1, Arbitration::Fence);
    cluster.isolate(0, 1);
    cluster.kill(1);
    cluster.start(1);
    cluster.run(Duration::from_secs(5));
    assert!(cluster.node(1).fences.is_empty());
    assert_eq!(cluster.holder(), Some(HostId(0)));
}

#[test]
fn a_bare_pair_goes_on_when_the_service_network_answers() {
    let mut cluster = Cluster::serving(1, Arbitration::UnsafePair);
    cluster.kill(0);
    cluster.run(MS * 500);
    assert_eq!(cluster.holder(), None);
    service_answers(&mut cluster, 1);
    assert_eq!(cluster.holder(), Some(HostId(1)));
}

#[test]
fn a_bare_pair_falls_silent_where_the_service_network_does_not_answer() {
    let mut cluster = Cluster::serving(1, Arbitration::UnsafePair);
    cluster.isolate(0, 1);
    cluster.run(MS * 500);
    assert_eq!(cluster.holder(), None);
    service_answers(&mut cluster, 1);
    assert_eq!(cluster.holder(), Some(HostId(1)));
}

/// The one partition that breaks the bare pair: cut from each other, both in reach of the clients.
#[test]
#[should_panic(expected = "two valid leases")]
fn a_bare_pair_cut_from_itself_only_serves_twice() {
    let mut cluster = Cluster::serving(1, Arbitration::UnsafePair);
    cluster.clients = false;
    service_answers(&mut cluster, 0);
    service_answers(&mut cluster, 1);
    cluster.isolate(0, 1);
    cluster.run(MS * 500);
}

#[test]
fn alone_means_at_once_and_for_ever() {
    let mut cluster = Cluster::new(1, Arbitration::Alone, |_| {});
    cluster.start(0);
    cluster.run(MS * 100);
    assert_eq!(cluster.holder(), Some(HostId(0)));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.holder(), Some(HostId(0)));
}
