//! What does not wait for the data path, which holds the replica again and again, and for long when much arrives at once: a
//! host whose heartbeats are late is taken for dead, and to look whether thousands of connections have a hint to give must
//! not hold up those that have data.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::applications::ask;
use super::cluster::{Cluster, serving};
use super::surviving::{finish, pair, paired};
use super::world::{CLIENT, World};
use crate::replication::Service;
use crate::replication::message::Message;
use crate::replication::replica::HINT_BYTES;

const SECOND: Duration = Duration::from_secs(1);
/// After so long a thread counts as one that waits. One that does not is sooner by far.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `call` while somebody else holds the replica; true if it comes to its end meanwhile.
fn goes_on_beside_the_data_path(service: &Service, call: impl FnOnce() + Send) -> bool {
    thread::scope(|scope| {
        let (ended, hear) = mpsc::channel();
        let replica = service.replica.lock();
        scope.spawn(move || {
            call();
            // Too late, nobody listens.
            let _ = ended.send(());
        });
        let went_on = hear.recv_timeout(PATIENCE).is_ok();
        drop(replica);
        went_on
    })
}

#[test]
fn who_asks_for_a_backup_and_beats_meanwhile_waits_for_nobody() {
    let (mut cluster, primary) = serving();
    let node = Arc::clone(&cluster.nodes[primary]);
    assert!(!node.service.wants_join(), "it has a backup");
    cluster.stop(1 - primary);
    cluster.run_for(SECOND / 2);
    cluster.heartbeats_lost = true;
    cluster.restart(1 - primary);
    cluster.run_for(SECOND / 10);
    // The copy is complete, and no heartbeat has said that the host is there.
    assert!(node.service.wants_join() && !cluster.is_synced());
    let now = cluster.now;
    let went_on = goes_on_beside_the_data_path(&node.service, || {
        node.after_service(now);
        node.beat(now);
    });
    assert!(went_on);
    // It is asked for again until it comes about, and then no more.
    cluster.heartbeats_lost = false;
    cluster.run_until(5 * SECOND, Cluster::is_synced);
    assert!(!node.service.wants_join());
}

#[test]
fn who_has_no_hint_to_give_waits_for_nobody() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(10, 10_000); 3]);
    world.run_for(SECOND);
    assert_eq!(got.lock().wrong, None);
    assert!(got.lock().bytes > 10_000);
    let service = Arc::clone(&world.servers[0].service);
    let later = world.now + SECOND;
    assert!(goes_on_beside_the_data_path(&service, || service.hint(later)));
}

#[test]
fn a_hint_tells_of_progress_that_is_worth_a_message() {
    // So slow that several hints fall into the download.
    let mut world = paired(World::with(|host, config| {
        if host == CLIENT {
            config.tcp.socket.receive_buffer_bytes = Some(32 << 10);
        }
    }));
    let positions: Arc<Mutex<HashMap<u64, Vec<u64>>>> = Arc::default();
    let seen = Arc::clone(&positions);
    world.censor = Box::new(move |_, message| {
        if let Message::Hints { hints, .. } = message {
            let mut seen = seen.lock();
            for hint in hints {
                seen.entry(hint.connection).or_default().push(hint.position);
            }
        }
        true
    });
    let long = ask(&world.stack(CLIENT), vec![(10, 10_000_000)]);
    let short = ask(&world.stack(CLIENT), vec![(10, 10_000)]);
    finish(&mut world, &long);
    finish(&mut world, &short);
    let positions = positions.lock();
    assert_eq!(positions.len(), 1, "of the long one only: {positions:?}");
    for told in positions.values() {
        assert!(told.len() > 1 && told[0] >= HINT_BYTES);
        let grown = |it: &[u64]| it[1] >= it[0] + HINT_BYTES;
        assert!(told.windows(2).all(grown), "{told:?}");
    }
}
