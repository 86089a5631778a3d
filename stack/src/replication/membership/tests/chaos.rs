//! Random faults, by seed. The cluster asserts at each step that no two leases are valid, that views only go forward,
//! and that no host becomes primary which lacks an acknowledged byte.

use std::time::Duration;

use super::super::*;
use super::cluster::Cluster;
use crate::replication::view::{HostId, HostSet};

const MS: Duration = Duration::from_millis(1);

fn fault(cluster: &mut Cluster) {
    let host = cluster.random.below(3) as u8;
    let other = (host + 1 + cluster.random.below(2) as u8) % 3;
    let running = cluster.node(host).membership.is_some();
    match cluster.random.below(9) {
        0 | 1 if running => cluster.kill(host),
        0..=3 if !running => cluster.start(host),
        2 | 3 => cluster.node(host).paused ^= true,
        4 => cluster.isolate(host, other),
        5 => cluster.cut.push((HostId(host), HostId(other))),
        6 => cluster.cut.clear(),
        7 => {
            cluster.loss = cluster.random.below(20);
            cluster.max_delay = MS * cluster.random.below(20) as u32 + MS / 10;
        }
        _ => {
            let now = cluster.now;
            let node = cluster.node(host);
            let (local, peer) = (node.local(now), node.config.peer());
            if let Some(membership) = node.membership.as_mut().filter(|_| !node.paused) {
                // Only what is committed may be handed over.
                membership.release_to(local, peer);
                cluster.poll(host);
            }
        }
    }
}

fn heal(cluster: &mut Cluster) {
    cluster.cut.clear();
    cluster.loss = 0;
    cluster.max_delay = MS;
    for host in 0..3 {
        cluster.node(host).paused = false;
        if cluster.node(host).membership.is_none() {
            cluster.start(host);
        }
    }
}

fn live(seed: u64, slowest_write: Duration) -> u64 {
    let mut cluster = Cluster::serving(seed, Arbitration::Witness);
    cluster.slowest_write = slowest_write;
    for _ in 0..25 {
        let time = 1 + cluster.random.below(120);
        cluster.run(Duration::from_micros(time * 1_000));
        fault(&mut cluster);
    }
    heal(&mut cluster);
    let healed = cluster.run_until(Duration::from_secs(6), |c| {
        let complete = |n: &super::cluster::Node| {
            n.views
                .last()
                .is_some_and(|v| v.in_sync == HostSet::SERVERS)
        };
        c.holder().is_some() && c.nodes.iter().all(complete)
    });
    assert!(
        healed.is_some(),
        "seed {seed}: no service by two hosts after all faults were mended: {:?}",
        cluster
            .nodes
            .iter()
            .map(|n| n.membership.as_ref().map(|m| m.voter.clone()))
            .collect::<Vec<_>>()
    );
    cluster.acknowledged
}

#[test]
fn whatever_happens_one_serves_and_nothing_acknowledged_is_lost() {
    let served: Vec<u64> = (0..60).map(|seed| live(seed, Duration::ZERO)).collect();
    assert!(served.iter().all(|&bytes| bytes > 0), "{served:?}");
}

#[test]
fn with_slow_disks_the_same_holds() {
    let served: Vec<u64> = (0..60).map(|seed| live(seed, MS * 40)).collect();
    assert!(served.iter().all(|&bytes| bytes > 0), "{served:?}");
}

/// A host and the witness that are connected suffice, if that host has a copy.
#[test]
fn one_host_and_the_witness_suffice() {
    for seed in 0..40 {
        let mut cluster = Cluster::serving(seed, Arbitration::Witness);
        cluster.loss = 1 + seed % 10;
        cluster.loss = if cluster.loss < 4 { 0 } else { cluster.loss };
        cluster.run(MS * 100);
        let dead = (seed % 2) as u8;
        match seed % 3 {
            0 => cluster.kill(dead),
            1 => cluster.node(dead).paused = true,
            _ => {
                cluster.isolate(dead, 1 - dead);
                cluster.isolate(dead, 2);
            }
        }
        // Loss may have made the primary go on alone before.
        let view = *cluster.nodes[2].views.last().unwrap();
        if !view.in_sync.contains(HostId(1 - dead)) {
            continue;
        }
        let time = cluster.run_until(MS * 400, |c| c.holder() == Some(HostId(1 - dead)));
        assert!(time.is_some(), "seed {seed}");
    }
}
