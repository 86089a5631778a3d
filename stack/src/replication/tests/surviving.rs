//! Does the client's stream go on, byte for byte?

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::applications::{Shared, ask, replay, serve};
use super::world::{CLIENT, DELAY, World};
use crate::counters::{Counter, Counters};
use crate::replication::message::{Message, Place};
use crate::replication::view::Epoch;
use crate::replication::{Change, Survival};

const LOG_BYTES: u32 = 256 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// Host 0 serves, host 1 is in sync.
pub(super) fn pair() -> World {
    paired(World::new())
}

pub(super) fn paired(mut world: World) -> World {
    for host in 0..2 {
        serve(&world.stack(host), replay(LOG_BYTES));
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

pub(super) fn finish(world: &mut World, got: &Shared) {
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
            && matches!(entries.first(), Some(entry) if matches!(entry.change, Change::Open(_)))
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
fn time_in_which_this_host_stood_still_is_not_held_against_the_backup() {
    let mut world = pair();
    world.censor = Box::new(|to, _| to == 1);
    let _got = ask(&world.stack(CLIENT), vec![(0, 100)]);
    world.run_for(SECOND);
    let service = &world.servers[0].service;
    let waited = service.waiting(world.now).unwrap();
    let still = Duration::from_millis(300);
    service.stood_still(still);
    assert_eq!(service.waiting(world.now), Some(waited - still));
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

/// The host that was killed comes back and is brought up while service goes on.
fn rejoin(world: &mut World, epoch: u64, primary: usize) {
    world.revive(1 - primary);
    serve(&world.stack(1 - primary), replay(LOG_BYTES));
    world.decide(epoch, primary, &[primary]);
    world.run_until(5 * SECOND, |world| world.complete);
    world.decide(epoch + 2, primary, &[0, 1]);
}

#[test]
fn one_takeover_after_the_other_with_the_host_back_in_between() {
    let mut world = pair();
    let download = ask(&world.stack(CLIENT), vec![(10, 9_000_000)]);
    let upload = ask(&world.stack(CLIENT), vec![(9_000_000, 10)]);
    let chatter = ask(&world.stack(CLIENT), vec![(300, 2000); 2000]);
    let mut epoch = 4;
    for round in 0..6 {
        world.run_for(Duration::from_millis(150));
        let primary = round % 2;
        fail_over(&mut world, epoch + 1 - primary as u64, primary);
        world.run_for(Duration::from_millis(100));
        rejoin(&mut world, epoch + 4, 1 - primary);
        epoch += 8;
    }
    for got in [&download, &upload, &chatter] {
        finish(&mut world, got);
    }
}

#[test]
fn an_upload_beyond_the_log_is_followed_and_goes_on() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(6_000_000, 2_000_000)]);
    world.run_for(Duration::from_millis(300));
    let counters = Arc::clone(world.stack(1).counters());
    assert_eq!(counters.get(Counter::TcpFollowed), 1);
    fail_over(&mut world, 3, 0);
    assert_eq!(
        counters.get(Counter::TcpAdopted),
        0,
        "it goes on where it was"
    );
    finish(&mut world, &got);
}

/// Its flight is lost as a whole, and there is no room in the window for anything else by which it would hear of that.
#[test]
fn an_upload_that_fills_its_window_goes_on_before_its_client_times_out() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(60_000_000, 10)]);
    world.run_for(Duration::from_millis(300));
    fail_over(&mut world, 3, 0);
    let client = Arc::clone(world.stack(CLIENT).counters());
    let sent_again = |client: &Counters| client.get(Counter::TcpRetransmittedSegments);
    let (timeouts, before) = (client.get(Counter::TcpTimeouts), sent_again(&client));
    // Long before its timer, round after round.
    world.run_for(10 * DELAY);
    assert!(sent_again(&client) >= before + 6);
    assert_eq!(client.get(Counter::TcpTimeouts), timeouts);
    finish(&mut world, &got);
}

#[test]
fn killed_at_any_moment_of_a_short_life() {
    for millis in 0..90 {
        let mut world = pair();
        let got = ask(&world.stack(CLIENT), vec![(3000, 30_000), (0, 0), (5, 5)]);
        world.run_for(Duration::from_millis(millis));
        fail_over(&mut world, 3, 0);
        world.run_until(200 * SECOND, |_| got.lock().done);
        assert_eq!(got.lock().wrong, None, "killed after {millis} ms");
    }
}

#[test]
fn a_fallen_primary_leaves_its_connections_in_silence() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(10, 3_000_000)]);
    world.run_until(20 * SECOND, |_| got.lock().bytes > 100_000);
    // Host 0 lives on, and learns of the view of host 1.
    world.decide(3, 1, &[1]);
    assert_eq!(world.stack(0).connections(), 0);
    world.tap = Box::new(|host, _| {
        assert_ne!(host, 0, "it is not silent");
        true
    });
    finish(&mut world, &got);
}

#[test]
fn entries_of_an_older_epoch_are_refused() {
    let mut world = pair();
    let got = ask(&world.stack(CLIENT), vec![(10, 3_000_000), (10, 10)]);
    world.run_until(20 * SECOND, |_| got.lock().bytes > 100_000);
    let old = Message::Entries {
        epoch: Epoch(2),
        first: Place {
            log: Epoch(2),
            index: 2,
        },
        entries: Vec::new(),
    };
    world.decide(3, 1, &[1]);
    let service = Arc::clone(&world.servers[1].service);
    service.receive(world.now, old);
    assert_eq!(service.status().refusals.old_epoch, 1);
    finish(&mut world, &got);
}

#[test]
fn after_a_takeover_the_unknown_meet_silence() {
    let mut world = World::new();
    for host in 0..2 {
        serve(&world.stack(host), Survival::Unprotected);
    }
    world.connect(true);
    world.decide(2, 0, &[0, 1]);
    let got = ask(&world.stack(CLIENT), vec![(3_000_000, 10)]);
    world.run_for(Duration::from_millis(50));
    fail_over(&mut world, 3, 0);
    world.run_for(60 * SECOND);
    let counters = Arc::clone(world.stack(1).counters());
    assert!(counters.get(Counter::TcpDropAfterTakeover) > 0);
    assert_eq!(counters.get(Counter::TcpResetsSent), 0);
    assert!(!got.lock().done, "silence, not a reset");
    // Others are served at once.
    let other = ask(&world.stack(CLIENT), vec![(1, 1)]);
    finish(&mut world, &other);
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
