//! Disks that take their time: heartbeats go on, and what a vote allows waits for it.

use std::time::Duration;

use super::applications::ask;
use super::cluster::{Cluster, serving};
use super::world::CLIENT;
use crate::replication::view::HostId;
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Whether the witness hears a host, and is heard by it.
fn is_up(cluster: &Cluster, host: usize) -> bool {
    cluster.witness.is_up(HostId(host as u8))
}

#[test]
fn a_host_whose_vote_is_being_stored_is_alive_and_silent() {
    let (mut cluster, primary) = serving();
    let heir = 1 - primary;
    let got = ask(&cluster.stack(CLIENT), vec![(10, 4_000_000)]);
    cluster.run_for(Duration::from_millis(50));
    cluster.memory[heir].0.lock().slow = true;
    cluster.stop(primary);
    let (said, until) = (cluster.sent[heir], cluster.now + SECOND);
    while cluster.now < until {
        cluster.run_for(Duration::from_millis(1));
        assert!(is_up(&cluster, heir), "its heartbeats have stopped");
        assert_eq!(cluster.primary(), None, "it serves before it has voted");
    }
    assert_eq!(cluster.sent[heir], said, "it spoke before it had voted");
    assert!(cluster.memory[heir].0.lock().writing.is_some());
    cluster.memory[heir].0.lock().slow = false;
    cluster.finish_write(heir);
    cluster.run_until(SECOND / 10, |cluster| cluster.primary() == Some(heir));
    cluster.finish(&got);
}

#[test]
fn who_hands_over_hears_of_it_only_once_the_other_one_serves() {
    let (mut cluster, primary) = serving();
    let heir = 1 - primary;
    let ours = cluster.nodes[primary].view().epoch;
    cluster.memory[heir].0.lock().slow = true;
    cluster.nodes[primary].handover(cluster.now).unwrap();
    let theirs = |c: &Cluster| c.nodes[primary].view().primary == HostId(heir as u8);
    run_with_slow_disks(&mut cluster, Duration::from_millis(20), theirs);
    // It is voted in, but has not stored yet that others know.
    let heard = |c: &Cluster| c.nodes[primary].heard_epoch() > ours;
    assert!(cluster.primary().is_none() && !heard(&cluster));
    run_with_slow_disks(&mut cluster, Duration::from_millis(20), heard);
    assert_eq!(cluster.primary(), Some(heir));
}

/// Writes take so long on both servers, whatever they write.
fn run_with_slow_disks(cluster: &mut Cluster, write: Duration, done: impl Fn(&Cluster) -> bool) {
    let mut due: [Option<Instant>; 2] = [None; 2];
    let limit = cluster.now + 10 * SECOND;
    while !done(cluster) {
        assert!(cluster.now < limit, "it takes too long");
        cluster.run_for(Duration::from_millis(1));
        for (host, due) in due.iter_mut().enumerate() {
            let writing = cluster.memory[host].0.lock().writing.is_some();
            let now = cluster.now;
            if writing && *due.get_or_insert(now + write) <= now {
                *due = None;
                cluster.finish_write(host);
            }
        }
    }
}

#[test]
fn disks_that_are_slower_than_a_lease_cost_time_and_nothing_else() {
    let (mut cluster, mut primary) = serving();
    let download = ask(&cluster.stack(CLIENT), vec![(10, 8_000_000)]);
    let upload = ask(&cluster.stack(CLIENT), vec![(8_000_000, 10)]);
    let write = Duration::from_millis(50);
    for memory in &cluster.memory {
        memory.0.lock().slow = true;
    }
    for _ in 0..3 {
        run_with_slow_disks(&mut cluster, write, |c| c.primary() == Some(primary));
        cluster.stop(primary);
        // What it was writing is gone with it.
        cluster.memory[primary].0.lock().writing = None;
        let heir = 1 - primary;
        run_with_slow_disks(&mut cluster, write, |c| {
            assert!(is_up(c, heir), "its heartbeats have stopped");
            c.primary() == Some(heir)
        });
        cluster.restart(primary);
        run_with_slow_disks(&mut cluster, write, Cluster::is_synced);
        primary = heir;
    }
    let done = || download.lock().done && upload.lock().done;
    run_with_slow_disks(&mut cluster, write, |_| done());
    assert_eq!(download.lock().wrong, None);
    assert_eq!(upload.lock().wrong, None);
}
