//! Giving the lease to the peer on purpose.

use std::time::Duration;

use super::super::*;
use super::cluster::Cluster;
use crate::replication::view::{HostId, HostSet};

const MS: Duration = Duration::from_millis(1);

fn release(cluster: &mut Cluster) -> bool {
    let now = cluster.now;
    let node = cluster.node(0);
    let local = node.local(now);
    let released = node
        .membership
        .as_mut()
        .unwrap()
        .release_to(local, HostId(1));
    cluster.poll(0);
    released
}

#[test]
fn the_peer_follows_within_a_round_trip_or_two() {
    for seed in 0..20 {
        let mut cluster = Cluster::serving(seed, Arbitration::Witness);
        cluster.run(MS * 37);
        assert!(release(&mut cluster));
        assert_eq!(cluster.holder(), None, "silent at once");
        let gap = cluster.run_until(MS * 100, |c| c.holder() == Some(HostId(1)));
        assert!(gap.unwrap() <= Duration::from_micros(1_200), "{gap:?}");
        // The old primary is taken in again.
        let both = cluster.run_until(MS * 500, |c| {
            c.nodes[1].views.last().unwrap().in_sync == HostSet::SERVERS
        });
        assert!(both.is_some());
    }
}

#[test]
fn a_peer_that_does_not_follow_leaves_the_service_here() {
    let mut cluster = Cluster::serving(5, Arbitration::Witness);
    cluster.kill(1);
    assert!(release(&mut cluster));
    let back = cluster.run_until(MS * 200, |c| c.holder() == Some(HostId(0)));
    assert!(back.unwrap() <= MS * 60);
}

#[test]
fn an_outsider_is_handed_nothing() {
    let mut cluster = Cluster::serving(5, Arbitration::Witness);
    cluster.rejoin = false;
    cluster.kill(1);
    cluster.run(MS * 100);
    assert!(!release(&mut cluster));
    assert_eq!(cluster.holder(), Some(HostId(0)));
}
