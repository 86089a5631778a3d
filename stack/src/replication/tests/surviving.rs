//! Does the client's stream go on, byte for byte?

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::applications::{Shared, ask, replay, serve};
use super::world::{CLIENT, World};
use crate::replication::Change;
use crate::replication::message::Message;

const SECOND: Duration = Duration::from_secs(1);

/// Host 0 serves, host 1 is in sync.
fn pair() -> World {
    let mut world = World::new();
    for host in 0..2 {
        serve(&world.stack(host), replay(256 << 10));
    }
    world.connect(true);
    world.decide(2, 0, &[0, 1]);
    world
}

fn fail_over(world: &mut World, epoch: u64, from: usize) {
    world.kill(from);
    world.run_for(Duration::from_millis(30));
    world.decide(epoch, 1 - from, &[1 - from]);
}

fn finish(world: &mut World, got: &Shared) {
    world.run_until(120 * SECOND, |_| got.lock().done);
    assert_eq!(got.lock().wrong, None);
}

#[test]
fn the_record_is_applied_before_the_syn_ack_leaves() {
    let mut world = pair();
    let opened = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&opened);
    world.censor = Box::new(move |_, message| {
        if let Message::Entries { entries, .. } = message
            && matches!(entries[0].change, Change::Open(_))
        {
            seen.lock().get_or_insert(());
        }
        true
    });
    let answered = Arc::new(Mutex::new(false));
    let (before, said) = (Arc::clone(&opened), Arc::clone(&answered));
    world.tap = Box::new(move |host, frame| {
        // IPv4 with TCP, SYN and ACK set.
        let syn_ack = frame.len() > 47 && frame[23] == 6 && frame[47] & 0x12 == 0x12;
        if host == 0 && syn_ack {
            assert!(before.lock().is_some(), "the SYN-ACK left first");
            *said.lock() = true;
        }
        true
    });
    let got = ask(&world.stack(CLIENT), vec![(0, 100)]);
    finish(&mut world, &got);
    assert!(*answered.lock());
}

#[test]
fn without_an_answer_of_the_backup_nothing_leaves() {
    let mut world = pair();
    world.censor = Box::new(|to, _| to == 1);
    let got = ask(&world.stack(CLIENT), vec![(0, 100)]);
    world.run_for(10 * SECOND);
    assert_eq!(got.lock().bytes, 0);
    assert!(!got.lock().done);
    // Until a view without it is decided.
    world.decide(4, 0, &[0]);
    finish(&mut world, &got);
}

#[test]
fn a_download_goes_on() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(10, 3_000_000)]);
    world.run_until(20 * SECOND, |_| got.lock().bytes > 1_000_000);
    fail_over(&mut world, 3, 0);
    finish(&mut world, &got);
}

#[test]
fn an_upload_below_the_bound_of_the_log_goes_on() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(200_000, 1000)]);
    world.run_for(Duration::from_millis(25));
    assert!(!got.lock().done && got.lock().bytes == 0);
    fail_over(&mut world, 3, 0);
    finish(&mut world, &got);
}

#[test]
fn many_requests_on_one_connection_go_on() {
    let mut world = pair();
    let requests: Vec<_> = (0..60).map(|n| (n * 700, n * 1000)).collect();
    let got = ask(&world.stack(CLIENT), requests);
    world.run_until(20 * SECOND, |_| got.lock().bytes > 600_000);
    fail_over(&mut world, 3, 0);
    finish(&mut world, &got);
}
